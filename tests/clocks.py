"""Clocks with which no test has to wait: a faster one, and one that moves only when the test moves it."""

from __future__ import annotations

import asyncio
import threading
import time

from mpaas_local.clock import Clock

__all__ = ["AdvancedMonotonic", "FastClock", "ManualClock"]


class FastClock(Clock):
    """The clock of the machine, but faster: a day of retries passes in minutes.

    Args:
        speed: Seconds of this clock per real second.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._started_at = time.time()

    def time(self) -> float:
        """Seconds since 1970."""
        return self._started_at + (time.time() - self._started_at) * self._speed

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Wait until a moment of this clock, or for a notification."""
        if until is None:
            condition.wait()
        elif (seconds := (until - self.time()) / self._speed) > 0:
            condition.wait(seconds)


class ManualClock(Clock):
    """A clock that moves only when it is moved.

    Args:
        now: Seconds since 1970.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._changed = threading.Condition()
        self._waiting: dict[object, tuple[threading.Condition, float]] = {}

    def time(self) -> float:
        """Seconds since 1970."""
        with self._changed:
            return self._now

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Wait until the clock is moved to a moment, or for a notification."""
        if until is None:
            condition.wait()
            return
        token = object()
        with self._changed:
            if until <= self._now:
                return
            self._waiting[token] = (condition, until)
            self._changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._changed:
                del self._waiting[token]

    def advance(self, seconds: float) -> None:
        """Move the clock and wake all waiting threads."""
        with self._changed:
            self._now += seconds
            conditions = {id(condition): condition for condition, _ in self._waiting.values()}
        for condition in conditions.values():
            with condition:
                condition.notify_all()

    def skip(self, timeout: float = 60.0) -> float:
        """Move to the next moment that a thread waits for; returns the skipped seconds.

        Args:
            timeout: Real seconds until a thread must be waiting.

        Raises:
            TimeoutError: no thread waits for a moment.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._next() is not None, timeout):
                raise TimeoutError("no thread waits for a moment of this clock")
            seconds = (self._next() or self._now) - self._now
        self.advance(seconds)
        return seconds

    def _next(self) -> float | None:
        return min((until for _, until in self._waiting.values() if until > self._now), default=None)


class AdvancedMonotonic:
    """A replacement for `time.monotonic` that tests advance.

    Event loops of this process get the real time: an advanced one would make the timers of a server that outlives
    the test late by as much, and the server could not be stopped.
    """

    def __init__(self) -> None:
        self._real = time.monotonic
        self._advances: list[float] = []

    def __call__(self) -> float:
        """Seconds."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._real() + sum(self._advances)
        return self._real()

    def advance(self, seconds: float) -> None:
        """Advance the clock; any thread may do so."""
        self._advances.append(seconds)
