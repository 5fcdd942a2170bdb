"""Comparative measurements: candidates take turns, and medians over the rounds count.

Ratios and differences are taken within each round before the median, so that a machine that is slower for
some seconds does not change them.
"""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Times", "measured"]


@dataclass(frozen=True)
class Times:
    """What one call of a candidate took in each round, in seconds."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        """The usual time."""
        return statistics.median(self.rounds)

    def over(self, other: Times) -> float:
        """How many times as long as another candidate of the same rounds."""
        return statistics.median(own / its for own, its in zip(self.rounds, other.rounds, strict=True))

    def minus(self, other: Times) -> float:
        """How much longer than another candidate of the same rounds, in seconds."""
        return statistics.median(own - its for own, its in zip(self.rounds, other.rounds, strict=True))

    def times(self, factor: float) -> Times:
        """Scale what was measured on a part."""
        return Times([seconds * factor for seconds in self.rounds])


def measured(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Call each candidate `calls` times a round, after a warm-up; each round another one begins."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            call = candidates[name]
            gc.collect()
            started = clock()
            for _ in range(calls):
                call()
            if number:
                times[name].append((clock() - started) / calls)
    return {name: Times(seconds) for name, seconds in times.items()}
