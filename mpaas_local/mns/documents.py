"""The XML of the service: request bodies are read into the model, the model is written as answers.

A body goes in as bytes and comes out as an `Element` of local names; each `read_…` takes one and returns
data or raises `MnsError`. Each function of the second half returns an `Element`; `serialize` makes bytes of
it. A document type declaration is refused, so that no entity is ever expanded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers import expat

from mpaas_local.mns.errors import MnsError, schema_violation
from mpaas_local.mns.model import DEFAULT_PRIORITY, Outgoing, Property, Publication, SubscriptionAttributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpaas_local.mns.model import ContentFormat, Message, Queue, Strategy, Subscription, Topic

__all__ = [
    "account_document",
    "delete_errors",
    "error_document",
    "messages_document",
    "notification",
    "order_document",
    "parse",
    "peeked",
    "published",
    "queue_document",
    "queue_list",
    "read_account",
    "read_handles",
    "read_messages",
    "read_publication",
    "read_queue",
    "read_strategy",
    "read_subscription",
    "read_topic",
    "received",
    "sent",
    "serialize",
    "subscription_document",
    "subscription_list",
    "topic_document",
    "topic_list",
    "visibility",
]

NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"
"""Of every document."""

_DEPTH_LIMIT = 8
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_QUEUE_FIELDS = {
    "DelaySeconds": "delay_seconds",
    "MaximumMessageSize": "maximum_message_size",
    "MessageRetentionPeriod": "message_retention_period",
    "VisibilityTimeout": "visibility_timeout",
    "PollingWaitSeconds": "polling_wait_seconds",
    "LoggingEnabled": "logging_enabled",
}
_TOPIC_FIELDS = {"MaximumMessageSize": "maximum_message_size", "LoggingEnabled": "logging_enabled"}
_SUBSCRIPTION_FIELDS = {
    "Endpoint": "endpoint",
    "NotifyStrategy": "notify_strategy",
    "NotifyContentFormat": "notify_content_format",
    "FilterTag": "filter_tag",
}
_PROPERTIES = {"UserProperties": "PropertyValue", "SystemProperties": "SystemPropertyValue"}


def parse(body: bytes) -> Element:
    """Read a document; namespaces and attributes are left out.

    Raises:
        MnsError: `MalformedXML` if it is not well-formed, is nested too deep or declares a document type.
    """
    builder = TreeBuilder()
    depth = 0

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH_LIMIT:
            raise MnsError("MalformedXML", f"The XML is nested deeper than {_DEPTH_LIMIT} elements.")
        builder.start(name.rpartition(" ")[2], {})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition(" ")[2])

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise MnsError("MalformedXML", f"The XML you provided was not well-formed: {error}.") from error
    return builder.close()


def serialize(root: Element) -> bytes:
    """Write a document in UTF-8, with its declaration and namespace."""
    root.set("xmlns", NAMESPACE)
    # A parser would read a bare carriage return as a line feed.
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written.replace(b"\r", b"&#13;")


def read_queue(root: Element) -> dict[str, int | bool]:
    """Read `<Queue>`: the attributes that are set in it."""
    return _settings(root, "Queue", _QUEUE_FIELDS)


def read_topic(root: Element) -> dict[str, int | bool]:
    """Read `<Topic>`: the attributes that are set in it."""
    return _settings(root, "Topic", _TOPIC_FIELDS)


def read_messages(root: Element) -> tuple[list[Outgoing], bool]:
    """Read `<Message>` or `<Messages>`; says, too, whether it was a batch."""
    if root.tag == "Messages":
        return [_outgoing(child) for child in _children(root, "Messages", {"Message"})], True
    return [_outgoing(root)], False


def read_publication(root: Element) -> Publication:
    """Read the `<Message>` of a topic."""
    allowed = {"MessageBody", "MessageTag", "MessageAttributes", "MessageGroupId", *_PROPERTIES}
    found = {child.tag: child for child in _children(root, "Message", allowed)}
    return Publication(
        body=_text(found, "MessageBody"),
        tag=_text(found, "MessageTag", ""),
        attributes={child.tag: child.text or "" for child in found.get("MessageAttributes", ())},
        group_id=_text(found, "MessageGroupId", ""),
        user_properties=_properties(found, "UserProperties"),
        system_properties=_properties(found, "SystemProperties"),
    )


def read_subscription(root: Element) -> SubscriptionAttributes:
    """Read `<Subscription>`."""
    found = {child.tag: child for child in _children(root, "Subscription", set(_SUBSCRIPTION_FIELDS))}
    return SubscriptionAttributes(
        endpoint=_text(found, "Endpoint"),
        notify_strategy=cast("Strategy", _text(found, "NotifyStrategy", "BACKOFF_RETRY")),
        notify_content_format=cast("ContentFormat", _text(found, "NotifyContentFormat", "XML")),
        filter_tag=_text(found, "FilterTag", ""),
    )


def read_strategy(root: Element) -> Strategy | None:
    """Read the only thing of `<Subscription>` that can be changed; None if it is not there."""
    found = {child.tag: child for child in _children(root, "Subscription", {"NotifyStrategy"})}
    return cast("Strategy", _text(found, "NotifyStrategy")) if found else None


def read_handles(root: Element) -> list[str]:
    """Read `<ReceiptHandles>`."""
    return [child.text or "" for child in _children(root, "ReceiptHandles", {"ReceiptHandle"})]


def read_account(root: Element) -> str | None:
    """Read the logging bucket of `<Account>`; None if it is not there."""
    found = {child.tag: child for child in _children(root, "Account", {"LoggingBucket"})}
    return _text(found, "LoggingBucket", "") if found else None


def queue_document(queue: Queue) -> Element:
    """The answer to GetQueueAttributes."""
    return _element("Queue", _queue_pairs(queue))


def queue_list(queues: Iterable[tuple[str, Queue]], marker: str, *, with_meta: bool) -> Element:
    """The answer to ListQueue: addresses, each with its queue."""
    root = Element("Queues")
    for url, queue in queues:
        meta = _queue_pairs(queue) if with_meta else ()
        root.append(_element("Queue", [("QueueURL", url), *meta]))
    return _with_marker(root, marker)


def topic_document(topic: Topic) -> Element:
    """The answer to GetTopicAttributes."""
    return _element("Topic", _topic_pairs(topic))


def topic_list(topics: Iterable[tuple[str, Topic]], marker: str, *, with_meta: bool) -> Element:
    """The answer to ListTopic: addresses, each with its topic."""
    root = Element("Topics")
    for url, topic in topics:
        meta = _topic_pairs(topic) if with_meta else ()
        root.append(_element("Topic", [("TopicURL", url), *meta]))
    return _with_marker(root, marker)


def subscription_document(subscription: Subscription, owner: str) -> Element:
    """The answer to GetSubscriptionAttributes."""
    attributes = subscription.attributes
    tag = [("FilterTag", attributes.filter_tag)] if attributes.filter_tag else []
    pairs = [
        ("TopicOwner", owner),
        ("TopicName", subscription.topic),
        ("Subscriber", owner),
        ("SubscriptionName", subscription.name),
        ("Endpoint", attributes.endpoint),
        ("NotifyStrategy", attributes.notify_strategy),
        ("NotifyContentFormat", attributes.notify_content_format),
        *tag,
        ("CreateTime", subscription.create_time),
        ("LastModifyTime", subscription.last_modify_time),
    ]
    return _element("Subscription", pairs)


def subscription_list(urls: Iterable[str], marker: str) -> Element:
    """The answer to ListSubscriptionByTopic."""
    root = Element("Subscriptions")
    for url in urls:
        root.append(_element("Subscription", [("SubscriptionURL", url)]))
    return _with_marker(root, marker)


def messages_document(elements: Iterable[Element]) -> Element:
    """Several `<Message>` in `<Messages>`."""
    root = Element("Messages")
    root.extend(elements)
    return root


def sent(message: Message) -> Element:
    """The answer to SendMessage; a delayed message has a handle, by which it can be taken back."""
    pairs = [("MessageId", message.id), ("MessageBodyMD5", message.body_md5)]
    if message.receipt_handle:
        pairs.append(("ReceiptHandle", message.receipt_handle))
    if message.group_id:
        pairs.append(("MessageGroupId", message.group_id))
    return _element("Message", pairs)


def peeked(message: Message) -> Element:
    """The answer to PeekMessage."""
    pairs: list[tuple[str, object]] = [
        ("MessageId", message.id),
        ("MessageBodyMD5", message.body_md5),
        ("MessageBody", message.body),
        ("EnqueueTime", message.enqueue_time),
        ("FirstDequeueTime", message.first_dequeue_time),
        ("DequeueCount", message.dequeue_count),
        ("Priority", message.priority),
    ]
    if message.group_id:
        pairs.append(("MessageGroupId", message.group_id))
    element = _element("Message", pairs)
    for tag, properties in (
        ("UserProperties", message.user_properties),
        ("SystemProperties", message.system_properties),
    ):
        if properties:
            parent = SubElement(element, tag)
            for each in properties:
                pairs = [("Name", each.name), ("Value", each.value), ("Type", each.type)]
                parent.append(_element(_PROPERTIES[tag], pairs))
    return element


def received(message: Message) -> Element:
    """The answer to ReceiveMessage."""
    element = peeked(message)
    element.append(_leaf("ReceiptHandle", message.receipt_handle))
    element.append(_leaf("NextVisibleTime", message.next_visible_time))
    return element


def visibility(message: Message) -> Element:
    """The answer to ChangeMessageVisibility."""
    pairs = [("ReceiptHandle", message.receipt_handle), ("NextVisibleTime", message.next_visible_time)]
    return _element("ChangeVisibility", pairs)


def delete_errors(failures: Mapping[str, MnsError]) -> Element:
    """The answer to a BatchDeleteMessage that left messages behind."""
    root = Element("Errors")
    for handle, error in failures.items():
        pairs = [("ErrorCode", error.code), ("ErrorMessage", error.text), ("ReceiptHandle", handle)]
        root.append(_element("Error", pairs))
    return root


def published(publication: Publication) -> Element:
    """The answer to PublishMessage."""
    pairs = [("MessageId", publication.id), ("MessageBodyMD5", publication.body_md5)]
    if publication.group_id:
        pairs.append(("MessageGroupId", publication.group_id))
    return _element("Message", pairs)


def notification(pairs: Iterable[tuple[str, object]]) -> Element:
    """The message that a subscription with `NotifyContentFormat` XML is sent."""
    return _element("Notification", pairs)


def account_document(logging_bucket: str) -> Element:
    """The answer to GetAccountAttributes."""
    return _element("Account", [("LoggingBucket", logging_bucket)])


def order_document(order_id: str) -> Element:
    """The answer to OpenService."""
    return _element("OpenService", [("OrderId", order_id)])


def error_document(error: MnsError, request_id: str, host_id: str) -> Element:
    """The answer to whatever was refused."""
    return _element(
        "Error",
        [("Code", error.code), ("Message", error.text), ("RequestId", request_id), ("HostId", host_id)],
    )


def _outgoing(root: Element) -> Outgoing:
    allowed = {"MessageBody", "DelaySeconds", "Priority", "MessageGroupId", *_PROPERTIES}
    found = {child.tag: child for child in _children(root, "Message", allowed)}
    return Outgoing(
        body=_text(found, "MessageBody"),
        delay_seconds=_number(found["DelaySeconds"]) if "DelaySeconds" in found else None,
        priority=_number(found["Priority"]) if "Priority" in found else DEFAULT_PRIORITY,
        group_id=_text(found, "MessageGroupId", ""),
        user_properties=_properties(found, "UserProperties"),
        system_properties=_properties(found, "SystemProperties"),
    )


def _properties(found: Mapping[str, Element], tag: str) -> tuple[Property, ...]:
    if tag not in found:
        return ()
    read = []
    for element in _children(found[tag], tag, {_PROPERTIES[tag]}):
        parts = {
            child.tag: child for child in _children(element, _PROPERTIES[tag], {"Name", "Value", "Type"})
        }
        read.append(Property(_text(parts, "Name"), _text(parts, "Value"), _text(parts, "Type", "STRING")))
    return tuple(read)


def _settings(root: Element, tag: str, names: Mapping[str, str]) -> dict[str, int | bool]:
    read: dict[str, int | bool] = {}
    for child in _children(root, tag, set(names)):
        read[names[child.tag]] = _flag(child) if child.tag == "LoggingEnabled" else _number(child)
    return read


def _children(root: Element, tag: str, allowed: set[str]) -> list[Element]:
    if root.tag != tag:
        raise schema_violation(root.tag)
    children = list(root)
    for child in children:
        if child.tag not in allowed:
            raise schema_violation(child.tag)
    return children


def _text(found: Mapping[str, Element], tag: str, default: str | None = None) -> str:
    if tag in found:
        return found[tag].text or ""
    if default is None:
        raise schema_violation(tag)
    return default


def _number(element: Element) -> int:
    text = (element.text or "").strip()
    if not _NUMBER.fullmatch(text):
        raise schema_violation(element.tag)
    return int(text)


def _flag(element: Element) -> bool:
    text = (element.text or "").strip().lower()
    if text not in {"true", "false"}:
        raise schema_violation(element.tag)
    return text == "true"


def _queue_pairs(queue: Queue) -> list[tuple[str, object]]:
    return [
        ("QueueName", queue.name),
        ("CreateTime", queue.create_time),
        ("LastModifyTime", queue.last_modify_time),
        *((tag, getattr(queue.attributes, name)) for tag, name in _QUEUE_FIELDS.items()),
        ("ActiveMessages", queue.active_messages),
        ("InactiveMessages", queue.inactive_messages),
        ("DelayMessages", queue.delay_messages),
    ]


def _topic_pairs(topic: Topic) -> list[tuple[str, object]]:
    return [
        ("TopicName", topic.name),
        ("CreateTime", topic.create_time),
        ("LastModifyTime", topic.last_modify_time),
        *((tag, getattr(topic.attributes, name)) for tag, name in _TOPIC_FIELDS.items()),
        ("MessageRetentionPeriod", 86_400),
        ("MessageCount", 0),  # a message is passed on while it is published
    ]


def _with_marker(root: Element, marker: str) -> Element:
    if marker:  # the SDK stumbles over an empty element
        root.append(_leaf("NextMarker", marker))
    return root


def _element(tag: str, pairs: Iterable[tuple[str, object]]) -> Element:
    element = Element(tag)
    element.extend(_leaf(name, value) for name, value in pairs)
    return element


def _leaf(tag: str, value: object) -> Element:
    leaf = Element(tag)
    leaf.text = str(value)
    return leaf


def _refuse_doctype(*_: object) -> None:
    raise MnsError("MalformedXML", "The XML must not declare a document type.")
