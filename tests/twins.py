"""A run of similar functions under faults and redeliveries, and the fate of each push.

Two timer functions and two event functions of two stages share a ledger. Their triggers and rules have the same
names, and they receive the same ticks and events, some of them twice. mPaaS and MNS fail now and then; instances
are killed between claim and settlement; the clocks of the stages differ by 15 s; some pushes expire on their way;
the retry queues contain entries of earlier and later versions; and the functions that read them run a later
version, whose records this version cannot read.

`python -m tests.twins` performs the full run and prints its table; a smaller run is among the tests.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis

from mpaas_local.account import Account
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.mns import MnsServer
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_push import PushMessage
from mpaas_push.targets import message_ids_of
from tests import crash
from tests.fork_server import start_forked
from tests.functions.http_stack import ROLE, message
from tests.functions.queue_stack import APP, read_letter
from tests.mns_responses import accepting
from tests.redis_server import RedisServer
from tests.servers import Exchange, Server, reply, reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from typing_extensions import Self

    from mpaas_local.eventbridge.streams import EventStream
    from mpaas_local.mns import MnsStore

__all__ = ["Figures", "Plan", "run"]

STAGES = {"dev": -7.5, "prod": 7.5}
"""Stages, and the seconds by which their clocks are ahead."""
TWINS = ("first", "second")
USERS = [f"user-{number:02}" for number in range(12)]
LATECOMER = "latecomer"
SHORT_SECONDS = 20
RULES = """
rules:
  - name: order
    match: {source: shop.orders}
    message:
      taskName: ${data.task}
      title: An order
      content: It is on its way.
      deliveryType: 3
      targets: ${data.users}
      expiredSeconds: 600
  - name: short
    match: {source: shop.orders}
    message:
      taskName: ${data.task}
      title: A code
      content: It is valid for some seconds.
      deliveryType: 3
      targets: ${data.latecomer}
      expiredSeconds: 20
"""
SKEW = """import time

_time = time.time
time.time = lambda: _time() + ({seconds})
"""
LATER_VERSION = """
import hashlib
from mpaas_push.ledger import redis_client

