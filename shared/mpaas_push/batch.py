"""Settles the messages of one event: each ends in exactly one way, independently of the others.

Function Compute accepts no partial result for an event: raising redelivers all of it, returning acknowledges
all of it. So each message that was not accepted is taken out of the event individually: to the retry queue
if it may be sent again, to the dead-letter queue if not. The event is redelivered only for a message that no
queue accepts.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from mpaas_push.batch_report import BatchReport
from mpaas_push.errors import BatchIncomplete, InvalidMessage
from mpaas_push.message.reading import warnings_of
from mpaas_push.outcome import (
    LEDGER_MISCONFIGURED,
    MISCONFIGURED,
    counts_of,
)
from mpaas_push.retries import not_begun
from mpaas_push.targets import given_ids, slices

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
"""Share of the remaining time that is reserved for handing over, at most `RESERVED_SECONDS`."""
RESERVED_SECONDS = 10.0
RESERVED_SECONDS_PER_MESSAGE = 0.002
"""Large batches reserve more, since all messages may have to be handed over: up to twice that share."""
GRACE_SHARE = 0.25
"""Share of the reserved time in which requests in flight may still finish: otherwise they would be unknown
only because their responses were not awaited."""
SHORT_CHARACTERS = 10_000
"""A shorter event always fits into one queue entry, together with everything that is added to it."""
TARGETS_PER_PART = 100_000
"""Targets that are sent before the next part of a batch is planned; the longest batch, 32 MB, may have three
million."""


def settle_event(tasks: Sequence[PushTask], client: PushClient, invocation: Invocation) -> BatchReport:
    """Send the messages of an event and hand over those that were not accepted.

    Args:
        tasks: The messages.
        client: Sends them; its settings name the queues.
        invocation: Keys and deadline.

    Raises:
        BatchIncomplete: some messages were accepted neither by mPaaS nor by a queue: the event must be
            redelivered. Each target then gets the same message id.
    """
    if invocation.first_moment_limit < math.inf:
        tasks = [
            task._replace(first_moment=min(task.first_moment, invocation.first_moment_limit))
            for task in tasks
        ]
    # Before sending: afterwards only the time for handing over remains.
    _log_warnings(tasks, client.settings, invocation)
    report = send_batch(tasks, client, invocation)
    has_ledger = client.ledger is not None
    if not report.should_fail_invocation(has_ledger=has_ledger):
        return report
    if report.duplicates_if_redelivered and not has_ledger:
        text = (
            "%d targets may get a push twice because their event is redelivered: they were accepted, may "
            "have been, or wait for a retry"
        )
        logger.error(text, report.duplicates_if_redelivered)
    raise BatchIncomplete(report.outcomes, report.left)


def _log_warnings(tasks: Sequence[PushTask], settings: Settings, invocation: Invocation) -> None:
    """Log the warnings about messages on their first attempt, each with the index of its task."""
    messages = (task.message if task.attempt == 1 else None for task in tasks)
    if warnings := warnings_of(messages, settings):
        fields = {"warnings": warnings, "request_id": invocation.request_id}
        logger.warning("warnings about the messages of this event: %d", len(warnings), extra=fields)


def send_batch(
    tasks: Sequence[PushTask], client: PushClient, invocation: Invocation, *, queues: Queues | None = None
) -> BatchReport:
    """Send messages concurrently and hand over those that were not accepted.

    Args:
        tasks: The messages.
        client: Sends them.
        invocation: Keys and deadline; the last part of its time is reserved for handing over.
        queues: Receive the messages that were not accepted; MNS by default. The client's settings name them.
    """
    settings = client.settings
    reserved = _reserved_seconds(invocation.time_left, len(tasks))
    begin_by = min(invocation.begin_by, invocation.deadline - reserved)
    sending = replace(invocation.ending_earlier(reserved * (1 - GRACE_SHARE)), begin_by=begin_by)
    results = _send_in_parts(tasks, client, sending)
    _log_misconfiguration(results)
    all_outcomes = [outcome for outcomes in results for outcome in outcomes]
    if all(outcome.accepted for outcome in all_outcomes):
        sent = sum(len(outcome.targets) for outcome in all_outcomes)
        return BatchReport(
            outcomes=counts_of(all_outcomes),
            retried=0,
            given_up=0,
            unsettled=0,
            stranded=0,
            left=(),
            duplicates_if_redelivered=sent,
        )
    from mpaas_push.queues.hand_over import hand_over  # most batches hand nothing over

    if queues is not None:
        return hand_over(tasks, results, queues, settings)
    from mpaas_push.queues.mns import MnsQueues

    with MnsQueues(settings, invocation) as mns_queues:
        return hand_over(tasks, results, mns_queues, settings)


def _send_in_parts(
    tasks: Sequence[PushTask], client: PushClient, invocation: Invocation
) -> list[list[Outcome]]:
    """Send messages part by part, so that those for which no time remains are never turned into requests."""
    results: list[list[Outcome]] = []
    for part in _parts(tasks):
        if results and invocation.time_to_begin <= 0:
            unsent = tasks[len(results) :]
            logger.warning("no time was left for %d messages: not sent", len(unsent))
            return results + [_leave_unsent(task, client, invocation) for task in unsent]
        results += client.send_tasks(part, invocation)
    return results


def _parts(tasks: Sequence[PushTask]) -> Iterator[list[PushTask]]:
    part: list[PushTask] = []
    targets = 0
    for task in tasks:
        part.append(task)
        targets += 0 if isinstance(task.message, InvalidMessage) else len(task.message.recipients)
        if targets > TARGETS_PER_PART:
            yield part
            part, targets = [], 0
    if part:
        yield part


def _leave_unsent(task: PushTask, client: PushClient, invocation: Invocation) -> list[Outcome]:
    """Return the outcomes of a message for which no time remains."""
    message = task.message
    if isinstance(message, InvalidMessage):
        return client.send_tasks([task], invocation)[0]
    targets: Mapping[str, str | None] = given_ids(message) or dict.fromkeys(message.recipients)
    # Each outcome becomes one queue entry, which is shorter than some messages.
    parts = [targets] if len(task.original) < SHORT_CHARACTERS else slices(targets)
    outcomes = [not_begun(part, unconfirmed=client.ledger is not None) for part in parts]
    if task.may_have_arrived:
        return [outcome.if_earlier_may_have_arrived() for outcome in outcomes]
    return outcomes


def _reserved_seconds(seconds: float, messages: int) -> float:
    """Return how much of the remaining time is reserved for handing messages over."""
    for_some = min(seconds * RESERVED_SHARE, RESERVED_SECONDS)
    for_many = min(seconds * RESERVED_SHARE * 2, messages * RESERVED_SECONDS_PER_MESSAGE)
    return max(for_some, for_many)


def _log_misconfiguration(results: Iterable[Iterable[Outcome]]) -> None:
    """Log one error for all misconfigured requests: they share a cause, and each has its own log line.

    A ledger that cannot work as configured logs its own error.
    """
    codes = Counter(
        outcome.result_code
        for outcomes in results
        for outcome in outcomes
        if outcome.kind is MISCONFIGURED and outcome.result_code != LEDGER_MISCONFIGURED
    )
    if codes:
        logger.error(
            "requests failed because of the configuration (%s): check AccessKey, permissions and app",
            ", ".join(f"{count} with code {code}" for code, count in codes.most_common(5)),
        )
