"""Rules for scheduled and repeated pushes (pushsimple.md: Strategy content)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpaas_local.mpaas.judgement.push import MAX_INT, MAX_LONG, Push, refuse, refuse_duplicate_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MAX_LOOP_DAYS", "check_strategy"]


MAX_LOOP_DAYS = 180
"""Latest end of a loop, in days after today (pushsimple.md: Strategy content)."""

_DAY_MS = 24 * 3600 * 1000
_CHINA_OFFSET_MS = 8 * 3600 * 1000
_TIME_OF_DAY = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
_LOOP_TYPES = (1, 2, 3)
_STRATEGY_FIELDS = {"1": ("fixedTime",), "2": ("startTime", "endTime", "circleType", "circleValue", "time")}


def check_strategy(push: Push) -> None:
    """Refuse a strategy without its fields, or with faulty ones."""
    kind = push.text("StrategyType") or "0"
    name = "StrategyContent"
    content: dict[str, Any] = {}
    if push.has(name):
        pairs = push.json_object(name, "3028")
        refuse_duplicate_key(pairs, name, "3028")
        content = {field: value for field, value in pairs.items if value is not None}
        _check_strategy_fields(content)
    elif kind != "0":
        refuse("3028", name, f"is required with StrategyType {kind}")
    for field in _STRATEGY_FIELDS.get(kind, ()):
        if field not in content:
            refuse("3028", f"{name}.{field}", f"is required with StrategyType {kind}")
    if kind == "1":
        _check_fixed_time(content, push)
    elif kind == "2":
        _check_loop(content, push)


def _check_strategy_fields(content: Mapping[str, Any]) -> None:
    """Check the types of all fields, whether this StrategyType uses them or not."""
    for field, (is_valid, expected) in _STRATEGY_TYPES.items():
        if field in content and not is_valid(content[field]):
            refuse("3028", f"StrategyContent.{field}", f"is not {expected}")


def _check_fixed_time(content: Mapping[str, Any], push: Push) -> None:
    if content["fixedTime"] // 1000 < push.now_ms // 1000:
        if push.behaviour.past_times == "refuse":
            refuse("3028", "StrategyContent.fixedTime", "is in the past")
        push.notes.append("StrategyContent.fixedTime is in the past")


def _check_loop(content: Mapping[str, Any], push: Push) -> None:
    start, end = content["startTime"], content["endTime"]
    today = _china_day(push.now_ms)
    if _china_day(start) < today:
        refuse("3028", "StrategyContent.startTime", "is before today 00:00 (+08:00)")
    if end < start:
        refuse("3028", "StrategyContent.endTime", "is before startTime")
    if _china_day(end) > today + MAX_LOOP_DAYS:
        refuse("3028", "StrategyContent.endTime", f"is more than {MAX_LOOP_DAYS} days after today (+08:00)")
    if content["circleType"] not in _LOOP_TYPES:
        push.notes.append(f"StrategyContent.circleType {content['circleType']} is not 1, 2 or 3")


def _china_day(milliseconds: int) -> int:
    """The day in China Standard Time, +08:00, as a number (pushsimple.md: Strategy content)."""
    return (milliseconds + _CHINA_OFFSET_MS) // _DAY_MS


def _is_int(value: Any, maximum: int) -> bool:
    return type(value) is int and 0 <= value <= maximum


_MILLISECONDS = (lambda value: _is_int(value, MAX_LONG), "a time in milliseconds")
_STRATEGY_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "fixedTime": _MILLISECONDS,
    "startTime": _MILLISECONDS,
    "endTime": _MILLISECONDS,
    "circleType": (lambda value: _is_int(value, MAX_INT), "an integer, 0 or more"),
    "circleValue": (
        lambda value: isinstance(value, list) and all(type(day) is int for day in value),
        "a list of integers",
    ),
    "time": (
        lambda value: isinstance(value, str) and _TIME_OF_DAY.fullmatch(value) is not None,
        "a time of day, HH:mm:ss",
    ),
}
