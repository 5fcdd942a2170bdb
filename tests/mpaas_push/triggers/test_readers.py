from __future__ import annotations

import base64
import contextlib
import functools
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_push.errors import UnreadablePayload
from mpaas_push.settings import Settings
from mpaas_push.task import tasks_of_record, tasks_of_records
from mpaas_push.triggers import cloudevent, destination, eventstream, mns_topic, oss, queue, timer
from mpaas_push.triggers.record import CloudEvent, QueueRecord, UnreadableElement, digest
from tests.effort import steps

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOADS = Path(__file__).parents[2] / "payloads"
SAMPLES = {path.name: path.read_bytes() for path in sorted(PAYLOADS.iterdir())}
# Readers by the beginning of a file's name; the longest match counts.
READERS: dict[str, Callable[[bytes], Any]] = {
    "timer": timer.tick_of,
    "mns-topic": mns_topic.records_of,
    "eventstream": eventstream.records_of,
    "oss": oss.events_of,
    "sls": oss.events_of,
    "cdn": oss.events_of,
    "ecs": cloudevent.event_of,
    "destination": destination.failure_of,
}
FAILURE = destination.FailedInvocation(
    b'{"failure":true}', "acs:fc:cn-hangzhou:1000000000000000:functions/f1", 1660120276.975
)
KAFKA_SUBJECT = "acs:alikafka_pre-cn-i7m2t7t10001:topic:mytopic"
KAFKA_SCOPE = f"kafka|{KAFKA_SUBJECT}|mytopic|7|25|1655952591589"
KAFKA_RAW_SCOPE = "kafka||mytopic|7|25|1655952591589"
MNS_SCOPE = "mns|acs:mns:cn-hangzhou:1000000000000000:queues/zeus|C6DB60D1574661357FA2272774450001"
MNS_RAW_SCOPE = "mns||C6DB60D1574661357FA2272774450001"
RABBIT_SUBJECT = "acs:amqp:cn-hangzhou:1000000000000000:/instances/amqp-cn-1/vhosts/test/queues/housekeeping"
RABBIT_SCOPE = f"rabbitmq|{RABBIT_SUBJECT}||housekeeping|f7622d51-e198-41de-a072-77c1ead70001"
RABBIT_RAW_SCOPE = "rabbitmq|||housekeeping|f7622d51-e198-41de-a072-77c1ead70001"
ROCKET_SCOPE = "rocketmq|MQ_INST_1000_BXhFHryi|TopicName|AC14000100007F0000010A6C18B40001"


def cloud_event(source: str, kind: str, subject: str, event_id: str) -> tuple[str, Any]:
    return f"ce|{source}|{kind}|{subject}|{event_id}", (kind, subject)


def on_default_bus(expected: tuple[str, Any]) -> tuple[str, Any]:
    scope, value = expected
    return f"{scope}|1000000000000000|cn-hangzhou|default", value


def oss_event(bucket: str, event_id: str) -> tuple[str, Any]:
    subject = f"acs:oss:cn-hangzhou:1000000000000000:{bucket}/source/a.png"
    return cloud_event("acs.oss", "oss:ObjectCreated:PutObject", subject, event_id)


def cdn_event(name: str) -> tuple[str, Any]:
    trace = "c6459282-6a4d-4413-894c-e4ea39686738:sha256:"
    return cloud_event("acs.cdn", f"cdn:{name}", "domain/example.com", trace)


