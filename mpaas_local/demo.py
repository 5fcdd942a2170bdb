"""Pushes of every kind through the running stack, each with the outcome it must have."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_local.stack import Stack

__all__ = ["run_demo"]

MESSAGE = {
    "taskName": "order-shipped",
    "title": "Your order is on its way",
    "content": "It will arrive tomorrow.",
    "deliveryType": 3,
    "targets": ["user-1", "user-2"],
    "expiredSeconds": 600,
}


@dataclass(frozen=True)
class Case:
    """One push: what is sent, what the sandbox is told to do, and what must come of it."""

    title: str
    status: int
    outcomes: dict[str, int]
    body: dict[str, Any] = field(default_factory=lambda: MESSAGE)
    fault: dict[str, Any] | None = None
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)


CASES = (
    Case("one message, two targets", 200, {"accepted": 1}),
    Case(
        "25 targets become three requests",
        200,
        {"accepted": 3},
        {**MESSAGE, "targets": [f"user-{number}" for number in range(25)]},
    ),
    Case("a dry run sends nothing", 200, {}, query="?dryRun=true"),
    Case(
        "a bad message beside a good one",
        207,
        {"accepted": 1, "refused": 1},
        {"messages": [MESSAGE, {**MESSAGE, "deliveryType": 4}]},
    ),
    Case("refused: the message is wrong", 422, {"refused": 1}, {**MESSAGE, "expiredSeconds": 0}),
    Case(
        "refused for load once, then accepted",
        200,
        {"accepted": 1},
        fault={"kind": "throttling", "next": 1},
    ),
    Case(
        "throttled: refused for load again and again",
        503,
        {"throttled": 1},
        fault={"kind": "throttling", "next": 4},
    ),
    Case("misconfigured: wrong app id", 500, {"misconfigured": 1}, fault={"kind": "result", "code": "3007"}),
    Case("unknown: accepted, but the answer was lost", 502, {"unknown": 1}, fault={"kind": "resetAfterRead"}),
    Case(
        "not waited for: handed to the queue function",
        202,
        {"handedOver": 1},
        headers={"Prefer": "respond-async"},
    ),
)


def run_demo(stack: Stack) -> bool:
    """Send the pushes, print a table, and say whether each came to what it must."""
    print(f"\n  {'push':46} {'HTTP':>4}  {'attempts':>8}  outcomes")
    results = [_run(case, stack) for case in CASES]
    results.append(_arrives("a timer ticks", lambda: stack.timers.tick("morning"), stack))
    results.append(_arrives("a message comes in a queue", lambda: _queue(stack), stack))
    results.append(_arrives("a message comes in a topic", lambda: _topic(stack), stack))
    results.append(_arrives("an order is shipped: a cloud event", lambda: _event(stack), stack))
    results.append(_arrives("a file is uploaded: an event of OSS", lambda: _upload(stack), stack))
    return all(results)


def _queue(stack: Stack) -> None:
    """Put a message into the queue of `queue_push`, in Base64 as the SDK does."""
    body = base64.b64encode(json.dumps(MESSAGE).encode()).decode()
    stack.queues.store.send(stack.source_of("queue_push", "pushes"), body)


def _topic(stack: Stack) -> None:
    """Publish a message to the topic of `queue_push`."""
    stack.queues.store.topics.publish(stack.source_of("queue_push", "announcements"), json.dumps(MESSAGE))


def _event(stack: Stack) -> None:
    """Publish an event that a rule of `event_push` wants, as a shop's own code does."""
    attributes = {"source": "shop.orders", "type": "order:Shipped"}
    event = CloudEvent(attributes, {"order": {"id": 4711, "customer": "user-1"}})
    message = to_structured_event(event)
    _post(f"{stack.events_url}/events", headers=message.headers, body=message.body)


def _upload(stack: Stack) -> None:
    """Say that a file was uploaded for a user."""
    upload = {
        "bucket": "uploads",
        "key": "statements/2026-11.pdf",
        "size": 4096,
        "userMeta": {"x-oss-meta-user": "user-1"},
    }
    _post(f"{stack.events_url}/events/oss", json=upload)


def _post(url: str, **content: Any) -> None:
    response = urllib3.request("POST", url, retries=False, timeout=30, **content)
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{url}: {response.status} {response.data!r}")


def _arrives(title: str, cause: Callable[[], object], stack: Stack) -> bool:
    """Cause a push and wait until it has arrived."""
    before = stack.sandbox.inbox(limit=1)[0]["seq"]
    cause()
    arrived = _wait_for_arrival(stack, before)
    outcome = arrived[0]["outcome"] if arrived else "nothing arrived"
    right = outcome == "accepted"
    print(f"  {title:46} {'-':>4}  {1:>8}  1 {outcome}{'' if right else '   <- WRONG'}")
    return right


def _wait_for_arrival(stack: Stack, before: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while not (arrived := stack.sandbox.inbox(after=before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return arrived


def _run(case: Case, stack: Stack) -> bool:
    body = case.body
    if case.fault:
        # What an earlier run left in a queue may be pushed meanwhile: the fault is for this push alone.
        name = f"demo-{uuid.uuid4().hex[:8]}"
        body = {**body, "taskName": name}
        stack.sandbox.order(**case.fault, match={"taskName": name})
    before = next((entry["seq"] for entry in stack.sandbox.inbox(limit=1)), 0)
    url = f"{stack.urls['http_push']}/v1/pushes{case.query}"
    headers = {"Content-Type": "application/json", **case.headers}
    response = urllib3.request("POST", url, json=body, headers=headers, retries=False, timeout=30)
    answer = json.loads(response.data)
    if response.status == HTTPStatus.ACCEPTED:
        _wait_for_arrival(stack, before)
    outcomes = answer.get("outcomes", [])
    right = response.status == case.status and answer.get("counts", {}) == case.outcomes
    told = ", ".join(f"{count} {name}" for name, count in answer.get("counts", {}).items()) or "none sent"
    attempts = "+".join(str(outcome["attempts"]) for outcome in outcomes) or "-"
    print(f"  {case.title:46} {response.status:>4}  {attempts:>8}  {told}{'' if right else '   <- WRONG'}")
    return right
