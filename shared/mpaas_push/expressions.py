"""JMESPath as rules write it: what is wrong with an expression before it runs, what it finds in an event.

Besides the functions of JMESPath there are those of Powertools. What could make much of little is bounded,
whatever an event holds.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import jmespath
from aws_lambda_powertools.utilities.jmespath_utils import PowertoolsFunctions
from jmespath import functions
from jmespath.parser import Parser

from mpaas_push.json_text import WrittenFloat, read_json, written_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["Inapplicable", "check_expression", "find", "lacking", "missing_fields", "plain_value"]

MAX_TEXT = 65_536
"""Characters of a text that a function may make; no longer message could be handed to a queue."""
MAX_INFLATION = 32
"""Bytes that a byte of base64 may become when it is decompressed, beyond `MAX_TEXT`."""
MAX_VALUES = 200_000
"""Values that a result may hold."""

_LONGEST_SHOWN = 200
_ATTRIBUTE = re.compile("[a-z0-9_]+")  # CloudEvents 1.0, Naming Conventions; and `data_base64`
_NEEDS_NO_QUOTES = re.compile("[A-Za-z_][A-Za-z0-9_]*")


class Inapplicable(Exception):
    """An expression cannot be applied to an event; the text names the reason and no value of the event."""


def check_expression(expression: str) -> str:
    """Return an expression that may be applied to events.

    Raises:
        ValueError: It is no JMESPath, calls a function that does not exist, or has a field where a text is
            meant: JMESPath reads ``"CANCELLED"`` and ``CANCELLED`` as fields.
    """
    shown = f"`{expression[:_LONGEST_SHOWN]}`"
    try:
        tree = _MarkingParser().parse(expression).parsed
    except (ValueError, RecursionError) as error:  # a JMESPathError is a ValueError
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
        raise ValueError(f"not a JMESPath expression: {shown}: {reason}") from None
    unknown = _functions(tree) - _Functions.FUNCTION_TABLE.keys()
    if unknown:
        raise ValueError(f"not a JMESPath expression: {shown}: there is no function {min(unknown)}")
    for field in _fields_for_texts(tree, in_event=True, alone=True):
        name = field["value"]
        written = f'"{name}"' if field.get("quoted") else name
        raise ValueError(f"{shown}: {written} is the name of a field: write '{name}' for the text")
    return expression


def find(expression: str, facts: Mapping[str, Any]) -> Any:
    """Return what an expression finds in an event, None where it finds nothing.

    Raises:
        Inapplicable: The expression cannot be applied to this event, such as a function to a wrong type.
    """
    try:
        return jmespath.compile(expression).search(facts, options=_OPTIONS)  # jmespath keeps compiled ones
    except Inapplicable:
        raise
    except Exception as error:  # noqa: BLE001 - functions raise whatever Python does on a value of a wrong type
        # Texts of errors may quote what the event holds.
        missing = lacking(missing_fields(expression, facts))
        raise Inapplicable(missing or type(error).__name__) from None


def missing_fields(expression: str, facts: Mapping[str, Any]) -> list[str]:
    """Return which fields that an expression names the event lacks, each by the beginning of its path."""
    missing: dict[str, None] = {}
    for node in _applied_to_event(jmespath.compile(expression).parsed):
        found: Any = facts
        names = _names(node)
        for index, name in enumerate(names):
            found = found.get(name) if isinstance(found, dict) else None
            if found is None:
                missing[".".join(names[: index + 1])] = None
                break
    return list(missing)


def lacking(fields: Sequence[str]) -> str:
    """Say that an event lacks fields; nothing if it lacks none."""
    return f"it has no {' and no '.join(f'`{field}`' for field in fields)}" if fields else ""


def plain_value(value: Any) -> Any:
    """Return a result as plain JSON, a copy, with numbers as floats.

    Raises:
        Inapplicable: It holds more than `MAX_VALUES` values, or a number that no float can hold.
    """
    _check_size(value)
    return _plain(value)


FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")
_TOO_LARGE = "the result is too large"
# JMESPath tells types by the names of their classes.
functions.TYPES_MAP[WrittenFloat.__name__] = "number"
functions.REVERSE_TYPES_MAP["number"] += (WrittenFloat.__name__,)


def _takes(*types: str) -> Callable[[FunctionT], FunctionT]:
    """Register a function of JMESPath with the types of its arguments."""
    signature = functions.signature(*({"types": [] if each == "any" else [each]} for each in types))
    return cast("Callable[[FunctionT], FunctionT]", signature)


class _Functions(PowertoolsFunctions):
    """The functions that may be called; those that could make much of little are bounded."""

    @_takes("any")
    def _func_to_string(self, value: Any) -> str:
        _check_size(value)
        return value if isinstance(value, str) else written_json(value)

    @_takes("string", "array-string")
    def _func_join(self, separator: str, texts: list[str]) -> str:
        if len(separator) * len(texts) + sum(map(len, texts)) > MAX_TEXT:
            raise Inapplicable(_TOO_LARGE)
        return separator.join(texts)

    @_takes("string")
    def _func_powertools_json(self, text: str) -> Any:
        return read_json(text, keep_digits=True)

    @_takes("string")
    def _func_powertools_base64_gzip(self, text: str) -> str:
        most = max(MAX_TEXT, MAX_INFLATION * len(text))
        with gzip.GzipFile(fileobj=io.BytesIO(base64.b64decode(text))) as compressed:
            inflated = compressed.read(most + 1)
        if len(inflated) > most:
            raise Inapplicable(_TOO_LARGE)
        return inflated.decode()


_OPTIONS = jmespath.Options(custom_functions=_Functions())


class _MarkingParser(Parser):  # type: ignore[misc]
    """Marks the fields whose names stand in double quotes; the tree of JMESPath's own parser loses that."""

    _CACHE: ClassVar[dict[str, Any]] = {}  # not that of the trees without marks

    def _token_nud_quoted_identifier(self, token: Any) -> Any:
        return {**super()._token_nud_quoted_identifier(token), "quoted": True}


