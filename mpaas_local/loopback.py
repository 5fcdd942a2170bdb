"""The guard of all local services: only programs on this machine can call them, but not web pages.

A page can send requests to 127.0.0.1, which have a foreign `Origin`, or to its own domain if that resolves to
127.0.0.1 (DNS rebinding), which have a foreign `Host`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from mpaas_local.view_json import view_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LoopbackOnly", "names_this_machine"]

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def names_this_machine(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    try:
        return urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False


class LoopbackOnly:
    """ASGI middleware that rejects a foreign `Host` or `Origin` with 403.

    Args:
        app: The application to guard.
        subdomains: Whether to accept subdomains of `localhost`, which no web page can have (RFC 6761).
    """

    def __init__(self, app: ASGIApp, *, subdomains: bool = False) -> None:
        self._app = app
        self._subdomains = subdomains

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it."""
        if scope["type"] == "http" and (reason := _refusal(Headers(scope=scope), self._subdomains)):
            await view_problem(403, "Forbidden", reason)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(headers: Headers, subdomains: bool) -> str | None:
    host = headers.get("host", "")
    is_subdomain = subdomains and host.partition(":")[0].endswith(".localhost")
    if not (names_this_machine(host) or is_subdomain):
        return "This service is available at 127.0.0.1 and localhost only."
    if headers.get("origin", f"http://{host}") not in (f"http://{host}", f"https://{host}"):
        return "This service rejects requests from pages of other origins."
    return None
