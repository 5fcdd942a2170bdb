"""The destination record of an asynchronous invocation that failed (fc-runtime.md: Asynchronous invocation).

A function may be the destination of its own failures: the record holds the payload that failed.
"""

from __future__ import annotations

from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.triggers.record import Identifier, UnreadableElement, WireModel, data_of, shaped

__all__ = ["DestinationRecord", "request_of", "unwrap_failed_invocation"]


class _Request(WireModel):
    requestId: Identifier
    functionArn: Identifier
    condition: str


class _Response(WireModel):
    functionError: str = ""


class DestinationRecord(WireModel):
    """What a destination is sent after an asynchronous invocation; payloads are text
    (fc-runtime.md: Asynchronous invocation).
    """

    requestContext: _Request
    requestPayload: str
    responseContext: _Response | None = None

    @property
    def failed(self) -> bool:
        """Whether the invocation failed; of one that succeeded condition and error are empty."""
        return bool(self.requestContext.condition or (self.responseContext or _Response()).functionError)


def unwrap_failed_invocation(event: bytes) -> bytes:
    """Return the payload that failed if an event is the record of a failed invocation, else the event."""
    request = request_of(event)
    return event if request is None else request


def request_of(event: bytes) -> bytes | None:
    """Return the payload of a failed invocation if an event is the record of one, else None.

    The record is read as it is sent to a function or queue and as the data of EventBridge's CloudEvent, whose
    source is then ``acs:fc``: what another source calls a record is data like any other. A
    record within a record, left by a function that failed on its own failure, is opened as well. The record
    of an invocation that succeeded is none: what it holds must not be done again.
    """
    request = None
    while (inner := _inner(event)) is not None:
        request = event = inner
    return request


def _inner(event: bytes) -> bytes | None:
    # Batches can be large: most events are told apart without reading them.
    if b'"requestPayload"' not in event:
        return None
    try:
        value = read_json(event)
        if isinstance(value, dict) and "specversion" in value:
            if value.get("source") != "acs:fc":
                return None
            value = data_of(value)
        record = shaped(value, DestinationRecord, "the record of an invocation")
    except (UnreadableJson, UnreadableElement):
        return None
    return record.requestPayload.encode() if record.failed else None
