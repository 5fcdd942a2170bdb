"""Whatever brings messages of queues and topics: event streams, MNS topics, records of failed invocations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import UnreadablePayload
from mpaas_push.triggers import eventstream, mns
from mpaas_push.triggers.destination import unwrap_failed_invocation

if TYPE_CHECKING:
    from mpaas_push.triggers.record import RecordOrError

__all__ = ["items_of"]


def items_of(event: bytes) -> list[RecordOrError]:
    """Read the messages of an event, each at its place.

    What is of no event stream's shape is a topic's message: in STREAM form that may be any text, which then
    stands or falls as a push message.

    Raises:
        UnreadablePayload: the event is empty or not UTF-8.
    """
    payload = unwrap_failed_invocation(event)
    try:
        return eventstream.items_of(payload)
    except UnreadablePayload:
        return mns.items_of(payload)
