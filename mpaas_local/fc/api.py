"""Events from outside as HTTP: cloud events, OSS uploads, invocations and ticks
(fc-runtime.md: Timer trigger, Cloud events, Asynchronous invocation).

`create_events_app` gives an ASGI application for people, scripts and tests on this machine:

* `POST /events` takes a CloudEvent 1.0, structured or binary, and delivers it as EventBridge does
  (fc-runtime.md: CloudEvents).
* `POST /events/oss` takes `{"bucket", "key"}` and delivers the upload to OSS triggers (fc-runtime.md: OSS
  trigger) and, as EventBridge does, to event triggers (fc-runtime.md: OSS through EventBridge).
* `POST /invocations/{function}` is the Invoke API for people, without a signature.
* `/2023-03-30/functions/{function}/invocations` is its path on FC 3.0 and
  `/2016-08-15/services/{service}/functions/{function}/invocations` that of FC 2.0 services; the SDKs of both
  work on them unchanged, and where keys are given, their signatures are verified.
* `POST /ticks/{timer}` fires a timer by hand.

Different from FC, on purpose: a synchronous delivery of an event is tried once, and whoever posted the event
is told how it went. `?async=true` and `?async=false` overrule the setting of event triggers.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mpaas_local.eventbridge.cloud_events import BadCloudEvent, cloud_event_of, stamped
from mpaas_local.eventbridge.payloads import dumped
from mpaas_local.fc.asynchronous import InvalidArgument, PayloadTooLarge, QueueClosed, TaskExists, delay_of
from mpaas_local.fc.clients import ClientGone, unless_gone
from mpaas_local.fc.host import Account, HostClosed, Throttled, new_request_id
from mpaas_local.fc.http_trigger import REQUEST_BODY_LIMIT
from mpaas_local.fc.oss_trigger import OssUpload, oss_cloud_event, oss_event
from mpaas_local.fc.signatures import ApiCall, Unsigned, verify
from mpaas_local.fc.timer_trigger import UnknownTimer
from mpaas_local.loopback import is_own_host
from project.fields import OSS_EVENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from mpaas_local.clock import Clock
    from mpaas_local.eventbridge.cloud_events import EventTrigger
    from mpaas_local.fc.asynchronous import AsyncQueue, Invoke
    from mpaas_local.fc.host import Result
    from mpaas_local.fc.oss_trigger import OssTrigger
    from mpaas_local.fc.timer_trigger import Timers
    from mpaas_local.mpaas import AccessKey

__all__ = ["Callee", "create_events_app"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Callee:
    """A function that can be called.

    Attributes:
        invoke: Calls it and waits.
        queue: Its asynchronous queue.
        cancel: Ends the call of a request id, whose client has gone; False if nobody serves it yet. Without
            it, a call is left to end by itself.
    """

    invoke: Invoke
    queue: AsyncQueue
    cancel: Callable[[str], bool] | None = None


def create_events_app(
    functions: Mapping[str, Callee],
    *,
    event_triggers: Sequence[EventTrigger] = (),
    oss_triggers: Sequence[OssTrigger] = (),
    timers: Timers | None = None,
    account: Account | None = None,
    access_keys: Mapping[str, AccessKey] | None = None,
    bus: str = "default",
    clock: Clock | None = None,
    calls: int = 40,
) -> Starlette:
    """Make the application. Functions and triggers may be added to what is given here while it runs.

    Args:
        functions: By the names that the triggers and the invocations use; `<service>/<function>` for one of a
            service of FC 2.0.
        event_triggers: Get the events of `POST /events`.
        oss_triggers: Get the uploads of `POST /events/oss`.
        timers: What `POST /ticks/…` fires.
        account: In the events.
        access_keys: Who may use the paths of FC; None: everybody.
        bus: `aliyuneventbusname`.
        clock: The machine's if None.
        calls: The most synchronous calls at a time.

    Raises:
        ValueError: a trigger is of a function that is not there.
    """
    triggers: list[EventTrigger | OssTrigger] = [*event_triggers, *oss_triggers]
    for trigger in triggers:
        if trigger.function not in functions:
            raise ValueError(f"trigger {trigger.name}: there is no function {trigger.function}")
    api = _Api(
        functions,
        event_triggers,
        oss_triggers,
        timers,
        account or Account(),
        access_keys,
        bus,
        clock.time if clock else time.time,
        anyio.CapacityLimiter(calls),
    )
    return Starlette(
        routes=[
            Route("/events", api.take_event, methods=["POST"]),
            Route("/events/oss", api.take_upload, methods=["POST"]),
            Route("/invocations/{function}", api.invoke, methods=["POST"]),
            Route("/2023-03-30/functions/{function}/invocations", api.invoke_signed, methods=["POST"]),
            Route(
                "/2016-08-15/services/{service}/functions/{function}/invocations",
                api.invoke_signed,
                methods=["POST"],
            ),
            Route("/ticks/{timer:path}", api.tick, methods=["POST"]),
        ],
        middleware=[Middleware(_LoopbackOnly)],
        exception_handlers=dict.fromkeys((_Refused, HTTPException, ClientDisconnect), _error_answer),
    )


class _Refused(Exception):
    """Answered with an error of FC's API (fc-runtime.md: Error semantics)."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _refusal_of(error: Exception) -> _Refused:
    """Say in the API's terms why a call was not made or an event not taken."""
    if isinstance(error, _Refused):
        return error
    for kind, status, code in (
        (PayloadTooLarge, 400, "EntityTooLarge"),
        (InvalidArgument, 400, "InvalidArgument"),
        (TaskExists, 409, "AsyncTaskAlreadyExists"),
        (ClientGone, 499, "InvocationCanceled"),
        (Throttled, 429, "ResourceExhausted"),
        (HostClosed, 503, "ServiceUnavailable"),
        (QueueClosed, 503, "ServiceUnavailable"),
    ):
        if isinstance(error, kind):
            return _Refused(status, code, str(error))
    _logger.error("a function could not be called", exc_info=error)
    return _Refused(500, "InternalServerError", "the function could not be called")


