from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.json_text import (
    MAX_DEPTH,
    UnreadableJson,
    dump_json,
    plain_json,
    read_json,
)
from tests.effort import peak_bytes, steps

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_back_unchanged(value: Any) -> None:
    for text in (
        json.dumps(value),
        json.dumps(value, ensure_ascii=False, indent=1),
        f"\ufeff {json.dumps(value)}\n",
    ):
        assert read_json(text) == value
        assert read_json(text.encode()) == value


def assert_read_or_refused(data: bytes | str) -> None:
    try:
        value = read_json(data)
    except UnreadableJson:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_raise_nothing_but_unreadable_json(data: bytes) -> None:
    assert_read_or_refused(data)


@given(st.text(alphabet='{}[]",:\\ud8a0 1e9-.NaIfinty', max_size=40))
def test_text_that_resembles_json_raises_nothing_but_unreadable_json(text: str) -> None:
    assert_read_or_refused(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1} x', "not JSON"),
        (" [1,]", "not JSON"),
        ("[NaN]", "NaN is not a JSON number"),
        ("-Infinity", "-Infinity is not a JSON number"),
        ("[1e999]", "a number is too large"),
        ("9" * 5000, "too many digits"),
        (b"\xff\xfe", "not UTF-8"),
        ('"\\ud800"', "an unpaired surrogate"),
        ('{"\\uDC00": 1}', "a key must be text"),
        ("\ud800", "an unpaired surrogate"),
        ("[" * 100_000, "levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels"),
    ],
    ids=range(14),
)
def test_unusable_text_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(UnreadableJson, match=reason):
        read_json(text)


def test_deepest_allowed_value_is_read() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_surrogate_pair_is_one_character() -> None:
    assert read_json('"\\ud83d\\ude00"') == "😀"


def test_every_duplicate_key_is_named_with_its_path() -> None:
    with pytest.raises(UnreadableJson) as caught:
        read_json(
            '{"title": "a", "extendedParams": {"uri": 1, "uri": 2}, "data": [{"x": 1, "x": 1}], "title": "b"}'
        )
    assert caught.value.paths == ("title", "extendedParams.uri", "data.0.…(1)")


def test_first_ten_of_many_duplicate_keys_are_named() -> None:
    pairs = ",".join(f'"user-{number}":1' for number in range(30))
    with pytest.raises(UnreadableJson) as caught:
        read_json(f"{{{pairs},{pairs}}}")
    assert caught.value.paths == ("us…(6)",) * 10
    assert str(caught.value) == f"duplicate keys: {', '.join(['`us…(6)`'] * 10)}, …"


def test_depth_is_checked_before_duplicate_keys() -> None:
    duplicates = '{"a":1,"a":1,"b":'
    with pytest.raises(UnreadableJson, match="levels"):
        read_json(duplicates * (MAX_DEPTH + 1) + "0" + "}" * (MAX_DEPTH + 1))
    with pytest.raises(UnreadableJson, match="duplicate keys"):
        read_json(duplicates * MAX_DEPTH + "0" + "}" * MAX_DEPTH)


