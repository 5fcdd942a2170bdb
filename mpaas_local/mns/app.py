"""The service's HTTP interface as an ASGI application, on which the official SDKs work unchanged.

A signed request becomes a `Call`; an operation answers it with a `Reply`, or raises `MnsError`, which is
answered as the service does. The store is asked on worker threads, so that no request holds up another.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mpaas_local.loopback import LoopbackOnly
from mpaas_local.mns import documents
from mpaas_local.mns.authentication import authenticate
from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.model import (
    BATCH_BYTES,
    BATCH_LIMIT,
    MAX_VISIBILITY_SECONDS,
    MAX_WAIT_SECONDS,
    QueueAttributes,
    TopicAttributes,
)
from mpaas_local.mns.polling import LongPolls
from mpaas_local.mns.view import view_routes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.mns.store import Clock, MnsStore

    Operation = Callable[["Call"], Awaitable["Reply"]]

__all__ = ["MAX_REQUEST_BYTES", "MnsApp"]

MAX_REQUEST_BYTES = 1 << 20
"""Of a request's body."""

_VERSION = "2015-06-06"
_PAGE = 1000
_NUMBER = re.compile("[0-9]{1,18}")
_Named = TypeVar("_Named")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """An authenticated request: its path's parts, its query with names in lower case, headers and body."""

    request: Request
    body: bytes
    path: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def document(self) -> Element:
        """The body as XML."""
        return documents.parse(self.body)

    @property
    def base_url(self) -> str:
        """Of this service, as the client calls it."""
        return _base_url(self.request)

    def number(self, name: str, low: int, high: int) -> int | None:
        """A whole number of the query between two bounds; None if it is not there."""
        text = self.query.get(name.lower())
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise MnsError(
                "InvalidQueryString", f"Http request URL contains invalid querystring item {name}."
            )
        if not low <= int(text) <= high:
            raise out_of_range(name, low, high)
        return int(text)


