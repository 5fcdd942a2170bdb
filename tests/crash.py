"""A run of the queue function under faults, and the fate of each message.

Queue messages, some of them invalid, are delivered in batches, some batches more than once. mPaaS throttles, fails,
delays and closes connections; instances are killed at random moments. When the queues are empty, each message must
be accounted for, and the sandbox knows how often each target was reached.

`python -m tests.crash` performs the full run and prints its table; a smaller run is among the tests.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mpaas_local.account import Account
from mpaas_local.eventbridge.sources import MnsSource
from mpaas_local.eventbridge.stream_config import stream_of
from mpaas_local.eventbridge.streams import EventStream
from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.mns import MnsServer
from mpaas_local.mpaas import AccessKey, Sandbox
from project.descriptor import read_functions
from project.triggers import EventBridge
from tests.clocks import FastClock
from tests.descriptors import PROJECT
from tests.fork_server import start_forked
from tests.functions.http_stack import ROLE, message
from tests.functions.queue_stack import read_letter
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from mpaas_local.fc.call import Accept
    from mpaas_local.mns import MnsStore
    from mpaas_local.mns.model import Queue

__all__ = [
    "Figures",
    "Plan",
    "consumer_of",
    "markdown_table",
    "messages_in",
    "pages",
    "run",
    "wait_until_done",
]

Run = TypeVar("Run")

ROOT = Path(__file__).resolve().parent.parent
BAD_BODIES: tuple[Callable[[dict[str, Any]], str], ...] = (
    lambda good: json.dumps(good)[:-1],
    lambda good: json.dumps(good | {"titel": "x"}),
    lambda good: json.dumps(good | {"deliveryType": 4}),
    lambda good: json.dumps({name: value for name, value in good.items() if name != "content"}),
    lambda good: json.dumps([good]),
)
FAULTS: tuple[tuple[float, dict[str, Any]], ...] = (
    (0.30, {"kind": "throttling"}),
    (0.10, {"kind": "result", "code": "8011"}),
    (0.10, {"kind": "internalError"}),
    (0.10, {"kind": "serviceUnavailable"}),
    (0.05, {"kind": "result", "code": "9000"}),
    (0.10, {"kind": "resetBeforeRead"}),
    (0.10, {"kind": "resetAfterRead"}),
    (0.05, {"kind": "cutBody"}),
    (0.05, {"kind": "delay", "milliseconds": 100}),
    (0.05, {"kind": "delay", "milliseconds": 3000}),
)
"""The share of each fault among all faults; the last delay is longer than the read timeout."""
READ_TIMEOUT_SECONDS = 1.5
PATIENCE_SECONDS = 600
NAME = re.compile(r"(?:good|bad)-[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of a run.

    Attributes:
        messages: The number of queue messages.
        bad: The share of messages that can never be sent.
        faults: The share of requests to mPaaS that fail.
        redeliveries: The share of batches that are redelivered although they succeeded.
        kills: The maximum number of instances killed, one at a time.
        pause: The average time between two kills (seconds).
        on_unknown: `PUSH_ON_UNKNOWN`.
        ledger: Whether there is a ledger.
        streams: The number of concurrent batches of each queue.
        batch: The number of messages in a batch.
        timeout: The function's timeout (seconds); requests that are still claimed after it are unknown.
        asynchronous: Whether the streams call asynchronously, with as many concurrent batches as instances.
        queue_speed: Seconds of the queues' clock per real second; below four, a queue holds a batch for longer
            than the function's timeout.
        seed: The seed of all random choices; the timing stays random.
    """

    messages: int = 5_000
    bad: float = 0.05
    faults: float = 0.20
    redeliveries: float = 0.10
    kills: int = 60
    pause: float = 0.8
    on_unknown: str = "report"
    ledger: bool = True
    streams: int = 3
    batch: int = 100
    timeout: int = 10
    asynchronous: bool = False
    queue_speed: float = 1.0
    seed: int = 1


