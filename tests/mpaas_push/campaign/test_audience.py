"""Campaigns and audiences read from arbitrary bytes, and the cost of reading them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.campaign.audience import HEADER_BYTES, InvalidRow, Row, RowReader, header_of
from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.model import Campaign, read_document
from mpaas_push.campaign.pieces import Line
from tests.effort import peak_bytes, steps
from tests.mpaas_push.campaign.test_model import DOCUMENT, SETTINGS

KINDS: dict[str, dict[str, Any]] = {
    "csv": {"key": "a.csv", "target": "user_id"},
    "jsonl": {"key": "a.jsonl", "target": "user_id"},
    "ids": {"key": "a.txt"},
}


def campaign(kind: str) -> Campaign:
    message = {**DOCUMENT["message"], "title": "Hello" if kind == "ids" else "Hello {name}"}
    audience = {"bucket": "marketing", **KINDS[kind]}
    return Campaign.parse({"campaign": "c", "message": message, "audience": audience}, SETTINGS)


def row_of(kind: str, content: bytes) -> Row | InvalidRow | None:
    return RowReader(campaign(kind), ["user_id", "name"]).row_of(Line(9, 9 + len(content), content))


ROW_LIKE = st.text(alphabet='",:{}[] \t\\ud8aeE+-.019\x00\ufeff名', max_size=40).map(str.encode)


@pytest.mark.parametrize("kind", KINDS)
@given(content=st.binary(max_size=40) | ROW_LIKE)
def test_no_line_raises(kind: str, content: bytes) -> None:
    row_of(kind, content)
    header_of(campaign(kind), content)


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_document_raises_nothing_but_invalid_campaign(text: bytes) -> None:
    with suppress(InvalidCampaign):
        Campaign.parse(read_document(text), SETTINGS)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from([*DOCUMENT, "extra"]),
)
def test_field_value_raises_nothing_but_invalid_campaign(value: Any, field: str) -> None:
    with suppress(InvalidCampaign):
        Campaign.parse({**DOCUMENT, field: value}, SETTINGS)


COSTLY = {
    "delimiters": b",",
    "names": b"ab,",
    "quotes": b'"",',
    "pairs of quotes": b'""',
    "brackets": b"[",
    "objects": b'{"":0},',
    "escapes": b'"\\u0041",',
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", COSTLY.values(), ids=COSTLY)
def test_cost_of_a_line_and_a_header_is_linear_in_length(kind: str, part: bytes) -> None:
    reader, parsed = RowReader(campaign(kind), ["user_id", "name"]), campaign(kind)

    def read(size: int) -> None:
        content = part * (size // len(part))
        reader.row_of(Line(9, 9 + size, content))
        header_of(parsed, content)

    assert peak_bytes(lambda: read(HEADER_BYTES), limit := 60 * HEADER_BYTES) <= limit
    assert steps(lambda: read(HEADER_BYTES)) <= 2.2 * steps(lambda: read(HEADER_BYTES // 2)) + 200


@pytest.mark.parametrize(
    "line",
    [
        "alice.liddell@example.com",
        "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o,Alice",
        "zhang-wei",
        "user4711,user4711",
        "3f1c9a,5",
    ],
)
def test_error_about_a_file_without_a_header_masks_ids(line: str) -> None:
    _, faults = header_of(campaign("csv"), f"{line}\nbob@example.org\n".encode())

    text = " ".join(map(str, faults))
    assert "audience" in text
    assert line.partition(",")[0] not in text


def test_error_about_a_header_names_its_columns() -> None:
    _, faults = header_of(campaign("csv"), "id,first_name,城市,e-mail\n4711,Bob,x,y\n".encode())

    assert any("it has id, first_name, 城市, e-…(6)" in str(fault) for fault in faults)


def test_error_about_a_wide_header_is_short() -> None:
    names = [f"{'x' * 90}{number}" for number in range(600)]
    for columns in (names, names[:300] * 2):
        _, faults = header_of(campaign("csv"), ",".join(columns).encode() + b"\n1")
        assert faults
        assert max(len(str(fault)) for fault in faults) < 2000


def test_header_of_very_many_columns_is_read_quickly() -> None:
    """Comparing it column by column would take a minute or more."""
    comparisons = 0

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal comparisons
            comparisons += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    from mpaas_push.campaign import audience

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audience, "_columns", lambda *_: [Name(number) for number in range(2000)])
        header_of(campaign("csv"), b"")
    assert comparisons < 10_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user_id": "a", "user_id": "b", "name": "x"}', "cannot be read: duplicate keys: `us…(7)`"),
        ('{"user_id": "a", "name": NaN}', "cannot be read: NaN is not a JSON number"),
        ("[" * 100 + "]" * 100, "cannot be read: more than 64 levels of objects and lists"),
        ('{"user_id": ', "is not JSON"),
        ('{"user_id": "u", "name": ["x"]}', "column name must be text or a number, not a list"),
    ],
)
def test_ambiguous_row_of_json_is_invalid(line: str, reason: str) -> None:
    row = row_of("jsonl", line.encode())

    assert isinstance(row, InvalidRow)
    assert row.reason == reason


def test_numbers_of_a_row_keep_their_digits() -> None:
    row = row_of("jsonl", json.dumps({"user_id": 7, "name": 0}).replace("0}", "19.90}").encode())

    assert isinstance(row, Row)
    assert row.values == {"user_id": "7", "name": "19.90"}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('1,"a ""b"" c"', ["1", 'a "b" c']),
        ('"1",""', ["1", ""]),
        ('"1",""""', ["1", '"']),
        ('1,a "b" c', None),
        ('1,"a" b', None),
        ('1,"a" "b"', None),
        ('1,"a', None),
        ('1,a"b"', None),
        ('1,a""b', None),
    ],
)
def test_quotes_of_a_csv_enclose_a_field_or_are_doubled_in_it(line: str, values: list[str] | None) -> None:
    row = row_of("csv", line.encode())

    assert (list(row.values.values()) if isinstance(row, Row) else None) == values


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("csv", " user-1 ,Ann"),
        ("csv", '" user-1",Ann'),
        ("jsonl", '{"user_id": "user-1 ", "name": "Ann"}'),
        ("ids", "\tuser-1 "),
    ],
)
def test_white_space_around_a_target_is_ignored_in_every_format(kind: str, line: str) -> None:
    reader = RowReader(campaign(kind), ["user_id", "name"])

    row = reader.row_of(Line(9, 9 + len(line), line.encode()))

    assert isinstance(row, Row)
    assert row.target == "user-1"
    assert row.values[campaign(kind).audience.target or ""] == "user-1"
    assert reader.trimmed == 1
