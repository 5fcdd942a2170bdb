"""What the service keeps: buckets, objects, uploads in parts; and what happens to objects."""

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
"""Of an object's name in UTF-8."""
MAX_OBJECT_BYTES = 5 * 1024**3
"""Of one PutObject or one part."""
MIN_PART_BYTES = 100 * 1024
"""Of every part but the last."""
MAX_PART_NUMBER = 10_000
DEFAULT_MIME_TYPE = "application/octet-stream"
"""Of an object whose writer named none."""
USER_META = "x-oss-meta-"
"""How the headers of user metadata begin."""

_BUCKET_NAME = re.compile("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    Attributes:
        name: Of small letters, digits and hyphens.
        created: Seconds since 1970.
    """

    name: str
    created: float


@dataclass(frozen=True)
class StoredObject:
    """An object.

    Attributes:
        bucket: Name of its bucket.
        key: Its name.
        path: File of its bytes; it may go as soon as the object is replaced or deleted, open files stay.
        size: Bytes.
        etag: MD5 in capital hexadecimal digits; of a multipart object the MD5 of those of its parts, `-` and
            their number.
        crc64: CRC-64/XZ of its bytes, decimal; None if it was never computed.
        modified: Seconds since 1970.
        type: How it was made.
        headers: Those of its answer that its writer gave, with names in lower case: `content-type`,
            `x-oss-meta-…`.
    """

    bucket: str
    key: str
    path: Path
    size: int
    etag: str
    crc64: str | None
    modified: float
    type: Literal["Normal", "Multipart"] = "Normal"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_md5(self) -> str | None:
        """Base64 of the MD5 of its bytes, if that is known."""
        known = self.type == "Normal" and self.crc64 is not None
        return base64.b64encode(bytes.fromhex(self.etag)).decode() if known else None


@dataclass(frozen=True)
class Part:
    """A part of a multipart upload.

    Attributes:
        number: 1 to 10,000.
        path: File of its bytes.
        size: Bytes.
        etag: MD5 in capital hexadecimal digits.
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
    """A multipart upload under way.

    Attributes:
        id: 32 capital hexadecimal digits.
        bucket: Of the object that it becomes.
        key: Of the object that it becomes.
        headers: Of the object that it becomes.
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
        prefixes: Groups of further objects, whose names go on after the delimiter.
        next_position: Where the next page begins; None if this is the last.
    """

    objects: Sequence[StoredObject]
    prefixes: Sequence[str]
    next_position: bytes | None


@dataclass(frozen=True)
class ObjectEvent:
    """What happened to one object (fc-runtime.md: OSS trigger).

    Attributes:
        bucket: Name of the bucket.
        key: Name of the object, not URL-encoded.
        name: `eventName`, without `oss:`.
        size: Bytes of the object, or of a part.
        delta: By how many bytes the bucket grew; negative if it shrank.
        etag: Of the content.
        mime_type: `objectMeta.mimeType`.
        user_meta: `objectMeta.userMeta`.
        request_id: Of the request that did it.
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
    """Return the name of a bucket.

    Raises:
        OssError: `InvalidBucketName`.
    """
    if not _BUCKET_NAME.fullmatch(name):
        raise OssError("InvalidBucketName", BucketName=name)
    return name


def check_key(key: str) -> str:
    r"""Return the name of an object: 1 to 1023 bytes, without a slash or backslash in front.

    Raises:
        OssError: `InvalidObjectName`.
    """
    if not key or key[0] in "/\\" or len(key.encode()) > MAX_KEY_BYTES:
        raise OssError("InvalidObjectName", ObjectName=key)
    return key


def multipart_etag(etags: Sequence[str]) -> str:
    """Return the ETag of an object of parts, as OSS writes it: over their ETags as text, not as bytes."""
    digest = hashlib.md5("".join(etags).encode(), usedforsecurity=False).hexdigest().upper()
    return f"{digest}-{len(etags)}"
