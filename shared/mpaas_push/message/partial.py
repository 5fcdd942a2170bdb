"""Constraints on the valid fields of a message that also has faulty ones."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message.constraints.constraint import violations
from mpaas_push.message.fields import ALIASES, STRATEGY_ALIASES, MessageFields
from mpaas_push.message.json_fields import MAX_FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from mpaas_push.errors import Fault
    from mpaas_push.message.constraints.constraint import Constraint

__all__ = ["violations_of_valid_fields"]


def violations_of_valid_fields(
    faults: Iterable[Fault], data: Mapping[str, Any], constraints: Iterable[Constraint], now: datetime
) -> list[Fault]:
    """Return the violated constraints on fields that are not faulty themselves, at most `MAX_FAULTS`.

    Args:
        faults: The faults of single fields of the message.
        data: The known fields of the message, by attribute or by the page's names.
        constraints: The constraints to apply; those that read a faulty field are skipped.
        now: The current time.
    """
    faulty = {_constrained_field(fault.field) for fault in faults}
    try:
        fields = MessageFields.model_validate(_without_faulty(data, faulty))
    except ValidationError:
        return []
    applicable = [
        constraint for constraint in constraints if faulty.isdisjoint(_with_objects(constraint.reads))
    ]
    violated = (fault for _, fault in violations(fields, applicable, now))
    reportable = (fault for fault in violated if not any(_covers(field, fault.field) for field in faulty))
    return list(islice(reportable, MAX_FAULTS))


# Replaces required fields that are missing or faulty.
_MINIMAL = {"taskName": "-", "title": "-", "content": "-", "deliveryType": 1, "expiredSeconds": 1}


def _without_faulty(data: Mapping[str, Any], faulty: set[str]) -> dict[str, Any]:
    valid: dict[str, Any] = dict(_MINIMAL)
    for key, value in data.items():
        alias = ALIASES.get(key, key)
        if alias not in _PAGE_NAMES or alias in faulty:
            continue
        if alias == "strategyContent" and any(field.startswith("strategyContent.") for field in faulty):
            valid[alias] = _strategy_without_faulty(value, faulty)
        else:
            valid[alias] = value
    return valid


def _strategy_without_faulty(content: Any, faulty: set[str]) -> Any:
    if isinstance(content, str):
        with suppress(UnreadableJson):
            content = read_json(content)
    if not isinstance(content, dict):
        return content  # not where the fault is: both names are given, or an unknown one has a dot
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str)
        and to_camel(key) in STRATEGY_ALIASES
        and faulty.isdisjoint({f"strategyContent.{key}", f"strategyContent.{to_camel(key)}"})
    }


def _constrained_field(path: str) -> str:
    """Return the part of a path that constraints name: a parameter, or a field of ``strategyContent``."""
    return ".".join(path.split(".")[: 2 if path.startswith("strategyContent.") else 1])


@cache
def _with_objects(reads: tuple[str, ...]) -> frozenset[str]:
    """Return fields that a constraint reads, and the objects that they are part of."""
    return frozenset((*reads, *(field.partition(".")[0] for field in reads)))


def _covers(field: str, path: str) -> bool:
    return path == field or path.startswith(f"{field}.")


_PAGE_NAMES = frozenset(ALIASES.values())
