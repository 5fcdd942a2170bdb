"""The event bus as the destination of asynchronous invocations (fc-runtime.md: Asynchronous invocation):
records become events.

Different from EventBridge, on purpose: a delivery is tried once, and what is not taken is logged.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpaas_local.clock import Clock
from mpaas_local.eventbridge.cloud_events import stamped
from mpaas_local.eventbridge.payloads import utc_text
from mpaas_local.fc.destinations import Undeliverable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.eventbridge.cloud_events import EventTrigger
    from mpaas_local.fc.api import Callee
    from mpaas_local.fc.host import Account

__all__ = ["EventBus"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventBus:
    """Publishes records to the event triggers of this machine. Safe under threads.

    Attributes:
        triggers: Who listens; more may be added.
        functions: Theirs, by name; more may be added.
        account: In the events.
        name: The only bus that there is.
        clock: Says when an event was published.
    """

    triggers: Sequence[EventTrigger]
    functions: Mapping[str, Callee]
    account: Account
    name: str = "default"
    clock: Clock = field(default_factory=Clock)

    def publish(self, bus: str, record: bytes) -> None:
        """Publish the record of an asynchronous invocation as its documented event.

        The type of a failure's event is not documented; it is made after that of a success. A repeated record
        is the same event.

        Raises:
            Undeliverable: there is no such bus.
        """
        if bus != self.name:
            raise Undeliverable(f"there is no event bus {bus} on this machine; there is {self.name}")
        data = json.loads(record)
        context = data["requestContext"]
        good = not context["condition"]
        event = {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{context['requestId']}/{data['timestamp']}")),
            "source": "acs:fc",
            "type": f"fc:AsyncInvoke:{'succeeded' if good else 'failed'}",
            "subject": context["functionArn"],
            "time": utc_text(data["timestamp"] / 1000),
            "data": data,
        }
        event = stamped(event, self.account, bus, self.clock.time())
        for trigger in tuple(self.triggers):
            if trigger.enabled and trigger.pattern.matches(event):
                self._deliver(trigger, trigger.payload(event))

    def _deliver(self, trigger: EventTrigger, payload: bytes) -> None:
        function = self.functions[trigger.function]
        try:
            if trigger.asynchronous:
                function.queue.accept(payload)
            elif error := function.invoke(payload).error_type:
                _logger.warning("%s: %s failed on an event: %s", trigger.name, trigger.function, error)
        except Exception as error:  # whatever it raises, the bus has taken the record
            _logger.warning("%s: %s did not take an event: %s", trigger.name, trigger.function, error)
