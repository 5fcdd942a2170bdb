"""The guard of every local service: only this machine reaches them, and no web page that it shows.

A page can send requests to 127.0.0.1, or to a name of its own that it lets point there (DNS rebinding). The
first names the page in `Origin`, the second the page's name in `Host`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LoopbackOnly", "is_loopback"]

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, is one of this machine's own names."""
    try:
        return urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False


class LoopbackOnly:
    """ASGI middleware that answers 403 to a foreign `Host` and to an `Origin` that is not the service's.

    Args:
        app: What it guards.
        subdomains: Whether names below `localhost` are this machine's too; no page of the web can have one
            (RFC 6761).
    """

    def __init__(self, app: ASGIApp, *, subdomains: bool = False) -> None:
        self._app = app
        self._subdomains = subdomains

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (reason := _refusal(Headers(scope=scope), self._subdomains)):
            problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "detail": reason}
            response = JSONResponse(problem, 403, media_type="application/problem+json")
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(headers: Headers, subdomains: bool) -> str | None:
    host = headers.get("host", "")
    below = subdomains and host.partition(":")[0].endswith(".localhost")
    if not (is_loopback(host) or below):
        return "This service answers to 127.0.0.1 and localhost only."
    if headers.get("origin", f"http://{host}") not in (f"http://{host}", f"https://{host}"):
        return "This service does not answer to pages of other origins."
    return None
