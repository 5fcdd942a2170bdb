"""An audience on its way to OSS: a stream of bytes enters, an object of the bucket and its first rows leave.

A file of any size takes a few MiB of memory. It is looked at only to show its first rows and to name what
the HTTP function could not read either; whether a campaign can use it is that function's judgement.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from itertools import islice
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, TypeVar

import alibabacloud_oss_v2 as oss
from starlette.concurrency import run_in_threadpool

from mpaas_push.campaign.audience import csv_fields, json_values
from mpaas_push.json_text import dump_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["LARGEST_BYTES", "Unusable", "look_at", "too_large", "upload"]

LARGEST_BYTES = 5 << 30
PART_BYTES = 8 << 20
HEAD_BYTES = 64 << 10
"""Looked at for the first rows."""
SHOWN_ROWS = 5
FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "txt": "ids"}
"""The format of an audience by the ending of its file's name."""
DELIMITERS = (",", ";", "\t", "|")
TARGET_NAMES = (
    *("target", "target_id", "user_id", "userid", "uid", "user", "device_id", "deviceid", "device"),
    *("push_token", "token", "id"),
)
"""Columns that are likely to hold the target, the likeliest first; in lower case."""
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a ZIP archive or a workbook", b"\x28\xb5\x2f\xfd": "zstd"}
"""What a file is by its first bytes."""


_Read = TypeVar("_Read", list[str], dict[str, Any])


class Unusable(Exception):
    """The file cannot be an audience; the text says why and what to do.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the beginning of a file shows.

    Attributes:
        audience: `target`, `format` and `delimiter` of the campaign's `audience`, as far as it needs them.
        columns: Empty for plain ids.
        rows: The first ones that can be read, cell by cell.
        faults: What is wrong with the other ones, by line.
        has_header: False if the columns look like a row, as those of a list of ids that is named ``.csv``.
    """

    audience: dict[str, str]
    columns: list[str]
    rows: list[list[str]]
    faults: list[str] = field(default_factory=list)
    has_header: bool = True


def look_at(name: str, beginning: bytes) -> Look:
    """Read the first rows.

    Args:
        name: Of the file; its ending says how its rows are written.
        beginning: More than `HEAD_BYTES`, or the whole file.

    Raises:
        Unusable: it is none of the formats, is not UTF-8 or is empty.
    """
    kind = FORMATS.get(name.rpartition(".")[2].lower())
    for magic, what in PACKED.items():
        if beginning.startswith(magic):
            raise Unusable(422, f"{name} is {what}: unpack it, or save it as CSV in UTF-8")
    if kind is None:
        raise Unusable(422, f"{name}: the name of an audience ends with .{', .'.join(FORMATS)}")
    # A line ends as the campaign's reader ends it: with LF or CRLF, whatever is quoted.
    lines = [line.removesuffix("\r") for line in _text(name, beginning).split("\n")]
    if kind == "ids":
        return Look(audience={}, columns=[], rows=_rows(lines, 0, lambda line: [line.strip()])[0])
    if kind == "jsonl":
        return _look_at_json(name, lines)
    return _look_at_csv(name, lines)


async def upload(chunks: AsyncIterator[bytes], name: str, bucket: str, client: oss.Client) -> dict[str, Any]:
    """Send a file on to OSS and return it as an `UploadedAudience`.

    Args:
        chunks: The content.
        name: Of the file.
        bucket: Where to.
        client: Of the stack's OSS.

    Raises:
        Unusable: see `look_at`; or it is too large. Nothing of it stays.
    """
    parts = _parts(chunks)
    look = look_at(name, part := await anext(parts, b""))
    digest, size = hashlib.sha256(), 0
    # Its key is made of its content, which is known at its end: until then it is on disk.
    with TemporaryFile() as file:
        while part:
            size += len(part)
            if size > LARGEST_BYTES:
                raise too_large()
            digest.update(part)
            await run_in_threadpool(file.write, part)
            part = await anext(parts, b"")
        # A campaign may be reading an audience: a key only ever has one content, and the same file gets the
        # same key, so that a repeated start is the same campaign.
        where = {"bucket": bucket, "key": f"audiences/{digest.hexdigest()[:32]}/{_safe(name)}"}
        if not await run_in_threadpool(client.is_object_exist, **where):
            file.seek(0)
            # One part at a time: each takes its size of memory.
            uploader = client.uploader(part_size=PART_BYTES, parallel_num=1)
            await run_in_threadpool(uploader.upload_from, oss.PutObjectRequest(**where), file)
    return {
        "name": name,
        "bytes": size,
        "audience": {**where, **look.audience},
        "columns": look.columns,
        "rows": look.rows,
        "faults": look.faults,
        "hasHeader": look.has_header,
    }