@dataclass(kw_only=True)
class Figures:
    """The figures of a run.

    Attributes:
        good: Messages that can be sent.
        bad: Messages that can never be sent.
        requests: Requests that reached mPaaS.
        struck: Requests that a fault struck.
        killed: Instances killed.
        batches: Batches that succeeded.
        failed: Batches that failed with their instance and were redelivered.
        redelivered: Messages redelivered after their batch had succeeded.
        retried: Entries delivered from the retry queue, with up to 20 messages each.
        letters: Dead letters by reason; one message may have several.
        accepted: Good messages whose targets were all reached.
        unknown: Good messages that are dead letters with the reason `unknown`.
        twice: Targets that were reached more than once.
        twice_unasked: Targets reached more than once although the log does not say that they were sent again
            after an unknown outcome.
        bad_letters: Bad messages that are dead letters with their reason.
        missing: Messages that are neither accepted nor dead letters.
        seconds: The duration of the run.
    """

    good: int = 0
    bad: int = 0
    requests: int = 0
    struck: int = 0
    killed: int = 0
    batches: int = 0
    failed: int = 0
    redelivered: int = 0
    retried: int = 0
    letters: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    unknown: int = 0
    twice: int = 0
    twice_unasked: int = 0
    bad_letters: int = 0
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run(plan: Plan) -> Figures:
    """Perform a run and return its figures.

    Raises:
        TimeoutError: messages remain in the queues after ten minutes.
    """
    figures = Figures()
    began = time.monotonic()
    chance = random.Random(plan.seed)
    resent_ids: set[str] = set()
    messages = dict(_messages(plan, chance))
    with ExitStack() as started:
        keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
        sandbox = started.enter_context(Sandbox(access_keys=keys))
        mns = started.enter_context(MnsServer(access_keys=keys, clock=FastClock(plan.queue_speed).time))
        ledger = started.enter_context(RedisServer())
        for name in ("pushes", "retry", "dead"):
            mns.store.create_queue(name)
        for index, (share, fault) in enumerate(FAULTS):
            sandbox.order(**fault, rate=share * plan.faults, seed=plan.seed + index)
        for body in messages.values():
            mns.store.send("pushes", base64.b64encode(body.encode()).decode())
        host = started.enter_context(_host(plan, sandbox, mns, ledger, resent_ids))
        calls = AsyncQueue("queue_push", host.invoke, retry_seconds=0.2, duplicates=plan.redeliveries)
        started.enter_context(calls)
        queues = ("pushes", "retry") * plan.streams
        streams = [
            started.enter_context(consumer_of(plan, mns.store, host, queue, number, calls.accept))
            for number, queue in enumerate(queues)
        ]

        def remaining() -> int:
            return _count_remaining(mns.store) + calls.counts["pending"]

        _kill_instances(plan, host, remaining, chance, figures)
        wait_until_done(remaining)
        figures.batches += calls.counts["succeeded"]
        figures.failed += calls.counts["retried"]
        figures.redelivered += calls.counts["duplicated"] * plan.batch
        for stream, queue in zip(streams, queues, strict=True):
            stream.close(plan.timeout)
            figures.retried += stream.counts["received"] if queue == "retry" else 0
            figures.batches += 0 if plan.asynchronous else stream.counts["batches"]
            figures.failed += stream.counts["failures"]
            figures.redelivered += stream.counts["redelivered"]
        figures.seconds = time.monotonic() - began
        _judge(figures, messages, sandbox, mns.store, resent_ids)
    return figures


