"""A batch of queue messages comes: each is sent, or leaves the batch on its own with the reason."""

from __future__ import annotations

import json
from dataclasses import asdict

from mpaas_push import BatchIncomplete, Invocation
from mpaas_push.batch import send_batch
from mpaas_push.queues import MnsQueues
from mpaas_push.triggers.eventstream import items_of
from mpaas_push.warm import push_client


def handler(event: bytes, context: object) -> str:
    """Send the messages of a batch and count what became of them.

    Raises:
        UnreadablePayload: the event is not a batch of any queue.
        BatchIncomplete: a message was neither accepted nor taken by the retry or the dead-letter queue. The
            trigger delivers the whole batch again, and each target gets the message id that it had.
    """
    invocation = Invocation.of(context)
    client = push_client()
    queues = MnsQueues(client.settings, invocation.credentials)
    try:
        report = send_batch(items_of(event), client, queues, invocation)
    finally:
        queues.close()
    if report.unsettled:
        raise BatchIncomplete(report.outcomes)
    return json.dumps(asdict(report))
