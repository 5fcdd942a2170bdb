"""Event streams: the messages of each product, the batches, and the handling of failures."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.account import Account
from mpaas_local.eventbridge.payloads import ReceivedMessage, element
from mpaas_local.eventbridge.sources import MnsSource
from mpaas_local.eventbridge.stream_config import stream_of
from mpaas_local.eventbridge.streams import EventStream
from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.fc.destinations import Undeliverable, mns_destinations
from mpaas_local.fc.errors import PAYLOAD_LIMIT
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.retries import retry_delays
from mpaas_local.fc.topic_trigger import TopicTrigger, TopicTriggerConfig, topic_of
from mpaas_local.mns.model import OutgoingMessage, Publication, QueueAttributes
from mpaas_local.mns.store import MnsStore
from tests.clocks import ManualClock
from tests.descriptors import parse_trigger, trigger_document
from tests.mpaas_local.callables import ScriptedFunction
from tests.mpaas_local.eventbridge.memory_source import MemorySource
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from project.triggers import EventBridge

ACCOUNT = Account("1000000000000000", "cn-hangzhou")
DEAD = "acs:mns:cn-hangzhou:1000000000000000:/queues/dead"
PUBLISHED = 1_617_863_297.093  # 2021-04-08T06:28:17.093Z

PARAMETERS = {
    "MNS": {"RegionId": "cn-hangzhou", "QueueName": "zeus", "IsBase64Decode": True},
    "RocketMQ": {
        "RegionId": "cn-hangzhou",
        "InstanceId": "MQ_INST_1000_BXhFHryi",
        "Topic": "TopicName",
        "GroupID": "GID",
    },
    "RabbitMQ": {
        "RegionId": "cn-hangzhou",
        "InstanceId": "amqp-cn-1",
        "VirtualHostName": "eb-connect",
        "QueueName": "housekeeping",
    },
    "Kafka": {
        "RegionId": "cn-hangzhou",
        "InstanceId": "alikafka_pre-cn-i7m2t7t10001",
        "Topic": "mytopic",
        "ConsumerGroup": "g",
    },
    "MQTT": {"InstanceId": "mqtt-cn-1", "Topic": "testTopic"},
    "ApacheRocketMQ": {"Topic": "testTopic"},
}


def trigger(
    kind: str = "MNS", name: str = "mnstrigger", run: Any = None, sink: Any = None, **config: Any
) -> EventBridge:
    parameters = PARAMETERS[kind] | config.pop("parameters", {})
    source = {
        "eventSourceType": kind,
        "eventSourceParameters": {f"source{kind}Parameters": parameters},
    }
    if sink:
        config["eventSinkConfig"] = {"deliveryOption": {"eventSchema": "CloudEvents"} | sink}
    document = trigger_document(
        "eventbridge",
        name,
        eventSourceConfig=source,
        runOptions=run or {},
        **config,
    )
    parsed: EventBridge = parse_trigger(document)
    return parsed


def batch(count: int, seconds: int = 0) -> dict[str, Any]:
    return {"batchWindow": {"CountBasedWindow": count, "TimeBasedWindow": seconds}}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(PUBLISHED)


@pytest.fixture
def source(clock: ManualClock) -> MemorySource:
    return MemorySource(clock)


@pytest.fixture
def stream_to(clock: ManualClock, source: MemorySource) -> Iterator[Callable[..., EventStream]]:
    """Start a stream of a trigger to a function."""
    streams: list[EventStream] = []

    def start(trigger: EventBridge, function: ScriptedFunction | None, **options: Any) -> EventStream:
        config = stream_of(trigger, "queue_push")
        if shape := options.pop("shape", None):
            config = replace(config, shape=shape)
        if value_format := options.pop("value_format", None):
            config = replace(config, origin=replace(config.origin, value_format=value_format))
        options.setdefault("source", source)
        streams.append(
            EventStream(
                config,
                options.pop("source"),
                invoke=function,
                account=ACCOUNT,
                clock=clock,
                **options,
            )
        )
        return streams[-1].start()

    yield start
    for stream in streams:
        stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stream-")]


def skip_if_a_thread_waits(clock: ManualClock) -> None:
    with contextlib.suppress(TimeoutError):
        clock.skip(0.02)


def only_element(function: ScriptedFunction) -> Any:
    """Return the only element of the only call's array."""
    ((element,),) = [call.json for call in function.wait_for(1)]
    return element


def without_id(event: dict[str, Any]) -> dict[str, Any]:
    assert len(event["id"]) == 36
    return event | {"id": "…"}


