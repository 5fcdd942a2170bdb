from __future__ import annotations

import base64
import gzip
import tracemalloc
from contextlib import suppress
from typing import Any

import jmespath
import pytest
from aws_lambda_powertools.utilities.jmespath_utils import PowertoolsFunctions
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.event_rules import expression_interpreter
from mpaas_push.event_rules.expression_interpreter import (
    FUNCTIONS,
    MAX_INFLATION,
    MAX_TEXT,
    MAX_VALUES,
    Inapplicable,
    plain_value,
)
from mpaas_push.event_rules.expressions import check_expression, find
from mpaas_push.json_text import read_json

# --- Numbers


def event_of(text: str) -> Any:
    return {"data": read_json(text, keep_digits=True)}


@pytest.mark.parametrize("digits", ["19.90", "1e400", "1.0", "0.10000000000000000000000001"])
def test_numbers_work_as_numbers_and_keep_their_digits_in_texts(digits: str) -> None:
    event = event_of(f'{{"n": {digits}, "list": [{digits}], "text": "{{\\"n\\": {digits}}}"}}')

    assert find("to_string(data.n)", event) == digits
    assert find("to_string(data.list)", event) == f"[{digits}]"
    assert find("to_string(powertools_json(data.text).n)", event) == digits
    assert find("data.n > `0`", event) is True
    assert find("type(data.n)", event) == "number"
    assert find("max(data.list) == data.n && sum(data.list) > `0`", event) is True
    assert find("sort(data.list) == data.list", event) is True


def test_plain_value_has_plain_numbers() -> None:
    value = plain_value(event_of('[19.90, {"a": 1.0}]')["data"])

    assert value == [19.9, {"a": 1.0}]
    assert type(value[0]) is type(value[1]["a"]) is float
    with pytest.raises(Inapplicable, match="a number is too large"):
        plain_value(event_of("[1e400]")["data"])


# --- Functions


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("powertools_json", '{"a": [1, "b"]}'),
        ("powertools_base64", base64.b64encode("标题".encode()).decode()),
        ("powertools_base64_gzip", base64.b64encode(gzip.compress("标题".encode(), mtime=0)).decode()),
    ],
)
def test_functions_named_after_powertools_return_the_same_as_in_powertools(function: str, text: str) -> None:
    options = jmespath.Options(custom_functions=PowertoolsFunctions())
    expected = jmespath.search(f"{function}(data)", {"data": text}, options)

    assert find(f"{function}(data)", {"data": text}) == expected


def test_every_function_of_powertools_may_be_called() -> None:
    assert set(PowertoolsFunctions.FUNCTION_TABLE) == FUNCTIONS


# --- Limits


def test_decompressed_text_is_bounded() -> None:
    small = base64.b64encode(gzip.compress(b'{"a": 1}')).decode()
    assert find("powertools_json(powertools_base64_gzip(data)).a", {"data": small}) == 1

    bomb = base64.b64encode(gzip.compress(b"0" * 50_000_000)).decode()
    limit = max(MAX_TEXT, MAX_INFLATION * len(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(Inapplicable, match="the result is too large"):
            find("powertools_base64_gzip(data)", {"data": bomb})
        assert tracemalloc.get_traced_memory()[1] < 4 * limit
    finally:
        tracemalloc.stop()


def test_joined_text_is_bounded() -> None:
    event = {"glue": "x" * 1000, "texts": [""] * 1000}
    with pytest.raises(Inapplicable, match="the result is too large"):
        find("join(glue, texts)", event)
    assert find("join(', ', texts[:2])", event) == ", "


def test_result_that_contains_itself_repeatedly_is_bounded() -> None:
    doubled = " | ".join(["[@, @]"] * 40)
    with pytest.raises(Inapplicable, match="the result is too large"):
        find(f"to_string(a | {doubled})", {"a": 1})
    with pytest.raises(Inapplicable, match="the result is too large"):
        plain_value(find(doubled, {"a": 1}))
    with pytest.raises(Inapplicable, match="the result is too large"):
        plain_value(find(" | ".join(["[@, @]"] * 15), {"a": "x" * 1000}))
    assert len(plain_value(list(range(MAX_VALUES)))) == MAX_VALUES


INFLATING = {
    "to_string of a list that contains itself": "data" + " | to_string([@, @])" * 12,
    "to_string of escaped texts": "data.text" + " | to_string([@])" * 12,
    "to_string of a long number": "to_string(data.number" + " | [@, @]" * 10 + ")",
    "to_string of long keys": "to_string(data.object" + " | [@, @]" * 10 + ")",
    "texts in a list that contains itself": "data.text" + " | [@, @]" * 10,
    "flatten": "data.list" + " | [@, @][]" * 24,
    "flatten of many": "data.list | [" + ", ".join("@" * 200) + "][]",
    "merge": "data.list" + " | [[*].{a: @, b: @}, @][]" * 8,
    "slices": "data.list | [" + ", ".join(["[:]"] * 200) + "]",
    "join in a projection": "data.list[*].join('" + "x" * 1000 + "', ['a', 'b'])",
    "to_string in a projection": "data.list[*].to_string({a: @, b: '" + "x" * 1000 + "'})",
    "decompression in a projection": "data.list[*].powertools_base64_gzip('"
    + base64.b64encode(gzip.compress(b"0" * 2000)).decode()
    + "')",
}


@pytest.mark.parametrize("expression", INFLATING.values(), ids=INFLATING.keys())
def test_no_expression_inflates_its_event(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, value in {
        "MAX_PRODUCED": 10_000,
        "MAX_RESULT_CHARACTERS": 100_000,
        "MAX_TEXT": 10_000,
    }.items():
        monkeypatch.setattr(expression_interpreter, limit, value)
    data = {"text": '\\"' * 500, "list": list(range(200)), "number": 10**1000, "object": {"k" * 1000: 1}}
    check_expression(expression)
    tracemalloc.start()
    try:
        with pytest.raises(Inapplicable, match="the result is too large"):
            plain_value(find(expression, {"data": data}))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


SMALL = (
    "a x @ a.b a.x x.y l l[0] l[5].b l[*].b l[].b l[?b].b l[?x].b *.b a.* l[:1] `1` `null` `false` 'c' `[]`"
)
paths = st.sampled_from([*SMALL.split(), "[a, x]", "{k: a, x: x}"])
expressions = st.recursive(
    paths,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["==", "!=", "<", "&&", "||", "|"]), inner)
        | st.builds("!({})".format, inner)
        | st.builds("{}({})".format, st.sampled_from(["not_null", "type", "to_string", "to_array"]), inner)
    ),
    max_leaves=5,
)


@given(expressions)
def test_value_is_the_same_as_in_jmespath(expression: str) -> None:
    event = {"a": {"b": "c"}, "l": [{"b": 1}, {"b": None}, {}]}
    with suppress(Inapplicable):
        assert find(expression, event) == jmespath.search(expression, event)


def test_event_with_many_elements_is_within_the_limits() -> None:
    event = {"data": {"orders": [{"user": f"user-{index}", "open": True} for index in range(50_000)]}}

    value = find("data.orders[?open].{id: user} | [*].to_string(id) | [[:]][]", event)

    assert len(plain_value(value)) == 50_000
