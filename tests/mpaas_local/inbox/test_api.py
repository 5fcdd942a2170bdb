"""The JSON API of the inbox, over HTTP."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from openapi_spec_validator import validate

from tests.mpaas_local.inbox.conftest import MESSAGE
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_local.stack import Stack

    Call = Callable[..., Any]


def send_push(call: Call, **changes: Any) -> Any:
    return call("POST", "/api/send", {"body": MESSAGE | changes})


def wait_for_pushes(call: Call, count: int) -> list[dict[str, Any]]:
    """Wait for a number of pushes, each with a known cause, and return them."""

    def pushes() -> list[dict[str, Any]] | None:
        shown: list[dict[str, Any]] = call("GET", "/api/pushes")["pushes"]
        return shown if len(shown) == count and all(push["trigger"] for push in shown) else None

    return eventually(pushes, lambda: time.sleep(0.05))


def test_api_is_documented(call: Call) -> None:
    document = call("GET", "/openapi.json")

    validate(document)
    assert {*document["paths"]} == {
        "/api/pushes",
        "/api/pushes/{seq}",
        "/api/pushes/{seq}/again",
        "/api/schema",
        "/api/shown",
        "/api/send",
        "/api/faults",
        "/api/faults/schema",
        "/api/queues",
        "/api/queues/{name}/messages",
        "/api/queues/{name}/messages/{message_id}/back",
        "/api/campaigns",
        "/api/campaigns/document",
        "/api/campaigns/preview",
        "/api/campaigns/check",
        "/api/campaigns/{campaign_id}",
        "/api/campaigns/{campaign_id}/{action}",
        "/api/campaigns/{campaign_id}/report",
        "/api/audiences",
        "/api/overview",
        "/api/changes",
    }
    for path in document["paths"].values():
        assert all(operation["description"] for operation in path.values())


def test_schema_of_every_body_allows_no_additional_properties(contract: dict[str, Any]) -> None:
    free = {"/api/schema", "/api/faults/schema"}  # schemas themselves
    for path, operations in contract["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                for media_type, content in response["content"].items():
                    if media_type == "application/json" and status < "400" and path not in free:
                        assert "$ref" in content["schema"], (path, status)
    for name, schema in contract["components"]["schemas"].items():
        open_ones = {"OrderedFault", "Property", "HTTPValidationError", "ValidationError"}
        open_ones |= {"CampaignState", "CampaignPreview"}  # the HTTP function's own
        assert schema.get("additionalProperties") is False or name in open_ones, name


def test_pushes_are_listed_in_pages_newest_first(call: Call) -> None:
    send_push(call, targets=[f"user-{number}" for number in range(45)])

    first = call("GET", "/api/pushes?limit=3")
    assert first["total"] == 5
    seqs = [push["seq"] for push in first["pushes"]]
    assert seqs == sorted(seqs, reverse=True)
    rest = call("GET", f"/api/pushes?limit=200&before={seqs[-1]}")["pushes"]
    assert [push["seq"] for push in rest] == [seqs[-1] - 1, seqs[-1] - 2]
    newer = call("GET", f"/api/pushes?after={seqs[-1]}")["pushes"]
    assert [push["seq"] for push in newer] == seqs[:-1]


def test_row_summarises_a_push(call: Call) -> None:
    send_push(call, targets=["a", "b"])
    (row,) = wait_for_pushes(call, 1)

    assert row.pop("receivedAt").endswith("Z")
    assert row.pop("seq") > 0
    assert row == {
        "trigger": "http",
        "taskName": "greeting",
        "title": "Good day",
        "content": "All is well.",
        "deliveryType": "3",
        "targets": 2,
        "firstTarget": "a",
        "outcome": "accepted",
        "code": "OK",
        "fault": None,
        "warnings": 0,
    }


def test_row_counts_texts_that_channels_would_truncate_or_refuse(call: Call) -> None:
    send_push(call, title="x" * 45)  # too long for OPPO, Huawei, vivo and APNs
    (row,) = wait_for_pushes(call, 1)

    assert row["warnings"] == 4


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("text=LUN", ["Lunch"]),
        ("target=anna", ["Breakfast"]),
        ("deliveryType=1", ["Lunch"]),
        ("trigger=http", ["Lunch", "Breakfast"]),
        ("trigger=timer", []),
        ("outcome=refused", []),
        ("text=&target=", ["Lunch", "Breakfast"]),
    ],
)
def test_pushes_are_filtered(call: Call, query: str, titles: list[str]) -> None:
    send_push(call, title="Breakfast", targets=["anna"])
    send_push(call, title="Lunch", deliveryType=1)
    wait_for_pushes(call, 2)

    page = call("GET", f"/api/pushes?{query}")

    assert [push["title"] for push in page["pushes"]] == titles
    assert page["total"] == len(titles)


@pytest.mark.parametrize(
    "path", ["/api/pushes?limit=201", "/api/pushes?limit=x", "/api/pushes?nope=1", "/api/pushes/x"]
)
def test_invalid_query_is_refused(call: Call, path: str) -> None:
    assert call("GET", path, status=422)["detail"]


def test_missing_push_or_queue_is_reported(call: Call) -> None:
    assert call("GET", "/api/pushes/999999", status=404) == {"detail": "Push 999999 does not exist."}
    assert call("POST", "/api/pushes/999999/again", {}, status=404)
    assert call("GET", "/api/queues/none/messages", status=404)


@pytest.mark.parametrize(("via", "trigger"), [("http", "http"), ("timer", "timer"), ("queue", "queue")])
def test_push_is_shown_with_the_call_that_caused_it(call: Call, via: str, trigger: str) -> None:
    result = call("POST", "/api/send", {"body": MESSAGE, "via": via})
    (row,) = wait_for_pushes(call, 1)

    details = call("GET", f"/api/pushes/{row['seq']}")

    assert result["via"] == via
    assert row["trigger"] == details["call"]["trigger"] == trigger
    assert "Good day" in details["call"]["payload"] or "R29vZCBkYXk" in details["call"]["payload"]
    assert any('"push accepted"' in line for line in details["call"]["log"])
    assert details["call"]["durationMs"] > 0
    assert details["message"]["targets"] == ["user-1"]
    assert [attempt["seq"] for attempt in details["attempts"]] == [row["seq"]]


def test_each_attempt_of_a_repeated_message_has_its_own_call(call: Call, stack: Stack) -> None:
    stack.sandbox.order(kind="result", code="3007", next=1)  # the ledger would not repeat an accepted push
    for _ in range(2):
        url = f"{stack.urls['http_push']}/v1/pushes"
        urllib3.request(
            "POST", url, json=MESSAGE, headers={"Idempotency-Key": "once"}, retries=False, timeout=60
        )
    first, second = wait_for_pushes(call, 2)

    causes = {call("GET", f"/api/pushes/{push['seq']}")["call"]["requestId"] for push in (first, second)}

    assert len(causes) == 2
    assert len(call("GET", f"/api/pushes/{first['seq']}")["attempts"]) == 2


def test_malformed_request_is_shown(call: Call, stack: Stack) -> None:
    urllib3.request(
        "POST", stack.sandbox.url, body=b"%ff=%00&Title=<b>&TargetMsgkey={", retries=False, timeout=60
    )

    (row,) = call("GET", "/api/pushes")["pushes"]
    details = call("GET", f"/api/pushes/{row['seq']}")

    assert row["outcome"] == "rejected"
    assert details["shown"]["valid"] is False
    assert details["shown"]["faults"]


def test_unpaired_surrogate_is_shown_and_refused_by_the_function(call: Call, stack: Stack) -> None:
    urllib3.request("POST", stack.sandbox.url, body=b"Title=%ff%fe&TaskName=%ff", retries=False, timeout=60)
    (row,) = call("GET", "/api/pushes")["pushes"]
    assert row["title"] == "\udcff\udcfe"

    assert call("POST", f"/api/pushes/{row['seq']}/again", {})["status"] == 400
    assert call("POST", "/api/send", {"body": MESSAGE | {"title": "\ud800"}})["status"] == 400
    assert call("POST", "/api/shown", MESSAGE | {"title": "\ud800"})


def test_no_secret_is_shown(call: Call, stack: Stack) -> None:
    send_push(call)
    (row,) = wait_for_pushes(call, 1)

    text = json.dumps(call("GET", f"/api/pushes/{row['seq']}"))

    credentials = stack.hosts["http_push"].account.credentials
    assert credentials is not None
    assert credentials.access_key_secret not in text
    assert credentials.security_token not in text
    assert "Signature=[redacted]" in text


def test_invalid_message_gets_the_response_of_the_function(call: Call) -> None:
    result = call("POST", "/api/send", {"body": {"title": "x"}, "dryRun": True})

    assert result["status"] == 422
    assert "taskName" in {error["field"] for error in result["answer"]["errors"]}


@pytest.mark.parametrize("body", [{"body": MESSAGE, "via": "pigeon"}, {"body": MESSAGE, "to": "x"}])
def test_unknown_field_or_value_of_a_send_request_is_refused(call: Call, body: Any) -> None:
    assert call("POST", "/api/send", body, status=422)


def test_faults_are_injected_and_cancelled(call: Call) -> None:
    fault = call(
        "POST", "/api/faults", {"kind": "throttling", "next": 3, "match": {"target": "a"}}, status=201
    )

    assert fault["remaining"] == 3
    assert call("GET", "/api/faults")["faults"] == [fault]
    assert call("DELETE", "/api/faults") == {"deleted": 1}
    refused = call("POST", "/api/faults", {"kind": "delay", "milliseconds": -1}, status=422)
    wrong = {"type": "fault", "loc": ["body", "milliseconds"], "msg": "must be at least 0"}
    assert refused["detail"] == [wrong]
    assert "discriminator" in json.dumps(call("GET", "/api/faults/schema"))


@pytest.mark.parametrize("copied", ["curl", "python"])
def test_copied_code_of_a_push_runs_unchanged(call: Call, copied: str, tmp_path: Path) -> None:
    send_push(call, title='It\'s \\ "copied" 你好', extendedParams={"a": "1"})
    (row,) = wait_for_pushes(call, 1)
    text = call("GET", f"/api/pushes/{row['seq']}")["copies"][copied]
    file = tmp_path / "copied"
    file.write_text(text, "utf-8")
    command = ["bash", str(file)] if copied == "curl" else [sys.executable, str(file)]
    folder = Path(__file__).resolve().parents[3]
    keyless = {name: value for name, value in os.environ.items() if "ACCESS_KEY" not in name}
    keyless["PYTHONPATH"] = str(folder)

    subprocess.run(command, check=True, timeout=60, env=keyless, capture_output=True)

    rows = call("GET", "/api/pushes")["pushes"]
    assert [row["outcome"] for row in rows] == ["accepted", "accepted"]
    assert rows[0]["title"] == rows[1]["title"]


def test_message_too_long_for_a_queue_is_refused_with_the_limit(call: Call) -> None:
    refused = call("POST", "/api/send", {"via": "queue", "body": "x" * 70_000}, status=400)

    assert "65536" in refused["detail"]


def test_original_of_a_dead_letter_is_sent_back_and_other_messages_are_not(call: Call, stack: Stack) -> None:
    store = stack.queues.store
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    letter = json.dumps({"reason": "throttled", "body": json.dumps(MESSAGE | {"title": "Back"})})
    message = store.send(dead, base64.b64encode(letter.encode()).decode())
    (listed,) = [
        queued
        for queued in call("GET", f"/api/queues/{dead}/messages")["messages"]
        if queued["messageId"] == message.id
    ]
    assert json.loads(listed["text"])["reason"] == "throttled"

    call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {})

    (row,) = wait_for_pushes(call, 1)
    assert (row["title"], row["trigger"]) == ("Back", "queue")
    assert message.id not in {queued.id for queued in store.messages(dead)}
    assert call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {}, status=404)
    other = stack.source_queues["queue_push"]
    assert call("POST", f"/api/queues/{other}/messages/x/back", {}, status=409)


def test_event_in_a_dead_letter_is_not_sent_back(call: Call, stack: Stack) -> None:
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    event = {"specversion": "1.0", "id": "1", "source": "shop", "type": "order:Shipped", "data": {}}
    letter = json.dumps({"reason": "refused", "scope": "ce:shop:1", "body": json.dumps(event)})
    message = stack.queues.store.send(dead, base64.b64encode(letter.encode()).decode())

    refusal = call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {}, status=409)

    assert "contains an event" in refusal["detail"]
    assert message.id in {queued.id for queued in stack.queues.store.messages(dead)}
    stack.queues.store.remove(dead, message.id)


def test_dead_letter_is_sent_back_only_for_targets_that_received_nothing(call: Call, stack: Stack) -> None:
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    letter = json.dumps(
        {
            "reason": "unknown",
            "body": json.dumps(MESSAGE | {"targets": ["reached", "not-reached"]}),
            "message": MESSAGE | {"targets": ["not-reached"]},
        }
    )
    message = stack.queues.store.send(dead, base64.b64encode(letter.encode()).decode())

    call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {})

    (row,) = wait_for_pushes(call, 1)
    assert (row["targets"], row["firstTarget"]) == (1, "not-reached")


@pytest.mark.parametrize(
    ("letter", "error"),
    [
        ("not a letter", "not a dead letter"),
        ('{"reason": "refused"}', "not a dead letter"),
        ('{"reason": "refused", "body": "{\\"tit", "cut": {"characters": 9}}', "truncated"),
    ],
)
def test_dead_letter_that_cannot_be_sent_stays(call: Call, stack: Stack, letter: str, error: str) -> None:
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    message = stack.queues.store.send(dead, letter)

    refusal = call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {}, status=409)

    assert error in refusal["detail"]
    assert stack.queues.store.remove(dead, message.id)


def test_dead_letter_of_maximum_length_is_sent_back_completely(call: Call, stack: Stack) -> None:
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    long = MESSAGE | {"extendedParams": {"text": "x" * 60_000}}
    message = stack.queues.store.send(dead, json.dumps({"reason": "unknown", "message": long}))

    call("POST", f"/api/queues/{dead}/messages/{message.id}/back", {})

    (row,) = wait_for_pushes(call, 1)
    assert row["title"] == MESSAGE["title"]
    assert stack.queues.store.find(dead, message.id) is None


def test_dead_letter_stays_when_the_queue_refuses_its_message(call: Call, stack: Stack) -> None:
    dead = call("GET", "/api/queues")["deadLetterQueue"]
    queue = stack.source_queues["queue_push"]
    message = stack.queues.store.send(dead, json.dumps({"reason": "unknown", "message": MESSAGE}))
    attributes = stack.queues.store.queue(queue).attributes
    stack.queues.store.set_queue_attributes(queue, maximum_message_size=1024)
    long = stack.queues.store.send(dead, json.dumps({"message": MESSAGE | {"content": "x" * 2000}}))
    try:
        refusal = call("POST", f"/api/queues/{dead}/messages/{long.id}/back", {}, status=400)
    finally:
        stack.queues.store.set_queue_attributes(queue, maximum_message_size=attributes.maximum_message_size)

    assert "1024" in refusal["detail"]
    for left in (long, message):
        assert stack.queues.store.remove(dead, left.id)


def test_figures_count_calls_and_outcomes(call: Call) -> None:
    before = call("GET", "/api/overview")
    call("POST", "/api/faults", {"kind": "throttling", "next": 1}, status=201)
    send_push(call)
    wait_for_pushes(call, 2)

    after = call("GET", "/api/overview")

    assert after["retries"] == before["retries"] + 1
    assert after["outcomes"]["accepted"] == before["outcomes"].get("accepted", 0) + 1
    assert after["received"] == sum(sum(minute["outcomes"].values()) for minute in after["minutes"])
    (http,) = [function for function in after["functions"] if function["name"] == "mpaas-http-push-dev"]
    assert http["calls"] == http["cold"] + http["warm"]
    assert after["latencyMs"]["p50"] <= after["latencyMs"]["p95"]


def test_changes_are_streamed(call: Call, stack: Stack) -> None:
    stream = urllib3.request(
        "GET", f"{stack.inbox_url}/api/changes", preload_content=False, retries=False, timeout=60
    )
    assert stream.headers["content-type"].startswith("text/event-stream")
    events: list[dict[str, int]] = []
    text = b""
    has_sent = False
    for byte in stream.stream(1):
        text += byte
        if text.endswith(b"\n\n"):
            events.append(json.loads(text.split(b"data: ")[1]))
            text = b""
            if not has_sent:
                send_push(call)
                has_sent = True
            elif events[-1].get("pushes", 0) > events[0].get("pushes", 0):
                break
    stream.close()

    assert events[-1]["pushes"] > events[0].get("pushes", 0)


def test_page_has_security_headers(stack: Stack) -> None:
    response = urllib3.request("GET", f"{stack.inbox_url}/", retries=False, timeout=60)

    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"


def test_browsers_cache_only_versioned_files(stack: Stack) -> None:
    def get(path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", stack.inbox_url + path, retries=False, timeout=60)

    page = get("/")
    (script,) = re.findall('src="(/static/[0-9a-f]{16}/main.js)"', page.data.decode())

    cached = get(script)
    assert (cached.status, cached.headers["cache-control"]) == (200, "max-age=31536000, immutable")
    for response in (page, get("/api/pushes"), get("/openapi.json")):
        assert (response.status, response.headers["cache-control"]) == (200, "no-store")


def test_inbox_listens_on_loopback_only(stack: Stack) -> None:
    port = int(stack.inbox_url.rpartition(":")[2])
    for address in {entry[4][0] for entry in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}:
        if not str(address).startswith("127."):
            with socket.socket() as other:
                other.settimeout(1)
                assert other.connect_ex((str(address), port)) != 0
