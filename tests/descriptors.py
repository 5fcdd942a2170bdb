"""Descriptors for tests: a complete project, and triggers and functions with defaults that a test overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from project.triggers import Trigger

__all__ = ["ASYNC", "FUNCTION", "PROJECT", "parse_trigger", "trigger_document"]

PROJECT = Path(__file__).with_name("fixtures") / "project"
"""A user's project: its own descriptors and rules with the real functions and policies.

The user's own descriptors are checked only by `make validate`, so changing them fails no test.
"""

ASYNC = {
    "destinationConfig": {
        "onFailure": {"destination": "acs:mns:cn-hangzhou:1000000000000000:/queues/failed/messages"}
    }
}
FUNCTION: dict[str, Any] = {
    "region": "cn-hangzhou",
    "functionName": "f",
    "runtime": "python3.10",
    "handler": "index.handler",
    "code": "./code",
    "memorySize": 512,
    "timeout": 30,
    "role": "acs:ram::1000000000000000:role/f",
    "layers": ["acs:fc:cn-hangzhou:1000000000000000:layers/l/versions/1"],
    "logConfig": {"project": "p", "logstore": "l"},
    "asyncInvokeConfig": ASYNC,
}
"""The properties of a valid function."""

_CONFIGS: dict[str, dict[str, Any]] = {
    "http": {"authType": "function", "methods": ["GET", "POST"]},
    "timer": {"cronExpression": "0 * * * * *"},
    "mns_topic": {"notifyContentFormat": "STREAM", "notifyStrategy": "BACKOFF_RETRY"},
    "oss": {"events": ["oss:ObjectCreated:*"], "filter": {"key": {}}},
    "log": {
        "sourceConfig": {"logstore": "l"},
        "jobConfig": {"maxRetryTime": 3, "triggerInterval": 60},
        "logConfig": {"project": "p", "logstore": "etl"},
        "enable": True,
    },
    "cdn_events": {
        "eventName": "CachedObjectsRefreshed",
        "eventVersion": "1.0.0",
        "notes": "",
        "filter": {"domain": ["example.com"]},
    },
    "eventbridge": {
        "triggerEnable": True,
        "asyncInvocationType": False,
        "eventRuleFilterPattern": "{}",
        "eventSourceConfig": {"eventSourceType": "Default"},
    },
}
_SOURCES = {
    "mns_topic": "acs:mns:cn-hangzhou:1000000000000000:/topics/news",
    "oss": "acs:oss:cn-hangzhou:1000000000000000:uploads",
    "log": "acs:log:cn-hangzhou:1000000000000000:project/p",
    "cdn_events": "acs:cdn:*:1000000000000000",
}
_RUN = {
    "mode": "event-streaming",
    "errorsTolerance": "NONE",
    "retryStrategy": {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"},
    "batchWindow": {"CountBasedWindow": 1, "TimeBasedWindow": 0},
}


def trigger_document(
    kind: str, name: str = "t", source_arn: str | None = None, **config: Any
) -> dict[str, Any]:
    """Return a trigger as it is written in `s.yaml`.

    Args:
        kind: `triggerType`.
        name: `triggerName`.
        source_arn: `sourceArn`, for types that have one; by default, an example of the type.
        config: Overrides of `triggerConfig`; `runOptions` may be partial.
    """
    if "runOptions" in config:
        config = config | {"runOptions": _RUN | config["runOptions"]}
    document = {
        "triggerName": name,
        "triggerType": kind,
        "triggerConfig": _CONFIGS.get(kind, {}) | config,
    }
    if kind in _SOURCES:
        document["sourceArn"] = source_arn or _SOURCES[kind]
        document["invocationRole"] = "acs:ram::1000000000000000:role/r"
    return document


def parse_trigger(document: dict[str, Any]) -> Any:
    """Return the model of a trigger.

    Raises:
        ValidationError: it is not a valid trigger of the project.
    """
    return _TRIGGER.validate_python(document)


_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)
