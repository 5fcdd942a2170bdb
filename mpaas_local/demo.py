"""Pushes of every kind through the running stack, each with its expected outcome. Timers, queues, topics,
triggers and rules are the user's own: the demo skips those that the descriptor does not have.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
import urllib3
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

from mpaas_local.oss import ObjectEvent
from mpaas_local.oss_client import oss_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_local.fc.call_log import RecordedCall
    from mpaas_local.fc.oss_trigger import OssTrigger
    from mpaas_local.fc.timer_trigger import Timers
    from mpaas_local.stack import Stack

__all__ = ["message_timer", "run_campaign", "run_demo"]

MESSAGE = {
    "taskName": "order-shipped",
    "title": "Your order is on its way",
    "content": "It will arrive tomorrow.",
    "deliveryType": 3,
    "targets": ["user-1", "user-2"],
    "expiredSeconds": 600,
}


WAIT_SECONDS = 20
"""Longest wait for a push."""
CAMPAIGN_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Case:
    """One push: the request, the fault to inject, and the expected outcomes."""

    title: str
    status: int
    outcomes: dict[str, int]
    body: dict[str, Any] = field(default_factory=lambda: MESSAGE)
    fault: dict[str, Any] | None = None
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


CASES = (
    Case(title="one message, two targets", status=200, outcomes={"accepted": 1}),
    Case(
        title="25 targets become three requests",
        status=200,
        outcomes={"accepted": 3},
        body={**MESSAGE, "targets": [f"user-{number}" for number in range(25)]},
    ),
    Case(title="a dry run sends nothing", status=200, outcomes={}, query="?dryRun=true"),
    Case(
        title="a bad message and a good one",
        status=207,
        outcomes={"accepted": 1, "refused": 1},
        body={"messages": [MESSAGE, {**MESSAGE, "deliveryType": 4}]},
    ),
    Case(
        title="refused: the message is wrong",
        status=422,
        outcomes={"refused": 1},
        body={**MESSAGE, "expiredSeconds": 0},
    ),
    Case(
        title="rejected for load once, then accepted",
        status=200,
        outcomes={"accepted": 1},
        fault={"kind": "throttling", "next": 1},
    ),
    Case(
        title="throttled: rejected for load every time",
        status=503,
        outcomes={"throttled": 1},
        fault={"kind": "throttling", "next": 4},
    ),
    Case(
        title="misconfigured: wrong app id",
        status=500,
        outcomes={"misconfigured": 1},
        fault={"kind": "result", "code": "3007"},
    ),
    Case(
        title="unknown: accepted, but the response was lost",
        status=502,
        outcomes={"unknown": 1},
        fault={"kind": "resetAfterRead"},
    ),
    Case(
        title="asynchronous: handed to the queue function",
        status=202,
        outcomes={"handedOver": 1},
        headers={"Prefer": "respond-async"},
    ),
)


def run_demo(stack: Stack) -> bool:
    """Send the pushes and print a table; True if every outcome is as expected."""
    print(f"\n  {'push':46} {'HTTP':>4}  {'attempts':>8}  outcomes")
    # The campaign first: its pushes would fill the first page of the inbox.
    results = [run_campaign(stack, bucket)] if (bucket := _campaign_bucket(stack)) else []
    results += [_run_case(case, stack) for case in CASES]
    if timer := message_timer(stack.timers):
        results.append(_run_event("a timer ticks", partial(stack.timers.tick, timer), stack))
    if queue := stack.source_queues.get("queue_push"):
        results.append(_run_event("a message arrives in a queue", partial(_send, stack, queue), stack))
    if topic := stack.source_topics.get("queue_push"):
        results.append(_run_event("a message arrives in a topic", partial(_publish, stack, topic), stack))
    if "event_push" in stack.hosts:
        ship = partial(_publish_cloud_event, stack)
        results.append(_run_event_with_rule("an order is shipped: a cloud event", ship, stack))
        if trigger := next((t for t in stack.oss_triggers if t.function == "event_push"), None):
            upload = partial(_upload, stack, trigger)
            results.append(_run_event_with_rule("a file is uploaded to OSS", upload, stack))
    return all(results)


def message_timer(timers: Timers) -> str | None:
    """Return the first timer that does not start a campaign, as its audience may not exist."""
    return next((name for name, payload in timers.payloads.items() if not _is_campaign(payload)), None)


def _is_campaign(payload: str) -> bool:
    try:
        return "campaign" in json.loads(payload)
    except (ValueError, TypeError):
        return False


def _campaign_bucket(stack: Stack) -> str | None:
    """Return the bucket whose uploads start campaigns; None without one, or without a Redis."""
    function = "campaign_push"
    if function not in stack.hosts or "PUSH_LEDGER_URL" not in stack.hosts[function].function.environment:
        return None
    return next((trigger.bucket for trigger in stack.oss_triggers if trigger.function == function), None)


def run_campaign(stack: Stack, bucket: str) -> bool:
    """Upload an audience, start a campaign, and wait until it is done.

    Its id is derived from its content: a second demo with the same store does not send it again.
    """
    rows = "".join(f"user-{number},Name {number}\n" for number in range(CAMPAIGN_ROWS))
    body = f"user_id,name\n{rows}".encode()
    message = {name: value for name, value in MESSAGE.items() if name != "targets"}
    message |= {"title": "{name}, your order is on its way"}
    content = hashlib.sha256(json.dumps([message, bucket]).encode() + body).hexdigest()
    campaign = f"demo-{content[:8]}"
    key = f"audiences/{campaign}.csv"
    document = {
        "campaign": campaign,
        "message": message,
        "audience": {"bucket": bucket, "key": key, "target": "user_id"},
    }
    client = oss_client(stack.oss.endpoint, stack.oss.region)
    client.put_object(oss.PutObjectRequest(bucket=bucket, key=key, body=body))
    url = f"{stack.urls['http_push']}/v1/campaigns"
    status = urllib3.request("POST", url, json=document, retries=False, timeout=30).json()
    deadline = time.monotonic() + WAIT_SECONDS
    while status.get("state") == "running" and time.monotonic() < deadline:
        time.sleep(0.05)
        status = urllib3.request("GET", f"{url}/{campaign}", retries=False, timeout=30).json()
    accepted = status.get("counts", {}).get("accepted", 0)
    as_expected = (status.get("state"), accepted) == ("done", CAMPAIGN_ROWS)
    title = f"a campaign to {CAMPAIGN_ROWS} users"
    print(f"  {title:46} {'-':>4}  {'-':>8}  {accepted} accepted{'' if as_expected else '   <- WRONG'}")
    return as_expected


def _send(stack: Stack, queue: str) -> None:
    """Send a message to a queue, in base64 as the SDK does."""
    stack.queues.store.send(queue, base64.b64encode(json.dumps(MESSAGE).encode()).decode())


def _publish(stack: Stack, topic: str) -> None:
    """Publish a message to a topic."""
    stack.queues.store.topics.publish(topic, json.dumps(MESSAGE))


def _publish_cloud_event(stack: Stack) -> bool:
    """Publish an event as a shop's own code would; True if a trigger matches."""
    attributes = {"source": "shop.orders", "type": "order:Shipped"}
    event = CloudEvent(attributes, {"order": {"id": 4711, "customer": "user-1"}})
    message = to_structured_event(event)
    url = f"{stack.events_url}/events"
    response = urllib3.request(
        "POST", url, headers=message.headers, body=message.body, retries=False, timeout=30
    )
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{url}: {response.status} {response.data!r}")
    return bool(response.json()["deliveries"])


