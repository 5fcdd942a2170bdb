"""The models of triggers and functions refuse invalid values, so that their users need not check them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from project.faults import faults_of
from project.function import FunctionProperties
from project.triggers import PAYLOAD_BYTES
from tests.descriptors import ASYNC, FUNCTION, parse_trigger, trigger_document

QUEUE = "acs:mns:cn-hangzhou:1000000000000000:/queues/q"
PARAMETERS: dict[str, dict[str, Any]] = {
    "MNS": {"RegionId": "cn-hangzhou", "QueueName": "q", "IsBase64Decode": True},
    "Kafka": {"RegionId": "cn-hangzhou", "InstanceId": "k", "Topic": "t", "ConsumerGroup": "g"},
}


def stream(kind: str = "MNS", **config: Any) -> dict[str, Any]:
    parameters = {f"source{kind}Parameters": PARAMETERS[kind]}
    source = {"eventSourceType": kind, "eventSourceParameters": parameters}
    return trigger_document("eventbridge", eventSourceConfig=source, **config)


def run(**options: Any) -> dict[str, Any]:
    return stream(runOptions=options)


def window(count: int, seconds: int = 0) -> dict[str, Any]:
    return run(batchWindow={"CountBasedWindow": count, "TimeBasedWindow": seconds})


def delivery(**options: Any) -> dict[str, Any]:
    return stream("Kafka", eventSinkConfig={"deliveryOption": {"eventSchema": "CloudEvents"} | options})


TRIGGERS = [
    (window(0), "runOptions.batchWindow.CountBasedWindow", "must be at least 1"),
    (window(10001), "runOptions.batchWindow.CountBasedWindow", "must be at most 10000"),
    (window(1, 16), "runOptions.batchWindow.TimeBasedWindow", "must be at most 15"),
    (run(mode="stream"), "runOptions.mode", "'event-streaming' or 'event-driven'"),
    (stream("Kafka", runOptions={"mode": "event-driven"}), "", "must be event-streaming for Kafka"),
    (run(errorsTolerance="SOME"), "runOptions.errorsTolerance", "'ALL' or 'NONE'"),
    (
        run(retryStrategy={"PushRetryStrategy": "X"}),
        "runOptions.retryStrategy.PushRetryStrategy",
        "'BACKOFF_RETRY'",
    ),
    (run(deadLetterQueue={"Arn": QUEUE}), "runOptions", "errorsTolerance must be ALL"),
    (
        run(errorsTolerance="ALL", deadLetterQueue={"Arn": "acs:eventbridge:cn-hangzhou:1:eventbus/x"}),
        "runOptions.deadLetterQueue.Arn",
        "must be a queue",
    ),
    (delivery(eventSchema="Raw"), "eventSinkConfig.deliveryOption.eventSchema", "'CloudEvents'"),
    (delivery(concurrency=301), "eventSinkConfig.deliveryOption.concurrency", "must be at most 300"),
    (stream(asyncInvocationType="true"), "asyncInvocationType", "must be true or false, not text"),
    (stream(eventRuleFilterPattern="{"), "eventRuleFilterPattern", "not JSON"),
    (trigger_document("timer", cronExpression=None), "cronExpression", "must be text, not null"),
    (trigger_document("timer", cronExpression="0 0 25 * * *"), "cronExpression", "hours: '25'"),
    (trigger_document("timer", payload={"job": "sync"}), "payload", "must be text, not an object"),
    (trigger_document("timer", payload="x" * (PAYLOAD_BYTES + 1)), "payload", "at most 131,072"),
    (trigger_document("timer", enable="yes"), "enable", "must be true or false, not text"),
    (trigger_document("mns_topic", notifyContentFormat="SIMPLIFIED"), "notifyContentFormat", "'STREAM'"),
    (trigger_document("mns_topic", notifyStrategy="NEVER"), "notifyStrategy", "'BACKOFF_RETRY'"),
    (trigger_document("mns_topic", filterTag="x" * 17), "filterTag", "must have at most 16 characters"),
    (trigger_document("oss", events=[]), "events", "must not be empty"),
    (trigger_document("oss", events=["ObjectCreated:PutObject"]), "events.0", "is not an event of OSS"),
]


@pytest.mark.parametrize(("document", "path", "message"), TRIGGERS)
def test_invalid_trigger_is_refused_with_its_path(document: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FunctionProperties.model_validate(FUNCTION | {"triggers": [document]})

    (fault,) = faults_of(caught.value, "", ["t"])
    assert fault.field == f"triggers.t.triggerConfig.{path}".rstrip(".")
    assert message in fault.message


@pytest.mark.parametrize(
    ("kind", "arn", "message"),
    [
        ("mns_topic", QUEUE, "must be a topic"),
        ("oss", "uploads", "must be a bucket"),
        ("oss", "acs:oss:cn-hangzhou:1000000000000000:", "must be a bucket"),
    ],
)
def test_source_of_the_wrong_kind_is_refused(kind: str, arn: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse_trigger(trigger_document(kind, source_arn=arn))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("maxAsyncRetryAttempts", 9),
        ("maxAsyncRetryAttempts", -1),
        ("maxAsyncRetryAttempts", "3"),
        ("maxAsyncEventAgeInSeconds", 0),
        ("maxAsyncEventAgeInSeconds", 2592001),
    ],
)
def test_asynchronous_setting_out_of_range_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        FunctionProperties.model_validate(FUNCTION | {"asyncInvokeConfig": {**ASYNC, key: value}})

    (fault,) = faults_of(caught.value, "")
    assert fault.field == f"asyncInvokeConfig.{key}"


def test_provision_config_without_instances_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        FunctionProperties.model_validate(FUNCTION | {"provisionConfig": {"defaultTarget": 0}})

    (fault,) = faults_of(caught.value, "")
    assert fault.field == "provisionConfig"
    assert "keeps no instance" in fault.message


@pytest.mark.parametrize("key", ["scalingConfig", "vpcBinding", "customDomain"])
def test_property_that_cannot_be_read_back_is_refused(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FunctionProperties.model_validate(FUNCTION | {key: {"target": 1}})

    (fault,) = faults_of(caught.value, "")
    assert fault.field == key
    assert "is not supported, since make deploy cannot read it back" in fault.message


def test_dumped_model_equals_its_document() -> None:
    triggers = [
        stream("Kafka", runOptions={"errorsTolerance": "ALL", "deadLetterQueue": {"Arn": QUEUE}}),
        *(
            trigger_document(kind, kind)
            for kind in ("http", "timer", "mns_topic", "oss", "log", "cdn_events")
        ),
    ]
    warm = {
        "defaultTarget": 2,
        "alwaysAllocateCPU": False,
        "scheduledActions": [{"name": "day", "target": 5}],
    }
    document = FUNCTION | {
        "cpu": 0.5,
        "environmentVariables": {"A": ""},
        "triggers": triggers,
        "provisionConfig": warm,
    }

    parsed = FunctionProperties.model_validate(document)

    assert parsed.model_dump(by_alias=True, exclude_unset=True) == document
