"""Messages of a queue or a topic come: each is sent, or leaves the batch on its own with the reason."""

from __future__ import annotations

import json
from dataclasses import asdict

from mpaas_push import BatchIncomplete, Invocation
from mpaas_push.batch import send_batch
from mpaas_push.queues import MnsQueues
from mpaas_push.task import tasks_of
from mpaas_push.triggers.queue import records_of
from mpaas_push.warm import shared_client


def handler(event: bytes, context: object) -> str:
    """Send the messages of a batch and count what became of them.

    Raises:
        UnreadablePayload: the event is nothing that a queue or a topic delivers.
        BatchIncomplete: a message was neither accepted nor taken by the retry or the dead-letter queue. The
            whole event comes again, and each target gets the message id that it had.
    """
    invocation = Invocation.of(context)
    client = shared_client()
    records = records_of(event)
    tasks = [task for record in records for task in tasks_of(record, client.settings, invocation.sender)]
    with MnsQueues(client.settings, invocation) as queues:
        report = send_batch(tasks, client, queues, invocation)
    if report.left:
        raise BatchIncomplete(report.outcomes, report.left)
    return json.dumps(asdict(report))
