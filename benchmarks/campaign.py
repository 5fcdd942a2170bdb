"""One worker of a campaign compared with `send_all` on the same messages, and the plan of 10^8 rows."""

from __future__ import annotations

import math
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks import senders
from benchmarks.measure import measured
from benchmarks.report import Table, verdict
from benchmarks.senders import INVOCATION
from benchmarks.server import serving
from mpaas_local.redis_server import RedisServer
from mpaas_push import PushClient, PushMessage, Settings
from mpaas_push.campaign.control import Controls
from mpaas_push.campaign.objects import ObjectInfo
from mpaas_push.campaign.store import CampaignStore
from mpaas_push.campaign.tasks import PieceTask, PlanTask, TaskQueue
from mpaas_push.campaign.worker import work_on
from mpaas_push.functions import Functions, InvocationResult

if TYPE_CHECKING:
    from mpaas_push.campaign.objects import Objects

ROWS, LATENCY, ROUNDS = 12_000, 0.05, 5
SAMPLE_CALLS = 20
PLANNED_BYTES, CALL_SECONDS = 2_000_000_000, 0.020
MESSAGE = {
    "taskName": "double11",
    "title": "It starts at eight",
    "content": "Half price on everything.",
    "deliveryType": 3,
    "expiredSeconds": 14400,
}
AUDIENCE = {"bucket": "marketing", "key": "users.csv", "target": "user_id"}


class _File:
    """A file in place of OSS; results are discarded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def info(self, _: str, __: str) -> ObjectInfo:
        return ObjectInfo(self._path.stat().st_size, "etag")

    def read(self, _: str, __: str, start: int, end: int, ___: str | None = None) -> bytes:
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, *_: Any) -> None:
        """Discard the content."""

    def names(self, *_: Any) -> list[str]:
        return []

    def delete(self, *_: Any) -> None:
        """Do nothing: there are no objects."""


class _Queue:
    """Accepts each task after `seconds`, the time that a call of Function Compute takes."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.tasks: list[Any] = []

    def submit(self, task: Any, *, delay: float = 0.0) -> None:
        time.sleep(self._seconds)
        self.tasks.append((task, delay))

    def invoke_later(self, *_: Any, **__: Any) -> InvocationResult:
        time.sleep(self._seconds)
        self.tasks.append(None)
        return InvocationResult("id")


def campaign() -> Table:
    """Measure a worker, and a plan."""
    with tempfile.TemporaryDirectory() as folder, RedisServer() as redis, serving(LATENCY) as port:
        settings = Settings(
            endpoint=f"http://127.0.0.1:{port}",
            app_id="ONEX1",
            workspace_id="default",
            ledger_url=redis.url,
            campaign_function="campaign_push",
        )
        store = CampaignStore(redis.url, sender="")
        rate, of_sample = _worker(settings, store, Path(folder), port)
        pieces, seconds = _plan(settings, store, Path(folder))
        store.close()
    rows = [
        ["requests a second of a worker, of `send_all`'s", f"{rate:.2f}", verdict(rate, least=0.85)],
        [
            "targets a second of a worker, of the official sample's",
            f"{of_sample:.0f}",
            verdict(of_sample, least=25),
        ],
        [f"plan of 10^8 rows, {pieces} pieces, seconds", f"{seconds:.2f}", verdict(seconds, most=5.0)],
    ]
    return Table(
        f"A campaign: {ROWS:,} rows by one worker; the plan of a sparse file of 2 GB",
        f"The worker reads, renders, groups, sends, commits; `send_all` gets the same messages, both with"
        f" the ledger and {LATENCY * 1000:.0f} ms server latency. The sample sends to one target a call,"
        f" without a ledger, {SAMPLE_CALLS} calls a round. Median of {ROUNDS} rounds. A call of Function"
        f" Compute takes {CALL_SECONDS * 1000:.0f} ms.",
        ["what", "measured", "target"],
        rows,
    )


def _worker(settings: Settings, store: CampaignStore, folder: Path, port: int) -> tuple[float, float]:
    """Return the rate of a worker relative to that of `send_all`, and to that of the sample."""
    path = folder / "users.csv"
    targets = [f"user-{number}" for number in range(ROWS)]
    path.write_text("\n".join(["user_id", *targets, ""]), "utf-8")
    objects, queue = cast("Objects", _File(path)), cast("TaskQueue", _Queue())
    with PushClient(settings) as client:

        def worker() -> None:
            campaign_id = os.urandom(4).hex()
            controls = Controls(settings, store, queue)
            stored = controls.start(
                {"campaign": campaign_id, "message": MESSAGE, "audience": AUDIENCE}, objects
            ).stored
            task = PieceTask(campaign=campaign_id, run=stored.fields["run"], piece=0, turn=1)
            ended = work_on(
                task, client=client, invocation=INVOCATION, store=store, objects=objects, queue=queue
            )
            if ended != "done" or store.get(campaign_id).counts["accepted"] != ROWS:
                raise RuntimeError(ended)

        def send_all() -> None:
            message = PushMessage.parse({**MESSAGE, "targets": targets})
            client.send(message, scope=os.urandom(4).hex(), invocation=INVOCATION)

        def sample() -> None:
            senders.sample(port, SAMPLE_CALLS)

        times = measured({"worker": worker, "send_all": send_all, "sample": sample}, rounds=ROUNDS)
    worker_time = times["worker"]
    return 1 / worker_time.over(times["send_all"]), ROWS / SAMPLE_CALLS / worker_time.over(times["sample"])


def _plan(settings: Settings, store: CampaignStore, folder: Path) -> tuple[int, float]:
    """Return the number of pieces of a sparse file, and the seconds to submit all of them."""
    path = folder / "sparse.csv"
    with path.open("wb") as file:
        file.write(b"user_id\n")
        file.truncate(PLANNED_BYTES)
    functions = _Queue(CALL_SECONDS)
    queue = TaskQueue(settings, cast("Functions", functions))
    controls = Controls(settings, store, queue)
    began = time.perf_counter()
    document = {"campaign": "plan", "message": MESSAGE, "audience": AUDIENCE}
    stored = controls.start(document, cast("Objects", _File(path))).stored
    pieces = controls.submit_pieces(PlanTask(campaign="plan", run=stored.fields["run"], plan=1))
    seconds = time.perf_counter() - began
    if pieces != math.ceil(PLANNED_BYTES / stored.number("pieceBytes")):
        raise RuntimeError(pieces)
    return pieces, seconds
