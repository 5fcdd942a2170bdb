from __future__ import annotations

from contextlib import suppress
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.event_rules.expression_interpreter import Inapplicable
from mpaas_push.event_rules.expressions import check_expression, find, require


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
def test_field_in_place_of_a_text_is_refused_with_the_text_to_write(
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
def test_intended_field_is_accepted(expression: str) -> None:
    assert check_expression(expression) == expression


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("data.", "not a JMESPath expression: `data.`"),
        ("nope(data)", "there is no function nope"),
        ("(" * 900 + "a" + ")" * 900, "nested too deeply"),
        ("a || " * 400 + "a", "longer than 2000 characters"),
        ("", "not a JMESPath expression"),
    ],
)
def test_invalid_expression_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match="not a JMESPath expression") as error:
        check_expression(expression)

    assert reason in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")
@given(st.text(alphabet="ab.[]{}()'\"`|&?*!=<>,:@0-9 \\", max_size=30) | st.text())
def test_no_text_crashes_the_check(text: str) -> None:
    try:
        check_expression(text)
    except ValueError:
        return
    for event in ({"a": [1, {"b": None}], "b": "c"}, {}):
        with suppress(Inapplicable):
            find(text, event)


EVENT = {"id": "1", "data": {"order": {"x": 1}, "none": None, "items": [], "list": [{"a": 1}]}}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("data.order.id", ""),
        ("data.none", ""),
        ("data.shop.name.first", ": it has no `data.shop`"),
        ("data.shop[0].name", ": it has no `data.shop`"),
        ("data.shop.items[?a].b | [0]", ": it has no `data.shop`"),
        ("data.a || data.order.y", ": it has no `data.a` and no `data.order.y`"),
        ("data.items[0].name.first", ": it has no `data.items[0].name`"),
        ("data | order.y", ": it has no `order.y`"),
        ("not_null(data.a, data.none)", ": it has no `data.a`"),
    ],
)
def test_error_about_an_absent_value_names_the_fields_that_the_event_lacks(
    expression: str, reason: str
) -> None:
    assert find(expression, EVENT) is None
    with pytest.raises(Inapplicable) as error:
        require(expression, EVENT)

    assert str(error.value) == (
        f"`{expression}` is not in the event{reason}; `{expression} || 'text'` sets a default"
    )
    assert require(f"{expression} || 'text'", EVENT) == "text"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("length(data.lines)", "it has no `data.lines`"),
        ("join(data.glue, data.lines)", "it has no `data.glue` and no `data.lines`"),
        ("length(data.order.x)", "JMESPathTypeError"),
        ("powertools_json('{')", "UnreadableJson"),
    ],
)
def test_inapplicable_expression_is_reported_with_the_cause(expression: str, reason: str) -> None:
    with pytest.raises(Inapplicable) as error:
        find(expression, EVENT)

    assert str(error.value) == f"`{expression}` cannot be applied to this event: {reason}"


def test_error_text_is_short_for_every_expression() -> None:
    expression = "data.shop" + ".name" * 10_000
    for apply in (find, require):
        with pytest.raises(Inapplicable) as error:
            apply(f"length({expression})", EVENT)
        assert len(str(error.value)) < 500


# --- Missing fields

