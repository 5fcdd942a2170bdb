"""One JMESPath expression applied to one event: which fields are missing, and how large a result may be.

JMESPath treats a missing field as null, so that ``data.stauts != 'CANCELLED'`` holds for every
order. Here it is an error if an expression holds because a field is missing, unless it says what a missing
field means. Besides the functions of JMESPath there are those of Powertools.
"""

from __future__ import annotations

import base64
import gzip
import io
import sys
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import jmespath
from jmespath import functions
from jmespath.visitor import TreeInterpreter
from typing_extensions import override

from mpaas_push.json_text import WrittenFloat, dump_json, read_json
from mpaas_push.lean_import import without_init

with without_init("aws_lambda_powertools"):
    from aws_lambda_powertools.utilities.jmespath_utils import PowertoolsFunctions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["FUNCTIONS", "Inapplicable", "Interpreter", "MissingField", "lacking", "plain_value"]

MAX_TEXT = 65_536
"""Characters of a text that a function may make; no longer message could be handed to a queue."""
MAX_INFLATION = 32
"""Bytes that a byte of base64 may become when it is decompressed, beyond `MAX_TEXT`."""
MAX_VALUES = 200_000
"""Values that a result may hold."""
MAX_RESULT_CHARACTERS = 8 * 1024 * 1024
"""Characters that a result may hold, and that all functions of an expression may make together."""
MAX_PRODUCED = 1_000_000
"""Elements that all lists and objects which an expression makes may have together."""


class Inapplicable(Exception):
    """An expression cannot be applied to an event; the text names the reason and no value of the event."""


class MissingField(NamedTuple):
    """A field that the event lacks and for which the expression names no other value.

    Attributes:
        path: From where the expression is applied to the first key that is not there.
        only_shortens: It made a list shorter, by an element without it; elsewhere it is null.
    """

    path: str
    only_shortens: bool = False


