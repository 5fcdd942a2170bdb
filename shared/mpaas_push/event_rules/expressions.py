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
    describe_missing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_expression", "find", "require"]

MAX_EXPRESSION_CHARACTERS = 2000
"""Longest expression: its tree takes several hundred bytes for each character."""
_LONGEST_SHOWN = 200
_ATTRIBUTE = "[a-z0-9_]+"  # CloudEvents 1.0, Naming Conventions; and `data_base64`
_NEEDS_NO_QUOTES = "[A-Za-z_][A-Za-z0-9_]*"


def check_expression(expression: str) -> str:
    """Check an expression and return it.

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
    """Return the value of an expression in an event; None if there is none.

    Raises:
        Inapplicable: The expression cannot be applied to this event: a function gets a value of the wrong
            type, or the result depends on a field that the event lacks. The text says which.
    """
    return _search(expression, event)[0]


def require(expression: str, event: Mapping[str, Any]) -> Any:
    """Return the value of an expression in an event.

    Raises:
        Inapplicable: As from `find`, or there is no value.
    """
    value, missing = _search(expression, event)
    if value is None:
        reason = describe_missing(field.path for field in missing if field.path != expression)
        example = _shown(f"{expression} || 'text'")
        raise Inapplicable(
            f"{_shown(expression)} is not in the event{reason and ': '}{reason}; {example} sets a default"
        )
    return value


def _search(expression: str, event: Mapping[str, Any]) -> tuple[Any, list[MissingField]]:
    """Return the value of an expression in an event, and the fields that the event lacks."""
    interpreter = Interpreter()
    try:
        # jmespath caches compiled expressions.
        value = interpreter.visit(jmespath.compile(expression).parsed, event)
        if value is not None and value is not False:
            interpreter.refuse_missing()
    except Inapplicable as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - on a value of the wrong type, functions raise any Python error
        # Error texts may quote the event.
        reason = describe_missing(field.path for field in interpreter.missing) or type(error).__name__
    else:
        return value, interpreter.missing
    raise Inapplicable(f"{_shown(expression)} cannot be applied to this event: {reason}")


def _shown(expression: str) -> str:
    cut = "…" if len(expression) > _LONGEST_SHOWN else ""
    return f"`{expression[:_LONGEST_SHOWN]}{cut}`"


class _MarkingParser(Parser):  # type: ignore[misc]  # jmespath has no types
    """Marks the fields whose names are in double quotes; the tree of JMESPath's own parser loses that."""

    _CACHE: ClassVar[dict[str, Any]] = {}  # not shared with the parser of unmarked trees

    def _token_nud_quoted_identifier(self, token: Any) -> Any:
        return {**super()._token_nud_quoted_identifier(token), "quoted": True}


def _children(node: Any) -> list[Any]:
    return [child for child in node["children"] if isinstance(child, dict)]


def _functions(node: Any) -> set[str]:
    """Return the functions that an expression calls; JMESPath looks them up only when it is applied."""
    called = {node["value"]} if node["type"] == "function_expression" else set()
    return called.union(*map(_functions, _children(node)))


# In these nodes, the other children are applied to the value of the first.
_CHAINS = {
    "subexpression",
    "index_expression",
    "flatten",
    "projection",
    "value_projection",
    "filter_projection",
}


def _fields_for_texts(node: Any, *, in_event: bool, alone: bool) -> Iterator[Any]:
    """Yield the fields of an expression that must be meant as texts.

    Args:
        node: A node of the tree.
        in_event: The node is applied to the event itself, whose attributes have lower-case names.
        alone: The node is not a step of a path such as ``data."x-id"``.
    """
    kind, children = node["type"], _children(node)
    if kind == "field":
        if alone and node.get("quoted") and (in_event or re.fullmatch(_NEEDS_NO_QUOTES, node["value"])):
            yield node
        return
    if kind == "comparator":
        left, right = children
        for operand in children if in_event else ():
            if operand["type"] == "field" and not re.fullmatch(_ATTRIBUTE, operand["value"]):
                yield operand
        if right.get("quoted") and left["type"] != "literal":
            yield right
    for index, child in enumerate(children):
        if kind in _CHAINS:
            is_condition = kind == "filter_projection" and index == 2
            yield from _fields_for_texts(child, in_event=in_event and index == 0, alone=is_condition)
        else:
            inside = in_event and kind != "expref" and not (kind == "pipe" and index == 1)
            yield from _fields_for_texts(child, in_event=inside, alone=True)
