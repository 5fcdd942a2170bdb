"""An authenticated request and its response, as the operations see them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.requests import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from starlette.requests import Request

__all__ = ["MnsCall", "Paging", "Reply", "base_url", "creation_reply"]

_PAGE = 1000
_NUMBER = re.compile("[0-9]{1,18}")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class MnsCall:
    """An authenticated request: path parameters, query parameters with lower-case names, headers and body."""

    request: Request
    body: bytes
    path: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def document(self) -> Element:
        """The body as XML."""
        return parse(self.body)

    @property
    def base_url(self) -> str:
        """The service's address, as the client wrote it."""
        return base_url(self.request)

    def number(self, name: str, low: int, high: int) -> int | None:
        """An integer query parameter; None if it is missing.

        Raises:
            MnsError: `InvalidQueryString` if it is not an integer; `InvalidArgument` if it is out of range.
        """
        text = self.query.get(name.lower())
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise MnsError(
                "InvalidQueryString", f"Http request URL contains invalid querystring item {name}."
            )
        if not low <= int(text) <= high:
            raise out_of_range(name, low, high)
        return int(text)


@dataclass(frozen=True)
class Reply:
    """Status, document and headers of a response."""

    status: int
    document: Element | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Paging:
    """The paging headers of a list operation: prefix, marker (the first name) and page size, at most 1000."""

    def __init__(self, call: MnsCall) -> None:
        headers = call.request.headers
        self.prefix = headers.get("x-mns-prefix", "")
        self.with_meta = headers.get("x-mns-with-meta", "").lower() == "true"
        self._marker = headers.get("x-mns-marker", "")
        text = headers.get("x-mns-ret-number", str(_PAGE))
        if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= _PAGE):
            raise out_of_range("x-mns-ret-number", 1, _PAGE, "names")
        self._size = int(text)

    def page(self, items: Sequence[_Item], name: Callable[[_Item], str]) -> tuple[Sequence[_Item], str]:
        """Return one page of items sorted by name, and the next page's marker; empty on the last page."""
        remaining = [item for item in items if name(item) >= self._marker]
        return remaining[: self._size], name(remaining[self._size]) if len(remaining) > self._size else ""


def creation_reply(call: MnsCall, path: str, new: bool) -> Reply:
    """Return 201 for a new resource, 204 for an existing one."""
    return Reply(201 if new else 204, headers={"location": call.base_url + path})


def base_url(request: Request) -> str:
    """Return the service's address, as the client wrote it."""
    return f"http://{request.headers.get('host', '127.0.0.1')}"
