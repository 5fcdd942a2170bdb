"""Payloads with messages of queues and topics: event streams and MNS topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import UnreadablePayload
from mpaas_push.triggers import eventstream, mns_topic

if TYPE_CHECKING:
    from mpaas_push.triggers.record import RecordOrError

__all__ = ["records_of"]


def records_of(event: bytes) -> list[RecordOrError]:
    """Read the messages of an event, each at its index.

    An event without the shape of an event stream is a topic's message: in STREAM form that may be any text,
    which is then validated as a push message.

    Raises:
        UnreadablePayload: The event is empty.
    """
    try:
        return eventstream.records_of(event)
    except UnreadablePayload:
        return mns_topic.records_of(event)
