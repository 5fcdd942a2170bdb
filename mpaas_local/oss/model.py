"""The service's data: buckets, objects, multipart uploads, their parts, and object events."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mpaas_local.oss.errors import OssError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "DEFAULT_MIME_TYPE",
    "MAX_KEY_BYTES",
    "MAX_OBJECT_BYTES",
    "MAX_PART_NUMBER",
    "MIN_PART_BYTES",
    "USER_META",
    "Bucket",
    "Listing",
    "ObjectEvent",
    "Part",
    "StoredObject",
    "Upload",
    "check_bucket_name",
    "check_key",
    "multipart_etag",
]

MAX_KEY_BYTES = 1023
"""Maximum size of an object's name in UTF-8 (oss.md: Names and limits)."""
MAX_OBJECT_BYTES = 5 * 1024**3
"""Maximum size of one PutObject or one part (oss.md: Names and limits)."""
MIN_PART_BYTES = 100 * 1024
"""Minimum size of every part except the last (oss.md: Names and limits)."""
MAX_PART_NUMBER = 10_000
DEFAULT_MIME_TYPE = "application/octet-stream"
"""Content type of an object that was uploaded without one."""
USER_META = "x-oss-meta-"
"""Prefix of user metadata headers."""

_BUCKET_NAME = re.compile("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    Attributes:
        name: Lower-case letters, digits and hyphens.
        created: Seconds since 1970.
    """

    name: str
    created: float


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object.

    Attributes:
        bucket: Name of its bucket.
        key: Its name.
        path: File with its content; removed when the object is replaced or deleted, but readable while open.
        size: Size in bytes.
        etag: MD5 in upper-case hexadecimal; for a multipart object see `multipart_etag`.
        crc64: CRC-64/XZ of its content, decimal.
        modified: Seconds since 1970.
        type: Whether it was uploaded in parts.
        headers: Response headers set by the upload, by lower-case name: `content-type`, `x-oss-meta-…`.
    """

    bucket: str
    key: str
    path: Path
    size: int
    etag: str
    crc64: str
    modified: float
    type: Literal["Normal", "Multipart"] = "Normal"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_md5(self) -> str | None:
        """The base64 MD5 of its content; None for a multipart object, whose MD5 is unknown."""
        return base64.b64encode(bytes.fromhex(self.etag)).decode() if self.type == "Normal" else None


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a multipart upload.

    Attributes:
        number: 1 to 10,000.
        path: File with its content.
        size: Size in bytes.
        etag: MD5 in upper-case hexadecimal.
        crc64: CRC-64/XZ, decimal.
        modified: Seconds since 1970.
    """

    number: int
    path: Path
    size: int
    etag: str
    crc64: str
    modified: float


@dataclass(frozen=True)
class Upload:
    """A multipart upload in progress.

    Attributes:
        id: 32 upper-case hexadecimal digits.
        bucket: Bucket of the new object.
        key: Name of the new object.
        headers: Response headers of the new object, by lower-case name.
    """

    id: str
    bucket: str
    key: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Listing:
    """A page of a bucket's objects.

    Attributes:
        objects: Sorted by the bytes of their names.
        prefixes: Common prefixes, up to and including the delimiter, of the other objects.
        next_position: First name of the next page, as bytes; None on the last page.
    """

    objects: Sequence[StoredObject]
    prefixes: Sequence[str]
    next_position: bytes | None


@dataclass(frozen=True, kw_only=True)
class ObjectEvent:
    """An event of one object (fc-runtime.md: OSS trigger; oss.md: Sizes in events).

    Attributes:
        bucket: Name of the bucket.
        key: Name of the object, not URL-encoded.
        name: `eventName`, without `oss:`.
        size: Size of the object or the part, in bytes.
        delta: Growth of the bucket in bytes; negative if it shrank.
        etag: ETag of the content.
        mime_type: `objectMeta.mimeType`.
        user_meta: `objectMeta.userMeta`.
        request_id: Id of the request that caused the event.
    """

    bucket: str
    key: str
    name: str = "ObjectCreated:PutObject"
    size: int = 0
    delta: int = 0
    etag: str = "D41D8CD98F00B204E9800998ECF8427E"
    mime_type: str = DEFAULT_MIME_TYPE
    user_meta: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""


def check_bucket_name(name: str) -> str:
    """Return the name of a bucket: 3 to 63 lower-case letters, digits and hyphens, no hyphen at either end.

    Raises:
        OssError: `InvalidBucketName`.
    """
    if not _BUCKET_NAME.fullmatch(name):
        raise OssError("InvalidBucketName", BucketName=name)
    return name


def check_key(key: str) -> str:
    """Return the name of an object: 1 to 1023 bytes, without a leading slash or backslash.

    Raises:
        OssError: `InvalidObjectName`.
    """
    if not key or key[0] in "/\\" or len(key.encode()) > MAX_KEY_BYTES:
        raise OssError("InvalidObjectName", ObjectName=key)
    return key


def multipart_etag(etags: Sequence[str]) -> str:
    """Return the ETag of a multipart object: a hash of the parts' ETags as text (oss.md: Checksums)."""
    digest = hashlib.md5("".join(etags).encode(), usedforsecurity=False).hexdigest().upper()
    return f"{digest}-{len(etags)}"