_script = redis_client.SCRIPT.replace("'^1 (", "'^[12] (").replace("'1 %s", "'2 %s")
redis_client.SCRIPT, redis_client.SHA = _script, hashlib.sha1(_script.encode()).hexdigest()
"""
"""A version that reads this version's records and writes its own."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of a run.

    Attributes:
        kinds: The kinds of functions that send; each has a twin, in each stage.
        events: The number of ticks or events of each kind; all functions of the kind receive each of them.
        foreign: The number of messages by other versions in each retry queue.
        faults: The share of requests to mPaaS that fail.
        mns_faults: The share of calls of MNS that fail.
        duplicates: The share of events, and of batches of the retry queue, that are delivered twice.
        kills: The maximum number of instances killed, one at a time.
        pause: The average time between two kills (seconds).
        timeout: The functions' timeout (seconds); requests that are still claimed after it are unknown.
        seed: The seed of all random choices; the timing stays random.
    """

    kinds: tuple[str, ...] = ("timer", "event")
    events: int = 150
    foreign: int = 50
    faults: float = 0.2
    mns_faults: float = 0.2
    duplicates: float = 0.1
    kills: int = 40
    pause: float = 0.8
    timeout: int = 10
    seed: int = 1


@dataclass(kw_only=True)
class Figures:
    """The figures of a run. A push is what one function owes one target for one event.

    Attributes:
        functions: Functions that send or retry.
        pushes: Pushes owed.
        requests: Requests that reached mPaaS.
        struck: Requests that a fault struck.
        mns_calls: Calls of MNS.
        mns_failed: Calls of MNS that failed completely or in part.
        killed: Instances killed.
        accepted: Pushes accepted.
        unknown: Pushes that are dead letters with the reason `unknown`.
        expired: Pushes that are dead letters because they expired on their way.
        doubled: Pushes accepted more than once.
        missing: Pushes that are neither accepted nor dead letters.
        wrong_letters: Dead letters that do not say what happened.
        records: Records of the ledger by version.
        seconds: The duration of the run.
    """

    functions: int = 0
    pushes: int = 0
    requests: int = 0
    struck: int = 0
    mns_calls: int = 0
    mns_failed: int = 0
    killed: int = 0
    accepted: int = 0
    unknown: int = 0
    expired: int = 0
    doubled: int = 0
    missing: list[str] = field(default_factory=list)
    wrong_letters: list[str] = field(default_factory=list)
    records: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run(plan: Plan) -> Figures:
    """Perform a run and return its figures.

    Raises:
        TimeoutError: messages remain in the queues after ten minutes.
    """
    began = time.monotonic()
    with _Stages(plan) as stages:
        figures = Figures(functions=len(stages.hosts))
        done = threading.Event()
        killer = threading.Thread(target=_kill, args=(plan, stages.hosts, figures, done))
        killer.start()
        try:
            for number in range(plan.events):
                for kind in plan.kinds:
                    event = json.dumps(_event(kind, number)).encode()
                    for sender in stages.senders[kind]:
                        sender.accept(event)
            for kind in plan.kinds:
                for sender in stages.senders[kind]:
                    sender.finish(crash.PATIENCE_SECONDS)
            crash.wait_until_done(lambda: _count_remaining(stages.mns.store))
        finally:
            done.set()
            killer.join()
        for stream in stages.streams:
            stream.close(plan.timeout)
        figures.seconds = time.monotonic() - began
        with redis.Redis.from_url(stages.ledger.url) as client:
            keys = client.keys("mpaas-push:request:*")
            figures.records = Counter(text.decode()[0] for text in client.mget(keys) if text)
        figures.mns_calls, figures.mns_failed = stages.faulty_mns.calls, stages.faulty_mns.failed
        _judge(plan, figures, stages)
    return figures


class _Stages:
    """The functions of both stages, the queues and the services around them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.hosts: list[FunctionHost] = []
        self.senders: dict[str, list[AsyncQueue]] = defaultdict(list)
        self.streams: list[EventStream] = []

    def __enter__(self) -> Self:
        keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
        with ExitStack() as started:
            self.sandbox = started.enter_context(Sandbox(access_keys=keys))
            for index, (share, fault) in enumerate(crash.FAULTS):
                self.sandbox.order(**fault, rate=share * self._plan.faults, seed=self._plan.seed + index)
            self.mns = started.enter_context(MnsServer(access_keys=keys))
            self.faulty_mns = FaultyMns(self.mns.endpoint, self._plan)
            self._proxy = started.enter_context(Server(self.faulty_mns))
            self.ledger = started.enter_context(RedisServer())
            self._folders = Path(started.enter_context(tempfile.TemporaryDirectory()))
            for stage in STAGES:
                self._start(stage, started)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def _start(self, stage: str, started: ExitStack) -> None:
        plan, store = self._plan, self.mns.store
        store.create_queue(f"dead-{stage}")
        store.create_queue(f"retry-{stage}")
        for entry in _foreign(plan, stage):
            store.send(f"retry-{stage}", base64.b64encode(entry.encode()).decode())
        for kind in plan.kinds:
            for twin in TWINS:
                host = self._host(stage, kind, f"{kind}-{twin}", started)
                sender = AsyncQueue(
                    f"{kind}-{twin}-{stage}",
                    host.invoke,
                    config=AsyncConfig(max_retries=8),
                    concurrency=2,
                    retry_seconds=0.2,
                    duplicates=plan.duplicates,
                    seed=plan.seed + len(self.hosts),
                )
                self.senders[kind].append(started.enter_context(sender))
        host = self._host(stage, "queue", "queue", started)
        consumer = crash.Plan(redeliveries=plan.duplicates, seed=plan.seed, batch=25, timeout=plan.timeout)
        self.streams.append(
            started.enter_context(crash.consumer_of(consumer, store, host, f"retry-{stage}", len(self.hosts)))
        )

    def _host(self, stage: str, kind: str, name: str, started: ExitStack) -> FunctionHost:
        function = Function(
            name=f"{name}-{stage}",
            folder=_folder(self._folders / f"{name}-{stage}", kind, STAGES[stage]),
            handler="skewed.handler",
            layers=(crash.ROOT / "shared",),
            environment={
                "MPAAS_ENDPOINT": self.sandbox.url,
                "MPAAS_APP_ID": APP["appId"],
                "MPAAS_WORKSPACE_ID": APP["workspaceId"],
                "PUSH_MNS_ENDPOINT": self._proxy.url,
                "PUSH_RETRY_QUEUE": f"retry-{stage}",
                "PUSH_DEAD_LETTER_QUEUE": f"dead-{stage}",
                "PUSH_LEDGER_URL": self.ledger.url,
                "PUSH_LEDGER_IF_DOWN": "fail",  # unreadable records are left to a function that can read them
                "PUSH_READ_TIMEOUT_SECONDS": str(crash.READ_TIMEOUT_SECONDS),
                "PUSH_LOG_LEVEL": "ERROR",
            },
            timeout=self._plan.timeout,
        )
        host = started.enter_context(
            FunctionHost(function, account=Account(credentials=ROLE), start=start_forked)
        )
        self.hosts.append(host)
        return host


