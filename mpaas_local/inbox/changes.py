"""Notifies open pages of changes, by server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Changes"]

PAUSE_SECONDS = 0.2
"""Shortest time between two events to a page, so that a burst of pushes is one event."""
HEARTBEAT_SECONDS = 15.0
"""Between two comments to a page without changes; they keep the connection open."""


class Changes:
    """Counts changes by kind. `announce` may be called on any thread."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._pages: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def announce(self, kind: str) -> None:
        """Announce a change of a kind: ``pushes``, ``calls``, ``queues``, ``faults`` or ``campaigns``."""
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            pages = list(self._pages)
        for loop, changed in pages:
            loop.call_soon_threadsafe(changed.set)

    def close(self) -> None:
        """End every stream."""
        with self._lock:
            self._closed = True
            pages = list(self._pages)
        for loop, changed in pages:
            loop.call_soon_threadsafe(changed.set)

    async def stream(self) -> AsyncIterator[str]:
        """Yield an event with the current counts, and another after each change."""
        page = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._pages.add(page)
        try:
            while not self._closed:
                with self._lock:
                    counts = dict(self._counts)
                yield f"event: change\ndata: {json.dumps(counts)}\n\n"
                await asyncio.sleep(PAUSE_SECONDS)
                while not self._closed:
                    try:
                        await asyncio.wait_for(page[1].wait(), HEARTBEAT_SECONDS)
                        break
                    except asyncio.TimeoutError:
                        yield ": heartbeat\n\n"
                page[1].clear()
        finally:
            with self._lock:
                self._pages.discard(page)
