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
    """Receive requests that may wait.

    Args:
        store: Its changes wake the receive requests that wait for the queue.
    """

    def __init__(self, store: MnsStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, tuple[str, asyncio.AbstractEventLoop]] = {}
        self._stopping = False
        self._end_listening = store.listen(self._wake)

    async def receive(
        self, queue: str, count: int, wait_seconds: float, is_disconnected: Callable[[], Awaitable[bool]]
    ) -> list[Message]:
        """Receive messages like `MnsStore.receive`, but without blocking a thread while waiting.

        Args:
            queue: Name of the queue.
            count: Maximum number of messages.
            wait_seconds: Real seconds to wait for the first message.
            is_disconnected: Whether the client has disconnected; then nothing is received.
        """
        deadline = time.monotonic() + wait_seconds
        with self._registered(queue) as changed:
            while True:
                changed.clear()
                messages = await run_in_threadpool(self._store.receive, queue, count)
                remaining = deadline - time.monotonic()
                if messages or remaining <= 0 or self._stopping:
                    return messages
                interval = min(remaining, await run_in_threadpool(self._store.polling_interval, queue))
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), interval)
                if await is_disconnected():
                    return []

    def stop(self) -> None:
        """End all waits now; later receives do not wait. Idempotent."""
        if not self._stopping:
            self._stopping = True
            self._end_listening()
        with self._lock:
            for event, (_, loop) in self._waiting.items():
                _set(loop, event)

    @contextlib.contextmanager
    def _registered(self, queue: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        with self._lock:
            self._waiting[event] = (queue, asyncio.get_running_loop())
        try:
            yield event
        finally:
            with self._lock:
                del self._waiting[event]

    def _wake(self, queue: str) -> None:
        with self._lock:
            for event, (name, loop) in self._waiting.items():
                if name == queue:
                    _set(loop, event)


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(event.set)
