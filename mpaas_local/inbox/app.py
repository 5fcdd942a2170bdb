"""The inbox as an ASGI application: its page, and the JSON API that the page uses.

Only this machine can call it, under its own host names; pages of other origins are refused. The content of a
push is shown as text, never as markup, and its pictures and links are not loaded.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from mpaas_local.inbox.campaigns.history import CampaignWatch
from mpaas_local.inbox.campaigns.http_function import FunctionRefused, HttpFunction, refusal
from mpaas_local.inbox.campaigns.routes import audience_routes, campaign_routes, preparation_routes
from mpaas_local.inbox.routes import fault_routes, figure_routes, push_routes, queue_routes, send_routes
from mpaas_local.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mpaas_local.fc.call_log import CallLog
    from mpaas_local.inbox.changes import Changes
    from mpaas_local.inbox.routes import Entrypoints
    from mpaas_local.mns import MnsStore
    from mpaas_local.mpaas import Sandbox

__all__ = ["create_inbox_app"]

STATIC = Path(__file__).resolve().parent / "static"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_inbox_app(
    sandbox: Sandbox,
    calls: CallLog,
    queues: MnsStore,
    entrypoints: Entrypoints,
    *,
    changes: Changes,
) -> FastAPI:
    """Build the application.

    Args:
        sandbox: Holds the pushes and the faults.
        calls: The calls of the functions.
        queues: The queues of the stack.
        entrypoints: Where the page sends messages.
        changes: Notifies open pages.
    """
    store, faults = sandbox.store, sandbox.fault_book
    http_function = HttpFunction(entrypoints)
    watch = CampaignWatch(http_function, changes.announce)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop: list[Callable[[], object]] = [
            store.listen(lambda: changes.announce("pushes")),
            queues.listen(lambda _: changes.announce("queues")),
        ]
        try:
            yield
        finally:
            watch.stop()
            for stop_listening in stop:
                stop_listening()

    app = FastAPI(
        title="mpaas-push inbox",
        version="1",
        description="The pushes of the local stack, and all operations of the inbox page.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(LoopbackOnly)
    app.add_middleware(_SecurityHeaders)  # outside the guard, whose responses need the headers as well
    app.include_router(push_routes(store, entrypoints))
    app.include_router(send_routes(entrypoints))
    app.include_router(fault_routes(faults, changes))
    app.include_router(queue_routes(queues, entrypoints))
    app.include_router(audience_routes(entrypoints))
    app.include_router(preparation_routes(http_function, entrypoints))
    app.include_router(campaign_routes(http_function, watch, entrypoints))
    app.add_exception_handler(FunctionRefused, refusal)
    app.include_router(figure_routes(store, calls, queues, entrypoints))

    @app.get(
        "/api/changes",
        tags=["figures"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    def stream_changes() -> StreamingResponse:
        """Stream server-sent events that count the changes of pushes, calls, queues and faults."""
        return StreamingResponse(changes.stream(), media_type="text/event-stream")

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        text = (STATIC / "index.html").read_text("utf-8")
        return HTMLResponse(text.replace("/static/", f"/static/{_version()}/"))

    app.mount("/static/{version}", StaticFiles(directory=STATIC))
    return app


def _version() -> str:
    """Return a digest of all static files, so that browsers may cache each of them permanently."""
    digest = sha256()
    for path in sorted(STATIC.rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class _SecurityHeaders:
    """Adds headers that forbid loading anything from elsewhere, and framing by other pages.

    Browsers cache only the static files, whose URLs contain a version.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                caching = (
                    "max-age=31536000, immutable" if scope["path"].startswith("/static/") else "no-store"
                )
                extra = [
                    (name.lower().encode(), value.encode())
                    for name, value in (*_HEADERS.items(), ("Cache-Control", caching))
                ]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, with_headers)
