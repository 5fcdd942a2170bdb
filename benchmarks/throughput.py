"""100 pushes in one invocation against a server that responds after 50 ms."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

from benchmarks import senders
from benchmarks.measure import measured
from benchmarks.report import Table, verdict
from benchmarks.server import serving

PUSHES, LATENCY, THREADS, SAMPLE_CALLS, ROUNDS = 100, 0.05, 50, 20, 15

OURS = "mpaas-push, one `send_all`"
SAMPLE = "official sample: a client per call, one after the other"
TARGETS = {
    SAMPLE: 25.0,
    f"one warm `AcsClient`, {THREADS} threads": 1.3,
    f"`alibabacloud-mpaas20201028`, {THREADS} threads": 1.0,
    "`firebase-admin` `send_each`, a thread per push": 1.0,
}
"""Minimum time of each, relative to ours."""


def throughput() -> Table:
    """Compare the wall times of 100 pushes."""
    sample, official_name, modern_name, firebase_name = TARGETS
    with (
        serving(LATENCY) as port,
        senders.our_client(port) as client,
        ThreadPoolExecutor(THREADS) as workers,
        ThreadPoolExecutor(THREADS) as modern_workers,
    ):
        ours = senders.our_batch(client)
        official = senders.on_threads(senders.warm_official(port), workers)
        modern = senders.on_threads(senders.modern_official(port), modern_workers)
        firebase = senders.firebase(port)
        times = measured(
            {
                OURS: lambda: ours(PUSHES),
                sample: lambda: senders.sample(port, SAMPLE_CALLS),
                official_name: lambda: official(PUSHES),
                modern_name: lambda: modern(PUSHES),
                firebase_name: lambda: firebase(PUSHES),
            },
            rounds=ROUNDS,
        )
    times[sample] = times[sample].times(PUSHES / SAMPLE_CALLS)
    own = times[OURS]
    rows = [[OURS, f"{own.median * 1000:.0f}", "1", ""]]
    for name, target in TARGETS.items():
        ratio = times[name].over(own)
        rows.append([name, f"{times[name].median * 1000:.0f}", f"{ratio:.2f}", verdict(ratio, least=target)])
    turns = math.ceil(PUSHES / THREADS)
    limit = LATENCY * turns
    rows.append(
        [
            f"the limit: {turns} turns of {THREADS}, {LATENCY * 1000:.0f} ms each",
            f"{limit * 1000:.0f}",
            f"{limit / own.median:.2f}",
            f"ours / limit {verdict(own.median / limit, most=1.5)} ({own.median / limit:.2f})",
        ]
    )
    return Table(
        "100 pushes in one invocation, 50 ms server latency",
        f"Wall time, median of {ROUNDS} interleaved rounds, all warm; the sample is measured over "
        f"{SAMPLE_CALLS} calls and scaled. Ours includes reading and checking every message.",
        ["sender", "ms", "of ours", "target"],
        rows,
    )