ORDER = {
    "source": "shop",
    "data": {
        "status": "CANCELLED",
        "gone": None,
        "vip": False,
        "orders": [{"id": 1, "status": "CANCELLED"}, {"id": 2}],
    },
}


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("data.stauts != 'CANCELLED'", "data.stauts"),
        ("'CANCELLED' != data.stauts", "data.stauts"),
        ("!(data.stauts == 'CANCELLED')", "data.stauts"),
        ("!(data.vip && data.vip == `1`) && !(data.stauts == 'CANCELLED')", "data.stauts"),
        ("!(data.stauts == 'CANCELLED' || data.vip)", "data.stauts"),
        ("!(data.canceled || data.vip)", "data.canceled"),
        ("!(data.stauts)", "data.stauts"),
        ("!(contains(['CANCELLED', 'RETURNED'], data.stauts))", "data.stauts"),
        ("(data.stauts == 'CANCELLED') == `false`", "data.stauts"),
        ("length(data.orders[?stauts == 'CANCELLED']) == `0`", "stauts"),
        ("data.orders[?stauts == 'CANCELLED'].id == `[]`", "stauts"),
        ("(data.orders[?stauts == 'CANCELLED'] | [0]) == `null`", "stauts"),
        ("data.orders[*].stauts == `[]`", "stauts"),
        ("not_null(data.stauts, data.gone) == `null`", "data.stauts"),
        ("to_string(data.stauts) != 'CANCELLED'", "data.stauts"),
        ("type(data.stauts) != 'number'", "data.stauts"),
        ("data.status != cancelled", "cancelled"),
        ("status != 'CANCELLED'", "status"),
        ('data.status != @."CANCELLED"', "CANCELLED"),
        ("data | (status != CANCELLED)", "CANCELLED"),
        ("data | stauts != 'CANCELLED'", "stauts"),
        ("@.data.stauts != 'CANCELLED'", "data.stauts"),
        ("data.order.status != 'CANCELLED'", "data.order"),
        ("data.status.name != 'CANCELLED'", "data.status.name"),
        ("data.gone.status != 'CANCELLED'", "data.gone.status"),
        ("data.orders[2].status != 'CANCELLED'", "data.orders[2].status"),
        ("data.orders[1].status != 'CANCELLED'", "data.orders[1].status"),
        ("data.orders[?stauts != 'CANCELLED'].id", "stauts"),
        ("data.orders[?!(stauts == 'CANCELLED')].id", "stauts"),
        ("data.orders[?status != 'CANCELLED'].id", "status"),
        ("data.{s: stauts}.s || data.stauts != 'CANCELLED'", "data.stauts"),
        ("not_null(data.stauts, data.gone) != 'CANCELLED'", "data.stauts"),
        ("map(&(stauts != 'CANCELLED'), data.orders)", "stauts"),
    ],
)
def test_negation_of_a_missing_field_is_an_error_that_names_it(expression: str, field: str) -> None:
    check_expression(expression)
    with pytest.raises(Inapplicable) as error:
        find(expression, ORDER)

    assert str(error.value) == (
        f"`{expression}` cannot be applied to this event: it has no `{field}`; "
        f"set a default, as in `{field} || 'text'`"
    )


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("data.status != 'CANCELLED'", False),
        ("!(data.status == 'SHIPPED')", True),
        ("(data.stauts || 'OPEN') != 'CANCELLED'", True),
        ("(data.stauts || data.state || data.status) != 'CANCELLED'", False),
        ("!(data.gold || `false`)", True),
        ("not_null(data.stauts, data.status) != 'CANCELLED'", False),
        ("not_null(data.notify, `true`)", True),
        ("data.stauts && data.stauts != 'CANCELLED'", None),
        ("data.stauts == 'CANCELLED'", False),
        ("data.vip == `false`", True),
        ("data.gold == `false`", False),
        ("data.stauts != `null`", False),
        ("data.stauts == `null`", True),
        ("!(data.deleted != `null`)", True),
        ("data.gone != 'CANCELLED'", True),
        ("!(data.gone)", True),
        ("!(data.vip)", True),
        ("data.orders[?(status || 'OPEN') != 'CANCELLED'].id", [2]),
        ("data.orders[?status && status != 'CANCELLED'].id", []),
        ("length(data.orders[?status == 'CANCELLED']) > `0`", True),
        ("!(data.orders[?id == `3`] | [0])", True),
        ("(data.orders[?id == `3`] | [0]) == `null`", True),
        ("length(data.orders[?id == `3`]) == `0`", True),
        ("data.orders[2] != 'CANCELLED'", True),
    ],
)
def test_negation_holds_as_usual_if_the_field_exists_or_has_a_default(expression: str, value: object) -> None:
    assert find(expression, ORDER) == value


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("length(data.orders[?status == 'CANCELLED']) < `2`", "status"),
        ("length(data.orders[?status == 'CANCELLED']) <= `1`", "status"),
        ("`2` > length(data.orders[?status == 'CANCELLED'])", "status"),
        ("length(data.orders[?status == 'CANCELLED']) == `1`", "status"),
        ("length(data.orders[*].status) == data.orders[0].id", "status"),
        ("min(data.orders[*].total || [`7`]) > `5` && data.orders[*].status == ['CANCELLED']", "status"),
        ("max(data.orders[?status].id) < `2`", "status"),
        ("sum(data.orders[?status].id) >= `1`", "status"),
        ("contains(data.orders[*].status, 'RETURNED') == `false`", "status"),
        ("data.stauts == data.state", "data.stauts"),
        ("(data.stauts == 'CANCELLED') == (data.status == 'OPEN')", "data.stauts"),
        ("data.stauts | @ != 'CANCELLED'", "data.stauts"),
        ("data.stauts | !@", "data.stauts"),
        ("data.orders[?status == 'OPEN'] | length(@) < `1`", "status"),
        ("data.orders[?status == 'OPEN'] | !@", "status"),
        ("[data.stauts][?@ != 'CANCELLED'] || [data.stauts]", "data.stauts"),
        ("map(&status, data.orders) | [?@ != 'CANCELLED']", "status"),
        ("data.orders[?type(total) != 'x' || to_string(total)].id", "total"),
        ("to_string(data.stauts)", "data.stauts"),
        ("to_array(data.stauts)", "data.stauts"),
    ],
)
def test_condition_that_holds_because_a_field_is_missing_is_an_error_in_every_form(
    expression: str, field: str
) -> None:
    check_expression(expression)
    with pytest.raises(Inapplicable) as error:
        find(expression, ORDER)

    assert f"it has no `{field}`" in str(error.value)
    assert "set a default" in str(error.value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("data.orders[?status == 'CANCELLED'].id", [1]),
        ("length(data.orders[?status == 'CANCELLED']) >= `1`", True),
        ("`0` < length(data.orders[*].status)", True),
        ("length(data.orders[*].id) < `3`", True),
        ("length(data.orders[?status == 'CANCELLED']) < `1`", False),
        ("contains(data.orders[*].status, 'CANCELLED')", True),
        ("contains(data.orders[*].status, 'CANCELLED') == `true`", True),
        ("contains([data.stauts, data.status], 'CANCELLED')", True),
        ("max(data.orders[?status].id) > `0`", True),
        ("data.stauts == 'OPEN' || data.status == 'CANCELLED'", True),
        ("data.stauts == data.status", False),
        ("type(data.stauts) == 'null'", True),
        ("data.orders[?status == 'CANCELLED'] | [?id != `3`].id", [1]),
        ("data.stauts | @ || 'none'", "none"),
        ("length(data.lines || `[]`) < `1`", True),
    ],
)
def test_value_that_does_not_depend_on_a_missing_field_is_returned(expression: str, value: object) -> None:
    assert find(expression, ORDER) == value


