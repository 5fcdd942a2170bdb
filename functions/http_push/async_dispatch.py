"""Hands asynchronous requests to a worker function in chunks, each of which is a task.

A chunk contains envelopes, as the retry queue does, so `queue_push` can be the worker. Task ids are derived
from the request, so the worker does not accept a repeated request.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_push import InvalidMessage, Misconfigured, Outcome, OutcomeKind
from mpaas_push.errors import Fault
from mpaas_push.functions import ASYNC_BYTES, FunctionFailed, InvocationRefused, InvocationUnknown
from mpaas_push.targets import message_ids_of, slices
from mpaas_push.task import compact_json, pack_envelopes
from mpaas_push.threads import run_concurrently

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mpaas_push import Invocation
    from mpaas_push.functions import Functions
    from mpaas_push.task import PushTask

__all__ = ["AcceptedChunk", "Chunk", "MessagePart", "Worker", "chunks_of", "hand_over", "parts_of"]

logger = logging.getLogger("mpaas_push.http_push")

CHUNK_TARGETS, CHUNK_MESSAGES = 1000, 500
"""Maximum targets and messages of a chunk: a few seconds of a worker's time."""
MIN_SECONDS = 1.0
"""With less time left, nothing more is handed over: the response would probably be too late."""
MAX_CALLS = 16
"""Maximum number of concurrent calls of the worker."""
_WRAPPER_BYTES = 100
"""Bytes of a chunk around its envelopes."""


@dataclass(frozen=True)
class MessagePart:
    """A message for some of its targets.

    Attributes:
        index: Index of the message in the request.
        targets: The message id of each target.
        envelope: The envelope for the worker, in ASCII or UTF-8.
        digest: Digest of the message and its targets, the same for a repeated request in any JSON formatting.
    """

    index: int
    targets: Mapping[str, str]
    envelope: bytes
    digest: str


@dataclass(frozen=True)
class Chunk:
    """The parts in one asynchronous invocation, at most `ASYNC_BYTES` together.

    Attributes:
        task_id: Derived from the request and the parts.
        parts: At least one.
    """

    task_id: str
    parts: Sequence[MessagePart]

    @property
    def payload(self) -> bytes:
        """The event for the worker."""
        return pack_envelopes([part.envelope.decode() for part in self.parts]).encode()


@dataclass(frozen=True)
class Worker:
    """The function that receives chunks: its name, the client that calls it, and the deadline."""

    name: str
    functions: Functions
    invocation: Invocation


@dataclass(frozen=True)
class AcceptedChunk:
    """A chunk that the worker has accepted.

    Attributes:
        request_id: Id of the asynchronous invocation; None if an earlier identical request handed it over.
    """

    chunk: Chunk
    request_id: str | None


def parts_of(task: PushTask, index: int) -> list[MessagePart]:
    """Split a message into parts that fit into a chunk.

    Each part has the targets of complete PushSimple requests, so the worker sends the same ones as this
    function would.

    Args:
        task: The message.
        index: Index of the message in the request.

    Raises:
        InvalidMessage: it is invalid, or too long to hand over even with the targets of a single request.
    """
    message = task.message
    if isinstance(message, InvalidMessage):
        raise message
    parts = []
    for targets in _split(task, message_ids_of(message, task.scope)):
        content = [message.fingerprint, message.app_id, message.workspace_id, message.tenant_id]
        digest = hashlib.sha256(_encode([task.scope, *content, sorted(targets.items())])).hexdigest()
        parts.append(MessagePart(index, targets, _encode(task.envelope(targets, attempt=1)), digest))
    return parts


def chunks_of(parts: Iterable[MessagePart], scope: str) -> list[Chunk]:
    """Pack parts into as few chunks as possible, in order.

    Args:
        parts: The parts of all messages.
        scope: Stays the same when the request is repeated.
    """
    chunks: list[Chunk] = []
    chunk = _ChunkBuilder()
    for part in parts:
        if not chunk.has_room_for(part):
            chunks.append(_create_chunk(chunk.parts, scope, len(chunks)))
            chunk = _ChunkBuilder()
        chunk.add(part)
    if chunk.parts:
        chunks.append(_create_chunk(chunk.parts, scope, len(chunks)))
    return chunks