def json_text(value: Any) -> str:
    """Return JSON text, whose comparison includes the order of keys."""
    return json.dumps(value)


# The messages of each product (fc-runtime.md: Event streams).


def test_mns_message_is_the_documented_cloud_event(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source.publish("TEST", message_id="C6DB60D1574661357FA2272774450001")
    stream_to(trigger(), function)
    sent = without_id(only_element(function))
    request_id = sent["data"].pop("requestId")
    assert len(request_id) == 24
    assert json_text(sent) == json_text(
        {
            "id": "…",
            "source": "MNS-Function-mnstrigger",
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "datacontenttype": "application/json; charset=utf-8",
            "subject": "acs:mns:cn-hangzhou:1000000000000000:queues/zeus",
            "time": "2021-04-08T06:28:17.093Z",
            "aliyunaccountid": "1000000000000000",
            "aliyunpublishtime": "2021-04-08T06:28:17.093Z",
            "aliyunoriginalaccountid": "1000000000000000",
            "aliyuneventbusname": "MNS-Function-mnstrigger",
            "aliyunregionid": "cn-hangzhou",
            "aliyunpublishaddr": "127.0.0.1",
            "data": {"messageId": "C6DB60D1574661357FA2272774450001", "messageBody": "TEST"},
        }
    )


def test_raw_data_is_only_the_data_in_compact_json(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source.publish("你好", message_id="M1")
    stream_to(trigger(sink={"eventSchema": "RawData"}), function)
    ((data,),) = [call.json for call in function.wait_for(1)]
    expected = f'[{{"requestId":"{data["requestId"]}","messageId":"M1","messageBody":"你好"}}]'
    assert function.calls[0].event == expected.encode()


@pytest.mark.parametrize(
    ("decode", "stored", "expected"),
    [
        (True, base64.b64encode('{"a": "你"}'.encode()).decode(), '{"a": "你"}'),
        (True, "plain text", "plain text"),
        (False, "eyJhIjogMX0=", "eyJhIjogMX0="),
    ],
)
def test_mns_body_is_decoded_unless_the_source_disables_it(
    decode: bool, stored: str, expected: str, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source.publish(stored)
    stream_to(trigger(parameters={"IsBase64Decode": decode}), function)
    assert only_element(function)["data"]["messageBody"] == expected


DATA: dict[str, tuple[dict[str, Any], str, Any]] = {
    "RocketMQ": (
        {"TAGS": "t1", "KEYS": "k1"},
        "TEST",
        {
            "topic": "TopicName",
            "systemProperties": {
                "MIN_OFFSET": "0",
                "TRACE_ON": "true",
                "MAX_OFFSET": "8",
                "MSG_REGION": "cn-hangzhou",
                "KEYS": "k1",
                "CONSUME_START_TIME": 1617863297093,
                "UNIQ_KEY": "…",
                "TAGS": "t1",
                "INSTANCE_ID": "MQ_INST_1000_BXhFHryi",
            },
            "userProperties": {},
            "body": "TEST",
        },
    ),
    "RabbitMQ": (
        {"deliveryTag": 98},
        '{"Hello":"RabbitMQ"}',
        {
            "envelope": {"deliveryTag": 98, "exchange": "", "redeliver": False, "routingKey": "housekeeping"},
            "body": {"Hello": "RabbitMQ"},
            "props": {"contentEncoding": "UTF-8", "messageId": "M1"},
        },
    ),
    "Kafka": (
        {"partition": 7, "offset": 25, "key": "keytest"},
        "hello kafka msg",
        {
            "topic": "mytopic",
            "partition": 7,
            "offset": 25,
            "timestamp": 1617863297093,
            "headers": {"headers": [], "isReadOnly": False},
            "key": "keytest",
            "value": "hello kafka msg",
        },
    ),
    "MQTT": (
        {"secondTopic": "/testMq4", "clientId": "GID@@@x"},
        "hello",
        {
            "props": {"firstTopic": "testTopic", "secondTopic": "/testMq4", "clientId": "GID@@@x"},
            "body": "hello",
        },
    ),
    "ApacheRocketMQ": (
        {"TAGS": "TagA"},
        "Hello RocketMQ",
        {
            "msgId": "…",
            "topic": "testTopic",
            "systemProperties": {
                "UNIQ_KEY": "…",
                "CLUSTER": "DefaultCluster",
                "MIN_OFFSET": "0",
                "TAGS": "TagA",
                "MAX_OFFSET": "128",
            },
            "userProperties": {},
            "body": "Hello RocketMQ",
        },
    ),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_of_each_product_is_as_documented(
    kind: str, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    properties, body, expected = DATA[kind]
    function = ScriptedFunction()
    source.publish(body, message_id="M1", **properties)
    stream_to(trigger(kind, sink={"eventSchema": "RawData"}), function)
    data = only_element(function)
    for fields, name in ((data, "msgId"), (data.get("systemProperties", {}), "UNIQ_KEY")):
        if name in fields:
            assert len(fields[name]) == 32
            fields[name] = "…"
    assert json_text(data) == json_text(expected)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        (
            "RocketMQ",
            {
                "source": "RocketMQ-Function-t",
                "type": "mq:Topic:SendMessage",
                "datacontenttype": "application/json; charset=utf-8",
                "subject": "acs:mq:cn-hangzhou:1000000000000000:MQ_INST_1000_BXhFHryi%TopicName",
            },
        ),
        (
            "RabbitMQ",
            {
                "source": "RabbitMQ-Function-t",
                "type": "amqp:Queue:SendMessage",
                "datacontenttype": "application/json;charset=utf-8",
                "subject": "acs:amqp:cn-hangzhou:1000000000000000:/instances/amqp-cn-1/vhosts/eb-connect"
                "/queues/housekeeping",
            },
        ),
        (
            "Kafka",
            {
                "source": "acs:alikafka",
                "type": "alikafka:Topic:Message",
                "datacontenttype": "application/json; charset=utf-8",
                "subject": "acs:alikafka_pre-cn-i7m2t7t10001:topic:mytopic",
            },
        ),
    ],
)
def test_attributes_of_each_product_are_as_documented(
    kind: str, attributes: dict[str, str], source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source.publish("x")
    stream_to(trigger(kind, "t"), function)
    sent = only_element(function)
    assert {name: sent[name] for name in attributes} == attributes
    if kind == "Kafka":
        assert list(sent) == [
            *("specversion", "id", "source", "type", "subject", "datacontenttype", "time", "aliyunaccountid"),
            "data",
        ]


@pytest.mark.parametrize("kind", ["MQTT", "ApacheRocketMQ"])
def test_product_with_only_a_raw_form_is_sent_as_raw_data_unless_the_trigger_has_a_schema(
    kind: str, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    raw, wrapped = ScriptedFunction(), ScriptedFunction()
    source.publish("x")
    stream_to(trigger(kind), raw)
    assert "specversion" not in only_element(raw)
    other = MemorySource()
    other.publish("x")
    stream_to(trigger(kind, sink={"eventSchema": "CloudEvents"}), wrapped, source=other)
    assert only_element(wrapped)["specversion"] == "1.0"


@pytest.mark.parametrize(
    ("value_format", "value"), [("Text", '{"a":1}'), ("Json", {"a": 1}), ("Binary", "eyJhIjoxfQ==")]
)
def test_kafka_value_has_the_format_of_the_task_and_the_key_is_optional(
    value_format: str, value: Any, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source.publish('{"a":1}')
    stream_to(trigger("Kafka"), function, value_format=value_format)
    data = only_element(function)["data"]
    assert data["value"] == value
    assert "key" not in data


def test_array_may_contain_json_texts(source: MemorySource, stream_to: Callable[..., EventStream]) -> None:
    function = ScriptedFunction()
    source.publish("x")
    stream_to(trigger("Kafka"), function, shape="strings")
    sent = only_element(function)
    assert isinstance(sent, str)
    assert json.loads(sent)["data"]["value"] == "x"


def test_event_driven_mode_sends_one_bare_cloud_event_per_call(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for body in ("one", "two"):
        source.publish(body)
    stream_to(trigger(run={"mode": "event-driven", **batch(10)}), function)
    sent = [call.json for call in function.wait_for(2)]
    assert [event["data"]["messageBody"] for event in sent] == ["one", "two"]
    assert sent[0]["source"] == "MNS-queue_push-mnstrigger"
    assert sent[0]["datacontenttype"] == "application/json;charset=utf-8"


def test_message_is_the_same_event_at_every_delivery() -> None:
    for kind in PARAMETERS:
        origin = stream_of(trigger(kind), "f").origin
        message = ReceivedMessage(id="M1", body="x", published_at=PUBLISHED)
        first, second = (element(message, origin, ACCOUNT, moment) for moment in (1.0, 2.0))
        other = element(ReceivedMessage(id="M2", body="x", published_at=PUBLISHED), origin, ACCOUNT, 1.0)
        assert (first["id"], first["data"]) == (second["id"], second["data"])
        assert other["id"] != first["id"]


# Batches (fc-runtime.md: Batches and retries).


def sizes(function: ScriptedFunction) -> list[int]:
    return [len(call.json) for call in function.calls]


def test_batch_is_sent_as_soon_as_it_is_full(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for _ in range(250):
        source.publish("x")
    stream_to(trigger(run=batch(100, 15)), function)
    function.wait_for(2)
    assert sizes(function) == [100, 100]


def test_batch_is_sent_at_the_end_of_its_time_window(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    stream = stream_to(trigger(run=batch(100, 10)), function)
    start = clock.time()
    source.publish("x")
    stream.wake()
    eventually(lambda: stream.counts["received"] == 1)
    source.publish("x")
    eventually(lambda: bool(function.calls), clock.skip)
    assert sizes(function) == [2]
    assert clock.time() - start == pytest.approx(10, abs=0.5)


def test_available_messages_are_sent_at_once_without_a_time_window(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for _ in range(7):
        source.publish("x")
    stream_to(trigger(run=batch(100)), function)
    function.wait_for(1)
    assert sizes(function) == [7]


def test_every_message_is_a_batch_in_an_array_without_a_batch_window(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for _ in range(3):
        source.publish("x")
    stream_to(trigger(), function)
    function.wait_for(3)
    assert sizes(function) == [1, 1, 1]


def test_asynchronous_batch_is_limited_to_128_kb(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    with AsyncQueue("f", function, clock=clock) as queue:
        overhead = len(b'{"requestId":"","messageId":"000","messageBody":""}') + 24
        for number in range(100):
            source.publish("x" * (2048 - overhead), message_id=f"{number:03d}")
        config = trigger(run=batch(100), sink={"eventSchema": "RawData"}, asyncInvocationType=True)
        stream_to(config, None, accept=queue.accept)
        function.wait_for(2)
        assert queue.finish()
    assert sorted(sizes(function)) == [36, 64]
    ids = [message["messageId"] for call in function.calls for message in call.json]
    assert sorted(ids) == [f"{number:03d}" for number in range(100)]


def test_synchronous_calls_are_made_one_after_the_other(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    lock = threading.Lock()

    def check_that_no_other_call_runs(_event: bytes) -> None:
        assert lock.acquire(blocking=False)
        time.sleep(0.002)
        lock.release()

    function = ScriptedFunction(on_call=check_that_no_other_call_runs)
    for number in range(20):
        source.publish(str(number))
    stream = stream_to(trigger(), function)
    eventually(lambda: stream.counts["delivered"] == 20)
    bodies = [call.json[0]["data"]["messageBody"] for call in function.calls]
    assert bodies == [str(number) for number in range(20)]


def test_kafka_trigger_makes_as_many_concurrent_calls_as_configured(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    barrier = threading.Barrier(3, timeout=60)
    function = ScriptedFunction(on_call=lambda _: barrier.wait())
    for _ in range(3):
        source.publish("x")
    stream_to(trigger("Kafka", sink={"concurrency": 3}), function)
    function.wait_for(3)


def test_messages_that_do_not_match_the_pattern_are_deleted(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for body in ("order 1", "ad 1", "order 2"):
        source.publish(body)
    pattern = '{"data": {"messageBody": [{"prefix": "order"}]}}'
    stream = stream_to(trigger(run=batch(10), eventRuleFilterPattern=pattern), function)
    function.wait_for(1)
    assert [event["data"]["messageBody"] for event in function.calls[0].json] == ["order 1", "order 2"]
    assert stream.counts["filtered"] == 1
    eventually(lambda: len(source) == 0)


def test_disabled_trigger_receives_no_messages(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    source.publish("x")
    stream = stream_to(trigger(triggerEnable=False), ScriptedFunction())
    assert stream.state == "disabled"
    assert len(source) == 1


# Failures (fc-runtime.md: Batches and retries).


def test_message_is_deleted_only_after_the_call_succeeded(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    lengths: list[int] = []
    function = ScriptedFunction(on_call=lambda _: lengths.append(len(source)))
    source.publish("x")
    stream = stream_to(trigger(), function)
    eventually(lambda: stream.counts["delivered"] == 1)
    assert (lengths, len(source)) == ([1], 0)


@pytest.mark.parametrize("failure", ["error", "throttled", "broken"])
def test_failed_batch_is_retried_unchanged(
    failure: str, clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction(failure, failure)
    for number in range(3):
        source.publish(str(number))
    strategy = {"retryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY"}}
    stream = stream_to(trigger(run={**batch(3), **strategy}), function)
    start = clock.time()
    eventually(lambda: stream.counts["delivered"] == 3, clock.skip)
    assert len(set(function.events)) == 1
    assert len(function.calls) == 3
    assert 20 <= clock.time() - start < 42
    counts = {"received": 3, "delivered": 3, "batches": 1, "retries": 2}
    counts["throttled" if failure == "throttled" else "failures"] = 2
    assert {name: count for name, count in stream.counts.items() if count} == counts


def test_retry_strategies_are_as_documented() -> None:
    rng = random.Random(1)
    backoff = list(retry_delays("BACKOFF_RETRY", rng))
    decay = list(retry_delays("EXPONENTIAL_DECAY_RETRY", rng))
    assert len(backoff) == 3
    assert all(10 <= delay <= 20 for delay in backoff)
    assert len(set(backoff)) == 3
    assert decay == [1, 2, 4, 8, 16, 32, 64, 128, 256, *[512] * 167]
    assert sum(decay) == pytest.approx(86400, rel=0.01)


def test_intolerant_stream_blocks_after_the_last_retry_and_loses_nothing(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction(*["error"] * 177)
    for number in range(2):
        source.publish(str(number))
    stream = stream_to(trigger(), function)
    start = clock.time()
    eventually(lambda: stream.state == "blocked", lambda: skip_if_a_thread_waits(clock))
    assert len(function.calls) == 177
    assert clock.time() - start == pytest.approx(86015, abs=1)
    assert len(source) == 2
    stream.resume()
    eventually(lambda: stream.counts["delivered"] == 2)
    assert [call.json[0]["data"]["messageBody"] for call in function.calls[-2:]] == ["0", "1"]


QUICK = {"retryStrategy": {"PushRetryStrategy": "BACKOFF_RETRY"}, "errorsTolerance": "ALL"}


def test_tolerant_stream_without_a_dead_letter_queue_drops_the_batch_and_continues(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction(*["error"] * 4)
    for number in range(4):
        source.publish(str(number))
    stream = stream_to(trigger(run={**QUICK, **batch(2)}), function)
    eventually(lambda: stream.counts["delivered"] == 2, clock.skip)
    assert stream.counts["dropped"] == 2
    assert [event["data"]["messageBody"] for event in function.calls[-1].json] == ["2", "3"]
    assert len(source) == 0


def test_tolerant_stream_with_a_dead_letter_queue_sends_each_message_there(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    letters: list[tuple[str, Any]] = []
    failures = [OSError("down"), OSError("down")]

    def deliver(arn: str, record: bytes) -> None:
        if failures:
            raise failures.pop()
        letters.append((arn, json.loads(record)))

    for number in range(2):
        source.publish(str(number))
    run = {**QUICK, **batch(2), "deadLetterQueue": {"Arn": DEAD}}
    stream = stream_to(trigger(run=run), ScriptedFunction(then="error"), dead_letters=deliver)
    eventually(lambda: stream.counts["dead_lettered"] == 2, clock.skip)
    assert [(arn, letter["data"]["messageBody"]) for arn, letter in letters] == [(DEAD, "0"), (DEAD, "1")]
    eventually(lambda: len(source) == 0)


def test_stream_blocks_when_the_dead_letter_queue_refuses_a_message(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    def refuse(arn: str, _record: bytes) -> None:
        raise Undeliverable(arn)

    source.publish("x")
    run = {**QUICK, "deadLetterQueue": {"Arn": DEAD}}
    stream = stream_to(trigger(run=run), ScriptedFunction(then="error"), dead_letters=refuse)
    eventually(lambda: stream.state == "blocked", lambda: skip_if_a_thread_waits(clock))
    assert len(source) == 1


def test_function_error_of_an_asynchronous_trigger_is_retried_by_its_queue_only(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction("error", "error")
    with AsyncQueue("f", function, clock=clock) as queue:
        source.publish("x")
        stream = stream_to(trigger(asyncInvocationType=True), None, accept=queue.accept)
        eventually(lambda: queue.counts["succeeded"] == 1, clock.skip)
    assert (stream.counts["delivered"], stream.counts["failures"]) == (1, 0)
    assert len(function.calls) == 3


def test_single_message_that_is_too_large_is_given_up_without_a_retry(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    with AsyncQueue("f", function, clock=clock) as queue:
        for body in ("small", "x" * PAYLOAD_LIMIT, "small"):
            source.publish(body)
        config = trigger(run={"errorsTolerance": "ALL", **batch(3)}, asyncInvocationType=True)
        stream = stream_to(config, None, accept=queue.accept)
        eventually(lambda: stream.counts["delivered"] == 2)
    assert (stream.counts["dropped"], stream.counts["retries"]) == (1, 0)


def test_closing_during_a_retry_stops_at_once_and_makes_the_messages_visible(
    clock: ManualClock, source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction(then="error")
    for number in range(3):
        source.publish(str(number))
    stream = stream_to(trigger(run=batch(2)), function)
    function.wait_for(1)
    stream.close()
    assert stream.state == "stopped"
    second = ScriptedFunction()
    stream_to(trigger(run=batch(3)), second)
    second.wait_for(1)
    assert [event["data"]["messageBody"] for event in second.calls[0].json] == ["0", "1", "2"]
    del clock


def test_killed_instance_fails_the_batch_and_the_next_instance_receives_all_of_it(
    tmp_path: Path, source: MemorySource, stream_to: Callable[..., EventStream], clock: ManualClock
) -> None:
    (tmp_path / "index.py").write_text(
        "import json, os\n"
        "from pathlib import Path\n"
        f"seen = Path({str(tmp_path / 'seen')!r})\n"
        "def handler(event, context):\n"
        "    if not seen.exists():\n"
        "        seen.touch()\n"
        "        os._exit(9)\n"
        "    seen.write_text(' '.join(item['data']['messageBody'] for item in json.loads(event)))\n"
    )
    for number in range(5):
        source.publish(str(number))
    with FunctionHost(Function(name="f", folder=tmp_path)) as host:
        stream = stream_to(trigger(run=batch(5)), host.invoke)
        eventually(lambda: stream.counts["failures"] == 1)
        eventually(lambda: stream.counts["delivered"] == 5, clock.skip)
    assert (tmp_path / "seen").read_text() == "0 1 2 3 4"


def test_no_message_is_lost_in_simulated_redeliveries(
    source: MemorySource, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    for number in range(200):
        source.publish(str(number))
    stream = stream_to(trigger(run=batch(10)), function, redeliveries=0.4, seed=3)
    eventually(lambda: stream.counts["delivered"] == 200)
    bodies = [event["data"]["messageBody"] for call in function.calls for event in call.json]
    assert set(bodies) == {str(number) for number in range(200)}
    assert len(bodies) == 200 + stream.counts["redelivered"] > 220


class FlakySource(MemorySource):
    """A source that cannot be read at first, and records how long messages are held."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 2
        self.hold_seconds: list[float] = []

    def receive(self, limit: int, seconds: float) -> Sequence[ReceivedMessage]:
        if self.failures:
            self.failures -= 1
            raise OSError("database is locked")
        self.hold_seconds.append(seconds)
        return super().receive(limit, seconds)

    def hold(self, messages: Sequence[ReceivedMessage], seconds: float) -> Sequence[ReceivedMessage]:
        self.hold_seconds.append(seconds)
        return super().hold(messages, seconds)


def test_reading_of_a_failing_queue_is_retried(
    clock: ManualClock, stream_to: Callable[..., EventStream], caplog: pytest.LogCaptureFixture
) -> None:
    flaky = FlakySource()
    flaky.publish("x")
    stream = stream_to(trigger(), ScriptedFunction(), source=flaky)
    eventually(lambda: stream.counts["delivered"] == 1, clock.skip)
    assert "database is locked" in caplog.text


def test_messages_are_held_for_the_window_the_call_and_every_delay(
    clock: ManualClock, stream_to: Callable[..., EventStream]
) -> None:
    flaky = FlakySource()
    flaky.failures = 0
    flaky.publish("x")
    stream = stream_to(trigger(run=batch(1, 15)), ScriptedFunction("error"), source=flaky, hold_seconds=90)
    eventually(lambda: stream.counts["delivered"] == 1, clock.skip)
    assert [seconds for seconds in flaky.hold_seconds if seconds != 105] == [90, 91]
    assert flaky.hold_seconds[0] == 105


# The MNS server as the source (fc-runtime.md: Event streams).


@pytest.fixture
def store(clock: ManualClock) -> Iterator[MnsStore]:
    with MnsStore(clock=clock.time) as store:
        yield store


def test_messages_of_an_mns_queue_are_delivered_and_deleted(
    store: MnsStore, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    stream = stream_to(trigger(run=batch(100)), function, source=MnsSource(store, "zeus"))
    store.listen(lambda _: stream.wake())
    sent = store.send_batch(
        "zeus", [OutgoingMessage(body=base64.b64encode(f"订单 {n}".encode()).decode()) for n in range(40)]
    )
    eventually(lambda: stream.counts["delivered"] == 40)
    events = [event for call in function.calls for event in call.json]
    assert [event["data"]["messageBody"] for event in events] == [f"订单 {number}" for number in range(40)]
    assert [event["data"]["messageId"] for event in events] == [message.id for message in sent]
    assert events[0]["time"] == "2021-04-08T06:28:17.093Z"
    assert store.messages("zeus") == []


def test_messages_held_by_a_dead_process_are_redelivered_after_their_visibility_timeout(
    clock: ManualClock, store: MnsStore
) -> None:
    source = MnsSource(store, "zeus")
    store.send("zeus", "x")
    (held,) = source.receive(10, 90)
    assert source.receive(10, 90) == []
    clock.advance(90.001)
    (redelivered,) = source.receive(10, 90)
    assert (redelivered.id, redelivered.body) == (held.id, held.body)
    assert redelivered.receipt != held.receipt


def test_message_stays_hidden_during_all_retries_and_then_moves_to_the_dead_letter_queue(
    clock: ManualClock, store: MnsStore, stream_to: Callable[..., EventStream]
) -> None:
    store.create_queue("zeus", QueueAttributes(visibility_timeout=1))
    store.create_queue("dead")
    visible: list[int] = []
    function = ScriptedFunction(then="error", on_call=lambda _: visible.append(len(store.peek("zeus", 10))))
    run = {**QUICK, **batch(2), "deadLetterQueue": {"Arn": DEAD}}
    store.send_batch("zeus", [OutgoingMessage(body="one"), OutgoingMessage(body="two")])
    stream = stream_to(
        trigger(run=run), function, source=MnsSource(store, "zeus"), dead_letters=mns_destinations(store)
    )
    eventually(lambda: stream.counts["dead_lettered"] == 2, clock.skip)
    assert visible == [0] * 4
    letters = [json.loads(message.body) for message in store.messages("dead")]
    assert [letter["data"]["messageBody"] for letter in letters] == ["one", "two"]
    eventually(lambda: store.messages("zeus") == [])


def test_closing_makes_held_messages_of_an_mns_queue_visible_at_once(
    store: MnsStore, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction(then="error")
    store.create_queue("zeus")
    store.send("zeus", "x")
    stream = stream_to(trigger(), function, source=MnsSource(store, "zeus"))
    function.wait_for(1)
    assert store.peek("zeus") == []
    stream.close()
    assert [message.body for message in store.peek("zeus")] == ["x"]


def test_message_is_redelivered_when_its_receipt_has_expired(
    clock: ManualClock,
    store: MnsStore,
    stream_to: Callable[..., EventStream],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.create_queue("zeus")
    store.send("zeus", "x")
    durations = iter([91.0, 0.0])
    function = ScriptedFunction(on_call=lambda _: clock.advance(next(durations)))
    stream = stream_to(trigger(), function, source=MnsSource(store, "zeus"), hold_seconds=90)
    function.wait_for(2)
    eventually(lambda: store.messages("zeus") == [])
    first, second = (call.json[0] for call in function.calls)
    assert (first["id"], first["data"]) == (second["id"], second["data"])
    assert stream.counts["received"] == 2
    assert "zeus: 1 receipts expired; their messages will be redelivered" in caplog.text


def test_mns_queue_can_replace_the_source_of_another_product(
    store: MnsStore, stream_to: Callable[..., EventStream]
) -> None:
    function = ScriptedFunction()
    source = MnsSource(store, "mytopic")
    store.send("mytopic", "hello kafka msg")
    stream_to(trigger("Kafka"), function, source=source)
    assert only_element(function)["data"]["value"] == "hello kafka msg"


def test_missing_queue_or_topic_of_the_server_is_undeliverable(store: MnsStore) -> None:
    destinations = mns_destinations(store)
    for arn in (DEAD, "acs:mns:cn-hangzhou:1000:/topics/none/messages"):
        with pytest.raises(Undeliverable, match="NotExist"):
            destinations(arn, b"{}")
    store.topics.create("news")
    destinations("acs:mns:cn-hangzhou:1000:/topics/news/messages", b"{}")


# The trigger's configuration (fc-runtime.md: Event stream configuration).


def test_stream_requires_the_callbacks_that_its_trigger_uses(source: MemorySource) -> None:
    with pytest.raises(ValueError, match="invoke is required"):
        EventStream(stream_of(trigger(), "f"), source)
    with pytest.raises(ValueError, match="accept is required"):
        EventStream(stream_of(trigger(asyncInvocationType=True), "f"), source, invoke=ScriptedFunction())
    config = stream_of(trigger(run={**QUICK, "deadLetterQueue": {"Arn": DEAD}}), "f")
    with pytest.raises(ValueError, match="dead_letters is required"):
        EventStream(config, source, invoke=ScriptedFunction())


# MNS topics (fc-runtime.md: MNS topic trigger).

TOPIC = "acs:mns:cn-hangzhou:1000000000000000:/topics/Mytopic"
MESSAGE = Publication(body="hello topic", id="2F5B0001", publish_time=1550216480040)
WITH_ATTRIBUTES = replace(MESSAGE, attributes={"Extend": '{"key":"value"}'})
JSON_FORM = (
    '"TopicOwner":"1000000000000000","Message":"hello topic","Subscriber":"1000000000000000",'
    '"PublishTime":1550216480040,"SubscriptionName":"sub","MessageMD5":"D6206122A430035E4EC1463CDD704B59","TopicName":"Mytopic",'
    '"MessageId":"2F5B0001"}'
)


@pytest.mark.parametrize(
    ("content_format", "message", "expected"),
    [
        ("STREAM", MESSAGE, "hello topic"),
        ("STREAM", WITH_ATTRIBUTES, r'{"body":"hello topic","attrs":{"Extend":"{\"key\":\"value\"}"}}'),
        ("JSON", MESSAGE, "{" + JSON_FORM),
        ("JSON", WITH_ATTRIBUTES, '{"key":"value",' + JSON_FORM),
    ],
)
def test_topic_message_is_the_documented_event(
    content_format: str, message: Publication, expected: str
) -> None:
    trigger = parse_trigger(trigger_document("mns_topic", "sub", TOPIC, notifyContentFormat=content_format))
    assert topic_of(trigger).event(message, ACCOUNT).decode() == expected


def test_topic_message_is_delivered_asynchronously_if_its_tag_matches(clock: ManualClock) -> None:
    function = ScriptedFunction()
    with (
        AsyncQueue("f", function, clock=clock) as queue,
        TopicTrigger(
            TopicTriggerConfig(name="t", topic="Mytopic", filter_tag="push"), queue.accept, clock=clock
        ) as topic,
    ):
        for tag in ("push", "", "other"):
            topic.publish(Publication(body=f"tag {tag}", tag=tag))
        assert topic.settle()
        assert queue.finish()
        assert topic.counts == {"published": 3, "filtered": 2, "delivered": 1, "retries": 0, "given_up": 0}
    assert function.events == [b"tag push"]


def test_topic_message_that_is_not_accepted_is_retried_by_its_strategy(clock: ManualClock) -> None:
    moments: list[float] = []

    def refuse(_event: bytes, *, size: int | None = None) -> str:
        del size
        moments.append(clock.time())
        raise OSError("no queue")

    with TopicTrigger(TopicTriggerConfig(name="t", topic="Mytopic"), refuse, clock=clock) as topic:
        topic.publish(MESSAGE)
        for _ in range(3):
            assert topic.settle()
            clock.skip()
        assert topic.settle()
        assert topic.counts["given_up"] == 1
    assert len(moments) == 4
    assert all(10 <= later - earlier <= 20 for earlier, later in pairwise(moments))


def test_messages_of_a_topic_reach_the_function_until_the_trigger_is_closed(
    clock: ManualClock, store: MnsStore
) -> None:
    function = ScriptedFunction()
    config = TopicTriggerConfig(name="t", topic="Mytopic", content_format="JSON", filter_tag="push")
    with AsyncQueue("f", function, clock=clock) as queue:
        for _ in range(2):  # a second time as after a restart, when the subscription already exists
            with TopicTrigger(config, queue.accept, clock=clock).attach(store.topics) as topic:
                sent = store.topics.publish("Mytopic", Publication(body="hello", tag="push"))
                store.topics.publish("Mytopic", "not tagged")
                assert topic.settle()
        store.topics.publish("Mytopic", Publication(body="too late", tag="push"))
        assert queue.finish()
    assert [call.json["Message"] for call in function.calls] == ["hello", "hello"]
    assert function.calls[-1].json["MessageId"] == sent.id
    assert function.calls[-1].json["PublishTime"] == sent.publish_time
