"""Function Compute's invocation API (fc-runtime.md: Asynchronous invocation, Error semantics), and a route
that fires timers.

* `/2023-03-30/functions/{function}/invocations` is the path of FC 3.0, and
  `/2016-08-15/services/{service}/functions/{function}/invocations` that of FC 2.0. The SDKs of both work
  unchanged. Signatures are verified if keys are given.
* `POST /invocations/{function}` does the same without a signature, for manual calls.
* `POST /ticks/{timer}` fires a timer now.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from mpaas_local.fc.api_errors import ERROR_HANDLERS, ApiError, api_error_of, json_response
from mpaas_local.fc.asynchronous import delay_of
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.disconnection import call_unless_disconnected
from mpaas_local.fc.http_trigger import REQUEST_BODY_LIMIT
from mpaas_local.fc.signatures import ApiCall, Unsigned, verify
from mpaas_local.fc.timer_trigger import UnknownTimer
from mpaas_local.loopback import LoopbackOnly
from mpaas_local.request_body import read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.fc.asynchronous import AsyncQueue
    from mpaas_local.fc.call import Invoke
    from mpaas_local.fc.timer_trigger import Timers

__all__ = ["CONCURRENCY", "Callee", "create_api", "read_event"]

CONCURRENCY = 40
"""Maximum number of concurrent synchronous calls."""


@dataclass(frozen=True)
class Callee:
    """A function that can be called.

    Attributes:
        invoke: Calls it and waits.
        queue: Its asynchronous queue.
        cancel: Cancels the call with a request id, whose client has disconnected; False if no instance serves
            it yet. None lets such a call run to its end.
    """

    invoke: Invoke
    queue: AsyncQueue
    cancel: Callable[[str], bool] | None = None


def create_api(
    functions: Mapping[str, Callee],
    *,
    timers: Timers | None = None,
    access_keys: Mapping[str, AccessKey] | None = None,
    more_routes: Sequence[Route] = (),
) -> Starlette:
    """Build the application. The caller may add functions to the mapping while it runs.

    Args:
        functions: By name; `<service>/<function>` for a function of a service of FC 2.0.
        timers: The timers for `POST /ticks/…`.
        access_keys: Keys by id, one of which must sign each call of FC's paths; None accepts unsigned calls.
        more_routes: Routes of other services on the same port, such as `event_routes`.
    """
    api = _Api(functions, timers, access_keys, anyio.CapacityLimiter(CONCURRENCY))
    return Starlette(
        routes=[
            Route("/invocations/{function}", api.invoke, methods=["POST"]),
            Route("/2023-03-30/functions/{function}/invocations", api.invoke_signed, methods=["POST"]),
            Route(
                "/2016-08-15/services/{service}/functions/{function}/invocations",
                api.invoke_signed,
                methods=["POST"],
            ),
            Route("/ticks/{timer:path}", api.tick, methods=["POST"]),
            *more_routes,
        ],
        middleware=[Middleware(LoopbackOnly)],
        exception_handlers=ERROR_HANDLERS,
    )


@dataclass(frozen=True)
class _Api:
    """The routes."""

    functions: Mapping[str, Callee]
    timers: Timers | None
    access_keys: Mapping[str, AccessKey] | None
    limiter: anyio.CapacityLimiter

    async def invoke_signed(self, request: Request) -> Response:
        body = await read_event(request)
        if self.access_keys is not None:
            headers: dict[str, list[str]] = {}
            for name, value in request.headers.items():
                headers.setdefault(name, []).append(value)
            path = request.scope["raw_path"].decode("ascii")
            call = ApiCall(
                method=request.method, path=path, query=request.url.query, headers=headers, body=body
            )
            try:
                verify(call, self.access_keys)
            except Unsigned as error:
                raise ApiError(403, error.code, str(error)) from error
        return await self._invoke(request, body)

    async def invoke(self, request: Request) -> Response:
        return await self._invoke(request, await read_event(request))

    async def _invoke(self, request: Request, event: bytes) -> Response:
        service, name = request.path_params.get("service"), request.path_params["function"]
        if service:
            name = f"{service}/{name}"
        callee = self.functions.get(name)
        if callee is None:
            raise ApiError(404, "FunctionNotFound", f"function {name!r} does not exist")
        if request.headers.get("x-fc-invocation-type", "Sync").lower() == "async":
            return _accept(callee, event, request)
        request_id = new_request_id()
        try:
            result = await call_unless_disconnected(
                request.receive,
                lambda: callee.invoke(event, request_id=request_id),
                lambda: callee.cancel is None or callee.cancel(request_id),
                self.limiter,
            )
        except Exception as error:
            raise api_error_of(error) from error
        headers = {
            "x-fc-request-id": result.request_id,
            "x-fc-invocation-duration": f"{result.duration_ms:.2f}",
            "x-fc-max-memory-usage": f"{result.max_memory_mb:.2f}",
        }
        if result.error_type:
            headers["x-fc-error-type"] = result.error_type
        if request.headers.get("x-fc-log-type", "").lower() == "tail":
            headers["x-fc-log-result"] = base64.b64encode(result.log_tail.encode()).decode()
        return Response(result.payload, headers=headers, media_type="application/octet-stream")

    async def tick(self, request: Request) -> Response:
        if self.timers is None:
            raise ApiError(404, "TriggerNotFound", "there are no timers")
        try:
            request_id = self.timers.tick(request.path_params["timer"])
        except UnknownTimer as error:
            raise ApiError(404, "TriggerNotFound", str(error)) from error
        except Exception as error:
            raise api_error_of(error) from error
        return json_response(202, {"requestId": request_id}, {"x-fc-request-id": request_id})


def _accept(callee: Callee, event: bytes, request: Request) -> Response:
    """Accept an asynchronous invocation (fc-runtime.md: Asynchronous invocation)."""
    try:
        delay = delay_of(request.headers.get("x-fc-async-delay"))
        request_id = callee.queue.accept(event, delay=delay, task_id=_task_id(request))
    except Exception as error:
        raise api_error_of(error) from error
    return Response(status_code=202, headers={"x-fc-request-id": request_id})


def _task_id(request: Request) -> str | None:
    """Return the task id from the header of FC 3.0 or 2.0 (fc-runtime.md: Asynchronous invocation)."""
    headers = request.headers
    return headers.get("x-fc-async-task-id") or headers.get("x-fc-stateful-async-invocation-id")


async def read_event(request: Request) -> bytes:
    """Read the event in a request's body.

    Raises:
        ApiError: it is larger than 32 MB.
    """
    event = await read_body(request, REQUEST_BODY_LIMIT)
    if event is None:
        message = f"payload size exceeds maximum allowed size: {REQUEST_BODY_LIMIT} bytes"
        raise ApiError(400, "EntityTooLarge", message)
    return event
