"""JMESPath in rules: checks an expression before it runs, and evaluates it on an event."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import jmespath
from jmespath.parser import Parser

from mpaas_push.event_rules.expression_interpreter import (
    FUNCTIONS,
    Inapplicable,
    Interpreter,
    MissingField,
    lacking,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_expression", "find", "require"]

MAX_EXPRESSION_CHARACTERS = 2000
"""Of an expression: its tree takes several hundred bytes for each."""
_LONGEST_SHOWN = 200
_ATTRIBUTE = "[a-z0-9_]+"  # CloudEvents 1.0, Naming Conventions; and `data_base64`
_NEEDS_NO_QUOTES = "[A-Za-z_][A-Za-z0-9_]*"


def check_expression(expression: str) -> str:
    """Return an expression that may be applied to events.

    Raises:
        ValueError: It is not JMESPath, is too long, calls a function that does not exist, or has a field
            where a text is meant: JMESPath reads ``"CANCELLED"`` and ``CANCELLED`` as fields.
    """
    shown = _shown(expression)
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise ValueError(
            f"not a JMESPath expression: {shown}: longer than {MAX_EXPRESSION_CHARACTERS} characters"
        )
    try:
        tree = _MarkingParser().parse(expression).parsed
    except (ValueError, RecursionError) as error:  # a JMESPathError is a ValueError
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise ValueError(f"not a JMESPath expression: {shown}: {reason}") from None
    unknown = _functions(tree) - FUNCTIONS
    if unknown:
        raise ValueError(f"not a JMESPath expression: {shown}: there is no function {min(unknown)}")
    for field in _fields_for_texts(tree, in_event=True, alone=True):
        name = field["value"]
        written = f'"{name}"' if field.get("quoted") else name
        raise ValueError(f"{shown}: {written} is the name of a field: write '{name}' for the text")
    return expression


def find(expression: str, event: Mapping[str, Any]) -> Any:
    """Return what an expression finds in an event, None where it finds nothing.

    Raises:
        Inapplicable: The expression cannot be applied to this event: a function meets a value of a wrong
            type, or the result is what it is because the event lacks a field. The text says which.
    """
    return _search(expression, event)[0]


def require(expression: str, event: Mapping[str, Any]) -> Any:
    """Return what an expression finds in an event, which must be something.

    Raises:
        Inapplicable: As from `find`, or nothing is found.
    """
    value, missing = _search(expression, event)
    if value is None:
        reason = lacking(field.path for field in missing if field.path != expression)
        other = _shown(f"{expression} || 'text'")
        raise Inapplicable(
            f"{_shown(expression)} is not in the event{reason and ': '}{reason}; {other} names another value"
        )
    return value


def _search(expression: str, event: Mapping[str, Any]) -> tuple[Any, list[MissingField]]:
    """Return what an expression finds in an event, and which fields it lacks."""
    interpreter = Interpreter()
    try:
        # jmespath keeps what it has compiled.
        value = interpreter.visit(jmespath.compile(expression).parsed, event)
        if value is not None and value is not False:
            interpreter.refuse_missing()
    except Inapplicable as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - functions raise whatever Python does on a value of a wrong type
        # Texts of errors may quote what the event holds.
        reason = lacking(field.path for field in interpreter.missing) or type(error).__name__
    else:
        return value, interpreter.missing
    raise Inapplicable(f"{_shown(expression)} cannot be applied to this event: {reason}")


def _shown(expression: str) -> str:
    cut = "…" if len(expression) > _LONGEST_SHOWN else ""
    return f"`{expression[:_LONGEST_SHOWN]}{cut}`"


class _MarkingParser(Parser):  # type: ignore[misc]  # jmespath has no types
    """Marks the fields whose names are in double quotes; the tree of JMESPath's own parser loses that."""

    _CACHE: ClassVar[dict[str, Any]] = {}  # not that of the trees without marks

    def _token_nud_quoted_identifier(self, token: Any) -> Any:
        return {**super()._token_nud_quoted_identifier(token), "quoted": True}


def _below(node: Any) -> list[Any]:
    return [child for child in node["children"] if isinstance(child, dict)]


def _functions(node: Any) -> set[str]:
    """Return the functions that an expression calls; JMESPath looks them up when it is applied."""
    called = {node["value"]} if node["type"] == "function_expression" else set()
    return called.union(*map(_functions, _below(node)))


# Of these, what follows the first child is applied to what that one finds.
_CHAINS = {
    "subexpression",
    "index_expression",
    "flatten",
    "projection",
    "value_projection",
    "filter_projection",
}


def _fields_for_texts(node: Any, *, in_event: bool, alone: bool) -> Iterator[Any]:
    """Yield the fields of an expression that cannot be meant as such.

    Args:
        node: A node of the tree.
        in_event: It is applied to the event itself, whose attributes have names of small letters.
        alone: No field precedes or follows it, as in ``data."x-id"``.
    """
    kind, below = node["type"], _below(node)
    if kind == "field":
        if alone and node.get("quoted") and (in_event or re.fullmatch(_NEEDS_NO_QUOTES, node["value"])):
            yield node
        return
    if kind == "comparator":
        left, right = below
        for operand in below if in_event else ():
            if operand["type"] == "field" and not re.fullmatch(_ATTRIBUTE, operand["value"]):
                yield operand
        if right.get("quoted") and left["type"] != "literal":
            yield right
    for index, child in enumerate(below):
        if kind in _CHAINS:
            is_condition = kind == "filter_projection" and index == 2
            yield from _fields_for_texts(child, in_event=in_event and index == 0, alone=is_condition)
        else:
            inside = in_event and kind != "expref" and not (kind == "pipe" and index == 1)
            yield from _fields_for_texts(child, in_event=inside, alone=True)
