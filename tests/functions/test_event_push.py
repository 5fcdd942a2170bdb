from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.descriptors import PROJECT
from tests.functions.queue_stack import ROOT, QueueStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def running() -> Iterator[QueueStack]:
    with QueueStack("event_push") as stack:
        yield stack


@pytest.fixture
def stack(running: QueueStack) -> QueueStack:
    running.clear()
    return running


def order(**data: Any) -> dict[str, Any]:
    return {
        "id": "4711",
        "source": "shop.orders",
        "type": "order:Shipped",
        "specversion": "1.0",
        "data": {"order": {"id": 4711, "customer": "user-1"} | data},
    }


def payload(name: str) -> Any:
    """A documented payload whose events happened just now."""
    payload = json.loads((ROOT / "tests" / "payloads" / name).read_text("utf-8"))
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for event in payload.get("events", [payload]):
        event.update(dict.fromkeys(event.keys() & {"time", "eventTime"}, now))
    return payload


def copy_function(folder: Path) -> Path:
    """Copy the function, so that a test may change its rules."""
    copy = folder / "event_push"
    copy.mkdir()
    for name in ("index.py", "rules.yaml"):
        (copy / name).write_text((PROJECT / "functions" / "event_push" / name).read_text())
    return copy


def parameters(stack: QueueStack) -> dict[str, str]:
    (entry,) = stack.sandbox.inbox()
    parameters: dict[str, str] = entry["parameters"]
    return parameters


def test_event_of_a_custom_bus_becomes_a_push(stack: QueueStack) -> None:
    result = stack.invoke(order(items=[{"name": "Tea"}]))

    assert result == {
        "events": 1,
        "unmatched": 0,
        "outcomes": {"accepted": 1},
        "retried": 0,
        "given_up": 0,
        "unsettled": 0,
        "stranded": 0,
        "left": [],
    }
    assert parameters(stack)["Title"] == "Order 4711 is on its way"
    assert parameters(stack)["Content"] == "Tea will arrive soon."


@pytest.mark.parametrize("name", ["oss-native.json", "oss-eventbridge.json"])
def test_upload_becomes_a_push_to_its_owner_in_both_event_formats(stack: QueueStack, name: str) -> None:
    event = payload(name)
    upload = event["events"][0] if "events" in event else event["data"]
    upload["oss"]["object"]["key"] = "statements/2026-11.pdf"
    upload["oss"]["object"]["objectMeta"]["userMeta"] = {"x-oss-meta-user": "user-1"}
    if "subject" in event:
        event["subject"] = event["subject"].partition("/")[0] + "/statements/2026-11.pdf"

    assert stack.invoke(event)["outcomes"] == {"accepted": 1}
    assert stack.accepted == ["user-1"]
    assert json.loads(parameters(stack)["ExtendedParams"]) == {"object": "statements/2026-11.pdf"}


def test_alert_becomes_a_push(stack: QueueStack) -> None:
    event = {**payload("ecs-eventbridge.json"), "type": "ecs:CloudMonitor:DiskUsage"}

    assert stack.invoke(event)["outcomes"] == {"accepted": 1}
    assert parameters(stack)["Title"] == "CRITICAL: acs.ecs"


@pytest.mark.parametrize("name", ["ecs-eventbridge.json", "oss-native.json", "cdn-domain-added.json"])
def test_event_without_a_matching_rule_is_acknowledged_and_counted(stack: QueueStack, name: str) -> None:
    result = stack.invoke(payload(name))

    assert (result["events"], result["unmatched"], result["outcomes"]) == (1, 1, {})
    assert stack.sandbox.inbox() == []


def test_failing_rule_writes_a_dead_letter_with_the_event(stack: QueueStack) -> None:
    event = order(customer=None)

    result = stack.invoke(event)

    assert (result["outcomes"], result["given_up"]) == ({"refused": 1}, 1)
    (letter,) = stack.bodies("dead")
    assert letter["reason"] == "refused"
    assert "data.order.customer" in letter["detail"]
    assert letter["scope"].endswith(":functions/event_push:ce|shop.orders|order:Shipped||4711:order-shipped")
    assert json.loads(letter["body"]) == event


