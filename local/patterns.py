"""Event patterns of EventBridge: which events a trigger wants (`eventRuleFilterPattern`).

Implemented: exact values (texts, numbers, true, false, null), `prefix` and `suffix`, on any field at any
depth. Fields are joined by AND, the values of one field by OR, and a field that the event lacks does not
match. A list in an event matches if one of its values does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EVERYTHING", "BadPattern", "Pattern", "pattern_of"]

_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {"prefix": str.startswith, "suffix": str.endswith}


class BadPattern(ValueError):
    """The pattern is wrong, or uses an operator that is not implemented; the text says where."""


@dataclass(frozen=True)
class Pattern:
    """A pattern that has been checked."""

    tree: Mapping[str, Any]

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event, as its JSON object, is wanted."""
        return _matches(self.tree, event)


EVERYTHING = Pattern({})
"""Matches every event."""


def pattern_of(text: str) -> Pattern:
    """Read a pattern from its JSON text; `{}` matches every event.

    Raises:
        BadPattern: it is no pattern, or uses what is not implemented.
    """
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise BadPattern(f"the pattern is no JSON: {error}") from error
    if not isinstance(tree, dict):
        raise BadPattern("the pattern must be a JSON object")
    _check(tree, "")
    return Pattern(tree)


def _check(tree: Mapping[str, Any], place: str) -> None:
    for key, wanted in tree.items():
        here = f"{place}.{key}" if place else key
        if isinstance(wanted, dict):
            _check(wanted, here)
        elif isinstance(wanted, list):
            for value in wanted:
                _check_value(value, here)
        else:
            raise BadPattern(f"{here}: a list of values is needed, such as [{json.dumps(wanted)}]")


def _check_value(value: Any, place: str) -> None:
    if isinstance(value, list):
        raise BadPattern(f"{place}: a list in a list means nothing here")
    if not isinstance(value, dict):
        return
    for operator, operand in value.items():
        if operator not in _OPERATORS:
            raise BadPattern(
                f"{place}: {operator!r} is not implemented here; exact values, prefix and suffix are"
            )
        if not isinstance(operand, str):
            raise BadPattern(f"{place}: {operator} needs a text")
    if len(value) != 1:
        raise BadPattern(f"{place}: one operator at a time, such as {{'prefix': 'acs.'}}")


def _matches(tree: Mapping[str, Any], event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    return all(key in event and _field_matches(wanted, event[key]) for key, wanted in tree.items())


def _field_matches(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return _matches(wanted, found)
    values = found if isinstance(found, list) else [found]
    return any(_value_matches(one, value) for one in wanted for value in values)


def _value_matches(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        ((operator, operand),) = wanted.items()
        return isinstance(found, str) and _OPERATORS[operator](found, operand)
    return type(wanted) is type(found) and bool(wanted == found)
