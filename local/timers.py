"""Timer triggers: their expressions, their ticks, and the event of a tick (fc-runtime.md §3).

A `Timer` is read from a trigger of `s.yaml`; `Timers` waits for the ticks of all of them on one thread and
hands each event to the function's asynchronous queue. What the reference leaves open is decided like this:
the time in the event is the scheduled one, ticks missed while this machine slept are skipped, and `@every`
counts from the start.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from local.clock import Clock
from local.schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from local.descriptor import Trigger

__all__ = ["PAYLOAD_LIMIT", "BadTimer", "Fire", "Timer", "Timers", "UnknownTimer", "next_tick", "timer_of"]

PAYLOAD_LIMIT = 128 * 1024
"""Bytes (§3)."""

Fire = Callable[[bytes], str]
"""Takes an event into the function's asynchronous queue and returns the request id."""

_logger = logging.getLogger(__name__)


class BadTimer(ValueError):
    """A timer trigger is wrong.

    Attributes:
        timer: Trigger name.
        field: Key of the trigger's configuration.
        reason: What is wrong, and what is allowed.
    """

    def __init__(self, timer: str, field: str, reason: str) -> None:
        super().__init__(f"timer {timer}: {field}: {reason}")
        self.timer = timer
        self.field = field
        self.reason = reason


class UnknownTimer(LookupError):
    """No timer is called so, or more than one."""


