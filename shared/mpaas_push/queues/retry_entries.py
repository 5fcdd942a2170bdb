"""Entries of the retry queue: the envelopes of messages, several of them packed into one entry.

`envelopes` writes them for the targets that may be tried again; `pack` packs them.
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
"""Messages share an entry if their delays differ by no more than this factor."""
MESSAGES_PER_ENTRY = 20
"""Maximum number of messages in an entry. More would save no request, because MNS accepts 64 KB in each."""
PACK_BYTES = 100
"""Room for the JSON around the messages of an entry."""


class QueueEntry(NamedTuple):
    """An entry of a queue, for one message or several.

    Attributes:
        indexes: The indexes of the messages.
        body: The text that is sent to the queue.
        delay: Seconds until it can be received.
        outcomes: The outcomes because of which its only message waits; empty in a dead letter.
        parts: The entries that are packed into it; empty if it has one message.
    """

    indexes: tuple[int, ...]
    body: str
    delay: float = 0.0
    outcomes: Sequence[Outcome] = ()
    parts: Sequence[QueueEntry] = ()


def envelopes(task: PushTask, outcomes: Sequence[Outcome]) -> Iterator[tuple[str | None, Sequence[Outcome]]]:
    """Yield envelopes for the targets of some outcomes, each with the message id that it had.

    Yields:
        The text of an envelope, or None if it is too long for the queue, and its outcomes.
    """
    if not outcomes:
        return
    # Pushes that may have arrived have a separate envelope: their dead letter must still say `unknown`.
    unknown = [outcome for outcome in outcomes if outcome.kind is UNKNOWN]
    if unknown and not task.may_have_arrived:
        yield from envelopes(task, [outcome for outcome in outcomes if outcome.kind is not UNKNOWN])
        yield from envelopes(task._replace(may_have_arrived=True), unknown)
        return
    text = compact_json(task.envelope(targets_of(outcomes), task.attempt + 1))
    if fits(text):
        yield text, outcomes
    elif len(outcomes) == 1:
        yield None, outcomes
    else:
        # Requests stay complete, so their targets are split into the same requests again.
        half = len(outcomes) // 2
        yield from envelopes(task, outcomes[:half])
        yield from envelopes(task, outcomes[half:])


def pack(entries: Iterable[QueueEntry]) -> Iterator[QueueEntry]:
    """Pack entries with about the same delay into one."""
    group: list[QueueEntry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.delay):
        length = len(entry.body.encode()) + 1
        if group and (
            len(group) == MESSAGES_PER_ENTRY
            or size + length > BODY_BYTES - PACK_BYTES
            or entry.delay > group[0].delay * DELAY_SPREAD
        ):
            yield _merge(group)
            group, size = [], 0
        group.append(entry)
        size += length
    if group:
        yield _merge(group)


def _merge(entries: Sequence[QueueEntry]) -> QueueEntry:
    if len(entries) == 1:
        return entries[0]
    indexes = tuple(index for entry in entries for index in entry.indexes)
    body = pack_envelopes([entry.body for entry in entries])
    return QueueEntry(indexes=indexes, body=body, delay=entries[-1].delay, parts=tuple(entries))
