"""100 pushes in one invocation with a third of a CPU, as on small instances of Function Compute."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import senders
from benchmarks.cpu import discard_logs
from benchmarks.measure import Times
from benchmarks.report import Table, verdict
from benchmarks.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

__all__ = ["CPUS", "derived", "limited_group", "origin_of", "quota", "run_in"]

PUSHES, LATENCY, ROUNDS, WARM_UP = 100, 0.05, 25, 3
CPUS = 0.35
"""vCPU of an instance, as in the descriptor."""
PERIOD = 0.1
"""Seconds of a period of the quota: Linux's default."""
LIMIT = 2 * LATENCY
"""Shortest possible time: 100 pushes, 50 at once."""


def quota() -> Table:
    """Measure a batch with all of a CPU and with a third of one."""
    with serving(LATENCY) as port:
        free, cpu = _run(port)
        with limited_group() as group:
            limited = _run(port, group)[0] if group else _derived(free, cpu)
    ratio = limited.median / LIMIT
    rows = [
        ["the limit: 2 turns of 50, 50 ms each", f"{LIMIT * 1000:.0f}", "1", ""],
        ["mpaas-push, with all of a CPU", f"{free.median * 1000:.0f}", f"{free.median / LIMIT:.2f}", ""],
        [
            f"mpaas-push, with {CPUS} CPU",
            f"{limited.median * 1000:.0f}",
            f"{ratio:.2f}",
            verdict(ratio, most=1.6),
        ],
    ]
    how = origin_of(group)
    return Table(
        f"100 pushes in one invocation, 50 ms server latency, {CPUS} CPU",
        f"Wall time, median of {ROUNDS} batches one after the other; with {CPUS} CPU {how}. Includes reading "
        f"and checking every message and a function's JSON log, {cpu.median * 1000:.0f} ms of CPU a batch.",
        ["what", "ms", "of the limit", "target"],
        rows,
    )


def _derived(wall: Times, cpu: Times) -> Times:
    """Return how long batches would take with the quota, if no work were done while other work waits."""
    pairs = zip(wall.rounds, cpu.rounds, strict=True)
    return Times([derived(seconds, work) for seconds, work in pairs])


def _run(port: int, group: Path | None = None) -> tuple[Times, Times]:
    """Return wall time and CPU of batches in a separate process, within a group if one is given."""
    wall, cpu = run_in(group, _batches, port)
    return Times(wall), Times(cpu)


def _batches(port: int, parent: Connection) -> None:
    discard_logs()
    with senders.our_client(port) as client:
        send = senders.our_batch(client)
        for _ in range(WARM_UP):
            send(PUSHES)
        parent.send(None)
        parent.recv()
        wall, cpu = [], []
        for _ in range(ROUNDS):
            started, worked = time.perf_counter(), time.process_time()
            send(PUSHES)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - worked)
        parent.send((wall, cpu))
        parent.recv()  # until this process is terminated


# --- Linux control groups, versions 2 and 1; only root may create one


def origin_of(group: Path | None) -> str:
    """Return how a figure with the quota was obtained."""
    return "in a cgroup with that quota" if group else "computed from the CPU time"


def derived(wall: float, cpu: float) -> float:
    """Return how many seconds work would take with the quota, if none were done while other work waits."""
    return wall + cpu * (1 / CPUS - 1)


def run_in(group: Path | None, work: Callable[..., None], *arguments: Any) -> Any:
    """Run work in a separate process, and return what it measured.

    Args:
        group: Entered once the work is warm; None for no limit.
        work: Receives the arguments and a connection. Sends None when it is warm, waits for a message, sends
            what it measured and waits again, until it is terminated.
        arguments: Arguments of the work.
    """
    context = multiprocessing.get_context("spawn")
    connection, child_connection = context.Pipe()
    process = context.Process(target=work, args=(*arguments, child_connection), daemon=True)
    process.start()
    child_connection.close()  # so that the end of the process is detected
    try:
        connection.recv()  # it is warm
        if group:
            (group / "cgroup.procs").write_text(str(process.pid), "ascii")
        connection.send(None)
        return connection.recv()
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def limited_group(period: float = PERIOD) -> Iterator[Path | None]:
    """Create a control group with the quota of an instance for the block; None if that is not possible.

    A process enters it by writing its id to ``cgroup.procs``; all processes must end before the block does.

    Args:
        period: Seconds after which the quota is renewed. Work that has used it up waits for the next period,
            so work of a few periods is measured in whole ones.
    """
    parent = _cpu_group()
    if parent is None:
        yield None
        return
    group = parent / f"mpaas-push-{os.getpid()}"
    group.mkdir()
    try:
        period_us, quota_us = round(period * 1e6), round(CPUS * period * 1e6)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota_us} {period_us}", "ascii")
        else:
            (group / "cpu.cfs_period_us").write_text(str(period_us), "ascii")
            (group / "cpu.cfs_quota_us").write_text(str(quota_us), "ascii")
        yield group
    finally:
        group.rmdir()


def _cpu_group() -> Path | None:
    """Return the folder in which a group with a quota can be created, if any."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        if "cpu" in (root / "cgroup.subtree_control").read_text("ascii").split():
            return root if os.access(root, os.W_OK) else None
    first = root / "cpu"
    return first if (first / "cpu.cfs_quota_us").exists() and os.access(first, os.W_OK) else None
