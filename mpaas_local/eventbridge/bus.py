"""The event bus of this machine: events and records of asynchronous invocations go to the triggers that want
them (fc-runtime.md: CloudEvents, Asynchronous invocation).

Different from EventBridge, on purpose: a delivery is tried once.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mpaas_local.account import Account
from mpaas_local.clock import Clock, utc_text
from mpaas_local.eventbridge.cloud_events import stamped
from mpaas_local.fc.api_errors import api_error_of
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.destinations import Undeliverable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.eventbridge.cloud_events import EventTrigger
    from mpaas_local.fc.api import Callee
    from mpaas_local.fc.call import Result
    from mpaas_local.fc.oss_trigger import OssTrigger

__all__ = ["Delivery", "EventBus", "enqueue"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of an event at one trigger.

    Attributes:
        trigger: Who wanted it.
        mode: How the function was called.
        status: As FC's API answers.
        request_id: Of the call, if it was made or accepted.
        result: Of a synchronous call.
        error: Why the function did not take the event; None if it did.
    """

    trigger: EventTrigger | OssTrigger
    mode: Literal["sync", "async"]
    status: int
    request_id: str | None = None
    result: Result | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """The delivery as JSON."""
        document = {
            "function": self.trigger.function,
            "trigger": self.trigger.name,
            "mode": self.mode,
            "status": self.status,
            "requestId": self.request_id,
            "error": self.error,
        }
        if self.result:
            document["result"] = self.result.payload.decode(errors="replace")
        return document


def enqueue(trigger: EventTrigger | OssTrigger, function: Callee, payload: bytes) -> Delivery:
    """Have a function called for an event of a trigger, asynchronously."""
    try:
        request_id = function.queue.accept(payload)
    except Exception as error:  # told to whoever published the event
        return _refused(trigger, "async", error)
    return Delivery(trigger=trigger, mode="async", status=202, request_id=request_id)


@dataclass(frozen=True)
class EventBus:
    """Publishes events to the event triggers of this machine. Safe under threads.

    Attributes:
        triggers: Who listens; more may be added.
        functions: Theirs, by name; more may be added.
        account: In the events.
        name: The only bus that there is.
        clock: Says when an event was published.
    """

    triggers: Sequence[EventTrigger]
    functions: Mapping[str, Callee]
    account: Account = field(default_factory=Account)
    name: str = "default"
    clock: Clock = field(default_factory=Clock)

    def stamp(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Add the attributes that the bus gives to an event."""
        return stamped(event, self.account, self.name, self.clock.time())

    def wanting(self, event: Mapping[str, Any]) -> list[EventTrigger]:
        """Return the enabled triggers whose pattern an event matches."""
        return [trigger for trigger in self.triggers if trigger.enabled and trigger.pattern.matches(event)]

    def deliver(self, trigger: EventTrigger, event: Mapping[str, Any], *, asynchronous: bool) -> Delivery:
        """Call the function of a trigger, or have it called later."""
        function, payload = self.functions[trigger.function], trigger.payload(event)
        if asynchronous:
            return enqueue(trigger, function, payload)
        try:
            result = function.invoke(payload, request_id=new_request_id())
        except Exception as error:  # told to whoever published the event
            return _refused(trigger, "sync", error)
        return Delivery(
            trigger=trigger,
            mode="sync",
            status=200,
            request_id=result.request_id,
            result=result,
            error=result.error_type,
        )

    def publish(self, event: Mapping[str, Any]) -> None:
        """Deliver an event to all that want it; a function that does not take it is logged."""
        for trigger in self.wanting(event):
            delivery = self.deliver(trigger, event, asynchronous=trigger.asynchronous)
            if delivery.error:
                _logger.warning("%s: %s: %s", trigger.name, trigger.function, delivery.error)

    def publish_record(self, bus: str, record: bytes) -> None:
        """Publish the record of an asynchronous invocation as its documented event.

        The type of a failure's event is not documented; it is made after that of a success. A repeated record
        is the same event. A function that does not take it is logged.

        Raises:
            Undeliverable: there is no such bus.
        """
        if bus != self.name:
            raise Undeliverable(f"there is no event bus {bus} on this machine; there is {self.name}")
        data = json.loads(record)
        context = data["requestContext"]
        good = not context["condition"]
        event = self.stamp(
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{context['requestId']}/{data['timestamp']}")),
                "source": "acs:fc",
                "type": f"fc:AsyncInvoke:{'succeeded' if good else 'failed'}",
                "subject": context["functionArn"],
                "time": utc_text(data["timestamp"] / 1000),
                "data": data,
            }
        )
        self.publish(event)


def _refused(
    trigger: EventTrigger | OssTrigger, mode: Literal["sync", "async"], error: Exception
) -> Delivery:
    refusal = api_error_of(error)
    return Delivery(trigger=trigger, mode=mode, status=refusal.status, error=f"{refusal.code}: {refusal}")