@dataclass(frozen=True)
class _Delivery:
    """What came of an event at one trigger."""

    trigger: EventTrigger | OssTrigger
    mode: str
    status: int
    request_id: str | None = None
    result: Result | None = None
    error: str | None = None

    def shown(self) -> dict[str, Any]:
        shown = {
            "function": self.trigger.function,
            "trigger": self.trigger.name,
            "mode": self.mode,
            "status": self.status,
            "requestId": self.request_id,
            "error": self.error,
        }
        if self.result:
            shown["result"] = self.result.payload.decode(errors="replace")
        return shown

    @property
    def good(self) -> bool:
        return self.error is None


@dataclass(frozen=True)
class _Api:
    """The routes."""

    functions: Mapping[str, Callee]
    event_triggers: Sequence[EventTrigger]
    oss_triggers: Sequence[OssTrigger]
    timers: Timers | None
    account: Account
    access_keys: Mapping[str, AccessKey] | None
    bus: str
    now: Callable[[], float]
    places: anyio.CapacityLimiter

    async def take_event(self, request: Request) -> Response:
        body = await _body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            event = cloud_event_of(headers.get("content-type", ""), headers, body)
        except BadCloudEvent as error:
            raise _Refused(400, "InvalidArgument", str(error)) from error
        event = stamped(event, self.account, self.bus, self.now())
        return _answer(event["id"], await self._publish(event, _asked_mode(request)))

    async def take_upload(self, request: Request) -> Response:
        upload = _upload_of(await _body(request))
        request_id = secrets.token_hex(12).upper()
        moment = self.now()
        native = [
            self._enqueue(trigger, oss_event(upload, trigger.rule_id, self.account, moment, request_id))
            for trigger in self.oss_triggers
            if trigger.wants(upload)
        ]
        event = oss_cloud_event(upload, self.account, moment, request_id)
        return _answer(request_id, [*native, *await self._publish(event, _asked_mode(request))])

    async def invoke_signed(self, request: Request) -> Response:
        body = await _body(request)
        if self.access_keys is not None:
            headers: dict[str, list[str]] = {}
            for name, value in request.headers.items():
                headers.setdefault(name, []).append(value)
            path = request.scope["raw_path"].decode("ascii")
            call = ApiCall(request.method, path, request.url.query, headers, body)
            try:
                verify(call, self.access_keys)
            except Unsigned as error:
                raise _Refused(403, error.code, str(error)) from error
        return await self._invoke(request, body)

    async def invoke(self, request: Request) -> Response:
        return await self._invoke(request, await _body(request))

    async def _invoke(self, request: Request, event: bytes) -> Response:
        service, name = request.path_params.get("service"), request.path_params["function"]
        if service:
            name = f"{service}/{name}"
        callee = self.functions.get(name)
        if callee is None:
            raise _Refused(404, "FunctionNotFound", f"function {name!r} does not exist")
        if request.headers.get("x-fc-invocation-type", "Sync").lower() == "async":
            return _accept(callee, event, request)
        request_id = new_request_id()
        try:
            result = await unless_gone(
                request.receive,
                lambda: callee.invoke(event, request_id=request_id),
                lambda: callee.cancel is None or callee.cancel(request_id),
                self.places,
            )
        except Exception as error:
            raise _refusal_of(error) from error
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
            raise _Refused(404, "TriggerNotFound", "there are no timers")
        try:
            request_id = self.timers.tick(request.path_params["timer"])
        except UnknownTimer as error:
            raise _Refused(404, "TriggerNotFound", str(error)) from error
        except Exception as error:
            raise _refusal_of(error) from error
        return _json(202, {"requestId": request_id}, {"x-fc-request-id": request_id})

    async def _publish(self, event: Mapping[str, Any], asked_async: bool | None) -> list[_Delivery]:
        """Deliver an event to every trigger that wants it."""
        wanting = [
            trigger for trigger in self.event_triggers if trigger.enabled and trigger.pattern.matches(event)
        ]
        deliveries: dict[int, _Delivery] = {}

        async def deliver(number: int, trigger: EventTrigger) -> None:
            asynchronous = trigger.asynchronous if asked_async is None else asked_async
            payload = trigger.payload(event)
            deliveries[number] = (
                self._enqueue(trigger, payload) if asynchronous else await self._push(trigger, payload)
            )

        async with anyio.create_task_group() as tasks:
            for number, trigger in enumerate(wanting):
                tasks.start_soon(deliver, number, trigger)
        return [deliveries[number] for number in range(len(wanting))]

    async def _push(self, trigger: EventTrigger, payload: bytes) -> _Delivery:
        try:
            result = await self._call(self.functions[trigger.function], payload)
        except Exception as error:  # told to whoever posted the event
            refusal = _refusal_of(error)
            return _Delivery(trigger, "sync", refusal.status, error=f"{refusal.code}: {refusal}")
        return _Delivery(trigger, "sync", 200, result.request_id, result, result.error_type)

    def _enqueue(self, trigger: EventTrigger | OssTrigger, payload: bytes) -> _Delivery:
        try:
            request_id = self.functions[trigger.function].queue.accept(payload)
        except Exception as error:  # told to whoever posted the event
            refusal = _refusal_of(error)
            return _Delivery(trigger, "async", refusal.status, error=f"{refusal.code}: {refusal}")
        return _Delivery(trigger, "async", 202, request_id)

    async def _call(self, callee: Callee, event: bytes) -> Result:
        request_id = new_request_id()
        return await anyio.to_thread.run_sync(
            lambda: callee.invoke(event, request_id=request_id), limiter=self.places, abandon_on_cancel=True
        )


