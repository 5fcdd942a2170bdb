"""The messages of one event: each ends in exactly one way, whatever becomes of its neighbours.

Function Compute knows no partial answer to an event: raising delivers all of it again, returning acknowledges
all of it. So each message that was not accepted leaves the event on its own: to the retry queue if it may be
sent again, to the dead-letter queue if not. Only what no queue takes is left for the function to raise about.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push.json_text import is_encodable
from mpaas_push.message import PushMessage
from mpaas_push.outcome import ACCEPTED, THROTTLED, UNKNOWN, counts_of
from mpaas_push.queues import BODY_BYTES, QueueMessage
from mpaas_push.settings import OnUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpaas_push.client import PushClient
    from mpaas_push.invocation import Invocation
    from mpaas_push.outcome import Outcome
    from mpaas_push.queues import Queues
    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask

__all__ = ["BatchReport", "send_batch"]

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 5
LONGEST_DELAY_SECONDS = 900
"""The delay before another attempt doubles from the first to the longest, give or take a quarter."""
RESERVED_SHARE = 0.2
"""Share of the time left that is kept free for handing over, at most `RESERVED_SECONDS`."""
RESERVED_SECONDS = 10.0
RESERVED_SECONDS_A_MESSAGE = 0.002
"""Large batches need longer, if all of them are to be handed over: up to twice that share."""
CUT_CHARACTERS = 4000
"""What is left of an original that is too long for a dead letter; it fits however it is escaped."""


@dataclass(frozen=True)
class BatchReport:
    """What became of the messages of an event.

    Attributes:
        outcomes: Number of outcomes by name, one for each request.
        retried: Messages handed to the retry queue.
        given_up: Messages handed to the dead-letter queue.
        unsettled: Messages that may be sent again and that no queue took: the event must come again.
        stranded: Messages that were given up and that no dead-letter queue took.
        left: Places of the messages that are unsettled or stranded, from 0.
    """

    outcomes: dict[str, int]
    retried: int
    given_up: int
    unsettled: int
    stranded: int
    left: tuple[int, ...]

    def should_fail_invocation(self, *, remembered: bool) -> bool:
        """Return whether an event that waits for nobody should fail and be repeated.

        It should when a message may be sent again, or when something is stranded and a repetition harms
        nobody: nothing can have been accepted and no retry is waiting, or what was sent is remembered. Then
        the failure is seen, and the event ends where Function Compute puts what failed for good.

        Args:
            remembered: A ledger keeps what was accepted from being sent again.
        """
        sent = self.retried > 0 or self.outcomes.keys() & {ACCEPTED.value, UNKNOWN.value}
        return self.unsettled > 0 or (self.stranded > 0 and (remembered or not sent))


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
    results = client.send_all(
        [task.message for task in tasks],
        scope=[task.scope for task in tasks],
        invocation=invocation.ending_earlier(_reserved(invocation.time_left, len(tasks))),
    )
    retries: list[tuple[int, QueueMessage]] = []
    letters: list[tuple[int, QueueMessage]] = []
    for place, (task, outcomes) in enumerate(zip(tasks, results, strict=True)):
        again: list[Outcome] = []
        hopeless: list[Outcome] = []
        for outcome in outcomes:
            if not outcome.accepted:
                (again if _may_go_again(outcome, settings) else hopeless).append(outcome)
        if again and task.attempt <= settings.retry_limit:
            parcels, too_long = _retries(task, again)
            retries += [(place, parcel) for parcel in parcels]
            hopeless += too_long
        else:
            hopeless += again
        if hopeless:
            letters += [(place, letter) for letter in _dead_letters(task, hopeless)]
    unsettled = _not_taken(queues, settings.retry_queue, retries)
    stranded = _not_taken(queues, settings.dead_letter_queue, letters)
    if stranded:
        # Twice does no harm to a letter. A second time finds out whether only the answer was lost.
        missing = [(place, letter) for place, letter in letters if place in stranded]
        stranded = _not_taken(queues, settings.dead_letter_queue, missing)
    if stranded:
        logger.error("%d messages were given up, and no dead-letter queue took them", len(stranded))
    return BatchReport(
        counts_of(outcome for outcomes in results for outcome in outcomes),
        len({place for place, _ in retries}) - len(unsettled),
        len({place for place, _ in letters}) - len(stranded),
        len(unsettled),
        len(stranded),
        tuple(sorted(unsettled | stranded)),
    )


def _reserved(seconds: float, messages: int) -> float:
    """Return how much of the time left is kept free for handing messages over."""
    for_some = min(seconds * RESERVED_SHARE, RESERVED_SECONDS)
    for_many = min(seconds * RESERVED_SHARE * 2, messages * RESERVED_SECONDS_A_MESSAGE)
    return max(for_some, for_many)


def _may_go_again(outcome: Outcome, settings: Settings) -> bool:
    if outcome.kind is UNKNOWN:
        return settings.on_unknown is OnUnknown.RETRY
    return outcome.kind is THROTTLED


def _targets(outcomes: Iterable[Outcome]) -> dict[str, str | None]:
    return {target: message_id for outcome in outcomes for target, message_id in outcome.targets.items()}


def _retries(task: PushTask, outcomes: Sequence[Outcome]) -> tuple[list[QueueMessage], list[Outcome]]:
    """Pack what is left of a message: the targets that got nothing, each under the id that it had.

    Returns:
        As many parcels as it takes, and the outcomes whose message is too long for any.
    """
    text = _dumped(task.envelope(_targets(outcomes), task.attempt + 1))
    if _is_too_long(text):
        if len(outcomes) == 1:
            return [], list(outcomes)
        # Halves of whole requests: their targets will be cut into the same requests again.
        half = len(outcomes) // 2
        first, second = _retries(task, outcomes[:half]), _retries(task, outcomes[half:])
        return first[0] + second[0], first[1] + second[1]
    delay = min(FIRST_DELAY_SECONDS * 2 ** (task.attempt - 1), LONGEST_DELAY_SECONDS)
    delay *= random.uniform(0.75, 1.25)  # spreads load, guards nothing
    asked = max(outcome.retry_after or 0 for outcome in outcomes)
    return [QueueMessage(text, round(max(delay, asked)))], []


def _dead_letters(task: PushTask, outcomes: Sequence[Outcome]) -> list[QueueMessage]:
    """Pack a message that was given up, with the reason.

    Beside the original stands the message for the targets that are given up, so that it can be sent again to
    them alone, under the ids of the caller or new ones. What is too long loses its outcomes first, then the
    end of its original; then it becomes several letters, each for some of the targets.
    """
    letter: dict[str, Any] = {
        "reason": outcomes[0].kind.value,
        "detail": (outcomes[0].result_message or outcomes[0].result_code or "")[:1000],
        "scope": task.scope[:1000],
        "attempt": task.attempt,
        "body": task.original,
    }
    if isinstance(task.message, PushMessage):
        letter["message"] = task.message_for(_targets(outcomes), with_ids=task.names_ids and not task.derived)
    text = _dumped({**letter, "outcomes": [outcome.as_json() for outcome in outcomes]})
    if _is_too_long(text):
        text = _dumped(letter)
    if _is_too_long(text):
        original = task.original.encode(errors="replace")
        letter["body"] = task.original[:CUT_CHARACTERS]
        letter["cut"] = {"bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()}
        text = _dumped(letter)
    if _is_too_long(text) and len(outcomes) > 1:
        half = len(outcomes) // 2
        return _dead_letters(task, outcomes[:half]) + _dead_letters(task, outcomes[half:])
    if _is_too_long(text):
        letter.pop("message", None)
        letter["targets"] = [target for outcome in outcomes for target in outcome.targets]
        text = _dumped(letter)
    if _is_too_long(text):
        del letter["targets"]
        text = _dumped(letter)
    if "cut" in letter:
        logger.error("a dead letter holds the beginning of a message only", extra=letter["cut"])
    return [QueueMessage(text)]


def _not_taken(queues: Queues, queue: str | None, parcels: Sequence[tuple[int, QueueMessage]]) -> set[int]:
    """Hand parcels over and return the places of the messages of which one was not taken."""
    if not parcels or queue is None:
        return {place for place, _ in parcels}
    taken = queues.hand_over(queue, [parcel for _, parcel in parcels])
    return {place for (place, _), is_taken in zip(parcels, taken, strict=True) if not is_taken}


def _is_too_long(text: str) -> bool:
    return len(text.encode()) > BODY_BYTES


def _dumped(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half of a surrogate pair has no bytes; escaped, it has.
    return text if is_encodable(text) else json.dumps(value, separators=(",", ":"))
