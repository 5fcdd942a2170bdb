"""The sources of event streams: an MNS queue of this machine, or a queue in this process."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import uuid
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from mpaas_local.clock import Clock
from mpaas_local.eventbridge.payloads import Arrived
from mpaas_local.mns.errors import MnsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_local.mns.store import MnsStore

__all__ = ["MemorySource", "MnsSource", "Source"]

_logger = logging.getLogger(__name__)


class Source(Protocol):
    """A queue. Received messages are hidden until they are deleted or released."""

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Return at most `most` available messages and hide them for some seconds."""

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Hide messages for some seconds from now; returns them with new receipts."""

    def release(self, messages: Sequence[Arrived]) -> None:
        """Make messages visible now."""

    def delete(self, messages: Sequence[Arrived]) -> None:
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

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Receive messages and hide them, regardless of the queue's visibility timeout."""
        messages = self._store.receive(self._queue, most, visibility_timeout=math.ceil(seconds))
        return [
            Arrived(message.id, message.body, message.enqueue_time / 1000, receipt=message.receipt_handle)
            for message in messages
        ]

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Change the visibility of messages; a message with an expired receipt keeps it."""
        receipts = [message.receipt for message in messages]
        changed = self._store.change_visibility_batch(self._queue, receipts, math.ceil(seconds))
        return [
            replace(message, receipt=changed[message.receipt].receipt_handle)
            if message.receipt in changed
            else message
            for message in messages
        ]

    def release(self, messages: Sequence[Arrived]) -> None:
        """Make messages visible now."""
        self._store.change_visibility_batch(self._queue, [message.receipt for message in messages], 0)

    def delete(self, messages: Sequence[Arrived]) -> None:
        """Delete messages; those with expired receipts will be redelivered, which is logged."""
        failures = self._store.delete_batch(self._queue, [message.receipt for message in messages])
        if failures:
            _logger.warning(
                "%s: %d receipts expired; their messages will be redelivered", self._queue, len(failures)
            )


class MemorySource:
    """A queue in this process. Thread-safe.

    Args:
        clock: For the time of publication; None for that of the machine.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._messages: deque[Arrived] = deque()
        self._hidden: dict[str, Arrived] = {}

    def publish(self, body: str, *, message_id: str | None = None, **properties: Any) -> str:
        """Add a message and return its id; see `Arrived` for the properties."""
        message_id = message_id or uuid.uuid4().hex
        with self._lock:
            self._messages.append(Arrived(message_id, body, self._clock.time(), properties))
        return message_id

    def __len__(self) -> int:
        with self._lock:
            return len(self._messages) + len(self._hidden)

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Return the oldest messages and hide them until they are released."""
        del seconds
        with self._lock:
            received = [self._messages.popleft() for _ in range(min(most, len(self._messages)))]
            self._hidden.update((message.id, message) for message in received)
        return received

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Do nothing: received messages stay hidden."""
        del seconds
        return messages

    def release(self, messages: Sequence[Arrived]) -> None:
        """Put messages back at the front."""
        with self._lock:
            known = [message for message in messages if self._hidden.pop(message.id, None)]
            self._messages.extendleft(reversed(known))

    def delete(self, messages: Sequence[Arrived]) -> None:
        """Delete messages."""
        with self._lock:
            for message in messages:
                self._hidden.pop(message.id, None)
