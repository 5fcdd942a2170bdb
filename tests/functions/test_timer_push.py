from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.account import Account
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.timer_trigger import timer_of
from mpaas_local.mpaas import AccessKey, Sandbox
from project.descriptor import read_functions
from project.triggers import Timer
from tests.descriptors import PROJECT
from tests.fork_server import start_forked
from tests.functions.http_stack import ROLE, message
from tests.functions.queue_stack import QueueStack, to

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
# In the future, so that no push is too late, however long the tests take.
START = datetime.now(timezone.utc) + timedelta(hours=1)
TICK, NEXT_TICK = (f"{START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:00Z}" for minutes in (0, 1))


class TimerStack:
    def __init__(self, host: FunctionHost, sandbox: Sandbox, lines: list[str]) -> None:
        self.host = host
        self.sandbox = sandbox
        self.lines = lines

    def tick(self, payload: Any, time: str = TICK) -> dict[str, Any]:
        text = payload if isinstance(payload, str) else json.dumps(payload)
        event = {"triggerTime": time, "triggerName": "morning", "payload": text}
        invocation = self.host.invoke(json.dumps(event).encode())
        result: dict[str, Any] = json.loads(invocation.payload)
        assert (invocation.error_type is None) == ("errorType" not in result)
        return result

    @property
    def message_ids(self) -> list[str]:
        return [target["messageId"] for entry in self.sandbox.inbox() for target in entry["targets"]]


@pytest.fixture(scope="module")
def running() -> Iterator[TimerStack]:
    keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
    lines: list[str] = []
    with Sandbox(access_keys=keys) as sandbox:
        function = Function(
            name="timer_push",
            folder=ROOT / "functions" / "timer_push",
            layers=(ROOT / "shared",),
            environment={
                "MPAAS_ENDPOINT": sandbox.url,
                "MPAAS_APP_ID": "ONEX1",
                "MPAAS_WORKSPACE_ID": "default",
                "PUSH_MAX_ATTEMPTS": "2",
            },
        )
        account = Account(credentials=ROLE)
        with FunctionHost(
            function, account=account, on_log=lambda _, __, line: lines.append(line), start=start_forked
        ) as host:
            yield TimerStack(host, sandbox, lines)


@pytest.fixture
def stack(running: TimerStack) -> TimerStack:
    running.sandbox.clear()
    running.lines.clear()
    return running


def test_tick_sends_its_message(stack: TimerStack) -> None:
    assert stack.tick(message())["outcomes"] == {"accepted": 1}
    assert stack.sandbox.inbox()[0]["parameters"]["Title"] == "你的订单已发货"


def test_tick_sends_several_messages(stack: TimerStack) -> None:
    result = stack.tick({"messages": [message(), message(targets=["user-2"])]})

    assert result["outcomes"] == {"accepted": 2}
    assert len(set(stack.message_ids)) == 2


def test_repeated_tick_has_the_same_message_ids_and_the_next_tick_new_ones(stack: TimerStack) -> None:
    stack.tick(message())
    stack.tick(message())
    stack.tick(message(), time=NEXT_TICK)

    last, repeated, first = stack.message_ids
    assert repeated == first
    assert last != first


@pytest.mark.parametrize(
    ("payload", "error", "text"),
    [
        ("", "UnreadablePayload", "morning"),
        ("{not json", "UnreadablePayload", "messages"),
        ('{"a": 1, "a": 2}', "UnreadablePayload", "morning"),
        ({"titel": "x"}, "InvalidMessage", "did you mean `title`?"),
        ({"messages": [message(), {}]}, "InvalidMessage", "messages.1.title"),
        ([], "InvalidMessage", "object"),
    ],
)
def test_invalid_payload_raises_and_sends_nothing(
    stack: TimerStack, payload: Any, error: str, text: str
) -> None:
    result = stack.tick(payload)

    assert result["errorType"] == error
    assert text in result["errorMessage"]
    assert stack.sandbox.inbox() == []


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"triggerTime": 1, "triggerName": "x", "payload": ""}',
        b'{"payload": "{}"}',
    ],
)
def test_event_of_another_trigger_raises(stack: TimerStack, event: bytes) -> None:
    result = json.loads(stack.host.invoke(event).payload)

    assert result["errorType"] == "UnreadablePayload"
    assert "triggerTime" in result["errorMessage"]