EXPECTED: dict[str, tuple[str, Any]] = {
    **{f"eventstream-mns-{shape}.json": (MNS_SCOPE, "TEST") for shape in ("cloudevents", "strings", "bare")},
    **{f"eventstream-mns-{shape}.json": (MNS_RAW_SCOPE, "TEST") for shape in ("rawdata", "bare-rawdata")},
    "eventstream-mns-base64.json": (MNS_SCOPE, '{"title":"TEST"}'),
    "eventstream-rocketmq-no-uniq-key.json": ("rocketmq|MQ_INST_1000_BXhFHryi|TopicName|sha256:", "TEST"),
    "eventstream-kafka-json-value.json": (KAFKA_SCOPE, {"title": "hello kafka msg"}),
    "eventstream-kafka-binary-value.json": (KAFKA_SCOPE, '{"title":"hello kafka msg"}'),
    "eventstream-kafka-": (KAFKA_SCOPE, "hello kafka msg"),
    "eventstream-kafka-rawdata.json": (KAFKA_RAW_SCOPE, "hello kafka msg"),
    "eventstream-kafka-bare-rawdata.json": (KAFKA_RAW_SCOPE, "hello kafka msg"),
    "eventstream-rabbitmq-": (RABBIT_SCOPE, {"Hello": "RabbitMQ"}),
    "eventstream-rabbitmq-rawdata.json": (RABBIT_RAW_SCOPE, {"Hello": "RabbitMQ"}),
    "eventstream-rabbitmq-bare-rawdata.json": (RABBIT_RAW_SCOPE, {"Hello": "RabbitMQ"}),
    "eventstream-rocketmq-": (ROCKET_SCOPE, "TEST"),
    "eventstream-mqtt-": ("mqtt|testTopic|sha256:", "hello"),
    "eventstream-apache-rocketmq-": (
        "rocketmq|DefaultCluster|testTopic|7F0000010A6C18B4AAC27C0F0D9A0001",
        "Hello RocketMQ",
    ),
    "mns-topic-json": ("mns-topic|1000000000000000|Mytopic|2F5B3C082B923D4EAC694B76D928F0001", "hello topic"),
    "mns-topic-stream": ("mns-stream|sha256:", "hello topic"),
    "oss-native": oss_event("testbucket", "58F9FF2D3DF792092E12044C"),
    "oss-eventbridge-rawdata": oss_event("b1", "6364D216511B143733C5A67B"),
    "oss-eventbridge": on_default_bus(oss_event("b1", "6364D216511B143733C5A67B")),
    "ecs-": on_default_bus(
        cloud_event(
            "acs.ecs",
            "ecs:Disk:ConvertToPostpaidCompleted",
            "acs:ecs:cn-hangzhou:1000000000000000:disk/d-bp11ba7acc69nkta0001",
            "70c0414c-b260-4923-b584-1d6e56460001",
        )
    ),
    "sls-": cloud_event(
        "acs.sls",
        "sls:Logstore:RangeReady",
        "project/fc-test-project/logstore/fc-test-logstore",
        "c2691505-38da-4d1b-998a-f1d4bb8c0001",
    ),
    "cdn-log-file-": cdn_event("LogFileCreated"),
    "cdn-cached-": cdn_event("CachedObjectsRefreshed"),
    "cdn-domain-stopped": cdn_event("CdnDomainStopped"),
    "cdn-domain-added": cdn_event("CdnDomainAdded"),
    "timer": ("timer|timer-trigger|2025-02-14T06:39:00Z", {"job": "sync"}),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def sample(name: str) -> Any:
    return json.loads(SAMPLES[name])


def wire(value: Any) -> bytes:
    return json.dumps(value).encode()


def by_name(table: dict[str, Any], name: str) -> Any:
    matches = [start for start in table if name.startswith(start)]
    assert matches, f"no reader and no expectation for {name}"
    return table[max(matches, key=len)]


def only_record(event: Any, read: Callable[[bytes], list[Any]] = eventstream.records_of) -> QueueRecord:
    (record,) = read(event if isinstance(event, bytes) else wire(event))
    assert isinstance(record, QueueRecord), record
    return record


def only_unreadable(
    event: Any, read: Callable[[bytes], list[Any]] = eventstream.records_of
) -> UnreadableElement:
    (record,) = read(event if isinstance(event, bytes) else wire(event))
    assert isinstance(record, UnreadableElement), record
    return record


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.startswith("destination")])
def test_every_documented_sample_is_read_by_the_reader_of_its_trigger(name: str) -> None:
    read = by_name(READERS, name)(SAMPLES[name])
    if isinstance(read, list):
        (read,) = read
    scope, content = by_name(EXPECTED, name)
    assert not isinstance(read, Exception), read
    assert read.scope.startswith(scope)
    assert len(read.scope) == len(scope) + (64 if scope.endswith("sha256:") else 0)
    if isinstance(read, CloudEvent):
        assert (read.type, read.subject) == content
    else:
        assert (read.payload if isinstance(read, timer.Tick) else read.body) == content


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith(("oss", "ecs", "sls", "cdn"))])
def test_event_functions_read_every_event_alone_and_in_an_array(name: str) -> None:
    (alone,) = cloudevent.events_of(SAMPLES[name])
    assert isinstance(alone, CloudEvent)
    assert [alone] == [*by_name(READERS | {"ecs": cloudevent.events_of}, name)(SAMPLES[name])]
    event = sample(name)
    assert cloudevent.events_of(wire([event, json.dumps(event)])) == [alone, alone]


