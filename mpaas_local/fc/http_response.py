"""The response of an HTTP trigger: a function's return value becomes status, headers and body
(fc-runtime.md: HTTP response).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from mpaas_local.compact_json import compact_json

__all__ = [
    "HEADERS_LIMIT",
    "RESERVED_RESPONSE_HEADERS",
    "WITHOUT_BODY",
    "BadResponse",
    "HttpResponse",
    "response_of",
]

HEADERS_LIMIT = 8 * 1024
"""Maximum size, in bytes, of header names and values together, in a request and in a response
(fc-runtime.md: HTTP limits)."""
RESERVED_RESPONSE_HEADERS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"}
)
"""Headers that a function cannot set, in addition to `X-Fc-*` and `Content-Disposition: attachment`
(fc-runtime.md: HTTP response). `Transfer-Encoding` is not documented: it would contradict the gateway's
Content-Length."""
WITHOUT_BODY = frozenset({204, 304})
"""Statuses of responses without a body."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True)
class HttpResponse:
    """Status, headers and body for the client."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class BadResponse(Exception):
    """The function's return value cannot be sent: HTTP 502 (fc-runtime.md: HTTP errors)."""


def response_of(payload: bytes) -> HttpResponse:
    """Return the response for a function's return value (fc-runtime.md: HTTP response).

    A choice where the page is silent: a `statusCode` that is not an integer from 200 to 599, and headers that
    are not an object of strings, are errors, so that they are noticed before a deployment.

    Raises:
        BadResponse: it has a `statusCode` but cannot be sent.
    """
    try:
        returned = json.loads(payload)
    except ValueError:
        returned = None
    if not isinstance(returned, dict) or "statusCode" not in returned:
        return HttpResponse(200, (("content-type", "application/json"),), payload)
    status = returned["statusCode"]
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise BadResponse(f"statusCode is {status!r}; must be an integer from 200 to 599")
    headers = _response_headers(returned.get("headers") or {})
    body = b"" if status in WITHOUT_BODY else _body_bytes(returned)
    return HttpResponse(status, headers, body)


def _response_headers(returned: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(returned, dict):
        raise BadResponse("headers is not an object")
    kept = []
    for original_name, value in returned.items():
        name = original_name.lower()
        if (
            not isinstance(value, str)
            or not _HEADER_NAME.fullmatch(name)
            or not _HEADER_VALUE.fullmatch(value)
        ):
            raise BadResponse(
                f"header {original_name!r}: must be a valid name with a string without line breaks as value"
            )
        if name in RESERVED_RESPONSE_HEADERS or name.startswith("x-fc-"):
            continue
        if name == "content-disposition" and value.strip().lower().startswith("attachment"):
            continue
        kept.append((name, value))
    if sum(len(name) + len(value) for name, value in kept) > HEADERS_LIMIT:
        raise BadResponse(f"headers have more than {HEADERS_LIMIT} bytes")
    if not any(name == "content-type" for name, _ in kept):
        kept.append(("content-type", "application/json"))
    return tuple(kept)


def _body_bytes(returned: dict[str, Any]) -> bytes:
    body = returned.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        return compact_json(body)
    if returned.get("isBase64Encoded") is True:
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            return body.encode()  # unchanged and without an error (fc-runtime.md: HTTP response)
    return body.encode()
