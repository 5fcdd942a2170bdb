"""Different messages and events have different message ids; the same one always has the same ids."""

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


def message_id(push_task: PushTask) -> str:
    message = message_of(MESSAGE, SETTINGS)
    assert isinstance(message, PushMessage)
    return message_ids_of(message, push_task.scope)["u"]


def id_of_tick(sender: str, **changes: str) -> str:
    tick = {"triggerTime": "2026-11-28T01:00:00Z", "triggerName": "morning", "payload": json.dumps(MESSAGE)}
    (push_task,) = timer.tasks_of_tick(timer.tick_of(json.dumps(tick | changes).encode()), SETTINGS, sender)
    return message_id(push_task)


def id_of_event(tmp_path: Path, sender: str, event: dict[str, Any], rule: str = "r") -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"name": rule, "match": {"source": "*"}, "message": MESSAGE}]}))
    (read,) = cloudevent.events_of(json.dumps(event).encode())
    (push_task,) = event_rules.tasks_of_event(read, event_rules.read_rules(path, SETTINGS), SETTINGS, sender)
    return message_id(push_task)


def id_of_queued(event: Any, sender: str = PROD) -> str:
    payload = event if isinstance(event, bytes) else json.dumps(event).encode()
    (record,) = queue.records_of(payload)
    (push_task,) = task.tasks_of_record(record, SETTINGS, sender)
    return message_id(push_task)


def sent_message_id(event: bytes) -> str:
    """The message id with which a queue message is sent."""
    (record,) = queue.records_of(event)
    (push_task,) = task.tasks_of_record(record, SETTINGS, PROD)
    assert isinstance(push_task.message, PushMessage)
    return message_ids_of(push_task.message, push_task.scope)["u"]


def with_data(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**event, "data": event["data"] | changes}


def test_function_that_takes_over_failures_sends_with_the_failed_functions_ids() -> None:
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


def test_equal_timers_in_other_functions_stages_or_regions_have_different_ids() -> None:
    assert len({id_of_tick(sender) for sender in (PROD, STAGING, OTHER, ELSEWHERE)}) == 4
    assert id_of_tick(PROD) == id_of_tick(PROD)


def test_ticks_and_triggers_of_a_function_have_different_ids() -> None:
    ids = {
        id_of_tick(PROD),
        id_of_tick(PROD, triggerTime="2026-11-29T01:00:00Z"),
        id_of_tick(PROD, triggerName="noon"),
    }
    assert len(ids) == 3


