"""The HTTP interface of the event bus: `POST /events` accepts a CloudEvent 1.0, in structured or binary mode,
and delivers it as EventBridge does (fc-runtime.md: CloudEvents).

Deliberate differences from the cloud: a synchronous delivery is attempted once, and the response reports its
result. `?async=true` and `?async=false` override the setting of the triggers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.routing import Route

from mpaas_local.eventbridge.cloud_events import BadCloudEvent, cloud_event_of
from mpaas_local.fc.api import CONCURRENCY, read_event
from mpaas_local.fc.api_errors import ApiError, json_response

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from mpaas_local.eventbridge.bus import Delivery, EventBus
    from mpaas_local.eventbridge.cloud_events import EventTrigger

__all__ = ["event_routes"]


def event_routes(bus: EventBus) -> list[Route]:
    """Return the routes. Their application also needs `mpaas_local.fc.api_errors.ERROR_HANDLERS`.

    Args:
        bus: Delivers the events.
    """
    api = _Api(bus, anyio.CapacityLimiter(CONCURRENCY))
    return [Route("/events", api.post_event, methods=["POST"])]


@dataclass(frozen=True)
class _Api:
    """The routes."""

    bus: EventBus
    limiter: anyio.CapacityLimiter

    async def post_event(self, request: Request) -> Response:
        body = await read_event(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            event = cloud_event_of(headers.get("content-type", ""), headers, body)
        except BadCloudEvent as error:
            raise ApiError(400, "InvalidArgument", str(error)) from error
        event = self.bus.add_attributes(event)
        return _published(event["id"], await self._publish(event, _requested_async(request)))

    async def _publish(self, event: Mapping[str, Any], requested_async: bool | None) -> list[Delivery]:
        """Deliver an event to all matching triggers, concurrently."""
        matching = self.bus.matching(event)
        deliveries: dict[int, Delivery] = {}

        async def deliver(number: int, trigger: EventTrigger) -> None:
            asynchronous = trigger.asynchronous if requested_async is None else requested_async
            deliveries[number] = await anyio.to_thread.run_sync(
                lambda: self.bus.deliver(trigger, event, asynchronous=asynchronous),
                limiter=self.limiter,
                abandon_on_cancel=True,
            )

        async with anyio.create_task_group() as tasks:
            for number, trigger in enumerate(matching):
                tasks.start_soon(deliver, number, trigger)
        return [deliveries[number] for number in range(len(matching))]


def _requested_async(request: Request) -> bool | None:
    requested = request.query_params.get("async")
    if requested not in (None, "true", "false"):
        raise ApiError(400, "InvalidArgument", f"async is {requested!r}; must be true or false")
    return None if requested is None else requested == "true"


def _published(event_id: str, deliveries: Sequence[Delivery]) -> Response:
    """Report the deliveries: 200; 202 if all are asynchronous; 502 if any failed."""
    status = 200
    if not all(delivery.error is None for delivery in deliveries):
        status = 502
    elif deliveries and all(delivery.mode == "async" for delivery in deliveries):
        status = 202
    return json_response(
        status, {"id": event_id, "deliveries": [delivery.document() for delivery in deliveries]}
    )