@dataclass(frozen=True)
class Timer:
    """One timer trigger.

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        expression: `cronExpression`.
        payload: Text in every event.
        enabled: Whether it ticks by itself.

    Raises:
        BadTimer: the expression or the payload is wrong.
    """

    function: str
    name: str
    expression: str
    payload: str = ""
    enabled: bool = True

    def __post_init__(self) -> None:
        if (size := len(self.payload.encode())) > PAYLOAD_LIMIT:
            raise BadTimer(self.name, "payload", f"{size} bytes, at most {PAYLOAD_LIMIT}")
        try:
            next_tick(self.expression, datetime(2025, 1, 1, tzinfo=timezone.utc))
        except ValueError as error:
            raise BadTimer(self.name, "cronExpression", f"{self.expression!r}: {error}") from error

    def event(self, moment: datetime) -> bytes:
        """Return the event of a tick (§3)."""
        event = {
            "triggerTime": moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "triggerName": self.name,
            "payload": self.payload,
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def timer_of(trigger: Trigger, function: str) -> Timer:
    """Read a trigger of type `timer`.

    Raises:
        BadTimer: something in its configuration is wrong.
    """
    config = trigger.config
    if not isinstance(config.get("cronExpression"), str):
        raise BadTimer(trigger.name, "cronExpression", "a text is needed")
    payload = config.get("payload", "")
    if not isinstance(payload, str):
        raise BadTimer(trigger.name, "payload", "a text is needed; write JSON as a text")
    enabled = config.get("enable", True)
    if not isinstance(enabled, bool):
        raise BadTimer(trigger.name, "enable", "true or false is needed")
    return Timer(function, trigger.name, config["cronExpression"], payload, enabled)


class Timers:
    """Fires timers when they are due, from the moment that they are added.

    Safe under threads; close it, or use it in a `with`.

    Args:
        clock: The machine's if None.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._schedule = Schedule("timers", clock=self._clock)
        self._timers: dict[tuple[str, str], tuple[Timer, Fire]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, timer: Timer, fire: Fire) -> None:
        """Let a timer tick, if it is enabled; a disabled one ticks by hand only."""
        key = (timer.function, timer.name)
        if key in self._timers:
            raise BadTimer(timer.name, "triggerName", f"{timer.function} has another timer of this name")
        self._timers[key] = (timer, fire)
        if timer.enabled:
            ticking = _Ticking(timer, fire, self._clock)
            self._schedule.at(ticking.due, ticking)

    def tick(self, name: str) -> str:
        """Fire a timer now; returns the request id.

        Args:
            name: `<trigger>`, or `<function>/<trigger>` where several functions have one of this name.

        Raises:
            UnknownTimer: none is called so, or more than one.
        """
        named = [entry for key, entry in self._timers.items() if name in (key[1], "/".join(key))]
        if len(named) != 1:
            known = ", ".join(sorted("/".join(key) for key in self._timers)) or "none"
            many = "more than one timer is" if named else "no timer is"
            raise UnknownTimer(f"{many} called {name}; there are: {known}")
        timer, fire = named[0]
        return fire(timer.event(datetime.fromtimestamp(self._clock.time(), timezone.utc)))

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait, real seconds, until every tick that is due has been fired."""
        return self._schedule.settle(timeout)

    def close(self) -> None:
        """Stop at once."""
        self._schedule.close()


class _Ticking:
    """A job that fires one timer, tick after tick."""

    def __init__(self, timer: Timer, fire: Fire, clock: Clock) -> None:
        self._timer = timer
        self._fire = fire
        self._clock = clock
        self._tick = self._after(clock.time())
        self.due = self._tick.timestamp()

    def __call__(self) -> float:
        tick, self._tick = self._tick, self._after(self._tick.timestamp())
        try:
            self._fire(self._timer.event(tick))
        except Exception:
            _logger.exception("timer %s: the tick of %s was not taken", self._timer.name, tick)
        if self._tick.timestamp() < (now := self._clock.time()) - _LATE_SECONDS:
            self._tick = self._after(now)
            _logger.warning("timer %s: ticks until %s were missed", self._timer.name, self._tick)
        return self._tick.timestamp()

    def _after(self, moment: float) -> datetime:
        return next_tick(self._timer.expression, datetime.fromtimestamp(moment, timezone.utc))


_LATE_SECONDS = 300.0  # a tick that is later than this was missed

_EVERY = re.compile(r"@every\s+([0-9]+)([smh])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}
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


@dataclass(frozen=True)
class _Field:
    """A row of the field table (§3)."""

    name: str
    least: int
    most: int
    specials: str
    names: dict[str, int]


_FIELDS = (
    _Field("seconds", 0, 59, "", {}),
    _Field("minutes", 0, 59, ",-*/", {}),
    _Field("hours", 0, 23, ",-*/", {}),
    _Field("day of month", 1, 31, ",-*?/", {}),
    _Field("month", 1, 12, ",-*/", _MONTHS),
    _Field("day of week", 1, 7, ",-*?", _WEEKDAYS),
)


def next_tick(expression: str, after: datetime) -> datetime:
    """Return the first moment after another that an expression means, in UTC (§3).

    `@every 4m` (also `s` and `h`), or six fields `second minute hour day-of-month month day-of-week`, in UTC
    or in the zone of a `CRON_TZ=<zone>` before them. Seconds take a number only; weekday 7 is Sunday.

    Args:
        expression: `cronExpression`.
        after: A moment with a zone. `@every` counts from it.

    Raises:
        ValueError: the expression is wrong; the text says where and what is allowed.
    """
    text = expression.strip()
    zone: tzinfo = timezone.utc
    if text.startswith("CRON_TZ="):
        name, _, text = text.removeprefix("CRON_TZ=").partition(" ")
        zone, text = _zone(name), text.strip()
    if text.startswith("@"):
        match = _EVERY.fullmatch(text)
        if match is None or int(match[1]) == 0:
            raise ValueError("`@every` takes a whole number above 0 with m, s or h, such as `@every 5m`")
        return after.astimezone(timezone.utc) + timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        return next(CronSim(_checked(text), after.astimezone(zone))).astimezone(timezone.utc)
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"there is no such moment ({error})" if str(error) else "it never ticks") from error


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; one like Asia/Shanghai is needed") from error


def _checked(text: str) -> str:
    """Return six fields in numbers that mean the same to cronsim."""
    parts = text.upper().split()
    if len(parts) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        raise ValueError(f"{len(parts)} fields; 6 are needed: {names}")
    fields = [_numbers(field, part) for field, part in zip(_FIELDS, parts, strict=True)]
    if fields[3] != "*" and fields[5] != "*":
        raise ValueError("day of month and day of week together mean nothing certain; make one of them ?")
    return " ".join(fields)


def _numbers(field: _Field, part: str) -> str:
    if part == "?" and "?" in field.specials:
        return "*"
    if not field.specials and not part.isdecimal():
        raise ValueError(f"{field.name}: {part!r}: a number from {field.least} to {field.most} is needed")
    for special in ",-*/":
        if special in part and special not in field.specials:
            raise ValueError(f"{field.name}: {part!r}: {special} is not allowed here")
    return re.sub(r"[^,\-*/]+", lambda match: _number(field, part, match), part)


def _number(field: _Field, part: str, match: re.Match[str]) -> str:
    word = match[0]
    if word in field.names:
        return str(field.names[word])
    is_step = match.start() > 0 and part[match.start() - 1] == "/"
    if not (word.isascii() and word.isdecimal()) or not (is_step or field.least <= int(word) <= field.most):
        named = f" or {min(field.names, key=lambda key: field.names[key])} …" if field.names else ""
        raise ValueError(f"{field.name}: {word!r}: {field.least} to {field.most}{named} is needed")
    return word
