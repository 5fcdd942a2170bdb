"""Cloud events, invocations and ticks over HTTP, with a real server."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from mpaas_local.account import Account
from mpaas_local.eventbridge.api import event_routes
from mpaas_local.eventbridge.bus import EventBus
from mpaas_local.eventbridge.cloud_events import (
    BadCloudEvent,
    EventTrigger,
    cloud_event_of,
    event_trigger_of,
)
from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.errors import PAYLOAD_LIMIT
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.timer_trigger import Timer, Timers
from mpaas_local.server import Server
from tests.clocks import ManualClock
from tests.descriptors import parse_trigger, trigger_document
from tests.mpaas_local.callables import ScriptedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mpaas_local.access_keys import AccessKey

ACCOUNT = Account("1000000000000000", "cn-hangzhou")
NOW = datetime(2021, 1, 18, 3, 58, 31, 762000, tzinfo=timezone.utc).timestamp()

DISK = {
    "specversion": "1.0",
    "id": "70c0414c-b260-4923-b584-1d6e56460001",
    "source": "acs.ecs",
    "type": "ecs:Disk:ConvertToPostpaidCompleted",
    "subject": "acs:ecs:cn-hangzhou:1000000000000000:disk/d-bp11ba7acc69nkta0001",
    "time": "2021-01-18T11:58:31.125+08:00",
    "data": {"result": "accomplished", "diskId": "d-bp11ba7acc69nkta0001"},
}
DELIVERED = (
    '{"datacontenttype":"application/json;charset=utf-8","aliyunaccountid":"1000000000000000",'
    '"data":{"result":"accomplished","diskId":"d-bp11ba7acc69nkta0001"},'
    '"subject":"acs:ecs:cn-hangzhou:1000000000000000:disk/d-bp11ba7acc69nkta0001","source":"acs.ecs",'
    '"type":"ecs:Disk:ConvertToPostpaidCompleted","aliyunpublishtime":"2021-01-18T03:58:31.762Z",'
    '"specversion":"1.0","aliyuneventbusname":"default","id":"70c0414c-b260-4923-b584-1d6e56460001",'
    '"time":"2021-01-18T11:58:31.125+08:00","aliyunregionid":"cn-hangzhou","aliyunpublishaddr":"127.0.0.1"}'
)


@dataclass
class Running:
    """The application on a port, with the functions `f` and `g`."""

    url: str
    functions: dict[str, ScriptedFunction]
    queues: dict[str, AsyncQueue]

    def post(self, path: str, body: Any = b"", **headers: str) -> urllib3.BaseHTTPResponse:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return urllib3.request("POST", self.url + path, body=body, headers=named, retries=False, timeout=60)

    def post_event(self, event: Any, query: str = "") -> urllib3.BaseHTTPResponse:
        return self.post(f"/events{query}", event, content_type="application/cloudevents+json")

    def settle(self) -> None:
        for queue in self.queues.values():
            assert queue.settle()


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    stops: list[Callable[[], None]] = []
    clock = ManualClock(NOW)

    def start(
        f: ScriptedFunction | None = None,
        config: AsyncConfig | None = None,
        *,
        timers: Timers | None = None,
        event_triggers: Sequence[EventTrigger] = (),
        access_keys: Mapping[str, AccessKey] | None = None,
    ) -> Running:
        functions = {"f": f or ScriptedFunction(), "g": ScriptedFunction()}
        queues = {
            name: AsyncQueue(name, function, config=config, clock=clock)
            for name, function in functions.items()
        }
        callees = {name: Callee(functions[name], queues[name]) for name in functions}
        bus = EventBus(triggers=event_triggers, functions=callees, account=ACCOUNT, clock=clock)
        app = create_api(callees, timers=timers, access_keys=access_keys, more_routes=event_routes(bus))
        server = Server(app).start()
        stops.extend((server.stop, *(queue.close for queue in queues.values())))
        return Running(server.url, functions, queues)

    yield start
    for stop in stops:
        stop()


def test_structured_event_is_delivered_as_the_documented_sample(running: Callable[..., Running]) -> None:
    stack = running(event_triggers=[EventTrigger(function="f", name="t")])
    response = stack.post_event(DISK)
    assert response.status == 200
    assert stack.functions["f"].events == [DELIVERED.encode()]
    call = stack.functions["f"].calls[0]
    assert response.json() == {
        "id": DISK["id"],
        "deliveries": [
            {
                "function": "f",
                "trigger": "t",
                "mode": "sync",
                "status": 200,
                "requestId": call.request_id,
                "error": None,
                "result": '"done"',
            }
        ],
    }


@pytest.mark.parametrize("mode", [to_structured_event, to_binary_event])
def test_official_sdk_can_be_the_client(mode: Any, running: Callable[..., Running]) -> None:
    stack = running(event_triggers=[EventTrigger(function="f", name="t")])
    attributes = {
        "id": "7",
        "source": "shop.orders",
        "type": "order:Shipped",
        "subject": "订单 7",
        "datacontenttype": "application/json",
        "time": datetime(2025, 2, 14, 6, 39, tzinfo=timezone.utc),
        "traceid": "abc",
    }
    message = mode(CloudEvent(dict(attributes), {"user": "用户"}))
    response = urllib3.request(
        "POST", f"{stack.url}/events", body=message.body, headers=message.headers, retries=False, timeout=60
    )
    assert response.status == 200
    (event,) = [call.json for call in stack.functions["f"].calls]
    assert {
        name: event[name] for name in ("id", "source", "type", "subject", "datacontenttype", "traceid")
    } == {name: value for name, value in attributes.items() if name != "time"}
    assert event["time"] == "2025-02-14T06:39:00Z"
    assert event["data"] == {"user": "用户"}
    assert event["aliyuneventbusname"] == "default"


def test_raw_data_is_only_the_data(running: Callable[..., Running]) -> None:
    stack = running(event_triggers=[EventTrigger(function="f", name="t", schema="RawData")])
    stack.post_event(DISK)
    binary = {name: value for name, value in DISK.items() if name != "data"}
    stack.post_event({**binary, "data_base64": base64.b64encode(b"\x00\x01").decode()})
    stack.post_event(binary)
    assert stack.functions["f"].events == [
        b'{"result":"accomplished","diskId":"d-bp11ba7acc69nkta0001"}',
        b"\x00\x01",
        b"null",
    ]


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/vnd.order+json", b"[1]", {"data": [1]}),
        ("", b"1", {"data": 1}),
        ("text/plain", "你好".encode(), {"data": "你好"}),
        ("image/png", b"\x89PNG", {"data_base64": "iVBORw=="}),
        ("application/json", b"", {}),
    ],
)
def test_data_of_a_binary_event_is_read_according_to_its_type(
    content_type: str, body: bytes, data: dict[str, Any]
) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "%E5%95%86", "ce-type": "t"}
    event = cloud_event_of(content_type, headers, body)
    assert event["source"] == "商"
    assert {
        name: event[name] for name in event if name.startswith("data") and name != "datacontenttype"
    } == data


@pytest.mark.parametrize(
    ("event", "part"),
    [
        (b"{", "not JSON"),
        ([], "a JSON object"),
        ({**DISK, "specversion": "0.3"}, "specversion is '0.3'"),
        ({**DISK, "id": ""}, "id must be a non-empty string"),
        ({**DISK, "source": None}, "source must be a non-empty string"),
        ({**DISK, "trace-id": "x"}, "'trace-id' is not a valid attribute"),
        ({**DISK, "data_base64": "?"}, "data_base64"),
    ],
)
def test_invalid_cloud_event_is_refused_with_the_reason(
    event: Any, part: str, running: Callable[..., Running]
) -> None:
    response = running().post_event(event)
    assert response.status == 400
    assert response.json()["Code"] == "InvalidArgument"
    assert part in response.json()["Message"]


def test_request_without_an_event_and_batch_of_events_are_refused() -> None:
    with pytest.raises(BadCloudEvent, match="ce-… headers"):
        cloud_event_of("application/json", {}, b"{}")
    with pytest.raises(BadCloudEvent, match="one event"):
        cloud_event_of("application/cloudevents-batch+json", {}, b"[]")


def bus_trigger(pattern: Any, **config: Any) -> EventTrigger:
    document = trigger_document("eventbridge", eventRuleFilterPattern=json.dumps(pattern), **config)
    return event_trigger_of(parse_trigger(document), "f")


def test_event_reaches_the_triggers_with_a_matching_pattern(running: Callable[..., Running]) -> None:
    matching = bus_trigger({"source": ["acs.ecs"], "data": {"result": [{"prefix": "acc"}]}})
    stack = running(
        event_triggers=[
            matching,
            EventTrigger(function="g", name="other", pattern=bus_trigger({"source": ["acs.oss"]}).pattern),
            bus_trigger({}, triggerEnable=False),
        ]
    )
    deliveries = stack.post_event(DISK).json()["deliveries"]
    assert [delivery["trigger"] for delivery in deliveries] == ["t"]
    assert stack.post_event({**DISK, "source": "mine"}).json() == {"id": DISK["id"], "deliveries": []}
    assert (len(stack.functions["f"].calls), len(stack.functions["g"].calls)) == (1, 0)


def test_event_trigger_is_read_from_its_configuration() -> None:
    trigger = bus_trigger(
        {}, asyncInvocationType=True, eventSinkConfig={"deliveryOption": {"eventSchema": "RawData"}}
    )
    assert (trigger.asynchronous, trigger.schema, trigger.enabled) == (True, "RawData", True)


@pytest.mark.parametrize(
    ("setting", "query", "mode"),
    [
        (False, "", "sync"),
        (True, "", "async"),
        (False, "?async=true", "async"),
        (True, "?async=false", "sync"),
    ],
)
def test_delivery_mode_is_that_of_the_query_or_else_of_the_trigger(
    setting: bool, query: str, mode: str, running: Callable[..., Running]
) -> None:
    stack = running(event_triggers=[EventTrigger(function="f", name="t", asynchronous=setting)])
    response = stack.post_event(DISK, query)
    assert response.status == (202 if mode == "async" else 200)
    assert [delivery["mode"] for delivery in response.json()["deliveries"]] == [mode]
    stack.settle()
    assert stack.queues["f"].counts["accepted"] == (1 if mode == "async" else 0)
    assert stack.functions["f"].events == [DELIVERED.encode()]
    assert stack.post_event(DISK, "?async=maybe").status == 400


@pytest.mark.parametrize(
    ("failure", "status", "error"),
    [
        ("error", 200, "UnhandledInvocationError"),
        (
            "throttled",
            429,
            "ResourceExhausted: f: all 1 instances are busy; try again, or raise the host's limit",
        ),
        ("broken", 500, "InternalServerError: the function could not be called"),
    ],
)
def test_response_to_an_event_lists_failed_and_successful_deliveries(
    failure: str, status: int, error: str, running: Callable[..., Running]
) -> None:
    stack = running(
        ScriptedFunction(failure),
        event_triggers=[EventTrigger(function="f", name="t"), EventTrigger(function="g", name="t")],
    )
    response = stack.post_event(DISK)
    assert response.status == 502
    deliveries = response.json()["deliveries"]
    assert [(delivery["status"], delivery["error"]) for delivery in deliveries] == [
        (status, error),
        (200, None),
    ]


@pytest.mark.parametrize("path", ["/invocations/f", "/2023-03-30/functions/f/invocations"])
def test_synchronous_invocation_returns_the_result(path: str, running: Callable[..., Running]) -> None:
    stack = running(ScriptedFunction("ok", "error"))
    response = stack.post(path, b"\x00event")
    assert (response.status, response.data) == (200, b'"done"')
    assert response.headers["x-fc-request-id"] == stack.functions["f"].calls[0].request_id
    assert "x-fc-error-type" not in response.headers
    failed = stack.post(path)
    assert (failed.status, failed.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
    assert stack.functions["f"].events == [b"\x00event", b""]


def test_invocation_of_a_real_function_returns_its_log_tail(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text("def handler(event, context):\n    print('seen')\n    return event\n")
    with FunctionHost(Function(name="f", folder=tmp_path)) as host, AsyncQueue("f", host.invoke) as queue:
        callees = {"f": Callee(host.invoke, queue)}
        bus = EventBus(triggers=[EventTrigger(function="f", name="t")], functions=callees)
        app = create_api(callees, more_routes=event_routes(bus))
        with Server(app) as server:
            stack = Running(server.url, {}, {})
            response = stack.post("/invocations/f", b"hello", x_fc_log_type="Tail")
            assert response.data == b"hello"
            log = base64.b64decode(response.headers["x-fc-log-result"]).decode()
            assert "\nseen\n" in log
            assert float(response.headers["x-fc-invocation-duration"]) > 0
            (delivery,) = stack.post_event(DISK).json()["deliveries"]
            assert json.loads(delivery["result"])["data"] == DISK["data"]


def test_asynchronous_invocation_is_accepted_with_its_delay_and_task_id(
    running: Callable[..., Running],
) -> None:
    stack = running(config=AsyncConfig(task_mode=True))
    response = stack.post(
        "/invocations/f",
        b"{}",
        x_fc_invocation_type="Async",
        x_fc_async_task_id="order_1",
        x_fc_async_delay="0.5",
    )
    assert (response.status, response.data) == (202, b"")
    assert response.headers["x-fc-request-id"].startswith("1-")
    repeated = stack.post("/invocations/f", b"{}", x_fc_invocation_type="Async", x_fc_async_task_id="order_1")
    assert repeated.status == 409
    assert stack.queues["f"].tasks == {"order_1": "Enqueued"}
    assert stack.functions["f"].calls == []


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/invocations/h", b"", {}, 404, "FunctionNotFound"),
        (
            "/invocations/f",
            b"",
            {"x_fc_async_delay": "soon", "x_fc_invocation_type": "Async"},
            400,
            "InvalidArgument",
        ),
        (
            "/invocations/f",
            b"",
            {"x_fc_async_delay": "0", "x_fc_invocation_type": "Async"},
            400,
            "InvalidArgument",
        ),
        (
            "/invocations/f",
            b"",
            {"x_fc_async_delay": "3600.5", "x_fc_invocation_type": "Async"},
            400,
            "InvalidArgument",
        ),
        (
            "/invocations/f",
            b"x" * (PAYLOAD_LIMIT + 1),
            {"x_fc_invocation_type": "async"},
            400,
            "EntityTooLarge",
        ),
        ("/invocations/f", b"", {}, 429, "ResourceExhausted"),
        ("/ticks/t", b"", {}, 404, "TriggerNotFound"),
        ("/nothing", b"", {}, 404, "PathNotSupported"),
    ],
)
def test_error_response_has_the_format_of_the_api(
    path: str, body: bytes, headers: dict[str, str], status: int, code: str, running: Callable[..., Running]
) -> None:
    response = running(ScriptedFunction(then="throttled")).post(path, body, **headers)
    assert response.status == status
    error = response.json()
    assert (list(error), error["Code"]) == (["Code", "Message", "RequestId"], code)
    assert error["Message"]
    assert error["RequestId"] == response.headers["x-fc-request-id"]


def test_error_response_of_fc_2_has_its_own_keys(running: Callable[..., Running]) -> None:
    response = running().post("/2016-08-15/services/s/functions/h/invocations")
    assert response.status == 404
    assert response.json() == {
        "ErrorCode": "FunctionNotFound",
        "ErrorMessage": "function 's/h' does not exist",
    }


def test_timer_is_fired_on_request(running: Callable[..., Running]) -> None:
    with Timers(clock=ManualClock(NOW)) as timers:
        stack = running(timers=timers)
        timers.add(
            Timer(function="f", name="morning", expression="0 0 9 * * *", payload="p", enabled=False),
            stack.queues["f"].accept,
        )
        for path in ("/ticks/morning", "/ticks/f/morning"):
            response = stack.post(path)
            assert response.status == 202
            assert response.headers["x-fc-request-id"] == response.json()["requestId"]
        missing = stack.post("/ticks/evening")
        assert missing.status == 404
        assert "timers: f/morning" in missing.json()["Message"]
        stack.settle()
    assert [call.json["triggerTime"] for call in stack.functions["f"].calls] == ["2021-01-18T03:58:31Z"] * 2
