"""The delays between retries of a delivery, by the retry strategy of a trigger."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from project.triggers import RetryStrategy

__all__ = ["retry_delays"]


def retry_delays(strategy: RetryStrategy, rng: random.Random) -> Iterator[float]:
    """Return the seconds before each retry: 3 random delays of 10 to 20, or 176 delays of 1, 2, 4 … 512
    (fc-runtime.md: MNS topic trigger, Batches and retries).
    """
    if strategy == "BACKOFF_RETRY":
        return (rng.uniform(10, 20) for _ in range(3))
    return (min(2.0**number, 512.0) for number in range(176))