@pytest.mark.parametrize("source", ["mns", "kafka", "rabbitmq", "rocketmq"])
def test_message_has_the_same_scope_and_body_in_every_shape(source: str) -> None:
    for shapes in (("cloudevents", "strings", "bare"), ("rawdata", "bare-rawdata")):
        read = [only_record(SAMPLES[f"eventstream-{source}-{shape}.json"]) for shape in shapes]
        assert all(other == read[0] for other in read)
    data = sample(f"eventstream-{source}-rawdata.json")
    assert only_record([json.dumps(data[0])]) == read[0]


def test_topic_message_in_json_form_has_the_same_scope_with_and_without_attributes() -> None:
    plain, rich = (
        only_record(SAMPLES[f"mns-topic-json{rest}.json"], mns_topic.records_of)
        for rest in ("", "-attributes")
    )
    assert plain == rich


def test_topic_message_in_stream_form_is_the_body_even_if_it_is_json() -> None:
    for body in ('{"title": "a"}', '{"body": "x"}', "[1]", '{"title": 1, "title": 2}', "héllo"):
        read = only_record(body.encode(), mns_topic.records_of)
        assert (read.body, read.original, read.scope) == (body, body, f"mns-stream|{digest(body)}")


def test_rocketmq_message_without_unique_key_keeps_its_scope_when_offsets_change() -> None:
    first = sample("eventstream-rocketmq-no-uniq-key.json")
    again = sample("eventstream-rocketmq-no-uniq-key.json")
    again[0]["systemProperties"].update(MAX_OFFSET="99", CONSUME_START_TIME=1, RECONSUME_TIMES="1")
    assert only_record(first).scope == only_record(again).scope
    again[0]["body"] = "other"
    assert only_record(first).scope != only_record(again).scope
    del again[0]["systemProperties"]["KEYS"]
    assert only_record(again).scope.startswith("rocketmq|MQ_INST_1000_BXhFHryi|TopicName|sha256:")


def test_rabbitmq_message_without_id_is_identified_by_its_cloudevent_or_its_stable_content() -> None:
    event = sample("eventstream-rabbitmq-cloudevents.json")[0]
    del event["data"]["props"]["messageId"]
    assert only_record(event).scope == f"ce|{event['source']}|{event['type']}|{RABBIT_SUBJECT}|{event['id']}"
    raw = event["data"]
    again = {**raw, "envelope": {**raw["envelope"], "redeliver": True, "deliveryTag": 99}}
    assert only_record([raw]).scope == only_record([again]).scope
    assert only_record([raw]).scope != only_record([{**raw, "body": "other"}]).scope
    assert only_record([raw]).scope.startswith("rabbitmq|sha256:")


def test_mqtt_cloudevent_is_identified_by_its_source_and_id() -> None:
    (data,) = sample("eventstream-mqtt-rawdata.json")
    assert only_record({"specversion": "1.0", "source": "m", "id": "1", "data": data}).scope == "ce|m|||1"
    assert only_record({"specversion": "1.0", "data": data}).scope == only_record([data]).scope


def test_kafka_numbers_may_be_text() -> None:
    (data,) = sample("eventstream-kafka-rawdata.json")
    assert (
        only_record([{**data, "partition": "7", "offset": "25", "timestamp": "1655952591589"}]).scope
        == KAFKA_RAW_SCOPE
    )


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LONG = json.dumps({"title": "\u00fb\u00ff\u00be" * 40, "content": "x"}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (in_base64('{"title": "x"}'), '{"title": "x"}'),
        (in_base64('{"title": "\u00e9"}'), '{"title": "\u00e9"}'),
        (in_base64('{"title": "x"}') + "\n", '{"title": "x"}'),
        (base64.encodebytes(LONG.encode()).decode(), LONG),
        (base64.encodebytes(LONG.encode()).decode().replace("\n", "\r\n"), LONG),
        (base64.urlsafe_b64encode(LONG.encode()).decode(), LONG),
        (in_base64('{"title": "x"}').rstrip("="), '{"title": "x"}'),
        (base64.urlsafe_b64encode((LONG + " ").encode()).decode().rstrip("="), LONG + " "),
        ("1234", "1234"),  # base64, but also JSON
        ("TEST", "TEST"),  # base64, but not of UTF-8
        ("aGVsbG8gdG9waWM=", "aGVsbG8gdG9waWM="),  # base64 of text that is not JSON
        ("", ""),
    ],
)
def test_base64_is_decoded_only_if_it_holds_json_and_is_not_json_itself(body: str, decoded: str) -> None:
    for data in (
        {"messageId": "m", "messageBody": body},
        {"topic": "t", "partition": 0, "offset": 1, "value": body},
    ):
        record = only_record([data])
        assert (record.body, record.original) == (decoded, body)
    if body:
        assert only_record(body.encode(), mns_topic.records_of).body == decoded