def test_throttled_tick_raises_to_be_repeated(stack: TimerStack) -> None:
    stack.sandbox.order(kind="throttling", next=2)

    result = stack.tick(message())

    assert result["errorType"] == "BatchIncomplete"
    assert "1 throttled" in result["errorMessage"]


def test_throttled_tick_is_repeated_until_it_is_accepted(stack: TimerStack) -> None:
    stack.sandbox.order(kind="throttling", next=2)
    payload = json.dumps(message())
    event = {"triggerTime": TICK, "triggerName": "morning", "payload": payload}
    config = AsyncConfig(max_retries=3)
    with AsyncQueue("timer_push", stack.host.invoke, config=config, retry_seconds=0.01) as queue:
        queue.accept(json.dumps(event).encode())
        assert queue.finish(60)

    assert [entry["outcome"] for entry in stack.sandbox.inbox()] == ["accepted", "rejected", "rejected"]
    assert len(set(stack.message_ids)) == 1


def test_tick_with_an_accepted_and_an_unknown_outcome_is_not_repeated(stack: TimerStack) -> None:
    stack.sandbox.order(kind="resetAfterRead", match={"target": "user-2"})

    result = stack.tick({"messages": [message(), message(targets=["user-2"])]})

    assert result["outcomes"] == {"accepted": 1, "unknown": 1}
    assert result["stranded"] == 1
    assert any('"outcome":"unknown"' in line for line in stack.lines)


def test_tick_is_not_repeated_for_a_given_up_message_while_a_retry_waits() -> None:
    with QueueStack("timer_push", PUSH_DEAD_LETTER_QUEUE="") as stack:
        stack.sandbox.order(kind="throttling", match={"target": "user-1"})
        stack.sandbox.order(kind="result", code="3028", match={"target": "user-2"})
        payload = json.dumps({"messages": [to("user-1"), to("user-2")]})

        result = stack.invoke({"triggerTime": TICK, "triggerName": "t", "payload": payload})

        assert (result["retried"], result["stranded"]) == (1, 1)
        assert len(stack.bodies("retry")) == 1


def test_payload_of_every_timer_in_the_descriptor_can_be_sent(stack: TimerStack) -> None:
    timers = [
        timer_of(trigger, resource)
        for resource, function in read_functions(PROJECT / "s.yaml", {}).items()
        for trigger in function.triggers
        if isinstance(trigger, Timer)
    ]
    assert timers
    for timer in timers:
        assert stack.tick(timer.payload)["outcomes"].keys() == {"accepted"}


def test_delayed_tick_sends_nothing_after_the_validity_of_its_push() -> None:
    with QueueStack("timer_push") as stack:
        tick = {
            "triggerTime": "2026-11-23T01:00:00Z",
            "triggerName": "t",
            "payload": json.dumps(to("user-1")),
        }

        result = stack.invoke(tick)

        assert (result["outcomes"], result["given_up"]) == ({"refused": 1}, 1)
        assert stack.sandbox.inbox() == []
        (letter,) = stack.bodies("dead")
        assert "its validity period of 600 s had ended" in letter["detail"]


@pytest.mark.parametrize("valid_at_tick", [True, False])
def test_message_that_expired_after_the_tick_does_not_stop_the_others(*, valid_at_tick: bool) -> None:
    tick_time = datetime.now(timezone.utc) - timedelta(seconds=90)
    fixed = tick_time + timedelta(seconds=60 if valid_at_tick else -60)
    timed = to("timed", strategyType=1, strategyContent={"fixedTime": int(fixed.timestamp() * 1000)})
    payload = json.dumps({"messages": [timed, to("user-1")]})
    with QueueStack("timer_push") as stack:
        result = stack.invoke(
            {"triggerTime": f"{tick_time:%Y-%m-%dT%H:%M:%SZ}", "triggerName": "t", "payload": payload}
        )

        if valid_at_tick:
            assert result["outcomes"] == {"refused": 1, "accepted": 1}
            assert stack.accepted == ["user-1"]
            (letter,) = stack.bodies("dead")
            assert (letter["reason"], letter["message"]["targets"]) == ("refused", ["timed"])
        else:
            assert result["errorType"] == "InvalidMessage"
            assert stack.accepted == []
