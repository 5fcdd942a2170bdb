"""Pieces of an audience: byte ranges whose exact ends are found by the worker that reads them.

A piece begins after the first line end of its range and ends with the line that crosses the range's end, so
that each line is in exactly one piece, and a plan needs nothing of the file but its size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CHUNK_BYTES", "LINE_BYTES", "Line", "Piece", "lines_of", "piece_bytes_for", "piece_index_of"]

SMALLEST_PIECE, USUAL_PIECE = 256 << 10, 4 << 20
"""Bytes of a piece: of small files, so that several workers have something to do, and of large ones."""
SIDE_BY_SIDE = 64
"""Pieces that a file has before they grow."""
MOST_PIECES = 4096
"""Each is a task and a field in Redis: the largest files get larger pieces."""
CHUNK_BYTES = 512 << 10
"""Read in one request: what a worker holds of the file."""
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
    """Return how long the pieces of a file are."""
    usual = min(max(math.ceil(size / SIDE_BY_SIDE), SMALLEST_PIECE), USUAL_PIECE)
    return max(usual, math.ceil(size / MOST_PIECES))


def piece_index_of(line_start: int, piece_bytes: int) -> int:
    """Return the index of the piece that a line is in, by the offset at which the line begins."""
    # A line that begins where a range ends is still of that range: the piece before reads it.
    return max(line_start - 1, 0) // piece_bytes


def lines_of(piece: Piece, read: Callable[[int, int], bytes]) -> Iterator[Line]:
    """Yield the lines of a piece, empty ones included.

    Args:
        piece: The piece.
        read: Returns the bytes from one position to before another one, at most to the end of the file.
    """
    read_to = piece.start
    buffer, begin = b"", 0  # what was read and not yielded, up to `read_to`
    is_skipping = piece.index > 0  # what the piece before it reads
    overlong_start: int | None = None  # where a line began of which the buffer has lost the beginning
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