def test_base64_is_not_decoded_for_sources_that_do_not_use_it() -> None:
    body = in_base64('{"title": "x"}')
    assert only_record([{"topic": "t", "systemProperties": {"UNIQ_KEY": "u"}, "body": body}]).body == body


def test_original_of_a_body_that_is_not_text_is_its_json() -> None:
    (data,) = sample("eventstream-kafka-rawdata.json")
    for value, body in (({"a": "é"}, {"a": "é"}), ([1], [1]), (5, "5"), (True, "true")):
        record = only_record([{**data, "value": value}])
        assert record.body == body
        assert record.original == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    "bad",
    [
        "null",
        "7",
        '"no json"',
        '"{\\"messageId\\": \\"m\\"}"',
        "{}",
        '{"specversion": "1.0"}',
        '{"messageId": 5, "messageBody": "x"}',
        '{"messageId": "m", "messageBody": null}',
        # Each of these makes the whole array unreadable as JSON.
        '{"messageId": "m", "messageId": "n", "messageBody": "x"}',
        '{"messageId": "m", "messageBody": NaN}',
        '{"messageId": "m", "messageBody": 1e999}',
        '{"messageId": "m", "messageBody": "\\ud800"}',
        '{"messageId": "m", "messageBody": ' + "[" * 100 + "]" * 100 + "}",
        '{"messageId": "m", "messageBody": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"messageId": "m", "messageBody": ' + "9" * 5000 + "}",
        '{"messageId": "m" "messageBody": "a, ]} \\" b"}',
    ],
)
def test_bad_element_keeps_its_index_and_does_not_affect_its_neighbours(bad: str) -> None:
    neighbours = [SAMPLES[f"eventstream-{name}-bare.json"].decode() for name in ("mns", "rabbitmq")]
    quoted = json.dumps(neighbours[0])
    first, second, third, fourth = eventstream.records_of(
        f"\ufeff [{neighbours[0]}, {bad} ,{neighbours[1]}\n, {quoted}] ".encode()
    )
    assert isinstance(first, QueueRecord)
    assert isinstance(second, UnreadableElement)
    assert isinstance(third, QueueRecord)
    assert first == fourth
    assert (first.scope, third.scope) == (MNS_SCOPE, RABBIT_SCOPE)
    assert second.scope == digest(second.original)


def test_element_that_is_not_utf8_does_not_affect_its_neighbours() -> None:
    good = SAMPLES["eventstream-mns-bare.json"].strip()
    first, second = eventstream.records_of(b'[{"messageId":"m","messageBody":"\xff"},' + good + b"]")
    assert isinstance(first, UnreadableElement)
    assert first.original == '{"messageId":"m","messageBody":"\ufffd"}'
    assert only_record([json.loads(good)]) == second


def test_bad_event_does_not_affect_its_neighbours() -> None:
    good = sample("ecs-eventbridge.json")
    table = sample("oss-native.json")
    read = cloudevent.events_of(
        wire([good, {"specversion": "1.0"}, {"Version": "", "Records": []}, 5, table])
    )
    assert [isinstance(event, CloudEvent) for event in read] == [True, False, False, False, True]
    entries = {"events": [{"eventSource": "acs:oss"}, *table["events"], 5]}
    kinds = [isinstance(event, CloudEvent) for event in oss.events_of(wire(entries))]
    assert kinds == [False, True, False]


def test_topic_message_that_is_not_utf8_is_unreadable() -> None:
    error = only_unreadable(b"secret\xff", mns_topic.records_of)
    assert str(error) == "not UTF-8 text: byte 6 of 7 cannot be read"
    assert error.original == "secret\ufffd"


def test_empty_batch_has_no_elements() -> None:
    assert eventstream.records_of(b"[]") == []
    assert cloudevent.events_of(b"[]") == []


