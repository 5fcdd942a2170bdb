"""Asynchronous invocation: accepted events, retries and their delays, and records for destinations."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.account import Account
from mpaas_local.fc.async_store import AsyncStore
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.destinations import (
    MNS_LIMIT,
    NamedResource,
    RecordDelivery,
    Undeliverable,
    destination_of,
)
from mpaas_local.fc.errors import PAYLOAD_LIMIT, InvalidArgument, PayloadTooLarge, QueueClosed, TaskExists
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.schedule import Schedule
from project.function import AsyncInvokeConfig
from tests.clocks import FastClock, ManualClock
from tests.mpaas_local.callables import ScriptedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT = Account("1000000000000000", "cn-hangzhou")
DEAD = "acs:mns:cn-hangzhou:1000000000000000:/queues/dead/messages"
GOOD = "acs:fc:cn-hangzhou:1000000000000000:functions/success-function"
REQUEST_ID = "1-67aee50c-15d63510-fecf237c590c"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_660_120_000.0)


@pytest.fixture
def queue_of(clock: ManualClock) -> Iterator[Callable[..., AsyncQueue]]:
    queues: list[AsyncQueue] = []

    def create(function: ScriptedFunction, **options: Any) -> AsyncQueue:
        queues.append(AsyncQueue("f1", function, clock=clock, account=ACCOUNT, **options))
        return queues[-1]

    yield create
    for queue in queues:
        queue.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("async-")]


def nonzero_counts(queue: AsyncQueue) -> dict[str, int]:
    return {name: count for name, count in queue.counts.items() if count}


def run_to_end(clock: ManualClock, queue: AsyncQueue) -> list[float]:
    """Let time pass until the queue is empty; returns the delays."""
    delays = []
    assert queue.settle()
    while queue.counts["pending"]:
        delays.append(round(clock.skip(), 3))
        assert queue.settle()
    return delays


def test_accepted_event_reaches_the_function_once_with_its_request_id(
    queue_of: Callable[..., AsyncQueue],
) -> None:
    function = ScriptedFunction()
    queue = queue_of(function)
    request_id = queue.accept(b"\x00 any bytes")
    assert queue.finish()
    assert [(call.event, call.request_id, call.retry_count) for call in function.calls] == [
        (b"\x00 any bytes", request_id, 0)
    ]
    assert nonzero_counts(queue) == {"accepted": 1, "succeeded": 1, "calls": 1}


def test_payload_of_at_most_128_kb_is_accepted(queue_of: Callable[..., AsyncQueue]) -> None:
    queue = queue_of(ScriptedFunction())
    queue.accept(b"x" * PAYLOAD_LIMIT)
    queue.accept(b"[" + b"x" * PAYLOAD_LIMIT + b"]", size=PAYLOAD_LIMIT)
    with pytest.raises(PayloadTooLarge, match="payload size exceeds maximum allowed size: 131073 bytes"):
        queue.accept(b"x" * (PAYLOAD_LIMIT + 1))
    with pytest.raises(PayloadTooLarge):
        queue.accept(b"x", size=PAYLOAD_LIMIT + 1)
    assert queue.finish()
    assert queue.counts["accepted"] == 2


@pytest.mark.parametrize(("attempts", "calls"), [(None, 4), (0, 1), (8, 9)])
def test_function_error_is_retried_as_often_as_configured(
    attempts: int | None, calls: int, clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    function = ScriptedFunction(then="error")
    config = AsyncConfig() if attempts is None else AsyncConfig(max_retries=attempts)
    queue = queue_of(function, config=config, retry_seconds=7.0)
    queue.accept(b"{}")
    assert run_to_end(clock, queue) == [7.0] * (calls - 1)
    assert [call.retry_count for call in function.calls] == list(range(calls))
    assert len({call.request_id for call in function.calls}) == 1
    assert queue.counts["failed"] == 1


def test_event_succeeds_when_a_retry_succeeds(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    queue = queue_of(ScriptedFunction("error", "error"))
    queue.accept(b"{}")
    run_to_end(clock, queue)
    assert nonzero_counts(queue) == {"accepted": 1, "succeeded": 1, "calls": 3, "retried": 2}


@pytest.mark.parametrize("failure", ["throttled", "broken"])
def test_throttling_and_system_errors_back_off_from_half_a_second_and_do_not_use_up_retries(
    failure: str, clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    function = ScriptedFunction(*[failure] * 5)
    queue = queue_of(function, config=AsyncConfig(max_retries=0))
    queue.accept(b"{}")
    assert run_to_end(clock, queue) == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert function.calls[-1].retry_count == 0
    assert queue.counts["succeeded"] == 1


def test_throttled_event_is_given_up_after_five_hours_with_a_record(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    records: list[tuple[str, bytes]] = []
    queue = queue_of(
        ScriptedFunction(then="throttled"),
        config=AsyncConfig(on_failure=DEAD),
        deliver=lambda arn, record: records.append((arn, record)),
    )
    queue.accept(b"{}")
    assert 2.5 * 3600 < sum(run_to_end(clock, queue)) <= 5 * 3600
    assert queue.finish()
    record = json.loads(records[0][1])
    assert record["requestContext"]["condition"] == "FunctionResourceExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert record["responseContext"] == {"statusCode": 429, "functionError": ""}
    assert json.loads(record["responsePayload"])["errorCode"] == "ResourceExhausted"


def test_expired_event_is_not_retried(clock: ManualClock, queue_of: Callable[..., AsyncQueue]) -> None:
    function = ScriptedFunction(then="error")
    queue = queue_of(function, config=AsyncConfig(max_age_seconds=10), retry_seconds=6.0)
    queue.accept(b"{}")
    assert run_to_end(clock, queue) == [6.0, 4.0]
    assert nonzero_counts(queue) == {"accepted": 1, "calls": 2, "retried": 2, "expired": 1}


def test_delay_is_observed_and_does_not_count_towards_the_age(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    function = ScriptedFunction()
    queue = queue_of(function, config=AsyncConfig(max_age_seconds=1))
    queue.accept(b"{}", delay=3600)
    assert queue.settle()
    assert function.calls == []
    assert run_to_end(clock, queue) == [3600.0]
    assert queue.counts["succeeded"] == 1
    for delay in (-1, 0, 3600.5, float("nan")):
        with pytest.raises(InvalidArgument, match="x-fc-async-delay"):
            queue.accept(b"{}", delay=delay)


def test_task_id_is_accepted_once_in_task_mode_and_its_state_is_kept(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    queue = queue_of(ScriptedFunction("ok", "error"), config=AsyncConfig(task_mode=True, max_retries=0))
    queue.accept(b"{}", task_id="order_1")
    assert queue.finish()
    with pytest.raises(TaskExists, match="order_1"):
        queue.accept(b"{}", task_id="order_1")
    request_id = queue.accept(b"{}")
    assert queue.finish()
    assert queue.tasks == {"order_1": "Succeeded", request_id: "Failed"}
    clock.advance(7 * 86400)
    queue.accept(b"{}", task_id="order_1")


def test_task_id_may_be_repeated_without_task_mode(queue_of: Callable[..., AsyncQueue]) -> None:
    queue = queue_of(ScriptedFunction())
    for _ in range(2):
        queue.accept(b"{}", task_id="order_1")
    assert queue.finish()
    assert queue.counts["succeeded"] == 2
    for invalid in ("1order", "a b", "x" * 129, "ü"):
        with pytest.raises(InvalidArgument, match="x-fc-async-task-id"):
            queue.accept(b"{}", task_id=invalid)


def test_duplicates_are_random_but_the_same_for_the_same_seed(
    queue_of: Callable[..., AsyncQueue],
) -> None:
    counts = []
    for _ in range(2):
        function = ScriptedFunction()
        queue = queue_of(function, duplicates=0.3, seed=7)
        ids = [queue.accept(b"{}") for _ in range(100)]
        assert queue.finish()
        assert {call.request_id for call in function.calls} == set(ids)
        assert len(function.calls) == 100 + queue.counts["duplicated"]
        counts.append(queue.counts["duplicated"])
    assert counts[0] == counts[1]
    assert 15 < counts[0] < 45


def test_destination_receives_the_documented_record_of_a_failure(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "index.py").write_text(
        "class MyError(Exception): pass\n"
        "def handler(event, context):\n"
        "    raise MyError('My unhandled exception')\n"
    )
    records: list[tuple[str, bytes]] = []
    with (
        FunctionHost(Function(name="f1", folder=tmp_path), account=ACCOUNT) as host,
        AsyncQueue(
            "f1",
            host.invoke,
            config=AsyncConfig(max_retries=1, on_success=GOOD, on_failure=DEAD),
            account=ACCOUNT,
            deliver=lambda arn, record: records.append((arn, record)),
            clock=clock,
        ) as queue,
    ):
        queue.accept(b'{"failure":true}', request_id=REQUEST_ID)
        assert queue.settle(60)
        clock.skip()
        assert queue.finish(60)
    ((arn, record),) = records
    payload = json.dumps(json.loads(record)["responsePayload"])
    assert arn == DEAD
    assert record.decode() == (
        '{"timestamp":1660120001000,'
        f'"requestContext":{{"requestId":"{REQUEST_ID}",'
        '"functionArn":"acs:fc:cn-hangzhou:1000000000000000:functions/f1",'
        '"condition":"UnhandledInvocationError","approximateInvokeCount":2},'
        '"requestPayload":"{\\"failure\\":true}",'
        '"responseContext":{"statusCode":200,"functionError":"UnhandledInvocationError"},'
        f'"responsePayload":{payload}}}'
    )
    error = json.loads(json.loads(payload))
    assert (error["errorType"], error["errorMessage"]) == ("MyError", "My unhandled exception")
    assert json.loads(payload).startswith('{\n    "errorMessage": "My unhandled exception",\n')


def test_destination_receives_the_record_of_a_success_without_condition(
    queue_of: Callable[..., AsyncQueue],
) -> None:
    records: list[tuple[str, Any]] = []
    queue = queue_of(
        ScriptedFunction(),
        config=AsyncConfig(on_success=GOOD, on_failure=DEAD),
        deliver=lambda arn, record: records.append((arn, json.loads(record))),
    )
    queue.accept(b"in")
    assert queue.finish()
    ((arn, record),) = records
    assert arn == GOOD
    assert record["requestContext"]["condition"] == ""
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["responseContext"] == {"statusCode": 200, "functionError": ""}
    assert (record["requestPayload"], record["responsePayload"]) == ("in", '"done"')


def test_delivery_to_an_unavailable_destination_is_retried_for_half_an_hour(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    moments: list[float] = []

    def refuse(_arn: str, _record: bytes) -> None:
        moments.append(clock.time())
        raise OSError("down")

    queue = queue_of(ScriptedFunction(), config=AsyncConfig(on_success=DEAD), deliver=refuse)
    queue.accept(b"{}")
    assert queue.settle()
    while not queue.counts["undelivered"]:
        clock.skip()
        assert queue.settle()
    assert [later - earlier for earlier, later in pairwise(moments)] == [
        0.5 * 2**number for number in range(len(moments) - 1)
    ]
    assert 900 < moments[-1] - moments[0] <= 1800
    assert queue.counts["succeeded"] == 1


def test_delivery_that_a_destination_refuses_is_not_retried(queue_of: Callable[..., AsyncQueue]) -> None:
    queue = queue_of(ScriptedFunction(), config=AsyncConfig(on_success=DEAD), deliver=RecordDelivery())
    queue.accept(b"{}")
    assert queue.finish()
    assert queue.counts["undelivered"] == 1


def test_destination_is_chosen_by_arn() -> None:
    records: list[tuple[str, bytes]] = []
    bus = "acs:eventbridge:cn-hangzhou:1000:eventbus/mine"
    destinations = RecordDelivery(
        queue=lambda name, body: records.append((f"queue {name}", body)),
        topic=lambda name, body: records.append((f"topic {name}", body)),
        functions={"success-function": lambda body: records.append(("function", body))},
        others={bus: lambda body: records.append(("bus", body))},
    )
    for arn in (
        DEAD,
        "acs:mns:cn-hangzhou:1000:/queues/dlq",
        "acs:mns:cn-hangzhou::/topics/t/messages",
        GOOD,
        f"{GOOD}/LATEST",
        bus,
    ):
        destinations(arn, b"{}")
    assert [destination for destination, _ in records] == [
        "queue dead",
        "queue dlq",
        "topic t",
        "function",
        "function",
        "bus",
    ]
    with pytest.raises(Undeliverable, match="does not exist on this machine"):
        destinations("acs:fc:cn-hangzhou:1000:functions/other", b"{}")
    with pytest.raises(Undeliverable, match="65537 bytes; at most 65536"):
        destinations(DEAD, b"x" * (MNS_LIMIT + 1))
    arn = "acs:eventbridge:cn-hangzhou:1000:eventbus/default"
    assert destination_of(arn) == NamedResource("bus", "default")
    assert destination_of("something") == NamedResource("other", "something")


def test_function_can_be_the_destination_of_another(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    second = ScriptedFunction()
    with AsyncQueue("success-function", second, clock=clock) as after:
        queue = queue_of(
            ScriptedFunction(),
            config=AsyncConfig(on_success=GOOD),
            deliver=RecordDelivery(functions={"success-function": after.accept}),
        )
        queue.accept(b"in")
        assert queue.finish()
        assert after.finish()
    assert second.calls[0].json["requestPayload"] == "in"


def test_configuration_is_read_from_the_descriptor() -> None:
    on_failure = {"onFailure": {"destination": DEAD}}
    plain = AsyncInvokeConfig.model_validate({"destinationConfig": on_failure})
    assert AsyncConfig.of(plain) == AsyncConfig(max_retries=3, max_age_seconds=18000, on_failure=DEAD)
    full = AsyncInvokeConfig.model_validate(
        {
            "maxAsyncRetryAttempts": 5,
            "maxAsyncEventAgeInSeconds": 600,
            "asyncTask": True,
            "destinationConfig": on_failure | {"onSuccess": {"destination": GOOD}},
        }
    )
    assert AsyncConfig.of(full) == AsyncConfig(
        max_retries=5, max_age_seconds=600, task_mode=True, on_success=GOOD, on_failure=DEAD
    )


def test_calls_run_concurrently_up_to_the_limit(queue_of: Callable[..., AsyncQueue]) -> None:
    barrier = threading.Barrier(3)
    queue = queue_of(ScriptedFunction(on_call=lambda _: barrier.wait(60)), concurrency=3)
    for _ in range(3):
        queue.accept(b"{}")
    assert queue.finish()
    assert queue.counts["succeeded"] == 3


def test_closed_queue_accepts_nothing_and_stops_at_once(
    clock: ManualClock, queue_of: Callable[..., AsyncQueue]
) -> None:
    queue = queue_of(ScriptedFunction())
    queue.accept(b"{}", delay=100)
    queue.close()
    with pytest.raises(QueueClosed):
        queue.accept(b"{}")
    clock.advance(100)
    assert queue.counts["calls"] == 0


def test_killed_instance_is_a_function_error_and_the_event_is_retried(
    tmp_path: Path,
) -> None:
    (tmp_path / "index.py").write_text(
        "import os\n"
        "from pathlib import Path\n"
        "def handler(event, context):\n"
        f"    flag = Path({str(tmp_path / 'flag')!r})\n"
        "    if not flag.exists():\n"
        "        flag.touch()\n"
        "        os._exit(9)\n"
        "    return context.retry_count\n"
    )
    records: list[Any] = []
    with (
        FunctionHost(Function(name="f1", folder=tmp_path)) as host,
        AsyncQueue(
            "f1",
            host.invoke,
            config=AsyncConfig(on_success=GOOD),
            deliver=lambda _, record: records.append(json.loads(record)),
            retry_seconds=0.01,
        ) as queue,
    ):
        queue.accept(b"{}")
        assert queue.finish(60)
    assert records[0]["requestContext"]["approximateInvokeCount"] == 2
    assert records[0]["responsePayload"] == "1"


def test_waiting_events_are_abandoned_when_the_host_is_closed_first(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text("def handler(event, context): pass\n")
    host = FunctionHost(Function(name="f1", folder=tmp_path))
    with AsyncQueue("f1", host.invoke) as queue:
        host.close()
        queue.accept(b"{}")
        assert queue.finish()
        assert nonzero_counts(queue) == {"accepted": 1, "abandoned": 1}


def test_day_passes_in_moments_on_a_fast_clock() -> None:
    fast = FastClock(speed=1_000_000)
    done = threading.Event()
    with Schedule("fast", clock=fast) as schedule:
        schedule.at(fast.time() + 86400, done.set)
        assert done.wait(60)


def test_failing_job_does_not_stop_the_others(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    runs: list[float] = []

    def fail() -> float | None:
        raise ValueError("bad job")

    def run_three_times() -> float | None:
        runs.append(clock.time())
        return clock.time() + 1 if len(runs) < 3 else None

    with Schedule("jobs", clock=clock) as schedule:
        schedule.at(0, fail)
        schedule.at(0, run_three_times)
        for _ in range(2):
            assert schedule.settle()
            clock.skip()
        assert schedule.finish()
    assert len(runs) == 3
    assert "bad job" in caplog.text


# --- With a store


def test_accepted_events_survive_a_restart_and_succeed_once(
    tmp_path: Path,
    clock: ManualClock,
    queue_of: Callable[..., AsyncQueue],
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = AsyncConfig(task_mode=True)
    first = ScriptedFunction(then="error")
    with AsyncStore(tmp_path / "calls.sqlite3") as store:
        queue = queue_of(first, config=config, store=store)
        queue.accept(b"failing", task_id="failing")
        queue.accept(b"later", task_id="later", delay=600)
        assert queue.settle()
        queue.close()
        assert "unfinished asynchronous events: 2; they resume at the next start" in caplog.text

    second = ScriptedFunction()
    with AsyncStore(tmp_path / "calls.sqlite3") as store:
        queue = queue_of(second, config=config, store=store)
        with pytest.raises(TaskExists):
            queue.accept(b"later", task_id="later")
        run_to_end(clock, queue)
        assert queue.tasks == {"failing": "Succeeded", "later": "Succeeded"}
        queue.close()
        assert store.events("f1") == []

    assert [call.event for call in second.calls] == [b"failing", b"later"]