def _accept(callee: Callee, event: bytes, request: Request) -> Response:
    """Take an asynchronous invocation (fc-runtime.md: Asynchronous invocation)."""
    try:
        delay = delay_of(request.headers.get("x-fc-async-delay"))
        request_id = callee.queue.accept(event, delay=delay, task_id=_task_id(request))
    except Exception as error:
        raise _refusal_of(error) from error
    return Response(status_code=202, headers={"x-fc-request-id": request_id})


def _task_id(request: Request) -> str | None:
    """Return the task id by its name of FC 3.0 or of 2.0 (fc-runtime.md: Asynchronous invocation)."""
    headers = request.headers
    return headers.get("x-fc-async-task-id") or headers.get("x-fc-stateful-async-invocation-id")


def _asked_mode(request: Request) -> bool | None:
    asked = request.query_params.get("async")
    if asked not in (None, "true", "false"):
        raise _Refused(400, "InvalidArgument", f"async is {asked!r}; true or false")
    return None if asked is None else asked == "true"


def _answer(event_id: str, deliveries: Sequence[_Delivery]) -> Response:
    """Say what came of an event: 200; 202 if all of it comes later; 502 if a function did not take it."""
    status = 200
    if not all(delivery.good for delivery in deliveries):
        status = 502
    elif deliveries and all(delivery.mode == "async" for delivery in deliveries):
        status = 202
    return _json(status, {"id": event_id, "deliveries": [delivery.shown() for delivery in deliveries]})