class FaultyMns:
    """A proxy of MNS: some calls fail before they arrive, some afterwards, some in part."""

    def __init__(self, endpoint: str, plan: Plan) -> None:
        self._address = urlsplit(endpoint).netloc
        self._share = plan.mns_faults
        self._random = random.Random(plan.seed)
        self.calls = 0
        self.failed = 0

    def __call__(self, exchange: Exchange) -> bool:
        """Respond to a call."""
        self.calls += 1
        fate = self._random.random() / self._share if self._share else 1.0
        self.failed += fate < 1.0
        if fate < 0.25:
            return reset(exchange)
        if fate < 0.5:
            return reply(b"<html>no</html>", 503)(exchange)
        respond = self._forward(exchange)
        if fate < 0.75:
            return reset(exchange)
        if fate < 1.0:
            return accepting({0})(exchange)
        return respond(exchange)

    def _forward(self, exchange: Exchange) -> Callable[[Exchange], bool]:
        request = exchange.request
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            headers = {**request.headers, "host": self._address}
            connection.request(request.method, request.path, request.body, headers)
            response = connection.getresponse()
            return reply(response.read(), response.status)
        finally:
            connection.close()


def _folder(folder: Path, kind: str, skew: float) -> Path:
    """Return a copy of a function with a skewed clock and, by kind, with rules or the ledger of a later version."""
    shutil.copytree(crash.ROOT / "functions" / f"{kind}_push", folder)
    later = LATER_VERSION if kind == "queue" else ""
    (folder / "skewed.py").write_text(f"{SKEW.format(seconds=skew)}{later}\nfrom index import handler\n")
    if kind == "event":
        (folder / "rules.yaml").write_text(RULES)
    return folder


def _event(kind: str, number: int) -> dict[str, Any]:
    """Return an event for all functions of a kind; the push to the latecomer is about to expire."""
    task = f"{kind}-{number}"
    now = datetime.fromtimestamp(time.time() - SHORT_SECONDS + 3, timezone.utc)
    if kind == "timer":
        messages = [
            message(taskName=task, targets=USERS),
            message(taskName=task, targets=[LATECOMER], expiredSeconds=SHORT_SECONDS),
        ]
        # Real ticks have whole seconds; fractions distinguish the many ticks of a run.
        tick = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"triggerTime": tick, "triggerName": "t", "payload": json.dumps({"messages": messages})}
    return {
        "id": str(number),
        "source": "shop.orders",
        "specversion": "1.0",
        "type": "order:Shipped",
        "time": now.isoformat(),
        "data": {"task": task, "users": USERS, "latecomer": LATECOMER},
    }


def _foreign(plan: Plan, stage: str) -> Iterator[str]:
    """Yield entries of the previous version, unpacked, and of a possible later version, packed."""
    for number in range(plan.foreign):
        body = message(taskName=f"foreign-{stage}-{number}", targets=USERS[:1])
        retry: dict[str, Any] = {"attempt": 2, "scope": f"{stage}:{number}"}
        if number % 2 == 0:
            yield json.dumps({"pushRetry": retry, "message": body})
            continue
        retry |= {"firstMoment": time.time(), "importance": "high"}
        envelope = {"pushRetry": retry, "message": body, "trace": "x"}
        yield json.dumps({"pushRetry": {"count": 1, "version": 9}, "messages": [envelope]})


def _kill(plan: Plan, hosts: Sequence[FunctionHost], figures: Figures, done: threading.Event) -> None:
    """Kill one instance at a time at random moments until the run is done."""
    chance = random.Random(plan.seed)
    while figures.killed < plan.kills and not done.wait(chance.uniform(0.2, 1.8) * plan.pause):
        if processes := chance.choice(hosts).processes:
            with suppress(ProcessLookupError):
                os.kill(chance.choice(processes), signal.SIGKILL)
                figures.killed += 1


def _count_remaining(store: MnsStore) -> int:
    return sum(crash.messages_in(store.queue(f"retry-{stage}")) for stage in STAGES)


_PushKey: TypeAlias = "tuple[str, str]"
"""The task name and the target of a push."""


