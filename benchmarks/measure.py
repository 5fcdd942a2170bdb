"""Comparative measurements: candidates take turns, and the results are medians over the rounds.

Ratios and differences are computed within each round before the median, so a machine that is slow for some
seconds does not change them.
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
    """Seconds that one call of a candidate took, in each round."""

    rounds: Sequence[float]

    @property
    def median(self) -> float:
        """Median time."""
        return statistics.median(self.rounds)

    def over(self, other: Times) -> float:
        """Return the ratio to another candidate of the same rounds."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))

    def minus(self, other: Times) -> float:
        """Return the difference to another candidate of the same rounds, in seconds."""
        return statistics.median(a - b for a, b in zip(self.rounds, other.rounds, strict=True))

    def times(self, factor: float) -> Times:
        """Return the times, scaled by a factor."""
        return Times([seconds * factor for seconds in self.rounds])


def measured(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Times]:
    """Call each candidate `calls` times a round, after a warm-up; each round begins with another one."""
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
