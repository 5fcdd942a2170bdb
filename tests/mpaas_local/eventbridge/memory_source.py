"""A source of event streams in this process, with a clock that the test moves."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from mpaas_local.clock import Clock
from mpaas_local.eventbridge.payloads import ReceivedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MemorySource"]


class MemorySource:
    """A queue in this process. Thread-safe.

    Args:
        clock: Clock of the publication times; None for that of the machine.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._messages: deque[ReceivedMessage] = deque()
        self._hidden: dict[str, ReceivedMessage] = {}

    def publish(self, body: str, *, message_id: str | None = None, **properties: Any) -> str:
        """Add a message and return its id; see `ReceivedMessage` for the properties."""
        message_id = message_id or uuid.uuid4().hex
        with self._lock:
            self._messages.append(
                ReceivedMessage(
                    id=message_id, body=body, published_at=self._clock.time(), properties=properties
                )
            )
        return message_id

    def __len__(self) -> int:
        with self._lock:
            return len(self._messages) + len(self._hidden)

    def receive(self, limit: int, seconds: float) -> Sequence[ReceivedMessage]:
        """Return the oldest messages and hide them until they are released."""
        del seconds
        with self._lock:
            received = [self._messages.popleft() for _ in range(min(limit, len(self._messages)))]
            self._hidden.update((message.id, message) for message in received)
        return received

    def hold(self, messages: Sequence[ReceivedMessage], seconds: float) -> Sequence[ReceivedMessage]:
        """Do nothing: received messages stay hidden."""
        del seconds
        return messages

    def release(self, messages: Sequence[ReceivedMessage]) -> None:
        """Put messages back at the front."""
        with self._lock:
            known = [message for message in messages if self._hidden.pop(message.id, None)]
            self._messages.extendleft(reversed(known))

    def delete(self, messages: Sequence[ReceivedMessage]) -> None:
        """Delete messages."""
        with self._lock:
            for message in messages:
                self._hidden.pop(message.id, None)