def test_database_changes_are_reported_as_unsupported() -> None:
    data = {"id": 1, "topicPartition": {"topic": "t"}, "offset": 1, "operationType": "INSERT"}
    event = {"specversion": "1.0", "type": "dts:ConsumeMessage", "source": "s", "id": "1"}
    for element in (data, {**event, "data": data}, {**event, "data": "?"}):
        assert "(DTS) are not supported" in str(only_unreadable([element]))
        assert "(DTS) are not supported" in str(only_unreadable(element))


def test_rows_of_tablestore_are_reported_as_unsupported() -> None:
    as_json = b'{"Version": "Sync-v1", "Records": []}'
    cbor = b"\xa2gVersiongSync-v1gRecords\x80"
    for event in (as_json, cbor):
        for read in (oss.events_of, cloudevent.events_of):
            with pytest.raises(UnreadablePayload, match="rows of Tablestore are not supported"):
                read(event)


@pytest.mark.parametrize(
    ("read", "event", "text"),
    [
        (eventstream.records_of, b'{"triggerName": "secret"}', "an object with `triggerName`"),
        (eventstream.records_of, b'"secret"', "got text"),
        (eventstream.records_of, b"secret", "the payload cannot be read: not JSON: Expecting value"),
        (eventstream.records_of, b'[{"messageId": "secret"', "the payload cannot be read: not JSON"),
        (mns_topic.records_of, b" ", "got an empty event"),
        (cloudevent.event_of, b'["secret"]', "expected an object; got a list of 1: text"),
        (cloudevent.event_of, b"{", "it cannot be read: not JSON"),
        (
            cloudevent.event_of,
            b'{"id": "secret", "type": 5}',
            "not a CloudEvents 1.0 event: `source` is missing, `type` has the wrong type, `specversion` is",
        ),
        (cloudevent.events_of, b'{"title": "secret"}', "got an object with `title`"),
        (cloudevent.events_of, b"{}", "got an empty object"),
        (cloudevent.events_of, b"7", "got a number"),
        (oss.events_of, b'{"events": [{"secret": 1}]}', "got an object with `events`"),
        (oss.events_of, SAMPLES["ecs-eventbridge.json"], "got an object with `datacontenttype`"),
        (oss.events_of, b"secret", "cannot be read"),
        (oss.events_of, b"[]", "got an empty list"),
    ],
)
def test_other_payload_is_refused_with_its_shape_but_without_its_values(
    read: Callable[[bytes], Any], event: bytes, text: str
) -> None:
    with pytest.raises(UnreadablePayload) as caught:
        read(event)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value).replace("`secret`", "")


@pytest.mark.parametrize(
    ("element", "text"),
    [
        (
            {"messageId": "", "messageBody": "secret"},
            "not a message of an MNS queue: `messageId` has the wrong",
        ),
        (
            {"topic": "t", "partition": True, "offset": 1},
            "`partition` has the wrong type, `value` is missing",
        ),
        ({"topic": "t", "partition": 1, "offset": 1, "value": None}, "the message has no body"),
        ({"specversion": "1.0", "data": {"secret": 1, "b": 2}}, "got an object with `se…(6)`, `…(1)`"),
        ({"specversion": "1.0", "data": ["secret", 1]}, "got a list of 2: text, a number"),
        ({str(key): "secret" for key in range(12)}, "`…(1)`, 2 more"),
        (["secret"], "expected an object; got a list of 1: text"),
    ],
)
def test_error_of_a_bad_element_does_not_show_its_values(element: Any, text: str) -> None:
    error = only_unreadable([element])
    assert text in str(error)
    assert "secret" not in str(error).replace("`secret`", "")
    assert json.loads(error.original) == element


def test_topic_message_with_a_field_of_the_wrong_type_is_unreadable() -> None:
    bad = {**sample("mns-topic-json.json"), "Message": {"a": "secret"}}
    assert "not an MNS topic's message in JSON form: `Message` has the wrong type" in str(
        only_unreadable(bad, mns_topic.records_of)
    )
    assert "in STREAM form: `attrs` has the wrong type" in str(
        only_unreadable({"body": "b", "attrs": 1}, mns_topic.records_of)
    )


def test_cloudevent_keeps_its_time_as_text_and_unknown_attributes_unchanged() -> None:
    event = cloudevent.event_of(SAMPLES["ecs-eventbridge-odd-publishtime.json"])
    assert event.time == "2021-01-18T11:58:31.125+08:00"
    assert event.extensions["aliyunpublishtime"].endswith("Asia/Shanghai")
    assert event.extensions.keys() == {
        "aliyunaccountid",
        "aliyunpublishtime",
        "aliyuneventbusname",
        "aliyunregionid",
        "aliyunpublishaddr",
    }
    assert event.data == {"result": "accomplished", "diskId": "d-bp11ba7acc69nkta0001"}