def test_invalid_event_does_not_affect_the_others(stack: QueueStack) -> None:
    result = stack.invoke([order(), {"specversion": "1.0"}, {**order(), "id": "4712"}])

    assert (result["events"], result["outcomes"]) == (3, {"accepted": 2, "refused": 1})
    assert json.loads(stack.bodies("dead")[0]["body"]) == {"specversion": "1.0"}


def test_repeated_event_has_the_same_message_ids(stack: QueueStack) -> None:
    stack.invoke(order())
    stack.invoke(order())

    ids = [target["messageId"] for entry in stack.sandbox.inbox() for target in entry["targets"]]
    assert len(ids) == 2
    assert len(set(ids)) == 1


def test_throttled_message_is_retried_by_the_queue_function(
    stack: QueueStack,
) -> None:
    stack.sandbox.order(kind="throttling")

    assert stack.invoke(order())["retried"] == 1
    (envelope,) = stack.bodies("retry")
    with QueueStack() as queue_function:
        assert queue_function.deliver(envelope)["outcomes"] == {"accepted": 1}
        (entry,) = queue_function.sandbox.inbox()
    assert entry["parameters"]["Title"] == "Order 4711 is on its way"
    assert entry["targets"][0]["messageId"] == stack.sandbox.inbox()[0]["targets"][0]["messageId"]


def test_event_in_the_record_of_a_failed_invocation_is_sent(stack: QueueStack) -> None:
    record = payload("destination-failure.json")
    record |= {"requestPayload": json.dumps(order()), "timestamp": int(time.time() * 1000)}

    assert stack.invoke(record)["outcomes"] == {"accepted": 1}


@pytest.mark.parametrize("event", [b"", b"{}", b"\xff", b"1", b"[1", payload("timer.json")])
def test_payload_without_events_raises(stack: QueueStack, event: Any) -> None:
    assert stack.invoke(event)["errorType"] == "UnreadablePayload"


def test_event_is_redelivered_without_queues() -> None:
    with QueueStack("event_push", PUSH_RETRY_QUEUE="", PUSH_DEAD_LETTER_QUEUE="") as stack:
        stack.sandbox.order(kind="throttling")

        assert stack.invoke(order())["errorType"] == "BatchIncomplete"


@pytest.mark.parametrize("has_ledger", [True, False])
def test_event_with_an_unqueued_failure_is_redelivered_only_with_a_ledger(
    redis_server: RedisServer, tmp_path: Path, *, has_ledger: bool
) -> None:
    folder = copy_function(tmp_path)
    rules = folder / "rules.yaml"
    shipped = rules.read_text().partition("  # A statement")[0]
    failing = shipped.partition("rules:\n")[2].replace("name: order-shipped", "name: failing")
    rules.write_text(shipped + failing.replace("${data.order.customer}", "${data.order.nobody}"))
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if has_ledger else {}
    with QueueStack("event_push", folder=folder, PUSH_DEAD_LETTER_QUEUE="", **ledger) as stack:
        results = [stack.invoke(order()) for _ in range(2)]

        assert ["errorType" in result for result in results] == [has_ledger, has_ledger]
        assert stack.accepted == ["user-1"] * (1 if has_ledger else 2)
        assert "no dead-letter queue accepted them" in "\n".join(stack.lines)


def test_invalid_rules_fail_the_first_call(tmp_path: Path) -> None:
    folder = copy_function(tmp_path)
    rules = folder / "rules.yaml"
    rules.write_text(rules.read_text().replace("title: Order", "titel: Order"))

    with QueueStack("event_push", folder=folder) as stack:
        result = stack.invoke(order())

    assert result["errorType"] == "BadRules"
    assert "rules.0.message.titel: unknown field `titel`; did you mean `title`?" in result["errorMessage"]
