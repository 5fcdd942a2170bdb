"""Jobs that are done at their time, on a few threads.

A job is a callable; it does one step and says when it wants to be called again. Ticks, asynchronous
invocations and deliveries are such jobs.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mpaas_local.clock import Clock

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Job", "Schedule"]

Job = Callable[[], float | None]
"""Does one step; returns when to be called again, in seconds since 1970, or None if it is done."""

_logger = logging.getLogger(__name__)


class Schedule:
    """Calls jobs when they are due, the earliest first. Safe under threads; close it, or use it in a `with`.

    Args:
        name: Of the threads, with a number.
        threads: The most jobs at a time; a thread is started when there is work for it.
        clock: The machine's if None.
    """

    def __init__(self, name: str, *, threads: int = 1, clock: Clock | None = None) -> None:
        self._name = name
        self._limit = threads
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._jobs: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, due: float, job: Job) -> bool:
        """Have a job called at a moment, in seconds since 1970; False if this is closed."""
        with self._changed:
            if self._closed:
                return False
            self._put(due, job)
            return True

    @property
    def waiting(self) -> int:
        """Jobs that are not being done now."""
        with self._changed:
            return len(self._jobs)

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait, real seconds, until no job is due or being done; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    self._closed
                    or (not self._running and (not self._jobs or self._jobs[0][0] > self._clock.time()))
                ),
                timeout,
            )

    def finish(self, timeout: float = 10.0) -> bool:
        """Wait, real seconds, until there is no job any more; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running and not self._jobs, timeout)

    def close(self, timeout: float = 1.0) -> int:
        """Forget what waits and end the threads; returns how many jobs were forgotten.

        A job that is being done is left to end by itself; its thread ends with it.

        Args:
            timeout: Real seconds to wait for such jobs.
        """
        with self._changed:
            self._closed = True
            forgotten = len(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return forgotten

    def _put(self, due: float, job: Job) -> None:
        heapq.heappush(self._jobs, (due, next(self._numbers), job))
        self._employ()
        self._changed.notify_all()

    def _employ(self) -> None:
        """Start a thread if there is work and nobody idle to wait for it."""
        if self._jobs and self._running == len(self._threads) < self._limit:
            name = f"{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        with self._changed:
            while not self._closed:
                if not self._jobs or self._jobs[0][0] > self._clock.time():
                    self._clock.wait(self._changed, self._jobs[0][0] if self._jobs else None)
                    continue
                _, _, job = heapq.heappop(self._jobs)
                self._running += 1
                self._employ()
                self._changed.release()
                due = None
                try:
                    due = job()
                except Exception:
                    _logger.exception("%s: a job failed and is not tried again", self._name)
                finally:
                    self._changed.acquire()
                    self._running -= 1
                    if due is not None and not self._closed:
                        self._put(due, job)
                    self._changed.notify_all()
