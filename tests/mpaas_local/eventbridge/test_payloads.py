"""The layer distinguishes the messages of a stream by their fields, and recognizes a redelivery."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.account import Account
from mpaas_local.eventbridge.payloads import MessageOrigin, ReceivedMessage, element
from mpaas_push.triggers import eventstream
from mpaas_push.triggers.record import QueueRecord

if TYPE_CHECKING:
    from mpaas_local.eventbridge.payloads import SourceKind

ACCOUNT = Account()
KAFKA = MessageOrigin(kind="Kafka", parameters={"InstanceId": "k", "Topic": "t"}, bus="Kafka-Function-t")
RABBIT = MessageOrigin(
    kind="RabbitMQ",
    parameters={"InstanceId": "r", "VirtualHostName": "v", "QueueName": "q"},
    bus="RabbitMQ-Function-t",
)
FIRST = ReceivedMessage(
    id="1",
    body="hello",
    published_at=1_700_000_000.0,
    properties={"partition": 0, "offset": 7, "exchange": "a", "routingKey": "x"},
)


def scope(message: ReceivedMessage, origin: MessageOrigin, schema: str, now: float = 1_700_000_100.0) -> str:
    event = element(message, origin, ACCOUNT, now)
    (record,) = eventstream.records_of(json.dumps([event["data"] if schema == "RawData" else event]).encode())
    assert isinstance(record, QueueRecord)
    return record.scope


@pytest.mark.parametrize("schema", ["CloudEvents", "RawData"])
@pytest.mark.parametrize(
    ("origin", "changes"),
    [
        (KAFKA, {"published_at": 1_700_000_001.0}),  # the topic was deleted and re-created
        (KAFKA, {"properties": {"partition": 1, "offset": 7}}),
        (KAFKA, {"properties": {"partition": 0, "offset": 8}}),
        (RABBIT, {"properties": {"exchange": "b", "routingKey": "x"}}),
        (RABBIT, {"properties": {"exchange": "a", "routingKey": "y"}}),
    ],
)
def test_messages_with_the_same_id_but_other_origins_have_different_scopes(
    origin: MessageOrigin, changes: dict[str, Any], schema: str
) -> None:
    assert scope(replace(FIRST, **changes), origin, schema) != scope(FIRST, origin, schema)
    assert scope(FIRST, origin, schema, now=1_700_009_999.0) == scope(FIRST, origin, schema)


@pytest.mark.parametrize("kind", ["RocketMQ", "Kafka", "RabbitMQ"])
def test_messages_of_two_instances_have_different_scopes(kind: SourceKind) -> None:
    one, two = (
        MessageOrigin(kind=kind, parameters={"InstanceId": name, "Topic": "t"}, bus="bus")
        for name in ("i1", "i2")
    )

    assert scope(FIRST, one, "CloudEvents") != scope(FIRST, two, "CloudEvents")
