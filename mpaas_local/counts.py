"""Thread-safe counters."""

from __future__ import annotations

import threading

__all__ = ["Counts"]


class Counts:
    """Counters by name, with a fixed set of names."""

    def __init__(self, *names: str) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(names, 0)

    def add(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._numbers[name] += number

    def read(self) -> dict[str, int]:
        """Return all counters, consistently."""
        with self._lock:
            return dict(self._numbers)
