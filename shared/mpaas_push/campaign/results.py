"""Results: the rows that were not accepted, as OSS objects in the audience's bucket.

Each block writes its own part before it is committed, so a repeated block overwrites the same part; the last
block of a piece joins the parts into one object.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.errors import AudienceMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpaas_push.campaign.block import Fate
    from mpaas_push.campaign.objects import Objects

__all__ = ["RESULTS", "Results", "folder_of", "lines_after", "result_lines"]

CHUNK_BYTES = 1 << 20
"""Bytes of an object read in one request."""
RESULTS = "campaign-results/"
"""Prefix of all results, in the audience's bucket. Not below `campaigns/`, where uploads start campaigns."""


class Results:
    """The results of one piece."""

    def __init__(self, objects: Objects, bucket: str, campaign: str, run: str, piece: int) -> None:
        """Prepare; nothing is written yet."""
        self._objects = objects
        self._bucket = bucket
        self._name = f"{folder_of(campaign, run)}{piece:05}"

    def write(self, begin: int, fates: Iterable[Fate]) -> None:
        """Write the part of the block that begins at an offset; nothing if no row is to be reported."""
        lines = [
            json.dumps(
                {
                    "offset": fate.start,
                    "target": fate.target,
                    "outcome": fate.name,
                    "resultCode": fate.code,
                    "text": fate.text,
                    "messageId": fate.message_id,
                },
                ensure_ascii=False,
                separators=(",", ":"),
            )
            for fate in sorted(fates, key=lambda fate: fate.start)
        ]
        if lines:
            content = "\n".join([*lines, ""]).encode("utf-8", "replace")
            self._objects.write(self._bucket, f"{self._name}/{begin:015}.jsonl", content)

    def join(self) -> None:
        """Join the parts of the piece into its object."""
        parts = list(self._objects.names(self._bucket, f"{self._name}/"))
        if parts:
            content = b"".join(_content_of(self._objects, self._bucket, key) for key in parts)
            self._objects.write(self._bucket, f"{self._name}.jsonl", content)

    def delete_parts(self) -> None:
        """Delete the parts of a piece whose object is written."""
        for key in list(self._objects.names(self._bucket, f"{self._name}/")):
            self._objects.delete(self._bucket, key)


def folder_of(campaign: str, run: str) -> str:
    """Return the prefix of a campaign's results."""
    return f"{RESULTS}{campaign}/{run}/"


def result_lines(objects: Objects, bucket: str, folder: str) -> Iterator[dict[str, Any]]:
    """Yield the results of rows in the order of the file; for pieces in progress, those written so far.

    `offset` is the byte at which the row's line begins.

    Args:
        objects: Where the results are.
        bucket: The bucket of the audience.
        folder: Prefix of the results, as `folder_of` returns it.
    """
    for _, line in lines_after(objects, bucket, folder):
        yield line


def lines_after(
    objects: Objects, bucket: str, folder: str, *, first_piece: int = 0, after: int = -1
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield as `result_lines` does, each line with the key of its object.

    Args:
        objects: Where the results are.
        bucket: The bucket of the audience.
        folder: Prefix of the results.
        first_piece: Earlier pieces are not read.
        after: An offset: lines up to it are omitted.
    """
    for key in _keys(objects, bucket, folder, first_piece):
        for line in _lines_of_part(objects, bucket, key):
            if line["offset"] > after:
                after = line["offset"]
                yield key, line


def _keys(objects: Objects, bucket: str, folder: str, first: int) -> list[str]:
    """Return the keys of results in the order of the file, from a piece on: its object, else its parts."""
    keys = [key for key in objects.names(bucket, folder) if int(key.removeprefix(folder)[:5]) >= first]
    joined = {key.removesuffix(".jsonl") for key in keys}
    return [key for key in keys if key.rpartition("/")[0] not in joined]


def _lines_of_part(objects: Objects, bucket: str, key: str) -> Iterator[dict[str, Any]]:
    try:
        yield from _lines_of_object(objects, bucket, key)
    except AudienceMissing:
        # It was joined meanwhile: its lines are in the object of its piece.
        yield from _lines_of_object(objects, bucket, f"{key.rpartition('/')[0]}.jsonl")


def _lines_of_object(objects: Objects, bucket: str, key: str) -> Iterator[dict[str, Any]]:
    info = objects.info(bucket, key)
    rest = b""
    for start in range(0, info.size, CHUNK_BYTES):
        end = min(start + CHUNK_BYTES, info.size)
        *lines, rest = (rest + objects.read(bucket, key, start, end, info.etag)).split(b"\n")
        yield from map(json.loads, lines)


def _content_of(objects: Objects, bucket: str, key: str) -> bytes:
    info = objects.info(bucket, key)
    return objects.read(bucket, key, 0, info.size, info.etag)
