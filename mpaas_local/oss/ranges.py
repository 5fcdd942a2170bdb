"""The request headers `Range` and `If-…` (oss.md: Ranges and conditions)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from mpaas_local.oss.errors import OssError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.oss.model import StoredObject

__all__ = ["ByteRange", "asked_range", "check_conditions"]

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})(,.*)?")


@dataclass(frozen=True)
class ByteRange:
    """Bytes of an object.

    Attributes:
        first: Number of the first byte, from 0.
        size: How many.
    """

    first: int
    size: int

    def content_range(self, total: int) -> str:
        """Write the header `Content-Range`."""
        return f"bytes {self.first}-{self.first + self.size - 1}/{total}"


def asked_range(headers: Mapping[str, str], size: int) -> ByteRange | None:
    """Return the requested range; None for the whole object. Of several ranges the first counts.

    A range that reaches beyond the object is ignored, unless `x-oss-range-behavior: standard` has it cut to
    what there is (oss.md: Ranges and conditions).

    Raises:
        OssError: `InvalidRange`: with that header, if nothing is left.
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
        OssError: `PreconditionFailed` by `If-Match` or `If-Unmodified-Since`; `NotModified` by
            `If-None-Match` or `If-Modified-Since`.
    """
    modified = int(stored.modified)
    if "if-match" in headers and not _names(headers["if-match"], stored.etag):
        raise OssError("PreconditionFailed", Condition="If-Match")
    until = _moment(headers, "if-unmodified-since")
    if until is not None and modified > until:
        raise OssError("PreconditionFailed", Condition="If-Unmodified-Since")
    if "if-none-match" in headers and _names(headers["if-none-match"], stored.etag):
        raise OssError("NotModified")
    since = _moment(headers, "if-modified-since")
    if since is not None and modified <= since:
        raise OssError("NotModified")


def _names(header: str, etag: str) -> bool:
    tags = [tag.strip().strip('"') for tag in header.split(",")]
    return "*" in tags or etag in tags


def _moment(headers: Mapping[str, str], name: str) -> float | None:
    if name not in headers:
        return None
    try:
        return parsedate_to_datetime(headers[name]).timestamp()
    except (TypeError, ValueError, IndexError):
        return None
