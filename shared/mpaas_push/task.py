"""The common form of a message from any trigger: with its scope, attempt and first moment.

`tasks_of_record` reads a queue message, with or without the envelope in which it waits in the retry queue.
"""

from __future__ import annotations

import json
import math
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.errors import Fault, InvalidMessage
from mpaas_push.json_text import (
    CHARACTERS_PER_CONTAINER,
    MAX_CONTAINERS,
    MESSAGE_CONTAINERS,
    UnreadableJson,
    is_encodable,
    read_json,
)
from mpaas_push.message import PushMessage
from mpaas_push.message.reading import message_of
from mpaas_push.targets import without_targets
from mpaas_push.triggers.record import UnreadableElement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mpaas_push.settings import Settings
    from mpaas_push.triggers.record import RecordOrError

__all__ = [
    "RETRY_KEY",
    "PushTask",
    "absolute_scope",
    "compact_json",
    "first_moment_of",
    "pack_envelopes",
    "read_message",
    "tasks_of_record",
    "tasks_of_records",
    "unreadable",
]

ENTRY_CONTAINERS = 20 * MESSAGE_CONTAINERS
"""Objects and lists in an entry of the retry queue, which holds up to 20 messages."""
RETRY_KEY = "pushRetry"
"""Marks an envelope, in which messages wait in the retry queue or travel to another function."""


class PushTask(NamedTuple):
    """One message of an event.

    Attributes:
        scope: Basis of its message ids. It begins with the sender (see `absolute_scope`).
        original: Quoted by a dead letter: the queue message's body, or the event.
        message: The message, or its faults.
        first_moment: When the push was requested, in Unix seconds: the tick, the publication, the event's
            `time`, the HTTP request. Its validity counts from here, however often it is tried.
        payload: The original message as JSON; None if it is invalid and came from a queue.
        attempt: Number of the invocation that tries it, from 1; within one, `Attempts` may send a request
            several times.
        derived: The ids in its `targetMsgkey` were derived from an earlier event, not given by the caller.
        may_have_arrived: An earlier attempt was sent, with an unknown outcome.
        too_late: Faults of a message that was valid when it was requested, but in which a time has passed
            since. It must no longer be sent, although it may have been before.
    """

    scope: str
    original: str
    message: PushMessage | InvalidMessage
    first_moment: float
    payload: Any = None
    attempt: int = 1
    derived: bool = False
    may_have_arrived: bool = False
    too_late: tuple[Fault, ...] = ()

    @property
    def names_ids(self) -> bool:
        """Whether the message names its ids; derived ones depend only on scope and target."""
        return isinstance(self.message, PushMessage) and self.message.target_msgkey is not None

    @property
    def expires_at(self) -> float:
        """When its validity ends, in Unix seconds.

        Infinite for invalid messages, and for timed and loop pushes: their validity begins when mPaaS sends
        them.
        """
        if isinstance(self.message, InvalidMessage) or self.message.strategy_type:
            return math.inf
        return self.first_moment + self.message.expired_seconds

    def message_for(self, targets: Mapping[str, str | None], *, with_ids: bool) -> dict[str, Any]:
        """Return the message for some of its targets, as JSON.

        It names app, workspace and tenant even if they came from the settings, and an empty tenant if it has
        none: a function with other settings then sends it to the same targets.

        Args:
            targets: The message id of each target.
            with_ids: Write `targetMsgkey`, not `targets`.
        """
        payload = without_targets(self.payload)
        if isinstance(self.message, PushMessage):
            app = {
                "appId": self.message.app_id,
                "workspaceId": self.message.workspace_id,
                "tenantId": self.message.tenant_id or "",
            }
            payload |= {name: value for name, value in app.items() if value is not None}
        return payload | ({"targetMsgkey": dict(targets)} if with_ids else {"targets": list(targets)})

    def envelope(self, targets: Mapping[str, str | None], attempt: int) -> dict[str, Any]:
        """Return the message for some of its targets with everything that another attempt needs, as JSON.

        `tasks_of_record` reads it, alone or packed with others (`pack_envelopes`).

        Args:
            targets: The message id of each target.
            attempt: Number of the next attempt.
        """
        retry = {"attempt": attempt, "scope": self.scope, "firstMoment": round(self.first_moment, 3)}
        if self.derived:
            retry["derived"] = True
        if self.may_have_arrived:
            retry["mayHaveArrived"] = True
        message = self.message_for(targets, with_ids=self.names_ids)
        if message.get("tenantId") == "":  # which version 0.1 would refuse in the message
            retry["noTenant"] = True
            del message["tenantId"]
        return {RETRY_KEY: retry, "message": message}


def pack_envelopes(envelopes: Sequence[str]) -> str:
    """Return the text of an envelope around others; a single one is returned unchanged.

    Args:
        envelopes: The texts of envelopes.
    """
    if len(envelopes) == 1:
        return envelopes[0]
    return f'{{"{RETRY_KEY}":{{"count":{len(envelopes)}}},"messages":[{",".join(envelopes)}]}}'


def read_message(
    payload: Any, settings: Settings, first_moment: float
) -> tuple[PushMessage | InvalidMessage, tuple[Fault, ...]]:
    """Read a message that may have been tried before, and the faults by which it is now too late.

    Never raises.

    Args:
        payload: The message, as JSON.
        settings: Defaults of the message, and the levels of the open rules.
        first_moment: When the push was requested, in Unix seconds.
    """
    message = message_of(payload, settings)
    if isinstance(message, PushMessage) or not isinstance(payload, dict) or "strategyType" not in payload:
        return message, ()
    then = datetime.fromtimestamp(first_moment, timezone.utc)
    levels = settings.constraint_levels
    try:
        valid = PushMessage.parse(payload, defaults=settings.defaults, levels=levels, clock=lambda: then)
    except InvalidMessage:
        return message, ()
    return valid, message.faults


