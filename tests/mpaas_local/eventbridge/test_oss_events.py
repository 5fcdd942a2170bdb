"""Events of OSS objects, delivered by native triggers and by the bus."""

from __future__ import annotations

import json
import logging
import threading
from datetime import datetime, timezone

import pytest

from mpaas_local.account import Account
from mpaas_local.eventbridge.bus import EventBus
from mpaas_local.eventbridge.cloud_events import EventTrigger, event_trigger_of
from mpaas_local.eventbridge.oss_events import OssEvents, oss_cloud_event
from mpaas_local.fc.api import Callee
from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.fc.oss_trigger import OssTrigger, oss_event, oss_trigger_of
from mpaas_local.oss import ObjectEvent
from tests.clocks import ManualClock
from tests.descriptors import parse_trigger, trigger_document
from tests.mpaas_local.callables import ScriptedFunction

ACCOUNT = Account()
BUCKET = "acs:oss:cn-hangzhou:1000000000000000:testbucket"

UPLOAD = ObjectEvent(
    bucket="testbucket",
    key="source/a.png",
    size=122539,
    delta=122539,
    etag="688A7BF4F233DC9C88A80BF985AB0001",
    mime_type="application/zip",
    user_meta={"x-oss-meta-last-modified": "20250213"},
    request_id="58F9FF2D3DF792092E12044C",
)


def test_native_oss_event_is_the_documented_sample() -> None:
    moment = datetime(2022, 8, 13, 6, 45, 43, tzinfo=timezone.utc).timestamp() + 0.7
    rule = "9adac8e253828f4f7c0466d941fa3db811610001"
    assert oss_event(UPLOAD, rule, ACCOUNT, moment).decode() == (
        '{"events":[{"eventName":"ObjectCreated:PutObject","eventSource":"acs:oss",'
        '"eventTime":"2022-08-13T06:45:43.000Z","eventVersion":"1.0",'
        '"oss":{"bucket":{"arn":"acs:oss:cn-hangzhou:1000000000000000:testbucket","name":"testbucket",'
        '"ownerIdentity":"1000000000000000"},"object":{"deltaSize":122539,'
        '"eTag":"688A7BF4F233DC9C88A80BF985AB0001","key":"source/a.png",'
        '"objectMeta":{"mimeType":"application/zip","userMeta":{"x-oss-meta-last-modified":"20250213"}},'
        '"size":122539},"ossSchemaVersion":"1.0","ruleId":"9adac8e253828f4f7c0466d941fa3db811610001"},'
        '"region":"cn-hangzhou","requestParameters":{"sourceIPAddress":"127.0.0.1"},'
        '"responseElements":{"requestId":"58F9FF2D3DF792092E12044C"},'
        '"userIdentity":{"principalId":"1000000000000000"}}]}'
    )


def test_oss_event_of_eventbridge_is_the_documented_sample() -> None:
    moment = datetime(2023, 11, 4, 8, 49, 26, 745000, tzinfo=timezone.utc).timestamp()
    upload = ObjectEvent(
        bucket="b1",
        key="source/a.png",
        size=13,
        delta=13,
        etag="59CA0EFA9F5633CB0371BBC0355478D8",
        mime_type="text/plain",
        request_id="6364D216511B143733C5A67B",
    )
    event = oss_cloud_event(upload, ACCOUNT, moment)
    assert json.dumps(event, separators=(",", ":")) == (
        '{"datacontenttype":"application/json;charset=utf-8","aliyunaccountid":"1000000000000000",'
        '"data":{"eventVersion":"1.0","responseElements":{"requestId":"6364D216511B143733C5A67B"},'
        '"eventSource":"acs:oss","eventTime":"2023-11-04T08:49:26.000Z",'
        '"requestParameters":{"sourceIPAddress":"127.0.0.1"},"eventName":"ObjectCreated:PutObject",'
        '"userIdentity":{"principalId":"1000000000000000"},"region":"cn-hangzhou",'
        '"oss":{"bucket":{"name":"b1","arn":"acs:oss:cn-hangzhou:1000000000000000:b1","virtualBucket":"",'
        '"ownerIdentity":"1000000000000000"},"ossSchemaVersion":"1.0","object":{"size":13,'
        '"objectMeta":{"mimeType":"text/plain"},"deltaSize":13,"eTag":"59CA0EFA9F5633CB0371BBC0355478D8",'
        '"key":"source/a.png"}}},"subject":"acs:oss:cn-hangzhou:1000000000000000:b1/source/a.png",'
        '"aliyunoriginalaccountid":"1000000000000000","source":"acs.oss","type":"oss:ObjectCreated:PutObject",'
        '"aliyunpublishtime":"2023-11-04T08:49:26.745Z","specversion":"1.0","aliyuneventbusname":"default",'
        '"id":"6364D216511B143733C5A67B","time":"2023-11-04T08:49:26Z","aliyunregionid":"cn-hangzhou"}'
    )


