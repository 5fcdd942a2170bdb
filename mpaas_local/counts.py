"""Counts that several threads add to and anybody reads."""

from __future__ import annotations

import threading

__all__ = ["Counts"]


class Counts:
    """A number by name; only the names given at first."""

    def __init__(self, *names: str) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys(names, 0)

    def add(self, name: str, number: int = 1) -> None:
        """Add to one."""
        with self._lock:
            self._numbers[name] += number

    def read(self) -> dict[str, int]:
        """Return all of them at one moment."""
        with self._lock:
            return dict(self._numbers)
