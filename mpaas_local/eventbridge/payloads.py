"""The messages of each queue product as a function receives them through an event stream
(fc-runtime.md: Event streams).

`element` turns a `ReceivedMessage` into its CloudEvent, with the keys, key order and types of the documented
samples. Everything that identifies a message (CloudEvent id, UNIQ_KEY, offset) is derived from its id and
thus the same at every redelivery.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mpaas_local.clock import utc_text
from mpaas_local.mns.model import decode_body

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpaas_local.account import Account

__all__ = [
    "SOURCES",
    "MessageOrigin",
    "ReceivedMessage",
    "SourceKind",
    "ValueFormat",
    "element",
]

SourceKind = Literal["MNS", "RocketMQ", "RabbitMQ", "Kafka", "MQTT", "ApacheRocketMQ"]
"""`eventSourceType` (fc-runtime.md: Event stream configuration). `ApacheRocketMQ` is self-managed RocketMQ,
whose literal is not documented."""
ValueFormat = Literal["Text", "Json", "Binary"]
"""Data format of a Kafka task: the form of a record's value (fc-runtime.md: Event streams)."""


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """One message received from its queue.

    Attributes:
        id: Unique in the queue, the same at every redelivery.
        body: Text.
        published_at: Seconds since 1970.
        properties: The product's other fields, all optional. RocketMQ: `TAGS`, `KEYS`, `user` (map).
            RabbitMQ: `exchange`, `routingKey`, `deliveryTag`, `redeliver`. Kafka: `key`, `partition`,
            `offset`, `headers`. MQTT: `firstTopic`, `secondTopic`, `clientId`.
        receipt: The queue's receipt, which deletes the message.
    """

    id: str
    body: str
    published_at: float
    properties: Mapping[str, Any] = field(default_factory=dict)
    receipt: Any = None


@dataclass(frozen=True, kw_only=True)
class MessageOrigin:
    """The source of messages, as the messages name it.

    Attributes:
        kind: `eventSourceType`.
        parameters: `source<Kind>Parameters` of the trigger.
        bus: Name of the event stream, such as `MNS-Function-<trigger>`.
        datacontenttype: `datacontenttype` of the CloudEvents; None for the product's default.
        value_format: The form of a Kafka record's value.
    """

    kind: SourceKind
    parameters: Mapping[str, Any]
    bus: str
    datacontenttype: str | None = None
    value_format: ValueFormat = "Text"


@dataclass(frozen=True)
class _Product:
    """The CloudEvents of one product."""

    type: str
    subject: Callable[[Mapping[str, Any], Account], str]
    data: Callable[[ReceivedMessage, MessageOrigin, Account], dict[str, Any]]
    datacontenttype: str = "application/json; charset=utf-8"


def element(message: ReceivedMessage, origin: MessageOrigin, account: Account, now: float) -> dict[str, Any]:
    """Return the CloudEvent of a message; with `RawData`, only its `data` is sent
    (fc-runtime.md: Event streams).
    """
    product = SOURCES[origin.kind]
    event_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{origin.bus}/{message.id}"))
    content_type = origin.datacontenttype or product.datacontenttype
    subject = product.subject(origin.parameters, account)
    time = utc_text(message.published_at)
    data = product.data(message, origin, account)
    if origin.kind == "Kafka":  # the sample has a different order and fewer attributes
        return {
            "specversion": "1.0",
            "id": event_id,
            "source": "acs:alikafka",
            "type": product.type,
            "subject": subject,
            "datacontenttype": content_type,
            "time": time,
            "aliyunaccountid": account.account_id,
            "data": data,
        }
    return {
        "id": event_id,
        "source": origin.bus,
        "specversion": "1.0",
        "type": product.type,
        "datacontenttype": content_type,
        "subject": subject,
        "time": time,
        "aliyunaccountid": account.account_id,
        "aliyunpublishtime": utc_text(now),
        "aliyunoriginalaccountid": account.account_id,
        "aliyuneventbusname": origin.bus,
        "aliyunregionid": account.region,
        "aliyunpublishaddr": "127.0.0.1",
        "data": data,
    }


def _derive_hex(message: ReceivedMessage, purpose: str, digits: int) -> str:
    """Return hexadecimal digits derived from a message's id."""
    return hashlib.sha256(f"{purpose}/{message.id}".encode()).hexdigest()[:digits].upper()


