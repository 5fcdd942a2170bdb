"""Event patterns of EventBridge, which select the events of a trigger (`eventRuleFilterPattern`).

A pattern has the structure of the events that match; its leaves are lists of values and operators. All fields
must match, and each field matches if any item of its list does. A field that the event does not have matches
only `{"exists": false}`. A list in an event matches if any of its values does. The operators are those of the
page "Event patterns" of the EventBridge manual.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Test = Callable[[Any], bool]

__all__ = ["EVERYTHING", "BadPattern", "Pattern", "pattern_of"]


class BadPattern(ValueError):
    """The text is not a pattern; the message says where and what is allowed."""


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern.

    Attributes:
        fields: For each field, the test of a value or the pattern of an object.
    """

    fields: Mapping[str, _Test | Pattern]

    def matches(self, event: Any) -> bool:
        """Return whether an event, a JSON object, matches."""
        return isinstance(event, dict) and all(
            test.matches(event.get(name)) if isinstance(test, Pattern) else test(event.get(name, _MISSING))
            for name, test in self.fields.items()
        )


EVERYTHING = Pattern({})
"""Matches every event."""

_MISSING = object()


def pattern_of(text: str) -> Pattern:
    """Parse the JSON text of a pattern; `{}` matches every event.

    Raises:
        BadPattern: the text is not a pattern.
    """
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadPattern(f"the pattern is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise BadPattern("the pattern must be a JSON object")
    return _object(tree, "")


def _object(tree: Mapping[str, Any], path: str) -> Pattern:
    fields: dict[str, _Test | Pattern] = {}
    for name, value in tree.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            fields[name] = _object(value, here)
            continue
        if not isinstance(value, list):
            raise BadPattern(f"{here}: must be a list of values, such as [{json.dumps(value)}]")
        if not value:
            raise BadPattern(f"{here}: an empty list matches nothing")
        try:
            fields[name] = _any_of([_test(item) for item in value])
        except ValueError as error:
            raise BadPattern(f"{here}: {error}") from None
    return Pattern(fields)


def _any_of(tests: list[_Test]) -> _Test:
    def test(value: Any) -> bool:
        values = value if isinstance(value, list) and value else [value]
        return any(item_test(item) for item_test in tests for item in values)

    return test


def _test(item: Any) -> _Test:
    if isinstance(item, list):
        raise ValueError("a list must not contain a list")
    if not isinstance(item, dict):
        return lambda value: type(value) is type(item) and bool(value == item)
    if len(item) != 1:
        raise ValueError("an object must have one operator, such as {'prefix': 'acs.'}")
    ((name, operand),) = item.items()
    if name not in _OPERATORS:
        near = get_close_matches(name, _OPERATORS, 1)
        raise ValueError(
            f"{name!r} is not an operator"
            + (f"; did you mean {near[0]}?" if near else f"; allowed: {', '.join(_OPERATORS)}")
        )
    return _OPERATORS[name](operand)


# --- Operators: each turns its operand into a test


def _text(name: str, compare: Callable[[str, str], bool]) -> Callable[[Any], _Test]:
    def build(operand: Any) -> _Test:
        if not isinstance(operand, str):
            raise ValueError(f"{name} needs a string")
        return lambda value: isinstance(value, str) and compare(value, operand)

    return build


def _anything_but(operand: Any) -> _Test:
    excluded = [_test(alternative) for alternative in (operand if isinstance(operand, list) else [operand])]
    return lambda value: value is not _MISSING and not any(test(value) for test in excluded)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _numeric(operand: Any) -> _Test:
    pairs = list(zip(operand[::2], operand[1::2], strict=False)) if isinstance(operand, list) else []
    if (
        not pairs
        or len(operand) % 2
        or not all(str(sign) in _COMPARISONS and _is_number(limit) for sign, limit in pairs)
    ):
        raise ValueError(
            f"numeric needs pairs of {' '.join(_COMPARISONS)} and a number, such as ['>', 0, '<=', 5]"
        )
    return lambda value: _is_number(value) and all(_COMPARISONS[sign](value, limit) for sign, limit in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cidr(operand: Any) -> _Test:
    try:
        network = IPv4Network(str(operand), strict=False)
    except ValueError:
        raise ValueError("cidr needs a block of IPv4 addresses, such as 10.0.0.0/24") from None

    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and IPv4Address(value) in network
        except ValueError:
            return False

    return test


def _exists(operand: Any) -> _Test:
    if not isinstance(operand, bool):
        raise ValueError("exists needs true or false")
    return lambda value: (value is not _MISSING) is operand


_OPERATORS: Mapping[str, Callable[[Any], _Test]] = {
    "prefix": _text("prefix", str.startswith),
    "suffix": _text("suffix", str.endswith),
    "contains": _text("contains", operator.contains),
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
    "exists": _exists,
}
