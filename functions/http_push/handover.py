"""Requests that nobody waits for: handed to a worker function in portions, each a task of its own.

A portion is one push message with the ids of its targets, as a queue or topic would bring it: `queue_push`
can be the worker. Task ids are derived from the request, so that a repetition is not taken twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push import InvalidMessage, Outcome, OutcomeKind
from mpaas_push.errors import Fault
from mpaas_push.invoke import ASYNC_BYTES, InvocationRefused, InvocationUnknown
from mpaas_push.targets import addressed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mpaas_push import PushMessage, Settings
    from mpaas_push.invoke import Functions
    from mpaas_push.triggers.http import HttpEvent

__all__ = ["Portion", "Task", "hand_over", "is_wanted", "portions_of"]

PORTION_TARGETS = 1000
"""Most targets of a portion: a hundred requests, some seconds of a worker's time."""
TASK_EXISTS = 409


@dataclass(frozen=True)
class Portion:
    """A push message for some of the targets, short enough for an asynchronous invocation."""

    task_id: str
    targets: Mapping[str, str]
    payload: bytes


@dataclass(frozen=True)
class Task:
    """A portion that the worker has taken.

    Attributes:
        request_id: Of the asynchronous invocation; None when an earlier, equal request handed it over.
    """

    portion: Portion
    request_id: str | None


def is_wanted(event: HttpEvent, messages: Sequence[PushMessage | InvalidMessage], settings: Settings) -> bool:
    """Say whether a request is to be handed over: the caller asks for it, or it has too many targets."""
    if settings.worker_function is None:
        return False
    # A preference may have parameters behind a semicolon (RFC 7240).
    named = (each.partition(";")[0] for each in (event.headers.get("prefer") or "").split(","))
    preferences = {each.strip().lower() for each in named}
    valid = [message for message in messages if not isinstance(message, InvalidMessage)]
    targets = sum(len(message.target_msgkey or message.targets or ()) for message in valid)
    return "respond-async" in preferences or targets > settings.worker_targets


def portions_of(message: PushMessage, payload: Mapping[str, Any], scope: str, place: int) -> list[Portion]:
    """Cut a message into portions.

    Args:
        message: The message, checked.
        payload: The message as JSON.
        scope: What stays the same when the request is repeated.
        place: Of the message in the request.

    Raises:
        InvalidMessage: it is too long to be handed over, even to a single target.
    """
    common = {name: value for name, value in payload.items() if name not in {"targets", "targetMsgkey"}}
    room = ASYNC_BYTES - len(_dumped({**common, "targetMsgkey": {}}))
    return [
        Portion(_task_id(scope, place, number), targets, _dumped({**common, "targetMsgkey": targets}))
        for number, targets in enumerate(_cut(addressed(message, scope, place), room))
    ]


def hand_over(
    portions: Sequence[Portion], worker: str, functions: Functions
) -> tuple[list[Task], list[Outcome]]:
    """Hand portions over; return the tasks that the worker has taken, and what became of the others.

    Raises:
        Misconfigured: it is not known where functions are called.
    """
    tasks, failures = [], []
    for portion in portions:
        try:
            invoked = functions.invoke_later(worker, portion.payload, task_id=portion.task_id)
            tasks.append(Task(portion, invoked.request_id))
        except InvocationRefused as error:
            if error.status == TASK_EXISTS:
                tasks.append(Task(portion, None))
                continue
            kind = OutcomeKind.THROTTLED if error.may_be_tried_again else OutcomeKind.MISCONFIGURED
            failures.append(
                Outcome(kind, portion.targets, error.request_id, error.code, str(error), attempts=1)
            )
        except InvocationUnknown as error:
            failures.append(
                Outcome(OutcomeKind.UNKNOWN, portion.targets, None, "NoAnswer", str(error), attempts=1)
            )
    return tasks, failures


def _cut(targets: Mapping[str, str], room: int) -> Iterator[dict[str, str]]:
    portion: dict[str, str] = {}
    size = 0
    for target, message_id in targets.items():
        length = len(_dumped({target: message_id}))
        if length > room:
            fault = Fault("", "too long to be handed to a worker function; send it without respond-async")
            raise InvalidMessage([fault], targets)
        if portion and (len(portion) == PORTION_TARGETS or size + length > room):
            yield portion
            portion, size = {}, 0
        portion[target] = message_id
        size += length
    yield portion


def _task_id(scope: str, place: int, number: int) -> str:
    digest = hashlib.sha256(f"{len(scope)} {scope} {place} {number}".encode("utf-8", "surrogatepass"))
    return f"push-{digest.hexdigest()[:32]}"


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
