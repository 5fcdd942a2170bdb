"""EventBridge event streams: messages of MNS queues, RocketMQ, RabbitMQ, Kafka and MQTT
(fc-runtime.md: Event streams).

The same message becomes the same `QueueRecord` in every observed shape of a payload: array of objects, array
of JSON texts, one bare object; CloudEvents or only their data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import MESSAGE_CONTAINERS
from mpaas_push.triggers.record import (
    Identifier,
    Number,
    QueueRecord,
    UnreadableElement,
    WireModel,
    data_of,
    decode_base64,
    digest,
    elements_of,
    moment_of,
    parse_shape,
    read_elements,
    scope_of,
    shape_of,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_push.triggers.record import RecordOrError

__all__ = ["KafkaRecord", "MnsMessage", "MqttMessage", "RabbitMessage", "RocketMessage", "records_of"]

_EXPECTED = "an event stream's array of messages, or one of them"
_SOURCES = "MNS queue, RocketMQ, RabbitMQ, Kafka or MQTT"


class MnsMessage(WireModel):
    """A message of an MNS queue; its body is base64 when the source does not decode it
    (fc-runtime.md: Event streams).
    """

    messageId: Identifier
    messageBody: Any


class RocketMessage(WireModel):
    """A message of RocketMQ; only the self-managed product sends `msgId`
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
    timestamp: Number | None = None
    value: Any


class MqttMessage(WireModel):
    """A message of MQTT; nothing in it identifies it (fc-runtime.md: Event streams)."""

    props: dict[str, Any]
    body: Any


def records_of(event: bytes) -> list[RecordOrError]:
    """Read the messages of an event stream, each at its index.

    A message without an id is identified by the CloudEvent's source and id; in RawData, where there is no
    CloudEvent, by a hash of everything that a redelivery does not change, so equal messages cannot be
    distinguished there.

    Raises:
        UnreadablePayload: The payload is neither an array nor such a message.
    """
    expected = f"{_EXPECTED} ({_SOURCES})"
    elements, bare = elements_of(event, expected)
    records = read_elements(elements, _record)
    if bare and isinstance(records[0], _Unknown):
        raise UnreadablePayload(f"expected {expected}; got {shape_of(elements[0])}")
    return records


class _Unknown(UnreadableElement):
    """An element is neither a CloudEvent nor of a known source."""


class _Delivery(NamedTuple):
    """An element as delivered: everything but the data of its message.

    Attributes:
        element: The element, a CloudEvent or the data alone.
        scope: The CloudEvent's scope; None without source and id.
        subject: Names the instance, with account and region, and the queue or topic; empty in RawData.
        moment: The CloudEvent's `time`.
    """

    element: Any
    scope: str | None = None
    subject: str = ""
    moment: float | None = None


def _record(element: Any) -> RecordOrError:
    if isinstance(element, UnreadableElement):
        return element
    if not isinstance(element, dict):
        return UnreadableElement(f"not a message of {_SOURCES}: expected an object", element, element)
    try:
        if "specversion" not in element:
            return _read(element, _Delivery(element))
        if str(element.get("type")).startswith("dts:"):
            return _dts(element, _Delivery(element))
        return _read(data_of(element, containers=MESSAGE_CONTAINERS), _delivery_of(element))
    except UnreadableElement as error:
        return error.with_traceback(None)  # a traceback would keep these frames in memory


def _delivery_of(event: dict[str, Any]) -> _Delivery:
    source, event_id, subject = (_text(event.get(name)) for name in ("source", "id", "subject"))
    scope = scope_of("ce", source, _text(event.get("type")), subject, event_id)
    return _Delivery(event, scope if source and event_id else None, subject, moment_of(event.get("time")))


def _read(data: Any, delivery: _Delivery) -> QueueRecord:
    """Read the data of a message by the reader of its source.

    Raises:
        UnreadableElement: No source sends such data, or its source does not send it in this form.
    """
    for keys, read in _READERS:
        if isinstance(data, dict) and keys <= data.keys():
            return read(data, delivery)
    kind = _Unknown if data is delivery.element else UnreadableElement
    raise kind(f"expected the data of {_SOURCES}", delivery.element, data)