def _messages(plan: Plan, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield names and bodies; the name is part of the message and of its targets' names."""
    for number in range(plan.messages):
        kind = "bad" if chance.random() < plan.bad else "good"
        name = f"{kind}-{number}"
        targets = chance.choices((1, 3, 10, 25), (80, 12, 5, 3))[0]
        good = message(taskName=name, targets=[f"{name}-{target}" for target in range(targets)])
        yield name, json.dumps(good) if kind == "good" else chance.choice(BAD_BODIES)(good)


def _host(
    plan: Plan, sandbox: Sandbox, mns: MnsServer, ledger: RedisServer, resent_ids: set[str]
) -> FunctionHost:
    """Return a host of the function; message ids that its log reports as sent again are added to `resent_ids`."""
    function = Function(
        name="queue_push",
        folder=ROOT / "functions" / "queue_push",
        layers=(ROOT / "shared",),
        environment={
            "MPAAS_ENDPOINT": sandbox.url,
            "MPAAS_APP_ID": "ONEX1",
            "MPAAS_WORKSPACE_ID": "default",
            "PUSH_MNS_ENDPOINT": mns.endpoint,
            "PUSH_RETRY_QUEUE": "retry",
            "PUSH_DEAD_LETTER_QUEUE": "dead",
            "PUSH_LEDGER_URL": ledger.url if plan.ledger else "",
            "PUSH_ON_UNKNOWN": plan.on_unknown,
            "PUSH_READ_TIMEOUT_SECONDS": str(READ_TIMEOUT_SECONDS),
            "PUSH_LOG_LEVEL": "WARNING",
        },
        timeout=plan.timeout,
    )

    def on_log(_: str, __: str, line: str) -> None:
        if '"sent again after an unknown outcome"' in line:
            resent_ids.update(json.loads(line)["message_ids"])

    return FunctionHost(function, account=Account(credentials=ROLE), on_log=on_log, start=start_forked)


def consumer_of(
    plan: Plan, store: MnsStore, host: FunctionHost, queue: str, number: int, accept: Accept | None = None
) -> EventStream:
    """Return a consumer of a queue, configured like the descriptor's trigger."""
    triggers = read_functions(PROJECT / "s.yaml", {})["queue_push"].triggers
    trigger = next(trigger for trigger in triggers if isinstance(trigger, EventBridge))
    config = replace(
        stream_of(trigger, "queue_push"),
        count=plan.batch,
        seconds=0,
        dead_letters=None,
        asynchronous=plan.asynchronous,
    )
    return EventStream(
        config,
        MnsSource(store, queue),
        invoke=host.invoke,
        accept=accept,
        hold_seconds=plan.timeout + 30,
        redeliveries=0.0 if plan.asynchronous else plan.redeliveries,
        seed=plan.seed + number,
    )


def _kill_instances(
    plan: Plan, host: FunctionHost, remaining: Callable[[], int], chance: random.Random, figures: Figures
) -> None:
    """Kill one instance at a time at random moments while messages remain."""
    while figures.killed < plan.kills and remaining():
        time.sleep(chance.uniform(0.2, 1.8) * plan.pause)
        if processes := host.processes:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(processes), signal.SIGKILL)
                figures.killed += 1


