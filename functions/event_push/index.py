"""Events of cloud services come: each becomes the messages that rules.yaml makes of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push import BatchIncomplete, Invocation
from mpaas_push.batch import send_batch
from mpaas_push.event_rules import read_rules, tasks_of
from mpaas_push.queues import MnsQueues
from mpaas_push.triggers.cloudevent import events_of
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.warm import shared_client

if TYPE_CHECKING:
    from mpaas_push.event_rules import Rule


def handler(event: bytes, context: object) -> str:
    """Send what the rules make of the events and count what became of it; `unmatched` events no rule wants.

    Raises:
        BadRules: rules.yaml is wrong.
        UnreadablePayload: the payload holds no events.
        BatchIncomplete: a message that may be sent again was not taken by the retry queue, or none was
            accepted and no queue took them. Function Compute repeats the event, and each target gets the
            message id that it had.
    """
    invocation = Invocation.of(context)
    client = shared_client()
    events = events_of(unwrap_failed_invocation(event))
    made = [tasks_of(each, rules(), client.settings, invocation.sender) for each in events]
    with MnsQueues(client.settings, invocation) as queues:
        report = send_batch([task for tasks in made for task in tasks], client, queues, invocation)
    if report.should_fail_invocation(remembered=client.ledger is not None):
        raise BatchIncomplete(report.outcomes, report.left)
    return json.dumps({"events": len(made), "unmatched": made.count([]), **asdict(report)})


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """Return the rules of this function; the first call reads them."""
    return read_rules(Path(__file__).with_name("rules.yaml"), shared_client().settings)
