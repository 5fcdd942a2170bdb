"""The largest batch of a queue, 10,000 messages, in one invocation of 60 s on a third of a CPU.

Each message must end accepted or in a queue, regardless of mPaaS's response.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import resource
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from benchmarks.batches import message
from benchmarks.quota import CPUS, derived, limited_group, origin_of, run_in
from benchmarks.report import Table, verdict
from benchmarks.server import ACCEPTED, serving
from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET
from mpaas_local.mns import MnsServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

__all__ = ["large_batch"]

MESSAGES, LATENCY, TIMEOUT = 10_000, 0.05, 60
RETRIES, LETTERS = "pushes-retry", "pushes-dead"
ROOT = Path(__file__).resolve().parent.parent
RESPONSES = {
    "all accepted": ACCEPTED,
    "all throttled": b'{"RequestId":"B589F4F4","Code":"Throttling.User","Message":"slow down"}',
    "all unknown": b'{"RequestId":"B589F4F4","ResultCode":"9000","ResultMessage":"system error"}',
}


def large_batch() -> Table:
    """Deliver the batch to an instance, once for each response of mPaaS."""
    rows = []
    for name, response in RESPONSES.items():
        with ExitStack() as stack:
            port = stack.enter_context(serving(LATENCY, response))
            mns = stack.enter_context(MnsServer())
            for queue in (RETRIES, LETTERS):
                mns.store.create_queue(queue)
            group = stack.enter_context(limited_group())
            report, seconds, cpu, megabytes = run_in(group, _instance, _environment(port, mns.endpoint))
            waiting = sum(_messages_in(mns, RETRIES))
            given_up = mns.store.queue(LETTERS).active_messages
        if not group:
            seconds = derived(seconds, cpu)
        accepted = report["outcomes"].get("accepted", 0)
        kept = accepted + waiting + given_up
        rows.append(
            [
                name,
                f"{accepted:,}",
                f"{waiting:,}",
                f"{given_up:,}",
                f"{MESSAGES - kept:,}",
                f"{seconds:.0f}",
                f"{megabytes:.0f}",
                verdict(seconds, most=TIMEOUT) if kept == MESSAGES else "**lost**",
            ]
        )
    how = origin_of(group)
    return Table(
        f"A batch of {MESSAGES:,} messages, {LATENCY * 1000:.0f} ms server latency, {CPUS} CPU",
        f"One invocation of `queue_push` for each row, with {TIMEOUT} s, on {CPUS} CPU ({how}). A throttled "
        "request is retried as long as the default settings allow. Every message must be accepted or in a "
        "queue.",
        ["mPaaS responds", "accepted", "retry queue", "dead letters", "lost", "s", "MB", "target"],
        rows,
    )


def _environment(port: int, mns: str) -> dict[str, str]:
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": LOCAL_ACCESS_KEY_ID,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": LOCAL_ACCESS_KEY_SECRET,
        "MPAAS_ENDPOINT": f"http://127.0.0.1:{port}",
        "MPAAS_APP_ID": "ONEX1",
        "MPAAS_WORKSPACE_ID": "default",
        "PUSH_MNS_ENDPOINT": mns,
        "PUSH_RETRY_QUEUE": RETRIES,
        "PUSH_DEAD_LETTER_QUEUE": LETTERS,
    }


def _messages_in(mns: MnsServer, queue: str) -> Iterator[int]:
    """Yield the number of messages in each entry of the retry queue."""
    for entry in mns.store.messages(queue, limit=MESSAGES):
        envelope = json.loads(base64.b64decode(entry.body))
        yield len(envelope.get("messages", [envelope]))


def _instance(environment: Mapping[str, str], parent: Connection) -> None:
    """Handle one batch; send its report, wall time and CPU time in seconds, and the peak memory in MB."""
    os.environ.update(environment)
    sys.path.insert(0, str(ROOT / "functions" / "queue_push"))
    handler = importlib.import_module("index").handler
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # every outcome is logged; writing to a terminal is not measured
    os.dup2(null, 2)
    event = json.dumps(
        [
            {"requestId": "r", "messageId": f"M{number}", "messageBody": json.dumps(message(number))}
            for number in range(MESSAGES)
        ]
    ).encode()
    function = SimpleNamespace(name="queue_push", timeout=TIMEOUT)
    parent.send(None)
    parent.recv()
    began, worked = time.perf_counter(), time.process_time()
    report = json.loads(handler(event, SimpleNamespace(request_id="1-2", function=function)))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    parent.send((report, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    parent.recv()  # until this process is terminated
