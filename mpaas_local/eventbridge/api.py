"""Events from outside as HTTP, for people, scripts and tests on this machine.

`POST /events` takes a CloudEvent 1.0, structured or binary, and delivers it as EventBridge does
(fc-runtime.md: CloudEvents).

Different from the cloud, on purpose: a synchronous delivery is tried once, and whoever posted the event is
told how it went. `?async=true` and `?async=false` override the setting of event triggers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.routing import Route

from mpaas_local.eventbridge.cloud_events import BadCloudEvent, cloud_event_of
from mpaas_local.fc.api import CONCURRENCY, read_body
from mpaas_local.fc.api_errors import ApiError, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from mpaas_local.eventbridge.bus import Delivery, EventBus
    from mpaas_local.eventbridge.cloud_events import EventTrigger

__all__ = ["event_routes"]


def event_routes(bus: EventBus) -> list[Route]:
    """Return the routes; an application needs `mpaas_local.fc.api_errors.ERROR_HANDLERS` beside them.

    Args:
        bus: Takes the events.
    """
    api = _Api(bus, anyio.CapacityLimiter(CONCURRENCY))
    return [Route("/events", api.take_event, methods=["POST"])]


@dataclass(frozen=True)
class _Api:
    """The routes."""

    bus: EventBus
    limiter: anyio.CapacityLimiter

    async def take_event(self, request: Request) -> Response:
        body = await read_body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            event = cloud_event_of(headers.get("content-type", ""), headers, body)
        except BadCloudEvent as error:
            raise ApiError(400, "InvalidArgument", str(error)) from error
        event = self.bus.stamp(event)
        return _answer(event["id"], await self._publish(event, _asked_mode(request)))

    async def _publish(self, event: Mapping[str, Any], asked_async: bool | None) -> list[Delivery]:
        """Deliver an event to every trigger that wants it, side by side."""
        wanting = self.bus.wanting(event)
        deliveries: dict[int, Delivery] = {}

        async def deliver(number: int, trigger: EventTrigger) -> None:
            asynchronous = trigger.asynchronous if asked_async is None else asked_async
            deliveries[number] = await anyio.to_thread.run_sync(
                lambda: self.bus.deliver(trigger, event, asynchronous=asynchronous),
                limiter=self.limiter,
                abandon_on_cancel=True,
            )

        async with anyio.create_task_group() as tasks:
            for number, trigger in enumerate(wanting):
                tasks.start_soon(deliver, number, trigger)
        return [deliveries[number] for number in range(len(wanting))]


def _asked_mode(request: Request) -> bool | None:
    asked = request.query_params.get("async")
    if asked not in (None, "true", "false"):
        raise ApiError(400, "InvalidArgument", f"async is {asked!r}; true or false")
    return None if asked is None else asked == "true"


def _answer(event_id: str, deliveries: Sequence[Delivery]) -> Response:
    """Say what came of an event: 200; 202 if all of it comes later; 502 if a function did not take it."""
    status = 200
    if not all(delivery.error is None for delivery in deliveries):
        status = 502
    elif deliveries and all(delivery.mode == "async" for delivery in deliveries):
        status = 202
    return json_response(
        status, {"id": event_id, "deliveries": [delivery.document() for delivery in deliveries]}
    )
