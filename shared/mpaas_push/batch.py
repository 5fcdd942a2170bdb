"""The messages of one event: each ends in exactly one way, independently of the others.

Function Compute accepts no partial result for an event: raising redelivers all of it, returning acknowledges
all of it. So each message that was not accepted leaves the event on its own: to the retry queue if it may be
sent again, to the dead-letter queue if not. Only a message that no queue accepts causes a
redelivery of the event.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.errors import BatchIncomplete, InvalidMessage
from mpaas_push.message.reading import warnings_of
from mpaas_push.outcome import (
    ACCEPTED,
    LEDGER_MISCONFIGURED,
    MISCONFIGURED,
    UNKNOWN,
    counts_of,
)
from mpaas_push.queues.dead_letters import dead_letters
from mpaas_push.queues.message import QueueMessage
from mpaas_push.queues.mns import HandOver, MnsQueues
from mpaas_push.queues.retry_entries import Entry, envelopes, pack
from mpaas_push.retries import delay_seconds, may_wait, not_begun
from mpaas_push.targets import slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mpaas_push.client import PushClient
    from mpaas_push.invocation import Invocation
    from mpaas_push.outcome import Outcome
    from mpaas_push.queues.mns import Queues
    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask

__all__ = ["BatchReport", "send_batch", "settle_event"]

logger = logging.getLogger(__name__)

RESERVED_SHARE = 0.2
"""Share of the time left that is kept free for handing over, at most `RESERVED_SECONDS`."""
RESERVED_SECONDS = 10.0
RESERVED_SECONDS_A_MESSAGE = 0.002
"""Large batches need longer, if all of them are to be handed over: up to twice that share."""
SHORT_CHARACTERS = 10_000
"""An event that is no longer fits into an entry of a queue as a whole, whatever is added to it."""
TARGETS_A_PART = 100_000
"""How many are sent before the rest of a batch is looked at; 32 MB, the longest, may hold three million."""


class BatchReport(NamedTuple):
    """The results of the messages of an event.

    Attributes:
        outcomes: Number of outcomes by name, one for each request.
        retried: Messages handed to the retry queue.
        given_up: Messages handed to the dead-letter queue.
        unsettled: Messages that may be sent again and that no queue accepted: the event must be redelivered.
        stranded: Messages that were given up and that no dead-letter queue accepted.
        left: Indexes of the messages that are unsettled or stranded.
        recoverable: Stranded messages that the dead-letter queue may accept later.
        settled_targets: Targets that were accepted, may have been, or wait in the retry queue: they get a
            push twice if the event is redelivered and nothing remembers what was sent. Neither this nor
            `recoverable` is part of `as_json`.
    """

    outcomes: dict[str, int]
    retried: int
    given_up: int
    unsettled: int
    stranded: int
    left: tuple[int, ...]
    recoverable: int = 0
    settled_targets: int = 0

    def as_json(self, **more: Any) -> str:
        """Return the report as the result of a function."""
        answer = self._asdict()
        del answer["recoverable"], answer["settled_targets"]
        return json.dumps({**more, **answer})

    def should_fail_invocation(self, *, remembered: bool) -> bool:
        """Return whether the event must be redelivered.

        It must if a message may be sent again, or if the dead-letter queue may accept later what was given
        up. A message that no dead-letter queue will ever accept fails the event only if no push is sent twice
        by that: nothing can have been accepted and no retry is waiting, or what was sent is remembered. The
        event then ends where its source or Function Compute puts failed events.

        Args:
            remembered: A ledger keeps what was accepted from being sent again.
        """
        sent = self.retried > 0 or self.outcomes.keys() & {ACCEPTED.value, UNKNOWN.value}
        return self.unsettled > 0 or self.recoverable > 0 or (self.stranded > 0 and (remembered or not sent))


def settle_event(tasks: Sequence[PushTask], client: PushClient, invocation: Invocation) -> BatchReport:
    """Send the messages of an event and hand over those that were not accepted.

    Args:
        tasks: The messages.
        client: Sends them; its settings name the queues.
        invocation: Keys and deadline.

    Raises:
        BatchIncomplete: some messages were not accepted, and no queue took them: the event must be
            redelivered. Each target then gets the same message id.
    """
    if invocation.asked_by < math.inf:
        tasks = [task._replace(first_moment=min(task.first_moment, invocation.asked_by)) for task in tasks]
    # Before, not after: the time for handing over is all that is left then.
    _log_warnings(tasks, client.settings, invocation)
    with MnsQueues(client.settings, invocation) as queues:
        report = send_batch(tasks, client, queues, invocation)
    remembered = client.ledger is not None
    if not report.should_fail_invocation(remembered=remembered):
        return report
    if report.settled_targets and not remembered:
        text = (
            "%d targets get a push twice, as their event comes again: they were accepted, may have been, or "
            "wait for a retry"
        )
        logger.error(text, report.settled_targets)
    raise BatchIncomplete(report.outcomes, report.left)


def _log_warnings(tasks: Sequence[PushTask], settings: Settings, invocation: Invocation) -> None:
    """Log what may be wrong with the messages that come for the first time, by their index among those."""
    warnings = warnings_of((task.message for task in tasks if task.attempt == 1), settings)
    if warnings:
        more = {"warnings": warnings, "request_id": invocation.request_id}
        logger.warning("sent with %d warnings", len(warnings), extra=more)


def send_batch(
    tasks: Sequence[PushTask], client: PushClient, queues: Queues, invocation: Invocation
) -> BatchReport:
    """Send messages side by side and hand over those that were not accepted.

    Args:
        tasks: The messages.
        client: Sends them.
        queues: Take what was not accepted; which ones is in the client's settings.
        invocation: Keys and deadline; the last part of its time is kept for handing over.
    """
    settings = client.settings
    reserved = _reserved(invocation.time_left, len(tasks))
    results = _sent(tasks, client, invocation.ending_earlier(reserved))
    _warn_of_misconfiguration(results)
    retries: list[Entry] = []
    too_long: list[Entry] = []
    letters: list[Entry] = []
    sent_targets = 0
    for index, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        failed = [outcome for outcome in outcomes if not outcome.accepted]
        again = [outcome for outcome in failed if may_wait(outcome, task.attempt, settings)]
        given_up = [outcome for outcome in failed if not may_wait(outcome, task.attempt, settings)]
        delay = delay_seconds(task, again, settings) if again else 0
        for text, part in envelopes(task, again):
            (too_long if text is None else retries).append(Entry((index,), text or "", delay, outcomes=part))
        letters += [Entry((index,), text) for text in dead_letters(task, given_up)]
        sent_targets += sum(len(outcome.targets) for outcome in outcomes if outcome.accepted)
        sent_targets += sum(len(outcome.targets) for outcome in given_up if outcome.kind is UNKNOWN)
    retry_queue, dead_letter_queue = settings.retry_queue, settings.dead_letter_queue
    packs, posted = _hand_over(queues, (retry_queue, pack(retries)), (dead_letter_queue, letters))
    # A queue may take less than MNS does: where many messages do not fit, one may.
    (singles,) = _hand_over(queues, (retry_queue, [part for entry in packs.refused for part in entry.parts]))
    refused = [entry for entry in packs.refused if not entry.parts] + singles.refused
    more = [
        Entry(entry.indexes, text)
        for entry in too_long + refused
        for text in dead_letters(tasks[entry.indexes[0]], entry.outcomes)
    ]
    (unposted,) = _hand_over(queues, (dead_letter_queue, more))
    # A message that may be sent again is never stranded.
    unsettled = _indexes(packs.left + singles.left + unposted.left + unposted.refused)
    undelivered, stranded = _indexes(posted.left), _indexes(posted.left + posted.refused)
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
        settled_targets=sent_targets + _count(retries) - _count(packs.left + singles.left + refused),
    )


class _Remainder(NamedTuple):
    """What a queue did not take: entries that it may take another time, and those that it refuses."""

    left: list[Entry]
    refused: list[Entry]


def _indexes(entries: Iterable[Entry]) -> set[int]:
    return {index for entry in entries for index in entry.indexes}


def _count(entries: Iterable[Entry]) -> int:
    """Count the targets in entries of the retry queue."""
    parts = (part for entry in entries for part in entry.parts or (entry,))
    return sum(len(outcome.targets) for part in parts for outcome in part.outcomes)


def _sent(tasks: Sequence[PushTask], client: PushClient, invocation: Invocation) -> list[list[Outcome]]:
    """Send messages in parts: requests and message ids of those that no time is left for are never made."""
    results: list[list[Outcome]] = []
    for part in _parts(tasks):
        if results and invocation.time_left <= 0:
            rest = tasks[len(results) :]
            logger.warning("no time was left for %d messages: not sent", len(rest))
            return results + [_left(task, client, invocation) for task in rest]
        results += client.send_tasks(part, invocation)
    return results


def _parts(tasks: Sequence[PushTask]) -> Iterator[list[PushTask]]:
    part: list[PushTask] = []
    targets = 0
    for task in tasks:
        part.append(task)
        targets += 0 if isinstance(task.message, InvalidMessage) else len(task.message.recipients)
        if targets > TARGETS_A_PART:
            yield part
            part, targets = [], 0
    yield part


def _left(task: PushTask, client: PushClient, invocation: Invocation) -> list[Outcome]:
    message = task.message
    if isinstance(message, InvalidMessage):
        return client.send_tasks([task], invocation)[0]
    targets: Mapping[str, str | None] = message.target_msgkey or dict.fromkeys(message.recipients)
    # One outcome is kept in one entry of a queue, which is shorter than some messages.
    parts = [targets] if len(task.original) < SHORT_CHARACTERS else slices(targets)
    return [not_begun(part, unconfirmed=client.ledger is not None) for part in parts]


def _reserved(seconds: float, messages: int) -> float:
    """Return how much of the time left is kept free for handing messages over."""
    for_some = min(seconds * RESERVED_SHARE, RESERVED_SECONDS)
    for_many = min(seconds * RESERVED_SHARE * 2, messages * RESERVED_SECONDS_A_MESSAGE)
    return max(for_some, for_many)


def _warn_of_misconfiguration(results: Iterable[Iterable[Outcome]]) -> None:
    """Log one error for all of them: they have one cause, and each request has its own log line.

    A ledger that can never work has logged its own.
    """
    codes = Counter(
        outcome.result_code
        for outcomes in results
        for outcome in outcomes
        if outcome.kind is MISCONFIGURED and outcome.result_code != LEDGER_MISCONFIGURED
    )
    if codes:
        logger.error(
            "%d requests failed because of the configuration (%s): check AccessKey, permissions and app",
            codes.total(),
            ", ".join(f"{count} {code}" for code, count in codes.most_common(5)),
        )


def _hand_over(queues: Queues, *parts: tuple[str | None, Iterable[Entry]]) -> Iterator[_Remainder]:
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
        fates = [(entry, next(results) if queue else HandOver.FAILED) for entry in entries]
        left, refused = (
            [entry for entry, fate in fates if fate is wanted]
            for wanted in (HandOver.FAILED, HandOver.REFUSED)
        )
        yield _Remainder(left, refused)