def _check_size(value: Any) -> None:
    pending, number = [value], 0
    while pending:
        below = pending.pop()
        if isinstance(below, (dict, list)):
            number += len(below)
            if number > MAX_VALUES:
                raise Inapplicable(_TOO_LARGE)
            pending += below.values() if isinstance(below, dict) else below


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    if isinstance(value, float) and not isfinite(value):
        raise Inapplicable("a number is too large")
    return float(value) if isinstance(value, WrittenFloat) else value


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


def _applied_to_event(node: Any) -> Iterator[Any]:
    """Yield the nodes of an expression that are applied to the event itself."""
    yield node
    if node["type"] == "expref":
        return
    below = _below(node)
    for child in below[:1] if node["type"] in _CHAINS | {"pipe"} else below:
        yield from _applied_to_event(child)


def _names(node: Any) -> list[str]:
    """Return the names that a node like ``data.order.items[0]`` begins with, if any."""
    if node["type"] == "field":
        return [node["value"]]
    names: list[str] = []
    if node["type"] in _CHAINS:
        for child in _below(node):
            names += _names(child)
            if node["type"] != "subexpression" or child["type"] != "field":
                break
    return names


def _fields_for_texts(node: Any, *, in_event: bool, alone: bool) -> Iterator[Any]:
    """Yield the fields of an expression that cannot be meant as such.

    Args:
        node: A node of the tree.
        in_event: It is applied to the event itself, whose attributes have names of small letters.
        alone: No field stands before or behind it, as in ``data."x-id"``.
    """
    kind, below = node["type"], _below(node)
    if kind == "field":
        if alone and node.get("quoted") and (in_event or _NEEDS_NO_QUOTES.fullmatch(node["value"])):
            yield node
        return
    if kind == "comparator":
        left, right = below
        for operand in below if in_event else ():
            if operand["type"] == "field" and not _ATTRIBUTE.fullmatch(operand["value"]):
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
