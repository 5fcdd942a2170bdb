"""Jobs that run when they are due, on a few threads.

A job is a callable that does one step and returns when to run again. Ticks, asynchronous invocations and
deliveries are such jobs.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_local.clock import Clock

__all__ = ["Job", "Schedule"]

Job = Callable[[], float | None]
"""Does one step; returns when to run again, in seconds since 1970, or None if it is done."""

_logger = logging.getLogger(__name__)


class Schedule:
    """Runs jobs when they are due, the earliest first; a context manager. Thread-safe.

    Args:
        name: Name of the threads, which get a number.
        threads: Maximum number of concurrent jobs; threads start on demand.
        clock: The clock by which jobs are due.
    """

    def __init__(self, name: str, *, threads: int = 1, clock: Clock) -> None:
        self._name = name
        self._limit = threads
        self._clock = clock
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
        """Schedule a job, in seconds since 1970; False if the schedule is closed."""
        with self._changed:
            if self._closed:
                return False
            self._put(due, job)
            return True

    @property
    def waiting(self) -> int:
        """The number of jobs that are not running."""
        with self._changed:
            return len(self._jobs)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until no job is running or due; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    self._closed
                    or (not self._running and (not self._jobs or self._jobs[0][0] > self._clock.time()))
                ),
                timeout,
            )

    def finish(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until all jobs are done; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running and not self._jobs, timeout)

    def close(self, timeout: float = 1.0) -> int:
        """Discard waiting jobs and end the threads; returns how many jobs were discarded.

        A running job ends by itself, and its thread with it.

        Args:
            timeout: Real seconds to wait for running jobs.
        """
        with self._changed:
            self._closed = True
            discarded = len(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return discarded

    def _put(self, due: float, job: Job) -> None:
        heapq.heappush(self._jobs, (due, next(self._numbers), job))
        self._start_thread_if_needed()
        self._changed.notify_all()

    def _start_thread_if_needed(self) -> None:
        """Start a thread if there are jobs and all threads are busy."""
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
                self._start_thread_if_needed()
                self._changed.release()
                due = None
                try:
                    due = job()
                except Exception:
                    _logger.exception("%s: a job failed and will not be retried", self._name)
                finally:
                    self._changed.acquire()
                    self._running -= 1
                    if due is not None and not self._closed:
                        self._put(due, job)
                    self._changed.notify_all()