@dataclass(frozen=True)
class Reply:
    """Status, document and headers of an answer."""

    status: int
    document: Element | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class MnsApp(Starlette):
    """The application.

    Args:
        store: What it shows; it is not closed here.
        access_keys: Id to secret, or to an `AccessKey` with the security token that an STS key must bring.
        clock: Seconds since 1970, compared with the `Date` of requests.
    """

    def __init__(
        self, store: MnsStore, access_keys: Mapping[str, AccessKey | str], *, clock: Clock = time.time
    ) -> None:
        self._access_keys = dict(access_keys)
        self._clock = clock
        self.polls = LongPolls(store)
        queues = _Queues(store, self.polls)
        topics = _Topics(store)
        account = _Account(store)
        subscription = "/topics/{topic}/subscriptions/{subscription}"
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
                    subscription, PUT=topics.subscribe, GET=topics.subscription, DELETE=topics.unsubscribe
                ),
                self._route("/{anything:path}"),
            ],
            middleware=[Middleware(LoopbackOnly)],
        )
        # A redirect is built from the Host header, which may be anything.
        self.router.redirect_slashes = False

    def _route(self, path: str, **operations: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            request_id = secrets.token_hex(12).upper()
            try:
                reply = await self._answer(request, operations.get(request.method))
            except ClientDisconnect:
                reply = Reply(400)  # nobody reads it
            except MnsError as error:
                document = documents.error_document(error, request_id, _base_url(request))
                reply = Reply(error.status, document)
            except Exception:  # the client gets an answer, the log gets the rest
                _logger.exception("%s %s", request.method, request.url.path)
                document = documents.error_document(MnsError("InternalError"), request_id, _base_url(request))
                reply = Reply(500, document)
            return _response(reply, request_id)

        return Route(path, endpoint, methods=["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"])

    async def _answer(self, request: Request, operation: Operation | None) -> Reply:
        body = await _body(request)
        authenticate(
            request.method,
            _resource(request),
            dict(request.headers),
            body,
            access_keys=self._access_keys,
            now=self._clock(),
        )
        if operation is None:
            raise MnsError("InvalidRequestURL")
        query = {name.lower(): text for name, text in request.query_params.items()}
        return await operation(Call(request, body, request.path_params, query))


class _Queues:
    """Operations on queues and their messages."""

    def __init__(self, store: MnsStore, polls: LongPolls) -> None:
        self._store = store
        self._polls = polls

    async def put(self, call: Call) -> Reply:
        name = call.path["queue"]
        settings: dict[str, Any] = documents.read_queue(call.document) if call.body else {}
        if "metaoverride" in call.query:
            await run_in_threadpool(self._store.set_queue_attributes, name, **settings)
            return Reply(204)
        new = await run_in_threadpool(self._store.create_queue, name, QueueAttributes(**settings))
        return _created(call, f"/queues/{name}", new)

    async def get(self, call: Call) -> Reply:
        queue = await run_in_threadpool(self._store.queue, call.path["queue"])
        return Reply(200, documents.queue_document(queue))

    async def delete(self, call: Call) -> Reply:
        await run_in_threadpool(self._store.delete_queue, call.path["queue"])
        return Reply(204)

    async def list(self, call: Call) -> Reply:
        listing = _Listing(call)
        queues, marker = listing.page(
            await run_in_threadpool(self._store.queues, listing.prefix), lambda queue: queue.name
        )
        urls = [(f"{call.base_url}/queues/{queue.name}", queue) for queue in queues]
        return Reply(200, documents.queue_list(urls, marker, with_meta=listing.with_meta))

    async def send(self, call: Call) -> Reply:
        outgoing, batch = documents.read_messages(call.document)
        _check_batch(outgoing, "Message")
        if sum(message.size for message in outgoing) > BATCH_BYTES:
            raise out_of_range("MessageBody", 1, BATCH_BYTES, "bytes")
        sent = await run_in_threadpool(self._store.send_batch, call.path["queue"], outgoing)
        return Reply(201, _one_or_many([documents.sent(message) for message in sent], batch=batch))

    async def receive(self, call: Call) -> Reply:
        name = call.path["queue"]
        count = call.number("numOfMessages", 1, BATCH_LIMIT)
        wait = call.number("waitseconds", 0, MAX_WAIT_SECONDS)
        if call.query.get("peekonly", "").lower() == "true":
            messages = await run_in_threadpool(self._store.peek, name, count or 1)
            elements = [documents.peeked(message) for message in messages]
        else:
            if wait is None:
                queue = await run_in_threadpool(self._store.queue, name)
                wait = queue.attributes.polling_wait_seconds
            messages = await self._polls.receive(name, count or 1, wait, call.request.is_disconnected)
            elements = [documents.received(message) for message in messages]
        if not elements:
            raise MnsError("MessageNotExist")
        return Reply(200, _one_or_many(elements, batch=count is not None))

    async def change_visibility(self, call: Call) -> Reply:
        handle = call.query.get("receipthandle")
        if not handle:
            raise MnsError("MissingReceiptHandle")
        seconds = call.number("VisibilityTimeout", 1, MAX_VISIBILITY_SECONDS)
        if seconds is None:
            raise MnsError("MissingVisibilityTimeout")
        changed = await run_in_threadpool(self._store.change_visibility, call.path["queue"], handle, seconds)
        return Reply(200, documents.visibility(changed))

    async def delete_messages(self, call: Call) -> Reply:
        name = call.path["queue"]
        handle = call.query.get("receipthandle")
        if handle:
            await run_in_threadpool(self._store.delete, name, handle)
            return Reply(204)
        if not call.body:
            raise MnsError("MissingReceiptHandle")
        handles = documents.read_handles(call.document)
        _check_batch(handles, "ReceiptHandle")
        failures = await run_in_threadpool(self._store.delete_batch, name, handles)
        return Reply(404, documents.delete_errors(failures)) if failures else Reply(204)


class _Topics:
    """Operations on topics and subscriptions."""

    def __init__(self, store: MnsStore) -> None:
        self._topics = store.topics

    async def put(self, call: Call) -> Reply:
        name = call.path["topic"]
        settings: dict[str, Any] = documents.read_topic(call.document) if call.body else {}
        if "metaoverride" in call.query:
            await run_in_threadpool(self._topics.set_attributes, name, **settings)
            return Reply(204)
        new = await run_in_threadpool(self._topics.create, name, TopicAttributes(**settings))
        return _created(call, f"/topics/{name}", new)

    async def get(self, call: Call) -> Reply:
        topic = await run_in_threadpool(self._topics.get, call.path["topic"])
        return Reply(200, documents.topic_document(topic))

    async def delete(self, call: Call) -> Reply:
        await run_in_threadpool(self._topics.delete, call.path["topic"])
        return Reply(204)

    async def list(self, call: Call) -> Reply:
        listing = _Listing(call)
        topics, marker = listing.page(
            await run_in_threadpool(self._topics.all, listing.prefix), lambda topic: topic.name
        )
        urls = [(f"{call.base_url}/topics/{topic.name}", topic) for topic in topics]
        return Reply(200, documents.topic_list(urls, marker, with_meta=listing.with_meta))

    async def publish(self, call: Call) -> Reply:
        publication = documents.read_publication(call.document)
        done = await run_in_threadpool(self._topics.publish, call.path["topic"], publication)
        return Reply(201, documents.published(done))

    async def subscribe(self, call: Call) -> Reply:
        topic, name = call.path["topic"], call.path["subscription"]
        if "metaoverride" in call.query:
            strategy = documents.read_strategy(call.document)
            if strategy is None:
                await run_in_threadpool(self._topics.subscription, topic, name)
            else:
                await run_in_threadpool(self._topics.set_strategy, topic, name, strategy)
            return Reply(204)
        attributes = documents.read_subscription(call.document)
        new = await run_in_threadpool(self._topics.subscribe, topic, name, attributes)
        return _created(call, f"/topics/{topic}/subscriptions/{name}", new)

    async def subscription(self, call: Call) -> Reply:
        topic, name = call.path["topic"], call.path["subscription"]
        subscription = await run_in_threadpool(self._topics.subscription, topic, name)
        return Reply(200, documents.subscription_document(subscription, self._topics.account_id))

    async def unsubscribe(self, call: Call) -> Reply:
        topic, name = call.path["topic"], call.path["subscription"]
        await run_in_threadpool(self._topics.unsubscribe, topic, name)
        return Reply(204)

    async def list_subscriptions(self, call: Call) -> Reply:
        topic = call.path["topic"]
        listing = _Listing(call)
        found = await run_in_threadpool(self._topics.subscriptions, topic, listing.prefix)
        subscriptions, marker = listing.page(found, lambda each: each.name)
        urls = [f"{call.base_url}/topics/{topic}/subscriptions/{each.name}" for each in subscriptions]
        return Reply(200, documents.subscription_list(urls, marker))


class _Account:
    """Operations on the account."""

    def __init__(self, store: MnsStore) -> None:
        self._store = store

    async def get(self, call: Call) -> Reply:
        _check_account(call)
        bucket = await run_in_threadpool(lambda: self._store.logging_bucket)
        return Reply(200, documents.account_document(bucket))

    async def set(self, call: Call) -> Reply:
        _check_account(call)
        bucket = documents.read_account(call.document)
        if bucket is not None:
            await run_in_threadpool(setattr, self._store, "logging_bucket", bucket)
        return Reply(204)

    async def open_service(self, _: Call) -> Reply:
        return Reply(200, documents.order_document("local"))


class _Listing:
    """Which names are asked for: a prefix, and a page of at most 1000 from a marker on."""

    def __init__(self, call: Call) -> None:
        headers = call.request.headers
        self.prefix = headers.get("x-mns-prefix", "")
        self.with_meta = headers.get("x-mns-with-meta", "").lower() == "true"
        self._marker = headers.get("x-mns-marker", "")
        text = headers.get("x-mns-ret-number", str(_PAGE))
        if not (_NUMBER.fullmatch(text) and 1 <= int(text) <= _PAGE):
            raise out_of_range("x-mns-ret-number", 1, _PAGE, "names")
        self._size = int(text)

    def page(self, items: Sequence[_Named], name: Callable[[_Named], str]) -> tuple[Sequence[_Named], str]:
        """Cut a page out of items that are sorted by name; the marker is the name of the next one."""
        rest = [item for item in items if name(item) >= self._marker]
        return rest[: self._size], name(rest[self._size]) if len(rest) > self._size else ""


def _check_batch(items: Sequence[object], element: str) -> None:
    if not 1 <= len(items) <= BATCH_LIMIT:
        raise out_of_range(element, 1, BATCH_LIMIT, "items")


def _check_account(call: Call) -> None:
    if "accountmeta" not in call.query:
        raise MnsError("InvalidRequestURL")


def _one_or_many(elements: list[Element], *, batch: bool) -> Element:
    return documents.messages_document(elements) if batch else elements[0]


def _created(call: Call, path: str, new: bool) -> Reply:
    return Reply(201 if new else 204, headers={"location": call.base_url + path})


def _base_url(request: Request) -> str:
    return f"http://{request.headers.get('host', '127.0.0.1')}"


def _resource(request: Request) -> str:
    """Path and query as they were sent."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            raise MnsError("InvalidArgument", f"The request has more than {MAX_REQUEST_BYTES} bytes.")
    return bytes(body)


def _response(reply: Reply, request_id: str) -> Response:
    headers = {"x-mns-request-id": request_id, "x-mns-version": _VERSION, **reply.headers}
    body = b"" if reply.document is None else documents.serialize(reply.document)
    if body:
        headers["content-type"] = "text/xml;charset=utf-8"
    return Response(body, reply.status, headers=headers)
