"""Timer triggers: every rule of their expressions, and ticks on a manual clock."""

from __future__ import annotations

import json
import re
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.timer_trigger import Timer, Timers, UnknownTimer, timer_of
from project.cron import next_tick
from project.triggers import PAYLOAD_BYTES
from tests.clocks import ManualClock
from tests.descriptors import parse_trigger, trigger_document
from tests.mpaas_local.callables import ScriptedFunction

if TYPE_CHECKING:
    from pathlib import Path

UTC = timezone.utc
WEDNESDAY = datetime(2025, 1, 1, 12, 0, 30, tzinfo=UTC)


def at(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[arg-type, misc]  # six numbers at most


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 * * * * *", at(2025, 1, 1, 12, 1)),
        ("30 * * * * *", at(2025, 1, 1, 12, 1, 30)),
        ("0 0 4 1 * *", at(2025, 2, 1, 4)),
        ("0 */5 * * * *", at(2025, 1, 1, 12, 5)),
        ("0 7/20 * * * *", at(2025, 1, 1, 12, 7)),
        ("0 10-12,50 13 * * *", at(2025, 1, 1, 13, 10)),
        ("0 0 9 ? * 1", at(2025, 1, 6, 9)),
        ("0 0 9 ? * 7", at(2025, 1, 5, 9)),
        ("0 0 9 ? * mon-fri", at(2025, 1, 2, 9)),
        ("0 0 9 ? * SAT-SUN", at(2025, 1, 4, 9)),
        ("0 0 9 15 FEB ?", at(2025, 2, 15, 9)),
        ("0 0 0 29 2 ?", at(2028, 2, 29)),
        ("CRON_TZ=Asia/Shanghai 0 0 4 1 * *", at(2025, 1, 31, 20)),
        # 9 March 2025 has no 2:30 in New York.
        ("CRON_TZ=America/New_York 0 30 2 9 3 *", at(2026, 3, 9, 6, 30)),
        ("@every 4m", at(2025, 1, 1, 12, 4, 30)),
        ("@every 90s", at(2025, 1, 1, 12, 2)),
        ("@every 2h", at(2025, 1, 1, 14, 0, 30)),
        ("CRON_TZ=Asia/Shanghai @every 4m", at(2025, 1, 1, 12, 4, 30)),
        # Not documented.
        ("@every 1h30m", at(2025, 1, 1, 13, 30, 30)),
        ("@every 1.5m", at(2025, 1, 1, 12, 2)),
        ("@every 4d", at(2025, 1, 5, 12, 0, 30)),
        ("@hourly", at(2025, 1, 1, 13)),
        ("@daily", at(2025, 1, 2)),
        ("CRON_TZ=Asia/Shanghai @daily", at(2025, 1, 1, 16)),
        ("@midnight", at(2025, 1, 2)),
        ("@weekly", at(2025, 1, 5)),
        ("@monthly", at(2025, 2, 1)),
        ("@yearly", at(2026, 1, 1)),
        ("@annually", at(2026, 1, 1)),
        ("0 0 0 L * *", at(2025, 1, 31)),
        ("0 0 0 L 2 ?", at(2025, 2, 28)),
        ("0 0 0 15,L * ?", at(2025, 1, 15)),
        ("0 0 0 ? * 5L", at(2025, 1, 31)),
        ("0 0 0 3 * MON", at(2025, 1, 3)),
        ("0 0 0 13 * MON", at(2025, 1, 6)),
        ("0 0 0 */2 * MON", at(2025, 1, 13)),
    ],
)
def test_next_tick_of_an_expression_is_in_utc(expression: str, expected: datetime) -> None:
    assert next_tick(expression, WEDNESDAY) == expected