def test_missing_field_never_becomes_text() -> None:
    with pytest.raises(Inapplicable, match="it has no `data.stauts`"):
        require("to_string(data.stauts)", ORDER)
    assert require("data.stauts == 'OPEN'", ORDER) is False


FIELDS = ("a", "b", "items[0].s", "items[*].s")
VALUES: tuple[Any, ...] = ("x", "y", 1, 2, True, False, [], None)
literals = st.sampled_from(["'x'", "'y'", "`1`", "`2`", "`true`", "`false`", "`[]`", "['x']"])
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
fields, single = st.sampled_from(FIELDS), st.sampled_from(FIELDS[:3])


def _conditions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    elements = st.builds("items[?s {} {}]".format, operators, literals)
    numbers = (
        st.builds("length({})".format, elements)
        | st.just("length(items[*].s)")
        | st.sampled_from(["max(items[*].n)", "min(items[*].n)", "sum(items[*].n)"])
    )
    return (
        st.builds("({} {} {})".format, numbers, operators, st.sampled_from(["`0`", "`1`", "`2`"]))
        | st.builds("({} {} {})".format, st.sampled_from(["`0`", "`1`"]), operators, numbers)
        | st.builds("({} {} {})".format, inner, operators, inner)
        | st.builds("({} {} {})".format, inner, operators, literals)
        | st.builds("({} && {})".format, inner, inner)
        | st.builds("!({})".format, inner)
        | st.builds("({} | @ {} {})".format, inner, operators, literals)
        | st.builds("([{}, b] | [?@ {} {}])".format, single, operators, literals)
        | st.builds("(map(&s, items) | [?@ {} {}])".format, operators, literals)
        | st.builds("contains(items[*].s, {})".format, literals)
        | st.builds("{}({})".format, st.sampled_from(["to_string", "to_array"]), single)
        | elements
    )


@given(
    st.recursive(fields, _conditions, max_leaves=4),
    st.fixed_dictionaries({}, optional={"a": st.sampled_from(VALUES), "b": st.sampled_from(VALUES)}),
    st.lists(
        st.fixed_dictionaries({}, optional={"s": st.sampled_from(VALUES), "n": st.integers(0, 2)}),
        max_size=2,
    ),
    st.data(),
)
def test_no_condition_holds_because_a_field_is_missing(
    condition: str, event: dict[str, Any], items: list[dict[str, Any]], data: st.DataObject
) -> None:
    """A condition that holds without some fields also holds with them, for all their values."""
    event = {**event, "items": items}
    with suppress(Inapplicable):
        if not _holds(find(condition, event)):
            return
        complete = {name: event.get(name, data.draw(st.sampled_from(VALUES))) for name in ("a", "b")}
        complete["items"] = [
            {"s": data.draw(st.sampled_from(VALUES)), "n": data.draw(st.integers(0, 2)), **item}
            for item in items
        ]
        try:
            value = jmespath.search(condition, complete)
        except (ValueError, TypeError):
            return  # a value of the wrong type is another error
        assert _holds(value)


def _holds(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})
