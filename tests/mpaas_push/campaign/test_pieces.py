"""Pieces of a file, their rows, and the blocks composed of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.campaign import pieces
from mpaas_push.campaign.audience import InvalidRow, Row, RowReader, header_of
from mpaas_push.campaign.block import Composer
from mpaas_push.campaign.model import Campaign
from mpaas_push.campaign.pieces import Line, Piece, lines_of, piece_bytes_for, piece_index_of
from mpaas_push.campaign.rendering import columns_of, render
from mpaas_push.campaign.seen import SeenTargets
from tests.mpaas_push.campaign.test_model import DOCUMENT, SETTINGS

MESSAGE = {**DOCUMENT["message"], "title": "Hello"}


def campaign(**changes: Any) -> Campaign:
    plain = {name: DOCUMENT[name] for name in ("campaign", "audience")} | {"message": MESSAGE}
    return Campaign.parse(plain | changes, SETTINGS)


def all_lines(content: bytes, piece_bytes: int) -> list[Line]:
    count = max(1, math.ceil(len(content) / piece_bytes))
    lines = []
    for index in range(count):
        piece = Piece.of(index, piece_bytes, len(content))
        lines_of_piece = list(lines_of(piece, lambda start, end: content[start:end]))
        assert {piece_index_of(line.start, piece_bytes) for line in lines_of_piece} <= {index}
        lines += lines_of_piece
    return lines


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))),
    st.integers(1, 40),
    st.integers(1, 20),
    st.booleans(),
)
def test_each_line_is_in_exactly_one_piece(
    content: list[bytes], piece_bytes: int, chunk: int, ends_with_line_end: bool
) -> None:
    text = b"\r\n".join(content) + (b"\n" if ends_with_line_end else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "CHUNK_BYTES", chunk)
        lines = all_lines(text, piece_bytes)

    expected = text.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line.content for line in lines] == [line.removesuffix(b"\r") for line in expected]
    assert [line.start for line in lines[1:]] == [line.end for line in lines[:-1]]
    assert sum(line.end - line.start for line in lines) == len(text)


@pytest.mark.parametrize("piece_bytes", [10, 100, 1000])
def test_overlong_line_is_skipped_without_being_buffered(
    monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(pieces, "LINE_BYTES", 20)
    monkeypatch.setattr(pieces, "CHUNK_BYTES", 7)
    text = b"first\n" + b"x" * 500 + b"\nlast\n" + b"y" * 30

    assert [(line.start, line.content) for line in all_lines(text, piece_bytes)] == [
        (0, b"first"),
        (6, None),
        (507, b"last"),
        (512, None),
    ]


def test_large_file_has_large_pieces() -> None:
    assert piece_bytes_for(1000) == 256 << 10
    assert piece_bytes_for(100 << 20) == math.ceil((100 << 20) / 64)
    assert piece_bytes_for(2 << 30) == 4 << 20
    assert math.ceil((1 << 40) / piece_bytes_for(1 << 40)) <= 4096


def rows(text: str, **changes: Any) -> list[Row | InvalidRow]:
    content = text.encode()
    audience = campaign(**changes)
    header, faults = header_of(audience, content)
    assert faults == []
    reader = RowReader(audience, header)
    return [row for line in all_lines(content, 1 << 20) if (row := reader.row_of(line))]


def test_csv_is_read_row_by_row() -> None:
    text = '\ufeffuser_id,city,name\r\nu1,Aba,Ada\r\n"u,2",,"B ""x"" C"\r\n\r\nu3,Aba\r\nu4,"open\r\n,,Eve\r\nx\r\n'
    read = rows(text, message={**MESSAGE, "title": "{name}"})

    # Only the columns that the campaign uses have values.
    assert [(row.target, row.values if isinstance(row, Row) else row.reason) for row in read] == [
        ("u1", {"user_id": "u1", "name": "Ada"}),
        ("u,2", {"user_id": "u,2", "name": 'B "x" C'}),
        ("u3", "has 2 fields; the header has 3"),
        ("", "has a quote that does not close on its line"),
        ("", "has no target: user_id is empty"),
        ("x", "has 1 field; the header has 3"),
    ]


def test_quoted_line_end_is_a_fault_of_both_lines() -> None:
    text = 'user_id,name\nu1,"two\nlines"\nu2,"a, ""b"""\nu3,half "quoted"\n"u4" ,x\n'

    assert [row.target if isinstance(row, Row) else row.reason for row in rows(text)] == [
        "has a quote that does not close on its line",
        "has a quote in the middle of a field: quote the entire field, and end it on the same line",
        "u2",
        "has a quote in the middle of a field: quote the entire field, and end it on the same line",
        "has a quote that does not close on its line",
    ]


