"""Where the messages of an event stream come from: an MNS queue of this machine, or this process."""

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
    """A queue. Messages that it has given out are hidden until they are deleted or shown again."""

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Give out up to so many messages that are there now, and hide them for so long."""

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Hide messages for so long from now; returns them with receipts that are good from now on."""

    def release(self, messages: Sequence[Arrived]) -> None:
        """Show messages again at once."""

    def delete(self, messages: Sequence[Arrived]) -> None:
        """Delete messages for good."""


class MnsSource:
    """A queue of the MNS-compatible server, without HTTP.

    Args:
        store: Of the server.
        queue: Name of the queue; it is made if it is missing.
    """

    def __init__(self, store: MnsStore, queue: str) -> None:
        self._store = store
        self._queue = queue
        with contextlib.suppress(MnsError):  # it exists, with attributes of its own
            store.create_queue(queue)

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Receive messages and hide them, whatever the queue's own visibility timeout is."""
        messages = self._store.receive(self._queue, most, visibility_timeout=math.ceil(seconds))
        return [
            Arrived(message.id, message.body, message.enqueue_time / 1000, receipt=message.receipt_handle)
            for message in messages
        ]

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Change the visibility of messages; one whose time was over already keeps its old receipt."""
        receipts = [message.receipt for message in messages]
        changed = self._store.change_visibility_batch(self._queue, receipts, math.ceil(seconds))
        return [
            replace(message, receipt=changed[message.receipt].receipt_handle)
            if message.receipt in changed
            else message
            for message in messages
        ]

    def release(self, messages: Sequence[Arrived]) -> None:
        """Make messages visible."""
        self._store.change_visibility_batch(self._queue, [message.receipt for message in messages], 0)

    def delete(self, messages: Sequence[Arrived]) -> None:
        """Delete messages; one whose time was over comes again, which is logged."""
        failures = self._store.delete_batch(self._queue, [message.receipt for message in messages])
        if failures:
            _logger.warning("%s: %d messages were done too late and come again", self._queue, len(failures))


class MemorySource:
    """A queue in this process, for messages that are published here. Safe under threads.

    Args:
        clock: Says when a message was published; the machine's if None.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._messages: deque[Arrived] = deque()
        self._hidden: dict[str, Arrived] = {}

    def publish(self, body: str, *, message_id: str | None = None, **properties: Any) -> str:
        """Add a message and return its id; for the properties see `Arrived`."""
        message_id = message_id or uuid.uuid4().hex
        with self._lock:
            self._messages.append(Arrived(message_id, body, self._clock.time(), properties))
        return message_id

    def __len__(self) -> int:
        with self._lock:
            return len(self._messages) + len(self._hidden)

    def receive(self, most: int, seconds: float) -> Sequence[Arrived]:
        """Give out the oldest messages; they are hidden until they are released."""
        del seconds
        with self._lock:
            given = [self._messages.popleft() for _ in range(min(most, len(self._messages)))]
            self._hidden.update((message.id, message) for message in given)
        return given

    def hold(self, messages: Sequence[Arrived], seconds: float) -> Sequence[Arrived]:
        """Do nothing: they are hidden anyway."""
        del seconds
        return messages

    def release(self, messages: Sequence[Arrived]) -> None:
        """Put messages back where they were."""
        with self._lock:
            known = [message for message in messages if self._hidden.pop(message.id, None)]
            self._messages.extendleft(reversed(known))

    def delete(self, messages: Sequence[Arrived]) -> None:
        """Forget messages."""
        with self._lock:
            for message in messages:
                self._hidden.pop(message.id, None)
