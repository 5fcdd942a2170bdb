"""The sources of event streams: MNS queues of this machine."""

from __future__ import annotations

import contextlib
import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from mpaas_local.eventbridge.payloads import ReceivedMessage
from mpaas_local.mns.errors import MnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_local.mns.store import MnsStore

__all__ = ["MnsSource", "Source"]

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """A queue. Received messages are hidden until they are deleted or released."""

    def receive(self, limit: int, seconds: float) -> Sequence[ReceivedMessage]:
        """Return at most `limit` available messages and hide them for some seconds."""

    def hold(self, messages: Sequence[ReceivedMessage], seconds: float) -> Sequence[ReceivedMessage]:
        """Hide messages for some seconds from now; returns them with new receipts."""

    def release(self, messages: Sequence[ReceivedMessage]) -> None:
        """Make messages visible now."""

    def delete(self, messages: Sequence[ReceivedMessage]) -> None:
        """Delete messages."""


class MnsSource:
    """A queue of the MNS server, without HTTP.

    Args:
        store: The store of the server.
        queue: Name of the queue, created if missing.
    """

    def __init__(self, store: MnsStore, queue: str) -> None:
        self._store = store
        self._queue = queue
        with contextlib.suppress(MnsError):  # it exists, with other attributes
            store.create_queue(queue)

    def receive(self, limit: int, seconds: float) -> Sequence[ReceivedMessage]:
        """Receive messages and hide them, regardless of the queue's visibility timeout."""
        messages = self._store.receive(self._queue, limit, visibility_timeout=math.ceil(seconds))
        return [
            ReceivedMessage(
                id=message.id,
                body=message.body,
                published_at=message.enqueue_time / 1000,
                receipt=message.receipt_handle,
            )
            for message in messages
        ]

    def hold(self, messages: Sequence[ReceivedMessage], seconds: float) -> Sequence[ReceivedMessage]:
        """Change the visibility of messages; a message with an expired receipt keeps it."""
        receipts = [message.receipt for message in messages]
        changed = self._store.change_visibility_batch(self._queue, receipts, math.ceil(seconds))
        return [
            replace(message, receipt=changed[message.receipt].receipt_handle)
            if message.receipt in changed
            else message
            for message in messages
        ]

    def release(self, messages: Sequence[ReceivedMessage]) -> None:
        """Make messages visible now."""
        self._store.change_visibility_batch(self._queue, [message.receipt for message in messages], 0)

    def delete(self, messages: Sequence[ReceivedMessage]) -> None:
        """Delete messages; those with expired receipts will be redelivered, which is logged."""
        failures = self._store.delete_batch(self._queue, [message.receipt for message in messages])
        if failures:
            _logger.warning(
                "%s: %d receipts expired; their messages will be redelivered", self._queue, len(failures)
            )
