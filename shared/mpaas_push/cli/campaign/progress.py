"""Progress of a command: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LINE_SECONDS", "Update", "counted", "duration", "progress_bar"]

LINE_SECONDS = 30.0
"""Seconds between two lines when output is not a terminal, such as in the log of a job."""


def counted(number: int, plural: str) -> str:
    """Return a number with its noun, such as ``1 row`` for 1 and ``rows``; a noun without s is unchanged."""
    return f"{number:,} {plural.removesuffix('s') if number == 1 else plural}"


def duration(seconds: int) -> str:
    """Return seconds as ``14 s``, from 5 minutes on as ``5 min``, from 2 hours on as ``23 h 0 min``."""
    minutes = round(seconds / 60)
    if seconds < 300:
        return f"{seconds} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


class Update(Protocol):
    """Shows progress."""

    def __call__(self, done: int, title: str | None = None, /) -> None:
        """Show how much is done, under a new title if one is given."""


@contextmanager
def progress_bar(title: str, total: int, *, line_seconds: float | None = None) -> Iterator[Update]:
    """Show progress on standard error while the block runs.

    Args:
        title: Shown before the bar.
        total: Amount of work, in any unit.
        line_seconds: Seconds between two lines when output is not a terminal; `LINE_SECONDS` by default.
    """
    if not sys.stderr.isatty():
        yield _lines(title, total, LINE_SECONDS if line_seconds is None else line_seconds)
        return
    from rich.console import Console  # only operators have it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)

        def update(done: int, title: str | None = None, /) -> None:
            progress.update(task, completed=done, description=title)

        yield update


def _lines(first_title: str, total: int, seconds: float) -> Update:
    shown_at = time.monotonic()

    def update(done: int, title: str | None = None, /) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= seconds:
            shown_at = time.monotonic()
            print(f"{title or first_title}: {100 * done // max(total, 1)}%", file=sys.stderr, flush=True)

    return update