class Interpreter(TreeInterpreter):  # type: ignore[misc]  # jmespath has no types
    """Applies the tree of an expression to an event, once.

    Attributes:
        missing: Fields that the event lacks, and that the result depends on.
    """

    def __init__(self) -> None:
        super().__init__(_OPTIONS)
        self.missing: list[MissingField] = []
        self._piped = _MANY  # index of the first missing field that what came through a pipe depends on
        self._elements_left = MAX_PRODUCED
        self._characters_left = MAX_RESULT_CHARACTERS

    # --- Fields that are missing

    @override
    def visit_field(self, node: Any, value: Any) -> Any:
        if isinstance(value, dict) and node["value"] in value:
            return value[node["value"]]
        self.missing.append(MissingField(node["value"]))
        return None

    @override
    def visit_subexpression(self, node: Any, value: Any) -> Any:
        """Follow a path: of the steps that are missing only the first is named, with what leads there."""
        before, path = len(self.missing), ""
        for child in node["children"]:
            known = len(self.missing)
            value = self.visit(child, value)
            if child["type"] in _STEPS and len(self.missing) > known:
                first = f"{path}.{self.missing[known].path}".lstrip(".")
                self.missing[known:] = [MissingField(first)] if known == before else []
            path += _path(child)
        return value

    visit_index_expression = visit_subexpression

    @override
    def visit_comparator(self, node: Any, value: Any) -> Any:
        before = len(self.missing)
        result = super().visit_comparator(node, value)
        if _asks_for_null(node["children"]):
            del self.missing[before:]
        elif _negates(node):
            self._refuse(min(before, self._piped))
        elif result is True:
            self._refuse(min(before, self._piped), null_only=_holds_if_longer(node))
        return result

    @override
    def visit_not_expression(self, node: Any, value: Any) -> Any:
        before = min(len(self.missing), self._piped)
        result = super().visit_not_expression(node, value)
        self._refuse(before)
        return result

    @override
    def visit_or_expression(self, node: Any, value: Any) -> Any:
        return self._either(node, value, len(self.missing))

    @override
    def visit_pipe(self, node: Any, value: Any) -> Any:
        left, right = node["children"]
        before = len(self.missing)
        value = self.visit(left, value)
        outer, self._piped = self._piped, min(before, self._piped)
        if right["type"] == "or_expression":  # it names another value for what comes through the pipe, too
            result = self._either(right, value, before)
        else:
            result = self.visit(right, value)
        self._piped = outer
        return result

    def _either(self, node: Any, value: Any, before: int) -> Any:
        left, right = node["children"]
        result = self.visit(left, value)
        if self._is_true(result):
            return result
        known = len(self.missing)
        result = self.visit(right, value)
        if right["type"] == "literal" or self._is_true(result):
            del self.missing[before:known]  # its value is known
        return result

    @override
    def visit_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._projected(node, base) if isinstance(base, list) else None

    @override
    def visit_value_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._projected(node, base.values()) if isinstance(base, dict) else None

    @override
    def visit_filter_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._projected(node, base, node["children"][2]) if isinstance(base, list) else None

    def _projected(self, node: Any, elements: Iterable[Any], condition: Any = None) -> list[Any]:
        """Return what each element becomes; one that lacks a field is left out, and the list is shorter."""
        outer, self._piped = self._piped, _MANY  # an element is what it is, however many others there are
        results = []
        for element in elements:
            before = len(self.missing)
            if condition is None or self._is_true(self.visit(condition, element)):
                below = self.visit(node["children"][1], element)
                if below is not None:
                    results.append(below)
                    continue
            self.missing[before:] = [MissingField(field.path, True) for field in self.missing[before:]]
        self._piped = outer
        self._produce(len(results))
        return results

    def refuse_missing(self) -> None:
        """Refuse a result that may be what it is because a field is missing.

        Raises:
            Inapplicable: the event lacks a field that the result depends on, and that does not only shorten a
                list.
        """
        self._refuse(0, null_only=True)

    def _refuse(self, before: int, *, null_only: bool = False) -> None:
        names = [field.path for field in self.missing[before:] if not (null_only and field.only_shortens)]
        if names:
            example = f"`{names[0][:_LONGEST_SHOWN]} || 'text'`"
            raise Inapplicable(f"{lacking(names)}; say what a missing field means, as in {example}")

    # --- What could produce much from little

    @override
    def visit_function_expression(self, node: Any, value: Any) -> Any:
        before = len(self.missing)
        result = super().visit_function_expression(node, value)
        if node["value"] == "not_null" and result is not None:
            del self.missing[before:]
        if node["value"] == "contains" and result is True and node["children"][1]["type"] == "literal":
            del self.missing[before:]  # it is among those that are there
        if isinstance(result, str):
            self._characters_left -= len(result)
            if self._characters_left < 0:
                raise Inapplicable(_TOO_LARGE)
        return self._counted(result)

    @override
    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._produce(sum(len(element) if isinstance(element, list) else 1 for element in base))
        return [below for element in base for below in (element if isinstance(element, list) else [element])]

    @override
    def visit_multi_select_list(self, node: Any, value: Any) -> Any:
        self._produce(len(node["children"]))
        return super().visit_multi_select_list(node, value)

    @override
    def visit_multi_select_dict(self, node: Any, value: Any) -> Any:
        self._produce(len(node["children"]))
        return super().visit_multi_select_dict(node, value)

    @override
    def visit_slice(self, node: Any, value: Any) -> Any:
        return self._counted(super().visit_slice(node, value))

    def _counted(self, result: Any) -> Any:
        if isinstance(result, (list, dict)):
            self._produce(len(result))
        return result

    def _produce(self, elements: int) -> None:
        self._elements_left -= elements
        if self._elements_left < 0:
            raise Inapplicable(_TOO_LARGE)


def lacking(fields: Iterable[str]) -> str:
    """Say that an event lacks fields, the first of them; nothing if it lacks none."""
    names = [f"`{field[:_LONGEST_SHOWN]}`" for field in islice(dict.fromkeys(fields), _MOST_SHOWN)]
    return f"it has no {' and no '.join(names)}" if names else ""


_LONGEST_SHOWN, _MOST_SHOWN = 100, 3
_MANY = sys.maxsize


