"""Rows of an audience: a line of a file enters, a `Row` or an `InvalidRow` leaves.

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
    "header_of",
    "json_values",
    "warnings_of",
]

HEADER_BYTES = 64 << 10
"""Bytes read from the beginning of a file: enough for its header or its first row."""
BOM = b"\xef\xbb\xbf"
MAX_TARGET_LENGTH = 500
"""Longest target id, in characters."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        start: Byte offset of its line.
        target: Its target id.
        values: Its texts by column, for the columns that the campaign uses.
    """

    start: int
    target: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row for which no push can be sent.

    Attributes:
        start: Byte offset of its line.
        reason: What is wrong, without quoting the row.
        target: Its target id; empty if it could not be read.
    """

    start: int
    reason: str
    target: str = ""


class RowReader:
    """Reads the lines of an audience; the same for every piece.

    White space around a target id is ignored in every format.

    Attributes:
        trimmed: Number of rows so far whose target had such white space.
    """

    def __init__(self, campaign: Campaign, header: Sequence[str] | None) -> None:
        """Prepare to read rows.

        Args:
            campaign: Names the format of the audience and the columns to read.
            header: The columns of a CSV, as `header_of` returned them.
        """
        self._kind = campaign.audience.kind
        self._target = campaign.audience.target or ""
        self._delimiter = campaign.audience.delimiter
        self._width = len(header or ())
        # The other columns of a wide file would only use memory.
        self._columns = [(name, index) for index, name in enumerate(header or ()) if name in campaign.columns]
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
        raw_target = values.get(self._target, "")
        target = raw_target.strip()
        if target != raw_target:
            values[self._target] = target
            self.trimmed += 1
        if target_flaw := self._flaw_of(target):
            return InvalidRow(line.start, flaw or target_flaw)
        return InvalidRow(line.start, flaw, target) if flaw else Row(line.start, target, values)

    def warnings(self) -> list[Fault]:
        """Return warnings about the rows so far; none of them prevents sending."""
        if not self.trimmed:
            return []
        rows = "1 row has" if self.trimmed == 1 else f"{self.trimmed:,} rows have"
        text = f"{rows} white space around the target, which is ignored"
        return [Fault("audience.target", text)]

    def _flaw_of(self, target: str) -> str | None:
        if not target:
            return f"has no target: {self._target or 'the line'} is empty"
        if len(target) > MAX_TARGET_LENGTH or not target.isprintable():
            return f"its target must be 1 to {MAX_TARGET_LENGTH} printable characters"
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
        values = {name: fields[index] for name, index in self._columns if index < len(fields)}
        if len(fields) != self._width:
            return values, f"has {len(fields)} field{'s' * (len(fields) != 1)}; the header has {self._width}"
        return values, ""