def _mns(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    del account
    body = message.body
    if origin.parameters.get("IsBase64Decode", True):
        body = decode_body(body)
    return {"requestId": _derive_hex(message, "request", 24), "messageId": message.id, "messageBody": body}


def _rocketmq(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    properties = message.properties
    return {
        "topic": str(origin.parameters.get("Topic", "")),
        "systemProperties": {
            "MIN_OFFSET": "0",
            "TRACE_ON": "true",
            "MAX_OFFSET": "8",
            "MSG_REGION": str(origin.parameters.get("RegionId", account.region)),
            **{key: properties[key] for key in ("KEYS",) if key in properties},
            "CONSUME_START_TIME": int(message.published_at * 1000),
            "UNIQ_KEY": _derive_hex(message, "unique", 32),
            **{key: properties[key] for key in ("TAGS",) if key in properties},
            "INSTANCE_ID": str(origin.parameters.get("InstanceId", "")),
        },
        "userProperties": dict(properties.get("user", {})),
        "body": message.body,
    }


def _rabbitmq(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    del account
    properties = message.properties
    try:
        body = json.loads(message.body)
    except ValueError:
        body = message.body
    return {
        "envelope": {
            "deliveryTag": properties.get("deliveryTag", 1),
            "exchange": properties.get("exchange", ""),
            "redeliver": properties.get("redeliver", False),
            "routingKey": properties.get("routingKey", origin.parameters.get("QueueName", "")),
        },
        "body": body if isinstance(body, (dict, list)) else message.body,
        "props": {"contentEncoding": "UTF-8", "messageId": message.id},
    }


def _kafka(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    del account
    properties = message.properties
    return {
        "topic": str(origin.parameters.get("Topic", "")),
        "partition": properties.get("partition", 0),
        "offset": properties.get("offset", int(_derive_hex(message, "offset", 12), 16)),
        "timestamp": int(message.published_at * 1000),
        "headers": {"headers": list(properties.get("headers", ())), "isReadOnly": False},
        **{key: properties[key] for key in ("key",) if properties.get(key) is not None},
        "value": _value(message.body, origin.value_format),
    }


def _value(body: str, value_format: ValueFormat) -> Any:
    if value_format == "Binary":
        return base64.b64encode(body.encode()).decode()
    if value_format == "Json":
        try:
            return json.loads(body)
        except ValueError:
            return body
    return body


def _mqtt(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    del account
    properties = message.properties
    return {
        "props": {
            "firstTopic": properties.get("firstTopic", str(origin.parameters.get("Topic", ""))),
            "secondTopic": properties.get("secondTopic", ""),
            "clientId": properties.get("clientId", ""),
        },
        "body": message.body,
    }


def _apache_rocketmq(message: ReceivedMessage, origin: MessageOrigin, account: Account) -> dict[str, Any]:
    del account
    properties = message.properties
    unique = _derive_hex(message, "unique", 32)
    return {
        "msgId": unique,
        "topic": str(origin.parameters.get("Topic", "")),
        "systemProperties": {
            "UNIQ_KEY": unique,
            "CLUSTER": "DefaultCluster",
            "MIN_OFFSET": "0",
            **{key: properties[key] for key in ("TAGS",) if key in properties},
            "MAX_OFFSET": "128",
        },
        "userProperties": dict(properties.get("user", {})),
        "body": message.body,
    }


def _mq_subject(parameters: Mapping[str, Any], account: Account) -> str:
    path = f"{parameters.get('InstanceId', '')}%{parameters.get('Topic', '')}"
    return f"acs:mq:{account.region}:{account.account_id}:{path}"


def _amqp_subject(parameters: Mapping[str, Any], account: Account) -> str:
    path = f"instances/{parameters.get('InstanceId', '')}/vhosts/{parameters.get('VirtualHostName', '')}"
    return f"acs:amqp:{account.region}:{account.account_id}:/{path}/queues/{parameters.get('QueueName', '')}"


SOURCES: Mapping[str, _Product] = {
    "MNS": _Product(
        "mns:Queue:SendMessage",
        lambda parameters, account: (
            f"acs:mns:{account.region}:{account.account_id}:queues/{parameters.get('QueueName', '')}"
        ),
        _mns,
    ),
    "RocketMQ": _Product("mq:Topic:SendMessage", _mq_subject, _rocketmq),
    "RabbitMQ": _Product(
        "amqp:Queue:SendMessage", _amqp_subject, _rabbitmq, datacontenttype="application/json;charset=utf-8"
    ),
    "Kafka": _Product(
        "alikafka:Topic:Message",
        lambda parameters, _: f"acs:{parameters.get('InstanceId', '')}:topic:{parameters.get('Topic', '')}",
        _kafka,
    ),
    # Only the raw form of these two is documented; their CloudEvents follow RocketMQ's.
    "MQTT": _Product(
        "mqtt:Topic:SendMessage",
        lambda parameters, account: (
            f"acs:mqtt:{account.region}:{account.account_id}:{parameters.get('Topic', '')}"
        ),
        _mqtt,
    ),
    "ApacheRocketMQ": _Product("mq:Topic:SendMessage", _mq_subject, _apache_rocketmq),
}
"""The supported products, by `eventSourceType`."""
