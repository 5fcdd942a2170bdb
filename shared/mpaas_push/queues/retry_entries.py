"""Entries of the retry queue: what waits in them, and what is packed into one.

A message and the outcomes of its targets that may be tried again enter; entries leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mpaas_push.outcome import UNKNOWN, targets_of
from mpaas_push.queues.message import BODY_BYTES, fits
from mpaas_push.task import compact_json, pack_envelopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mpaas_push.outcome import Outcome
    from mpaas_push.task import PushTask

__all__ = ["QueueEntry", "envelopes", "pack"]

DELAY_SPREAD = 1.25
"""Messages wait together whose delays differ by no more than this factor."""
MESSAGES_AN_ENTRY = 20
"""Messages that wait together. More would save no request: MNS takes 64 KB in each, however packed."""
PACK_BYTES = 100
"""Room for what is around the messages of an entry."""


class QueueEntry(NamedTuple):
    """What waits in a queue for some of the messages.

    Attributes:
        indexes: Of the messages.
        body: What the queue gets.
        delay: Seconds until it can be received.
        outcomes: Why its only message waits; none in a dead letter.
        parts: What is packed into it; none where it is one message.
    """

    indexes: tuple[int, ...]
    body: str
    delay: float = 0.0
    outcomes: Sequence[Outcome] = ()
    parts: Sequence[QueueEntry] = ()


def envelopes(task: PushTask, outcomes: Sequence[Outcome]) -> Iterator[tuple[str | None, Sequence[Outcome]]]:
    """Yield what waits for the targets that got nothing, each under the id that it had.

    Yields:
        The text of an envelope, or None where no entry of the queue can hold it, and the outcomes in it.
    """
    if not outcomes:
        return
    # What may have arrived has an envelope of its own: whether it did is still unknown in its dead letter.
    doubtful = [outcome for outcome in outcomes if outcome.kind is UNKNOWN]
    if doubtful and not task.may_have_arrived:
        yield from envelopes(task, [outcome for outcome in outcomes if outcome.kind is not UNKNOWN])
        yield from envelopes(task._replace(may_have_arrived=True), doubtful)
        return
    text = compact_json(task.envelope(targets_of(outcomes), task.attempt + 1))
    if fits(text):
        yield text, outcomes
    elif len(outcomes) == 1:
        yield None, outcomes
    else:
        # Halves of whole requests: their targets will be cut into the same requests again.
        half = len(outcomes) // 2
        yield from envelopes(task, outcomes[:half])
        yield from envelopes(task, outcomes[half:])


def pack(entries: Iterable[QueueEntry]) -> Iterator[QueueEntry]:
    """Pack entries that wait about equally long into one."""
    together: list[QueueEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.delay):
        length = len(entry.body.encode()) + 1
        if together and (
            len(together) == MESSAGES_AN_ENTRY
            or size + length > BODY_BYTES - PACK_BYTES
            or entry.delay > together[0].delay * DELAY_SPREAD
        ):
            yield _merge(together)
            together, size = [], 0
        together.append(entry)
        size += length
    if together:
        yield _merge(together)


def _merge(entries: Sequence[QueueEntry]) -> QueueEntry:
    if len(entries) == 1:
        return entries[0]
    indexes = tuple(index for entry in entries for index in entry.indexes)
    body = pack_envelopes([entry.body for entry in entries])
    return QueueEntry(indexes=indexes, body=body, delay=entries[-1].delay, parts=tuple(entries))