def test_ticks_are_in_order_across_both_changes_of_daylight_saving_time() -> None:
    tick = at(2025, 3, 1)
    ticks = []
    for _ in range(300):
        following = next_tick("CRON_TZ=Europe/Berlin 0 30 2 * * *", tick)
        assert following > tick
        tick = following
        ticks.append(tick)
    # 30 March has no 2:30 in Berlin; 26 October has two of them.
    assert not [tick for tick in ticks if (tick.month, tick.day) == (3, 30)]
    assert [tick.hour for tick in ticks if (tick.month, tick.day) == (10, 26)] == [0, 1]


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("* * * * *", "has 5 fields; must have 6"),
        ("0 0 0 1 1 ? 2026", "has 7 fields; must have 6"),
        ("", "0 fields"),
        ("* * * * * *", "seconds: '*': must be a number from 0 to 59"),
        ("*/10 * * * * *", "seconds"),
        ("0,30 * * * * *", "seconds"),
        ("60 * * * * *", "seconds: '60'"),
        ("0 60 * * * *", "minutes: '60': must be 0 to 59"),
        ("0 ? * * * *", "minutes: '?'"),
        ("0 0 24 * * *", "hours"),
        ("0 0 0 0 * *", "day of month: '0': must be 1 to 31"),
        ("0 0 0 LW * *", "day of month: 'LW'"),
        ("0 0 L * * *", "hours: 'L'"),
        ("0 0 0 L-3 * *", "is not a valid expression"),
        ("0 0 0 1 ? *", "month: '?'"),
        ("0 0 0 1 13 *", "month: '13': must be 1 to 12 or JAN"),
        ("0 0 0 ? * 0", "day of week: '0': must be 1 to 7 or MON"),
        ("0 0 0 ? * 8", "day of week: '8'"),
        ("0 0 0 ? * */2", "day of week: '*/2': / is not allowed here"),
        ("0 0 0 ? * 5#2", "day of week: '5#2'"),
        ("0 0 0 ? * 8L", "day of week: '8L'"),
        ("0 0 0 ? * L", "day of week: 'L'"),
        ("0 0 0 30 2 ?", "is not a valid expression"),
        ("0 10-5 * * * *", "is not a valid expression"),
        ("0 */0 * * * *", "is not a valid expression"),
        ("0 1- * * * *", "is not a valid expression"),
        ("0 ٣ * * * *", "minutes"),
        ("CRON_TZ=Asia/Atlantis 0 0 4 * * *", "'Asia/Atlantis' is not a time zone"),
        ("CRON_TZ=Asia 0 0 4 * * *", "'Asia' is not a time zone"),
        ("CRON_TZ=../etc/passwd 0 0 4 * * *", "is not a time zone"),
        ("CRON_TZ= 0 0 4 * * *", "'' is not a time zone"),
        ("@every 0m", "at least a second"),
        ("@every 0.5s", "at least a second"),
        ("@every 4000d", "at most ten years"),
        (f"@every {'9' * 400}d", "at most ten years"),
        ("@every 4w", "d, h, m or s"),
        ("@every -4m", "d, h, m or s"),
        ("@every", "d, h, m or s"),
        ("@every4m", "d, h, m or s"),
        ("@fortnightly", "one of @hourly, @daily"),
    ],
)
def test_invalid_expression_is_refused_with_the_field_and_the_valid_values(
    expression: str, part: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(part)):
        next_tick(expression, WEDNESDAY)


def test_trigger_is_read_with_its_defaults() -> None:
    plain = parse_trigger(trigger_document("timer"))
    assert timer_of(plain, "f") == Timer(function="f", name="t", expression="0 * * * * *")
    off = parse_trigger(trigger_document("timer", enable=False, payload="x"))
    assert timer_of(off, "f") == Timer(
        function="f", name="t", expression="0 * * * * *", payload="x", enabled=False
    )


def test_event_is_the_documented_sample() -> None:
    timer = Timer(function="f", name="timer-trigger", expression="0 * * * * *", payload='{"job":"sync"}')
    assert timer.event(at(2025, 2, 14, 6, 39)) == (
        rb'{"triggerTime":"2025-02-14T06:39:00Z","triggerName":"timer-trigger","payload":"{\"job\":\"sync\"}"}'
    )


class Recorder:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: bytes, *, size: int | None = None) -> str:
        del size
        self.events.append(json.loads(event))
        return f"request-{len(self.events)}"

    @property
    def times(self) -> list[str]:
        return [event["triggerTime"][11:] for event in self.events]


def test_timer_fires_at_each_tick() -> None:
    clock, recorder = ManualClock(WEDNESDAY.timestamp()), Recorder()
    with Timers(clock=clock) as timers:
        timers.add(Timer(function="f", name="t", expression="0 */2 * * * *", payload="p"), recorder)
        timers.add(Timer(function="f", name="off", expression="0 * * * * *", enabled=False), recorder)
        for _ in range(3):
            clock.skip()
            assert timers.settle()
    assert recorder.times == ["12:02:00Z", "12:04:00Z", "12:06:00Z"]
    assert {event["triggerName"] for event in recorder.events} == {"t"}


