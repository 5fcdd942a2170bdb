"""Operations on topics and subscriptions, with the official SDK as the client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from mpaas_local.mns import (
    MnsError,
    MnsServer,
    Publication,
    Subscription,
    SubscriptionAttributes,
    TopicAttributes,
)
from tests.mpaas_local.mns.sdk import (
    ServerError,
    SubscriptionMeta,
    TopicMessage,
    TopicMeta,
    property_module,
    topic_module,
)

if TYPE_CHECKING:
    from tests.clocks import ManualClock

FUNCTION = "acs:fc:cn-hangzhou:1000000000000000:functions/event_push"
QUEUE = "acs:mns:cn-hangzhou:1000000000000000:queues/orders"
NAMESPACE = "{http://mns.aliyuncs.com/doc/v1/}"


@pytest.fixture
def topic(account: Any) -> Any:
    topic = account.get_topic("news")
    topic.create(TopicMeta())
    return topic


@pytest.fixture
def deliveries(server: MnsServer) -> Any:
    """Subscription names and messages that in-process listeners received."""
    received: list[tuple[str, Publication]] = []
    remove = server.store.topics.on_publish(
        lambda subscription, message: received.append((subscription.name, message))
    )
    yield received
    remove()


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(ServerError) as raised:
        call(*arguments)
    return str(raised.value.type)


def test_topic_is_created_changed_and_deleted(account: Any, topic: Any, clock: ManualClock) -> None:
    assert topic.create(TopicMeta()).endswith("/topics/news")
    assert refusal(topic.create, TopicMeta(2048)) == "TopicAlreadyExist"
    clock.advance(5)
    topic.set_attributes(TopicMeta(4096, logging_enabled=True))
    meta = topic.get_attributes()
    assert (meta.topic_name, meta.maximum_message_size, meta.logging_enabled) == ("news", 4096, True)
    assert (meta.message_retention_period, meta.message_count) == (86400, 0)
    assert meta.last_modify_time == meta.create_time + 5
    topic.delete()
    topic.delete()
    assert refusal(topic.get_attributes) == "TopicNotExist"
    assert refusal(topic.publish_message, TopicMessage("x")) == "TopicNotExist"
    assert refusal(topic.list_subscription) == "TopicNotExist"
    assert refusal(account.get_topic("a_b").create, TopicMeta()) == "InvalidTopicName"
    assert refusal(account.get_topic("a" * 256).create, TopicMeta()) == "TopicNameLengthError"
    assert refusal(topic.create, TopicMeta(1023)) == "InvalidArgument"


def test_topics_are_listed_by_prefix_and_page(account: Any) -> None:
    for name in ("a-1", "a-2", "b-1"):
        account.get_topic(name).create(TopicMeta())
    urls, marker = account.list_topic("a-", 1)
    assert [url.rpartition("/")[2] for url in urls] == ["a-1"]
    urls, marker = account.list_topic("a-", 1, marker)
    assert [url.rpartition("/")[2] for url in urls] == ["a-2"]
    assert marker == ""


def test_subscription_is_created_changed_and_deleted(topic: Any) -> None:
    subscription = topic.get_subscription("push")
    meta = SubscriptionMeta(FUNCTION, "EXPONENTIAL_DECAY_RETRY", "JSON", "important")
    assert subscription.subscribe(meta).endswith("/topics/news/subscriptions/push")
    subscription.subscribe(meta)
    attributes = subscription.get_attributes()
    assert (attributes.topic_name, attributes.subscription_name) == ("news", "push")
    assert (attributes.topic_owner, attributes.endpoint) == ("1000000000000000", FUNCTION)
    assert (attributes.notify_strategy, attributes.notify_content_format, attributes.filter_tag) == (
        "EXPONENTIAL_DECAY_RETRY",
        "JSON",
        "important",
    )
    assert refusal(subscription.subscribe, SubscriptionMeta(QUEUE)) == "SubscriptionAlreadyExist"
    subscription.set_attributes(SubscriptionMeta(notify_strategy="BACKOFF_RETRY"))
    assert subscription.get_attributes().notify_strategy == "BACKOFF_RETRY"
    subscription.unsubscribe()
    subscription.unsubscribe()
    assert refusal(subscription.get_attributes) == "SubscriptionNotExist"
    assert refusal(subscription.set_attributes, SubscriptionMeta()) == "SubscriptionNotExist"


def test_subscription_has_the_documented_defaults(topic: Any) -> None:
    subscription = topic.get_subscription("push")
    subscription.subscribe(SubscriptionMeta("http://127.0.0.1:9/notifications"))
    attributes = subscription.get_attributes()
    assert (attributes.notify_strategy, attributes.notify_content_format, attributes.filter_tag) == (
        "BACKOFF_RETRY",
        "XML",
        "",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        SubscriptionMeta(),
        SubscriptionMeta("somewhere"),
        SubscriptionMeta(QUEUE, notify_strategy="NEVER"),
        SubscriptionMeta(QUEUE, notify_content_format="YAML"),
    ],
)
def test_wrong_subscription_is_refused(topic: Any, wrong: Any) -> None:
    assert refusal(topic.get_subscription("push").subscribe, wrong) == "InvalidArgument"


def test_subscriptions_are_listed_by_page_and_require_a_topic(account: Any, topic: Any) -> None:
    for name in ("a", "b", "c"):
        topic.get_subscription(name).subscribe(SubscriptionMeta(QUEUE))
    urls, marker = topic.list_subscription("", 2)
    assert [url.rpartition("/")[2] for url in urls] == ["a", "b"]
    assert [url.rpartition("/")[2] for url in topic.list_subscription("", 2, marker)[0]] == ["c"]
    subscription = account.get_subscription("nothing", "a")
    assert refusal(subscription.subscribe, SubscriptionMeta(QUEUE)) == "TopicNotExist"


def test_published_message_reaches_subscriptions_with_a_matching_tag(topic: Any, deliveries: Any) -> None:
    for name, tag in (("all", ""), ("important", "important"), ("other", "other")):
        topic.get_subscription(name).subscribe(SubscriptionMeta(FUNCTION, filter_tag=tag))
    sent = topic.publish_message(TopicMessage("hello <&> 你好", "important"))
    topic.publish_message(TopicMessage("untagged"))
    assert [(name, message.body) for name, message in deliveries] == [
        ("all", "hello <&> 你好"),
        ("important", "hello <&> 你好"),
        ("all", "untagged"),
    ]
    message = deliveries[0][1]
    assert (message.id, message.body_md5) == (sent.message_id, sent.message_body_md5)
    assert (message.tag, message.publish_time) == ("important", 1_700_000_000_000)


def test_published_message_keeps_its_attributes_and_properties(topic: Any, deliveries: Any) -> None:
    topic.get_subscription("push").subscribe(SubscriptionMeta(FUNCTION))
    mail = topic_module.DirectMailInfo("sender", "subject", 0, 0, 0)
    message = TopicMessage("x", direct_mail=mail)
    message.add_user_property("count", property_module.MessagePropertyValue.create_number(7))
    topic.publish_message(message)
    (_, received), *_ = deliveries
    assert json.loads(received.attributes["DirectMail"])["Subject"] == "subject"
    assert [(item.name, item.value, item.type) for item in received.user_properties] == [
        ("count", "7", "NUMBER")
    ]


def test_message_larger_than_the_topic_allows_is_refused(account: Any) -> None:
    topic = account.get_topic("small")
    topic.create(TopicMeta(1024))
    topic.publish_message(TopicMessage("x" * 1024))
    assert refusal(topic.publish_message, TopicMessage("x" * 1025)) == "InvalidArgument"


@pytest.mark.parametrize("content_format", ["XML", "JSON", "SIMPLIFIED"])
def test_subscribed_queue_receives_the_requested_format(queue: Any, topic: Any, content_format: str) -> None:
    topic.get_subscription("copy").subscribe(SubscriptionMeta(QUEUE, notify_content_format=content_format))
    sent = topic.publish_message(TopicMessage("hello <&> 你好", "t"))
    queue.set_encoding(False)
    body = queue.receive_message().message_body
    if content_format == "SIMPLIFIED":
        assert body == "hello <&> 你好"
        return
    if content_format == "JSON":
        notification = json.loads(body)
    else:
        root = ET.fromstring(body)
        notification = {element.tag.removeprefix(NAMESPACE): element.text for element in root}
    assert notification == {
        "TopicOwner": "1000000000000000",
        "TopicName": "news",
        "Subscriber": "1000000000000000",
        "SubscriptionName": "copy",
        "MessageId": sent.message_id,
        "Message": "hello <&> 你好",
        "MessageMD5": sent.message_body_md5,
        "MessageTag": "t",
        "PublishTime": "1700000000000",
    }


def test_failing_listener_affects_neither_publisher_nor_listeners(
    server: MnsServer, topic: Any, deliveries: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Subscription, __: Publication) -> None:
        raise RuntimeError("broken listener")

    topics = server.store.topics
    topics.subscribe("news", "lost", SubscriptionAttributes(f"{QUEUE}-missing"))
    topics.subscribe("news", "push", SubscriptionAttributes(FUNCTION))
    remove = topics.on_publish(fail)
    topic.publish_message(TopicMessage("x"))
    remove()
    assert [name for name, _ in deliveries] == ["lost", "push"]
    assert "lost: QueueNotExist" in caplog.text
    assert "not delivered" in caplog.text


def test_topics_work_without_http(server: MnsServer, deliveries: Any) -> None:
    topics = server.store.topics
    assert topics.create("news", TopicAttributes(maximum_message_size=2048))
    assert not topics.create("news", TopicAttributes(maximum_message_size=2048))
    attributes = SubscriptionAttributes(FUNCTION, notify_content_format="STREAM")
    assert topics.subscribe("news", "push", attributes)
    assert not topics.subscribe("news", "push", attributes)
    published = topics.publish("news", "hello")
    assert deliveries == [("push", published)]
    with pytest.raises(MnsError, match="MalformedXML"):
        topics.publish("news", "\x00")


def test_deleting_a_topic_deletes_its_subscriptions(queue: Any, topic: Any, deliveries: Any) -> None:
    del queue
    topic.get_subscription("push").subscribe(SubscriptionMeta(FUNCTION))
    topic.delete()
    topic.create(TopicMeta())
    topic.publish_message(TopicMessage("x"))
    assert deliveries == []
    assert topic.list_subscription() == ([], "")