def oss_trigger(events: list[str], prefix: str = "", suffix: str = "", arn: str = BUCKET) -> OssTrigger:
    key_filter = {"key": {"prefix": prefix, "suffix": suffix}}
    document = trigger_document("oss", "o", arn, events=events, filter=key_filter)
    return oss_trigger_of(parse_trigger(document), "f")


@pytest.mark.parametrize(
    ("trigger", "matches"),
    [
        (oss_trigger(["oss:ObjectCreated:PutObject"]), True),
        (oss_trigger(["oss:ObjectCreated:*"], "source/", ".png"), True),
        (oss_trigger(["oss:ObjectCreated:PostObject"]), False),
        (oss_trigger(["oss:ObjectRemoved:*"]), False),
        (oss_trigger(["oss:ObjectCreated:*"], "target/"), False),
        (oss_trigger(["oss:ObjectCreated:*"], suffix=".jpg"), False),
        (oss_trigger(["oss:ObjectCreated:*"], arn="acs:oss:cn-hangzhou:1:other"), False),
    ],
)
def test_oss_trigger_matches_bucket_event_prefix_and_suffix(trigger: OssTrigger, matches: bool) -> None:
    assert trigger.matches(UPLOAD) is matches


class Publisher:
    """Publishes to function `f` by native triggers, and to function `g` by the bus."""

    def __init__(self, *oss_triggers: OssTrigger, bus_function: ScriptedFunction | None = None) -> None:
        clock = ManualClock()
        self.functions = {"f": ScriptedFunction(), "g": bus_function or ScriptedFunction()}
        self.queues = {
            name: AsyncQueue(name, function, clock=clock) for name, function in self.functions.items()
        }
        callees = {name: Callee(self.functions[name], self.queues[name]) for name in self.functions}
        document = trigger_document("eventbridge", eventRuleFilterPattern='{"source": ["acs.oss"]}')
        pattern = event_trigger_of(parse_trigger(document), "g").pattern
        bus = EventBus(
            triggers=[EventTrigger(function="g", name="bus", pattern=pattern)],
            functions=callees,
            account=ACCOUNT,
            clock=clock,
        )
        self.events = OssEvents(bus, oss_triggers)

    def settle(self) -> None:
        self.events.__exit__()
        for queue in self.queues.values():
            assert queue.settle()
            queue.close()


def test_event_reaches_native_triggers_asynchronously_and_the_bus() -> None:
    publisher = Publisher(oss_trigger(["oss:ObjectCreated:*"]))
    created = ObjectEvent(
        bucket="testbucket", key="目录/a b.png", size=3, delta=-2, request_id="5C3D9175B6FC201293AD0001"
    )
    removed = ObjectEvent(bucket="testbucket", key="a", name="ObjectRemoved:DeleteObject")

    for event in (created, removed):
        publisher.events.publish(event)
    publisher.settle()

    (native,) = [call.json["events"][0] for call in publisher.functions["f"].calls]
    by_bus = {call.json["type"]: call.json for call in publisher.functions["g"].calls}
    assert native["oss"]["object"]["key"] == "目录/a b.png"
    assert native["oss"]["object"]["deltaSize"] == -2
    assert by_bus["oss:ObjectCreated:PutObject"]["data"]["oss"]["object"]["size"] == 3
    assert by_bus["oss:ObjectCreated:PutObject"]["id"] == native["responseElements"]["requestId"]
    assert "oss:ObjectRemoved:DeleteObject" in by_bus
    assert publisher.queues["f"].counts["accepted"] == 1


def test_upload_does_not_wait_for_the_function() -> None:
    uploaded = threading.Event()

    publisher = Publisher(bus_function=ScriptedFunction(on_call=lambda _: uploaded.wait(60)))

    publisher.events.publish(ObjectEvent(bucket="testbucket", key="a"))

    uploaded.set()
    publisher.settle()
    assert len(publisher.functions["g"].calls) == 1


def test_failure_of_a_function_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher(bus_function=ScriptedFunction("error"))

    with caplog.at_level(logging.WARNING):
        publisher.events.publish(ObjectEvent(bucket="testbucket", key="a"))
        publisher.settle()

    assert "bus: g: UnhandledInvocationError" in caplog.text
