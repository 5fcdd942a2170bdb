"""10,000 queue messages in batches of 100 through one instance; the server responds after 20 ms."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import senders
from benchmarks.measure import Times
from benchmarks.report import Table, verdict
from benchmarks.server import serving
from mpaas_local.account import Account, LocalCredentials
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["batches", "function_host", "message"]

MESSAGES, BATCH, PART, LATENCY, SAMPLE_CALLS = 10_000, 100, 1_000, 0.02, 25
ROOT = Path(__file__).resolve().parent.parent
OURS, WITH_LEDGER = "`queue_push`", "`queue_push` with a ledger on this machine"
SAMPLE = "official sample: a client per call, one after the other"


def batches() -> Table:
    """Compare the wall time of each thousand messages, and the memory after the first and the last."""
    durations: dict[str, list[float]] = {OURS: [], WITH_LEDGER: [], SAMPLE: []}
    peaks: dict[str, list[float]] = {OURS: [], WITH_LEDGER: []}
    with ExitStack() as stack:
        port = stack.enter_context(serving(LATENCY))
        ledger = stack.enter_context(RedisServer())
        hosts = {
            OURS: stack.enter_context(function_host(port, {})),
            WITH_LEDGER: stack.enter_context(function_host(port, {"PUSH_LEDGER_URL": ledger.url})),
        }
        for host in hosts.values():
            _deliver(host, range(-BATCH, 0))
        senders.sample(port, 1)
        for first in range(0, MESSAGES, PART):
            for name, host in hosts.items():
                began = time.perf_counter()
                for start in range(first, first + PART, BATCH):
                    peak = _deliver(host, range(start, start + BATCH))
                durations[name].append(time.perf_counter() - began)
                peaks[name].append(peak)
            began = time.perf_counter()
            senders.sample(port, SAMPLE_CALLS)
            durations[SAMPLE].append((time.perf_counter() - began) * PART / SAMPLE_CALLS)
    times = {name: Times(seconds) for name, seconds in durations.items()}
    share = times[OURS].over(times[WITH_LEDGER])
    rows = [
        _row(SAMPLE, times),
        [*_row(WITH_LEDGER, times)[:3], f"{share:.2f} of without, {verdict(share, least=0.85)}"],
        _row(OURS, times, least=20),
    ]
    for name, megabytes in peaks.items():
        growth = megabytes[-1] / megabytes[0]
        rows.append(
            [
                f"{name}: peak memory after the first and last thousand",
                f"{megabytes[0]:.1f} and {megabytes[-1]:.1f} MB",
                f"{growth:.3f}",
                verdict(growth, most=1.1),
            ]
        )
    return Table(
        "10,000 queue messages in batches of 100, 20 ms server latency",
        "Wall time of one instance, called by the local host as Function Compute calls it, median of ten"
        f" parts of 1,000; the sample is measured over {SAMPLE_CALLS} calls in each part and scaled. Each"
        " message has one target. Ours includes reading the batch, checking every message and logging every"
        " outcome.",
        ["sender", "messages a second", "of the sample", "target"],
        rows,
    )


def _row(name: str, times: Mapping[str, Times], *, least: float | None = None) -> list[str]:
    ratio = times[SAMPLE].over(times[name])
    judgement = verdict(ratio, least=least) if least else ""
    return [name, f"{PART / times[name].median:,.0f}", f"{ratio:.1f}", judgement]


def function_host(port: int, environment: Mapping[str, str], *, limit: int = 1) -> FunctionHost:
    """Return a host of `queue_push`, which sends to a server on loopback.

    Args:
        port: Port of the server.
        environment: Additional variables of the function.
        limit: Maximum number of instances.
    """
    function = Function(
        name="queue_push",
        folder=ROOT / "functions" / "queue_push",
        layers=(ROOT / "shared",),
        environment={
            "MPAAS_ENDPOINT": f"http://127.0.0.1:{port}",
            "MPAAS_APP_ID": "ONEX1",
            "MPAAS_WORKSPACE_ID": "default",
            **environment,
        },
        timeout=60,
    )
    return FunctionHost(function, account=Account(credentials=LocalCredentials()), limit=limit)


def _deliver(host: FunctionHost, numbers: range) -> float:
    """Deliver a batch, all of which must be accepted; return the instance's peak memory in MB."""
    event = [
        {"requestId": "r", "messageId": f"M{number}", "messageBody": json.dumps(message(number))}
        for number in numbers
    ]
    result = host.invoke(json.dumps(event).encode())
    outcomes = json.loads(result.payload).get("outcomes")
    if outcomes != {"accepted": len(numbers)}:
        raise RuntimeError(f"not all messages were accepted: {result.payload.decode()}")
    return result.max_memory_mb


def message(number: int) -> dict[str, Any]:
    """Return a queue message with one target."""
    return {
        "taskName": "order-shipped",
        "title": "Your order is on its way",
        "content": "It will arrive tomorrow.",
        "deliveryType": 3,
        "targets": [f"user-{number}"],
        "expiredSeconds": 600,
    }
