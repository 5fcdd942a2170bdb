"""An HTTP trigger: requests become events of FC 3.0, what the function returns becomes the response.

`create_gateway` gives an ASGI application for one function, as on FC one domain belongs to one function. The
rules are documented (fc-runtime.md: HTTP event to HTTP access). Different from FC, on purpose:

* Signatures are verified only if keys are given, as with `authType: function`; only this machine may call;
  every method is enabled, so a preflight request reaches the function. Pages of other origins are refused.
* `X-Fc-Invocation-Type: Async` needs the function's asynchronous queue; without one it is answered with 400.
* `Content-Disposition: attachment`, which FC forces on its default domain, only on request.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote_to_bytes

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount

from mpaas_local.account import Account
from mpaas_local.compact_json import compact_json
from mpaas_local.fc.asynchronous import delay_of
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.clients import ClientGone, unless_gone
from mpaas_local.fc.errors import InvalidArgument, PayloadTooLarge, TaskExists, Throttled
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.signatures import ApiCall, Unsigned, verify_http_trigger
from mpaas_local.loopback import LoopbackOnly

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from mpaas_local.access_keys import AccessKey

REQUEST_BODY_LIMIT = 32 * 1024 * 1024
"""Bytes (fc-runtime.md: HTTP limits)."""
HEADERS_LIMIT = 8 * 1024
"""Bytes of header names and values together, of a request and of a response (fc-runtime.md: HTTP limits)."""
PATH_LIMIT = 4 * 1024
"""Bytes of path and query (fc-runtime.md: HTTP limits)."""
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
"""Media types whose body is not base64 in the event, next to `text/*` (fc-runtime.md: HTTP event)."""
RESERVED_RESPONSE_HEADERS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"}
)
"""What a function cannot set, next to `X-Fc-*` and `Content-Disposition: attachment` (fc-runtime.md: HTTP
response). `Transfer-Encoding` is added here: it would contradict the length that the gateway sets."""

_logger = logging.getLogger(__name__)
_HOP_HEADERS = frozenset({"connection", "host", "keep-alive", "trailer", "transfer-encoding"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_WITHOUT_BODY = frozenset({204, 304})


class Answer(Protocol):
    """What the gateway needs of a call's result; `mpaas_local.fc.host.Result` has it."""

    @property
    def payload(self) -> bytes:
        """What the function returned."""

    @property
    def error_type(self) -> str | None:
        """None unless the function failed."""


Invoke = Callable[[bytes, str], Answer]
"""Calls a function with event and request id; blocks; may raise `Throttled`."""
Cancel = Callable[[str], bool]
"""Ends the call of a request id, whose client has gone; False if nobody serves it yet."""


