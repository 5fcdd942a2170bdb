"""HTTP triggers: a request calls the function, and its return value becomes the response.

`create_gateway` builds the ASGI application of one function, since a domain of FC belongs to one function
(fc-runtime.md: HTTP event to HTTP access). Deliberate differences from FC:

* Signatures are verified only if keys are given, as with `authType: function`. Only this machine can call,
  but not pages of other origins. Every method is enabled: a preflight request reaches the function.
* `X-Fc-Invocation-Type: Async` requires the function's asynchronous queue; without one the response is 400.
* `Content-Disposition: attachment`, which FC forces on its default domain, is not added.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount

from mpaas_local.account import Account
from mpaas_local.compact_json import compact_json
from mpaas_local.fc.asynchronous import delay_of
from mpaas_local.fc.disconnection import ClientDisconnected, call_unless_disconnected
from mpaas_local.fc.errors import InvalidArgument, PayloadTooLarge, TaskExists, Throttled
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_event import HttpRequest, PlatformFields, event_of
from mpaas_local.fc.http_response import HEADERS_LIMIT, WITHOUT_BODY, BadResponse, HttpResponse, response_of
from mpaas_local.fc.signatures import ApiCall, Unsigned, verify_http_trigger
from mpaas_local.loopback import LoopbackOnly
from mpaas_local.request_body import read_body

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mpaas_local.access_keys import AccessKey

REQUEST_BODY_LIMIT = 32 * 1024 * 1024
"""Maximum size, in bytes, of a request body (fc-runtime.md: HTTP limits)."""
PATH_LIMIT = 4 * 1024
"""Maximum size, in bytes, of path and query together (fc-runtime.md: HTTP limits)."""

_logger = logging.getLogger(__name__)


class CallResult(Protocol):
    """The fields of `mpaas_local.fc.call.Result` that the gateway uses."""

    @property
    def payload(self) -> bytes:
        """The function's return value."""

    @property
    def error_type(self) -> str | None:
        """None if the function succeeded."""


_CONCURRENCY = 10  # concurrent calls of a function without a host

CallFunction = Callable[[bytes, str], CallResult]
"""Calls a function with an event and a request id, and waits. May raise `Throttled`."""
Cancel = Callable[[str], bool]
"""Cancels the call with a request id, whose client has disconnected; False if no instance serves it yet."""


def create_gateway(
    function: FunctionHost | CallFunction,
    *,
    accept: Callable[..., str] | None = None,
    access_keys: Mapping[str, AccessKey] | None = None,
) -> Starlette:
    """Build the application.

    Args:
        function: The function to call. A host has its own account and limit of instances.
        accept: Accepts requests with `X-Fc-Invocation-Type: Async`, as `AsyncQueue.accept` does; None refuses
            them.
        access_keys: Keys by id, one of which must sign each request; None accepts unsigned requests.
    """
    invoke: CallFunction
    cancel: Cancel = _cancel_nothing
    account, concurrency = Account(), _CONCURRENCY
    if isinstance(function, FunctionHost):
        host = function
        cancel = host.cancel
        account, concurrency = host.account, host.limit

        def invoke(event: bytes, request_id: str) -> CallResult:
            return host.invoke(event, request_id=request_id)

    else:
        invoke = function
    trigger = _Trigger(
        invoke,
        accept,
        account.account_id,
        f"local-abcdefgh.{account.region}.fcapp.run",
        concurrency,
        cancel=cancel,
        access_keys=access_keys,
    )
    return Starlette(routes=[Mount("/", app=trigger)], middleware=[Middleware(LoopbackOnly)])


def _cancel_nothing(_request_id: str) -> bool:
    """Let the call run to its end."""
    return True


