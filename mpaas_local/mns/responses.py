"""Response bodies: the model as XML. Each function returns an `Element`; `serialize` turns it into bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

from mpaas_local.mns.elements import PROPERTY_ELEMENTS, QUEUE_ELEMENTS, TOPIC_ELEMENTS
from mpaas_local.xml_text import write_xml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpaas_local.mns.errors import MnsError
    from mpaas_local.mns.model import Message, Publication, Queue, Subscription, Topic

__all__ = [
    "account_document",
    "changed_visibility",
    "delete_errors",
    "error_document",
    "messages_document",
    "notification",
    "order_document",
    "peeked_message",
    "published_message",
    "queue_document",
    "queue_list",
    "received_message",
    "sent_message",
    "serialize",
    "subscription_document",
    "subscription_list",
    "topic_document",
    "topic_list",
]

_NAMESPACE = "http://mns.aliyuncs.com/doc/v1/"


def queue_document(queue: Queue) -> Element:
    """The response to GetQueueAttributes."""
    return _element("Queue", _queue_pairs(queue))


def queue_list(queues: Iterable[tuple[str, Queue]], marker: str, *, with_meta: bool) -> Element:
    """The response to ListQueue: pairs of URL and queue."""
    root = Element("Queues")
    for url, queue in queues:
        meta = _queue_pairs(queue) if with_meta else ()
        root.append(_element("Queue", [("QueueURL", url), *meta]))
    return _with_marker(root, marker)


def topic_document(topic: Topic) -> Element:
    """The response to GetTopicAttributes."""
    return _element("Topic", _topic_pairs(topic))


def topic_list(topics: Iterable[tuple[str, Topic]], marker: str, *, with_meta: bool) -> Element:
    """The response to ListTopic: pairs of URL and topic."""
    root = Element("Topics")
    for url, topic in topics:
        meta = _topic_pairs(topic) if with_meta else ()
        root.append(_element("Topic", [("TopicURL", url), *meta]))
    return _with_marker(root, marker)


def subscription_document(subscription: Subscription, owner: str) -> Element:
    """The response to GetSubscriptionAttributes."""
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
    """The response to ListSubscriptionByTopic."""
    root = Element("Subscriptions")
    for url in urls:
        root.append(_element("Subscription", [("SubscriptionURL", url)]))
    return _with_marker(root, marker)


def messages_document(elements: Iterable[Element]) -> Element:
    """`<Messages>` with several `<Message>` elements."""
    root = Element("Messages")
    root.extend(elements)
    return root


def sent_message(message: Message) -> Element:
    """The response to SendMessage; a delayed message has a handle by which it can be deleted."""
    pairs = [("MessageId", message.id), ("MessageBodyMD5", message.body_md5)]
    if message.receipt_handle:
        pairs.append(("ReceiptHandle", message.receipt_handle))
    if message.group_id:
        pairs.append(("MessageGroupId", message.group_id))
    return _element("Message", pairs)


def peeked_message(message: Message) -> Element:
    """The response to PeekMessage."""
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
            for item in properties:
                pairs = [("Name", item.name), ("Value", item.value), ("Type", item.type)]
                parent.append(_element(PROPERTY_ELEMENTS[tag], pairs))
    return element


def received_message(message: Message) -> Element:
    """The response to ReceiveMessage."""
    element = peeked_message(message)
    element.append(_leaf("ReceiptHandle", message.receipt_handle))
    element.append(_leaf("NextVisibleTime", message.next_visible_time))
    return element


def changed_visibility(message: Message) -> Element:
    """The response to ChangeMessageVisibility."""
    pairs = [("ReceiptHandle", message.receipt_handle), ("NextVisibleTime", message.next_visible_time)]
    return _element("ChangeVisibility", pairs)


def delete_errors(failures: Mapping[str, MnsError]) -> Element:
    """The response to a BatchDeleteMessage that did not delete everything."""
    root = Element("Errors")
    for handle, error in failures.items():
        pairs = [("ErrorCode", error.code), ("ErrorMessage", error.text), ("ReceiptHandle", handle)]
        root.append(_element("Error", pairs))
    return root


def published_message(publication: Publication) -> Element:
    """The response to PublishMessage."""
    pairs = [("MessageId", publication.id), ("MessageBodyMD5", publication.body_md5)]
    if publication.group_id:
        pairs.append(("MessageGroupId", publication.group_id))
    return _element("Message", pairs)


def notification(pairs: Iterable[tuple[str, object]]) -> Element:
    """The message that a subscription with `NotifyContentFormat` XML receives."""
    return _element("Notification", pairs)


def account_document(logging_bucket: str) -> Element:
    """The response to GetAccountAttributes."""
    return _element("Account", [("LoggingBucket", logging_bucket)])


def order_document(order_id: str) -> Element:
    """The response to OpenService."""
    return _element("OpenService", [("OrderId", order_id)])


def error_document(error: MnsError, request_id: str, host_id: str) -> Element:
    """The response to a refused request."""
    return _element(
        "Error",
        [("Code", error.code), ("Message", error.text), ("RequestId", request_id), ("HostId", host_id)],
    )


def serialize(root: Element) -> bytes:
    """Write a document in UTF-8, with its declaration and namespace."""
    root.set("xmlns", _NAMESPACE)
    return write_xml(root)


def _queue_pairs(queue: Queue) -> list[tuple[str, object]]:
    return [
        ("QueueName", queue.name),
        ("CreateTime", queue.create_time),
        ("LastModifyTime", queue.last_modify_time),
        *((tag, getattr(queue.attributes, name)) for tag, name in QUEUE_ELEMENTS.items()),
        ("ActiveMessages", queue.active_messages),
        ("InactiveMessages", queue.inactive_messages),
        ("DelayMessages", queue.delay_messages),
    ]


def _topic_pairs(topic: Topic) -> list[tuple[str, object]]:
    return [
        ("TopicName", topic.name),
        ("CreateTime", topic.create_time),
        ("LastModifyTime", topic.last_modify_time),
        *((tag, getattr(topic.attributes, name)) for tag, name in TOPIC_ELEMENTS.items()),
        ("MessageRetentionPeriod", 86_400),
        ("MessageCount", 0),  # a topic forwards messages at once and stores none
    ]


def _with_marker(root: Element, marker: str) -> Element:
    if marker:  # the SDK fails on an empty element
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
