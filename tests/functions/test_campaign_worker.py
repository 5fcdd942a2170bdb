"""A worker in this process, so that a test can say when its campaign may no longer send."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push import Invocation, PushClient, Settings
from mpaas_push.campaign.control import Controls
from mpaas_push.campaign.model import Window
from mpaas_push.campaign.store import CampaignStore
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
    """A window that closes some seconds after a block has begun, and opens again when the test says."""

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


def test_after_its_window_closed_no_request_is_begun_and_those_in_flight_are_waited_for(
    stack: CampaignStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift, queue = Shift(monkeypatch, 1.5), Queue()
    stack.put("audiences/shift.csv", "\n".join(["user_id", *(f"shift-{n}" for n in range(400)), ""]))
    settings = Settings(
        endpoint=stack.sandbox.url,
        app_id="ONEX570DA89211721",
        workspace_id="test",
        ledger_url=stack.redis_url,
        ledger_if_down=IfDown.FAIL,
        concurrency=4,
    )
    keys = Credentials(ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token)
    store = CampaignStore(stack.redis_url)
    window = {"from": "08:00", "to": "21:00"}
    Controls(settings, store, queue).start(document("shift", window=window), stack.objects)  # type: ignore[arg-type]
    task = PieceTask(campaign="shift", run=store.get("shift").fields["run"], piece=0, turn=1)

    def work(task: PieceTask) -> str:
        invocation = Invocation(request_id="1-2", credentials=keys, deadline=time.monotonic() + 60)
        return work_on(
            task,
            client=client,
            invocation=invocation,
            store=store,
            objects=stack.objects,
            queue=queue,  # type: ignore[arg-type]
        )

    with PushClient(settings) as client:
        # Forty requests, four at once, each half a second: the window closes while some are in flight.
        stack.sandbox.order(kind="delay", milliseconds=500, rate=1)
        assert work(task) == "outside the window"
        stack.sandbox.fault_book.clear()
        sent = sum(stack.reached().values())
        assert 0 < sent < 400
        assert store.get("shift").counts["accepted"] == 0  # nobody knows yet what becomes of the block

        shift.open()
        assert work(queue.tasks[-1][0]) == "done"
    store.close()

    counts = store.get("shift").counts
    assert (counts["accepted"], sum(counts.values())) == (400, 400)
    assert set(stack.reached().values()) == {1}
