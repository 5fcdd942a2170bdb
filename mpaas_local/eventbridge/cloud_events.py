"""CloudEvents on an event bus: reading them from HTTP requests, the bus's own attributes, and triggers
(fc-runtime.md: CloudEvents).
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from mpaas_local.clock import utc_text
from mpaas_local.compact_json import compact_json
from project.patterns import EVERYTHING, Pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.account import Account
    from project import triggers
    from project.triggers import Schema

__all__ = [
    "BadCloudEvent",
    "EventTrigger",
    "add_bus_attributes",
    "cloud_event_of",
    "event_trigger_of",
]

_ATTRIBUTE = re.compile(r"[a-z0-9]+")
_JSON_TYPE = re.compile(r"(application|text)/([\w.-]+\+)?json")
_REQUIRED = ("id", "source", "type")


class BadCloudEvent(ValueError):
    """The request is not a CloudEvent 1.0; the text says why."""


@dataclass(frozen=True, kw_only=True)
class EventTrigger:
    """A trigger of type `eventbridge` with source `Default`: events of cloud products or a custom bus
    (fc-runtime.md: CloudEvents).

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        pattern: `eventRuleFilterPattern`.
        schema: `eventSchema`; `RawData` sends `data` only.
        asynchronous: `asyncInvocationType`.
        enabled: `triggerEnable`.
    """

    function: str
    name: str
    pattern: Pattern = EVERYTHING
    schema: Schema = "CloudEvents"
    asynchronous: bool = False
    enabled: bool = True

    def payload(self, event: Mapping[str, Any]) -> bytes:
        """Return the function's payload for an event."""
        if self.schema == "CloudEvents":
            return compact_json(event)
        if "data_base64" in event:
            return base64.b64decode(event["data_base64"])
        return compact_json(event.get("data"))


def event_trigger_of(
    trigger: triggers.EventBridge, function: str, *, async_literal: bool = True
) -> EventTrigger:
    """Return the event trigger of a function, from `s.yaml`.

    Args:
        trigger: From `s.yaml`.
        function: Name of the function.
        async_literal: The `asyncInvocationType` that means asynchronous calls; a setting, since the sources
            contradict each other (fc-runtime.md: Event stream configuration).
    """
    config = trigger.trigger_config
    return EventTrigger(
        function=function,
        name=trigger.trigger_name,
        pattern=config.pattern,
        schema=config.schema_of_events,
        asynchronous=config.async_invocation_type is async_literal,
        enabled=config.trigger_enable,
    )


def cloud_event_of(content_type: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Read a CloudEvent 1.0, in structured or binary mode, as its JSON object.

    Args:
        content_type: Content-Type of the request.
        headers: Headers of the request, by lower-case name.
        body: Body of the request.

    Raises:
        BadCloudEvent: the request is not a CloudEvent.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("application/cloudevents"):
        if media_type != "application/cloudevents+json":
            raise BadCloudEvent(
                f"{media_type} is not supported; send one event as application/cloudevents+json"
            )
        event = _parse_json(body)
        if not isinstance(event, dict):
            raise BadCloudEvent("the event must be a JSON object")
        event = {name: value for name, value in event.items() if value is not None or name == "data"}
    else:
        event = {
            name.removeprefix("ce-"): unquote(value)
            for name, value in headers.items()
            if name.startswith("ce-")
        }
        if not event:
            raise BadCloudEvent("send Content-Type application/cloudevents+json or ce-… headers")
        if content_type:
            event["datacontenttype"] = content_type
        event |= _read_data(media_type, body)
    _check_event(event)
    return event


def _read_data(media_type: str, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    if not media_type or _JSON_TYPE.fullmatch(media_type):
        return {"data": _parse_json(body)}
    if media_type.startswith("text/"):
        return {"data": body.decode(errors="replace")}
    return {"data_base64": base64.b64encode(body).decode()}


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise BadCloudEvent(f"the body is not JSON: {error}") from error


def _check_event(event: Mapping[str, Any]) -> None:
    if event.get("specversion") != "1.0":
        raise BadCloudEvent(f"specversion is {event.get('specversion')!r}; must be '1.0'")
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise BadCloudEvent(f"{name} must be a non-empty string")
    for name in event:
        if name != "data_base64" and not _ATTRIBUTE.fullmatch(name):
            raise BadCloudEvent(
                f"{name!r} is not a valid attribute name: use lower-case letters and digits only"
            )
    if "data_base64" in event:
        try:
            base64.b64decode(event["data_base64"], validate=True)
        except (TypeError, ValueError) as error:
            raise BadCloudEvent("data_base64 must be base64") from error


def add_bus_attributes(event: Mapping[str, Any], account: Account, bus: str, now: float) -> dict[str, Any]:
    """Return an event with the attributes of the bus, in the order of the sample
    (fc-runtime.md: CloudEvents).
    """
    content = {name: event[name] for name in ("data", "data_base64") if name in event}
    attributes = {
        "datacontenttype": event.get("datacontenttype", "application/json;charset=utf-8"),
        "aliyunaccountid": account.account_id,
        **content,
        **{name: event[name] for name in ("subject",) if name in event},
        "source": event["source"],
        "type": event["type"],
        "aliyunpublishtime": utc_text(now),
        "specversion": "1.0",
        "aliyuneventbusname": bus,
        "id": event["id"],
        "time": event.get("time", utc_text(now)),
        "aliyunregionid": account.region,
        "aliyunpublishaddr": "127.0.0.1",
    }
    return attributes | {name: value for name, value in event.items() if name not in attributes}
