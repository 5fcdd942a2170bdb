"""What a constraint is: a check with its name, source and level, and the decorators that make one.

A message whose fields are each valid and the present time enter a check, faults leave it.
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
    """What a broken constraint does: reject the message, warn, or nothing."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


Check = Callable[["MessageFields", datetime], Iterator[Fault]]
"""Yields what is wrong with a message at a given moment."""


class Constraint(NamedTuple):
    """One rule that joins fields or judges a value.

    Attributes:
        name: Stable name, as used in ``PUSH_RULES`` and in warnings.
        level: What a broken constraint does unless a setting says otherwise.
        certain: The rule is documented: its level is error and cannot be switched.
        source: Where it is written: page, and heading in the project's reference.
        reads: The fields whose values the verdict rests on, in the page's names. While one of them is faulty
            itself, the constraint cannot be judged and is left out.
        demands: Fields of which the constraint only asks that they are there. A faulty one is there.
        always: It may find something in a message that names none of these fields.
        check: The check itself.
        attributes: The attributes of a message that belong to these fields.
    """

    name: str
    level: Level
    certain: bool
    source: str
    reads: tuple[str, ...]
    demands: tuple[str, ...]
    always: bool
    check: Check
    attributes: frozenset[str]


def documented(
    name: str,
    *,
    source: str,
    reads: tuple[str, ...],
    demands: tuple[str, ...] = (),
    always: bool = False,
) -> Callable[[Check], Constraint]:
    """Make a constraint that a page states of a check: it always rejects."""
    return lambda check: Constraint(
        name=name,
        level=Level.ERROR,
        certain=True,
        source=source,
        reads=reads,
        demands=demands,
        always=always,
        check=check,
        attributes=_attributes(reads + demands),
    )


def unconfirmed(
    name: str,
    *,
    source: str,
    reads: tuple[str, ...],
    demands: tuple[str, ...] = (),
    level: Level = Level.WARNING,
) -> Callable[[Check], Constraint]:
    """Make a constraint that no reachable page confirms of a check: its level can be set."""
    return lambda check: Constraint(
        name=name,
        level=level,
        certain=False,
        source=source,
        reads=reads,
        demands=demands,
        always=False,
        check=check,
        attributes=_attributes(reads + demands),
    )


def _attributes(fields: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_ATTRIBUTES[field.partition(".")[0]] for field in fields)


_ATTRIBUTES = {alias: name for name, alias in ALIASES.items()}


def violations(
    message: MessageFields, constraints: Iterable[Constraint], now: datetime
) -> Iterator[tuple[Constraint, Fault]]:
    """Yield each fault that the given constraints find in a message, with its constraint."""
    given = message.model_fields_set
    for constraint in constraints:
        if constraint.attributes.isdisjoint(given) and not constraint.always:
            continue  # most messages give few of the fields
        for fault in constraint.check(message, now):
            yield constraint, fault
