from __future__ import annotations

import base64
import gzip
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.expressions import (
    MAX_INFLATION,
    MAX_TEXT,
    MAX_VALUES,
    Inapplicable,
    check_expression,
    find,
    missing_fields,
    plain_value,
)
from mpaas_push.json_text import read_json


@pytest.mark.parametrize(
    ("expression", "written", "text"),
    [
        ('data.status != "CANCELLED"', '"CANCELLED"', "CANCELLED"),
        ('"CANCELLED" != data.status', '"CANCELLED"', "CANCELLED"),
        ("data.status != CANCELLED", "CANCELLED", "CANCELLED"),
        ('data.status == "in transit"', '"in transit"', "in transit"),
        ('data.items[?status != "CANCELLED"]', '"CANCELLED"', "CANCELLED"),
        ('data.items[?status != "in transit"].id', '"in transit"', "in transit"),
        ('data.name || "customer"', '"customer"', "customer"),
        ('contains(data.tags, "vip")', '"vip"', "vip"),
        ('[data.name, "x"]', '"x"', "x"),
        ('!("X")', '"X"', "X"),
    ],
)
def test_a_field_in_place_of_a_text_is_a_fault_that_names_what_to_write(
    expression: str, written: str, text: str
) -> None:
    with pytest.raises(ValueError, match="is the name of a field") as error:
        check_expression(expression)

    assert (
        str(error.value) == f"`{expression}`: {written} is the name of a field: write '{text}' for the text"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "data.status != 'CANCELLED'",
        'data.status != `"CANCELLED"`',
        'data.meta."x-id"',
        'data.meta."id"',
        'data."a-b" == data."c d"',
        "data.items[?\"my-key\" == 'x'].name",
        'data.items[?\'x\' == "my-key"]."name"',
        'data.{a: "x-y", "b": c}',
        'data.items[].{"a": name}',
        'sort_by(data.items, &"my-key")[0]',
        'data | "b-c"',
        "data.level == data.LEVEL",
        "region == aliyunregionid",
    ],
)
def test_a_field_in_its_place_is_none(expression: str) -> None:
    assert check_expression(expression) == expression


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("data.", "not a JMESPath expression: `data.`"),
        ("nope(data)", "there is no function nope"),
        ("(" * 2000 + "a" + ")" * 2000, "nested too deeply"),
        ("a[" + "9" * 5000 + "]", "not a JMESPath expression"),
        ("", "not a JMESPath expression"),
    ],
)
def test_what_is_no_expression_is_named(expression: str, told: str) -> None:
    with pytest.raises(ValueError, match="not a JMESPath expression") as error:
        check_expression(expression)

    assert told in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")
@given(st.text(alphabet="ab.[]{}()'\"`|&?*!=<>,:@0-9 \\", max_size=30) | st.text())
def test_no_text_brings_the_check_down(text: str) -> None:
    try:
        check_expression(text)
    except ValueError:
        return
    try:
        find(text, {"a": [1, {"b": None}], "b": "c"})
    except Inapplicable:
        return
    missing_fields(text, {})


FACTS = {"id": "1", "subject": None, "data": {"order": {"x": 1}, "items": [], "list": [{"a": 1}]}}


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("data.order.id", ["data.order.id"]),
        ("data.shop.name.first", ["data.shop"]),
        ("data.shop[0].name", ["data.shop"]),
        ("data.shop.items[?a].b | [0]", ["data.shop"]),
        ("data.a || data.order.y || 'z'", ["data.a", "data.order.y"]),
        ("data.items[0].name", []),
        ("data.list[*].b", []),
        ("subject", ["subject"]),
        ("sort_by(data.list, &missing)", []),
        ("data.order.x", []),
    ],
)
def test_fields_that_an_event_lacks_are_named(expression: str, missing: list[str]) -> None:
    assert missing_fields(expression, FACTS) == missing


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("length(data.lines)", "it has no `data.lines`"),
        ("join(data.glue, data.lines)", "it has no `data.glue` and no `data.lines`"),
        ("length(data.order.x)", "JMESPathTypeError"),
        ("powertools_json('{')", "UnreadableJson"),
    ],
)
def test_what_cannot_be_applied_says_what_is_missing(expression: str, told: str) -> None:
    with pytest.raises(Inapplicable) as error:
        find(expression, FACTS)

    assert str(error.value) == told


# --- Numbers


def facts(text: str) -> Any:
    return {"data": read_json(text, keep_digits=True)}


@pytest.mark.parametrize("digits", ["19.90", "1e400", "1.0", "0.10000000000000000000000001"])
def test_numbers_work_as_numbers_and_keep_their_digits_in_texts(digits: str) -> None:
    event = facts(f'{{"n": {digits}, "list": [{digits}], "text": "{{\\"n\\": {digits}}}"}}')

    assert find("to_string(data.n)", event) == digits
    assert find("to_string(data.list)", event) == f"[{digits}]"
    assert find("to_string(powertools_json(data.text).n)", event) == digits
    assert find("data.n > `0`", event) is True
    assert find("type(data.n)", event) == "number"
    assert find("max(data.list) == data.n && sum(data.list) > `0`", event) is True
    assert find("sort(data.list) == data.list", event) is True


def test_a_plain_value_has_plain_numbers() -> None:
    value = plain_value(facts('[19.90, {"a": 1.0}]')["data"])

    assert value == [19.9, {"a": 1.0}]
    assert type(value[0]) is type(value[1]["a"]) is float
    with pytest.raises(Inapplicable, match="a number is too large"):
        plain_value(facts("[1e400]")["data"])


# --- What could make much of little


def test_a_decompressed_text_is_bounded() -> None:
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


def test_a_joined_text_is_bounded() -> None:
    event = {"glue": "x" * 1000, "texts": [""] * 1000}
    with pytest.raises(Inapplicable, match="the result is too large"):
        find("join(glue, texts)", event)
    assert find("join(', ', texts[:2])", event) == ", "


def test_a_result_that_holds_itself_over_and_over_is_bounded() -> None:
    doubled = " | ".join(["[@, @]"] * 40)
    with pytest.raises(Inapplicable, match="the result is too large"):
        find(f"to_string(a | {doubled})", {"a": 1})
    with pytest.raises(Inapplicable, match="the result is too large"):
        plain_value(find(doubled, {"a": 1}))
    assert len(plain_value(list(range(MAX_VALUES)))) == MAX_VALUES
