"""Requests that nobody waits for: handed to a worker function in chunks, each a task of its own.

A chunk is a message with the ids of its targets, as it comes back from the retry queue: `queue_push` can be
the worker. AcceptedChunk ids are derived from the request, so that a repetition is not taken twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push import InvalidMessage, Outcome, OutcomeKind
from mpaas_push.errors import Fault
from mpaas_push.functions import ASYNC_BYTES, InvocationRefused, InvocationUnknown
from mpaas_push.targets import addressed, slices, without_targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mpaas_push import Invocation, PushMessage, Settings
    from mpaas_push.functions import Functions
    from mpaas_push.triggers.http import HttpEvent

__all__ = ["AcceptedChunk", "Chunk", "Worker", "chunks_of", "hand_over", "is_wanted"]

CHUNK_TARGETS = 1000
"""Most targets of a chunk: a hundred requests, some seconds of a worker's time."""
LEAST_SECONDS = 1.0
"""With less time left nothing is handed over any more: its fate would hardly become known."""


@dataclass(frozen=True)
class Chunk:
    """A push message for some of the targets, short enough for an asynchronous invocation."""

    task_id: str
    targets: Mapping[str, str]
    payload: bytes


@dataclass(frozen=True)
class Worker:
    """The function that takes chunks: its name, how functions are called, and until when."""

    name: str
    functions: Functions
    invocation: Invocation


@dataclass(frozen=True)
class AcceptedChunk:
    """A chunk that the worker has taken.

    Attributes:
        request_id: Of the asynchronous invocation; None when an earlier, equal request handed it over.
    """

    chunk: Chunk
    request_id: str | None


def is_wanted(event: HttpEvent, messages: Sequence[PushMessage | InvalidMessage], settings: Settings) -> bool:
    """Say whether a request is to be handed over: the caller asks for it, or it has too many targets."""
    if settings.worker_function is None:
        return False
    # A preference may have parameters behind a semicolon (RFC 7240).
    named = (each.partition(";")[0] for each in (event.headers.get("prefer") or "").split(","))
    preferences = {each.strip().lower() for each in named}
    valid = [message for message in messages if not isinstance(message, InvalidMessage)]
    targets = sum(len(message.recipients) for message in valid)
    return "respond-async" in preferences or targets > settings.worker_targets


def chunks_of(message: PushMessage, payload: Mapping[str, Any], scope: str, place: int) -> list[Chunk]:
    """Cut a message into chunks.

    Args:
        message: The message, checked.
        payload: The message as JSON.
        scope: What stays the same when the request is repeated.
        place: Of the message in the request.

    Raises:
        InvalidMessage: it is too long to be handed over, even to the targets of a single request.
    """
    from mpaas_push.task import RETRY_KEY  # who hands nothing over does not need it

    common = without_targets(payload)
    origin = {"attempt": 1, "scope": scope, "derived": message.target_msgkey is None}

    def dumped(targets: Mapping[str, str]) -> bytes:
        return _dumped({RETRY_KEY: origin, "message": {**common, "targetMsgkey": targets}})

    chunks: list[Chunk] = []
    for targets in _cut(addressed(message, scope, place), ASYNC_BYTES - len(dumped({}))):
        text = dumped(targets)
        chunks.append(Chunk(_task_id(scope, place, len(chunks), text), targets, text))
    return chunks


def hand_over(chunks: Sequence[Chunk], worker: Worker) -> tuple[list[AcceptedChunk], list[Outcome]]:
    """Hand chunks over; return the tasks that the worker has taken, and what became of the others.

    What the invocation's deadline leaves no time for ends as ``throttled``: it may come again.

    Raises:
        Misconfigured: it is not known where functions are called.
    """
    tasks, failures = [], []
    for chunk in chunks:
        if worker.invocation.time_left < LEAST_SECONDS:
            text = "no time was left to hand it over"
            failures.append(Outcome(OutcomeKind.THROTTLED, chunk.targets, None, "NotSent", text))
            continue
        try:
            invoked = worker.functions.invoke_later(
                worker.name, chunk.payload, task_id=chunk.task_id, deadline=worker.invocation.deadline
            )
            tasks.append(AcceptedChunk(chunk, invoked.request_id))
        except InvocationRefused as error:
            if error.was_taken_before:
                tasks.append(AcceptedChunk(chunk, None))
                continue
            kind = OutcomeKind.THROTTLED if error.may_be_tried_again else OutcomeKind.MISCONFIGURED
            failures.append(
                Outcome(kind, chunk.targets, error.request_id, error.code, str(error), attempts=1)
            )
        except InvocationUnknown as error:
            failures.append(
                Outcome(OutcomeKind.UNKNOWN, chunk.targets, None, "NoAnswer", str(error), attempts=1)
            )
    return tasks, failures


def _cut(targets: Mapping[str, str], room: int) -> Iterator[dict[str, str]]:
    """Cut between whole requests: so the worker makes those that would have been made here."""
    chunk: dict[str, str] = {}
    size = 0
    for part in slices(targets):
        length = len(_dumped(part))
        if length > room:
            fault = Fault("", "too long to be handed to a worker function; send it without respond-async")
            raise InvalidMessage([fault], targets)
        if chunk and (len(chunk) + len(part) > CHUNK_TARGETS or size + length > room):
            yield chunk
            chunk, size = {}, 0
        chunk |= part
        size += length
    yield chunk


def _task_id(scope: str, place: int, number: int, payload: bytes) -> str:
    """Derive an id from the request and from what is handed over: another body is another task."""
    base = f"{len(scope)} {scope} {place} {number} ".encode("utf-8", "surrogatepass")
    return f"push-{hashlib.sha256(base + payload).hexdigest()[:32]}"


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