def wait_until_done(remaining: Callable[[], int]) -> None:
    """Wait until no messages remain.

    Raises:
        TimeoutError: some remain after ten minutes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count := remaining():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} messages remain in the queues")
        time.sleep(0.2)


def _count_remaining(store: MnsStore) -> int:
    return sum(messages_in(store.queue(name)) for name in ("pushes", "retry"))


def messages_in(queue: Queue) -> int:
    """Return the number of messages in a queue: active, inactive and delayed."""
    return queue.active_messages + queue.inactive_messages + queue.delay_messages


def _judge(
    figures: Figures,
    messages: Mapping[str, str],
    sandbox: Sandbox,
    store: MnsStore,
    resent_ids: AbstractSet[str],
) -> None:
    """Find the fate of each message and how often its targets were reached."""
    reached: Counter[str] = Counter()
    ids: dict[str, set[str]] = defaultdict(set)
    for entry in pages(lambda offset: sandbox.inbox(offset=offset)):
        figures.requests += 1
        if entry["outcome"] == "accepted":
            for target in entry["targets"]:
                reached[target["target"]] += 1
                ids[target["target"]].add(target["messageId"])
    figures.struck = sum(order["struck"] for order in sandbox.faults())
    reasons: dict[str, set[str]] = defaultdict(set)
    for entry in pages(lambda offset: store.messages("dead", offset=offset)):
        letter = read_letter(entry.body)
        reasons[NAME.findall(letter["body"])[0]].add(letter["reason"])
        figures.letters[letter["reason"]] = figures.letters.get(letter["reason"], 0) + 1
    for name, body in messages.items():
        if name.startswith("bad"):
            figures.bad += 1
            figures.bad_letters += reasons[name] == {"refused"}
            continue
        figures.good += 1
        if all(reached[target] for target in json.loads(body)["targets"]) and not reasons[name]:
            figures.accepted += 1
        elif reasons[name] == {"unknown"}:
            figures.unknown += 1
        else:
            figures.missing.append(name)
    twice = [target for target, count in reached.items() if count > 1]
    figures.twice = len(twice)
    figures.twice_unasked = sum(len(ids[target]) > 1 or not ids[target] <= resent_ids for target in twice)


def pages(page: Callable[[int], list[Any]]) -> Iterator[Any]:
    """Yield the entries of all pages."""
    offset = 0
    while entries := page(offset):
        yield from entries
        offset += len(entries)


def _table(runs: Mapping[str, Figures]) -> str:
    """Return the figures of several runs as a Markdown table."""
    rows: list[tuple[str, Callable[[Figures], object]]] = [
        ("messages, good and bad", lambda f: f"{f.good:,} + {f.bad:,}"),
        ("requests that reached mPaaS", lambda f: f"{f.requests:,}"),
        ("of these struck by a fault", lambda f: f"{f.struck:,} ({f.struck / f.requests:.0%})"),
        ("instances killed", lambda f: f.killed),
        (
            "batches that succeeded / that failed and were redelivered",
            lambda f: f"{f.batches:,} / {f.failed:,}",
        ),
        ("messages redelivered after their batch had succeeded", lambda f: f"{f.redelivered:,}"),
        ("entries delivered from the retry queue, with up to 20 messages each", lambda f: f"{f.retried:,}"),
        ("dead letters by reason", lambda f: ", ".join(f"{n:,} {reason}" for reason, n in f.letters.items())),
        ("**good messages of which every target was reached**", lambda f: f"**{f.accepted:,}**"),
        ("good messages that are dead letters as `unknown`", lambda f: f"{f.unknown:,}"),
        ("**bad messages that are dead letters with their reason**", lambda f: f"**{f.bad_letters:,}**"),
        ("**messages that are missing**", lambda f: f"**{len(f.missing):,}**"),
        ("targets reached more than once", lambda f: f"{f.twice:,}"),
        ("**of these not after an `unknown` outcome**", lambda f: f"**{f.twice_unasked:,}**"),
        ("seconds", lambda f: f"{f.seconds:.0f}"),
    ]
    return markdown_table(runs, rows)


def markdown_table(runs: Mapping[str, Run], rows: Iterable[tuple[str, Callable[[Run], object]]]) -> str:
    """Return a Markdown table with a column for each run and a row for each figure."""
    lines = ["| | " + " | ".join(runs) + " |", "|---|" + "---:|" * len(runs)]
    for title, figure in rows:
        lines.append(f"| {title} | " + " | ".join(str(figure(run)) for run in runs.values()) + " |")
    return "\n".join(lines)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--messages", type=int, default=Plan.messages)
    parser.add_argument("--kills", type=int, default=Plan.kills)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args()
    plan = Plan(messages=options.messages, kills=options.kills, seed=options.seed)
    plans = {
        "`report`": plan,
        "`retry`": replace(plan, on_unknown="retry"),
        # Without a ledger, a killed batch starts from scratch and would hardly ever finish between two kills.
        "`report`, no ledger": replace(plan, ledger=False, pause=4 * plan.pause),
    }
    runs = {}
    for name, variant in plans.items():
        runs[name] = run(variant)
        print(f"{name}: {runs[name]}", file=sys.stderr)
    print(_table(runs))
    complete = not any(figures.missing or figures.bad_letters < figures.bad for figures in runs.values())
    return 0 if complete and not any(figures.twice_unasked for figures in [*runs.values()][:2]) else 1


if __name__ == "__main__":
    sys.exit(_main())
