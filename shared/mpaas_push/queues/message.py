"""A message to be sent to an MNS queue, and the limits of its length and delay."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BODY_BYTES", "LONGEST_DELAY_SECONDS", "QueueMessage", "fits"]

BODY_BYTES = 48 * 1024
"""Longest body of a message, in bytes of UTF-8: MNS accepts 64 KB, and Base64 turns three bytes into four."""
LONGEST_DELAY_SECONDS = 3 * 24 * 3600
"""MNS delays up to seven days, but drops messages older than the queue's retention: four days by default."""


class QueueMessage(NamedTuple):
    """A message to be sent to a queue.

    Attributes:
        queue: Name of the queue.
        body: At most `BODY_BYTES` long, without an unpaired surrogate; longer ones are rejected.
        delay: Seconds until it can be received, at most `LONGEST_DELAY_SECONDS`.
    """

    queue: str
    body: str
    delay: int = 0


def fits(text: str) -> bool:
    """Return whether a text fits in the body of a message."""
    return len(text.encode()) <= BODY_BYTES