def test_target_is_new_only_once() -> None:
    seen = SeenTargets()
    targets = [f"user-{number}" for number in range(5000)]  # the table doubles several times

    assert all(seen.add(target) for target in targets)
    assert not any(seen.add(target) for target in targets)
    assert seen.add("\ud800")


def test_json_lines_and_plain_ids_are_read_row_by_row() -> None:
    jsonl = {"bucket": "marketing", "key": "a.jsonl", "target": "id"}
    text = '{"id": 7, "vip": true, "name": null}\n{"id": "8"}\n[]\n{\n'

    assert [row.target if isinstance(row, Row) else row.reason for row in rows(text, audience=jsonl)] == [
        "7",
        "8",
        "is not a JSON object",
        "is not JSON",
    ]
    ids = rows("\ufeffu1\n  \nu2\r\nu3", audience={"bucket": "marketing", "key": "a.txt"})
    assert [row.target for row in ids] == ["u1", "u2", "u3"]


TWO_IN_ONE = (
    "audience.target: the audience has no column `user_id`; it has us…(12): "
    "if `;` separates its fields, set `audience.delimiter`"
)


@pytest.mark.parametrize(
    ("beginning", "text"),
    [
        (b"", "audience: the file is empty"),
        (b"\x1f\x8bxx", "audience: the file is compressed"),
        (b"\xff\xfe", "audience: the file is not UTF-8"),
        (b"a,a,user_id\n", "audience: the header names a more than once"),
        (b"id,name\n", "audience.target: the audience has no column `user_id`; it has id, name"),
        (b"user_id\n", "message.title: the audience has no column `city`"),
        (b"user_id;name\n", TWO_IN_ONE),
    ],
)
def test_unusable_file_is_reported_with_the_reason(beginning: bytes, text: str) -> None:
    audience = campaign(message={**MESSAGE, "title": "{city}"})

    faults = header_of(audience, beginning)[1]

    assert any(str(fault).startswith(text) for fault in faults), faults


def test_placeholders_are_replaced_in_every_text_but_not_in_keys() -> None:
    template = {
        "title": "{name}, {{name}}",
        "extendedParams": {"{k}": ["{first name}"]},
        "uri": '{"a":{"b":1}}',
    }

    assert columns_of(template) == {"name", "first name"}
    assert render(template, {"name": "Ada", "first name": "A"}) == {
        "title": "Ada, {name}",
        "extendedParams": {"{k}": ["A"]},
        "uri": '{"a":{"b":1}}',
    }


def block_of(text: str, **changes: Any) -> Any:
    return Composer(campaign(**changes), SETTINGS).compose(rows(text, **changes), 0)


def test_rows_with_equal_content_share_requests_of_ten() -> None:
    lines = [f"u{number},{'en' if number % 2 else 'zh'}" for number in range(25)]
    text = "\n".join(["user_id,lang", *lines])
    texts = {"by": "lang", "default": "zh", "zh": {"title": "八点"}, "en": {"title": "Eight"}}

    assert [len(request.rows) for request in block_of(text).requests] == [10, 10, 5]
    by_language = block_of(text, texts=texts).requests
    assert [(request.message.title, len(request.rows)) for request in by_language] == [
        ("八点", 10),
        ("八点", 3),
        ("Eight", 10),
        ("Eight", 2),
    ]


def test_same_rows_become_the_same_requests() -> None:
    text = "user_id,name\n" + "".join(f"u{number},{number % 3}\n" for number in range(40))
    message = {**MESSAGE, "title": "{name}"}
    first, second = (block_of(text, message=message) for _ in range(2))

    assert [request.message for request in first.requests] == [request.message for request in second.requests]
    assert first.targets == 40


def test_row_that_cannot_be_rendered_affects_no_other_row() -> None:
    text = f"user_id,name\nu1,Ada\nu2,\nu3,{'x' * 300}\nu1,Ada\n"

    block = block_of(text, message={**MESSAGE, "taskName": "{name}"})

    fates = {(fate.target, fate.name, fate.code) for fate in block.fates}
    assert ("u2", "invalid", "MissingValue") in fates
    assert ("u1", "duplicate", "") in fates
    assert block.targets + len(block.fates) == block.rows == 4