_UPLOAD_FIELDS: Mapping[str, tuple[str, type]] = {
    "bucket": ("bucket", str),
    "key": ("key", str),
    "eventName": ("name", str),
    "size": ("size", int),
    "eTag": ("etag", str),
    "mimeType": ("mime_type", str),
    "userMeta": ("user_meta", dict),
}
"""Fields of `POST /events/oss`, and what they are in `OssUpload`."""


def _upload_of(body: bytes) -> OssUpload:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise _Refused(400, "InvalidArgument", f"the body is no JSON: {error}") from error
    if not isinstance(fields, dict) or not {"bucket", "key"} <= fields.keys() <= _UPLOAD_FIELDS.keys():
        known = ", ".join(_UPLOAD_FIELDS)
        raise _Refused(
            400, "InvalidArgument", f"an object with bucket and key is needed; it may have: {known}"
        )
    for name, value in fields.items():
        if not isinstance(value, _UPLOAD_FIELDS[name][1]):
            raise _Refused(400, "InvalidArgument", f"{name}: {_UPLOAD_FIELDS[name][1].__name__} is needed")
    upload = OssUpload(**{_UPLOAD_FIELDS[name][0]: value for name, value in fields.items()})
    group, _, name = upload.name.partition(":")
    if name not in OSS_EVENTS.get(group, ()):
        raise _Refused(
            400, "InvalidArgument", f"eventName: {upload.name!r}; one like ObjectCreated:PutObject"
        )
    return upload


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > REQUEST_BODY_LIMIT:
            message = f"payload size exceeds maximum allowed size: {REQUEST_BODY_LIMIT} bytes"
            raise _Refused(400, "EntityTooLarge", message)
    return bytes(body)


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dumped(body), status, headers, media_type="application/json")


async def _error_answer(request: Request, error: Exception) -> Response:
    if isinstance(error, _Refused):
        status, code = error.status, error.code
    elif isinstance(error, HTTPException):
        status, code = error.status_code, "PathNotSupported"
    else:  # the client has gone
        status, code = 400, "InvalidArgument"
    return _error(request, status, code, str(error) or request.url.path)


def _error(request: Request, status: int, code: str, message: str) -> Response:
    """Write an error as the generation of the API that was asked does (fc-runtime.md: Error semantics)."""
    capital = request.url.path.startswith("/2016-08-15/")
    names = ("ErrorCode", "ErrorMessage") if capital else ("errorCode", "errorMessage")
    return _json(status, dict(zip(names, (code, message), strict=True)))


class _LoopbackOnly:
    """Refuses a foreign Host or Origin: no web page reaches the functions by DNS rebinding."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (reason := _foreign(request := Request(scope))) is None:
            await self._app(scope, receive, send)
            return
        response = _error(request, 403, "AccessDenied", reason)
        await response(scope, receive, send)


def _foreign(request: Request) -> str | None:
    host = request.headers.get("host", "")
    if not is_own_host(host):
        return "this API answers to 127.0.0.1 and localhost only"
    origin = request.headers.get("origin")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return "this API does not answer to pages of other origins"
    return None
