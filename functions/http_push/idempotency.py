"""Which Idempotency-Keys have come, and with which body.

With a ledger every instance knows all keys of a day. Without one an instance knows its own latest keys: a
help against mistakes, not a decision to rely on. Either way message ids are derived from the key, so a repeat
can be recognised everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpaas_push.ledger import Comparison, Ledger

__all__ = ["KeyMemory"]


class KeyMemory:
    """The latest keys of one warm instance, with a fingerprint of the body that came with each."""

    def __init__(self, size: int = 1000) -> None:
        """Remember at most `size` keys; the longest unused is forgotten first."""
        self._size = size
        self._bodies: OrderedDict[str, str] = OrderedDict()

    def compared(self, key: str, payload: Any, ledger: Ledger | None) -> Comparison:
        """Say whether a key is new or known, and with which body; remember it.

        Args:
            key: The caller's key together with the function that it was sent to.
            payload: The body as JSON: the order of its keys and its white space do not matter.
            ledger: Where all instances look, if there is one.
        """
        fingerprint = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
        if ledger:
            return ledger.compare(key, fingerprint)
        known = self._bodies.get(key)
        self._bodies[key] = known or fingerprint
        self._bodies.move_to_end(key)
        if len(self._bodies) > self._size:
            self._bodies.popitem(last=False)
        if known is None:
            return "new"
        return "same" if known == fingerprint else "other"

    def forget(self, key: str, ledger: Ledger | None) -> None:
        """Forget a key under which nothing was sent."""
        self._bodies.pop(key, None)
        if ledger:
            ledger.forget(key)
