"""The messages of one event: each ends in exactly one way, independently of the others.

Function Compute accepts no partial result for an event: raising redelivers all of it, returning acknowledges
all of it. So each message that was not accepted leaves the event on its own: to the retry queue if it may be
sent again, to the dead-letter queue if not. Only a message that no queue accepts causes a
redelivery of the event.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import BatchIncomplete
from mpaas_push.message import PushMessage
from mpaas_push.message.reading import warnings_of
from mpaas_push.outcome import (
    ACCEPTED,
    LEDGER_MISCONFIGURED,
    MISCONFIGURED,
    THROTTLED,
    UNKNOWN,
    counts_of,
)
from mpaas_push.queues.message import BODY_BYTES, LONGEST_DELAY_SECONDS, QueueMessage
from mpaas_push.queues.mns import HandOver, MnsQueues
from mpaas_push.settings import Late, OnUnknown
from mpaas_push.task import compact_json, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mpaas_push.client import PushClient
    from mpaas_push.invocation import Invocation
    from mpaas_push.outcome import Outcome, OutcomeKind
    from mpaas_push.queues.mns import Queues
    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask

__all__ = ["BatchReport", "send_batch", "settle_event"]

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 5
LONGEST_BACKOFF_SECONDS = 900
"""The delay before another attempt doubles from the first to the longest, give or take a quarter."""
VALIDITY_SHARE = 0.75
"""Share of the validity left that a message waits at most: it comes back while it may still be sent."""
DELAY_SPREAD = 1.25
"""Messages wait together whose delays differ by no more than this factor."""
MESSAGES_AN_ENTRY = 20
"""Messages that wait together. More would save no request: MNS takes 64 KB in each, however packed."""
PACK_BYTES = 100
"""Room for what is around the messages of an entry."""
RESERVED_SHARE = 0.2
"""Share of the time left that is kept free for handing over, at most `RESERVED_SECONDS`."""
RESERVED_SECONDS = 10.0
RESERVED_SECONDS_A_MESSAGE = 0.002
"""Large batches need longer, if all of them are to be handed over: up to twice that share."""
BODY_CHARACTERS, TEXT_CHARACTERS = 2000, 500
"""What is left of an original and of other texts that are too long for a letter; it fits however escaped."""


@dataclass(frozen=True, kw_only=True)
class BatchReport:
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
        answer = asdict(self)
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
        tasks = [replace(task, first_moment=min(task.first_moment, invocation.asked_by)) for task in tasks]
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
    results = client.send_tasks(tasks, invocation.ending_earlier(reserved))
    _warn_of_misconfiguration(results)
    retries: list[_Entry] = []
    too_long: list[_Entry] = []
    letters: list[_Entry] = []
    sent_targets = 0
    for index, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        again, given_up = _separate(task, outcomes, settings)
        delay = _delay(task, again, settings) if again else 0
        for text, part in _envelopes(task, again):
            (too_long if text is None else retries).append(_Entry((index,), text or "", delay, outcomes=part))
        letters += [_Entry((index,), text) for text in _dead_letters(task, given_up)]
        sent_targets += sum(len(outcome.targets) for outcome in outcomes if outcome.accepted)
        sent_targets += sum(len(outcome.targets) for outcome in given_up if outcome.kind is UNKNOWN)
    retry_queue, dead_letter_queue = settings.retry_queue, settings.dead_letter_queue
    packs, posted = _hand_over(queues, (retry_queue, _pack(retries)), (dead_letter_queue, letters))
    # A queue may take less than MNS does: where many messages do not fit, one may.
    (singles,) = _hand_over(queues, (retry_queue, [part for pack in packs.refused for part in pack.parts]))
    refused = [pack for pack in packs.refused if not pack.parts] + singles.refused
    more = [
        _Entry(entry.indexes, text)
        for entry in too_long + refused
        for text in _dead_letters(tasks[entry.indexes[0]], entry.outcomes)
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


@dataclass(frozen=True)
class _Entry:
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
    parts: Sequence[_Entry] = ()


@dataclass(frozen=True)
class _Remainder:
    """What a queue did not take: entries that it may take another time, and those that it refuses."""

    left: list[_Entry]
    refused: list[_Entry]


def _indexes(entries: Iterable[_Entry]) -> set[int]:
    return {index for entry in entries for index in entry.indexes}


def _count(entries: Iterable[_Entry]) -> int:
    """Count the targets in entries of the retry queue."""
    parts = (part for entry in entries for part in entry.parts or (entry,))
    return sum(len(outcome.targets) for part in parts for outcome in part.outcomes)


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


def _separate(
    task: PushTask, outcomes: Iterable[Outcome], settings: Settings
) -> tuple[list[Outcome], list[Outcome]]:
    """Return the outcomes whose targets may be tried again, and those whose targets are given up."""
    again: list[Outcome] = []
    given_up: list[Outcome] = []
    for outcome in outcomes:
        if outcome.accepted:
            continue
        may = outcome.kind in {THROTTLED, MISCONFIGURED} or (
            outcome.kind is UNKNOWN and settings.on_unknown is OnUnknown.RETRY
        )
        if may and task.attempt <= settings.retry_limit:
            again.append(outcome)
        else:
            given_up.append(outcome)
    return again, given_up


def _targets(outcomes: Iterable[Outcome]) -> dict[str, str | None]:
    return {target: message_id for outcome in outcomes for target, message_id in outcome.targets.items()}


# --- The retry queue


def _envelopes(task: PushTask, outcomes: Sequence[Outcome]) -> Iterator[tuple[str | None, Sequence[Outcome]]]:
    """Yield what waits for the targets that got nothing, each under the id that it had.

    Yields:
        The text of an envelope, or None where no entry of the queue can hold it, and the outcomes in it.
    """
    if not outcomes:
        return
    # What may have arrived has an envelope of its own: whether it did is still unknown in its dead letter.
    doubtful = [outcome for outcome in outcomes if outcome.kind is UNKNOWN]
    if doubtful and not task.may_have_arrived:
        yield from _envelopes(task, [outcome for outcome in outcomes if outcome.kind is not UNKNOWN])
        yield from _envelopes(replace(task, may_have_arrived=True), doubtful)
        return
    text = compact_json(task.envelope(_targets(outcomes), task.attempt + 1))
    if _fits(text):
        yield text, outcomes
    elif len(outcomes) == 1:
        yield None, outcomes
    else:
        # Halves of whole requests: their targets will be cut into the same requests again.
        half = len(outcomes) // 2
        yield from _envelopes(task, outcomes[:half])
        yield from _envelopes(task, outcomes[half:])


def _delay(task: PushTask, outcomes: Iterable[Outcome], settings: Settings) -> float:
    """Return the seconds until the next attempt: more each time, and as many as the server asked for.

    Never more than the queue and, unless late messages are sent too, the validity allow; if a server asked
    for more, that is logged.
    """
    backoff: float = min(FIRST_DELAY_SECONDS * 2 ** (task.attempt - 1), LONGEST_BACKOFF_SECONDS)
    backoff *= random.uniform(0.75, 1.25)  # spreads load, guards nothing
    asked = max(outcome.retry_after or 0.0 for outcome in outcomes)
    left = math.inf if settings.late is Late.SEND else task.expires_at - time.time()
    longest = min(max(left * VALIDITY_SHARE, 0.0), LONGEST_DELAY_SECONDS)
    if asked > longest:
        logger.warning(
            "asked to wait %.0f s, longer than validity or queue allow: back in %.0f s", asked, longest
        )
    # A message that is about to expire must not use up its attempts at once.
    return min(max(backoff, asked), max(longest, FIRST_DELAY_SECONDS))


def _pack(entries: Iterable[_Entry]) -> Iterator[_Entry]:
    """Pack entries that wait about equally long into one."""
    pack: list[_Entry] = []
    size = 0
    for entry in sorted(entries, key=lambda entry: entry.delay):
        length = len(entry.body.encode()) + 1
        if pack and (
            len(pack) == MESSAGES_AN_ENTRY
            or size + length > BODY_BYTES - PACK_BYTES
            or entry.delay > pack[0].delay * DELAY_SPREAD
        ):
            yield _merge(pack)
            pack, size = [], 0
        pack.append(entry)
        size += length
    if pack:
        yield _merge(pack)


def _merge(entries: Sequence[_Entry]) -> _Entry:
    if len(entries) == 1:
        return entries[0]
    indexes = tuple(index for entry in entries for index in entry.indexes)
    body = packed([entry.body for entry in entries])
    return _Entry(indexes, body, entries[-1].delay, parts=tuple(entries))


# --- The dead-letter queue


def _dead_letters(task: PushTask, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the letters of a message that was given up, at least one for each fate.

    What was refused can be corrected and sent again; what is unknown may have arrived. So they never share a
    dead letter. Beside the original is the message for the targets that are given up, so that it can be sent
    again to them alone, under the ids of the caller or new ones.
    """
    fates: dict[tuple[OutcomeKind, str | None], list[Outcome]] = {}
    for outcome in (_fate(task, outcome) for outcome in outcomes):
        fates.setdefault((outcome.kind, outcome.result_code), []).append(outcome)
    if not fates:
        return
    whole: dict[str, Any] = {"body": task.original}
    original = task.original.encode(errors="replace")
    cut = {
        "body": task.original[:BODY_CHARACTERS],
        "cut": {"bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()},
    }
    bodies = [whole, cut] if len(original) <= BODY_BYTES else [cut]
    for fate in fates.values():
        yield from _letters(task, fate, bodies)


def _fate(task: PushTask, outcome: Outcome) -> Outcome:
    """Return an outcome as a letter reports it: `unknown` if an earlier attempt may have arrived."""
    if outcome.kind is UNKNOWN or not (outcome.unconfirmed or task.may_have_arrived):
        return outcome
    last = outcome.result_message or outcome.result_code
    why = f"an earlier attempt may have arrived; the last one: {last}"
    return replace(outcome, kind=UNKNOWN, result_message=why, retry_after=None, faults=())


def _letters(
    task: PushTask, outcomes: Sequence[Outcome], bodies: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the letters of one fate.

    What is too long has short outcomes, then the beginning of its original; then it becomes several letters,
    each for some of the targets. A message that is too long even for one target is replaced by its target.
    """
    first, targets = outcomes[0], _targets(outcomes)
    if len(targets) > 1 and sum(map(len, targets)) > BODY_BYTES:  # not worth a try
        for half in _halves(outcomes):
            yield from _letters(task, half, bodies[-1:])
        return
    letter: dict[str, Any] = {
        "reason": first.kind.value,
        "detail": (first.result_message or first.result_code or "")[:TEXT_CHARACTERS],
        "scope": task.scope[:TEXT_CHARACTERS],
        "attempt": task.attempt,
        "firstMoment": round(task.first_moment, 3),
    }
    to_send: dict[str, Any] = {"targets": list(targets)}
    if isinstance(task.message, PushMessage):
        ids = task.names_ids and not task.derived
        to_send = {"message": task.message_for(targets, with_ids=ids)}
    full = [outcome.as_json() for outcome in outcomes]
    short = [_short(outcome) for outcome in outcomes]
    forms = [{**letter, **bodies[0], **to_send, "outcomes": full}]
    forms += [{**letter, **body, **to_send, "outcomes": short} for body in bodies]
    if len(targets) <= 1:
        cut_targets = [target[:TEXT_CHARACTERS] for target in targets]
        forms.append({**letter, **bodies[-1], "targets": cut_targets, "outcomes": short})
    for form in forms:
        text = compact_json(form)
        if _fits(text):
            if "cut" in form:
                logger.error("a dead letter holds the beginning of a message only", extra=form["cut"])
            yield text
            return
    for half in _halves(outcomes):
        yield from _letters(task, half, bodies[-1:])


def _short(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome in short form, for a letter that would be too long; its targets are beside it."""
    return {
        "outcome": outcome.kind.value,
        "requestId": outcome.request_id,
        "resultCode": outcome.result_code,
        "attempts": outcome.attempts,
    }


def _halves(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    """Yield two halves of the outcomes, or of the targets of the only one."""
    if len(outcomes) > 1:
        half = len(outcomes) // 2
        yield outcomes[:half]
        yield outcomes[half:]
        return
    (outcome,) = outcomes
    targets = list(outcome.targets.items())
    half = len(targets) // 2
    yield [replace(outcome, targets=dict(targets[:half]))]
    yield [replace(outcome, targets=dict(targets[half:]))]


# --- Handing over


def _hand_over(queues: Queues, *parts: tuple[str | None, Iterable[_Entry]]) -> Iterator[_Remainder]:
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


def _fits(text: str) -> bool:
    return len(text.encode()) <= BODY_BYTES