def too_large() -> Unusable:
    """Return the refusal of a file that is larger than `LARGEST_BYTES`."""
    return Unusable(
        413,
        f"The page takes files of up to {LARGEST_BYTES >> 30} GiB. Upload a larger one with"
        " `python -m mpaas_push campaign start FILE --audience CSV`.",
    )


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join chunks to parts of `PART_BYTES`; the last one is shorter."""
    part = bytearray()
    async for chunk in chunks:
        part += chunk
        while len(part) >= PART_BYTES:
            yield bytes(part[:PART_BYTES])
            del part[:PART_BYTES]
    if part:
        yield bytes(part)


def _text(name: str, beginning: bytes) -> str:
    """Return the whole lines of the beginning of a file."""
    head = beginning[:HEAD_BYTES]
    if b"\n" not in head and b"\r" in head:
        raise Unusable(422, f"{name}: its lines end with CR alone: save it with LF or CRLF as line ends")
    if len(beginning) > HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Unusable(422, f"{name} is not text in UTF-8: in a spreadsheet, save it as CSV UTF-8")
    if not text.strip():
        why = "its first line is longer than 64 KiB" if beginning.strip() else "it is empty"
        raise Unusable(422, f"{name} cannot be an audience: {why}")
    return text


def _look_at_csv(name: str, lines: Sequence[str]) -> Look:
    delimiter = max(DELIMITERS, key=lines[0].count)
    fields = csv_fields(lines[0], delimiter)
    if isinstance(fields, str):
        raise Unusable(422, f"{name}: the header {fields}")
    columns = [field.strip() for field in fields]
    if not any(columns):
        raise Unusable(422, f"{name} has no header: its first line names the columns")

    def fields_of(line: str) -> list[str] | str:
        fields = csv_fields(line, delimiter)
        if isinstance(fields, str) or len(fields) == len(columns):
            return fields
        return f"has {len(fields)} fields, the header {len(columns)}"

    rows, faults = _rows(lines, 1, fields_of)
    audience = {"target": _target(columns)}
    if delimiter != ",":
        audience |= {"delimiter": delimiter}
    if name.lower().endswith(".tsv"):
        audience |= {"format": "csv"}
    has_header = not _is_id(columns, rows)
    return Look(audience=audience, columns=columns, rows=rows, faults=faults, has_header=has_header)


def _rows(
    lines: Sequence[str], first: int, read: Callable[[str], _Read | str]
) -> tuple[list[_Read], list[str]]:
    """Read the first rows, from the line at an index; return them and the faults of the other ones."""
    rows: list[_Read] = []
    faults: list[str] = []
    filled = ((number, line) for number, line in enumerate(lines[first:], first + 1) if line.strip())
    for number, line in islice(filled, SHOWN_ROWS):
        row = read(line)
        if isinstance(row, str):
            faults.append(f"line {number} {row}")
        else:
            rows.append(row)
    return rows, faults


def _look_at_json(name: str, lines: Sequence[str]) -> Look:
    if isinstance(first := json_values(lines[0]), str):
        raise Unusable(422, f"{name}: the first line {first}")
    objects, faults = _rows(lines, 0, json_values)
    columns = list(dict.fromkeys(column for row in objects for column in row))
    rows = [[_cell(row.get(column, "")) for column in columns] for row in objects]
    return Look(audience={"target": _target(columns)}, columns=columns, rows=rows, faults=faults)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else dump_json(value)


def _target(columns: Sequence[str]) -> str:
    """Guess the column with the target; the first one if no name tells."""
    by_name = {_plain(column): column for column in reversed(columns)}
    return next((by_name[name] for name in TARGET_NAMES if name in by_name), columns[0] if columns else "")


def _is_id(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the only column is named like an id: with a digit, or as long as every id below it."""
    if len(columns) != 1 or _plain(columns[0]) in TARGET_NAMES:
        return False
    return any(map(str.isdigit, columns[0])) or {len(row[0]) for row in rows} == {len(columns[0])}


def _plain(column: str) -> str:
    """Return a column's name as `TARGET_NAMES` writes it."""
    return column.strip().lower().replace("-", "_")


def _safe(name: str) -> str:
    """Return a file name that every tool can read in a key."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", base)[-100:]
