"""The earlier targets of a piece: 21 bytes each at most, where a set takes 70."""

from __future__ import annotations

import hashlib
from array import array

__all__ = ["SeenTargets"]

SMALLEST = 1 << 10
"""Slots of an empty table, a power of two."""


class SeenTargets:
    """Targets as hashes of 64 bits, in a table that doubles when it is three quarters full."""

    def __init__(self) -> None:
        """Start without targets."""
        self._slots = array("Q", bytes(8 * SMALLEST))
        self._number = 0

    def add(self, target: str) -> bool:
        """Record a target; return whether it is new."""
        text = target.encode("utf-8", "surrogatepass")
        # 0 is an empty slot.
        digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1
        if not _put(self._slots, digest):
            return False
        self._number += 1
        if self._number * 4 > len(self._slots) * 3:
            self._double()
        return True

    def _double(self) -> None:
        slots = array("Q", bytes(16 * len(self._slots)))
        for digest in self._slots:
            if digest:
                _put(slots, digest)
        self._slots = slots


def _put(slots: array[int], digest: int) -> bool:
    """Put a hash into the first free slot from its own on; return whether it was not there."""
    mask = len(slots) - 1
    at = digest & mask
    while there := slots[at]:
        if there == digest:
            return False
        at = (at + 1) & mask
    slots[at] = digest
    return True