def plain_value(value: Any) -> Any:
    """Return a result as plain JSON, a copy, with numbers as floats.

    Raises:
        Inapplicable: It holds more than `MAX_VALUES` values or `MAX_RESULT_CHARACTERS` characters, or a
            number that no float can hold.
    """
    _check_size(value, MAX_RESULT_CHARACTERS)
    return _plain(value)


FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")
_TOO_LARGE = "the result is too large"
# JMESPath determines types by class name.
functions.TYPES_MAP[WrittenFloat.__name__] = "number"
functions.REVERSE_TYPES_MAP["number"] += (WrittenFloat.__name__,)


def _takes(*types: str) -> Callable[[FunctionT], FunctionT]:
    """Register a function of JMESPath with the types of its arguments."""
    signature = functions.signature(*({"types": [] if kind == "any" else [kind]} for kind in types))
    return cast("Callable[[FunctionT], FunctionT]", signature)


class _Functions(PowertoolsFunctions):
    """The functions that may be called; those that could produce much from little are bounded."""

    @_takes("any")
    def _func_to_string(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        _check_size(value, MAX_TEXT)
        text = dump_json(value)
        if len(text) > MAX_TEXT:
            raise Inapplicable(_TOO_LARGE)
        return text

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


FUNCTIONS = frozenset(_Functions.FUNCTION_TABLE)
"""The names of the functions that may be called."""
_OPTIONS = jmespath.Options(custom_functions=_Functions())


_STEPS = {"field", "index", "subexpression", "index_expression"}
"""Kinds of nodes that lead from a value to one below it."""


def _path(node: Any) -> str:
    """Return a step of a path, or several, as an expression has them; nothing for what is no such step."""
    if node["type"] == "field":
        return f".{node['value']}"
    if node["type"] == "index":
        return f"[{node['value']}]"
    return "".join(map(_path, node["children"])) if node["type"] in _STEPS else ""


def _is_path(node: Any) -> bool:
    """Return whether a node leads to a field and does nothing else."""
    return node["type"] in _STEPS and all(map(_is_path, node["children"]))


def _asks_for_null(operands: Sequence[Any]) -> bool:
    """Return whether a field is compared with null, or its type: that asks whether there is one."""
    return any(
        (_is_path(operand) and _is_literal(other) and other["value"] is None)
        or (_is_call(operand, "type") and _is_literal(other) and other["value"] == "null")
        for operand, other in (operands, operands[::-1])
    )


def _negates(comparator: Any) -> bool:
    """Return whether a comparison asks for what is not, or whether what it computes is nothing."""
    operands = comparator["children"]
    return comparator["value"] == "ne" or (
        comparator["value"] == "eq"
        and not any(map(_is_path, operands))
        and any(_is_literal(operand) and not operand["value"] for operand in operands)
    )


def _holds_if_longer(comparator: Any) -> bool:
    """Return whether a comparison that holds would also hold if lists in its operands had more elements."""
    left, right = comparator["children"]
    operator = comparator["value"]
    if operator == "eq":
        return any(_is_literal(operand) and operand["value"] is True for operand in (left, right))
    if operator in {"lt", "lte"}:
        left, right = right, left
    return _is_call(left, "length", "max") and (_is_literal(right) or _is_path(right))


def _is_literal(node: Any) -> bool:
    return bool(node["type"] == "literal")


def _is_call(node: Any, *functions: str) -> bool:
    return bool(node["type"] == "function_expression" and node["value"] in functions)


def _check_size(value: Any, characters: int) -> None:
    """Raise unless what a value holds, written out, has at most `MAX_VALUES` and so many characters."""
    pending, values = [value], 0
    while pending:
        below = pending.pop()
        if isinstance(below, str):
            characters -= len(below)
        elif isinstance(below, WrittenFloat):
            characters -= len(below.digits)
        elif isinstance(below, int):
            characters -= below.bit_length() // 3
        elif isinstance(below, dict):
            values += len(below)
            characters -= sum(map(len, below))
            pending += below.values()
        elif isinstance(below, list):
            values += len(below)
            pending += below
        if values > MAX_VALUES or characters < 0:
            raise Inapplicable(_TOO_LARGE)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    if isinstance(value, float) and not isfinite(value):
        raise Inapplicable("a number is too large")
    return float(value) if isinstance(value, WrittenFloat) else value
