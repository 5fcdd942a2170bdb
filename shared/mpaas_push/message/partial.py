"""Constraints on a message that has faulty fields: what can be said about the others at the same time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from mpaas_push.json_text import read_json
from mpaas_push.message.constraints.constraint import violations
from mpaas_push.message.fields import ALIASES, STRATEGY_ALIASES, MessageFields
from mpaas_push.message.json_fields import MAX_FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from mpaas_push.errors import Fault
    from mpaas_push.message.constraints.constraint import Constraint

__all__ = ["violations_beside"]


def violations_beside(
    faults: Iterable[Fault], data: Mapping[Any, Any], constraints: Iterable[Constraint], now: datetime
) -> list[Fault]:
    """Return what constraints find in the fields that are not faulty themselves, up to `MAX_FAULTS`.

    Args:
        faults: What is wrong with single fields of the message.
        data: The message by attribute or by the page's names, with one spelling of ``strategyContent``.
        constraints: The constraints to apply; one that reads a faulty field is left out.
        now: The present time.
    """
    faulty = {_judged_field(fault.field) for fault in faults}
    try:
        fields = MessageFields.model_validate(_without_faulty(data, faulty))
    except ValidationError:
        return []
    applicable = [
        constraint
        for constraint in constraints
        if not any(_covers(field, read) for field in faulty for read in constraint.reads)
    ]
    violated = (fault for _, fault in violations(fields, applicable, now))
    sound = (fault for fault in violated if not any(_covers(field, fault.field) for field in faulty))
    return list(islice(sound, MAX_FAULTS))


# Stand in for required fields that are missing or faulty.
_MINIMAL = {"taskName": "-", "title": "-", "content": "-", "deliveryType": 1, "expiredSeconds": 1}


def _without_faulty(data: Mapping[Any, Any], faulty: set[str]) -> dict[str, Any]:
    sound: dict[str, Any] = dict(_MINIMAL)
    for key, value in data.items():
        alias = ALIASES.get(key, key) if isinstance(key, str) else ""
        if alias not in _PAGE_NAMES or alias in faulty:
            continue
        if alias == "strategyContent" and any(field.startswith("strategyContent.") for field in faulty):
            sound[alias] = _strategy_without_faulty(value, faulty)
        else:
            sound[alias] = value
    return sound


def _strategy_without_faulty(content: Any, faulty: set[str]) -> Any:
    if isinstance(content, str):
        content = read_json(content)
    return {
        key: value
        for key, value in content.items()
        if to_camel(key) in STRATEGY_ALIASES and f"strategyContent.{to_camel(key)}" not in faulty
    }


def _judged_field(path: str) -> str:
    """Return the part of a path that constraints speak of: a parameter, or a field of ``strategyContent``."""
    return ".".join(path.split(".")[: 2 if path.startswith("strategyContent.") else 1])


def _covers(field: str, path: str) -> bool:
    return path == field or path.startswith(f"{field}.")


_PAGE_NAMES = frozenset(ALIASES.values())
