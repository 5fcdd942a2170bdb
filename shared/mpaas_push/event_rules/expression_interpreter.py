"""Applies one JMESPath expression to one event: detects missing fields and bounds the size of the result.

JMESPath treats a missing field as null, so ``data.stauts != 'CANCELLED'`` holds for every order. Here it is
an error if an expression holds because a field is missing, unless the expression sets a default. Besides the
functions of JMESPath there are those of Powertools.
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

__all__ = ["FUNCTIONS", "Inapplicable", "Interpreter", "MissingField", "describe_missing", "plain_value"]

MAX_TEXT = 65_536
"""Most characters in a text that a function returns: a queue would not accept a longer message."""
MAX_INFLATION = 32
"""Most decompressed bytes for each character of base64, if they are more than `MAX_TEXT`."""
MAX_VALUES = 200_000
"""Most values in a result."""
MAX_RESULT_CHARACTERS = 8 * 1024 * 1024
"""Most characters in a result, and in all texts that the functions of an expression return."""
MAX_PRODUCED = 1_000_000
"""Most elements in all lists and objects that an expression creates."""


class Inapplicable(Exception):
    """An expression cannot be applied to an event; the text names the reason and no value of the event."""


class MissingField(NamedTuple):
    """A field that the event lacks and for which the expression sets no default.

    Attributes:
        path: From the value to which the expression is applied, up to the first missing key.
        only_shortens: Its absence only made a list shorter; otherwise it made a value null.
    """

    path: str
    only_shortens: bool = False


class Interpreter(TreeInterpreter):  # type: ignore[misc]  # jmespath has no types
    """Applies the tree of an expression to an event, once.

    Attributes:
        missing: The fields that the event lacks and the result depends on.
    """

    def __init__(self) -> None:
        super().__init__(_OPTIONS)
        self.missing: list[MissingField] = []
        self._piped = _MANY  # index of the first missing field that the piped value depends on
        self._elements_left = MAX_PRODUCED
        self._characters_left = MAX_RESULT_CHARACTERS

    # --- Missing fields

    @override
    def visit_field(self, node: Any, value: Any) -> Any:
        if isinstance(value, dict) and node["value"] in value:
            return value[node["value"]]
        self.missing.append(MissingField(node["value"]))
        return None

    @override
    def visit_subexpression(self, node: Any, value: Any) -> Any:
        """Follow a path; of its missing steps, record only the first, with the path to it."""
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
        if _tests_for_null(node["children"]):
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
        if right["type"] == "or_expression":  # its default applies to the piped value, too
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
            del self.missing[before:known]  # they have a default
        return result

    @override
    def visit_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._project(node, base) if isinstance(base, list) else None

    @override
    def visit_value_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._project(node, base.values()) if isinstance(base, dict) else None

    @override
    def visit_filter_projection(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        return self._project(node, base, node["children"][2]) if isinstance(base, list) else None

    def _project(self, node: Any, elements: Iterable[Any], condition: Any = None) -> list[Any]:
        """Return the projection of each element; without those that lack a field, the list is shorter."""
        outer, self._piped = self._piped, _MANY  # no element depends on which others there are
        results = []
        for element in elements:
            before = len(self.missing)
            if condition is None or self._is_true(self.visit(condition, element)):
                child = self.visit(node["children"][1], element)
                if child is not None:
                    results.append(child)
                    continue
            self.missing[before:] = [MissingField(field.path, True) for field in self.missing[before:]]
        self._piped = outer
        self._produce(len(results))
        return results

    def refuse_missing(self) -> None:
        """Refuse a result that depends on a missing field.

        Raises:
            Inapplicable: The event lacks a field that the result depends on and that does not only shorten a
                list.
        """
        self._refuse(0, null_only=True)

    def _refuse(self, before: int, *, null_only: bool = False) -> None:
        names = [field.path for field in self.missing[before:] if not (null_only and field.only_shortens)]
        if names:
            example = f"`{names[0][:_LONGEST_SHOWN]} || 'text'`"
            raise Inapplicable(f"{describe_missing(names)}; set a default, as in {example}")

    # --- Operations that could produce much from little

    @override
    def visit_function_expression(self, node: Any, value: Any) -> Any:
        before = len(self.missing)
        result = super().visit_function_expression(node, value)
        if node["value"] == "not_null" and result is not None:
            del self.missing[before:]
        if node["value"] == "contains" and result is True and node["children"][1]["type"] == "literal":
            del self.missing[before:]  # it is among the existing elements
        if isinstance(result, str):
            self._characters_left -= len(result)
            if self._characters_left < 0:
                raise Inapplicable(_TOO_LARGE)
        return self._count(result)

    @override
    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._produce(sum(len(element) if isinstance(element, list) else 1 for element in base))
        return [child for element in base for child in (element if isinstance(element, list) else [element])]

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
        return self._count(super().visit_slice(node, value))

    def _count(self, result: Any) -> Any:
        if isinstance(result, (list, dict)):
            self._produce(len(result))
        return result

    def _produce(self, elements: int) -> None:
        self._elements_left -= elements
        if self._elements_left < 0:
            raise Inapplicable(_TOO_LARGE)


def describe_missing(fields: Iterable[str]) -> str:
    """Return a text that names the first missing fields; empty if there are none."""
    names = [f"`{field[:_LONGEST_SHOWN]}`" for field in islice(dict.fromkeys(fields), _MOST_SHOWN)]
    return f"it has no {' and no '.join(names)}" if names else ""


_LONGEST_SHOWN, _MOST_SHOWN = 100, 3
_MANY = sys.maxsize


def plain_value(value: Any) -> Any:
    """Return a copy of a result as plain JSON, with each `WrittenFloat` as a float.

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


