"""A campaign under faults, kills, redeliveries, pauses and a restart of Redis: `python -m tests.campaign_crash`.

Each row must have exactly one fate, and no target may be reached twice.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.results import result_lines
from tests.functions.campaign_stack import BUCKET, CampaignStack, document
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Figures", "Plan", "run"]

FAULTS: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.40, {"kind": "throttling"}),
    (0.10, {"kind": "result", "code": "8011"}),
    (0.10, {"kind": "serviceUnavailable"}),
    (0.10, {"kind": "internalError"}),
    (0.10, {"kind": "resetBeforeRead"}),
    (0.10, {"kind": "resetAfterRead"}),
    (0.10, {"kind": "cutBody"}),
)
"""The share of each fault among all faults."""
NAME = "soak"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of a run.

    Attributes:
        rows: The number of rows in the audience; one in a hundred is invalid and one in a hundred a duplicate.
        faults: The share of requests to mPaaS that fail.
        kills: The number of workers killed, one at a time, evenly over the rows.
        duplicates: The share of tasks that are delivered twice.
        workers: The number of concurrent instances.
        pauses: How often the campaign is paused and resumed, each time with another pace.
        restarts_redis: Whether Redis is stopped once and started again with its data.
        timeout: The function's timeout (seconds).
        patience: The time (seconds) after which a run counts as stuck.
        seed: The seed of all random choices; the timing stays random.
    """

    rows: int = 1_000_000
    faults: float = 0.10
    kills: int = 100
    duplicates: float = 0.10
    workers: int = 4
    pauses: int = 3
    restarts_redis: bool = True
    timeout: int = 120
    patience: float = 4 * 3600
    seed: int = 1


@dataclass(kw_only=True)
class Figures:
    """The figures of a run.

    Attributes:
        rows: Rows in the file.
        counts: The campaign's own counts.
        state: The campaign's final state.
        requests: Requests of the campaign.
        struck: Requests that a fault struck.
        killed: Workers killed.
        tasks: Asynchronous calls that were accepted.
        duplicated: Tasks that were delivered twice.
        failed: Tasks that Function Compute gave up.
        interrupted: Rows that are `unknown` because their worker was killed, not because of a fault.
        reached: Targets for which mPaaS accepted a push.
        twice: Pushes accepted beyond one per target; duplicates on both sides of a border between two pieces are
            expected and not counted.
        memory: The workers' memory (MB), sampled once a second, by tenth of the campaign.
        seconds: The duration of the run.
    """

    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    state: str = ""
    requests: int = 0
    struck: int = 0
    killed: int = 0
    tasks: int = 0
    duplicated: int = 0
    failed: int = 0
    interrupted: int = 0
    reached: int = 0
    twice: int = 0
    memory: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0


def run(plan: Plan, folder: Path) -> Figures:
    """Perform a run and return its figures.

    Args:
        plan: The parameters of the run.
        folder: An empty folder.
    """
    figures = Figures(rows=plan.rows)
    chance = random.Random(plan.seed)
    with (
        RedisServer(folder / "redis") as redis,
        CampaignStack(
            folder=folder / "stack",
            redis_url=redis.url,
            timeout=plan.timeout,
            workers=plan.workers,
            duplicates=plan.duplicates,
            seed=plan.seed,
            environment={"PUSH_READ_TIMEOUT_SECONDS": "5", "PUSH_CONCURRENCY": "20"},
        ) as stack,
    ):
        for index, (share, fault) in enumerate(FAULTS):
            stack.sandbox.order(**fault, rate=share * plan.faults, seed=plan.seed + index)
        stack.put(f"audiences/{NAME}.csv", _audience(plan))
        began = time.monotonic()
        assert stack.start(document(NAME)).status == 201
        done = threading.Event()
        helpers = [
            threading.Thread(target=_kill, args=(plan, stack, chance, figures, done)),
            threading.Thread(target=_measure, args=(stack, figures, done)),
        ]
        for helper in helpers:
            helper.start()
        try:
            _steer(plan, stack, redis)
            _wait(plan, stack)
        finally:
            done.set()
            for helper in helpers:
                helper.join()
        campaign = stack.show(NAME)
        figures.seconds = time.monotonic() - began
        figures.counts, figures.state = campaign["counts"], campaign["state"]
        figures.requests = campaign["requests"]
        figures.struck = sum(order["struck"] for order in stack.sandbox.faults())
        counts = stack.queue.counts
        figures.tasks, figures.duplicated = counts["accepted"], counts["duplicated"]
        figures.failed = counts["failed"]
        figures.interrupted = sum(line["resultCode"] == "Interrupted" for line in _results(stack, campaign))
        reached = stack.reached()
        figures.reached = len(reached)
        split_duplicates = plan.rows // 100 - figures.counts["duplicate"]
        figures.twice = sum(count - 1 for count in reached.values()) - split_duplicates
    return figures


