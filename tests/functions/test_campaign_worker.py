"""A worker in this process, so that a test controls when its campaign must stop sending."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push import Invocation, PushClient, Settings
from mpaas_push.campaign.control import Controls
from mpaas_push.campaign.model import Window
from mpaas_push.campaign.store import NEAR_SECONDS, CampaignStore
from mpaas_push.campaign.tasks import PieceTask, PlanTask
from mpaas_push.campaign.worker import work_on
from mpaas_push.credentials import Credentials
from mpaas_push.settings import IfDown
from tests.functions.campaign_stack import CampaignStack, document
from tests.functions.http_stack import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, running_redis: RedisServer) -> Iterator[CampaignStack]:
    with CampaignStack(folder=tmp_path_factory.mktemp("worker"), redis_url=running_redis.url) as stack:
        yield stack


@dataclass
class Queue:
    """Keeps the tasks that are handed over."""

    tasks: list[tuple[Any, float]] = field(default_factory=list)

    def submit(self, task: PlanTask | PieceTask, *, delay: float = 0.0) -> None:
        self.tasks.append((task, delay))


class Shift:
    """A window that closes some seconds after a block has begun, and opens again on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.seconds = seconds
        self.closes = math.inf
        monkeypatch.setattr(Window, "seconds_until_open", lambda _, now: 0.0 if now < self.closes else 3600.0)
        monkeypatch.setattr(Window, "seconds_until_closed", self._seconds_until_closed)

    def _seconds_until_closed(self, now: float) -> float:
        self.closes = min(self.closes, now + self.seconds)
        return self.closes - now

    def open(self) -> None:
        self.seconds = self.closes = math.inf


@dataclass
class Worker:
    """Starts a campaign, and works on its only piece on request."""

    stack: CampaignStack
    store: CampaignStore
    client: PushClient
    queue: Queue = field(default_factory=Queue)

    def start(self, name: str, rows: int, *, rate: float | None = None, **changes: Any) -> PieceTask:
        self.stack.put(
            f"audiences/{name}.csv", "\n".join(["user_id", *(f"{name}-{n}" for n in range(rows)), ""])
        )
        settings = self.client.settings.model_copy(update={"pace": rate})
        controls = Controls(settings, self.store, self.queue)  # type: ignore[arg-type]  # a stand-in
        controls.start(document(name, **changes), self.stack.objects)
        return PieceTask(campaign=name, run=self.store.get(name).fields["run"], piece=0, turn=1)

    def work(self, task: PieceTask, *, rate: float | None = None) -> str:
        keys = Credentials(ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token)
        return work_on(
            task,
            client=self.client,
            invocation=Invocation(request_id="1-2", credentials=keys, deadline=time.monotonic() + 60),
            store=self.store,
            objects=self.stack.objects,
            queue=self.queue,  # type: ignore[arg-type]  # a stand-in
            rate=rate,
        )


@pytest.fixture
def worker(stack: CampaignStack) -> Iterator[Worker]:
    settings = Settings(
        endpoint=stack.sandbox.url,
        app_id="ONEX570DA89211721",
        workspace_id="test",
        ledger_url=stack.redis_url,
        ledger_if_down=IfDown.FAIL,
        concurrency=4,
    )
    store = CampaignStore(stack.redis_url, sender="")
    with PushClient(settings) as client:
        yield Worker(stack, store, client)
    store.close()


def test_no_request_begins_after_the_window_closed_and_those_in_flight_are_awaited(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift, sandbox = Shift(monkeypatch, 3.0), worker.stack.sandbox
    task = worker.start("shift", 400, window={"from": "08:00", "to": "21:00"})

    # Forty requests of half a second each, four at once: the window closes while some are in flight.
    sandbox.order(kind="delay", milliseconds=500, rate=1)
    assert worker.work(task) == "outside the window"
    sandbox.fault_book.clear()
    sent = sum(worker.stack.reached().values())
    assert 0 < sent < 400
    assert worker.store.get("shift").counts["accepted"] == 0  # the results of the block are not known yet

    shift.open()
    assert worker.work(worker.queue.tasks[-1][0]) == "done"

    counts = worker.store.get("shift").counts
    assert (counts["accepted"], sum(counts.values())) == (400, 400)
    assert set(worker.stack.reached().values()) == {1}


def test_rows_that_are_only_counted_form_large_blocks(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = worker.start("halt", 2000, pace=10)
    worker.store.reopen("halt", "cancelled")
    blocks, commit = [], CampaignStore.commit

    def record_and_commit(*arguments: Any, **options: Any) -> Any:
        blocks.append(options["counts"]["rows"])
        return commit(*arguments, **options)

    monkeypatch.setattr(CampaignStore, "commit", record_and_commit)
    assert worker.work(replace(task, turn=3)) == "done"

    assert blocks == [10, 1990]  # the first block may have been sent before
    assert worker.store.get("halt").counts["cancelled"] == 2000


def test_block_has_at_most_the_requests_that_all_functions_may_send_in_a_second(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {**document("quota")["message"], "title": "{user_id}"}
    task = worker.start("quota", 100, rate=45, message=message)
    reserved, reserve_requests = [], CampaignStore.reserve_requests

    def record_and_reserve(store: CampaignStore, requests: int, rate: float | None, ahead: float) -> Any:
        reserved.append(requests)
        return reserve_requests(store, requests, rate, ahead)

    monkeypatch.setattr(CampaignStore, "reserve_requests", record_and_reserve)
    assert worker.work(task, rate=45) == "done"

    assert reserved == [40, 40, 20]
    assert worker.store.get("quota").counts["accepted"] == 100


def test_every_request_that_is_begun_has_time_for_its_response(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = worker.start("round", 30)
    rounds: list[Invocation] = []
    send_tasks = PushClient.send_tasks

    def record_and_send(client: PushClient, tasks: Any, invocation: Invocation) -> Any:
        rounds.append(invocation)
        return send_tasks(client, tasks, invocation)

    monkeypatch.setattr(PushClient, "send_tasks", record_and_send)
    assert worker.work(task) == "done"

    # A request that is cut off at the deadline would be unknown.
    assert [invocation.deadline - invocation.begin_by >= 5 for invocation in rounds] == [True]


def test_pause_while_a_piece_is_claimed_leaves_its_rows_for_the_resume(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, take = worker.start("early", 30), CampaignStore.take

    def take_and_pause(store: CampaignStore, *arguments: Any) -> Any:
        lease = take(store, *arguments)
        store.pause("early")
        return lease

    with monkeypatch.context() as patched:
        patched.setattr(CampaignStore, "take", take_and_pause)
        assert worker.work(task) == "paused"
    assert sum(worker.store.get("early").counts.values()) == 0
    worker.store.reopen("early", "running")
    assert worker.work(replace(task, turn=3)) == "done"

    assert worker.store.get("early").counts["accepted"] == 30


def test_piece_tries_again_after_an_hour_despite_a_longer_retry_after(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CampaignStore, "slow", lambda _: None)  # other tests share the pace
    task = worker.start("asked", 10)
    worker.stack.sandbox.order(kind="throttling", retryAfter=86_400, next=1)

    assert worker.work(task) == "throttled"

    _, delay = worker.queue.tasks[-1]
    assert 3600 <= delay <= 3600 + NEAR_SECONDS
