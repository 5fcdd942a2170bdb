"""The service's HTTP interface as an ASGI application; the official SDKs work with it unchanged.

A signed request becomes an `MnsCall`. An operation returns a `Reply` or raises `MnsError`, which becomes the
service's error document. The store runs on worker threads, so no request blocks another.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mpaas_local.loopback import LoopbackOnly
from mpaas_local.mns import requests, responses
from mpaas_local.mns.authentication import authenticate
from mpaas_local.mns.call import MnsCall, Reply, base_url
from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.polling import LongPolls
from mpaas_local.mns.queue_operations import QueueOperations
from mpaas_local.mns.topic_operations import TopicOperations
from mpaas_local.mns.view import view_routes
from mpaas_local.request_body import read_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.mns.store import MnsStore

    Operation = Callable[[MnsCall], Awaitable[Reply]]

__all__ = ["MAX_REQUEST_BYTES", "MnsApp"]

MAX_REQUEST_BYTES = 1 << 20
"""Maximum size of a request body, in bytes."""

_VERSION = "2015-06-06"

_logger = logging.getLogger(__name__)


class MnsApp(Starlette):
    """The application.

    Args:
        store: Holds queues and topics; the application does not close it.
        access_keys: The accepted keys, by access key id.
    """

    def __init__(self, store: MnsStore, access_keys: Mapping[str, AccessKey]) -> None:
        self._access_keys = dict(access_keys)
        self.polls = LongPolls(store)
        queues = QueueOperations(store, self.polls)
        topics = TopicOperations(store)
        account = _Account(store)
        subscription_path = "/topics/{topic}/subscriptions/{subscription}"
        super().__init__(
            routes=[
                *view_routes(store),
                self._route("/", GET=account.get, PUT=account.set),
                self._route("/commonbuy/openservice", POST=account.open_service),
                self._route("/queues", GET=queues.list),
                self._route("/queues/{queue}", PUT=queues.put, GET=queues.get, DELETE=queues.delete),
                self._route(
                    "/queues/{queue}/messages",
                    POST=queues.send,
                    GET=queues.receive,
                    PUT=queues.change_visibility,
                    DELETE=queues.delete_messages,
                ),
                self._route("/topics", GET=topics.list),
                self._route("/topics/{topic}", PUT=topics.put, GET=topics.get, DELETE=topics.delete),
                self._route("/topics/{topic}/messages", POST=topics.publish),
                self._route("/topics/{topic}/subscriptions", GET=topics.list_subscriptions),
                self._route(
                    subscription_path,
                    PUT=topics.subscribe,
                    GET=topics.subscription,
                    DELETE=topics.unsubscribe,
                ),
                self._route("/{anything:path}"),
            ],
            middleware=[Middleware(LoopbackOnly)],
        )
        # Starlette builds the redirect from the Host header, which the client controls.
        self.router.redirect_slashes = False

    def _route(self, path: str, **operations: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            request_id = secrets.token_hex(12).upper()
            try:
                reply = await self._respond(request, operations.get(request.method))
            except ClientDisconnect:
                reply = Reply(400)  # nobody reads it
            except MnsError as error:
                document = responses.error_document(error, request_id, base_url(request))
                reply = Reply(error.status, document)
            except Exception:  # the client gets an error document, the log gets the traceback
                _logger.exception("%s %s", request.method, request.url.path)
                document = responses.error_document(MnsError("InternalError"), request_id, base_url(request))
                reply = Reply(500, document)
            return _response(reply, request_id)

        return Route(path, endpoint, methods=["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"])

    async def _respond(self, request: Request, operation: Operation | None) -> Reply:
        body = await read_body(request, MAX_REQUEST_BYTES)
        if body is None:
            raise MnsError("InvalidArgument", f"The request has more than {MAX_REQUEST_BYTES} bytes.")
        authenticate(
            request.method,
            _resource(request),
            dict(request.headers),
            body,
            access_keys=self._access_keys,
            now=time.time(),
        )
        if operation is None:
            raise MnsError("InvalidRequestURL")
        query = {name.lower(): text for name, text in request.query_params.items()}
        return await operation(MnsCall(request, body, request.path_params, query))


class _Account:
    """Operations on the account."""

    def __init__(self, store: MnsStore) -> None:
        self._store = store

    async def get(self, call: MnsCall) -> Reply:
        _check_account(call)
        bucket = await run_in_threadpool(lambda: self._store.logging_bucket)
        return Reply(200, responses.account_document(bucket))

    async def set(self, call: MnsCall) -> Reply:
        _check_account(call)
        bucket = requests.read_account(call.document)
        if bucket is not None:
            await run_in_threadpool(setattr, self._store, "logging_bucket", bucket)
        return Reply(204)

    async def open_service(self, _: MnsCall) -> Reply:
        return Reply(200, responses.order_document("local"))


def _check_account(call: MnsCall) -> None:
    if "accountmeta" not in call.query:
        raise MnsError("InvalidRequestURL")


def _resource(request: Request) -> str:
    """Path and query, encoded as the client sent them."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _response(reply: Reply, request_id: str) -> Response:
    headers = {"x-mns-request-id": request_id, "x-mns-version": _VERSION, **reply.headers}
    body = b"" if reply.document is None else responses.serialize(reply.document)
    if body:
        headers["content-type"] = "text/xml;charset=utf-8"
    return Response(body, reply.status, headers=headers)
