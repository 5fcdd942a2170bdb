"""How often and when a delivery is tried again, by the strategy that a trigger names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from project.triggers import RetryStrategy

__all__ = ["retry_delays"]


def retry_delays(strategy: RetryStrategy, chance: random.Random) -> Iterator[float]:
    """Seconds before each retry (fc-runtime.md: MNS topic trigger, Batches and retries): 3 random ones of 10
    to 20, or 1, 2, 4 … 512, in all 176.
    """
    if strategy == "BACKOFF_RETRY":
        return (chance.uniform(10, 20) for _ in range(3))
    return (min(2.0**number, 512.0) for number in range(176))
