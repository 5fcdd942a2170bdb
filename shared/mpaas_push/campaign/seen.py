"""The earlier targets of a piece: at most 21 bytes each, where a set needs 70."""

from __future__ import annotations

import hashlib
from array import array

__all__ = ["SeenTargets"]

MIN_SLOTS = 1 << 10
"""Slots of an empty table, a power of two."""


class SeenTargets:
    """Targets as hashes of 64 bits, in a table that doubles when it is three quarters full."""

    def __init__(self) -> None:
        """Start without targets."""
        self._slots = array("Q", bytes(8 * MIN_SLOTS))
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
    """Put a hash into the first free slot, beginning with its own; return whether it is new."""
    mask = len(slots) - 1
    index = digest & mask
    while other := slots[index]:
        if other == digest:
            return False
        index = (index + 1) & mask
    slots[index] = digest
    return True
