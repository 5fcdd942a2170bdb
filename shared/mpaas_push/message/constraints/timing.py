"""When a message is pushed, and how long it is kept: strategy and validity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.clock import DAY, china_midnight, epoch_milliseconds, seconds_hint
from mpaas_push.message.constraints.constraint import Constraint, Level, documented, unconfirmed
from mpaas_push.message.vocabulary import MAX_EXPIRED_SECONDS, MAX_LOOP_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields, StrategyContent

__all__ = ["TIMING"]

_TIMED, _LOOP = 1, 2
_DAILY, _WEEKLY, _MONTHLY = 1, 2, 3
_FIXED_FIELDS = (("fixedTime", "fixed_time"),)
_LOOP_FIELDS = (
    ("startTime", "start_time"),
    ("endTime", "end_time"),
    ("circleType", "circle_type"),
    ("circleValue", "circle_value"),
    ("time", "time"),
)
_STRATEGIES = {_TIMED: ("timed push", _FIXED_FIELDS), _LOOP: ("loop push", _LOOP_FIELDS)}


@documented(
    "strategy-content-fields",
    source="Simple push page, StrategyContent; pushsimple.md: Strategy content",
    reads=("strategyType",),
    presence_of=("strategyContent", *(f"strategyContent.{name}" for name, _ in _FIXED_FIELDS + _LOOP_FIELDS)),
)
def strategy_content(message: MessageFields, _: datetime) -> Iterator[Fault]:
    strategy = _STRATEGIES.get(message.strategy_type or 0)
    if strategy is None:
        return
    kind, fields = strategy
    content = message.strategy_content
    if content is None:
        names = ", ".join(name for name, _ in fields)
        yield Fault(
            "strategyContent", f"is required with strategyType {message.strategy_type} ({kind}): {names}"
        )
        return
    for name, attribute in fields:
        if getattr(content, attribute) is None:
            yield Fault(
                f"strategyContent.{name}", f"is required with strategyType {message.strategy_type} ({kind})"
            )


@unconfirmed(
    "strategy-content-unused",
    source="UNSURE: inferred from strategyType 0 immediate; "
    "pushsimple.md: Strategies and SMS and Live Activity",
    reads=("strategyType",),
    presence_of=("strategyContent",),
)
def strategy_unused(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.strategy_type and message.strategy_content is not None:
        yield Fault(
            "strategyContent", "is not used with strategyType 0 (immediate); set strategyType to 1 or 2"
        )


@unconfirmed(
    "fixed-time-in-future",
    source="UNSURE: inferred, no minimum lead time is stated; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.fixedTime"),
    level=Level.ERROR,
)
def fixed_time(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = _content(message, _TIMED)
    if content is not None and content.fixed_time is not None:
        present = epoch_milliseconds(now)
        if content.fixed_time // 1000 < present // 1000:  # "precise to the second"
            yield Fault(
                "strategyContent.fixedTime",
                f"is in the past; now is {present} in milliseconds{seconds_hint(content.fixed_time)}",
                content.fixed_time,
            )


@documented(
    "loop-start-today-or-later",
    source="Simple push page, StrategyContent.startTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.startTime"),
)
def loop_start(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = _content(message, _LOOP)
    if content is not None and content.start_time is not None:
        yield from _before_today("strategyContent.startTime", content.start_time, china_midnight(now))


@documented(
    "loop-end-within-180-days",
    source="Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.endTime"),
)
def loop_end(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = _content(message, _LOOP)
    if content is not None and content.end_time is not None:
        # "Precise to the day" and "not later than 180 days after the current day": that whole day is allowed.
        today = china_midnight(now)
        latest = today + (MAX_LOOP_DAYS + 1) * DAY - 1
        if content.end_time > latest:
            yield Fault(
                "strategyContent.endTime",
                f"must not be later than {MAX_LOOP_DAYS} days after today in China, {latest} in milliseconds",
                content.end_time,
            )
        yield from _before_today("strategyContent.endTime", content.end_time, today)


@documented(
    "loop-end-after-start",
    source="Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.startTime", "strategyContent.endTime"),
)
def loop_order(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = _content(message, _LOOP)
    if (
        content is not None
        and content.start_time is not None
        and content.end_time is not None
        and content.end_time < content.start_time
    ):
        yield Fault(
            "strategyContent.endTime", "must not be before `strategyContent.startTime`", content.end_time
        )


@unconfirmed(
    "circle-type-known",
    source="UNSURE: from memory 1 daily, 2 weekly, 3 monthly; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.circleType"),
)
def circle_type(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = _content(message, _LOOP)
    if content is not None and content.circle_type not in (None, _DAILY, _WEEKLY, _MONTHLY):
        yield Fault(
            "strategyContent.circleType",
            "should be 1 (daily), 2 (weekly) or 3 (monthly), as far as is known",
            content.circle_type,
        )


@unconfirmed(
    "circle-value-range",
    source="UNSURE: from memory weekdays 1-7, days 1-31; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.circleType", "strategyContent.circleValue"),
)
def circle_value(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = _content(message, _LOOP)
    if content is None or content.circle_value is None:
        return
    if content.circle_type == _WEEKLY:
        last, unit = 7, "weekdays 1 to 7"
    elif content.circle_type == _MONTHLY:
        last, unit = 31, "days 1 to 31"
    else:
        # The official sample sends a value with the daily type, so it must be harmless there.
        return
    if not content.circle_value:
        yield Fault("strategyContent.circleValue", f"should contain {unit}, as far as is known; it is empty")
    for index, value in enumerate(content.circle_value):
        if not 1 <= value <= last:
            yield Fault(
                f"strategyContent.circleValue.{index}", f"should be one of {unit}, as far as is known", value
            )


@unconfirmed(
    "expired-seconds-max",
    source="OLD: comment in the official server demo 2014-2018; result code 3026 has no number; "
    "pushsimple.md: Core parameters",
    reads=("expiredSeconds",),
    level=Level.ERROR,
)
def expired_seconds(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.expired_seconds > MAX_EXPIRED_SECONDS:
        yield Fault(
            "expiredSeconds",
            f"must be at most {MAX_EXPIRED_SECONDS} seconds (7 days)",
            message.expired_seconds,
        )


TIMING: tuple[Constraint, ...] = (
    strategy_content,
    strategy_unused,
    fixed_time,
    loop_start,
    loop_end,
    loop_order,
    circle_type,
    circle_value,
    expired_seconds,
)


def _content(message: MessageFields, strategy_type: int) -> StrategyContent | None:
    """Return the strategy content of a message with this strategy type; None for other types."""
    return message.strategy_content if message.strategy_type == strategy_type else None


def _before_today(field: str, moment: int, today: int) -> Iterator[Fault]:
    """Yield a fault if a moment is before the start of today, both in epoch milliseconds."""
    if moment < today:
        yield Fault(
            field,
            f"must not be before today 00:00 in China, {today} in milliseconds{seconds_hint(moment)}",
            moment,
        )
