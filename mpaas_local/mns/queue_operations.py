"""Operations on queues and their messages: each maps an `MnsCall` to a `Reply`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

from mpaas_local.mns import requests, responses
from mpaas_local.mns.call import Paging, Reply, creation_reply
from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.model import (
    BATCH_BYTES,
    BATCH_LIMIT,
    MAX_VISIBILITY_SECONDS,
    MAX_WAIT_SECONDS,
    QueueAttributes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from mpaas_local.mns.call import MnsCall
    from mpaas_local.mns.polling import LongPolls
    from mpaas_local.mns.store import MnsStore

__all__ = ["QueueOperations"]


class QueueOperations:
    """Operations on queues and their messages."""

    def __init__(self, store: MnsStore, polls: LongPolls) -> None:
        self._store = store
        self._polls = polls

    async def put(self, call: MnsCall) -> Reply:
        """CreateQueue, or SetQueueAttributes with `metaoverride`."""
        name = call.path["queue"]
        settings: dict[str, Any] = requests.read_queue(call.document) if call.body else {}
        if "metaoverride" in call.query:
            await run_in_threadpool(self._store.set_queue_attributes, name, **settings)
            return Reply(204)
        new = await run_in_threadpool(self._store.create_queue, name, QueueAttributes(**settings))
        return creation_reply(call, f"/queues/{name}", new)

    async def get(self, call: MnsCall) -> Reply:
        """GetQueueAttributes."""
        queue = await run_in_threadpool(self._store.queue, call.path["queue"])
        return Reply(200, responses.queue_document(queue))

    async def delete(self, call: MnsCall) -> Reply:
        """DeleteQueue."""
        await run_in_threadpool(self._store.delete_queue, call.path["queue"])
        return Reply(204)

    async def list(self, call: MnsCall) -> Reply:
        """ListQueue."""
        paging = Paging(call)
        queues, marker = paging.page(
            await run_in_threadpool(self._store.queues, paging.prefix), lambda queue: queue.name
        )
        urls = [(f"{call.base_url}/queues/{queue.name}", queue) for queue in queues]
        return Reply(200, responses.queue_list(urls, marker, with_meta=paging.with_meta))

    async def send(self, call: MnsCall) -> Reply:
        """SendMessage and BatchSendMessage."""
        outgoing, batch = requests.read_messages(call.document)
        _check_batch(outgoing, "Message")
        if sum(message.size for message in outgoing) > BATCH_BYTES:
            raise out_of_range("MessageBody", 1, BATCH_BYTES, "bytes")
        sent = await run_in_threadpool(self._store.send_batch, call.path["queue"], outgoing)
        return Reply(201, _one_or_many([responses.sent_message(message) for message in sent], batch=batch))

    async def receive(self, call: MnsCall) -> Reply:
        """ReceiveMessage, PeekMessage and their batches."""
        name = call.path["queue"]
        count = call.number("numOfMessages", 1, BATCH_LIMIT)
        wait = call.number("waitseconds", 0, MAX_WAIT_SECONDS)
        if call.query.get("peekonly", "").lower() == "true":
            messages = await run_in_threadpool(self._store.peek, name, count or 1)
            elements = [responses.peeked_message(message) for message in messages]
        else:
            if wait is None:
                queue = await run_in_threadpool(self._store.queue, name)
                wait = queue.attributes.polling_wait_seconds
            messages = await self._polls.receive(name, count or 1, wait, call.request.is_disconnected)
            elements = [responses.received_message(message) for message in messages]
        if not elements:
            raise MnsError("MessageNotExist")
        return Reply(200, _one_or_many(elements, batch=count is not None))

    async def change_visibility(self, call: MnsCall) -> Reply:
        """ChangeMessageVisibility."""
        handle = call.query.get("receipthandle")
        if not handle:
            raise MnsError("MissingReceiptHandle")
        seconds = call.number("VisibilityTimeout", 1, MAX_VISIBILITY_SECONDS)
        if seconds is None:
            raise MnsError("MissingVisibilityTimeout")
        changed = await run_in_threadpool(self._store.change_visibility, call.path["queue"], handle, seconds)
        return Reply(200, responses.changed_visibility(changed))

    async def delete_messages(self, call: MnsCall) -> Reply:
        """DeleteMessage and BatchDeleteMessage."""
        name = call.path["queue"]
        handle = call.query.get("receipthandle")
        if handle:
            await run_in_threadpool(self._store.delete, name, handle)
            return Reply(204)
        if not call.body:
            raise MnsError("MissingReceiptHandle")
        handles = requests.read_handles(call.document)
        _check_batch(handles, "ReceiptHandle")
        failures = await run_in_threadpool(self._store.delete_batch, name, handles)
        return Reply(404, responses.delete_errors(failures)) if failures else Reply(204)


def _check_batch(items: Sequence[object], element: str) -> None:
    if not 1 <= len(items) <= BATCH_LIMIT:
        raise out_of_range(element, 1, BATCH_LIMIT, "items")


def _one_or_many(elements: list[Element], *, batch: bool) -> Element:
    return responses.messages_document(elements) if batch else elements[0]
