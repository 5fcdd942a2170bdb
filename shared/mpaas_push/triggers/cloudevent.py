"""Events for event functions: CloudEvents 1.0, and native events that are read as such
(fc-runtime.md: Cloud events).

`events_of` reads every payload of an event function; `event_of` reads exactly one CloudEvent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.triggers.record import (
    CloudEvent,
    UnreadableElement,
    cloud_event,
    containers_per_element,
    elements_of,
    read_elements,
    shape_of,
)

if TYPE_CHECKING:
    from mpaas_push.triggers.record import EventOrError

__all__ = ["CloudEvent", "event_of", "events_of"]

_LAST_OF_ASCII = 0x7F
_EXPECTED = "a CloudEvents 1.0 event, an array of them, or a native event of OSS, SLS or CDN"


def event_of(event: bytes) -> CloudEvent:
    """Read a single CloudEvent (fc-runtime.md: OSS through EventBridge, CloudEvents).

    Raises:
        UnreadablePayload: The payload is not a CloudEvent or lacks `id`, `source`, `type` or `specversion`.
    """
    try:
        return cloud_event(read_json(event, keep_digits=True))
    except UnreadableJson as error:
        raise UnreadablePayload(f"not a CloudEvents 1.0 event: it cannot be read: {error}") from None


def events_of(event: bytes) -> list[EventOrError]:
    """Read the events of a payload, each at its index (fc-runtime.md: Cloud events).

    Raises:
        UnreadablePayload: The payload holds no such events; for Tablestore's, it names what is unsupported.
    """
    if event and event[0] > _LAST_OF_ASCII:
        from mpaas_push.triggers.oss import refuse_tablestore  # JSON begins with ASCII or a BOM

        refuse_tablestore(event)
    elements, bare = elements_of(event, _EXPECTED, keep_digits=True)
    if bare and "specversion" not in elements[0]:
        events = _native_events(elements[0])
        if events is None:
            raise UnreadablePayload(f"expected {_EXPECTED}; got {shape_of(elements[0])}")
        return events
    share = containers_per_element(len(elements))
    return [
        event for events in read_elements(elements, lambda element: _read(element, share)) for event in events
    ]


def _read(element: Any, containers: int) -> list[EventOrError]:
    if isinstance(element, UnreadableElement):
        return [element]
    try:
        native = _native_events(element) if isinstance(element, dict) else None
        return [cloud_event(element, containers=containers)] if native is None else native
    except UnreadableElement as error:
        return [error.with_traceback(None)]
    except UnreadablePayload as error:
        return [UnreadableElement(str(error), element)]


def _native_events(element: dict[str, Any]) -> list[EventOrError] | None:
    if "specversion" in element and not element.keys() >= {"Version", "Records"}:
        return None  # most events are CloudEvents: their cold starts need not load the native shapes
    from mpaas_push.triggers.oss import native_events

    return native_events(element)
