"""Handing over what was not accepted: to the retry queue if it may be sent again, else as a dead letter.

Messages and their outcomes enter; the report of the batch leaves.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from mpaas_push.batch_report import BatchReport
from mpaas_push.outcome import UNKNOWN, counts_of
from mpaas_push.queues.dead_letters import dead_letters
from mpaas_push.queues.message import QueueMessage
from mpaas_push.queues.mns import HandOverResult
from mpaas_push.queues.retry_entries import QueueEntry, envelopes, pack
from mpaas_push.retries import delay_seconds, may_wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mpaas_push.outcome import Outcome
    from mpaas_push.queues.mns import Queues
    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask

__all__ = ["hand_over"]

logger = logging.getLogger(__name__)


def hand_over(
    tasks: Sequence[PushTask], results: Sequence[Sequence[Outcome]], queues: Queues, settings: Settings
) -> BatchReport:
    """Hand over what was not accepted, each message on its own.

    Args:
        tasks: The messages.
        results: The outcomes of each.
        queues: Take what was not accepted.
        settings: Name the queues.
    """
    retries: list[QueueEntry] = []
    too_long: list[QueueEntry] = []
    letters: list[QueueEntry] = []
    sent_targets = 0
    for index, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        again: list[Outcome] = []
        given_up: list[Outcome] = []
        for outcome in outcomes:
            if not outcome.accepted:
                (again if may_wait(outcome, task.attempt, settings) else given_up).append(outcome)
        delay = delay_seconds(task, again, settings) if again else 0
        for text, part in envelopes(task, again):
            (too_long if text is None else retries).append(
                QueueEntry(indexes=(index,), body=text or "", delay=delay, outcomes=part)
            )
        letters += [QueueEntry(indexes=(index,), body=text) for text in dead_letters(task, given_up)]
        sent_targets += sum(len(outcome.targets) for outcome in outcomes if outcome.accepted)
        sent_targets += sum(len(outcome.targets) for outcome in given_up if outcome.kind is UNKNOWN)
    retry_queue, dead_letter_queue = settings.retry_queue, settings.dead_letter_queue
    packs, posted = _hand_over(queues, (retry_queue, pack(retries)), (dead_letter_queue, letters))
    # A queue may take less than MNS does: where many messages do not fit, one may.
    (singles,) = _hand_over(queues, (retry_queue, [part for entry in packs.refused for part in entry.parts]))
    refused = [entry for entry in packs.refused if not entry.parts] + singles.refused
    more = [
        QueueEntry(indexes=entry.indexes, body=text)
        for entry in too_long + refused
        for text in dead_letters(tasks[entry.indexes[0]], entry.outcomes)
    ]
    (unposted,) = _hand_over(queues, (dead_letter_queue, more))
    not_retried = packs.retryable + singles.retryable + refused
    # A message that may be sent again is never stranded.
    unsettled = _indexes(packs.retryable + singles.retryable + unposted.retryable + unposted.refused)
    undelivered, stranded = _indexes(posted.retryable), _indexes(posted.retryable + posted.refused)
    if stranded:
        logger.error("%d messages were given up, and no dead-letter queue took them", len(stranded))
    return BatchReport(
        outcomes=counts_of(outcome for outcomes in results for outcome in outcomes),
        retried=len(_indexes(retries) - unsettled - _indexes(refused)),
        given_up=len((_indexes(letters) - stranded) | (_indexes(more) - unsettled)),
        unsettled=len(unsettled),
        stranded=len(stranded),
        left=tuple(sorted(unsettled | stranded)),
        recoverable=len(undelivered) if dead_letter_queue else 0,
        duplicates_if_redelivered=sent_targets + _count(retries) - _count(not_retried),
    )


class _Remainder(NamedTuple):
    """What a queue did not take: entries that it may take later, and those that it refuses."""

    retryable: list[QueueEntry]
    refused: list[QueueEntry]


def _indexes(entries: Iterable[QueueEntry]) -> set[int]:
    return {index for entry in entries for index in entry.indexes}


def _count(entries: Iterable[QueueEntry]) -> int:
    """Count the targets in entries of the retry queue."""
    parts = (part for entry in entries for part in entry.parts or (entry,))
    return sum(len(outcome.targets) for part in parts for outcome in part.outcomes)


def _hand_over(queues: Queues, *parts: tuple[str | None, Iterable[QueueEntry]]) -> Iterator[_Remainder]:
    """Hand entries over, and yield for each queue what it did not take: all of it where there is no queue."""
    listed = [(queue, list(entries)) for queue, entries in parts]
    messages = [
        QueueMessage(queue, entry.body, round(entry.delay))
        for queue, entries in listed
        if queue
        for entry in entries
    ]
    results = iter(queues.hand_over(messages) if messages else ())
    for queue, entries in listed:
        fates = [(entry, next(results) if queue else HandOverResult.FAILED) for entry in entries]
        retryable, refused = (
            [entry for entry, fate in fates if fate is wanted]
            for wanted in (HandOverResult.FAILED, HandOverResult.REFUSED)
        )
        yield _Remainder(retryable, refused)