@dataclass(frozen=True)
class HttpResponse:
    """Status, headers and body on their way to the client."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class BadResponse(Exception):
    """What the function returned cannot be sent as a response: HTTP 502 (fc-runtime.md: HTTP errors)."""


def create_gateway(
    function: FunctionHost | Invoke,
    *,
    accept: Callable[..., str] | None = None,
    account_id: str = "1000000000000000",
    domain: str | None = None,
    concurrency: int = 10,
    attachment: bool = False,
    access_keys: Mapping[str, AccessKey] | None = None,
) -> Starlette:
    """Make the application.

    Args:
        function: Who is called; for a host, `account_id` and `concurrency` are the host's own.
        accept: Takes requests with `X-Fc-Invocation-Type: Async`, as `AsyncQueue.accept` does; None: refused.
        account_id: Shown to the function.
        domain: Shown to the function, whatever name the client used; one of its region if None.
        concurrency: Calls at a time that can succeed; one more is let through to be throttled.
        attachment: Force `Content-Disposition: attachment`, as the default domain does
            (fc-runtime.md: HTTP response).
        access_keys: Keys by id, one of which must have signed a request; None: anybody may call.
    """
    invoke: Invoke
    cancel: Cancel = _leave
    region = Account().region
    if isinstance(function, FunctionHost):
        host = function
        cancel = host.cancel
        account_id, region, concurrency = host.account.account_id, host.account.region, host.limit

        def invoke(event: bytes, request_id: str) -> Answer:
            return host.invoke(event, request_id=request_id)

    else:
        invoke = function
    domain = domain or f"local-abcdefgh.{region}.fcapp.run"
    trigger = _Trigger(
        invoke,
        accept,
        account_id,
        domain,
        concurrency,
        cancel=cancel,
        attachment=attachment,
        access_keys=access_keys,
    )
    return Starlette(routes=[Mount("/", app=trigger)], middleware=[Middleware(LoopbackOnly)])


def _leave(_request_id: str) -> bool:
    """Let a call end by itself."""
    return True


@dataclass(frozen=True)
class HttpRequest:
    """What came in, undecoded: header names in lower case, path and query as sent."""

    method: str
    raw_path: bytes
    query: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    protocol: str = "HTTP/1.1"
    source_ip: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """Give the values of a header, joined with a comma; None if there is none."""
        values = [value for key, value in self.headers if key == name]
        return ",".join(values) if values else None


@dataclass(frozen=True)
class Origin:
    """What the platform adds to a request in the event."""

    account_id: str
    domain: str
    request_id: str = field(default_factory=new_request_id)
    time: float = field(default_factory=time.time)


def event_of(request: HttpRequest, origin: Origin) -> bytes:
    """Write the event that a function is given (fc-runtime.md: HTTP event).

    Not documented, decided here: query values are decoded; parameters of the media type are ignored; bytes of
    a text body that are not UTF-8 become U+FFFD; `Host` and hop-by-hop headers are left out, as in the
    documented sample.
    """
    content_type = (request.header("content-type") or "").split(";")[0].strip().lower()
    is_text = content_type.startswith("text/") or content_type in TEXT_TYPES
    body = request.body.decode(errors="replace") if is_text else base64.b64encode(request.body).decode()
    query = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True, errors="replace")
    headers = (
        (canonical(name), value)
        for name, value in request.headers
        if name not in _HOP_HEADERS and not name.startswith("x-fc-")
    )
    event = {
        "version": "v1",
        "rawPath": request.raw_path.decode("latin-1"),
        "headers": joined(headers),
        "queryParameters": joined(query),
        "body": body,
        "isBase64Encoded": not is_text,
        "requestContext": {
            "accountId": origin.account_id,
            "domainName": origin.domain,
            "domainPrefix": origin.domain.split(".")[0],
            "requestId": origin.request_id,
            "time": datetime.fromtimestamp(int(origin.time), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "timeEpoch": str(int(origin.time * 1000)),
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


def canonical(name: str) -> str:
    """Write a header name as Go's `net/http` does: `accept-encoding` becomes `Accept-Encoding`
    (fc-runtime.md: HTTP event).
    """
    return "-".join(part.capitalize() for part in name.split("-"))


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Make one value of those under the same key, with a comma between them (fc-runtime.md: HTTP event)."""
    values: dict[str, str] = {}
    for key, value in pairs:
        values[key] = f"{values[key]},{value}" if key in values else value
    return values


def response_of(payload: bytes) -> HttpResponse:
    """Read what the function returned (fc-runtime.md: HTTP response).

    Not documented, decided here: a `statusCode` that is not a number from 200 to 599, and headers that are
    not an object of strings, are refused, so that they are met here and not on FC.

    Raises:
        BadResponse: it has a `statusCode` and cannot be sent.
    """
    try:
        returned = json.loads(payload)
    except ValueError:
        returned = None
    if not isinstance(returned, dict) or "statusCode" not in returned:
        return HttpResponse(200, (("content-type", "application/json"),), payload)
    status = returned["statusCode"]
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise BadResponse(f"statusCode is {status!r}; a number from 200 to 599")
    headers = _response_headers(returned.get("headers") or {})
    body = b"" if status in _WITHOUT_BODY else _body_bytes(returned)
    return HttpResponse(status, headers, body)


