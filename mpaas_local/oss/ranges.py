"""The request headers `Range` and `If-…` (oss.md: Ranges and conditions)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpaas_local.clock import parse_http_date
from mpaas_local.oss.errors import OssError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.oss.model import StoredObject

__all__ = ["ByteRange", "check_conditions", "requested_range"]

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})(,.*)?")


@dataclass(frozen=True)
class ByteRange:
    """A range of an object's bytes.

    Attributes:
        first: Index of the first byte.
        size: Number of bytes.
    """

    first: int
    size: int

    def content_range(self, total: int) -> str:
        """Return the header `Content-Range` for an object of this total size."""
        return f"bytes {self.first}-{self.first + self.size - 1}/{total}"


def requested_range(headers: Mapping[str, str], size: int) -> ByteRange | None:
    """Return the requested range; None for the complete object. Only the first of several ranges is used.

    A range that exceeds the object is ignored; with `x-oss-range-behavior: standard` it is truncated to the
    object's size instead (oss.md: Ranges and conditions).

    Raises:
        OssError: `InvalidRange` if the truncated range is empty.
    """
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        first, last = int(match[1]), int(match[2]) if match[2] else size - 1
        if match[2] and last < first:
            return None
    else:
        first, last = size - int(match[2]), size - 1
    if 0 <= first <= last < size:
        return ByteRange(first, last - first + 1)
    if headers.get("x-oss-range-behavior") != "standard":
        return None
    first, last = max(first, 0), min(last, size - 1)
    if first > last:
        raise OssError("InvalidRange", ActualObjectSize=str(size), RangeRequested=headers["range"])
    return ByteRange(first, last - first + 1)


def check_conditions(headers: Mapping[str, str], stored: StoredObject) -> None:
    """Check the conditions of a request.

    Raises:
        OssError: `PreconditionFailed` for `If-Match` or `If-Unmodified-Since`; `NotModified` for
            `If-None-Match` or `If-Modified-Since`.
    """
    modified = int(stored.modified)
    if "if-match" in headers and not _matches(headers["if-match"], stored.etag):
        raise OssError("PreconditionFailed", Condition="If-Match")
    until = _read_date(headers, "if-unmodified-since")
    if until is not None and modified > until:
        raise OssError("PreconditionFailed", Condition="If-Unmodified-Since")
    if "if-none-match" in headers and _matches(headers["if-none-match"], stored.etag):
        raise OssError("NotModified")
    since = _read_date(headers, "if-modified-since")
    if since is not None and modified <= since:
        raise OssError("NotModified")


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip().strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def _read_date(headers: Mapping[str, str], name: str) -> float | None:
    return parse_http_date(headers[name]) if name in headers else None
