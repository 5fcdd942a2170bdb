"""Uploads an audience to OSS: a stream of bytes becomes an object; its first rows are returned.

A file of any size takes a few MiB of memory. Only its first rows are parsed, to show them and to refuse a
file that the HTTP function could not read either. That function decides whether a campaign can use the file.
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

__all__ = ["LARGEST_BYTES", "UnusableAudience", "read_beginning", "too_large", "upload"]

LARGEST_BYTES = 5 << 30
PART_BYTES = 8 << 20
HEAD_BYTES = 64 << 10
"""Parsed for the first rows."""
SHOWN_ROWS = 5
FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "txt": "ids"}
"""The format of an audience by the extension of its file."""
DELIMITERS = (",", ";", "\t", "|")
TARGET_NAMES = (
    *("target", "target_id", "user_id", "userid", "uid", "user", "device_id", "deviceid", "device"),
    *("push_token", "token", "id"),
)
"""Likely names of the target column, the likeliest first; in lower case."""
COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a ZIP archive or a workbook", b"\x28\xb5\x2f\xfd": "zstd"}
"""Formats of compressed files, by their first bytes."""


_Row = TypeVar("_Row", list[str], dict[str, Any])


class UnusableAudience(Exception):
    """The file cannot be an audience; the text gives reason and remedy.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """The beginning of a file, parsed.

    Attributes:
        audience: `target`, `format` and `delimiter` of the campaign's `audience`, if it needs them.
        columns: Names of the columns; empty for plain ids.
        rows: Cells of the first readable rows.
        faults: Errors of those first rows that are invalid, each with its line.
        has_header: False if the first line looks like a row, such as in a list of ids named ``.csv``.
    """

    audience: dict[str, str]
    columns: list[str]
    rows: list[list[str]]
    faults: list[str] = field(default_factory=list)
    has_header: bool = True


def read_beginning(name: str, content: bytes) -> Beginning:
    """Read the first rows.

    Args:
        name: Name of the file; its extension determines the format.
        content: More than `HEAD_BYTES` of the file, or all of it.

    Raises:
        UnusableAudience: the file has another format, is not UTF-8 or is empty.
    """
    kind = FORMATS.get(name.rpartition(".")[2].lower())
    for magic, format_name in COMPRESSED.items():
        if content.startswith(magic):
            raise UnusableAudience(422, f"{name} is {format_name}: unpack it, or save it as CSV in UTF-8")
    if kind is None:
        raise UnusableAudience(422, f"{name}: the name of an audience must end with .{', .'.join(FORMATS)}")
    # Lines end with LF or CRLF, even inside quotes, as for the campaign's reader.
    lines = [line.removesuffix("\r") for line in _text(name, content).split("\n")]
    if kind == "ids":
        return Beginning(audience={}, columns=[], rows=_rows(lines, 0, lambda line: [line.strip()])[0])
    if kind == "jsonl":
        return _read_json_lines(name, lines)
    return _read_csv(name, lines)


async def upload(chunks: AsyncIterator[bytes], name: str, bucket: str, client: oss.Client) -> dict[str, Any]:
    """Upload a file to OSS and return it as an `UploadedAudience`.

    Args:
        chunks: The content.
        name: Name of the file.
        bucket: Target bucket.
        client: Client of the stack's OSS.

    Raises:
        UnusableAudience: see `read_beginning`; or the file is too large. No part of it is kept.
    """
    parts = _parts(chunks)
    beginning = read_beginning(name, part := await anext(parts, b""))
    digest, size = hashlib.sha256(), 0
    # The key is a digest of the content, known only at its end: the file is on disk until then.
    with TemporaryFile() as file:
        while part:
            size += len(part)
            if size > LARGEST_BYTES:
                raise too_large()
            digest.update(part)
            await run_in_threadpool(file.write, part)
            part = await anext(parts, b"")
        # A campaign may be reading an audience, so a key must never change its content. The same file gets
        # the same key, so that starting a campaign with it again is the same campaign.
        location = {"bucket": bucket, "key": f"audiences/{digest.hexdigest()[:32]}/{_safe_name(name)}"}
        if not await run_in_threadpool(client.is_object_exist, **location):
            file.seek(0)
            # One part at a time, since each is held in memory.
            uploader = client.uploader(part_size=PART_BYTES, parallel_num=1)
            await run_in_threadpool(uploader.upload_from, oss.PutObjectRequest(**location), file)
    return {
        "name": name,
        "bytes": size,
        "audience": {**location, **beginning.audience},
        "columns": beginning.columns,
        "rows": beginning.rows,
        "faults": beginning.faults,
        "hasHeader": beginning.has_header,
    }