def _results(stack: CampaignStack, campaign: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return result_lines(stack.objects, BUCKET, campaign["results"].removeprefix(f"oss://{BUCKET}/"))


def _audience(plan: Plan) -> str:
    lines = ["user_id,name"]
    for number in range(plan.rows):
        if number % 100 == 50:
            lines.append(f"user-{number - 1},Name")  # a duplicate of the previous row
        else:
            lines.append(",Name" if number % 100 == 99 else f"user-{number},Name")
    return "\n".join([*lines, ""])


def _kill(
    plan: Plan, stack: CampaignStack, chance: random.Random, figures: Figures, done: threading.Event
) -> None:
    """Kill workers, each when its share of the rows is done; the moment within a block is random."""
    while figures.killed < plan.kills and not done.wait(chance.uniform(0.05, 0.3)):
        due = plan.rows * (figures.killed + 0.5) / plan.kills
        with suppress(Exception):  # Redis is down, or the process has ended
            if stack.show(NAME)["counts"]["rows"] >= due and (processes := stack.host.processes):
                os.kill(chance.choice(processes), signal.SIGKILL)
                figures.killed += 1


def _measure(stack: CampaignStack, figures: Figures, done: threading.Event) -> None:
    """Record the workers' memory by the progress of the campaign."""
    while not done.wait(1.0):
        with suppress(Exception):  # Redis is down
            campaign = stack.show(NAME)
            tenth = min(9, 10 * campaign["bytesDone"] // campaign["bytes"])
            for process in stack.host.processes:
                kilobytes = Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0]
                figures.memory[tenth].append(int(kilobytes) / 1024)


def _steer(plan: Plan, stack: CampaignStack, redis: RedisServer) -> None:
    """Pause, resume, change the pace and restart Redis, each when its share of the rows is done."""
    steps: list[Any] = [_pause_and_resume] * plan.pauses
    if plan.restarts_redis:
        steps.insert(len(steps) // 2, _restart)
    for number, step in enumerate(steps, 1):
        deadline = time.monotonic() + plan.patience
        while (campaign := stack.show(NAME))["counts"]["rows"] < plan.rows * number / (len(steps) + 1):
            assert time.monotonic() < deadline, campaign
            if campaign["state"] == "done":
                return
            time.sleep(0.2)
        step(stack, redis, number)


def _pause_and_resume(stack: CampaignStack, _: RedisServer, number: int) -> None:
    stack.request("POST", f"/v1/campaigns/{NAME}/pause")
    time.sleep(1.0)
    stack.request("PATCH", f"/v1/campaigns/{NAME}", {"pace": 5000 * number})
    stack.request("POST", f"/v1/campaigns/{NAME}/resume")


def _restart(_: CampaignStack, redis: RedisServer, __: int) -> None:
    redis.stop()
    time.sleep(1.0)
    redis.start()


def _wait(plan: Plan, stack: CampaignStack) -> None:
    """Wait until the campaign is done; resume it when it is incomplete, as an operator would."""
    deadline = time.monotonic() + plan.patience
    while (campaign := stack.show(NAME))["state"] != "done":
        assert time.monotonic() < deadline, (campaign, stack.queue.counts, stack.lines[-10:])
        if campaign["state"] == "incomplete":
            stack.request("POST", f"/v1/campaigns/{NAME}/resume")
        time.sleep(0.2)


def main() -> int:
    """Perform a run, print its table and return 1 if a row was lost or a target was reached twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign_crash")
    parser.add_argument("--rows", type=int, default=Plan.rows)
    parser.add_argument("--kills", type=int, default=Plan.kills)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Plan(rows=options.rows, kills=options.kills), Path(folder))
    rows = figures.counts.pop("rows")
    print("| measure | value |\n|---|---:|")
    for name, number in (
        ("rows", rows),
        *figures.counts.items(),
        ("of the unknown, left by killed workers", figures.interrupted),
        ("requests", figures.requests),
        ("requests that a fault struck", figures.struck),
        ("workers killed", figures.killed),
        ("tasks", figures.tasks),
        ("tasks delivered twice", figures.duplicated),
        ("tasks given up", figures.failed),
        ("targets reached", figures.reached),
        ("targets reached more than once", figures.twice),
        ("worker's memory in the first tenth, MB, median", round(median(figures.memory[0]))),
        ("worker's memory in the last tenth, MB, median", round(median(figures.memory[9]))),
        ("seconds", round(figures.seconds)),
    ):
        print(f"| {name} | {number:,} |")
    return 0 if figures.twice == 0 and rows == sum(figures.counts.values()) == figures.rows else 1


if __name__ == "__main__":
    sys.exit(main())
