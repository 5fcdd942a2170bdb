"""Clocks for everything that waits, and times as text.

`Clock` is the clock of the machine, or a faster one, on which a day of retries passes in minutes.
`ManualClock` moves only when a test moves it, so that no test has to wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

__all__ = ["Clock", "ManualClock", "TimeSource", "parse_http_date", "utc_second_text", "utc_text"]

TimeSource = Callable[[], float]
"""Returns the time in seconds since 1970, as `time.time` does."""

_LONGEST_WAIT = 30.0  # real seconds, after which a changed clock or a suspended machine is noticed


class Clock:
    """The clock of the machine.

    Args:
        speed: Seconds of this clock per real second, more than 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            raise ValueError(f"speed is {speed}; must be more than 0")
        self._speed = speed
        self._started_at = time.time()

    def time(self) -> float:
        """Seconds since 1970."""
        return self._started_at + (time.time() - self._started_at) * self._speed

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Wait until a moment (seconds since 1970) or a notification; may return early.

        Args:
            condition: Held by the caller, as for `Condition.wait`.
            until: None waits for a notification only.
        """
        if until is None:
            condition.wait()
        elif (seconds := (until - self.time()) / self._speed) > 0:
            condition.wait(min(seconds, _LONGEST_WAIT))


class ManualClock(Clock):
    """A clock that moves only when it is moved.

    Args:
        now: Seconds since 1970.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        super().__init__()
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


def utc_text(moment: float) -> str:
    """Format seconds since 1970 as `2021-04-08T06:28:17.093Z`."""
    text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def utc_second_text(moment: float) -> str:
    """Format the full second as `2021-04-08T06:28:17.000Z`."""
    return utc_text(int(moment))


def parse_http_date(header: str) -> float | None:
    """Parse a date as seconds since 1970, in GMT if it has no zone; None if it is not a date."""
    try:
        moment = parsedate_to_datetime(header)
    except (TypeError, ValueError, IndexError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
