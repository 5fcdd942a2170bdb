"""Things that are not the same have different message ids; the same thing has the same ones again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from mpaas_push import Credentials, Invocation, PushMessage, Settings, event_rules, task
from mpaas_push.message.reading import message_of
from mpaas_push.targets import message_ids_of
from mpaas_push.triggers import cloudevent, queue, timer
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.record import CloudEvent, QueueRecord, scope_of
from tests.mpaas_push.message.examples import MESSAGE

if TYPE_CHECKING:
    from mpaas_push.task import PushTask

PAYLOADS = Path(__file__).parents[2] / "payloads"
SETTINGS = Settings(app_id="A", workspace_id="W")
PROD = "acs:fc:cn-hangzhou:1000:functions/push-prod"
STAGING = "acs:fc:cn-hangzhou:1000:functions/push-staging"
OTHER = "acs:fc:cn-hangzhou:1000:functions/other-prod"
ELSEWHERE = "acs:fc:cn-beijing:1000:functions/push-prod"


def sample(name: str) -> Any:
    return json.loads((PAYLOADS / name).read_text())


def message_id(made: PushTask) -> str:
    message = message_of(MESSAGE, SETTINGS)
    assert isinstance(message, PushMessage)
    return message_ids_of(message, made.scope)["u"]


def ticked(sender: str, **changes: str) -> str:
    tick = {"triggerTime": "2026-11-28T01:00:00Z", "triggerName": "morning", "payload": json.dumps(MESSAGE)}
    (made,) = timer.tasks_of_tick(timer.tick_of(json.dumps(tick | changes).encode()), SETTINGS, sender)
    return message_id(made)


def happened(tmp_path: Path, sender: str, event: dict[str, Any], rule: str = "r") -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"name": rule, "match": {"source": "*"}, "message": MESSAGE}]}))
    (read,) = cloudevent.events_of(json.dumps(event).encode())
    (made,) = event_rules.tasks_of_event(read, event_rules.read_rules(path, SETTINGS), SETTINGS, sender)
    return message_id(made)


def queued(event: Any, sender: str = PROD) -> str:
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    (record,) = queue.records_of(payload)
    (made,) = task.tasks_of_record(record, SETTINGS, sender)
    return message_id(made)


def queued_message_id(event: bytes) -> str:
    """The message id under which a queue message is sent."""
    (record,) = queue.records_of(event)
    (made,) = task.tasks_of_record(record, SETTINGS, PROD)
    assert isinstance(made.message, PushMessage)
    return message_ids_of(made.message, made.scope)["u"]


def with_data(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**event, "data": event["data"] | changes}


def test_what_takes_over_the_failures_of_a_function_sends_under_its_ids() -> None:
    own = Invocation(request_id="1", credentials=Credentials("ak", "sk"), sender=STAGING)

    def sender(arn: str) -> str:
        record = sample("destination-failure.json")
        record["requestContext"]["functionArn"] = arn
        payload, invocation = unwrap_failed_invocation(json.dumps(record).encode(), own)
        assert payload == b'{"failure":true}'
        return invocation.sender

    assert sender(PROD) == sender(f"{PROD}/LATEST") == PROD
    of_fc_2 = "acs:fc:::services/push-dev.LATEST/functions/queue_push"
    assert sender(of_fc_2) == "acs:fc:cn-hangzhou:1000:functions/push-dev$queue_push"
    assert sender("f") == STAGING
    assert unwrap_failed_invocation(b"{}", own) == (b"{}", own)


def test_timers_of_the_same_name_and_tick_in_two_functions_stages_or_regions_are_apart() -> None:
    assert len({ticked(sender) for sender in (PROD, STAGING, OTHER, ELSEWHERE)}) == 4
    assert ticked(PROD) == ticked(PROD)


def test_another_tick_and_another_trigger_of_one_function_are_apart() -> None:
    ids = {ticked(PROD), ticked(PROD, triggerTime="2026-11-29T01:00:00Z"), ticked(PROD, triggerName="noon")}
    assert len(ids) == 3


def test_rules_of_the_same_name_in_two_functions_or_stages_are_apart(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    assert len({happened(tmp_path, sender, event) for sender in (PROD, STAGING, OTHER)}) == 3
    assert happened(tmp_path, PROD, event) == happened(tmp_path, PROD, event)


@pytest.mark.parametrize("name", ["source", "id", "type", "subject"])
def test_cloud_events_that_differ_in_what_identifies_them_are_apart(tmp_path: Path, name: str) -> None:
    event = sample("ecs-eventbridge.json")
    assert happened(tmp_path, PROD, event) != happened(tmp_path, PROD, {**event, name: "other"})


@pytest.mark.parametrize("name", ["aliyunaccountid", "aliyunregionid", "aliyuneventbusname"])
def test_cloud_events_of_one_source_and_id_on_two_buses_are_apart(tmp_path: Path, name: str) -> None:
    event = {**sample("ecs-eventbridge.json"), "source": "shop", "id": "1"}
    assert happened(tmp_path, PROD, event) != happened(tmp_path, PROD, {**event, name: "other"})


def test_a_redelivered_cloud_event_may_say_anew_when_it_was_published(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    again = {**event, "aliyunpublishtime": "2026-01-01T00:00:00Z"}
    assert happened(tmp_path, PROD, event) == happened(tmp_path, PROD, again)


def test_two_rules_that_want_one_event_are_apart(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    assert happened(tmp_path, PROD, event) != happened(tmp_path, PROD, event, rule="other")


def test_objects_that_one_request_removes_are_apart_natively_and_through_the_bus(tmp_path: Path) -> None:
    (entry,) = sample("oss-native.json")["events"]
    other = json.loads(json.dumps(entry).replace("source/a.png", "source/b.png"))
    elsewhere = json.loads(json.dumps(entry).replace("testbucket", "bucket2"))
    ids = {happened(tmp_path, PROD, {"events": [each]}) for each in (entry, other, elsewhere)}
    assert len(ids) == 3

    event = sample("oss-eventbridge.json")
    other = json.loads(json.dumps(event).replace("source/a.png", "source/b.png"))
    assert event["id"] == other["id"]
    assert happened(tmp_path, PROD, event) != happened(tmp_path, PROD, other)


def test_rocketmq_messages_without_an_id_are_told_apart_by_their_cloud_event() -> None:
    (event,) = sample("eventstream-rocketmq-cloudevents.json")
    system = {name: value for name, value in event["data"]["systemProperties"].items() if name != "UNIQ_KEY"}
    event = with_data(event, systemProperties=system)
    again = with_data(event, systemProperties={**system, "CONSUME_START_TIME": "1628577790396"})

    assert queued([event]) == queued([again])
    assert queued([event]) != queued([{**event, "id": "other"}])


def test_a_kafka_topic_that_was_deleted_and_made_anew_is_another() -> None:
    (event,) = sample("eventstream-kafka-cloudevents.json")
    (data,) = sample("eventstream-kafka-rawdata.json")
    assert queued([event]) != queued([with_data(event, timestamp=1755952591589)])
    assert queued([data]) != queued([{**data, "timestamp": 1755952591589}])


def test_a_kafka_topic_of_the_same_name_in_another_instance_is_another() -> None:
    (event,) = sample("eventstream-kafka-cloudevents.json")
    other = {**event, "subject": "acs:alikafka_post-cn-x:topic:mytopic"}
    assert queued([event]) != queued([other])


@pytest.mark.parametrize("where", ["exchange", "routingKey"])
def test_the_same_id_on_two_exchanges_or_routing_keys_of_rabbitmq_is_two_messages(where: str) -> None:
    (data,) = sample("eventstream-rabbitmq-rawdata.json")
    other = {**data, "envelope": {**data["envelope"], where: "other"}}
    again = {**data, "envelope": {**data["envelope"], "redeliver": True, "deliveryTag": 99}}
    assert queued([data]) != queued([other])
    assert queued([data]) == queued([again])


def test_the_same_id_in_two_queues_of_mns_is_two_messages() -> None:
    (event,) = sample("eventstream-mns-cloudevents.json")
    other = {**event, "subject": event["subject"].replace("zeus", "hera")}
    assert queued([event]) != queued([other])


def test_the_same_key_in_two_instances_of_rocketmq_is_two_messages() -> None:
    (data,) = sample("eventstream-rocketmq-rawdata.json")
    other = {**data, "systemProperties": {**data["systemProperties"], "INSTANCE_ID": "MQ_INST_2"}}
    assert queued([data]) != queued([other])


def test_topics_whose_messages_carry_the_same_id_or_text_are_apart() -> None:
    told = sample("mns-topic-json.json")
    assert queued(told) != queued({**told, "TopicName": "Other"})
    assert queued(told) != queued({**told, "TopicOwner": "2000"})
    assert queued(told) == queued({**told, "SubscriptionName": "again"})
    # In STREAM form nothing but the function tells them apart.
    text = json.dumps(MESSAGE).encode()
    assert len({queued(text, sender) for sender in (PROD, STAGING, OTHER)}) == 3
    assert queued(text) == queued(text)


@pytest.mark.parametrize("wrapped", [False, True], ids=["body alone", "with attributes"])
def test_equal_texts_of_a_topic_are_told_apart_by_an_attribute_or_by_ids_of_the_publisher(
    *, wrapped: bool
) -> None:
    def told(extend: str = "1", **more: Any) -> bytes:
        text = json.dumps({**MESSAGE, **more})
        return json.dumps({"body": text, "attrs": {"Extend": extend}}).encode() if wrapped else text.encode()

    assert queued(told()) == queued(told())
    if wrapped:
        assert queued(told()) != queued(told("2"))
    own: list[dict[str, Any]] = [
        {"targets": None, "targetMsgkey": {"u": f"order-{number}"}} for number in range(2)
    ]
    assert [queued_message_id(told(**each)) for each in own] == ["order-0", "order-1"]


@pytest.mark.parametrize("source", ["mns", "kafka", "rabbitmq", "rocketmq"])
def test_a_queue_message_in_two_functions_is_pushed_by_both_and_by_each_once(source: str) -> None:
    shapes = [
        (PAYLOADS / f"eventstream-{source}-{shape}.json").read_bytes()
        for shape in ("cloudevents", "strings", "bare")
    ]
    assert len({queued(shape) for shape in shapes}) == 1
    assert queued(shapes[0], PROD) != queued(shapes[0], STAGING)


def test_no_part_of_a_scope_runs_into_the_next() -> None:
    assert scope_of("k", "a|b", "c") != scope_of("k", "a", "b|c")
    assert scope_of("k", "a%7Cb") != scope_of("k", "a|b")
    assert scope_of("k", None) == scope_of("k", "")


# --- When it was


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("eventstream-mns-cloudevents.json", 1617863297.093),
        ("eventstream-mns-rawdata.json", None),
        ("eventstream-rabbitmq-bare.json", 1617863297.093),
        ("eventstream-rocketmq-strings.json", 1617863297.093),
        ("eventstream-kafka-cloudevents.json", 1655952591.589),
        ("eventstream-kafka-rawdata.json", 1655952591.589),
        ("mns-topic-json.json", 1550216480.040),
        ("mns-topic-stream.txt", None),
    ],
)
def test_a_record_tells_when_it_was_published(name: str, moment: float | None) -> None:
    (record,) = queue.records_of((PAYLOADS / name).read_bytes())
    assert isinstance(record, QueueRecord)
    assert record.moment == (moment if moment is None else pytest.approx(moment))


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2021-01-18T11:58:31.125+08:00", 1610942311.125),
        ("2021-01-18T03:58:31Z", 1610942311),
        ("2021-01-18t03:58:31.123456789z", 1610942311.123456789),
        ("2021-01-18T03:58:31", None),  # of which zone?
        ("2021-01-18T03:58:31.762Asia/Shanghai", None),
        ("2021-13-18T03:58:31Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("1969-12-31T23:59:59Z", None),
        ("", None),
        ("soon", None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_an_event_tells_when_it_happened_where_its_time_can_be_read(time: Any, moment: float | None) -> None:
    event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "time": time}
    read = cloudevent.event_of(json.dumps(event).encode())
    assert read.moment == (moment if moment is None else pytest.approx(moment))


def test_tasks_count_from_the_tick_or_the_event_but_not_from_the_future(tmp_path: Path) -> None:
    tick = timer.Tick("t", "2021-01-18T03:58:31Z", MESSAGE)
    (made,) = timer.tasks_of_tick(tick, SETTINGS, PROD)
    assert made.first_moment == 1610942311

    (later,) = timer.tasks_of_tick(timer.Tick("t", "2999-01-18T03:58:31Z", MESSAGE), SETTINGS, PROD)
    (unknown,) = timer.tasks_of_tick(timer.Tick("t", "", MESSAGE), SETTINGS, PROD)
    assert later.first_moment == pytest.approx(unknown.first_moment, abs=60)

    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"name": "r", "match": {"source": "*"}, "message": MESSAGE}]}))
    rules = event_rules.read_rules(path, SETTINGS)
    event = CloudEvent.model_validate(sample("ecs-eventbridge.json"))
    (made,) = event_rules.tasks_of_event(event, rules, SETTINGS, PROD)
    assert made.first_moment == pytest.approx(1610942311.125)
