"""Messages of queues and topics: each is sent, or taken out of the batch individually with the reason."""

from __future__ import annotations

import gc

gc.disable()  # collecting garbage during imports costs a tenth of a cold start

from mpaas_push import Invocation
from mpaas_push.batch import settle_event
from mpaas_push.task import tasks_of_records
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.queue import records_of
from mpaas_push.warm import shared_client

gc.freeze()
gc.enable()


def handler(event: bytes, context: object) -> str:
    """Send the messages of a batch and return the counts of their outcomes.

    Raises:
        UnreadablePayload: the event is not one that a queue or a topic delivers.
        BatchIncomplete: some messages were accepted neither by mPaaS nor by a queue; the batch is
            redelivered.
    """
    payload, invocation = unwrap_failed_invocation(event, Invocation.of(context))
    client = shared_client()
    records = records_of(payload)
    tasks = tasks_of_records(records, client.settings, invocation.sender)
    return settle_event(tasks, client, invocation).as_json()