def _upload(stack: Stack, trigger: OssTrigger) -> bool:
    """Upload a file for a user; True if the trigger matches."""
    key = f"{trigger.prefix}2026-11{trigger.suffix}"
    oss_client(stack.oss.endpoint, stack.oss.region).put_object(
        oss.PutObjectRequest(bucket=trigger.bucket, key=key, body=b"a statement", metadata={"user": "user-1"})
    )
    return trigger.matches(ObjectEvent(bucket=trigger.bucket, key=key))


def _run_event(title: str, cause: Callable[[], object], stack: Stack) -> bool:
    """Cause an event and wait for its push."""
    before = _newest(stack)
    cause()
    arrived = _wait_for_arrival(stack, before)
    return _report(title, f"1 {arrived[0]['outcome']}" if arrived else "nothing arrived")


def _run_event_with_rule(title: str, cause: Callable[[], bool], stack: Stack) -> bool:
    """Cause an event and wait for its push, if a trigger and a rule match: they are the user's own."""
    before, calls = _newest(stack), len(_calls_of_event_push(stack))
    if not cause():
        return _report(title, "no trigger matches")
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if arrived := stack.sandbox.inbox(after=before):
            return _report(title, f"1 {arrived[0]['outcome']}")
        if any(not call.error and not call.message_ids for call in _calls_of_event_push(stack)[calls:]):
            return _report(title, "no rule matches")
        time.sleep(0.02)
    return _report(title, "nothing arrived")


def _calls_of_event_push(stack: Stack) -> list[RecordedCall]:
    name = stack.hosts["event_push"].function.name
    return [call for call in stack.calls.calls() if call.function == name]


def _report(title: str, outcome: str) -> bool:
    as_expected = outcome in {"1 accepted", "no trigger matches", "no rule matches"}
    attempts = 1 if outcome.startswith("1") else "-"
    print(f"  {title:46} {'-':>4}  {attempts:>8}  {outcome}{'' if as_expected else '   <- WRONG'}")
    return as_expected


def _newest(stack: Stack) -> int:
    """Return the sequence number of the newest push."""
    return next((int(entry["seq"]) for entry in stack.sandbox.inbox(limit=1)), 0)


def _wait_for_arrival(stack: Stack, before: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (arrived := stack.sandbox.inbox(after=before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return arrived


def _run_case(case: Case, stack: Stack) -> bool:
    body = case.body
    if case.fault:
        # Messages of an earlier run may still be in a queue; the fault must strike only this push.
        name = f"demo-{uuid.uuid4().hex[:8]}"
        body = {**body, "taskName": name}
        stack.sandbox.order(**case.fault, match={"taskName": name})
    before = _newest(stack)
    url = f"{stack.urls['http_push']}/v1/pushes{case.query}"
    headers = {"Content-Type": "application/json", **case.headers}
    response = urllib3.request("POST", url, json=body, headers=headers, retries=False, timeout=30)
    report = json.loads(response.data)
    if response.status == HTTPStatus.ACCEPTED:
        _wait_for_arrival(stack, before)
    outcomes = report.get("outcomes", [])
    as_expected = response.status == case.status and report.get("counts", {}) == case.outcomes
    counts = ", ".join(f"{count} {name}" for name, count in report.get("counts", {}).items()) or "none sent"
    attempts = "+".join(str(outcome["attempts"]) for outcome in outcomes) or "-"
    suffix = "" if as_expected else "   <- WRONG"
    print(f"  {case.title:46} {response.status:>4}  {attempts:>8}  {counts}{suffix}")
    return as_expected
