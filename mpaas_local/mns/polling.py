"""Long polls: requests wait on the event loop for a store that changes on other threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mpaas_local.mns.model import Message
    from mpaas_local.mns.store import MnsStore

__all__ = ["LongPolls"]


class LongPolls:
    """Receives that may wait.

    Args:
        store: Wakes the waiting receives of a queue when it changes.
    """

    def __init__(self, store: MnsStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, tuple[str, asyncio.AbstractEventLoop]] = {}
        self._stopping = False
        self._end_listening = store.listen(self._ring)

    async def receive(
        self, queue: str, count: int, wait_seconds: float, gone: Callable[[], Awaitable[bool]]
    ) -> list[Message]:
        """Receive messages, as the store does, without blocking a thread while waiting.

        Args:
            queue: Name of the queue.
            count: Most messages to return.
            wait_seconds: Real seconds to wait for the first message.
            gone: Whether the client has disconnected; then nothing is received.
        """
        deadline = time.monotonic() + wait_seconds
        with self._listening(queue) as rung:
            while True:
                rung.clear()
                messages = await run_in_threadpool(self._store.receive, queue, count)
                remaining = deadline - time.monotonic()
                if messages or remaining <= 0 or self._stopping:
                    return messages
                nap = min(remaining, await run_in_threadpool(self._store.nap, queue))
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(rung.wait(), nap)
                if await gone():
                    return []

    def stop(self) -> None:
        """End all waits now and let no further receive wait. Idempotent."""
        if not self._stopping:
            self._stopping = True
            self._end_listening()
        with self._lock:
            for event, (_, loop) in self._waiting.items():
                _set(loop, event)

    @contextlib.contextmanager
    def _listening(self, queue: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        with self._lock:
            self._waiting[event] = (queue, asyncio.get_running_loop())
        try:
            yield event
        finally:
            with self._lock:
                del self._waiting[event]

    def _ring(self, queue: str) -> None:
        with self._lock:
            for event, (name, loop) in self._waiting.items():
                if name == queue:
                    _set(loop, event)


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(event.set)
