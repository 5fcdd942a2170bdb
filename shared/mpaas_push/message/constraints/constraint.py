"""A constraint is a check with a name, a source and a level; decorators create one from a check.

A check takes a message whose fields are valid individually, and the current time; it yields faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from mpaas_push.errors import Fault
from mpaas_push.message.fields import ALIASES

if TYPE_CHECKING:
    from mpaas_push.message.fields import MessageFields

__all__ = ["Check", "Constraint", "Level", "documented", "unconfirmed", "violations"]


class Level(Enum):
    """What a violated constraint does: reject the message, warn, or nothing."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


Check = Callable[["MessageFields", datetime], Iterator[Fault]]
"""Yields the faults of a message at a given moment."""


class Constraint(NamedTuple):
    """One rule between fields or about a value.

    Attributes:
        name: Stable name, as used in ``PUSH_RULES`` and in warnings.
        level: What a violation does unless a setting says otherwise.
        certain: The rule is documented: its level is error and cannot be changed.
        source: Where the rule is written: page, and heading in the project's reference.
        reads: The fields whose values the check depends on, in the page's names. If one of them is itself
            faulty, the constraint is skipped.
        presence_of: Fields of which only the presence matters. The fault is at the missing or unneeded one;
            if its value is faulty, only that is reported.
        always: The check may report a message that has none of these fields.
        check: The check itself.
        attributes: The attributes of a message that belong to these fields.
    """

    name: str
    level: Level
    certain: bool
    source: str
    reads: tuple[str, ...]
    presence_of: tuple[str, ...]
    always: bool
    check: Check
    attributes: frozenset[str]


def documented(
    name: str,
    *,
    source: str,
    reads: tuple[str, ...],
    presence_of: tuple[str, ...] = (),
    always: bool = False,
) -> Callable[[Check], Constraint]:
    """Turn a check into a constraint that a page documents: it always rejects."""
    return lambda check: Constraint(
        name=name,
        level=Level.ERROR,
        certain=True,
        source=source,
        reads=reads,
        presence_of=presence_of,
        always=always,
        check=check,
        attributes=_attributes(reads + presence_of),
    )


def unconfirmed(
    name: str,
    *,
    source: str,
    reads: tuple[str, ...],
    presence_of: tuple[str, ...] = (),
    level: Level = Level.WARNING,
) -> Callable[[Check], Constraint]:
    """Turn a check into a constraint that no reachable page confirms: its level can be set."""
    return lambda check: Constraint(
        name=name,
        level=level,
        certain=False,
        source=source,
        reads=reads,
        presence_of=presence_of,
        always=False,
        check=check,
        attributes=_attributes(reads + presence_of),
    )


def _attributes(fields: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_ATTRIBUTES[field.partition(".")[0]] for field in fields)


_ATTRIBUTES = {alias: name for name, alias in ALIASES.items()}


def violations(
    message: MessageFields, constraints: Iterable[Constraint], now: datetime
) -> Iterator[tuple[Constraint, Fault]]:
    """Yield each violation of the given constraints: the constraint and the fault."""
    given = message.model_fields_set
    for constraint in constraints:
        if constraint.attributes.isdisjoint(given) and not constraint.always:
            continue  # most messages have few of the fields
        for fault in constraint.check(message, now):
            yield constraint, fault
