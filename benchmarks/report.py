"""The result of a section of the benchmarks: a table, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Table", "verdict"]


@dataclass(frozen=True)
class Table:
    """A table of figures.

    Attributes:
        title: What was measured.
        how: How it was measured, in one or two sentences.
        head: Names of the columns.
        rows: Texts of the cells.
    """

    title: str
    how: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(
            [f"### {self.title}", "", self.how, "", *(f"| {' | '.join(line)} |" for line in lines), ""]
        )


def verdict(ratio: float, *, least: float | None = None, most: float | None = None) -> str:
    """Return a target, and whether a figure meets it."""
    is_met = (least is None or ratio >= least) and (most is None or ratio <= most)
    target = f"≥ {least:g}" if least is not None else f"≤ {most:g}"
    return f"{target}: {'met' if is_met else '**missed**'}"