def _signature(*types: str) -> Callable[[FunctionT], FunctionT]:
    """Declare the argument types of a JMESPath function."""
    signature = functions.signature(*({"types": [] if kind == "any" else [kind]} for kind in types))
    return cast("Callable[[FunctionT], FunctionT]", signature)


class _Functions(PowertoolsFunctions):
    """The functions that expressions may call; those that could produce much from little are bounded."""

    @_signature("any")
    def _func_to_string(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        _check_size(value, MAX_TEXT)
        text = dump_json(value)
        if len(text) > MAX_TEXT:
            raise Inapplicable(_TOO_LARGE)
        return text

    @_signature("string", "array-string")
    def _func_join(self, separator: str, texts: list[str]) -> str:
        if len(separator) * len(texts) + sum(map(len, texts)) > MAX_TEXT:
            raise Inapplicable(_TOO_LARGE)
        return separator.join(texts)

    @_signature("string")
    def _func_powertools_json(self, text: str) -> Any:
        return read_json(text, keep_digits=True)

    @_signature("string")
    def _func_powertools_base64_gzip(self, text: str) -> str:
        limit = max(MAX_TEXT, MAX_INFLATION * len(text))
        with gzip.GzipFile(fileobj=io.BytesIO(base64.b64decode(text))) as compressed:
            inflated = compressed.read(limit + 1)
        if len(inflated) > limit:
            raise Inapplicable(_TOO_LARGE)
        return inflated.decode()


FUNCTIONS = frozenset(_Functions.FUNCTION_TABLE)
"""The names of the functions that expressions may call."""
_OPTIONS = jmespath.Options(custom_functions=_Functions())


_STEPS = {"field", "index", "subexpression", "index_expression"}
"""Kinds of nodes that lead from a value to one inside it."""


def _path(node: Any) -> str:
    """Return a node's steps of a path as an expression writes them; empty for other nodes."""
    if node["type"] == "field":
        return f".{node['value']}"
    if node["type"] == "index":
        return f"[{node['value']}]"
    return "".join(map(_path, node["children"])) if node["type"] in _STEPS else ""


def _is_path(node: Any) -> bool:
    """Return whether a node leads to a field and does nothing else."""
    return node["type"] in _STEPS and all(map(_is_path, node["children"]))


def _tests_for_null(operands: Sequence[Any]) -> bool:
    """Return whether a field or its type is compared with null, which tests whether the field exists."""
    return any(
        (_is_path(operand) and _is_literal(other) and other["value"] is None)
        or (_is_call(operand, "type") and _is_literal(other) and other["value"] == "null")
        for operand, other in (operands, operands[::-1])
    )


def _negates(comparator: Any) -> bool:
    """Return whether a comparison is for inequality, or of a computed value with an empty one."""
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
    """Raise if a value holds more than `MAX_VALUES` values or more characters than allowed."""
    pending, values = [value], 0
    while pending:
        child = pending.pop()
        if isinstance(child, str):
            characters -= len(child)
        elif isinstance(child, WrittenFloat):
            characters -= len(child.digits)
        elif isinstance(child, int):
            characters -= child.bit_length() // 3
        elif isinstance(child, dict):
            values += len(child)
            characters -= sum(map(len, child))
            pending += child.values()
        elif isinstance(child, list):
            values += len(child)
            pending += child
        if values > MAX_VALUES or characters < 0:
            raise Inapplicable(_TOO_LARGE)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    if isinstance(value, float) and not isfinite(value):
        raise Inapplicable("a number is too large")
    return float(value) if isinstance(value, WrittenFloat) else value
