"""Live Activities of iOS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.clock import SURELY_MILLISECONDS
from mpaas_push.message.constraints.constraint import Constraint, unconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["LIVE_ACTIVITY"]

_LIVE_ACTIVITY = (5, 6)


@unconfirmed(
    "live-activity-parameters",
    source="UNSURE: no page says what is rejected; pushsimple.md: Live Activity",
    reads=("deliveryType",),
    presence_of=("activityEvent", "activityContentState", "dismissalDate"),
)
def live_activity(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.delivery_type in _LIVE_ACTIVITY:
        for name, value in (
            ("activityEvent", message.activity_event),
            ("activityContentState", message.activity_content_state),
        ):
            if value is None:
                yield Fault(
                    name,
                    f"is needed with deliveryType {message.delivery_type}, which addresses a Live Activity",
                )
        return
    for name, unused in (
        ("activityEvent", message.activity_event),
        ("activityContentState", message.activity_content_state),
        ("dismissalDate", message.dismissal_date),
    ):
        if unused is not None:
            yield Fault(name, "belongs to a Live Activity: deliveryType 5 (push token) or 6 (activityId)")


@unconfirmed(
    "dismissal-date-needs-end",
    source="Simple push page: no effect with activityEvent update; no rejection stated; "
    "pushsimple.md: Live Activity",
    reads=("activityEvent",),
    presence_of=("dismissalDate",),
)
def dismissal_without_end(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.activity_event == "update":
        yield Fault("dismissalDate", "has an effect only with activityEvent `end`")


@unconfirmed(
    "dismissal-date-seconds",
    source="UNSURE: inferred from the unit; "
    "pushsimple.md: Strategies and SMS and Live Activity, What users stumble over",
    reads=("dismissalDate",),
)
def dismissal_unit(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.dismissal_date >= SURELY_MILLISECONDS:
        yield Fault("dismissalDate", "is in seconds; this looks like milliseconds", message.dismissal_date)


LIVE_ACTIVITY: tuple[Constraint, ...] = (
    live_activity,
    dismissal_without_end,
    dismissal_unit,
)