def test_equal_rule_names_in_other_functions_or_stages_have_different_ids(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    assert len({id_of_event(tmp_path, sender, event) for sender in (PROD, STAGING, OTHER)}) == 3
    assert id_of_event(tmp_path, PROD, event) == id_of_event(tmp_path, PROD, event)


@pytest.mark.parametrize("name", ["source", "id", "type", "subject"])
def test_cloud_events_with_different_identities_have_different_ids(tmp_path: Path, name: str) -> None:
    event = sample("ecs-eventbridge.json")
    assert id_of_event(tmp_path, PROD, event) != id_of_event(tmp_path, PROD, {**event, name: "other"})


@pytest.mark.parametrize("name", ["aliyunaccountid", "aliyunregionid", "aliyuneventbusname"])
def test_cloud_events_with_the_same_source_and_id_on_two_buses_have_different_ids(
    tmp_path: Path, name: str
) -> None:
    event = {**sample("ecs-eventbridge.json"), "source": "shop", "id": "1"}
    assert id_of_event(tmp_path, PROD, event) != id_of_event(tmp_path, PROD, {**event, name: "other"})


def test_redelivered_cloud_event_with_another_publish_time_keeps_its_id(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    again = {**event, "aliyunpublishtime": "2026-01-01T00:00:00Z"}
    assert id_of_event(tmp_path, PROD, event) == id_of_event(tmp_path, PROD, again)


def test_two_rules_that_match_an_event_have_different_ids(tmp_path: Path) -> None:
    event = sample("ecs-eventbridge.json")
    assert id_of_event(tmp_path, PROD, event) != id_of_event(tmp_path, PROD, event, rule="other")


def test_objects_removed_by_one_request_have_different_ids_natively_and_through_the_bus(
    tmp_path: Path,
) -> None:
    (entry,) = sample("oss-native.json")["events"]
    other = json.loads(json.dumps(entry).replace("source/a.png", "source/b.png"))
    elsewhere = json.loads(json.dumps(entry).replace("testbucket", "bucket2"))
    entries = (entry, other, elsewhere)
    ids = {id_of_event(tmp_path, PROD, {"events": [removed]}) for removed in entries}
    assert len(ids) == 3

    event = sample("oss-eventbridge.json")
    other = json.loads(json.dumps(event).replace("source/a.png", "source/b.png"))
    assert event["id"] == other["id"]
    assert id_of_event(tmp_path, PROD, event) != id_of_event(tmp_path, PROD, other)


def test_rocketmq_messages_without_an_id_are_distinguished_by_their_cloud_event() -> None:
    (event,) = sample("eventstream-rocketmq-cloudevents.json")
    system = {name: value for name, value in event["data"]["systemProperties"].items() if name != "UNIQ_KEY"}
    event = with_data(event, systemProperties=system)
    again = with_data(event, systemProperties={**system, "CONSUME_START_TIME": "1628577790396"})

    assert id_of_queued([event]) == id_of_queued([again])
    assert id_of_queued([event]) != id_of_queued([{**event, "id": "other"}])


def test_re_created_kafka_topic_has_different_ids() -> None:
    (event,) = sample("eventstream-kafka-cloudevents.json")
    (data,) = sample("eventstream-kafka-rawdata.json")
    assert id_of_queued([event]) != id_of_queued([with_data(event, timestamp=1755952591589)])
    assert id_of_queued([data]) != id_of_queued([{**data, "timestamp": 1755952591589}])


def test_kafka_topic_of_the_same_name_in_another_instance_has_different_ids() -> None:
    (event,) = sample("eventstream-kafka-cloudevents.json")
    other = {**event, "subject": "acs:alikafka_post-cn-x:topic:mytopic"}
    assert id_of_queued([event]) != id_of_queued([other])


@pytest.mark.parametrize("where", ["exchange", "routingKey"])
def test_same_id_on_two_rabbitmq_exchanges_or_routing_keys_is_two_messages(where: str) -> None:
    (data,) = sample("eventstream-rabbitmq-rawdata.json")
    other = {**data, "envelope": {**data["envelope"], where: "other"}}
    again = {**data, "envelope": {**data["envelope"], "redeliver": True, "deliveryTag": 99}}
    assert id_of_queued([data]) != id_of_queued([other])
    assert id_of_queued([data]) == id_of_queued([again])


def test_same_id_in_two_mns_queues_is_two_messages() -> None:
    (event,) = sample("eventstream-mns-cloudevents.json")
    other = {**event, "subject": event["subject"].replace("zeus", "hera")}
    assert id_of_queued([event]) != id_of_queued([other])


def test_same_key_in_two_rocketmq_instances_is_two_messages() -> None:
    (data,) = sample("eventstream-rocketmq-rawdata.json")
    other = {**data, "systemProperties": {**data["systemProperties"], "INSTANCE_ID": "MQ_INST_2"}}
    assert id_of_queued([data]) != id_of_queued([other])


def test_topics_with_equal_message_ids_or_texts_have_different_ids() -> None:
    notification = sample("mns-topic-json.json")
    assert id_of_queued(notification) != id_of_queued({**notification, "TopicName": "Other"})
    assert id_of_queued(notification) != id_of_queued({**notification, "TopicOwner": "2000"})
    assert id_of_queued(notification) == id_of_queued({**notification, "SubscriptionName": "again"})
    # In STREAM form only the function distinguishes them.
    text = json.dumps(MESSAGE).encode()
    assert len({id_of_queued(text, sender) for sender in (PROD, STAGING, OTHER)}) == 3
    assert id_of_queued(text) == id_of_queued(text)


@pytest.mark.parametrize("wrapped", [False, True], ids=["body alone", "with attributes"])
def test_equal_texts_of_a_topic_are_distinguished_by_attributes_or_the_publishers_ids(
    *, wrapped: bool
) -> None:
    def event(extend: str = "1", **changes: Any) -> bytes:
        text = json.dumps({**MESSAGE, **changes})
        return json.dumps({"body": text, "attrs": {"Extend": extend}}).encode() if wrapped else text.encode()

    assert id_of_queued(event()) == id_of_queued(event())
    if wrapped:
        assert id_of_queued(event()) != id_of_queued(event("2"))
    targets: list[dict[str, Any]] = [
        {"targets": None, "targetMsgkey": {"u": f"order-{number}"}} for number in range(2)
    ]
    assert [sent_message_id(event(**changes)) for changes in targets] == ["order-0", "order-1"]


@pytest.mark.parametrize("source", ["mns", "kafka", "rabbitmq", "rocketmq"])
def test_two_functions_push_the_same_queue_message_once_each(source: str) -> None:
    shapes = [
        (PAYLOADS / f"eventstream-{source}-{shape}.json").read_bytes()
        for shape in ("cloudevents", "strings", "bare")
    ]
    assert len({id_of_queued(shape) for shape in shapes}) == 1
    assert id_of_queued(shapes[0], PROD) != id_of_queued(shapes[0], STAGING)


def test_parts_of_a_scope_stay_separate() -> None:
    assert scope_of("k", "a|b", "c") != scope_of("k", "a", "b|c")
    assert scope_of("k", "a%7Cb") != scope_of("k", "a|b")
    assert scope_of("k", None) == scope_of("k", "")


# --- Times


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
def test_record_has_its_publish_time(name: str, moment: float | None) -> None:
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
def test_event_has_its_time_if_that_can_be_read(time: Any, moment: float | None) -> None:
    event = {"id": "1", "source": "s", "type": "t", "specversion": "1.0", "time": time}
    read = cloudevent.event_of(json.dumps(event).encode())
    assert read.moment == (moment if moment is None else pytest.approx(moment))


def test_first_moment_is_that_of_the_tick_or_event_but_never_in_the_future(tmp_path: Path) -> None:
    tick = timer.Tick("t", "2021-01-18T03:58:31Z", MESSAGE)
    (push_task,) = timer.tasks_of_tick(tick, SETTINGS, PROD)
    assert push_task.first_moment == 1610942311

    (later,) = timer.tasks_of_tick(timer.Tick("t", "2999-01-18T03:58:31Z", MESSAGE), SETTINGS, PROD)
    (unknown,) = timer.tasks_of_tick(timer.Tick("t", "", MESSAGE), SETTINGS, PROD)
    assert later.first_moment == pytest.approx(unknown.first_moment, abs=60)

    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": [{"name": "r", "match": {"source": "*"}, "message": MESSAGE}]}))
    rules = event_rules.read_rules(path, SETTINGS)
    event = CloudEvent.model_validate(sample("ecs-eventbridge.json"))
    (push_task,) = event_rules.tasks_of_event(event, rules, SETTINGS, PROD)
    assert push_task.first_moment == pytest.approx(1610942311.125)
