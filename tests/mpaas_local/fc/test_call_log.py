"""The log of the functions' calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpaas_local.fc.call import Result
from mpaas_local.fc.call_log import MAX_LINES, CallLog, RecordedCall, trigger_of
from mpaas_local.inbox.overview import overview
from mpaas_local.mpaas.store import Store

PAYLOADS = sorted((Path(__file__).resolve().parents[2] / "payloads").glob("*.json"))
KINDS = {
    "timer": "timer",
    "mns-topic": "topic",
    "oss-native": "oss",
    "http": "http",
    "destination": "destination",
}


def result(request_id: str, duration: float = 5.0, *, cold: bool = False, error: str | None = None) -> Result:
    return Result(
        payload=b"",
        error_type=error,
        request_id=request_id,
        duration_ms=duration,
        max_memory_mb=0.0,
        log_tail="",
        cold=cold,
    )


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_trigger_of_every_documented_payload_is_recognized(path: Path) -> None:
    event = path.read_bytes()
    trigger = trigger_of(event)

    expected = next((kind for name, kind in KINDS.items() if path.stem.startswith(name)), None)
    if path.stem.startswith("eventstream") and isinstance(json.loads(event), list):
        expected = "queue"
    if expected and "eventbridge" not in path.stem and "stream" not in path.stem.partition("eventstream")[0]:
        assert trigger == expected
    else:
        assert trigger in {"event", "queue", "topic", "invocation", "oss"}


def test_campaign_task_is_recognized() -> None:
    assert trigger_of(b'{"campaignTask":{"campaign":"c","run":"r","piece":0,"turn":1}}') == "campaign"


def test_call_is_recorded_with_its_log_lines_and_reported_pushes() -> None:
    passed_on: list[RecordedCall] = []
    calls = CallLog(on_call=passed_on.append)
    report = {
        "message": "push accepted",
        "outcome": "accepted",
        "attempts": 2,
        "duration_ms": 3.0,
        "message_ids": ["a", None],
    }
    for line in ("starting", json.dumps(report), '{"message_ids"', "[]"):
        calls.log("f", "1", line)

    calls.record("f", b'{"triggerName": "t", "triggerTime": "now"}', result("1", cold=True))

    (call,) = calls.calls()
    assert passed_on == [call]
    assert (call.trigger, call.message_ids, call.cold, len(call.lines)) == ("timer", ["a"], True, 4)
    assert call.document()["log"][0] == "starting"


def test_only_the_newest_calls_and_their_first_lines_are_kept() -> None:
    calls = CallLog(limit=2)
    for number in range(MAX_LINES + 10):
        calls.log("f", "3", f"line {number}")
    for number in range(1, 4):
        calls.record("f", b"[]", result(str(number)))

    assert [call.request_id for call in calls.calls()] == ["2", "3"]
    assert len(calls.calls()[1].lines) == MAX_LINES


def test_overview_has_the_figures_of_the_calls() -> None:
    calls = CallLog()
    for number, attempts in enumerate((1, 3, 1)):
        report = {
            "outcome": "accepted",
            "attempts": attempts,
            "duration_ms": 10.0 * (number + 1),
            "message_ids": [],
        }
        calls.log("f", str(number), json.dumps(report))
        calls.record("f", b"[]", result(str(number), 10.0 * (number + 1), cold=number == 0))
    calls.record("g", b"[]", result("9", error="UnhandledInvocationError"))

    figures = overview(Store(":memory:"), calls.calls())

    assert figures["outcomes"] == {"accepted": 3}
    assert figures["retries"] == 2
    assert figures["latencyMs"] == {"p50": 20.0, "p95": 29.0}
    assert figures["functions"][0] == {
        "name": "f",
        "calls": 3,
        "cold": 1,
        "warm": 2,
        "failed": 0,
        "durationMs": {"p50": 20.0, "p95": 29.0},
    }
    assert figures["functions"][1]["failed"] == 1