def _judge(plan: Plan, figures: Figures, stages: _Stages) -> None:
    """Find the fate of each push by its message id."""
    accepted = _accepted(figures, stages.sandbox)
    unknown: dict[_PushKey, set[str]] = defaultdict(set)
    expired: dict[_PushKey, set[str]] = defaultdict(set)
    for letter in _letters(stages.mns.store):
        sent = PushMessage.parse(letter["message"])
        codes = {outcome["resultCode"] for outcome in letter["outcomes"]}
        for target, message_id in message_ids_of(sent, letter["scope"]).items():
            key = (sent.task_name, target)
            is_accepted = message_id in accepted[key]
            if letter["reason"] == "unknown":
                unknown[key].add(message_id)
            elif (letter["reason"], codes, target, is_accepted) == ("refused", {"Expired"}, LATECOMER, False):
                expired[key].add(message_id)
            else:
                figures.wrong_letters.append(f"{key}: {letter['reason']}, {codes}, accepted: {is_accepted}")
    for key, senders in _expected_pushes(plan):
        acceptances = accepted[key]
        figures.pushes += senders
        figures.accepted += len(acceptances)
        figures.doubled += sum(count > 1 for count in acceptances.values())
        figures.unknown += len(unknown[key] - acceptances.keys())
        figures.expired += len(expired[key])
        ids = acceptances.keys() | unknown[key] | expired[key]
        if len(ids) != senders:
            figures.missing.append(f"{key}: {len(ids)} of {senders}")


def _expected_pushes(plan: Plan) -> Iterator[tuple[_PushKey, int]]:
    """Yield the key of each expected push and the number of functions that owe it."""
    for kind in plan.kinds:
        for number in range(plan.events):
            for target in (*USERS, LATECOMER):
                yield (f"{kind}-{number}", target), len(STAGES) * len(TWINS)
    for stage in STAGES:
        for number in range(plan.foreign):
            yield (f"foreign-{stage}-{number}", USERS[0]), 1


def _accepted(figures: Figures, sandbox: Sandbox) -> dict[_PushKey, Counter[str]]:
    """Count how often mPaaS accepted each message id."""
    accepted: dict[_PushKey, Counter[str]] = defaultdict(Counter)
    for entry in crash.pages(lambda offset: sandbox.inbox(offset=offset)):
        figures.requests += 1
        if entry["outcome"] == "accepted":
            for target in entry["targets"]:
                accepted[entry["parameters"]["TaskName"], target["target"]][target["messageId"]] += 1
    figures.struck = sum(order["struck"] for order in sandbox.faults())
    return accepted


def _letters(store: MnsStore) -> Iterator[dict[str, Any]]:
    for stage in STAGES:
        for letter in crash.pages(partial(_page, store, f"dead-{stage}")):
            yield read_letter(letter.body)


def _page(store: MnsStore, queue: str, offset: int) -> list[Any]:
    return list(store.messages(queue, offset=offset))


def table(figures: Mapping[str, Figures]) -> str:
    """Return the figures of runs as a Markdown table."""
    rows: list[tuple[str, Callable[[Figures], object]]] = [
        ("functions", lambda f: f.functions),
        ("pushes owed", lambda f: f"{f.pushes:,}"),
        ("requests that reached mPaaS", lambda f: f"{f.requests:,}"),
        ("of these struck by a fault", lambda f: f"{f.struck:,} ({f.struck / f.requests:.0%})"),
        ("calls of MNS / of these failed", lambda f: f"{f.mns_calls:,} / {f.mns_failed:,}"),
        ("instances killed", lambda f: f.killed),
        ("**pushes accepted**", lambda f: f"**{f.accepted:,}**"),
        ("pushes that are dead letters as `unknown` and were not accepted", lambda f: f"{f.unknown:,}"),
        ("pushes that are dead letters as `Expired`", lambda f: f"{f.expired:,}"),
        ("**pushes that are missing**", lambda f: f"**{len(f.missing):,}**"),
        ("**pushes accepted twice**", lambda f: f"**{f.doubled:,}**"),
        ("**dead letters that are wrong**", lambda f: f"**{len(f.wrong_letters):,}**"),
        ("records of this version / of a later one", lambda f: f"{f.records['1']:,} / {f.records['2']:,}"),
        ("seconds", lambda f: f"{f.seconds:.0f}"),
    ]
    return crash.markdown_table(figures, rows)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.twins", description=__doc__)
    parser.add_argument("--events", type=int, default=Plan.events)
    parser.add_argument("--kills", type=int, default=Plan.kills)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args()
    plan = Plan(events=options.events, kills=options.kills, seed=options.seed)
    figures = run(plan)
    print(figures, file=sys.stderr)
    print(table({"with the ledger": figures}))
    return 1 if figures.missing or figures.doubled or figures.wrong_letters else 0


if __name__ == "__main__":
    sys.exit(_main())
