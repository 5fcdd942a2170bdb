"""The inbox as an ASGI application: its page, and the JSON API that is all that the page uses.

Everything answers to this machine's own names only; a request of a page from elsewhere is refused. What was
pushed is shown as text, never as markup, and nothing of it is loaded: no picture, no link of a push.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from mpaas_local.inbox.changes import Changes
from mpaas_local.inbox.routes import fault_routes, figure_routes, push_routes, queue_routes, send_routes
from mpaas_local.loopback import LoopbackOnly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mpaas_local.fc.call_log import CallLog
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
    "Cache-Control": "no-store",
}


def create_inbox_app(
    sandbox: Sandbox,
    calls: CallLog,
    queues: MnsStore,
    entrypoints: Entrypoints,
    *,
    changes: Changes | None = None,
) -> FastAPI:
    """Make the application.

    Args:
        sandbox: Whose pushes and faults are shown.
        calls: Of the functions.
        queues: Of the stack.
        entrypoints: Where the page sends messages.
        changes: Where changes are announced.
    """
    told = changes or Changes()
    store, faults = sandbox.store, sandbox.fault_book

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop: list[Callable[[], object]] = [
            store.listen(lambda: told.tell("pushes")),
            queues.listen(lambda _: told.tell("queues")),
        ]
        try:
            yield
        finally:
            for each in stop:
                each()

    app = FastAPI(
        title="mpaas-push inbox",
        version="1",
        description="What the local stack sent, and all that the page of the inbox does.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(LoopbackOnly)
    app.add_middleware(_SecurityHeaders)  # around the guard, whose answers get them, too
    app.include_router(push_routes(store, entrypoints))
    app.include_router(send_routes(entrypoints))
    app.include_router(fault_routes(faults, told))
    app.include_router(queue_routes(queues, entrypoints))
    app.include_router(figure_routes(store, calls, queues, entrypoints))

    @app.get(
        "/api/changes",
        tags=["figures"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    def changes_as_they_come() -> StreamingResponse:
        """Tell of changes, as server-sent events: how often pushes, calls, queues and faults changed."""
        return StreamingResponse(told.stream(), media_type="text/event-stream")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    return app


class _SecurityHeaders:
    """Adds the headers that keep the page from loading anything from elsewhere, and from being framed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, with_headers)
