"""Rows of an audience: a line of a file enters, a `Row` leaves, or what is wrong with it.

A row is one line: a quoted line break in a CSV could be split between two pieces, so it is a fault.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, mask_id
from mpaas_push.json_text import UnreadableJson, dump_json, read_json
from mpaas_push.paths import is_plain_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mpaas_push.campaign.model import Audience, Campaign
    from mpaas_push.campaign.pieces import Line

__all__ = [
    "HEADER_BYTES",
    "InvalidRow",
    "Row",
    "RowReader",
    "csv_fields",
    "doubts_of",
    "header_of",
    "json_values",
]

HEADER_BYTES = 64 << 10
"""Of the beginning of a file: enough for its header or its first row."""
BOM = b"\xef\xbb\xbf"
TARGET_LENGTH = 500
"""Longest target id, in characters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        start: Byte offset of its line.
        target: Its target id.
        values: Its text by column, of the columns that the campaign names.
    """

    start: int
    target: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row for which no push can be sent.

    Attributes:
        start: Byte offset of its line.
        reason: What is wrong; quotes nothing of the row.
        target: Its target id, if that much could be read.
    """

    start: int
    reason: str
    target: str = ""


class RowReader:
    """Reads the lines of an audience; the same for every piece.

    White space around a target id is ignored, whatever the format.

    Attributes:
        trimmed: Rows so far whose target had some.
    """

    def __init__(self, campaign: Campaign, header: Sequence[str] | None) -> None:
        """Prepare to read rows.

        Args:
            campaign: Its audience and the columns that it needs.
            header: The columns of a CSV, as `header_of` returned them.
        """
        self._kind = campaign.audience.kind
        self._target = campaign.audience.target or ""
        self._delimiter = campaign.audience.delimiter
        self._width = len(header or ())
        # The other columns of a wide file would only take memory.
        self._columns = [(name, at) for at, name in enumerate(header or ()) if name in campaign.columns]
        self._names = campaign.columns
        self.trimmed = 0

    def row_of(self, line: Line) -> Row | InvalidRow | None:
        """Return the row of a line; None for an empty line and for the header of a CSV."""
        if line.content is None:
            return InvalidRow(line.start, "is longer than 64 KB")
        content = line.content.removeprefix(BOM) if line.start == 0 else line.content
        if not content or content.isspace() or (line.start == 0 and self._kind == "csv"):
            return None
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return InvalidRow(line.start, "is not UTF-8")
        values, flaw = self._values(text)
        written = values.get(self._target, "")
        target = written.strip()
        if target != written:
            values[self._target] = target
            self.trimmed += 1
        if own := self._flaw_of(target):
            return InvalidRow(line.start, flaw or own)
        return InvalidRow(line.start, flaw, target) if flaw else Row(line.start, target, values)

    def doubts(self) -> list[Fault]:
        """Return what may be wrong with the rows so far, though they can be sent."""
        if not self.trimmed:
            return []
        rows = "1 row has" if self.trimmed == 1 else f"{self.trimmed:,} rows have"
        text = f"{rows} white space around their target, which is ignored"
        return [Fault("audience.target", text)]

    def _flaw_of(self, target: str) -> str | None:
        if not target:
            return f"has no target: {self._target or 'the line'} is empty"
        if len(target) > TARGET_LENGTH or not target.isprintable():
            return f"its target must be 1 to {TARGET_LENGTH} printable characters"
        return None

    def _values(self, text: str) -> tuple[dict[str, str], str]:
        """Return the values of a row by column as far as they can be read, and what is wrong with it."""
        if self._kind == "ids":
            return {"": text}, ""
        if self._kind == "jsonl":
            values = _json_texts(text, self._names)
            return ({}, values) if isinstance(values, str) else (values, "")
        fields = csv_fields(text, self._delimiter)
        if isinstance(fields, str):
            return {}, fields
        values = {name: fields[at] for name, at in self._columns if at < len(fields)}
        if len(fields) != self._width:
            return values, f"has {len(fields)} fields, the header {self._width}"
        return values, ""


