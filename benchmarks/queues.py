"""An event stream empties a queue: one batch at a time, and concurrently with asynchronous calls."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.batches import function_host, message
from benchmarks.measure import Times
from benchmarks.report import Table, verdict
from benchmarks.server import serving
from mpaas_local.eventbridge.payloads import MessageOrigin
from mpaas_local.eventbridge.sources import MnsSource
from mpaas_local.eventbridge.stream_config import StreamConfig
from mpaas_local.eventbridge.streams import EventStream
from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.mns import MnsStore, OutgoingMessage

if TYPE_CHECKING:
    from mpaas_local.fc.call import Result
    from mpaas_local.fc.host import FunctionHost

MESSAGES, BATCH, LATENCY, INSTANCES, ROUNDS = 1_000, 100, 0.2, 6, 5
MIN_SPEEDUP = 2.5
"""Minimum speedup of asynchronous calls where all instances share two cores."""
QUEUE = "pushes"
STREAM = StreamConfig(
    function="queue_push",
    name="pushes",
    origin=MessageOrigin(
        kind="MNS", parameters={"QueueName": QUEUE, "RegionId": "cn-hangzhou"}, bus="MNS-Function-pushes"
    ),
    count=BATCH,
    seconds=1,
)
SYNCHRONOUS = "synchronously: one batch at a time"
ASYNCHRONOUS = f"asynchronously: {INSTANCES} batches at a time"


def queues() -> Table:
    """Compare the times to empty a queue."""
    durations: dict[str, list[float]] = {SYNCHRONOUS: [], ASYNCHRONOUS: []}
    with ExitStack() as stack:
        port = stack.enter_context(serving(LATENCY))
        host = stack.enter_context(function_host(port, {}, limit=INSTANCES))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = MnsStore(Path(folder) / "queues.sqlite3")
        stack.callback(store.close)
        store.create_queue(QUEUE)
        _empty(store, host, asynchronous=True)  # starts every instance
        for _ in range(ROUNDS):
            durations[SYNCHRONOUS].append(_empty(store, host, asynchronous=False))
            durations[ASYNCHRONOUS].append(_empty(store, host, asynchronous=True))
    times = {name: Times(seconds) for name, seconds in durations.items()}
    ratio = times[SYNCHRONOUS].over(times[ASYNCHRONOUS])
    return Table(
        f"A queue of {MESSAGES:,} messages, {LATENCY * 1000:.0f} ms server latency",
        f"Wall time from the first receive to the last outcome, median of {ROUNDS} rounds. An"
        f" event stream of the local stack delivers batches of {BATCH} to `queue_push`, of which {INSTANCES}"
        " instances may run; they share the cores of this machine, which those of Function Compute do not."
        " Each message has one target.",
        ["the stream calls", "messages a second", "ratio", "target"],
        [
            [SYNCHRONOUS, f"{MESSAGES / times[SYNCHRONOUS].median:,.0f}", "1", ""],
            [
                ASYNCHRONOUS,
                f"{MESSAGES / times[ASYNCHRONOUS].median:,.0f}",
                f"{ratio:.1f}",
                verdict(ratio, least=MIN_SPEEDUP),
            ],
        ],
    )


def _empty(store: MnsStore, host: FunctionHost, *, asynchronous: bool) -> float:
    """Fill a queue; return the seconds until every message is accepted."""
    store.send_batch(QUEUE, [OutgoingMessage(body=json.dumps(message(number))) for number in range(MESSAGES)])
    accepted = 0
    changed = threading.Condition()

    def invoke(event: bytes, *, request_id: str | None = None, retry_count: int = 0) -> Result:
        nonlocal accepted
        result = host.invoke(event, request_id=request_id, retry_count=retry_count)
        with changed:
            accepted += json.loads(result.payload)["outcomes"]["accepted"]
            changed.notify_all()
        return result

    with AsyncQueue("queue_push", invoke, concurrency=INSTANCES) as queue:
        began = time.perf_counter()
        config = replace(STREAM, asynchronous=asynchronous)
        with EventStream(config, MnsSource(store, QUEUE), invoke=invoke, accept=queue.accept), changed:
            if not changed.wait_for(lambda: accepted == MESSAGES, 60):
                raise RuntimeError(f"{accepted} of {MESSAGES} messages were accepted")
            return time.perf_counter() - began