def header_of(campaign: Campaign, beginning: bytes) -> tuple[list[str] | None, list[Fault]]:
    """Read the header of a CSV, or check the first row of JSON Lines.

    Args:
        campaign: Names the columns that it needs.
        beginning: The first `HEADER_BYTES` of the file, or all of it.

    Returns:
        The columns, None for a file without a header; and the faults that prevent the campaign's start.
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
    is_row = kind == "csv" and any(_similar_to_row(columns, _second_row(beginning, campaign.audience)))
    faults = [
        _missing(name, columns, campaign, is_row=is_row) for name in sorted(campaign.columns - set(columns))
    ]
    is_complete = len(beginning) < HEADER_BYTES
    if not faults and kind == "csv" and is_complete and not beginning.partition(b"\n")[2].strip():
        faults = [Fault("audience", "the file has a header and no rows")]
    return header, faults


def warnings_of(campaign: Campaign, header: Sequence[str] | None, beginning: bytes) -> list[Fault]:
    """Return warnings about an audience; none of them prevents sending.

    Args:
        campaign: Names the column with the target.
        header: As `header_of` returned it without faults: it contains that column.
        beginning: As for `header_of`.
    """
    target = campaign.audience.target
    if header is None or target is None:
        return []
    similar = _similar_to_row(header, _second_row(beginning, campaign.audience))
    if not similar[header.index(target)]:
        return []
    text = f"the name of column `{mask_id(target)}` looks like the id below it"
    return [Fault("audience.target", f"{text}: {_NO_HEADER}, or its first row gets no push")]


_NO_HEADER = "a file without a header needs one, or, if it has only ids, `format: ids` without `target`"


def _second_row(beginning: bytes, audience: Audience) -> list[str]:
    """Return the fields of the second line of a CSV; none if it cannot be read."""
    line = beginning.partition(b"\n")[2].partition(b"\n")[0].removesuffix(b"\r")
    fields = csv_fields(line.decode(errors="replace"), audience.delimiter)
    return [] if isinstance(fields, str) else [field.strip() for field in fields]


def _similar_to_row(columns: Sequence[str], row: Sequence[str]) -> list[bool]:
    """Return for each column whether its name looks like the value below it, except for words with digits."""
    return [
        (shape := _WORD_WITH_DIGIT.sub("#", name)) != name
        and shape == _WORD_WITH_DIGIT.sub("#", value)
        and abs(len(name) - len(value)) <= _MAX_LENGTH_DIFFERENCE
        for name, value in zip_longest(columns, row[: len(columns)], fillvalue="")
    ]


_WORD_WITH_DIGIT = re.compile(r"\b[^\W\d]*\d\w*")
_MAX_LENGTH_DIFFERENCE = 3
"""Consecutive ids may differ in length by this many characters."""


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
    existing = _listed(columns, is_row=is_row) or "none, as a file of plain ids"
    remedy = (
        f", which look like a row: {_NO_HEADER}" if is_row else _delimiter_hint(columns, campaign.audience)
    )
    return Fault(path, f"the audience has no column `{column}`; it has {existing}{remedy}")


def _delimiter_hint(columns: Sequence[str], audience: Audience) -> str:
    """Return a hint to set the delimiter if the header of a CSV is a single column."""
    if audience.kind != "csv" or len(columns) != 1:
        return ""
    names = {",": "`,`", ";": "`;`", "|": "`|`", "\t": "a tab"}
    candidates = [name for character, name in names.items() if character in columns[0]]
    return f": if {candidates[0]} separates its fields, set `audience.delimiter`" if candidates else ""


def _listed(columns: Sequence[str], *, is_row: bool = False) -> str:
    """Return the first columns for an error, since a header may have 64 KB.

    Without a header they are a row: only a name that is unlikely to be an id is shown in full.
    """
    omitted = [f"{len(columns) - _MAX_SHOWN} more"] if len(columns) > _MAX_SHOWN else []
    names = [name if not is_row and is_plain_name(name) else mask_id(name) for name in columns[:_MAX_SHOWN]]
    return ", ".join(names + omitted)


_MAX_SHOWN = 20


def csv_fields(text: str, delimiter: str) -> list[str] | str:
    """Return the fields of a line of a CSV, or what is wrong with it."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        fields = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return "has a quote that does not close on its line"
    # `csv` would read the rest of a field that contains a line end as a separate row.
    if not _is_row(text, delimiter):
        return "has a quote in the middle of a field: quote the entire field, and end it on the same line"
    return fields


def _is_row(text: str, delimiter: str) -> bool:
    """Return whether a text consists of fields, quoted or not, with delimiters between them."""
    position = 0
    while True:
        is_quoted = text.startswith('"', position)
        match = (_QUOTED if is_quoted else _plain(delimiter)).match(text, position)
        if not match:
            return False
        position = match.end()
        if position == len(text):
            return True
        if is_quoted and text[position] == '"':
            continue  # two quotes within a field represent one
        if text[position] != delimiter:
            return False
        position += 1


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
    """Return the named columns of a row as texts, or what is wrong with it."""
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
    """Return a value as a message shows it; null becomes an empty text, which counts as missing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return dump_json(value) if isinstance(value, (int, float)) else ""
