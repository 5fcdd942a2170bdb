"""The destination record of an asynchronous invocation that failed (fc-runtime.md: Asynchronous invocation).

A function may be the destination of its own failures or of another's: the record holds the payload that
failed and names the function that failed on it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mpaas_push.invocation import sender_of
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.triggers.record import UnreadableElement, data_of, moment_of, parse_shape

if TYPE_CHECKING:
    from mpaas_push.invocation import Invocation

__all__ = ["FailedInvocation", "failure_of", "unwrap_failed_invocation"]


class FailedInvocation(NamedTuple):
    """A failed invocation of a function.

    Attributes:
        payload: The event that the function was called with.
        function_arn: The function, as the record names it.
        moment: When the record was written, in Unix seconds; None if it does not say.
    """

    payload: bytes
    function_arn: str
    moment: float | None = None


def unwrap_failed_invocation(event: bytes, invocation: Invocation) -> tuple[bytes, Invocation]:
    """Return the event to process, and the invocation on behalf of the function that it was meant for.

    The record of a failed invocation is replaced by the payload that failed. The failed function's pushes
    keep their message ids in every function that takes over its failures, so a ledger recognises what was
    sent. An event without a time is at least as old as the record.

    Args:
        event: The event that the function was called with.
        invocation: This call.
    """
    failure = failure_of(event)
    if failure is None:
        return event, invocation
    sender = _sender(failure.function_arn, invocation.sender)
    first_moment_limit = invocation.first_moment_limit if failure.moment is None else failure.moment
    return failure.payload, replace(invocation, sender=sender, first_moment_limit=first_moment_limit)


def failure_of(event: bytes) -> FailedInvocation | None:
    """Return the failed invocation if an event is the record of one, else None.

    The record may be bare, as functions and queues receive it, or the data of EventBridge's CloudEvent with
    source ``acs:fc``; a record from another source is ordinary data. Nested records, left by a function that
    failed on its own failure, are unwrapped down to the innermost. The record of an invocation that succeeded
    is not unwrapped: its payload must not be processed again.
    """
    failure = None
    while (inner := _unwrap_once(event)) is not None:
        failure, event = inner, inner.payload
    return failure


def _unwrap_once(event: bytes) -> FailedInvocation | None:
    # Batches can be large: most events are recognised without parsing them.
    if b'"requestPayload"' not in event:
        return None
    from mpaas_push.triggers.destination_record import DestinationRecord  # few events are one

    try:
        value = read_json(event)
        if isinstance(value, dict) and "specversion" in value:
            if value.get("source") != "acs:fc":
                return None
            value = data_of(value)
        record = parse_shape(value, DestinationRecord, "the record of an invocation")
    except (UnreadableJson, UnreadableElement):
        return None
    if not record.failed:
        return None
    arn, moment = record.requestContext.functionArn, moment_of(record.timestamp)
    return FailedInvocation(record.requestPayload.encode(), arn, moment)


_ARN = (
    r"acs:fc:(?P<region>[^:/]*):(?P<account>[^:/]*):"
    r"(services/(?P<service>[^./]+)[^/]*/)?functions/(?P<name>[^/]+)(/[^/]*)?"
)
"""With or without a qualifier after the function; FC 2.0 names a service, and neither region nor account."""


def _sender(arn: str, own: str) -> str:
    """Return the sender that an ARN names; parts that the ARN leaves empty come from our own sender."""
    match, here = re.fullmatch(_ARN, arn), own.split(":")
    if match is None or len(here) < 5:
        return own
    return sender_of(
        match["region"] or here[2], match["account"] or here[3], match["name"], match["service"] or ""
    )
