"""The event of an HTTP trigger, from a client's request (fc-runtime.md: HTTP event)."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_to_bytes

from mpaas_local.compact_json import compact_json
from mpaas_local.fc.call import new_request_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TEXT_TYPES", "HttpRequest", "PlatformFields", "event_of"]

TEXT_TYPES = frozenset(
    {
        "application/json",
        "application/ld+json",
        "application/xhtml+xml",
        "application/xml",
        "application/atom+xml",
        "application/javascript",
    }
)
"""Media types, in addition to `text/*`, whose body is not base64 in the event (fc-runtime.md: HTTP event)."""

_HOP_HEADERS = frozenset({"connection", "host", "keep-alive", "trailer", "transfer-encoding"})


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request as received: header names in lower case, path and query undecoded."""

    method: str
    raw_path: bytes
    query: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    protocol: str = "HTTP/1.1"
    source_ip: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """The values of a header, joined with commas; None if it was not sent."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class PlatformFields:
    """The fields that the platform adds to the event."""

    account_id: str
    domain: str
    request_id: str = field(default_factory=new_request_id)
    time: float = field(default_factory=time.time)


def event_of(request: HttpRequest, platform: PlatformFields) -> bytes:
    """Return the event of a request (fc-runtime.md: HTTP event).

    Choices where the page is silent: query values are decoded; parameters of the media type are ignored;
    bytes of a text body that are not UTF-8 become U+FFFD; `Host` and hop-by-hop headers are omitted, as in
    the documented sample.
    """
    content_type = (request.header("content-type") or "").split(";")[0].strip().lower()
    is_text = content_type.startswith("text/") or content_type in TEXT_TYPES
    body = request.body.decode(errors="replace") if is_text else base64.b64encode(request.body).decode()
    query = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, errors="replace")
    headers = (
        (_canonical_name(name), value)
        for name, value in request.headers
        if name not in _HOP_HEADERS and not name.startswith("x-fc-")
    )
    event = {
        "version": "v1",
        "rawPath": request.raw_path.decode("latin-1"),
        "headers": _join_values(headers),
        "queryParameters": _join_values(query),
        "body": body,
        "isBase64Encoded": not is_text,
        "requestContext": {
            "accountId": platform.account_id,
            "domainName": platform.domain,
            "domainPrefix": platform.domain.split(".")[0],
            "requestId": platform.request_id,
            "time": datetime.fromtimestamp(int(platform.time), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "timeEpoch": str(int(platform.time * 1000)),
            "http": {
                "method": request.method,
                "path": unquote_to_bytes(request.raw_path).decode(errors="replace"),
                "protocol": request.protocol,
                "sourceIp": request.source_ip,
                "userAgent": request.header("user-agent") or "",
            },
        },
    }
    return compact_json(event)


def _canonical_name(name: str) -> str:
    """Capitalize a header name as Go's `net/http` does: `accept-encoding` becomes `Accept-Encoding`
    (fc-runtime.md: HTTP event).
    """
    return "-".join(part.capitalize() for part in name.split("-"))


def _join_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the values of each key with commas (fc-runtime.md: HTTP event)."""
    values: dict[str, str] = {}
    for key, value in pairs:
        values[key] = f"{values[key]},{value}" if key in values else value
    return values