class _Refused(Exception):
    """The platform responds with an error and does not call the function
    (fc-runtime.md: HTTP errors, Error semantics).
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        body = compact_json({"errorCode": code, "errorMessage": message})
        self.response = HttpResponse(status, (("content-type", "application/json"),), body)


class _Trigger:
    """The application for every path and method."""

    def __init__(
        self,
        invoke: CallFunction,
        accept: Callable[..., str] | None,
        account_id: str,
        domain: str,
        concurrency: int,
        *,
        cancel: Cancel,
        access_keys: Mapping[str, AccessKey] | None,
    ) -> None:
        self._invoke = invoke
        self._cancel = cancel
        self._accept = accept
        self._account_id = account_id
        self._domain = domain
        self._access_keys = access_keys
        # One more than the function can serve: a call must reach it to be throttled.
        self._limiter = anyio.CapacityLimiter(concurrency + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform = PlatformFields(self._account_id, self._domain)
        incoming = Request(scope, receive)
        try:
            response = await self._respond(incoming, platform)
        except _Refused as refusal:
            response = refusal.response
        except (ClientDisconnect, ClientDisconnected):
            return
        headers = list(response.headers)
        headers.append(("x-fc-request-id", platform.request_id))
        if client_origin := incoming.headers.get("origin"):
            headers = _with_cors(headers, client_origin)
        outgoing = Response(response.body, response.status)
        length = [] if response.status in WITHOUT_BODY else [("content-length", str(len(response.body)))]
        outgoing.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in (*headers, *length)
        ]
        await outgoing(scope, receive, send)

    async def _respond(self, incoming: Request, platform: PlatformFields) -> HttpResponse:
        body = await read_body(incoming, REQUEST_BODY_LIMIT)
        scope = incoming.scope
        request = HttpRequest(
            method=scope["method"],
            raw_path=scope.get("raw_path") or scope["path"].encode(),
            query=scope["query_string"],
            headers=tuple(
                (key.decode("latin-1"), value.decode("latin-1")) for key, value in scope["headers"]
            ),
            body=body or b"",
            protocol=f"HTTP/{scope['http_version']}",
            source_ip=scope["client"][0] if scope.get("client") else "",
        )
        _check(request, too_large=body is None)
        if self._access_keys is not None:
            _check_signature(request, self._access_keys)
        event = event_of(request, platform)
        if (request.header("x-fc-invocation-type") or "").lower() == "async":
            return self._accept_async(request, event, platform)
        try:
            result = await call_unless_disconnected(
                incoming.receive,
                lambda: self._invoke(event, platform.request_id),
                lambda: self._cancel(platform.request_id),
                self._limiter,
            )
        except ClientDisconnected:
            raise
        except Throttled as error:
            raise _Refused(429, "ResourceExhausted", str(error)) from error
        except Exception as error:
            _logger.exception("request %s: the function could not be called", platform.request_id)
            raise _Refused(500, "InternalServerError", "the function could not be called") from error
        if result.error_type is not None:
            return HttpResponse(
                502, (("content-type", "text/plain; charset=utf-8"),), b"Internal Server Error"
            )
        try:
            return response_of(result.payload)
        except BadResponse as error:
            raise _Refused(502, "BadResponse", str(error)) from error

    def _accept_async(self, request: HttpRequest, event: bytes, platform: PlatformFields) -> HttpResponse:
        """Accept an asynchronous request (fc-runtime.md: HTTP access, Asynchronous invocation)."""
        if self._accept is None:
            message = "X-Fc-Invocation-Type: Async is not supported here: there is no asynchronous queue"
            raise _Refused(400, "InvalidArgument", message)
        try:
            self._accept(
                event,
                request_id=platform.request_id,
                delay=delay_of(request.header("x-fc-async-delay")),
                task_id=request.header("x-fc-async-task-id"),
                size=len(request.body),
            )
        except (InvalidArgument, PayloadTooLarge) as error:
            raise _Refused(400, "InvalidArgument", str(error)) from error
        except TaskExists as error:
            raise _Refused(409, "AsyncTaskAlreadyExists", str(error)) from error
        return HttpResponse(202)


def _check(request: HttpRequest, *, too_large: bool) -> None:
    """Enforce the limits of FC (fc-runtime.md: HTTP limits)."""
    size = sum(len(name) + len(value) for name, value in request.headers)
    path_size = len(request.raw_path) + (len(request.query) + 1 if request.query else 0)
    if too_large:
        raise _Refused(400, "InvalidArgument", f"the body is larger than {REQUEST_BODY_LIMIT} bytes")
    if size > HEADERS_LIMIT:
        raise _Refused(
            400, "InvalidArgument", f"the headers have {size} bytes; at most {HEADERS_LIMIT} are allowed"
        )
    if path_size > PATH_LIMIT:
        raise _Refused(
            400,
            "InvalidArgument",
            f"path and query have {path_size} bytes; at most {PATH_LIMIT} are allowed",
        )


def _check_signature(request: HttpRequest, keys: Mapping[str, AccessKey]) -> None:
    """Verify the signature (fc-runtime.md: HTTP errors, HTTP access)."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value)
    path, query = request.raw_path.decode("latin-1"), request.query.decode("latin-1")
    call = ApiCall(method=request.method, path=path, query=query, headers=headers, body=request.body)
    try:
        verify_http_trigger(call, keys)
    except Unsigned as error:
        status = 400 if error.code == "MissingRequiredHeader" else 403
        raise _Refused(status, error.code, str(error)) from None


def _with_cors(headers: list[tuple[str, str]], origin: str) -> list[tuple[str, str]]:
    """Add the default CORS headers that the function did not set (fc-runtime.md: HTTP access)."""
    present = {name for name, _ in headers}
    defaults = (
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Date,x-fc-request-id"),
    )
    return [*headers, *(pair for pair in defaults if pair[0] not in present)]
