"""Timer ticks: the messages of the trigger's payload are sent, or its campaign is started."""

from __future__ import annotations

import gc

gc.disable()  # collecting garbage during imports costs a tenth of a cold start

from mpaas_push import Invocation
from mpaas_push.batch import settle_event
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.timer import campaign_of, tasks_of_tick, tick_of
from mpaas_push.warm import shared_client

gc.freeze()
gc.enable()


def handler(event: bytes, context: object) -> str:
    """Send the messages of a tick and return the counts of their outcomes, or start its campaign.

    Raises:
        UnreadablePayload: the event is not a timer's, or its payload is not JSON.
        InvalidMessage: the payload has an invalid message; nothing was sent.
        BatchIncomplete: some messages were accepted neither by mPaaS nor by a queue; the tick is repeated.
    """
    event, invocation = unwrap_failed_invocation(event, Invocation.of(context))
    client, tick = shared_client(), tick_of(event)
    if campaign := campaign_of(tick):
        from mpaas_push.campaign.tasks import start_later  # most ticks need none of it

        return start_later(campaign, tick.scope, client.settings, invocation)
    return settle_event(tasks_of_tick(tick, client.settings, invocation.sender), client, invocation).as_json()
