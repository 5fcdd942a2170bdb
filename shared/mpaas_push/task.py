"""What every trigger makes of a message: the message, and what makes its ids and attempts its own.

A record of a queue enters `task_of`, with or without the envelope in which it waits in the retry queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, InvalidMessage, UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message.reading import message_of

if TYPE_CHECKING:
    from mpaas_push.message import PushMessage
    from mpaas_push.settings import Settings
    from mpaas_push.triggers.record import QueueRecord

__all__ = ["RETRY_KEY", "PushTask", "task_of", "unreadable"]

RETRY_KEY = "pushRetry"
"""Marks a message that comes from the retry queue."""


@dataclass(frozen=True)
class PushTask:
    """One message of an event.

    Attributes:
        scope: What its message ids are derived from.
        original: What a dead letter quotes: the queue message's body, or the event.
        message: The message, or what is wrong with it.
        payload: The message as JSON, for the retry queue.
        attempt: Which attempt this is, from 1.
        derived: The ids in its `targetMsgkey` were derived from an earlier event, not given by the caller.
    """

    scope: str
    original: str
    message: PushMessage | InvalidMessage
    payload: Any = None
    attempt: int = 1
    derived: bool = False


def task_of(reading: QueueRecord | UnreadablePayload, settings: Settings) -> PushTask:
    """Read a queue message: a push message, or one that comes back from the retry queue; never raises."""
    if isinstance(reading, UnreadablePayload):
        return unreadable(reading)
    body = reading.body
    if isinstance(body, str):
        try:
            body = read_json(body)
        except UnreadableJson as error:
            return PushTask(reading.scope, reading.original, InvalidMessage([Fault("", str(error))]))
    scope, attempt, derived = reading.scope, 1, False
    retry = body.get(RETRY_KEY) if isinstance(body, dict) else None
    if isinstance(retry, dict):
        attempt = max(retry["attempt"], 1) if type(retry.get("attempt")) is int else 1
        scope = retry["scope"] if isinstance(retry.get("scope"), str) else scope
        derived = retry.get("derived") is True
        body = body.get("message")
    return PushTask(scope, reading.original, message_of(body, settings), body, attempt, derived)


def unreadable(reading: UnreadablePayload) -> PushTask:
    """Return what stands for an element of an event that could not be read."""
    scope, original = getattr(reading, "scope", ""), getattr(reading, "original", "")
    return PushTask(scope, original, InvalidMessage([Fault("", str(reading))]))
