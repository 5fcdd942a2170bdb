"""Hands over what was not accepted: to the retry queue if it may be sent again, else as a dead letter."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from mpaas_push.batch_report import BatchReport
from mpaas_push.outcome import UNKNOWN, counts_of
from mpaas_push.queues.dead_letters import dead_letters_of
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
    """Hand over what was not accepted, each message separately, and return the report of the batch.

    Args:
        tasks: The messages.
        results: The outcomes of each.
        queues: Receive what was not accepted.
        settings: Name the queues.
    """
    retries: list[QueueEntry] = []
    too_long: list[QueueEntry] = []
    dead_letters: list[QueueEntry] = []
    sent_targets = 0
    for index, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        retryable: list[Outcome] = []
        given_up: list[Outcome] = []
        for outcome in outcomes:
            if outcome.accepted:
                sent_targets += len(outcome.targets)
            elif may_wait(outcome, task.attempt, settings):
                retryable.append(outcome)
            else:
                given_up.append(outcome)
                sent_targets += len(outcome.targets) if outcome.kind is UNKNOWN else 0
        delay = delay_seconds(task, retryable, settings) if retryable else 0
        for text, part in envelopes(task, retryable):
            entry = QueueEntry(indexes=(index,), body=text or "", delay=delay, outcomes=part)
            (too_long if text is None else retries).append(entry)
        dead_letters += _dead_letter_entries(index, task, given_up)
    retry_queue, dead_letter_queue = settings.retry_queue, settings.dead_letter_queue
    packs, dead_letter_results = _hand_over(
        queues, (retry_queue, pack(retries)), (dead_letter_queue, dead_letters)
    )
    # A queue may have a lower limit than MNS: where several messages do not fit, one may.
    (singles,) = _hand_over(queues, (retry_queue, [part for entry in packs.refused for part in entry.parts]))
    refused = [entry for entry in packs.refused if not entry.parts] + singles.refused
    last_letters = [
        dead_letter
        for entry in too_long + refused
        for dead_letter in _dead_letter_entries(entry.indexes[0], tasks[entry.indexes[0]], entry.outcomes)
    ]
    (last_results,) = _hand_over(queues, (dead_letter_queue, last_letters))
    waiting = packs.accepted + singles.accepted
    # A message that may be sent again is never stranded.
    unsettled = _indexes(packs.retryable + singles.retryable + last_results.retryable + last_results.refused)
    stranded = _indexes(dead_letter_results.retryable + dead_letter_results.refused)
    in_dead_letters = (_indexes(dead_letter_results.accepted) - stranded) | (
        _indexes(last_results.accepted) - unsettled
    )
    if stranded:
        logger.error("%d messages were given up, and no dead-letter queue accepted them", len(stranded))
    return BatchReport(
        outcomes=counts_of(outcome for outcomes in results for outcome in outcomes),
        retried=len(_indexes(waiting) - unsettled - _indexes(refused)),
        given_up=len(in_dead_letters),
        unsettled=len(unsettled),
        stranded=len(stranded),
        left=tuple(sorted(unsettled | stranded)),
        recoverable=len(_indexes(dead_letter_results.retryable)) if dead_letter_queue else 0,
        duplicates_if_redelivered=sent_targets + _count(waiting),
    )


class _Results(NamedTuple):
    """The entries for a queue, by result: it accepted them, may accept them later, or refuses them."""

    accepted: list[QueueEntry]
    retryable: list[QueueEntry]
    refused: list[QueueEntry]


def _dead_letter_entries(index: int, task: PushTask, outcomes: Iterable[Outcome]) -> list[QueueEntry]:
    return [QueueEntry(indexes=(index,), body=text) for text in dead_letters_of(task, outcomes)]


def _indexes(entries: Iterable[QueueEntry]) -> set[int]:
    return {index for entry in entries for index in entry.indexes}


def _count(entries: Iterable[QueueEntry]) -> int:
    """Count the targets in entries of the retry queue."""
    parts = (part for entry in entries for part in entry.parts or (entry,))
    return sum(len(outcome.targets) for part in parts for outcome in part.outcomes)


def _hand_over(queues: Queues, *parts: tuple[str | None, Iterable[QueueEntry]]) -> Iterator[_Results]:
    """Hand entries over and yield the results of each queue; without a queue, they may be accepted later."""
    entries_of_queues = [(queue, list(entries)) for queue, entries in parts]
    messages = [
        QueueMessage(queue, entry.body, round(entry.delay))
        for queue, entries in entries_of_queues
        if queue
        for entry in entries
    ]
    results = iter(queues.hand_over(messages) if messages else ())
    for queue, entries in entries_of_queues:
        by_result: dict[HandOverResult, list[QueueEntry]] = {result: [] for result in HandOverResult}
        for entry in entries:
            by_result[next(results) if queue else HandOverResult.FAILED].append(entry)
        yield _Results(
            accepted=by_result[HandOverResult.ACCEPTED],
            retryable=by_result[HandOverResult.FAILED],
            refused=by_result[HandOverResult.REFUSED],
        )
