"""A progress bar on a terminal; elsewhere nothing is shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Update", "progress_bar"]


class Update(Protocol):
    """Moves the bar."""

    def __call__(self, done: int, title: str | None = None, /) -> None:
        """Show how much is done, and another title if one is given."""


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Update]:
    """Show a bar on standard error while the block runs.

    Args:
        title: Stands before the bar.
        total: What is to be done, in any unit.
    """
    from rich.console import Console  # only operators have it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        def update(done: int, title: str | None = None, /) -> None:
            progress.update(task, completed=done, description=title)

        yield update
