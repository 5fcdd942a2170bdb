"""EventBridge behind the triggers: the bus that must be there, and the rules and streams that deliver events.

Function Compute makes a rule for a trigger on a bus and a stream for one of a queue, and names it in the
trigger's `sourceArn` (deploy-component.md: The cloud behind it). A rule or stream that is disabled
there delivers nothing, although the trigger still says that it is enabled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deploy.rpc import NotAllowed, call_rpc

if TYPE_CHECKING:
    from deploy.stage import Stage

__all__ = ["BUS", "delivery_fault", "is_bus"]

BUS = "default"
"""The bus of a trigger whose source is `Default`: events of cloud services."""
_VERSION = "2020-04-01"
_RULE = re.compile(r"acs:eventbridge:[^:]*:[^:]*:eventbus/([^/]+)/rule/(.+)")
_STREAM = re.compile(r"acs:eventbridge:[^:]*:[^:]*:eventstreaming/(.+)")
_STOPPED = re.compile("DISABLE|PAUS|STOP|FAILED|DELET")


def is_bus(stage: Stage, name: str) -> bool:
    """Ask whether an event bus exists.

    Raises:
        NotAllowed: there is no answer.
    """
    return _get(stage, "GetEventBus", EventBusName=name) is not None


def delivery_fault(stage: Stage, source_arn: str) -> str | None:
    """Return why a trigger's rule or stream delivers nothing; None if it does, or is not known.

    Args:
        stage: The stage.
        source_arn: The trigger's, as the cloud reports it.

    Raises:
        NotAllowed: there is no answer.
    """
    if match := _STREAM.fullmatch(source_arn):
        answer = _get(stage, "GetEventStreaming", EventStreamingName=match[1])
    elif match := _RULE.fullmatch(source_arn):
        answer = _get(stage, "GetRule", EventBusName=match[1], RuleName=match[2])
    else:
        return None
    if answer is None:
        return "does not exist"
    status = str(answer.get("Status"))
    return status if _STOPPED.search(status) else None


def _get(stage: Stage, action: str, **query: str) -> dict[str, Any] | None:
    host = f"eventbridge-console.{stage.region}.aliyuncs.com"
    in_body = action == "GetEventStreaming"
    answer = call_rpc(stage, host, _VERSION, action, query, in_body=in_body)
    if answer is None or "NotExist" in str(answer.get("Code")):  # its errors may come with status 200
        return None
    if answer.get("Success") is False or not isinstance(data := answer.get("Data"), dict):
        raise NotAllowed
    return data
