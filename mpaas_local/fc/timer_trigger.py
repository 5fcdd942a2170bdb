"""Timer triggers and the event of a tick (fc-runtime.md: Timer trigger).

A `Timer` comes from a trigger of `s.yaml`; `Timers` waits for the ticks of all timers on one thread and
passes each event to the function's asynchronous queue. Choices where the reference is silent: the event has
the scheduled time, ticks missed while this machine slept are skipped, and `@every` counts from the start.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mpaas_local.clock import Clock
from mpaas_local.compact_json import compact_json
from mpaas_local.fc.schedule import Schedule
from project.cron import next_tick

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_local.fc.call import Accept
    from project import triggers

__all__ = ["Timer", "Timers", "UnknownTimer", "timer_of"]

_logger = logging.getLogger(__name__)


class UnknownTimer(LookupError):
    """No timer has this name, or several have."""


@dataclass(frozen=True, kw_only=True)
class Timer:
    """One timer trigger.

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        expression: `cronExpression`.
        payload: `payload`, the text in each event.
        enabled: Whether it fires on schedule.
    """

    function: str
    name: str
    expression: str
    payload: str = ""
    enabled: bool = True

    @property
    def size(self) -> int:
        """Bytes of the payload, which count against the limit (fc-runtime.md: Timer trigger)."""
        return len(self.payload.encode())

    def event(self, moment: datetime) -> bytes:
        """Return the event of a tick (fc-runtime.md: Timer trigger)."""
        event = {
            "triggerTime": moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "triggerName": self.name,
            "payload": self.payload,
        }
        return compact_json(event)


def timer_of(trigger: triggers.Timer, function: str) -> Timer:
    """Return the timer of a trigger from `s.yaml`."""
    config = trigger.trigger_config
    return Timer(
        function=function,
        name=trigger.trigger_name,
        expression=config.cron_expression,
        payload=config.payload,
        enabled=config.enable,
    )


class Timers:
    """Fires timers when they are due; a context manager. Thread-safe.

    Args:
        clock: None for that of the machine.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._schedule = Schedule("timers", clock=self._clock)
        self._timers: dict[tuple[str, str], tuple[Timer, Accept]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, timer: Timer, fire: Accept) -> None:
        """Add a timer. An enabled one fires on schedule from now on; a disabled one only by `tick`."""
        self._timers[timer.function, timer.name] = (timer, fire)
        if timer.enabled:
            job = _TimerJob(timer, fire, self._clock)
            self._schedule.at(job.due, job)

    @property
    def names(self) -> list[str]:
        """The timers as `<function>/<trigger>`, in the order in which they were added."""
        return ["/".join(key) for key in self._timers]

    @property
    def payloads(self) -> dict[str, str]:
        """The payload of each timer by its name, in the order of `names`."""
        return {"/".join(key): timer.payload for key, (timer, _) in self._timers.items()}

    def tick(self, name: str) -> str:
        """Fire a timer now; returns the request id.

        Args:
            name: `<trigger>`, or `<function>/<trigger>` if several functions have a trigger of this name.

        Raises:
            UnknownTimer: no timer has this name, or several have.
        """
        matching = [entry for key, entry in self._timers.items() if name in (key[1], "/".join(key))]
        if len(matching) != 1:
            known = ", ".join(sorted(self.names)) or "none"
            problem = "several timers are named" if matching else "no timer is named"
            raise UnknownTimer(f"{problem} {name}; timers: {known}")
        timer, fire = matching[0]
        return fire(timer.event(datetime.fromtimestamp(self._clock.time(), timezone.utc)), size=timer.size)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until no tick is running or due."""
        return self._schedule.settle(timeout)

    def close(self) -> None:
        """Stop at once."""
        self._schedule.close()


class _TimerJob:
    """A job of a `Schedule` that fires one timer at each of its ticks."""

    def __init__(self, timer: Timer, fire: Accept, clock: Clock) -> None:
        self._timer = timer
        self._fire = fire
        self._clock = clock
        self._tick = self._after(clock.time())
        self.due = self._tick.timestamp()

    def __call__(self) -> float:
        tick, self._tick = self._tick, self._after(self._tick.timestamp())
        try:
            self._fire(self._timer.event(tick), size=self._timer.size)
        except Exception:
            _logger.exception("timer %s: the tick of %s was not accepted", self._timer.name, tick)
        if self._tick.timestamp() < (now := self._clock.time()) - _LATE_SECONDS:
            self._tick = self._after(now)
            _logger.warning("timer %s: ticks until %s were missed", self._timer.name, self._tick)
        return self._tick.timestamp()

    def _after(self, moment: float) -> datetime:
        return next_tick(self._timer.expression, datetime.fromtimestamp(moment, timezone.utc))


_LATE_SECONDS = 300.0  # a tick later than this counts as missed