def _response_headers(returned: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(returned, dict):
        raise BadResponse("headers is not an object")
    kept = []
    for given, value in returned.items():
        name = given.lower()
        if (
            not isinstance(value, str)
            or not _HEADER_NAME.fullmatch(name)
            or not _HEADER_VALUE.fullmatch(value)
        ):
            raise BadResponse(f"header {given!r}: a name and one text without line ends are expected")
        if name in RESERVED_RESPONSE_HEADERS or name.startswith("x-fc-"):
            continue
        if name == "content-disposition" and value.strip().lower().startswith("attachment"):
            continue
        kept.append((name, value))
    if sum(len(name) + len(value) for name, value in kept) > HEADERS_LIMIT:
        raise BadResponse(f"headers take more than {HEADERS_LIMIT} bytes")
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
            return body.encode()  # as it is, without an error (fc-runtime.md: HTTP response)
    return body.encode()


class _Refused(Exception):
    """The platform answers without calling the function, with an error body
    (fc-runtime.md: HTTP errors, Error semantics).
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        body = compact_json({"errorCode": code, "errorMessage": message})
        self.response = HttpResponse(status, (("content-type", "application/json"),), body)


class _Trigger:
    """The application itself, for every path and method."""

    def __init__(
        self,
        invoke: Invoke,
        accept: Callable[..., str] | None,
        account_id: str,
        domain: str,
        concurrency: int,
        *,
        cancel: Cancel,
        attachment: bool,
        access_keys: Mapping[str, AccessKey] | None,
    ) -> None:
        self._invoke = invoke
        self._cancel = cancel
        self._accept = accept
        self._account_id = account_id
        self._domain = domain
        self._attachment = attachment
        self._access_keys = access_keys
        # One place more than can be used: it is taken by the call that finds all of them busy.
        self._places = anyio.CapacityLimiter(concurrency + 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Origin(self._account_id, self._domain)
        incoming = Request(scope, receive)
        try:
            response = await self._answer(incoming, origin)
        except _Refused as refusal:
            response = refusal.response
        except (ClientDisconnect, ClientGone):
            return
        headers = list(response.headers)
        if self._attachment:
            headers = [pair for pair in headers if pair[0] != "content-disposition"]
            headers.append(("content-disposition", "attachment"))
        headers.append(("x-fc-request-id", origin.request_id))
        if asking := incoming.headers.get("origin"):
            headers = _with_cors(headers, asking)
        outgoing = Response(response.body, response.status)
        length = [] if response.status in _WITHOUT_BODY else [("content-length", str(len(response.body)))]
        outgoing.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in (*headers, *length)
        ]
        await outgoing(scope, receive, send)

    async def _answer(self, incoming: Request, origin: Origin) -> HttpResponse:
        body = await _limited_body(incoming)
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
        event = event_of(request, origin)
        if (request.header("x-fc-invocation-type") or "").lower() == "async":
            return self._enlist(request, event, origin)
        try:
            result = await unless_gone(
                incoming.receive,
                lambda: self._invoke(event, origin.request_id),
                lambda: self._cancel(origin.request_id),
                self._places,
            )
        except ClientGone:
            raise
        except Throttled as error:
            raise _Refused(429, "ResourceExhausted", str(error)) from error
        except Exception as error:
            _logger.exception("request %s could not be handed to the function", origin.request_id)
            raise _Refused(500, "InternalServerError", "the function could not be called") from error
        if result.error_type is not None:
            return HttpResponse(
                502, (("content-type", "text/plain; charset=utf-8"),), b"Internal Server Error"
            )
        try:
            return response_of(result.payload)
        except BadResponse as error:
            raise _Refused(502, "BadResponse", str(error)) from error

    def _enlist(self, request: HttpRequest, event: bytes, origin: Origin) -> HttpResponse:
        """Take a request that nobody waits for (fc-runtime.md: HTTP access, Asynchronous invocation)."""
        if self._accept is None:
            message = "X-Fc-Invocation-Type: Async is not served here: there is no queue that would try again"
            raise _Refused(400, "InvalidArgument", message)
        try:
            self._accept(
                event,
                request_id=origin.request_id,
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
    """Refuse what FC refuses before it calls a function (fc-runtime.md: HTTP limits)."""
    size = sum(len(name) + len(value) for name, value in request.headers)
    path_size = len(request.raw_path) + (len(request.query) + 1 if request.query else 0)
    if too_large:
        raise _Refused(400, "InvalidArgument", f"the body is larger than {REQUEST_BODY_LIMIT} bytes")
    if size > HEADERS_LIMIT:
        raise _Refused(400, "InvalidArgument", f"the headers take {size} bytes, at most {HEADERS_LIMIT}")
    if path_size > PATH_LIMIT:
        raise _Refused(400, "InvalidArgument", f"path and query take {path_size} bytes, at most {PATH_LIMIT}")


def _check_signature(request: HttpRequest, keys: Mapping[str, AccessKey]) -> None:
    """Refuse what is not signed (fc-runtime.md: HTTP errors, HTTP access)."""
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


async def _limited_body(incoming: Request) -> bytes | None:
    """Read the body, to its end in any case so that the client listens; None if it is too large."""
    body = bytearray()
    size = 0
    async for chunk in incoming.stream():
        size += len(chunk)
        if size <= REQUEST_BODY_LIMIT:
            body += chunk
    return bytes(body) if size <= REQUEST_BODY_LIMIT else None


def _with_cors(headers: list[tuple[str, str]], origin: str) -> list[tuple[str, str]]:
    """Add the default CORS headers (fc-runtime.md: HTTP access), except those that the function has set."""
    present = {name for name, _ in headers}
    defaults = (
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Date,x-fc-request-id"),
    )
    return [*headers, *(pair for pair in defaults if pair[0] not in present)]