@pytest.mark.parametrize("inside", ['"[{[{"', '"\\\\"', '"\\"[["', "1,{},[]"])
@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"[":', "}"), ('[{"]":', "}]")])
def test_only_brackets_outside_strings_count_as_levels(inside: str, opening: str, closing: str) -> None:
    levels = sum(opening.count(bracket) for bracket in "{[") - opening.count('"["')
    count = (MAX_DEPTH - 2) // levels
    values = f"[{inside}]"
    assert read_json(opening * count + values + closing * count)
    with pytest.raises(UnreadableJson, match="levels"):
        read_json(opening * (count + 2) + values + closing * (count + 2))


def unit(opening: str, closing: str) -> str:
    """Return a list element of the greatest allowed depth."""
    return opening * (MAX_DEPTH - 2) + "0" + closing * (MAX_DEPTH - 2) + ","


# The elements that cost most for their length, repeated in a list up to the text's length.
COSTLY = {
    "flat": "0,",
    "fractions": "1e1,",
    "lists": "[],",
    "objects": '{"":0},',
    "deep objects": unit('{"":', "}"),
    "deep lists": unit("[", "]"),
    "deep, with duplicates": unit('{"":0,"":', "}"),
    "duplicates": '{"":0,"":0},',
    "texts": '"ab",',
    "escapes": '"\\n\\u0041",',
    "wide characters": '"\U0001f600",',
    "quotes": '"",',
}


@pytest.mark.parametrize("element", COSTLY.values(), ids=COSTLY)
@pytest.mark.parametrize(
    "end", ["0]", "0", "\\ud800]", '"\\ud800"]'], ids=["complete", "truncated", "broken", "surrogate"]
)
def test_reading_needs_at_most_sixty_bytes_of_memory_per_byte(element: str, end: str) -> None:
    text = f"[{element * (24_000 // len(element))}{end}"

    assert peak_bytes(lambda: read_json(text.encode()), limit := 60 * len(text.encode())) <= limit


def test_too_many_objects_and_lists_are_refused_before_they_are_parsed() -> None:
    def dense(containers: int) -> str:
        return "[" + "{}," * (containers - 1) + "0]"

    assert len(read_json(dense(66), containers=60)) == 66
    with pytest.raises(UnreadableJson, match="more than 66 objects and lists in 201 characters"):
        read_json(dense(67), containers=60)

    text = dense(150_000)
    assert peak_bytes(lambda: read_json(text), limit := 3 * len(text)) <= limit


def test_batch_of_json_strings_is_read_with_little_memory_per_byte() -> None:
    """A batch at the limit of 32 MB then fits into an instance with 512 MB."""
    body = json.dumps({"targets": [f"user-{number}" for number in range(50)]})
    batch = json.dumps([{"messageBody": body}] * 100).encode()

    assert peak_bytes(lambda: read_json(batch), limit := 5 * len(batch)) <= limit


@pytest.mark.parametrize("keys", [1, 1000])
def test_memory_for_duplicates_is_proportional_to_their_text(keys: int) -> None:
    value = json.dumps({f"k{number}": [{"a": {"b": {}}}] for number in range(keys)})
    rest = ",".join(['{"x":{"y":{"z":[]}}}'] * 2000)
    text = f'{{"a":{value},"a":1,"b":[{rest}]}}'

    assert peak_bytes(lambda: read_json(text), limit := 60 * len(text)) <= limit


@pytest.mark.parametrize("element", COSTLY.values(), ids=COSTLY)
def test_steps_grow_linearly_with_the_text(element: str) -> None:
    def steps_of_reading(size: int) -> int:
        text = f'[{element * (size // len(element))}"\\ud800"]'
        return steps(lambda: read_json(text))

    assert steps_of_reading(40_000) <= 2.2 * steps_of_reading(20_000) + 200


def test_duplicate_target_is_masked() -> None:
    with pytest.raises(UnreadableJson) as caught:
        read_json('{"targetMsgkey": {"user-4711": "a", "user-4711": "b"}}')
    assert caught.value.paths == ("targetMsgkey.us…(9)",)
    assert "user-4711" not in str(caught.value)


def test_paths_start_with_the_field_whose_text_is_read() -> None:
    with pytest.raises(UnreadableJson, match=r"`targetMsgkey\.us…"):
        read_json('{"user-4711": "a", "user-4711": "b"}', within="targetMsgkey")


def test_broken_text_after_a_duplicate_key_is_not_json() -> None:
    with pytest.raises(UnreadableJson, match="not JSON"):
        read_json('[{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1: "a"}, {"a": {1, 2}}, b"a", object(), "\ud800", 10**5000, {"\ud800": 1}],
    ids=range(9),
)
def test_value_that_json_cannot_represent_is_refused(value: Any) -> None:
    with pytest.raises(UnreadableJson):
        plain_json(value)


def test_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnreadableJson, match="levels"):
        plain_json(value)


@given(JSON)
def test_plain_json_is_an_equal_copy(value: Any) -> None:
    assert plain_json(value) == value


def test_copy_shares_no_mutable_value() -> None:
    value = {"a": [{"b": 1}], "c": (1, 2)}
    copy = plain_json(value)
    value["a"][0]["b"] = 2  # type: ignore[index]  # a union
    assert copy == {"a": [{"b": 1}], "c": [1, 2]}


@pytest.mark.parametrize("digits", ["19.90", "1e400", "-0.0", "1.0", "1E3", "0.1000000000000000000000001"])
def test_number_keeps_its_digits_on_request(digits: str) -> None:
    text = f'{{"a":[{digits},7,true,null,"\u00e9"]}}'
    value = read_json(text, keep_digits=True)

    assert value["a"][0] == float(digits)
    assert value["a"][0].digits == digits
    assert dump_json(value) == text


def test_depth_limit_applies_to_values_with_kept_digits() -> None:
    deep = "[" * MAX_DEPTH + "1.50" + "]" * MAX_DEPTH
    read_json(deep + " ", keep_digits=True)
    with pytest.raises(UnreadableJson):
        read_json(f"[{deep}]", keep_digits=True)
