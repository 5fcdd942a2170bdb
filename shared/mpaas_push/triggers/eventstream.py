"""EventBridge event streams: messages of MNS queues, RocketMQ, RabbitMQ, Kafka and MQTT
(fc-runtime.md: Event streams).

Whatever of the observed shapes a payload has (array of objects, array of JSON texts, one bare object;
CloudEvents or only their data), the same message becomes the same `QueueRecord`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import UnreadablePayload
from mpaas_push.triggers.record import (
    DataEnvelope,
    Identifier,
    Number,
    QueueRecord,
    UnreadableElement,
    WireModel,
    digest,
    dumped,
    elements_of,
    shape_of,
    shaped,
    undone_base64,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_push.triggers.record import RecordOrError

__all__ = ["KafkaRecord", "MnsMessage", "MqttMessage", "RabbitMessage", "RocketMessage", "items_of"]

_EXPECTED = "an event stream's array of messages, or one of them"
_SOURCES = "MNS queue, RocketMQ, RabbitMQ, Kafka or MQTT"


class MnsMessage(WireModel):
    """A message of an MNS queue; its body is base64 when the source does not decode it
    (fc-runtime.md: Event streams).
    """

    messageId: Identifier
    messageBody: Any


class RocketMessage(WireModel):
    """A message of RocketMQ; `msgId` stands only in those of the self-managed product
    (fc-runtime.md: Event streams).
    """

    topic: Identifier
    systemProperties: dict[str, Any]
    userProperties: Any = None
    msgId: Any = None
    body: Any


class RabbitMessage(WireModel):
    """A message of RabbitMQ, whose body may be an object or text (fc-runtime.md: Event streams)."""

    envelope: dict[str, Any]
    props: dict[str, Any]
    body: Any


class KafkaRecord(WireModel):
    """A record of Kafka; its value is a structure, text or base64 by the task's format
    (fc-runtime.md: Event streams).
    """

    topic: Identifier
    partition: Number
    offset: Number
    value: Any


class MqttMessage(WireModel):
    """A message of MQTT; nothing in it identifies it (fc-runtime.md: Event streams)."""

    props: dict[str, Any]
    body: Any


def items_of(event: bytes) -> list[RecordOrError]:
    """Read the messages of an event stream, each at its place.

    Where a message carries no id of its own, the CloudEvent's source and id stand for it, and in RawData,
    where there is no CloudEvent, a hash of all that is the same at a redelivery: equal messages cannot be
    told apart there.

    Raises:
        UnreadablePayload: The payload is no array and no such message.
    """
    expected = f"{_EXPECTED} ({_SOURCES})"
    elements, bare = elements_of(event, expected)
    readings = [_reading(element) for element in elements]
    if bare and isinstance(readings[0], _Unknown):
        raise UnreadablePayload(f"expected {expected}; came {shape_of(elements[0])}")
    return readings


class _Unknown(UnreadableElement):
    """An element is neither a CloudEvent nor of a known source."""


def _reading(element: Any) -> RecordOrError:
    if isinstance(element, UnreadablePayload):
        return element
    if not isinstance(element, dict):
        return UnreadableElement(
            f"not a message of {_SOURCES}: expected an object, came {shape_of(element)}", element
        )
    try:
        if "specversion" not in element:
            return _item(element, element, None)
        if str(element.get("type")).startswith("dts:"):
            return _dts(element, element, None)
        source, event_id = _text(element.get("source")), _text(element.get("id"))
        return _item(element.get("data"), element, f"ce:{source}:{event_id}" if source and event_id else None)
    except UnreadableElement as error:
        return error


def _item(data: Any, element: dict[str, Any], event_scope: str | None) -> QueueRecord:
    """Read the data of a message.

    Args:
        data: The data, which tells the source.
        element: The element that holds it, or is it.
        event_scope: Source and id of the CloudEvent around it.

    Raises:
        UnreadableElement: No source sends such data, or a known one does not send it so.
    """
    for marks, read in _READERS:
        if isinstance(data, dict) and marks <= data.keys():
            return read(data, element, event_scope)
    reason = f"the data is none of {_SOURCES}: came {shape_of(data)}"
    raise (_Unknown if data is element else UnreadableElement)(reason, element)


def _mns(_data: dict[str, Any], element: Any, _: str | None) -> QueueRecord:
    message = shaped(element, MnsMessage, "a message of an MNS queue", DataEnvelope)
    return _with_body(f"mns:{message.messageId}", message.messageBody, element, base64_occurs=True)


def _kafka(_data: dict[str, Any], element: Any, _: str | None) -> QueueRecord:
    record = shaped(element, KafkaRecord, "a record of Kafka", DataEnvelope)
    scope = f"kafka:{record.topic}:{record.partition}:{record.offset}"
    return _with_body(scope, record.value, element, base64_occurs=True)


def _rocket(_data: dict[str, Any], element: Any, _: str | None) -> QueueRecord:
    message = shaped(element, RocketMessage, "a message of RocketMQ", DataEnvelope)
    system = message.systemProperties
    identity = _text(system.get("UNIQ_KEY")) or _text(message.msgId)
    if not identity:
        # Offsets, times and counts of the system properties change from one delivery to the next.
        keys = _text(system.get("KEYS"))
        lasting = [system.get("KEYS"), system.get("TAGS"), message.userProperties, message.body]
        identity = f"{keys}:{digest(lasting)}" if keys else digest(lasting)
    return _with_body(f"rocketmq:{message.topic}:{identity}", message.body, element)


def _rabbit(data: dict[str, Any], element: Any, event_scope: str | None) -> QueueRecord:
    message = shaped(element, RabbitMessage, "a message of RabbitMQ", DataEnvelope)
    identity = _text(message.props.get("messageId"))
    if identity:
        scope = f"rabbitmq:{identity}"
    elif event_scope:
        scope = event_scope
    else:
        # The broker counts deliveries and flags a repeated one.
        envelope = {
            key: value for key, value in message.envelope.items() if key not in {"deliveryTag", "redeliver"}
        }
        scope = digest({**data, "envelope": envelope})
    return _with_body(scope, message.body, element)


def _mqtt(data: dict[str, Any], element: Any, event_scope: str | None) -> QueueRecord:
    message = shaped(element, MqttMessage, "a message of MQTT", DataEnvelope)
    scope = event_scope or f"mqtt:{_text(message.props.get('firstTopic'))}:{digest(data)}"
    return _with_body(scope, message.body, element)


def _dts(_data: dict[str, Any], element: Any, _scope: str | None) -> QueueRecord:
    raise UnreadableElement(
        f"changes of a database (DTS) are not supported: their rows are no push messages; use {_SOURCES}",
        element,
    )


_READERS: tuple[tuple[set[str], Callable[[dict[str, Any], Any, str | None], QueueRecord]], ...] = (
    ({"messageId", "messageBody"}, _mns),
    ({"topic", "systemProperties"}, _rocket),
    ({"topicPartition", "operationType"}, _dts),
    ({"topic", "partition", "offset"}, _kafka),
    ({"envelope", "props", "body"}, _rabbit),
    ({"props", "body"}, _mqtt),
)
"""Readers by the keys that tell a source's data; the first that fits reads."""


def _with_body(scope: str, body: Any, element: Any, *, base64_occurs: bool = False) -> QueueRecord:
    if body is None:
        raise UnreadableElement("the message has no body", element)
    if isinstance(body, (dict, list)):
        return QueueRecord(scope, body, dumped(body))
    if not isinstance(body, str):
        body = dumped(body)
    return QueueRecord(scope, undone_base64(body) if base64_occurs else body, body)


def _text(value: Any) -> str:
    """Return a value that may serve to identify a message as text, else an empty text."""
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) else ""