def test_timer_continues_after_a_tick_that_was_not_accepted(caplog: pytest.LogCaptureFixture) -> None:
    clock, recorder = ManualClock(WEDNESDAY.timestamp()), Recorder()

    def refuse_once(event: bytes, *, size: int | None = None) -> str:
        del size
        if recorder(event) == "request-1":
            raise OSError("not now")
        return "request"

    with Timers(clock=clock) as timers:
        timers.add(Timer(function="f", name="t", expression="0 * * * * *"), refuse_once)
        for _ in range(2):
            clock.skip()
            assert timers.settle()
    assert recorder.times == ["12:01:00Z", "12:02:00Z"]
    assert "timer t: the tick of 2025-01-01 12:01:00+00:00 was not accepted" in caplog.text


def test_ticks_missed_while_the_machine_slept_are_skipped() -> None:
    clock, recorder = ManualClock(WEDNESDAY.timestamp()), Recorder()
    with Timers(clock=clock) as timers:
        timers.add(Timer(function="f", name="t", expression="0 * * * * *"), recorder)
        clock.skip()
        assert timers.settle()
        clock.advance(8 * 3600)
        assert timers.settle()
        clock.skip()
        assert timers.settle()
    assert recorder.times == ["12:01:00Z", "12:02:00Z", "20:02:00Z"]


def test_manual_tick_fires_now_even_if_the_timer_is_disabled() -> None:
    clock, recorder = ManualClock(WEDNESDAY.timestamp()), Recorder()
    with Timers(clock=clock) as timers:
        timers.add(
            Timer(function="f", name="t", expression="0 0 4 1 * *", payload="p", enabled=False), recorder
        )
        assert timers.tick("t") == "request-1"
        assert timers.tick("f/t") == "request-2"
    assert recorder.events[0] == {"triggerTime": "2025-01-01T12:00:30Z", "triggerName": "t", "payload": "p"}


def test_name_of_two_timers_must_include_the_function() -> None:
    clock, first, second = ManualClock(), Recorder(), Recorder()
    with Timers(clock=clock) as timers:
        timers.add(Timer(function="f", name="t", expression="0 0 4 1 * *"), first)
        timers.add(Timer(function="g", name="t", expression="0 0 4 1 * *"), second)
        with pytest.raises(UnknownTimer, match=r"several timers are named t; timers: f/t, g/t"):
            timers.tick("t")
        with pytest.raises(UnknownTimer, match="no timer is named u"):
            timers.tick("u")
        timers.tick("g/t")
    assert (len(first.events), len(second.events)) == (0, 1)


def test_closing_stops_at_once_and_leaves_no_thread() -> None:
    timers = Timers()
    timers.add(Timer(function="f", name="t", expression="0 0 4 1 * *"), Recorder())
    assert [thread for thread in threading.enumerate() if thread.name.startswith("timers")]
    timers.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("timers")]


def test_tick_reaches_a_real_function_through_its_asynchronous_queue(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text("def handler(event, context):\n    print(event.decode())\n")
    lines: list[str] = []
    clock = ManualClock(WEDNESDAY.timestamp())
    function = Function(name="f", folder=tmp_path)
    with (
        FunctionHost(function, on_log=lambda _function, _request, line: lines.append(line)) as host,
        AsyncQueue("f", host.invoke, clock=clock) as queue,
        Timers(clock=clock) as timers,
    ):
        timers.add(Timer(function="f", name="t", expression="0 * * * * *", payload="你好"), queue.accept)
        clock.skip()
        assert timers.settle()
        assert queue.finish(60)
    assert '{"triggerTime":"2025-01-01T12:01:00Z","triggerName":"t","payload":"你好"}' in lines


def test_tick_with_the_largest_payload_is_accepted_regardless_of_the_size_of_its_event() -> None:
    clock, function = ManualClock(WEDNESDAY.timestamp()), ScriptedFunction()
    timer = Timer(function="f", name="t", expression="0 * * * * *", payload='"' * PAYLOAD_BYTES)
    with AsyncQueue("f", function, clock=clock) as queue, Timers(clock=clock) as timers:
        timers.add(timer, queue.accept)
        clock.skip()
        assert timers.settle()
        timers.tick("t")
        assert queue.finish()
    assert [len(call.json["payload"]) for call in function.calls] == [PAYLOAD_BYTES] * 2
