"""Pieces of an audience: byte ranges whose exact bounds the worker determines while reading.

A piece begins after the first line end of its range and ends with the line that crosses the range's end, so
each line is in exactly one piece, and a plan needs only the size of the file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHUNK_BYTES", "LINE_BYTES", "Line", "Piece", "lines_of", "piece_bytes_for", "piece_index_of"]

SMALL_PIECE_BYTES, LARGE_PIECE_BYTES = 256 << 10, 4 << 20
"""Size of a piece of a small file, so that several workers share it, and of a large one."""
MEDIUM_FILE_PIECES = 64
"""Number of pieces of a file between small and large: there the size of the pieces grows."""
MAX_PIECES = 4096
"""Each piece is a task and a field in Redis, so the largest files get larger pieces."""
CHUNK_BYTES = 512 << 10
"""Bytes read in one request, which is what a worker holds of the file."""
LINE_BYTES = 64 << 10
"""Longest line that is kept; the rest of a longer one is skipped."""


@dataclass(frozen=True)
class Piece:
    """One byte range of a file.

    Attributes:
        index: From 0.
        start: First byte of its range.
        end: First byte after its range.
        size: Bytes of the file.
    """

    index: int
    start: int
    end: int
    size: int

    @classmethod
    def of(cls, index: int, piece_bytes: int, size: int) -> Piece:
        """Return a piece of a file by its index."""
        return cls(index, index * piece_bytes, min((index + 1) * piece_bytes, size), size)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        start: Its first byte in the file.
        end: The byte after its line end.
        content: Without line end; None if it was longer than `LINE_BYTES`.
    """

    start: int
    end: int
    content: bytes | None


def piece_bytes_for(size: int) -> int:
    """Return the size of a file's pieces."""
    usual = min(max(math.ceil(size / MEDIUM_FILE_PIECES), SMALL_PIECE_BYTES), LARGE_PIECE_BYTES)
    return max(usual, math.ceil(size / MAX_PIECES))


def piece_index_of(line_start: int, piece_bytes: int) -> int:
    """Return the index of the piece that contains a line, by the offset at which the line begins."""
    # A line that begins where a range ends belongs to that range: the preceding piece reads it.
    return max(line_start - 1, 0) // piece_bytes


def lines_of(piece: Piece, read: Callable[[int, int], bytes]) -> Iterator[Line]:
    """Yield the lines of a piece, empty ones included.

    Args:
        piece: The piece.
        read: Returns the bytes from a start offset to before an end offset, at most to the end of the file.
    """
    read_to = piece.start
    buffer, begin = b"", 0  # bytes up to `read_to` that are not yielded yet start at `begin`
    is_skipping = piece.index > 0  # the preceding piece reads the first line
    overlong_start: int | None = None  # start of a line whose beginning was dropped from the buffer
    while True:
        end = buffer.find(b"\n", begin)
        if end >= 0:
            after = read_to - len(buffer) + end + 1
            if not is_skipping:
                yield _line(buffer[begin:end], after - 1, after, overlong_start)
            is_skipping, overlong_start, begin = False, None, end + 1
            if after > piece.end:
                return
            continue
        buffer, begin = buffer[begin:], 0
        if read_to >= piece.size:
            break
        if len(buffer) > LINE_BYTES:
            if overlong_start is None:
                overlong_start = read_to - len(buffer)
            buffer = b""
        chunk = read(read_to, min(read_to + CHUNK_BYTES, piece.size))
        read_to += len(chunk)
        buffer += chunk
    if (buffer or overlong_start is not None) and not is_skipping:
        yield _line(buffer, piece.size, piece.size, overlong_start)


def _line(content: bytes, end: int, after: int, overlong_start: int | None) -> Line:
    start = end - len(content) if overlong_start is None else overlong_start
    if end - start > LINE_BYTES:
        return Line(start, after, None)
    return Line(start, after, content.removesuffix(b"\r"))