def hand_over(chunks: Sequence[Chunk], worker: Worker) -> tuple[list[AcceptedChunk], list[Outcome]]:
    """Hand chunks over concurrently; return those that the worker accepted, and the outcomes of the others.

    Chunks for which the invocation's deadline leaves no time are ``throttled``: they may be sent again. An
    error affects its own chunk only.
    """
    # An exception that no case below handles must not hide the results of the other chunks.
    unforeseen = _Failure(kind=OutcomeKind.UNKNOWN, code="NoAnswer", text="it may have been handed over")
    results: list[AcceptedChunk | _Failure] = [unforeseen] * len(chunks)

    def call(index: int) -> None:
        try:
            results[index] = _hand_over_chunk(chunks[index], worker)
        except Exception:
            logger.exception("a chunk could not be handed over")

    run_concurrently(call, range(len(chunks)), threads=MAX_CALLS)
    accepted, outcomes = [], []
    for chunk, result in zip(chunks, results, strict=True):
        if isinstance(result, AcceptedChunk):
            accepted.append(result)
            continue
        outcomes += [
            Outcome(
                kind=result.kind,
                targets=part.targets,
                request_id=result.request_id,
                result_code=result.code,
                result_message=result.text,
                attempts=result.attempts,
            )
            for part in chunk.parts
        ]
    return accepted, outcomes


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why a chunk was not accepted, or may not have been."""

    kind: OutcomeKind
    code: str
    text: str
    request_id: str | None = None
    attempts: int = 1


@dataclass
class _ChunkBuilder:
    """Collects the parts of a chunk."""

    parts: list[MessagePart] = field(default_factory=list)
    bytes: int = _WRAPPER_BYTES
    targets: int = 0

    def has_room_for(self, part: MessagePart) -> bool:
        return not self.parts or (
            self.bytes + len(part.envelope) + 1 <= ASYNC_BYTES
            and self.targets + len(part.targets) <= CHUNK_TARGETS
            and len(self.parts) < CHUNK_MESSAGES
        )

    def add(self, part: MessagePart) -> None:
        self.parts.append(part)
        self.bytes += len(part.envelope) + 1
        self.targets += len(part.targets)


def _hand_over_chunk(chunk: Chunk, worker: Worker) -> AcceptedChunk | _Failure:
    invocation = worker.invocation
    if invocation.time_left < MIN_SECONDS:
        text = "no time was left to hand it over"
        return _Failure(kind=OutcomeKind.THROTTLED, code="NotSent", text=text, attempts=0)
    try:
        invoked = worker.functions.invoke_later(
            worker.name, chunk.payload, task_id=chunk.task_id, deadline=invocation.deadline
        )
        return AcceptedChunk(chunk, invoked.request_id)
    except InvocationRefused as error:
        if error.was_accepted_before:
            return AcceptedChunk(chunk, None)
        kind = OutcomeKind.THROTTLED if error.is_retryable else OutcomeKind.MISCONFIGURED
        failure = _Failure(kind=kind, code=error.code, text=str(error), request_id=error.request_id or None)
    except Misconfigured as error:
        failure = _Failure(kind=OutcomeKind.MISCONFIGURED, code="Misconfigured", text=str(error), attempts=0)
    except FunctionFailed as error:
        # A function's error text is for its owner's log, not for the client.
        text = f"{worker.name} was called at once and failed"
        failure = _Failure(
            kind=OutcomeKind.UNKNOWN, code="FunctionFailed", text=text, request_id=error.request_id
        )
    except InvocationUnknown as error:
        failure = _Failure(kind=OutcomeKind.UNKNOWN, code="NoAnswer", text=str(error))
    return failure


def _split(task: PushTask, targets: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Split the targets between complete requests."""
    room = ASYNC_BYTES - _WRAPPER_BYTES - len(_encode(task.envelope({}, attempt=1)))
    part: dict[str, str] = {}
    size = 0
    for request in slices(targets):
        # Only a message that names its ids is sent with them; otherwise the worker derives them again.
        length = len(_encode(request if task.names_ids else list(request)))
        if length > room:
            fault = Fault("", "too long to be handed to a worker function; send it without respond-async")
            raise InvalidMessage([fault], targets)
        if part and (len(part) + len(request) > CHUNK_TARGETS or size + length > room):
            yield part
            part, size = {}, 0
        part |= request
        size += length
    yield part


def _create_chunk(parts: Sequence[MessagePart], scope: str, number: int) -> Chunk:
    """Create a chunk whose task id depends on request and content: another body is another task."""
    identity = "\n".join([scope, str(number), *(part.digest for part in parts)])
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return Chunk(f"push-{digest[:32]}", tuple(parts))


def _encode(value: Any) -> bytes:
    return compact_json(value).encode()
