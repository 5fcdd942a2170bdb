"""Events of OSS, natively or through EventBridge, and the native ones of SLS and CDN
(fc-runtime.md: Cloud events).

Each becomes a `CloudEvent`, so that a rule does not depend on how an event was delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.triggers.record import (
    CloudEvent,
    Identifier,
    Number,
    UnreadableElement,
    WireModel,
    cloud_event,
    digest,
    parse_shape,
    read_elements,
    shape_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_push.triggers.record import EventOrError

__all__ = ["CdnRecord", "OssRecord", "SlsRange", "events_of", "native_events", "refuse_tablestore"]

_EXPECTED = "events of OSS (native or a CloudEvent), SLS or CDN"
_CBOR_MAP = range(0xA0, 0xC0)


class _Bucket(WireModel):
    arn: Identifier


class _Object(WireModel):
    key: Identifier


class _Oss(WireModel):
    bucket: _Bucket
    object: _Object


class _Response(WireModel):
    requestId: Identifier


class OssRecord(WireModel):
    """One entry of a native OSS event, and the data of one through EventBridge
    (fc-runtime.md: OSS trigger, OSS through EventBridge).
    """

    eventName: Identifier
    eventTime: Identifier
    oss: _Oss
    responseElements: _Response


class _Logstore(WireModel):
    projectName: Identifier
    logstoreName: Identifier


class SlsRange(WireModel):
    """What the SLS trigger sends: a range of a log shard, not the logs (fc-runtime.md: SLS)."""

    source: _Logstore
    taskId: Identifier


class _Domain(WireModel):
    domain: Identifier


class CdnRecord(WireModel):
    """One entry of a CDN event (fc-runtime.md: CDN)."""

    eventName: Identifier
    eventTime: Identifier
    traceId: Number
    resource: _Domain


def events_of(event: bytes) -> list[EventOrError]:
    """Read the events of OSS, in each of its forms, or the native ones of SLS and CDN, each at its index.

    Raises:
        UnreadablePayload: The payload is none of these; for Tablestore's CBOR, it names what is unsupported.
    """
    refuse_tablestore(event)
    try:
        value = read_json(event, keep_digits=True)
    except UnreadableJson as error:
        raise UnreadablePayload(f"expected {_EXPECTED}; the payload cannot be read: {error}") from None
    if isinstance(value, dict):
        events = native_events(value)
        if events is not None:
            return events
        if "specversion" in value and str(value.get("type")).startswith("oss:"):
            try:
                return [cloud_event(value)]
            except UnreadableElement as error:
                return [error.with_traceback(None)]
    raise UnreadablePayload(f"expected {_EXPECTED}; got {shape_of(value)}")


def native_events(value: dict[str, Any]) -> list[EventOrError] | None:
    """Read an object in one of the native shapes of OSS, SLS and CDN; None if it has another shape.

    Raises:
        UnreadablePayload: The object holds rows of Tablestore, which are not supported.
    """
    if value.keys() >= {"Version", "Records"}:
        raise UnreadablePayload(_TABLESTORE)
    if "specversion" in value:
        return None
    entries = value.get("events")
    if isinstance(entries, list):
        if entries and not any(map(_reader, entries)):
            return None
        return read_elements(entries, _event)
    return [_event(value)] if _reader(value) else None


def refuse_tablestore(event: bytes) -> None:
    """Refuse the CBOR of a Tablestore trigger (fc-runtime.md: Tablestore).

    Raises:
        UnreadablePayload: The payload begins with a CBOR map, as no UTF-8 text does.
    """
    if event and event[0] in _CBOR_MAP:
        raise UnreadablePayload(f"{_TABLESTORE}: the payload is CBOR")


_TABLESTORE = "rows of Tablestore are not supported: expected a CloudEvent or events of OSS, SLS or CDN"


def _event(entry: Any) -> EventOrError:
    read = _reader(entry)
    if read is None:
        return UnreadableElement("expected an event of OSS, SLS or CDN", entry, entry)
    try:
        return read(entry)
    except UnreadableElement as error:
        return error.with_traceback(None)


def _reader(entry: Any) -> Callable[[dict[str, Any]], CloudEvent] | None:
    if not isinstance(entry, dict):
        return None
    if entry.get("eventSource") == "acs:oss" or entry.keys() >= {"eventName", "oss"}:
        return _oss
    if entry.get("eventSource") == "cdn":
        return _cdn
    if entry.keys() >= {"source", "taskId", "jobName"}:
        return _sls
    return None


def _oss(entry: dict[str, Any]) -> CloudEvent:
    record = parse_shape(entry, OssRecord, "an event of OSS")
    return CloudEvent(
        # One request may delete many objects: the subject distinguishes them.
        id=record.responseElements.requestId,
        source="acs.oss",
        type=f"oss:{record.eventName}",
        specversion="1.0",
        subject=f"{record.oss.bucket.arn}/{record.oss.object.key}",
        time=record.eventTime,
        data=entry,
    )


def _cdn(entry: dict[str, Any]) -> CloudEvent:
    record = parse_shape(entry, CdnRecord, "an event of CDN")
    return CloudEvent(
        # Whether entries share a trace is not documented.
        id=f"{record.traceId}:{digest(entry)}",
        source="acs.cdn",
        type=f"cdn:{record.eventName}",
        specversion="1.0",
        subject=f"domain/{record.resource.domain}",
        time=record.eventTime,
        data=entry,
    )


def _sls(entry: dict[str, Any]) -> CloudEvent:
    entry_range = parse_shape(entry, SlsRange, "an event of SLS")
    return CloudEvent(
        id=entry_range.taskId,
        source="acs.sls",
        type="sls:Logstore:RangeReady",
        specversion="1.0",
        subject=f"project/{entry_range.source.projectName}/logstore/{entry_range.source.logstoreName}",
        data=entry,
    )
