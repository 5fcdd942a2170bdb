"""Cloud events: the rules in rules.yaml turn each into messages, which are sent."""

from __future__ import annotations

import gc

gc.disable()  # collecting garbage during imports costs a tenth of a cold start

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push import Invocation
from mpaas_push.batch import settle_event
from mpaas_push.event_rules import read_rules, tasks_of_event
from mpaas_push.triggers.cloudevent import events_of
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.warm import shared_client

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from mpaas_push.event_rules import Rule


def handler(event: bytes, context: object) -> str:
    """Send the messages that the rules make of the events; `unmatched` counts events that no rule selects.

    Raises:
        BadRules: rules.yaml is wrong.
        UnreadablePayload: the payload holds no events.
        BatchIncomplete: some messages were accepted neither by mPaaS nor by a queue; Function Compute repeats
            the event.
    """
    payload, invocation = unwrap_failed_invocation(event, Invocation.of(context))
    client, events = shared_client(), events_of(payload)
    matches = [tasks_of_event(event, rules(), client.settings, invocation.sender) for event in events]
    tasks = [task for match in matches for task in match]
    report = settle_event(tasks, client, invocation)
    return report.as_json(events=len(events), unmatched=matches.count([]))


@lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """Return the rules of this function; the first call reads them."""
    return read_rules(Path(__file__).with_name("rules.yaml"), shared_client().settings)