def header_of(campaign: Campaign, beginning: bytes) -> tuple[list[str] | None, list[Fault]]:
    """Read the header of a CSV, or look at the first row of JSON Lines.

    Args:
        campaign: The columns that it needs.
        beginning: The first `HEADER_BYTES` of the file, or all of it.

    Returns:
        The columns, None for a file without header, and what keeps the campaign from being sent.
    """
    if beginning.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        return None, [Fault("audience", "the file is compressed: upload it uncompressed")]
    kind = campaign.audience.kind
    columns = _columns(beginning, campaign.audience)
    if isinstance(columns, str):
        return None, [Fault("audience", columns)]
    header = columns if kind == "csv" else None
    if kind == "csv" and (repeated := [name for name, count in Counter(columns).items() if count > 1]):
        return header, [Fault("audience", f"the header names {_listed(repeated)} more than once")]
    is_row = kind == "csv" and any(_row_like(columns, _second_row(beginning, campaign.audience)))
    faults = [
        _missing(name, columns, campaign, is_row=is_row) for name in sorted(campaign.columns - set(columns))
    ]
    is_whole_file = len(beginning) < HEADER_BYTES
    if not faults and kind == "csv" and is_whole_file and not beginning.partition(b"\n")[2].strip():
        faults = [Fault("audience", "the file has a header and no rows")]
    return header, faults


def doubts_of(campaign: Campaign, header: Sequence[str] | None, beginning: bytes) -> list[Fault]:
    """Return what may be wrong with an audience, though it can be sent.

    Args:
        campaign: The column with the target.
        header: As `header_of` returned it, with no fault: the target is in it.
        beginning: As for `header_of`.
    """
    target = campaign.audience.target
    if header is None or target is None:
        return []
    like = _row_like(header, _second_row(beginning, campaign.audience))
    if not like[header.index(target)]:
        return []
    text = f"the column `{mask_id(target)}` is named like the id below it: {_NO_HEADER}"
    return [Fault("audience.target", f"{text}, or its first row gets no push")]


_NO_HEADER = "a file without a header needs one, or, of ids alone, `format: ids` without `target`"


def _second_row(beginning: bytes, audience: Audience) -> list[str]:
    """Return the fields of the second line of a CSV; none if it cannot be read."""
    line = beginning.partition(b"\n")[2].partition(b"\n")[0].removesuffix(b"\r")
    fields = csv_fields(line.decode(errors="replace"), audience.delimiter)
    return [] if isinstance(fields, str) else [field.strip() for field in fields]


def _row_like(columns: Sequence[str], row: Sequence[str]) -> list[bool]:
    """Return for each column whether its name looks like the value below it, but for words with digits."""
    return [
        (shape := _WORD_WITH_DIGIT.sub("#", name)) != name
        and shape == _WORD_WITH_DIGIT.sub("#", value)
        and abs(len(name) - len(value)) <= _LENGTHS_APART
        for name, value in zip_longest(columns, row[: len(columns)], fillvalue="")
    ]


_WORD_WITH_DIGIT = re.compile(r"\b[^\W\d]*\d\w*")
_LENGTHS_APART = 3
"""Ids that follow each other may differ by as many characters."""


def _columns(beginning: bytes, audience: Audience) -> list[str] | str:
    """Return the columns that the first line names, or what is wrong with it."""
    first = beginning.partition(b"\n")[0].removeprefix(BOM).removesuffix(b"\r")
    try:
        text = first.decode()
    except UnicodeDecodeError:
        return "the file is not UTF-8"
    if not text.strip():
        return "the file is empty, or begins with an empty line"
    if audience.kind == "ids":
        return []
    if audience.kind == "jsonl":
        values = json_values(text)
        return f"the first line {values}" if isinstance(values, str) else list(values)
    fields = csv_fields(text, audience.delimiter)
    return f"the header {fields}" if isinstance(fields, str) else [field.strip() for field in fields]


