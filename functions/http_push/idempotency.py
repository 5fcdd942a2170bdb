"""Which Idempotency-Keys this instance has seen, and with which body.

A help against mistakes, not a decision to rely on: another instance knows nothing of it. What makes a repeat
recognisable everywhere is that message ids are derived from the key.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

__all__ = ["KeyMemory"]


class KeyMemory:
    """The latest keys of one warm instance, with a fingerprint of the body that came with each."""

    def __init__(self, size: int = 1000) -> None:
        """Remember at most `size` keys; the longest unused is forgotten first."""
        self._size = size
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def admits(self, key: str, body: bytes) -> bool:
        """Return whether the key is new or comes with the same body again, and remember it."""
        fingerprint = hashlib.sha256(body).digest()
        known = self._bodies.setdefault(key, fingerprint)
        self._bodies.move_to_end(key)
        if len(self._bodies) > self._size:
            self._bodies.popitem(last=False)
        return known == fingerprint

    def forget(self, key: str) -> None:
        """Forget a key under which nothing was sent."""
        self._bodies.pop(key, None)
