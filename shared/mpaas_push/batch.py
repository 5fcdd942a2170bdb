"""A batch of queue messages: each one ends in exactly one way, whatever becomes of its neighbours.

Function Compute knows no partial answer to a batch: raising delivers all of it again, returning acknowledges
all of it. So each message that was not accepted leaves the batch on its own: to the retry queue if it may be
sent again, to the dead-letter queue if not. Only what no queue takes is left for the function to raise about.
"""

from __future__ import annotations

import json
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, InvalidMessage, UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.messages import message_of
from mpaas_push.outcome import THROTTLED, UNKNOWN, counts_of
from mpaas_push.queues import BODY_BYTES, Parcel
from mpaas_push.settings import OnUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpaas_push.client import PushClient
    from mpaas_push.invocation import Invocation
    from mpaas_push.message import PushMessage
    from mpaas_push.outcome import Outcome
    from mpaas_push.queues import Queues
    from mpaas_push.settings import Settings
    from mpaas_push.triggers.item import Item

__all__ = ["BatchReport", "send_batch"]

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 5
LONGEST_DELAY_SECONDS = 900
"""The delay before another attempt doubles from the first to the longest, give or take a quarter."""
RESERVED_SHARE = 0.2
"""Share of the time left that is kept free for handing over, at most `RESERVED_SECONDS`."""
RESERVED_SECONDS = 10.0
RETRY_KEY = "pushRetry"
"""Marks a message that comes from the retry queue."""


@dataclass(frozen=True)
class BatchReport:
    """What became of a batch.

    Attributes:
        outcomes: Number of outcomes by name, one for each request.
        retried: Messages handed to the retry queue.
        given_up: Messages handed to the dead-letter queue.
        unsettled: Messages that were neither accepted nor taken by a queue: the batch must come again.
    """

    outcomes: dict[str, int]
    retried: int
    given_up: int
    unsettled: int


@dataclass(frozen=True)
class _Task:
    """One message of the batch, and how often it has been tried before."""

    scope: str
    original: str
    message: PushMessage | InvalidMessage
    payload: Any = None
    attempt: int = 1


def send_batch(
    readings: Sequence[Item | UnreadablePayload], client: PushClient, queues: Queues, invocation: Invocation
) -> BatchReport:
    """Send the messages of a batch side by side and hand over those that were not accepted.

    Args:
        readings: The messages as a reader of the trigger's payload gave them.
        client: Sends them.
        queues: Take what was not accepted; which ones is in the client's settings.
        invocation: Keys and deadline; the last part of its time is kept for handing over.
    """
    settings = client.settings
    tasks = [_task_of(reading, settings) for reading in readings]
    results = client.send_all(
        [task.message for task in tasks],
        scope=[task.scope for task in tasks],
        invocation=invocation.ending_earlier(min(invocation.time_left * RESERVED_SHARE, RESERVED_SECONDS)),
    )
    retries: list[tuple[int, Parcel]] = []
    letters: list[tuple[int, Parcel]] = []
    for place, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        again = [outcome for outcome in outcomes if _may_go_again(outcome, settings)]
        hopeless = [outcome for outcome in outcomes if not outcome.accepted and outcome not in again]
        if again and task.attempt <= settings.retry_limit:
            retries.append((place, _retry(task, again)))
        else:
            hopeless = [outcome for outcome in outcomes if not outcome.accepted]
        if hopeless:
            letters.append((place, _dead_letter(task, hopeless)))
    lost = _handed_over(queues, settings.retry_queue, retries)
    lost |= _handed_over(queues, settings.dead_letter_queue, letters)
    return BatchReport(
        counts_of(outcome for outcomes in results for outcome in outcomes),
        len({place for place, _ in retries} - lost),
        len({place for place, _ in letters} - lost),
        len(lost),
    )


def _task_of(reading: Item | UnreadablePayload, settings: Settings) -> _Task:
    if isinstance(reading, UnreadablePayload):
        unreadable = InvalidMessage([Fault("", str(reading))])
        return _Task(getattr(reading, "scope", ""), getattr(reading, "original", ""), unreadable)
    body = reading.body
    if isinstance(body, str):
        try:
            body = read_json(body)
        except UnreadableJson as error:
            return _Task(reading.scope, reading.original, InvalidMessage([Fault("", str(error))]))
    scope, attempt = reading.scope, 1
    retry = body.get(RETRY_KEY) if isinstance(body, dict) else None
    if isinstance(retry, dict):
        attempt = retry["attempt"] if type(retry.get("attempt")) is int else 1
        scope = retry["scope"] if isinstance(retry.get("scope"), str) else scope
        body = body.get("message")
    return _Task(scope, reading.original, message_of(body, settings), body, attempt)


def _may_go_again(outcome: Outcome, settings: Settings) -> bool:
    if outcome.kind is UNKNOWN:
        return settings.on_unknown is OnUnknown.RETRY
    return outcome.kind is THROTTLED


def _retry(task: _Task, outcomes: Iterable[Outcome]) -> Parcel:
    """Pack what is left of a message: the targets that got nothing, each with the id that it had."""
    outcomes = tuple(outcomes)
    left = {target: message_id for outcome in outcomes for target, message_id in outcome.targets.items()}
    payload = {name: value for name, value in task.payload.items() if name not in {"targets", "targetMsgkey"}}
    body = {
        RETRY_KEY: {"attempt": task.attempt + 1, "scope": task.scope},
        "message": {**payload, "targetMsgkey": left},
    }
    delay = min(FIRST_DELAY_SECONDS * 2 ** (task.attempt - 1), LONGEST_DELAY_SECONDS)
    delay *= random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
    asked = max(outcome.retry_after or 0 for outcome in outcomes)
    return Parcel(_dumped(body), round(max(delay, asked)))


def _dead_letter(task: _Task, outcomes: Iterable[Outcome]) -> Parcel:
    """Pack a message that was given up, with the reason; its outcomes are left out where they do not fit."""
    outcomes = tuple(outcomes)
    letter: dict[str, Any] = {
        "reason": outcomes[0].kind.value,
        "detail": (outcomes[0].result_message or outcomes[0].result_code or "")[:1000],
        "scope": task.scope,
        "attempt": task.attempt,
        "body": task.original,
        "outcomes": [outcome.as_json() for outcome in outcomes],
    }
    text = _dumped(letter)
    if len(text) > BODY_BYTES:
        del letter["outcomes"]
        text = _dumped(letter)
    return Parcel(text)


def _handed_over(queues: Queues, queue: str | None, parcels: Sequence[tuple[int, Parcel]]) -> set[int]:
    """Hand parcels over and return the places of those that were not taken."""
    if not parcels:
        return set()
    if queue is None:
        return {place for place, _ in parcels}
    taken = queues.hand_over(queue, [parcel for _, parcel in parcels])
    return {place for (place, _), good in zip(parcels, taken, strict=True) if not good}


def _dumped(value: Any) -> str:
    # ASCII: MNS speaks XML, which has no control characters, and half a surrogate pair has no bytes.
    return json.dumps(value, separators=(",", ":"))
