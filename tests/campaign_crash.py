"""A campaign among faults, kills, redeliveries, pauses and a restart of Redis: `python -m tests.campaign_crash`.

Each row must come to exactly one end, and nobody may be reached twice.
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
"""Share of each fault among all."""
NAME = "soak"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        rows: Of the audience, one in a hundred of them broken and one in a hundred a duplicate.
        faults: Share of the requests to mPaaS that go wrong.
        kills: Workers that are killed, one at a time, evenly over the rows.
        duplicates: Share of the tasks that are delivered twice.
        workers: Instances at once.
        pauses: How often it is paused and resumed, each time at another pace.
        restarts_redis: Whether Redis is stopped once, and started with its data.
        timeout: Of the function, in seconds.
        patience: Seconds after which a run counts as stuck.
        seed: Of all chance, but not of the moments.
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
    """What became of it.

    Attributes:
        rows: Rows that are in the file.
        counts: As the campaign counts them.
        state: Of the campaign at its end.
        requests: Requests of the campaign.
        struck: Requests that a fault was ordered for.
        killed: Workers killed.
        tasks: Asynchronous calls that were accepted.
        duplicated: Of these, delivered twice.
        failed: Given up by Function Compute.
        interrupted: Of the `unknown`, rows that a killed worker had under way; of the others the fault says so.
        reached: Targets that mPaaS took a push for.
        twice: Of these, more often than they are in the file: twice there is a duplicate, unless the border of
            two pieces lies between.
        memory: Of workers, in MB, once a second, by the tenth of the campaign in which they were seen.
        seconds: How long it took.
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
    """Make a run and return its figures.

    Args:
        plan: What it does.
        folder: An empty one.
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
        over = threading.Event()
        helpers = [
            threading.Thread(target=_kill, args=(plan, stack, chance, figures, over)),
            threading.Thread(target=_measure, args=(stack, figures, over)),
        ]
        for helper in helpers:
            helper.start()
        try:
            _steer(plan, stack, redis)
            _wait(plan, stack)
        finally:
            over.set()
            for helper in helpers:
                helper.join()
        shown = stack.show(NAME)
        figures.seconds = time.monotonic() - began
        figures.counts, figures.state = shown["counts"], shown["state"]
        figures.requests = shown["requests"]
        figures.struck = sum(order["struck"] for order in stack.sandbox.faults())
        counts = stack.queue.counts
        figures.tasks, figures.duplicated = counts["accepted"], counts["duplicated"]
        figures.failed = counts["failed"]
        figures.interrupted = sum(line["resultCode"] == "Interrupted" for line in _results(stack, shown))
        reached = stack.reached()
        figures.reached = len(reached)
        apart = plan.rows // 100 - figures.counts["duplicate"]
        figures.twice = sum(times - 1 for times in reached.values()) - apart
    return figures


def _results(stack: CampaignStack, shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return result_lines(stack.objects, BUCKET, shown["results"].removeprefix(f"oss://{BUCKET}/"))


def _audience(plan: Plan) -> str:
    lines = ["user_id,name"]
    for number in range(plan.rows):
        if number % 100 == 50:
            lines.append(f"user-{number - 1},Name")  # the row before once more
        else:
            lines.append(",Name" if number % 100 == 99 else f"user-{number},Name")
    return "\n".join([*lines, ""])


def _kill(
    plan: Plan, stack: CampaignStack, chance: random.Random, figures: Figures, over: threading.Event
) -> None:
    """Kill workers, each at its share of the way; the moment within a block is left to chance."""
    while figures.killed < plan.kills and not over.wait(chance.uniform(0.05, 0.3)):
        due = plan.rows * (figures.killed + 0.5) / plan.kills
        with suppress(Exception):  # while Redis is away, or the process has ended
            if stack.show(NAME)["counts"]["rows"] >= due and (processes := stack.host.processes):
                os.kill(chance.choice(processes), signal.SIGKILL)
                figures.killed += 1


def _measure(stack: CampaignStack, figures: Figures, over: threading.Event) -> None:
    """Note the workers' memory by how far the campaign is."""
    while not over.wait(1.0):
        with suppress(Exception):  # while Redis is away
            shown = stack.show(NAME)
            tenth = min(9, 10 * shown["bytesDone"] // shown["bytes"])
            for process in stack.host.processes:
                kilobytes = Path(f"/proc/{process}/status").read_text().partition("VmRSS:")[2].split()[0]
                figures.memory[tenth].append(int(kilobytes) / 1024)


def _steer(plan: Plan, stack: CampaignStack, redis: RedisServer) -> None:
    """Pause, resume, change the pace, restart Redis, each at its share of the way."""
    steps: list[Any] = [_pause_and_resume] * plan.pauses
    if plan.restarts_redis:
        steps.insert(len(steps) // 2, _restart)
    for number, step in enumerate(steps, 1):
        deadline = time.monotonic() + plan.patience
        while (shown := stack.show(NAME))["counts"]["rows"] < plan.rows * number / (len(steps) + 1):
            assert time.monotonic() < deadline, shown
            if shown["state"] == "done":
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
    """Wait for the end; resume what is incomplete, as an operator would."""
    deadline = time.monotonic() + plan.patience
    while (shown := stack.show(NAME))["state"] != "done":
        assert time.monotonic() < deadline, (shown, stack.queue.counts, stack.lines[-10:])
        if shown["state"] == "incomplete":
            stack.request("POST", f"/v1/campaigns/{NAME}/resume")
        time.sleep(0.2)


def main() -> int:
    """Make a run, print its table, and return 1 if a row is lost or somebody was reached twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign_crash")
    parser.add_argument("--rows", type=int, default=Plan.rows)
    parser.add_argument("--kills", type=int, default=Plan.kills)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Plan(rows=options.rows, kills=options.kills), Path(folder))
    rows = figures.counts.pop("rows")
    print("| | |\n|---|---:|")
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
