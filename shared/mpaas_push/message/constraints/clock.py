"""The current time and China's calendar, in the units of ``strategyContent``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

__all__ = [
    "CHINA",
    "DAY",
    "SURELY_MILLISECONDS",
    "Clock",
    "china_midnight",
    "epoch_milliseconds",
    "seconds_hint",
    "system_clock",
]

Clock = Callable[[], datetime]
"""Returns the current time as an aware datetime."""

CHINA = timezone(timedelta(hours=8))
"""China Standard Time: day boundaries and ``time`` of a strategy (inferred from the examples; pushsimple.md:
Strategy content)."""


def system_clock() -> datetime:
    """Return the machine's current time."""
    return datetime.now(timezone.utc)


def epoch_milliseconds(moment: datetime) -> int:
    """Return a moment in the unit of ``strategyContent``: milliseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // _MILLISECOND


def china_midnight(now: datetime) -> int:
    """Return the start (00:00) of the day in China, in epoch milliseconds."""
    milliseconds = epoch_milliseconds(now)
    return milliseconds - (milliseconds + _CHINA_OFFSET) % DAY


DAY = 86_400_000
"""A day in milliseconds; China has no daylight saving time."""
_CHINA_OFFSET = 8 * 3_600_000


def seconds_hint(moment: int) -> str:
    """Return a hint for the fault of a time in milliseconds that seems to be in seconds, else ""."""
    return "; this looks like seconds, not milliseconds" if 0 < moment < SURELY_MILLISECONDS else ""


SURELY_MILLISECONDS = 100_000_000_000
"""Seconds reach this number in the year 5138, milliseconds reached it in 1973."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