def _missing(column: str, columns: Sequence[str], campaign: Campaign, *, is_row: bool) -> Fault:
    if column == campaign.audience.target:
        path = "audience.target"
    elif campaign.texts and column == campaign.texts["by"]:
        path = "texts.by"
    else:
        path = campaign.path_of(column)
    there = _listed(columns, is_row=is_row) or "none, as a file of plain ids"
    remedy = (
        f", which look like a row: {_NO_HEADER}" if is_row else _other_delimiter(columns, campaign.audience)
    )
    return Fault(path, f"the audience has no column `{column}`; it has {there}{remedy}")


def _other_delimiter(columns: Sequence[str], audience: Audience) -> str:
    """Return the hint at the delimiter of a CSV all of whose header is one column."""
    if audience.kind != "csv" or len(columns) != 1:
        return ""
    names = {",": "`,`", ";": "`;`", "|": "`|`", "\t": "a tab"}
    there = [name for character, name in names.items() if character in columns[0]]
    return f": if {there[0]} is between its fields, set `audience.delimiter`" if there else ""


def _listed(columns: Sequence[str], *, is_row: bool = False) -> str:
    """Return the first columns for an error: a header may have 64 KB.

    In a file without a header they are a row. Only a name that can hardly be an id is shown in full.
    """
    more = [f"{len(columns) - _MOST_SHOWN} more"] if len(columns) > _MOST_SHOWN else []
    shown = columns[:_MOST_SHOWN]
    return ", ".join([name if not is_row and is_plain_name(name) else mask_id(name) for name in shown] + more)


_MOST_SHOWN = 20


def csv_fields(text: str, delimiter: str) -> list[str] | str:
    """Return the fields of a line of a CSV, or what is wrong with it."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        fields = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return "has a quote that does not close on its line"
    # `csv` would take the rest of a field with a line end in it for a row of its own.
    if not _is_row(text, delimiter):
        return "has a quote in the middle of a field: a field with quotes is quoted, and ends on its line"
    return fields


def _is_row(text: str, delimiter: str) -> bool:
    """Return whether a text is fields, each with or without quotes, and delimiters between them."""
    at = 0
    while True:
        is_quoted = text.startswith('"', at)
        match = (_QUOTED if is_quoted else _plain(delimiter)).match(text, at)
        if not match:
            return False
        at = match.end()
        if at == len(text):
            return True
        if is_quoted and text[at] == '"':
            continue  # two quotes in a field stand for one
        if text[at] != delimiter:
            return False
        at += 1


_QUOTED = re.compile('"[^"]*"')


@cache
def _plain(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf'[^"{re.escape(delimiter)}]*')


def json_values(text: str) -> dict[str, Any] | str:
    """Return the values of a line of JSON Lines by column, or what is wrong with it."""
    try:
        row = read_json(text, keep_digits=True)
    except UnreadableJson as error:
        return "is not JSON" if error.reason.startswith("not JSON") else f"cannot be read: {error}"
    if not isinstance(row, dict):
        return "is not a JSON object"
    return row


def _json_texts(text: str, names: Collection[str]) -> dict[str, str] | str:
    """Return the columns of a row that are asked for as texts, or what is wrong with it."""
    row = json_values(text)
    if isinstance(row, str):
        return row
    values = {name: value for name, value in row.items() if name in names}
    for name, value in values.items():
        if isinstance(value, (dict, list)):
            kind = "an object" if isinstance(value, dict) else "a list"
            return f"column {name} must be text or a number, not {kind}"
    return {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> str:
    """Return a value as a text shows it; what cannot be shown is empty, and so missing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return dump_json(value) if isinstance(value, (int, float)) else ""
