"""The XML of requests and responses.

Each `read_…` function parses a request body or raises `OssError`; the other functions return the `Element` of
a response.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from mpaas_local.clock import utc_second_text
from mpaas_local.oss.errors import OssError
from mpaas_local.xml_text import UnreadableXml, read_xml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mpaas_local.account import Account
    from mpaas_local.oss.model import Bucket, Listing, Part, StoredObject, Upload

__all__ = [
    "bucket_acl",
    "bucket_info",
    "bucket_list",
    "bucket_location",
    "completed_upload",
    "deleted_objects",
    "error_document",
    "initiated_upload",
    "object_list",
    "part_list",
    "read_deletion",
    "read_parts",
]

_STORAGE_CLASS = "Standard"


def read_parts(body: bytes) -> list[tuple[int, str]]:
    """Read `<CompleteMultipartUpload>`: number and ETag of each part.

    Raises:
        OssError: `MalformedXML`.
    """
    parts = []
    for element in _read(body, "CompleteMultipartUpload").iter("Part"):
        number, etag = element.findtext("PartNumber", "").strip(), element.findtext("ETag", "").strip()
        if not re.fullmatch("[0-9]{1,9}", number) or not etag:
            raise OssError("MalformedXML")
        parts.append((int(number), etag.strip('"')))
    return parts


def read_deletion(body: bytes) -> tuple[list[str], bool]:
    """Read `<Delete>`: the names of objects, and whether the response omits them.

    Raises:
        OssError: `MalformedXML`.
    """
    root = _read(body, "Delete")
    keys = [element.findtext("Key", "") for element in root.iter("Object")]
    if not 1 <= len(keys) <= 1000:
        raise OssError("MalformedXML", "Delete must have 1 to 1000 objects.")
    return keys, root.findtext("Quiet", "").strip().lower() == "true"


def error_document(error: OssError, request_id: str, host: str) -> Element:
    """`<Error>`."""
    fields = {
        "Code": error.code,
        "Message": error.text,
        "RequestId": request_id,
        "HostId": host,
        **error.elements,
    }
    if error.ec:
        fields["EC"] = error.ec
    return _fill(Element("Error"), fields)


def bucket_list(buckets: Iterable[Bucket], account: Account, endpoint: str) -> Element:
    """`<ListAllMyBucketsResult>`."""
    root = Element("ListAllMyBucketsResult")
    _owner(root, account)
    parent = SubElement(root, "Buckets")
    for bucket in buckets:
        _fill(SubElement(parent, "Bucket"), _bucket_fields(bucket, account, endpoint))
    return root


def bucket_info(bucket: Bucket, account: Account, endpoint: str) -> Element:
    """`<BucketInfo>`."""
    root = Element("BucketInfo")
    element = _fill(SubElement(root, "Bucket"), _bucket_fields(bucket, account, endpoint))
    _fill(element, {"DataRedundancyType": "LRS", "Versioning": "", "BlockPublicAccess": "false"})
    _owner(element, account)
    _fill(SubElement(element, "AccessControlList"), {"Grant": "private"})
    return root


def bucket_acl(account: Account) -> Element:
    """`<AccessControlPolicy>`: every bucket is private."""
    root = Element("AccessControlPolicy")
    _owner(root, account)
    _fill(SubElement(root, "AccessControlList"), {"Grant": "private"})
    return root


def bucket_location(account: Account) -> Element:
    """`<LocationConstraint>`."""
    root = Element("LocationConstraint")
    root.text = f"oss-{account.region}"
    return root


def object_list(
    bucket: str, listing: Listing, query: Mapping[str, str], limit: int, account: Account
) -> Element:
    """`<ListBucketResult>` of ListObjectsV2."""
    encode = _encoder(query)
    root = Element("ListBucketResult")
    fields = {
        "Name": bucket,
        "Prefix": encode(query.get("prefix", "")),
        "StartAfter": encode(query.get("start-after", "")),
        "ContinuationToken": query.get("continuation-token", ""),
        "MaxKeys": str(limit),
        "Delimiter": encode(query.get("delimiter", "")),
        "EncodingType": query.get("encoding-type", ""),
        "IsTruncated": "false" if listing.next_position is None else "true",
    }
    _fill(root, {name: text for name, text in fields.items() if text or name == "Prefix"})
    if listing.next_position is not None:
        token = base64.urlsafe_b64encode(listing.next_position).decode()
        _fill(root, {"NextContinuationToken": token})
    for stored in listing.objects:
        element = _fill(
            SubElement(root, "Contents"),
            {
                "Key": encode(stored.key),
                "LastModified": utc_second_text(stored.modified),
                "ETag": f'"{stored.etag}"',
                "Type": stored.type,
                "Size": str(stored.size),
                "StorageClass": _STORAGE_CLASS,
            },
        )
        if query.get("fetch-owner") == "true":
            _owner(element, account)
    for prefix in listing.prefixes:
        _fill(SubElement(root, "CommonPrefixes"), {"Prefix": encode(prefix)})
    return _fill(root, {"KeyCount": str(len(listing.objects) + len(listing.prefixes))})


def deleted_objects(keys: Iterable[str], query: Mapping[str, str]) -> Element:
    """`<DeleteResult>`."""
    encode = _encoder(query)
    root = Element("DeleteResult")
    if "encoding-type" in query:
        _fill(root, {"EncodingType": query["encoding-type"]})
    for key in keys:
        _fill(SubElement(root, "Deleted"), {"Key": encode(key)})
    return root


def initiated_upload(upload: Upload, query: Mapping[str, str]) -> Element:
    """`<InitiateMultipartUploadResult>`."""
    root = Element("InitiateMultipartUploadResult")
    return _fill(root, {**_names(upload.bucket, upload.key, query), "UploadId": upload.id})


def completed_upload(stored: StoredObject, location: str, query: Mapping[str, str]) -> Element:
    """`<CompleteMultipartUploadResult>`."""
    fields = {**_names(stored.bucket, stored.key, query), "Location": location, "ETag": f'"{stored.etag}"'}
    return _fill(Element("CompleteMultipartUploadResult"), fields)


def part_list(
    upload: Upload, parts: Sequence[Part], marker: int, limit: int, query: Mapping[str, str]
) -> Element:
    """`<ListPartsResult>`: the first parts after the marker."""
    remaining = [part for part in parts if part.number > marker]
    page = remaining[:limit]
    root = _fill(
        Element("ListPartsResult"),
        {
            **_names(upload.bucket, upload.key, query),
            "UploadId": upload.id,
            "StorageClass": _STORAGE_CLASS,
            "PartNumberMarker": str(marker),
            "NextPartNumberMarker": str(page[-1].number if page else marker),
            "MaxParts": str(limit),
            "IsTruncated": "true" if len(remaining) > len(page) else "false",
        },
    )
    for part in page:
        _fill(
            SubElement(root, "Part"),
            {
                "PartNumber": str(part.number),
                "LastModified": utc_second_text(part.modified),
                "ETag": f'"{part.etag}"',
                "HashCrc64ecma": part.crc64,
                "Size": str(part.size),
            },
        )
    return root


def _read(body: bytes, name: str) -> Element:
    """Parse a document whose root must have this name."""
    try:
        root = read_xml(body)
    except UnreadableXml as error:
        raise OssError("MalformedXML") from error
    if root.tag != name:
        raise OssError("MalformedXML")
    return root


def _fill(parent: Element, fields: Mapping[str, str]) -> Element:
    for name, text in fields.items():
        SubElement(parent, name).text = text
    return parent


def _owner(parent: Element, account: Account) -> None:
    fields = {"ID": account.account_id, "DisplayName": account.account_id}
    _fill(SubElement(parent, "Owner"), fields)


def _bucket_fields(bucket: Bucket, account: Account, endpoint: str) -> dict[str, str]:
    return {
        "Name": bucket.name,
        "CreationDate": utc_second_text(bucket.created),
        "Location": f"oss-{account.region}",
        "Region": account.region,
        "ExtranetEndpoint": endpoint,
        "IntranetEndpoint": endpoint,
        "StorageClass": _STORAGE_CLASS,
    }


def _names(bucket: str, key: str, query: Mapping[str, str]) -> dict[str, str]:
    encoding = {"EncodingType": query["encoding-type"]} if "encoding-type" in query else {}
    return {**encoding, "Bucket": bucket, "Key": _encoder(query)(key)}


def _encoder(query: Mapping[str, str]) -> Callable[[str], str]:
    """Return the encoder of names: URL encoding on request, because XML cannot contain some characters."""
    encoding = query.get("encoding-type")
    if encoding not in (None, "url"):
        raise OssError("InvalidArgument", "encoding-type must be url.", ArgumentName="encoding-type")
    return (lambda name: quote(name, safe="")) if encoding else str