def _mns(data: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    message = parse_shape(data, MnsMessage, "a message of an MNS queue", original=delivery.element)
    scope = scope_of("mns", delivery.subject, message.messageId)
    return _with_body(scope, message.messageBody, delivery, may_be_base64=True)


def _kafka(data: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    record = parse_shape(data, KafkaRecord, "a record of Kafka", original=delivery.element)
    # A topic that is deleted and re-created restarts its offsets at 0.
    position = (record.topic, record.partition, record.offset, record.timestamp)
    moment = moment_of(record.timestamp)
    return _with_body(
        scope_of("kafka", delivery.subject, *position),
        record.value,
        delivery,
        may_be_base64=True,
        moment=moment,
    )


def _rocket(data: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    message = parse_shape(data, RocketMessage, "a message of RocketMQ", original=delivery.element)
    system = message.systemProperties
    instance = _text(system.get("INSTANCE_ID")) or _text(system.get("CLUSTER"))
    identity = _text(system.get("UNIQ_KEY")) or _text(message.msgId)
    if not identity and delivery.scope:
        return _with_body(delivery.scope, message.body, delivery)
    if not identity:
        # The offsets, times and counts among the system properties differ between deliveries.
        stable = [system.get("KEYS"), system.get("TAGS"), message.userProperties, message.body]
        identity = digest(stable)
    return _with_body(scope_of("rocketmq", instance, message.topic, identity), message.body, delivery)


def _rabbit(data: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    message = parse_shape(data, RabbitMessage, "a message of RabbitMQ", original=delivery.element)
    envelope, identity = message.envelope, _text(message.props.get("messageId"))
    if identity:
        # The sender chooses the id: it need not be unique across exchanges.
        route = (_text(envelope.get("exchange")), _text(envelope.get("routingKey")))
        scope = scope_of("rabbitmq", delivery.subject, *route, identity)
    elif delivery.scope:
        scope = delivery.scope
    else:
        # The broker changes these two keys with each delivery.
        stable = {key: value for key, value in envelope.items() if key not in {"deliveryTag", "redeliver"}}
        scope = scope_of("rabbitmq", digest({**data, "envelope": stable}))
    return _with_body(scope, message.body, delivery)


def _mqtt(data: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    message = parse_shape(data, MqttMessage, "a message of MQTT", original=delivery.element)
    scope = delivery.scope or scope_of("mqtt", _text(message.props.get("firstTopic")), digest(data))
    return _with_body(scope, message.body, delivery)


def _dts(_: dict[str, Any], delivery: _Delivery) -> QueueRecord:
    raise UnreadableElement(
        f"database changes (DTS) are not supported: their rows are not push messages; use {_SOURCES}",
        delivery.element,
    )


_READERS: tuple[tuple[set[str], Callable[[dict[str, Any], _Delivery], QueueRecord]], ...] = (
    ({"messageId", "messageBody"}, _mns),
    ({"topic", "systemProperties"}, _rocket),
    ({"topicPartition", "operationType"}, _dts),
    ({"topic", "partition", "offset"}, _kafka),
    ({"envelope", "props", "body"}, _rabbit),
    ({"props", "body"}, _mqtt),
)
"""Readers by the keys that identify a source's data; the first match is used."""


def _with_body(
    scope: str,
    body: Any,
    delivery: _Delivery,
    *,
    may_be_base64: bool = False,
    moment: float | None = None,
) -> QueueRecord:
    if body is None:
        raise UnreadableElement("the message has no body", delivery.element)
    moment = moment or delivery.moment
    if isinstance(body, (dict, list)):
        return QueueRecord(scope, body, write_json(body), moment)
    if not isinstance(body, str):
        body = write_json(body)
    return QueueRecord(scope, decode_base64(body) if may_be_base64 else body, body, moment)


def _text(value: Any) -> str:
    """Return an identifier as text: a text or a whole number; an empty text for anything else."""
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) else ""
