"""A timer ticks: the messages of the trigger's payload go out."""

from __future__ import annotations

import json

from mpaas_push import BatchIncomplete, InvalidMessage, Invocation
from mpaas_push.messages import messages_of
from mpaas_push.outcome import counts_of, should_come_again
from mpaas_push.triggers.timer import tick_of
from mpaas_push.warm import push_client


def handler(event: bytes, context: object) -> str:
    """Send the messages of a tick and count what became of them.

    Raises:
        UnreadablePayload: the event is not a timer's, or its payload is not JSON.
        InvalidMessage: the payload holds a message that may not be sent; none was sent.
        BatchIncomplete: some messages may be sent again. Function Compute repeats the tick, and each target
            gets the message id that it had.
    """
    invocation = Invocation.of(context)
    client, tick = push_client(), tick_of(event)
    messages = messages_of(tick.payload, client.settings)
    invalid = [message for message in messages if isinstance(message, InvalidMessage)]
    if faults := [fault for message in invalid for fault in message.faults]:
        raise InvalidMessage(faults)
    results = client.send_all(messages, scope=tick.scope, invocation=invocation)
    outcomes = [outcome for result in results for outcome in result]
    counts = counts_of(outcomes)
    if should_come_again(outcomes):
        raise BatchIncomplete(counts)
    return json.dumps({"counts": counts})
