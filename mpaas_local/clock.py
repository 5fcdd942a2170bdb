"""The clock of everything that waits, and times as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

__all__ = ["Clock", "TimeSource", "parse_http_date", "utc_second_text", "utc_text"]

TimeSource = Callable[[], float]
"""Returns the time in seconds since 1970, as `time.time` does."""

_LONGEST_WAIT = 30.0  # real seconds, after which a changed clock or a suspended machine is noticed


class Clock:
    """The clock of the machine."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Wait until a moment (seconds since 1970) or a notification; may return early.

        Args:
            condition: Held by the caller, as for `Condition.wait`.
            until: None waits for a notification only.
        """
        if until is None:
            condition.wait()
        elif (seconds := until - self.time()) > 0:
            condition.wait(min(seconds, _LONGEST_WAIT))


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