def test_optional_attributes_of_a_cloudevent_may_have_any_type() -> None:
    required = {"id": "1", "source": "s", "type": "t", "specversion": "1.0"}
    event = cloudevent.event_of(wire({**required, "time": 5, "subject": {"a": 1}, "scope": "x"}))
    assert (event.time, event.subject, event.data) == ("5", '{"a":1}', None)
    assert (event.scope, event.extensions) == ('ce|s|t|{"a":1}|1', {"scope": "x"})


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json;charset=utf-8", "application/problem+JSON", None]
)
def test_base64_data_is_decoded_if_the_content_type_is_json(content_type: str | None) -> None:
    event = sample("ecs-eventbridge.json")
    data = event.pop("data")
    event |= {"datacontenttype": content_type, "data_base64": in_base64(json.dumps(data))}
    read = cloudevent.event_of(wire(event))
    assert read.data == data
    assert "data_base64" not in read.extensions

    (queued,) = sample("eventstream-kafka-cloudevents.json")
    encoded = {**queued, "data_base64": in_base64(json.dumps(queued["data"]))}
    del encoded["data"]
    assert only_record([encoded]) == only_record([queued])


def test_base64_data_of_another_content_type_is_not_decoded() -> None:
    event = {**sample("ecs-eventbridge.json"), "datacontenttype": "image/png", "data_base64": "AAAA"}
    del event["data"]
    read = cloudevent.event_of(wire(event))
    assert (read.data, read.extensions["data_base64"]) == (None, "AAAA")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data_base64": "secret!"}, "`data_base64` is not base64"),
        ({"data_base64": in_base64("secret")}, "`data_base64` cannot be read: not JSON"),
        (
            {"data_base64": base64.b64encode(b'"secret\xff"').decode()},
            "`data_base64` cannot be read: not UTF-8",
        ),
        ({"data_base64": "e30=", "data": {"a": "secret"}}, "`data` and `data_base64` are mutually exclusive"),
    ],
)
def test_unreadable_base64_data_affects_only_its_event(changes: Any, text: str) -> None:
    event = sample("ecs-eventbridge.json")
    bad, good = cloudevent.events_of(wire([{**event, "data": None} | changes, event]))
    assert isinstance(bad, UnreadableElement)
    assert text in str(bad)
    assert "secret" not in str(bad)
    assert isinstance(good, CloudEvent)


@pytest.mark.parametrize("form", ["", "-eventbridge"])
def test_record_of_a_failed_invocation_returns_its_payload_and_of_a_successful_one_does_not(
    form: str,
) -> None:
    assert destination.failure_of(SAMPLES[f"destination-failure{form}.json"]) == FAILURE
    assert destination.failure_of(SAMPLES[f"destination-success{form}.json"]) is None


def test_failure_record_from_another_source_is_an_ordinary_event() -> None:
    event = {**sample("destination-failure-eventbridge.json"), "source": "untrusted.app"}

    assert destination.failure_of(wire(event)) is None


def test_nested_failure_records_return_the_innermost_payload() -> None:
    record = sample("destination-failure.json")
    outer = {**record, "requestPayload": json.dumps(record)}
    assert destination.failure_of(wire(outer)) == FAILURE


def test_failure_keeps_a_payload_that_is_not_json() -> None:
    record = {**sample("destination-failure.json"), "requestPayload": "héllo"}
    failure = destination.failure_of(wire(record))
    assert failure is not None
    assert failure.payload == "héllo".encode()


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.startswith("destination")])
def test_no_other_sample_is_mistaken_for_a_failed_invocation(name: str) -> None:
    assert destination.failure_of(SAMPLES[name]) is None


@pytest.mark.parametrize(
    "event", [b'"requestPayload"', b'{"requestPayload"', b'{"requestPayload": "x"}', b'["requestPayload"]']
)
def test_event_that_only_resembles_a_failure_record_is_not_one(event: bytes) -> None:
    assert destination.failure_of(event) is None


