"""The documented error codes, each with its HTTP status, text and detailed code (EC).

`CODES` holds those that this server can return (oss.md: Errors). The store and the application raise
`OssError`; the application turns it into XML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODES", "OssError"]

CODES: Mapping[str, tuple[int, str, str]] = {
    "AccessDenied": (403, "You have no right to access this object because of bucket acl.", "0003-00000001"),
    "BucketAlreadyExists": (
        409,
        (
            "The requested bucket name is not available. The bucket namespace is shared by all users of the"
            " system. Please select a different name and try again."
        ),
        "0015-00000104",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty.", "0015-00000301"),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size.", ""),
    "EntityTooSmall": (400, "Your proposed upload smaller than the minimum allowed size.", ""),
    "FileAlreadyExists": (409, "The object you specified already exists and can not be overwritten.", ""),
    "IllegalUrl": (400, "The request URL is not valid.", ""),
    "InternalError": (500, "Please contact the server administrator, oss@service.aliyun.com.", ""),
    "InvalidAccessKeyId": (
        403,
        "The OSS Access Key Id you provided does not exist in our records.",
        "0002-00000902",
    ),
    "InvalidArgument": (400, "The argument is invalid.", ""),
    "InvalidBucketName": (400, "The specified bucket is not valid.", "0015-00000001"),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid.", ""),
    "InvalidObjectName": (400, "The specified object is not valid.", ""),
    "InvalidPart": (
        400,
        (
            "One or more of the specified parts could not be found or the specified entity tag might not have"
            " matched the part's entity tag."
        ),
        "",
    ),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order.", ""),
    "InvalidRange": (416, "The requested range cannot be satisfied.", ""),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate.", ""),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource.", ""),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header.", ""),
    "NoSuchBucket": (404, "The specified bucket does not exist.", "0015-00000101"),
    "NoSuchKey": (404, "The specified key does not exist.", "0026-00000001"),
    "NoSuchUpload": (
        404,
        (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been"
            " aborted or completed."
        ),
        "0042-00000101",
    ),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented.", ""),
    "NotModified": (304, "Not Modified.", ""),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold.", ""),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
        "0002-00000504",
    ),
    "ServiceUnavailable": (503, "Please try again later.", ""),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. Check your key"
            " and signing method."
        ),
        "0002-00000040",
    ),
}
"""Code: HTTP status, text and EC. EC is empty where its value is not documented."""


class OssError(Exception):
    """The service refuses a request.

    Args:
        code: One of `CODES`.
        text: Replaces the code's own text.
        elements: Additional elements of the response, such as `BucketName` or `Key`.

    Attributes:
        code: The `Code` of the response.
        status: HTTP status.
        text: The `Message` of the response.
        ec: The `EC` of the response; may be empty.
        elements: Additional elements of the response.
    """

    def __init__(self, code: str, text: str | None = None, **elements: str) -> None:
        self.status, default_text, self.ec = CODES[code]
        self.code = code
        self.text = text or default_text
        self.elements = elements
        super().__init__(f"{code}: {self.text}")
