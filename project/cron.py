"""The expressions of timer triggers (fc-runtime.md: Timer trigger).

Expressions that the reference neither allows nor forbids are accepted, since the cloud may accept them: names
such as `@daily`, periods in units other than minutes, `L` for the last day, a day of the month together with
a weekday. Expressions that it calls invalid are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

__all__ = ["next_tick"]

_EVERY = re.compile(r"@every\s+((?:[0-9]+(?:\.[0-9]+)?[dhms])+)")
_PART = re.compile(r"([0-9.]+)([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_LONGEST_PERIOD = timedelta(days=3660)
_NAMES = {
    "@hourly": "0 0 * * * *",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@weekly": "0 0 0 ? * SUN",
    "@monthly": "0 0 0 1 * ?",
    "@yearly": "0 0 0 1 1 ?",
    "@annually": "0 0 0 1 1 ?",
}
"""The usual meaning of these names (UNSURE in fc-runtime.md: Timer trigger)."""
_MONTHS = {
    "JAN": 1,
    "FEB": 2,
    "MAR": 3,
    "APR": 4,
    "MAY": 5,
    "JUN": 6,
    "JUL": 7,
    "AUG": 8,
    "SEP": 9,
    "OCT": 10,
    "NOV": 11,
    "DEC": 12,
}
_WEEKDAYS = {"MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6, "SUN": 7}


@dataclass(frozen=True, kw_only=True)
class _Field:
    """A row of the field table (fc-runtime.md: Timer trigger)."""

    name: str
    minimum: int
    maximum: int
    specials: str
    names: dict[str, int]
    last: str = ""
    """Pattern of the last day or weekday of a month."""


_FIELDS = (
    _Field(name="seconds", minimum=0, maximum=59, specials="", names={}),
    _Field(name="minutes", minimum=0, maximum=59, specials=",-*/", names={}),
    _Field(name="hours", minimum=0, maximum=23, specials=",-*/", names={}),
    _Field(name="day of month", minimum=1, maximum=31, specials=",-*?/", names={}, last="L"),
    _Field(name="month", minimum=1, maximum=12, specials=",-*/", names=_MONTHS),
    _Field(name="day of week", minimum=1, maximum=7, specials=",-*?", names=_WEEKDAYS, last="[1-7]L"),
)


def next_tick(expression: str, after: datetime) -> datetime:
    """Return the first tick of an expression after a moment, in UTC (fc-runtime.md: Timer trigger).

    An expression is `@every 4m` or `@every 1h30m` (units `d`, `h`, `m`, `s`), a name such as `@daily`, or six
    fields `second minute hour day-of-month month day-of-week`, in UTC or in the zone of a leading
    `CRON_TZ=<zone>`. Seconds must be a number; weekday 7 is Sunday; `L` is the last day of the month and `5L`
    its last Friday. A day of the month and a weekday together match the days that are either, or, if one of
    them begins with `*`, the days that are both.

    Args:
        expression: `cronExpression`.
        after: A moment with a zone. `@every` counts from it.

    Raises:
        ValueError: the expression is invalid; the text says where and what is allowed.
    """
    text = expression.strip()
    zone: tzinfo = timezone.utc
    if text.startswith("CRON_TZ="):
        name, _, text = text.removeprefix("CRON_TZ=").partition(" ")
        zone, text = _zone(name), text.strip()
    text = _NAMES.get(text, text)
    if text.startswith("@"):
        return after.astimezone(timezone.utc) + _period(text)
    from cronsim import CronSim, CronSimError  # not in the layer

    try:
        return next(CronSim(_for_cronsim(text), after.astimezone(zone))).astimezone(timezone.utc)
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"is not a valid expression ({error})" if str(error) else "never ticks") from error


def _period(text: str) -> timedelta:
    """Return the period of an `@every`; at least a second."""
    match = _EVERY.fullmatch(text)
    if match is None:
        names = ", ".join(_NAMES)
        raise ValueError(
            f"must be `@every` and numbers with d, h, m or s, such as `@every 5m`, or one of {names}"
        )
    parts = _PART.findall(match[1])
    try:
        period = sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        period = timedelta.max
    if not timedelta(seconds=1) <= period <= _LONGEST_PERIOD:
        raise ValueError("`@every` must be at least a second and at most ten years")
    return period


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone such as Asia/Shanghai") from error


def _for_cronsim(text: str) -> str:
    """Return the six fields with names replaced by numbers, as cronsim reads them."""
    parts = text.upper().split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise ValueError(f"has {len(parts)} fields; must have 6: {names}")
    return " ".join(_numbers(field, part) for field, part in zip(_FIELDS, parts, strict=True))


def _numbers(field: _Field, part: str) -> str:
    if part == "?" and "?" in field.specials:
        return "*"
    if not field.specials and not part.isdecimal():
        raise ValueError(f"{field.name}: {part!r}: must be a number from {field.minimum} to {field.maximum}")
    for special in ",-*/":
        if special in part and special not in field.specials:
            raise ValueError(f"{field.name}: {part!r}: {special} is not allowed here")
    return re.sub(r"[^,\-*/]+", lambda match: _number(field, part, match), part)


def _number(field: _Field, part: str, match: re.Match[str]) -> str:
    word = match[0]
    if field.last and re.fullmatch(field.last, word):
        return word
    if word in field.names:
        return str(field.names[word])
    is_step = match.start() > 0 and part[match.start() - 1] == "/"
    if not (word.isascii() and word.isdecimal()) or not (
        is_step or field.minimum <= int(word) <= field.maximum
    ):
        named = f" or {min(field.names, key=lambda key: field.names[key])} …" if field.names else ""
        raise ValueError(f"{field.name}: {word!r}: must be {field.minimum} to {field.maximum}{named}")
    return word