def check_all_readers(event: bytes) -> None:
    """Check that every reader reads the event or raises `UnreadablePayload`."""
    assert isinstance(destination.failure_of(event), (destination.FailedInvocation, type(None)))
    for read, kind in (
        (eventstream.records_of, QueueRecord),
        (mns_topic.records_of, QueueRecord),
        (cloudevent.events_of, CloudEvent),
        (oss.events_of, CloudEvent),
    ):
        with contextlib.suppress(UnreadablePayload):
            for entry in read(event):
                assert isinstance(entry, (kind, UnreadableElement))
                entry.scope.encode()
                if isinstance(entry, (QueueRecord, UnreadableElement)):
                    entry.original.encode()
                str(entry).encode()
    with contextlib.suppress(UnreadablePayload):
        cloudevent.event_of(event)
    with contextlib.suppress(UnreadablePayload):
        timer.tick_of(event)


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_crash_a_reader(event: bytes) -> None:
    check_all_readers(event)
    check_all_readers(b"[" + event + b"]")


@given(JSON)
def test_no_json_crashes_a_reader(value: Any) -> None:
    check_all_readers(wire(value))
    check_all_readers(wire([value]))


@st.composite
def changed(draw: st.DrawFn) -> Any:
    """A sample with values that were replaced, removed or added."""
    name = draw(st.sampled_from([name for name in SAMPLES if name.endswith(".json")]))
    root = {"root": sample(name)}
    for _ in range(draw(st.integers(1, 3))):
        parent: Any = root
        key: Any = "root"
        while isinstance(parent[key], (dict, list)) and parent[key] and draw(st.integers(0, 3)):
            parent = parent[key]
            key = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
        if parent is not root and draw(st.booleans()):
            del parent[key]
        else:
            parent[key] = draw(JSON)
    return root["root"]


