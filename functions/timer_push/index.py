"""A timer ticks: the messages of the trigger's payload go out."""

from __future__ import annotations

import json
from dataclasses import asdict

from mpaas_push import BatchIncomplete, Invocation
from mpaas_push.batch import send_batch
from mpaas_push.queues import MnsQueues
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.timer import tasks_of, tick_of
from mpaas_push.warm import shared_client


def handler(event: bytes, context: object) -> str:
    """Send the messages of a tick and count what became of them.

    Raises:
        UnreadablePayload: the event is not a timer's, or its payload is not JSON.
        InvalidMessage: the payload holds a message that may not be sent; none was sent.
        BatchIncomplete: a message that may be sent again was not taken by the retry queue, or none was
            accepted and no queue took them. Function Compute repeats the event, and each target gets the
            message id that it had.
    """
    invocation = Invocation.of(context)
    client = shared_client()
    tasks = tasks_of(tick_of(unwrap_failed_invocation(event)), client.settings, invocation.sender)
    with MnsQueues(client.settings, invocation) as queues:
        report = send_batch(tasks, client, queues, invocation)
    if report.should_fail_invocation(remembered=client.ledger is not None):
        raise BatchIncomplete(report.outcomes, report.left)
    return json.dumps(asdict(report))
