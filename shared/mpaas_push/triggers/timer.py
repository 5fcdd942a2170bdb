"""The timer trigger: a tick, with the payload that was typed into the trigger
(fc-runtime.md: Timer trigger).
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from mpaas_push.errors import Fault, InvalidMessage, UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message.constraints.clock import CHINA
from mpaas_push.message.reading import messages_of, payloads_of
from mpaas_push.task import PushTask, absolute_scope, first_moment_of, read_message
from mpaas_push.triggers.record import Identifier, WireModel, moment_of, scope_of

if TYPE_CHECKING:
    from mpaas_push.settings import Settings

__all__ = ["Tick", "TimerEvent", "campaign_of", "tasks_of_tick", "tick_of"]


class TimerEvent(WireModel):
    """The event as Function Compute delivers it (fc-runtime.md: Timer trigger)."""

    triggerTime: Identifier
    triggerName: Identifier
    payload: str


class Tick(NamedTuple):
    """One tick of a timer.

    Attributes:
        timer: Name of the trigger.
        time: When it ticked, UTC, as Function Compute wrote it.
        payload: The trigger's payload, read as JSON.
    """

    timer: str
    time: str
    payload: Any

    @property
    def scope(self) -> str:
        """The same for every repetition of this tick: the name of the timer and the time."""
        return scope_of("timer", self.timer, self.time)

    @property
    def moment(self) -> float | None:
        """When it ticked, in Unix seconds; None if the time cannot be read."""
        return moment_of(self.time)


def tick_of(event: bytes) -> Tick:
    """Read the event of a timer trigger.

    Raises:
        UnreadablePayload: The event is not from a timer, or its payload is not JSON.
    """
    try:
        timer = TimerEvent.model_validate(read_json(event))
    except (UnreadableJson, ValidationError):
        raise UnreadablePayload(
            "not a timer's event: expected JSON with triggerTime, triggerName and payload, all text"
        ) from None
    try:
        return Tick(timer.triggerName, timer.triggerTime, read_json(timer.payload))
    except UnreadableJson as error:
        raise UnreadablePayload(
            f"the payload of timer {timer.triggerName} must be the JSON of one message or of "
            f'{{"messages": [...]}}: {error}'
        ) from None


def campaign_of(tick: Tick) -> dict[str, Any] | None:
    """Return the document of the campaign that a tick starts; None if its payload holds messages.

    `{date}` in its id and in the key of its audience is the day of the tick in Shanghai, as ``20261111``.
    """
    payload = tick.payload
    if not isinstance(payload, dict) or "campaign" not in payload:
        return None
    from mpaas_push.campaign.model import with_date  # most ticks start no campaign

    moment = datetime.fromtimestamp(first_moment_of(tick.moment, time.time()), CHINA)
    dated: dict[str, Any] = with_date(payload, f"{moment:%Y%m%d}")
    return dated


def tasks_of_tick(tick: Tick, settings: Settings, sender: str = "") -> list[PushTask]:
    """Read the messages of a tick: one, or `{"messages": [...]}`.

    A repeated tick may hold a message that was valid when the timer ticked but is too late by now: it is
    refused, and the others are sent.

    Raises:
        InvalidMessage: A message could never be sent; the error names every fault.
    """
    payloads = payloads_of(tick.payload)
    first_moment = first_moment_of(tick.moment, time.time())
    tasks: list[PushTask] = []
    faults: list[Fault] = []
    messages = messages_of(tick.payload, settings)
    for index, (current, payload) in enumerate(zip(messages, payloads, strict=True)):
        message, too_late = current, current.faults if isinstance(current, InvalidMessage) else ()
        if too_late:
            message, _ = read_message(payload, settings, first_moment)
        if isinstance(message, InvalidMessage):
            faults += too_late
            continue
        tasks.append(
            PushTask(
                scope=absolute_scope(sender, f"{tick.scope}:{index}"),
                original=json.dumps(payload),
                message=message,
                first_moment=first_moment,
                payload=payload,
                too_late=too_late,
            )
        )
    if faults:
        raise InvalidMessage(faults)
    return tasks