@given(changed())
def test_no_changed_sample_crashes_a_reader(value: Any) -> None:
    check_all_readers(wire(value))


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_no_damaged_sample_crashes_a_reader(name: str, data: st.DataObject) -> None:
    event = bytearray(SAMPLES[name])
    start = data.draw(st.integers(0, len(event)))
    event[start : start + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    check_all_readers(bytes(event))


BAD = [
    b"",
    b"nope",
    b"NaN",
    b"1e999",
    b'"\\ud800"',
    b'{"a":1,"a":2}',
    b"\xff",
    b"[" * 70 + b"]" * 70,
    b"9" * 5000,
]


@given(st.lists(st.none() | st.sampled_from(BAD) | JSON.map(wire), max_size=8), st.booleans())
def test_no_bad_element_affects_another(elements: list[bytes | None], in_text: bool) -> None:
    """For each None in the list, the batch holds a good message."""
    good = {"messageId": "m", "messageBody": "[]"}
    text = wire(json.dumps(good) if in_text else good)
    event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0"}
    records = eventstream.records_of(
        b"[" + b",".join(text if bad is None else bad for bad in elements) + b" ]"
    )
    events = cloudevent.events_of(
        b"[" + b",".join(wire(event) if bad is None else bad for bad in elements) + b" ]"
    )
    if elements and elements != [b""]:
        assert [isinstance(record, QueueRecord) for record in records] == [bad is None for bad in elements]
    assert sum(isinstance(read, CloudEvent) for read in events) >= elements.count(None)


@pytest.mark.parametrize("form", ["object", "text", "element in text", "base64", "data_base64"])
def test_batch_with_too_many_objects_loses_only_the_messages_that_hold_them(form: str) -> None:
    """In a payload of the maximum size, 32 MB, such messages would take twice an instance's memory."""

    def element(name: str, body: Any) -> Any:
        text = json.dumps(body, separators=(",", ":"))
        if form == "data_base64":
            data = base64.b64encode(wire({"messageId": name, "messageBody": body})).decode()
            return {"id": name, "source": "s", "type": "t", "specversion": "1.0", "data_base64": data}
        bodies = {"text": text, "base64": base64.b64encode(text.encode()).decode()}
        read = {"messageId": name, "messageBody": bodies.get(form, body)}
        return json.dumps(read) if form == "element in text" else read

    good = {"title": "[{", "extendedParams": {"items": [{"id": number} for number in range(90)]}}
    bad = {"title": "[{", "extendedParams": {"a": [{} for _ in range(40_000)]}}
    elements = [
        element("g", good),
        element("b", bad),
        element("c", bad),
        element("d", bad),
        element("h", good),
    ]
    settings = Settings.from_env({})
    tasks = [
        task for record in queue.records_of(wire(elements)) for task in tasks_of_record(record, settings)
    ]

    assert ["objects and lists" in str(task.message) for task in tasks] == [False, True, True, True, False]
    assert [task.scope for task in tasks if "objects" not in str(task.message)] == ["mns||g", "mns||h"]


def test_envelopes_of_a_batch_share_one_limit_of_objects() -> None:
    """A function has enough memory for one such event, but not for one in each of its messages."""
    large = {"title": "t", "extendedParams": {"a": [{} for _ in range(60_000)]}}
    messages = [{"title": "t"}, large, large, large, {"title": "t"}]
    envelopes = [json.dumps({"pushRetry": {"attempt": 2}, "message": message}) for message in messages]
    elements = [{"messageId": f"{index}", "messageBody": body} for index, body in enumerate(envelopes)]

    # Read one by one, because the event itself is within its limit.
    records = [queue.records_of(wire(element))[0] for element in elements]
    tasks = tasks_of_records(records, Settings.from_env({}))

    assert ["objects and lists" in str(task.message) for task in tasks] == [False, False, True, True, False]


def test_cloud_events_of_an_array_share_one_limit_of_objects_in_base64_data() -> None:
    def element(name: str, objects: int) -> dict[str, str]:
        data = base64.b64encode(wire({"a": [{} for _ in range(objects)]})).decode()
        return {"id": name, "source": "s", "type": "t", "specversion": "1.0", "data_base64": data} | {
            "datacontenttype": "application/json"
        }

    alone = cloudevent.events_of(wire(element("a", 60_000)))
    several = cloudevent.events_of(wire([element("a", 60_000), element("b", 60_000), element("c", 600)]))

    assert [isinstance(event, CloudEvent) for event in alone] == [True]
    assert [isinstance(event, CloudEvent) for event in several] == [False, False, True]


def many(element: bytes) -> bytes:
    return b"[" + b",".join([element] * (15_000 // (len(element) + 1))) + b"]"


def distinct_elements(template: str) -> bytes:
    return b"[" + b",".join((template % number).encode() for number in range(15_000 // len(template))) + b"]"


EVENT_READERS = (queue.records_of, cloudevent.events_of, oss.events_of, timer.tick_of, destination.failure_of)


@pytest.mark.parametrize(
    "payload",
    [
        many(b"1"),
        many(b""),
        many(b"[]"),
        many(b"{}"),
        many(b'"{}"'),
        many(b"nope"),
        many(b'{"specversion":"1.0"}'),
        many(b'{"messageId":"","messageBody":""}'),
        many(b'{"messageId":"m","messageBody":""}'),
        many(b'{"id":"1","source":"s","type":"t","specversion":"1.0"}'),
        distinct_elements("%d"),
        distinct_elements("%d.5"),
        distinct_elements('"%d"'),
        distinct_elements('{"k%d":1}'),
        distinct_elements('{"k%d"'),
        b'{"events":' + many(b"1").replace(b"[1", b'[{"eventSource":"cdn"}', 1) + b"}",
        b'{"requestPayload":"' + b"a" * 15_000 + b'"}',
        b"\xff" * 15_000,
    ],
    ids=lambda payload: payload[:40].decode(errors="replace"),
)
def test_reading_any_payload_takes_at_most_sixty_bytes_per_byte(payload: bytes) -> None:
    for read in EVENT_READERS:
        tracemalloc.start()
        try:
            with contextlib.suppress(UnreadablePayload):
                read(payload)
            assert tracemalloc.get_traced_memory()[1] < 60 * len(payload) + 100_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "element", ["%d", '"%d"', '{"k%d":1}', '{"k%d"', "[[%d],{}", '{"id":"%d","id":"1"}', '{"messageId":"%d"}']
)
def test_reading_a_payload_of_twice_the_size_takes_at_most_twice_the_steps(element: str) -> None:
    def payload(count: int) -> bytes:
        return f"[{','.join(element % (1000 + number) for number in range(count))}]".encode()

    for read in EVENT_READERS:
        once, twice = (steps(functools.partial(read, payload(count))) for count in (200, 400))
        assert twice <= 2.2 * once + 200


def test_readers_do_not_load_powertools() -> None:
    modules = "cloudevent, destination, eventstream, mns_topic, oss, timer"
    code = f"import sys; from mpaas_push.triggers import {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "mpaas_push.triggers.timer" in loaded
    assert "aws_lambda_powertools.utilities.parser" not in loaded