def too_large() -> UnusableAudience:
    """Return the error for a file that is larger than `LARGEST_BYTES`."""
    return UnusableAudience(
        413,
        f"The page accepts files of up to {LARGEST_BYTES >> 30} GiB. Upload a larger one with"
        " `python -m mpaas_push campaign start FILE --audience CSV`.",
    )


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join chunks into parts of `PART_BYTES`; the last one may be shorter."""
    part = bytearray()
    async for chunk in chunks:
        part += chunk
        while len(part) >= PART_BYTES:
            yield bytes(part[:PART_BYTES])
            del part[:PART_BYTES]
    if part:
        yield bytes(part)


def _text(name: str, content: bytes) -> str:
    """Return the complete lines of the beginning of a file."""
    head = content[:HEAD_BYTES]
    if b"\n" not in head and b"\r" in head:
        raise UnusableAudience(
            422, f"{name}: its lines end with CR alone: save it with LF or CRLF as line ends"
        )
    if len(content) > HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1]
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise UnusableAudience(422, f"{name} is not text in UTF-8: in a spreadsheet, save it as CSV UTF-8")
    if not text.strip():
        reason = "its first line is longer than 64 KiB" if content.strip() else "it is empty"
        raise UnusableAudience(422, f"{name} cannot be an audience: {reason}")
    return text


def _read_csv(name: str, lines: Sequence[str]) -> Beginning:
    delimiter = max(DELIMITERS, key=lines[0].count)
    fields = csv_fields(lines[0], delimiter)
    if isinstance(fields, str):
        raise UnusableAudience(422, f"{name}: the header {fields}")
    columns = [field.strip() for field in fields]
    if not any(columns):
        raise UnusableAudience(422, f"{name} has no header: its first line must name the columns")

    def fields_of(line: str) -> list[str] | str:
        fields = csv_fields(line, delimiter)
        if isinstance(fields, str) or len(fields) == len(columns):
            return fields
        return f"has {len(fields)} field{'s' * (len(fields) != 1)}; the header has {len(columns)}"

    rows, faults = _rows(lines, 1, fields_of)
    audience = {"target": _guess_target(columns)}
    if delimiter != ",":
        audience |= {"delimiter": delimiter}
    if name.lower().endswith(".tsv"):
        audience |= {"format": "csv"}
    has_header = not _looks_like_id(columns, rows)
    return Beginning(audience=audience, columns=columns, rows=rows, faults=faults, has_header=has_header)


def _rows(
    lines: Sequence[str], first: int, read: Callable[[str], _Row | str]
) -> tuple[list[_Row], list[str]]:
    """Read the first rows, from the line at an index; return them and the errors of unreadable ones."""
    rows: list[_Row] = []
    faults: list[str] = []
    non_empty = ((number, line) for number, line in enumerate(lines[first:], first + 1) if line.strip())
    for number, line in islice(non_empty, SHOWN_ROWS):
        row = read(line)
        if isinstance(row, str):
            faults.append(f"line {number} {row}")
        else:
            rows.append(row)
    return rows, faults


def _read_json_lines(name: str, lines: Sequence[str]) -> Beginning:
    if isinstance(first := json_values(lines[0]), str):
        raise UnusableAudience(422, f"{name}: the first line {first}")
    objects, faults = _rows(lines, 0, json_values)
    columns = list(dict.fromkeys(column for row in objects for column in row))
    rows = [[_cell(row.get(column, "")) for column in columns] for row in objects]
    return Beginning(audience={"target": _guess_target(columns)}, columns=columns, rows=rows, faults=faults)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else dump_json(value)


def _guess_target(columns: Sequence[str]) -> str:
    """Guess the target column by its name; the first column if no name is known."""
    by_name = {_normalise(column): column for column in reversed(columns)}
    return next((by_name[name] for name in TARGET_NAMES if name in by_name), columns[0] if columns else "")


def _looks_like_id(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the only column's name looks like an id: with a digit, or as long as all ids below."""
    if len(columns) != 1 or _normalise(columns[0]) in TARGET_NAMES:
        return False
    return any(map(str.isdigit, columns[0])) or {len(row[0]) for row in rows} == {len(columns[0])}


def _normalise(column: str) -> str:
    """Return a column's name in the notation of `TARGET_NAMES`."""
    return column.strip().lower().replace("-", "_")


def _safe_name(name: str) -> str:
    """Return a file name with characters that every tool accepts in a key."""
    base = name.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "_", base)[-100:]