def absolute_scope(sender: str, event: str) -> str:
    """Return a scope that no other sender's events share.

    Args:
        sender: Account, region and function (see `Invocation.sender`); none when empty.
        event: Identity of the event: timer and tick, queue and message id, source and id.
    """
    return f"{sender}:{event}" if sender else event


def tasks_of_records(
    records: Iterable[RecordOrError], settings: Settings, sender: str = ""
) -> list[PushTask]:
    """Read the queue messages of one event like `tasks_of_record`, within a common limit of memory."""
    budget = _ContainerBudget()
    return [task for record in records for task in tasks_of_record(record, settings, sender, budget)]


def tasks_of_record(
    record: RecordOrError, settings: Settings, sender: str = "", budget: _ContainerBudget | None = None
) -> list[PushTask]:
    """Read a queue message: a push message, or an envelope with one or many; never raises.

    Args:
        record: The queue message, or why it could not be read.
        settings: Defaults of the messages.
        sender: The sender, for the scope; an envelope has its own.
        budget: Objects and lists that the envelopes of the event share.

    Returns:
        At least one task. Unknown keys of an envelope are ignored: a newer version may have written them.
    """
    if isinstance(record, UnreadableElement):
        return [unreadable(record, sender)]
    scope = absolute_scope(sender, record.scope)
    moment = first_moment_of(record.moment, time.time())
    body = record.body
    if isinstance(body, str):
        try:
            containers = (
                (budget or _ContainerBudget()).containers_for(body)
                if RETRY_KEY in body
                else MESSAGE_CONTAINERS
            )
            body = read_json(body, containers=containers)
        except UnreadableJson as error:
            message = InvalidMessage([Fault("", str(error))])
            return [PushTask(scope=scope, original=record.original, message=message, first_moment=moment)]
    envelopes = body.get("messages") if _is_envelope(body) else None
    if not isinstance(envelopes, list) or not envelopes:
        return [_read(body, settings, scope=scope, original=record.original, moment=moment)]
    return [
        # Our envelopes have their own scopes; the index is for those written by other programs.
        _read(envelope, settings, scope=f"{scope}:{index}", original=compact_json(envelope), moment=moment)
        for index, envelope in enumerate(envelopes)
    ]


def unreadable(element: UnreadableElement, sender: str) -> PushTask:
    """Return the task of an element of an event that could not be read."""
    return PushTask(
        scope=absolute_scope(sender, element.scope),
        original=element.original,
        message=InvalidMessage([Fault("", str(element))]),
        first_moment=time.time(),
    )


def first_moment_of(moment: Any, now: float) -> float:
    """Return when a push was requested: the event's time if it is not in the future, otherwise now.

    Args:
        moment: Unix seconds; anything else counts as no time.
        now: The time of reading, in Unix seconds.
    """
    return float(moment) if type(moment) in {int, float} and 0 <= moment <= now else now


def compact_json(value: Any) -> str:
    """Write JSON without spaces; an unpaired surrogate, which has no bytes, is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if is_encodable(text) else json.dumps(value, separators=(",", ":"))


class _ContainerBudget:
    """Objects and lists that the envelopes of one event share, in addition to `ENTRY_CONTAINERS` each.

    A message in an envelope was within the limit when it was first read, perhaps with more targets.
    """

    def __init__(self) -> None:
        self._left = MAX_CONTAINERS

    def containers_for(self, envelope: str) -> int:
        """Return the limit of an envelope for `read_json`, and deduct what it needs from the budget."""
        brackets = envelope.count("{") + envelope.count("[")
        beyond = max(brackets - ENTRY_CONTAINERS - len(envelope) // CHARACTERS_PER_CONTAINER, 0)
        if beyond > self._left:
            return ENTRY_CONTAINERS
        self._left -= beyond
        return ENTRY_CONTAINERS + beyond


def _is_envelope(payload: Any) -> bool:
    return isinstance(payload, dict) and isinstance(payload.get(RETRY_KEY), dict)


def _read(payload: Any, settings: Settings, *, scope: str, original: str, moment: float) -> PushTask:
    """Read a message, or an envelope with one, whose own scope and moment take precedence."""
    retry: dict[str, Any] = {}
    if _is_envelope(payload):
        retry, payload = payload[RETRY_KEY], payload.get("message")
        if retry.get("noTenant") is True and isinstance(payload, dict):
            payload = {"tenantId": "", **payload}
        # Version 0.1 wrote no moment: the validity counts from when the message entered the retry queue.
        moment = first_moment_of(retry.get("firstMoment", moment), time.time())
    message, too_late = read_message(payload, settings, moment)
    return PushTask(
        scope=retry["scope"] if isinstance(retry.get("scope"), str) else scope,
        original=original,
        message=message,
        first_moment=moment,
        # An invalid message is not tried again, and its payload may use much memory.
        payload=payload if isinstance(message, PushMessage) else None,
        attempt=max(retry["attempt"], 1) if type(retry.get("attempt")) is int else 1,
        derived=retry.get("derived") is True,
        may_have_arrived=retry.get("mayHaveArrived") is True,
        too_late=too_late,
    )
