"""The sandbox as an ASGI application: the gateway at `POST /`, and a JSON API for the inbox and for faults.

`create_app` builds it; `Sandbox` in `server.py` serves it over connections that faults can break.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from mpaas_local.breakable import STRIKES_UNREAD
from mpaas_local.fault_book import describe_errors, order_errors
from mpaas_local.loopback import LoopbackOnly
from mpaas_local.mpaas.authentication import Authenticator
from mpaas_local.mpaas.gateway import Gateway
from mpaas_local.mpaas.injected_faults import FAULT_ORDER, PushFaults
from mpaas_local.mpaas.openapi import openapi_document
from mpaas_local.mpaas.redaction import Redactor
from mpaas_local.mpaas.responses import Json, problem
from mpaas_local.mpaas.store import OUTCOMES, Filter, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.clock import TimeSource
    from mpaas_local.mpaas.judgement.behaviour import Behaviour

    _Endpoint = Callable[[Request], Awaitable[Response]]

MAX_PAGE = 1000
"""Maximum number of entries in a response to `GET /inbox`."""

_LARGEST_SEQ = 2**63 - 1


class SandboxApp(Starlette):
    """The application, with its parts as attributes for use in the same process."""

    def __init__(self, *, store: Store, faults: PushFaults, gateway: Gateway) -> None:
        self.store = store
        self.faults = faults
        self.gateway = gateway
        api = _Api(store, faults)
        super().__init__(
            routes=[
                Route("/", _AnyMethod(gateway.push_simple)),
                _local_route("/inbox", GET=api.list_inbox, DELETE=api.clear_inbox),
                _local_route("/inbox/{seq}", GET=api.show_entry),
                _local_route("/faults", GET=api.list_faults, POST=api.order_fault, DELETE=api.clear_faults),
                _local_route("/health", GET=api.health),
                _local_route("/openapi.json", GET=api.openapi),
            ],
            middleware=[Middleware(LoopbackOnly)],
            exception_handlers={HTTPException: _http_problem},
            lifespan=_lifespan,
        )
        # Starlette builds the redirect from the Host header, which the client controls.
        self.router.redirect_slashes = False


def create_app(
    *,
    store: Path | str,
    access_keys: Mapping[str, AccessKey],
    behaviour: Behaviour,
    clock: TimeSource,
    max_entries: int | None,
) -> SandboxApp:
    """Build the application; its lifespan closes the store.

    Args:
        store: The SQLite file of the inbox, created with its folder if missing.
        access_keys: The accepted keys, by access key id.
        behaviour: What the sandbox does where the reference leaves it open.
        clock: Seconds since 1970.
        max_entries: Number of entries after which the inbox deletes the oldest; None for no limit.

    Raises:
        StoreUnusable: the file cannot be opened, or is not a store of this version.
    """
    authenticator = Authenticator(access_keys, clock)
    inbox = Store(store, Redactor(authenticator.secrets), max_entries=max_entries)
    faults = PushFaults()
    gateway = Gateway(
        store=inbox,
        faults=faults,
        authenticator=authenticator,
        behaviour=behaviour,
        clock=clock,
    )
    return SandboxApp(store=inbox, faults=faults, gateway=gateway)


class _Api:
    """The sandbox's own routes: inbox, faults, health."""

    def __init__(self, store: Store, faults: PushFaults) -> None:
        self._store = store
        self._faults = faults

    async def list_inbox(self, request: Request) -> Response:
        try:
            criteria = _filter(request.query_params)
        except ValueError as error:
            return problem(422, "Invalid query", str(error))
        total, entries = self._store.find(criteria)
        return Json({"total": total, "entries": entries})

    async def clear_inbox(self, request: Request) -> Response:
        del request
        return Json({"deleted": self._store.clear()})

    async def show_entry(self, request: Request) -> Response:
        text = request.path_params["seq"]
        try:
            entry = self._store.get(_integer("seq", text, 0, _LARGEST_SEQ))
        except ValueError as error:
            return problem(422, "Invalid sequence number", str(error))
        if entry is None:
            return problem(404, "Not found", f"The inbox has no entry {text}.")
        return Json(entry)

    async def list_faults(self, request: Request) -> Response:
        del request
        return Json({"faults": self._faults.active()})

    async def order_fault(self, request: Request) -> Response:
        try:
            order = FAULT_ORDER.validate_json(await request.body())
        except ValidationError as error:
            errors = order_errors(error)
            return problem(422, "Invalid fault order", describe_errors(errors), errors=errors)
        return Json(self._faults.order(order), status_code=201)

    async def clear_faults(self, request: Request) -> Response:
        del request
        return Json({"deleted": self._faults.clear()})

    async def health(self, request: Request) -> Response:
        del request
        return Json({"status": "ok", "entries": self._store.find(Filter(limit=0))[0]})

    async def openapi(self, request: Request) -> Response:
        del request
        return Json(openapi_document())


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    if not isinstance(app, SandboxApp):
        raise TypeError("this lifespan belongs to SandboxApp")
    try:
        yield {STRIKES_UNREAD: app.gateway.strikes_unread}
    finally:
        app.store.close()


class _AnyMethod:
    """An endpoint as an ASGI application: a route passes all methods to it."""

    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def _local_route(path: str, **endpoints: _Endpoint) -> Route:
    """A route with one endpoint per method."""

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=list(endpoints))


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    response = problem(
        error.status_code, error.detail, f"{request.method} {request.scope['path']}: {error.detail}"
    )
    response.headers.update(error.headers or {})
    return response


def _filter(query: Mapping[str, str]) -> Filter:
    unknown = set(query) - {"limit", "offset", "after", "outcome", "target", "text"}
    if unknown:
        raise ValueError(
            f"unknown parameters: {', '.join(sorted(unknown))};"
            " allowed: limit, offset, after, outcome, target, text"
        )
    outcome = query.get("outcome")
    if outcome is not None and outcome not in OUTCOMES:
        raise ValueError(f"outcome is {outcome!r}; allowed: {', '.join(OUTCOMES)}")
    after = query.get("after")
    return Filter(
        limit=_integer("limit", query.get("limit", "50"), 0, MAX_PAGE),
        offset=_integer("offset", query.get("offset", "0"), 0, _LARGEST_SEQ),
        after=None if after is None else _integer("after", after, 0, _LARGEST_SEQ),
        outcome=outcome,
        target=query.get("target"),
        text=query.get("text"),
    )


def _integer(name: str, text: str, low: int, high: int) -> int:
    digits = len(str(high))
    if not (text.isascii() and text.isdigit() and len(text) <= digits and low <= int(text) <= high):
        raise ValueError(f"{name} is {text!r}; must be an integer from {low} to {high}")
    return int(text)
