"""The event bus of this machine: it delivers events and records of asynchronous invocations to matching
triggers (fc-runtime.md: CloudEvents, Asynchronous invocation).

A deliberate difference from EventBridge: a delivery is attempted once.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mpaas_local.account import Account
from mpaas_local.clock import Clock, utc_text
from mpaas_local.eventbridge.cloud_events import add_bus_attributes
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
    """The delivery of an event to one trigger.

    Attributes:
        trigger: The trigger.
        mode: How the function was called.
        status: HTTP status, as in FC's API.
        request_id: Id of the call, if it was made or accepted.
        result: Result of a synchronous call.
        error: Why the delivery failed; None if it succeeded.
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
    """Put an event of a trigger into the function's asynchronous queue."""
    try:
        request_id = function.queue.accept(payload)
    except Exception as error:  # reported to the publisher
        return _failed(trigger, "async", error)
    return Delivery(trigger=trigger, mode="async", status=202, request_id=request_id)


@dataclass(frozen=True, kw_only=True)
class EventBus:
    """Publishes events to the event triggers of this machine. Thread-safe.

    Attributes:
        triggers: The triggers of the bus; the caller may add more.
        functions: Their functions, by name; the caller may add more.
        account: Account and region in the events.
        name: Name of the only bus.
        clock: For the time of publication.
    """

    triggers: Sequence[EventTrigger]
    functions: Mapping[str, Callee]
    account: Account = field(default_factory=Account)
    name: str = "default"
    clock: Clock = field(default_factory=Clock)

    def add_attributes(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Add the attributes of the bus to an event."""
        return add_bus_attributes(event, self.account, self.name, self.clock.time())

    def matching(self, event: Mapping[str, Any]) -> list[EventTrigger]:
        """Return the enabled triggers whose pattern an event matches."""
        return [trigger for trigger in self.triggers if trigger.enabled and trigger.pattern.matches(event)]

    def deliver(self, trigger: EventTrigger, event: Mapping[str, Any], *, asynchronous: bool) -> Delivery:
        """Call the function of a trigger, now or asynchronously."""
        function, payload = self.functions[trigger.function], trigger.payload(event)
        if asynchronous:
            return enqueue(trigger, function, payload)
        try:
            result = function.invoke(payload, request_id=new_request_id())
        except Exception as error:  # reported to the publisher
            return _failed(trigger, "sync", error)
        return Delivery(
            trigger=trigger,
            mode="sync",
            status=200,
            request_id=result.request_id,
            result=result,
            error=result.error_type,
        )

    def publish(self, event: Mapping[str, Any]) -> None:
        """Deliver an event to all matching triggers; failures are logged."""
        for trigger in self.matching(event):
            delivery = self.deliver(trigger, event, asynchronous=trigger.asynchronous)
            if delivery.error:
                _logger.warning("%s: %s: %s", trigger.name, trigger.function, delivery.error)

    def publish_record(self, bus: str, record: bytes) -> None:
        """Publish the record of an asynchronous invocation as its documented event.

        The event type of a failure is not documented; it follows that of a success. A repeated record gets
        the same event id. Failed deliveries are logged.

        Raises:
            Undeliverable: the bus does not exist.
        """
        if bus != self.name:
            raise Undeliverable(f"event bus {bus} does not exist on this machine; {self.name} does")
        data = json.loads(record)
        context = data["requestContext"]
        event = self.add_attributes(
            {
                "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{context['requestId']}/{data['timestamp']}")),
                "source": "acs:fc",
                "type": f"fc:AsyncInvoke:{'failed' if context['condition'] else 'succeeded'}",
                "subject": context["functionArn"],
                "time": utc_text(data["timestamp"] / 1000),
                "data": data,
            }
        )
        self.publish(event)


def _failed(trigger: EventTrigger | OssTrigger, mode: Literal["sync", "async"], error: Exception) -> Delivery:
    response = api_error_of(error)
    return Delivery(trigger=trigger, mode=mode, status=response.status, error=f"{response.code}: {response}")
