"""The documented error codes, each with its HTTP status and text.

`CODES` holds those of https://www.alibabacloud.com/help/en/message-service/latest/syntax-of-error-responses
that this server can return. The store and the operations raise `MnsError`; the application turns it into XML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CODES", "MnsError", "out_of_range", "schema_violation"]

CODES: Mapping[str, tuple[int, str]] = {
    "AccessDenied": (
        403,
        "The OwnerId that your Access Key Id associated to is forbidden for this operation.",
    ),
    "InternalError": (500, "Internal error."),
    "InvalidAccessKeyId": (403, "The AccessKey Id you provided is not exist."),
    "InvalidArgument": (400, "The XML you provided did not validate against our published schema."),
    "InvalidAuthorizationHeader": (400, "The Authorization header format is invalid."),
    "InvalidDateHeader": (400, "The Date header format is invalid."),
    "InvalidDegist": (400, "The Content-MD5 you specified is invalid."),  # the documented spelling
    "InvalidQueryString": (400, "Http request URL contains invalid querystring item."),
    "InvalidQueueName": (
        400,
        (
            "The queue name you provided is invalid. QueueName should start with alpha or digit and"
            " contain only alpha, digit or -."
        ),
    ),
    "InvalidRequestURL": (400, "Http request URL format invalid."),
    "InvalidSubscriptionName": (
        400,
        (
            "The subscription name you provided is invalid. SubscriptionName should start with alpha or digit"
            " and contain only alpha, digit or -."
        ),
    ),
    "InvalidTopicName": (
        400,
        (
            "The topic name you provided is invalid. TopicName should start with alpha or digit and"
            " contain only alpha, digit or -."
        ),
    ),
    "MalformedXML": (400, "The XML you provided was not well-formed."),
    "MessageNotExist": (404, "Message not exist."),
    "MissingAuthorizationHeader": (400, "Authorization header is required."),
    "MissingDateHeader": (400, "Date header is required."),
    "MissingReceiptHandle": (400, "ReceiptHandle is required."),
    "MissingVisibilityTimeout": (400, "VisibilityTimeout is required."),
    "QueueAlreadyExist": (409, "The queue you want to create is already exist."),
    "QueueNameLengthError": (400, "Queue name length should between 1 and 120."),
    "QueueNotExist": (404, "The queue name you provided is not exist."),
    "ReceiptHandleError": (400, "The receipt handle you provide is not valid."),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. Check your key"
            " and signing method."
        ),
    ),
    "SubscriptionAlreadyExist": (409, "The subscription you want to create already exists."),
    "SubscriptionNameLengthError": (400, "Subscription name length should between 1 and 255."),
    "SubscriptionNotExist": (404, "The subscription name you provided is not exist."),
    "TimeExpired": (408, "The http request you sent is expired."),
    "TopicAlreadyExist": (409, "The topic you want to create already exists."),
    "TopicNameLengthError": (400, "Topic name length should between 1 and 255."),
    "TopicNotExist": (404, "The topic name you provided is not exist."),
}
"""Code: HTTP status and text."""


class MnsError(Exception):
    """The service refuses a request.

    Args:
        code: One of `CODES`.
        text: Replaces the code's own text.

    Attributes:
        code: `Code` of the error document.
        status: HTTP status.
        text: `Message` of the error document.
    """

    def __init__(self, code: str, text: str | None = None) -> None:
        self.status, default_text = CODES[code]
        self.code = code
        self.text = text or default_text
        super().__init__(f"{code}: {self.text}")


def out_of_range(element: str, low: int, high: int, unit: str = "seconds/bytes") -> MnsError:
    """The error for a value outside an inclusive range."""
    return MnsError(
        "InvalidArgument", f"The value of Element {element} should between {low} and {high} {unit}."
    )


def schema_violation(element: str) -> MnsError:
    """The error for an element that is unknown, missing or not a number."""
    return MnsError(
        "InvalidArgument",
        f"The XML you provided did not validate against our published schema, cause by Element {element}.",
    )
