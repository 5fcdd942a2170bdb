"""Reads the state of EventBridge: the bus, and the rules and streams that deliver events to triggers.

Function Compute creates a rule for a trigger of a bus and a stream for a trigger of a queue, and names it in
the trigger's `sourceArn` (deploy-component.md: The cloud behind it). A rule or stream that is disabled in
EventBridge delivers nothing, although the trigger still says that it is enabled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deploy.rpc import ReadFailed, call_rpc

if TYPE_CHECKING:
    from deploy.stage import Stage

__all__ = ["BUS", "bus_exists", "delivery_fault"]

BUS = "default"
"""The bus of a trigger whose source is `Default`: events of cloud services."""
_VERSION = "2020-04-01"
_RULE = re.compile(r"acs:eventbridge:[^:]*:[^:]*:eventbus/([^/]+)/rule/(.+)")
_STREAM = re.compile(r"acs:eventbridge:[^:]*:[^:]*:eventstreaming/(.+)")
_STOPPED = re.compile("DISABLE|PAUS|STOP|FAILED|DELET")


def bus_exists(stage: Stage, name: str) -> bool:
    """Return whether an event bus exists.

    Raises:
        ReadFailed: its state cannot be read.
    """
    return _get(stage, "GetEventBus", EventBusName=name) is not None


def delivery_fault(stage: Stage, source_arn: str) -> str | None:
    """Return why a trigger's rule or stream delivers nothing; None if it delivers, or the ARN is of neither.

    Args:
        stage: The stage.
        source_arn: `sourceArn` of the trigger in the cloud.

    Raises:
        ReadFailed: its state cannot be read.
    """
    if match := _STREAM.fullmatch(source_arn):
        response = _get(stage, "GetEventStreaming", EventStreamingName=match[1])
    elif match := _RULE.fullmatch(source_arn):
        response = _get(stage, "GetRule", EventBusName=match[1], RuleName=match[2])
    else:
        return None
    if response is None:
        return "does not exist"
    status = str(response.get("Status"))
    return status if _STOPPED.search(status) else None


def _get(stage: Stage, action: str, **query: str) -> dict[str, Any] | None:
    host = f"eventbridge-console.{stage.region}.aliyuncs.com"
    in_body = action == "GetEventStreaming"
    response = call_rpc(stage, host, _VERSION, action, query, in_body=in_body)
    if response is None or "NotExist" in str(response.get("Code")):  # an error may have status 200
        return None
    if response.get("Success") is False or not isinstance(data := response.get("Data"), dict):
        raise ReadFailed
    return data
