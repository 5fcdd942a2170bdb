"""What a campaign costs, estimated from its rows, requests, pieces and pace; waiting costs nothing.

Prices are list prices in USD without free quotas; docs/campaigns.md names the page of each. Redis, storage of
the file and mPaaS itself are not included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from mpaas_push.campaign.pieces import CHUNK_BYTES
from mpaas_push.campaign.store import NEAR_SECONDS

__all__ = ["CampaignPrices", "Work", "compute_units", "cost_of"]

TASK_SECONDS = 280.0
"""Time that one task works on its piece: the timeout of 300 s in `s.yaml`, minus the time to finish."""
START_SECONDS = 1.0
"""Time of a task that continues a piece to read it from its start, which reveals duplicates."""
REQUEST_SECONDS = 0.004
"""Worker's time for one request: 20 at once, 50 ms each, 0.35 vCPU."""
REQUEST_BYTES = 1600
"""Bytes sent to mPaaS for one request, with TLS (docs/operations.md: What a push costs)."""


@dataclass(frozen=True, kw_only=True)
class CampaignPrices:
    """Prices in USD, and the size of `campaign_push` in `s.yaml`.

    Attributes:
        million_units: A million CU of Function Compute.
        ten_thousand_puts: Requests to OSS that write, list or delete.
        ten_thousand_gets: Requests to OSS that read.
        egress_gb: A GB sent to the internet.
        cpu: vCPU of the function.
        memory_gb: Its memory.
    """

    million_units: float = 20.0
    ten_thousand_puts: float = 0.0016
    ten_thousand_gets: float = 0.0016
    egress_gb: float = 0.125
    cpu: float = 0.35
    memory_gb: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of a campaign.

    Attributes:
        rows: Rows of the file.
        requests: Requests to mPaaS.
        pieces: Pieces of the file.
        piece_bytes: Size of one piece.
        block_rows: Rows that are sent together.
        pace: Targets a second, if there is a limit.
        parts: Blocks with results to report.
    """

    rows: int
    requests: int
    pieces: int
    piece_bytes: int
    block_rows: int
    pace: int | None
    parts: int

    @property
    def tasks_and_seconds(self) -> tuple[int, float]:
        """Number of tasks, and their total time.

        With few pieces each worker waits for its next block, which is due soon; with many, each block is a
        separate task, which is delayed instead.
        """
        sending = self.requests * REQUEST_SECONDS
        if self.pace is None or self.pieces * self.block_rows <= NEAR_SECONDS * self.pace:
            waiting = self.pieces * self.rows / self.pace if self.pace else 0.0
            seconds = max(sending, waiting)
            return self.pieces + math.ceil(seconds / TASK_SECONDS), seconds
        tasks = self.pieces + math.ceil(self.rows / self.block_rows)
        return tasks, sending + tasks * START_SECONDS


def cost_of(work: Work) -> dict[str, Any]:
    """Return the estimate that a dry run shows, at the list prices of Hangzhou."""
    prices = CampaignPrices()
    tasks, seconds = work.tasks_and_seconds
    units = compute_units(tasks, seconds / tasks, cpu=prices.cpu, memory_gb=prices.memory_gb)
    chunks = max(work.piece_bytes / CHUNK_BYTES, 1)
    rereads = (tasks - work.pieces) / 2  # a continued piece is read from its start: half of it on average
    heads = work.rows / work.block_rows  # one for each block
    gets = (work.pieces + rereads) * chunks + heads + work.parts
    puts = 2 * work.parts + 3 * work.pieces  # each part is written and deleted
    items = [
        _item("computeUnits", units, prices.million_units / 1e6),
        _item("ossGets", gets, prices.ten_thousand_gets / 1e4, is_unsure=True),
        _item("ossPuts", puts, prices.ten_thousand_puts / 1e4, is_unsure=True),
        _item("egressGb", work.requests * REQUEST_BYTES / 1e9, prices.egress_gb, is_unsure=True),
    ]
    return {
        "currency": "USD",
        "total": round(sum(item["amount"] for item in items), 4),
        "items": items,
        "tasks": tasks,
        "instanceSeconds": math.ceil(seconds),
    }


def compute_units(
    invocations: float, seconds: float, *, cpu: float, memory_gb: float, disk_gb: float = 0.5
) -> float:
    """Return the CU that invocations cost (fc-runtime.md: Limits and cold starts).

    Args:
        invocations: Number of invocations.
        seconds: Wall time of one.
        cpu: vCPU of the function.
        memory_gb: Memory of the function.
        disk_gb: Disk of the function, of which half a GB is free.
    """
    resources = cpu + 0.15 * memory_gb + 0.05 * max(0.0, disk_gb - 0.5)
    return invocations * (seconds * resources + 75 / 10_000)


def _item(name: str, quantity: float, price: float, *, is_unsure: bool = False) -> dict[str, Any]:
    rounded = round(quantity, 3)
    return {
        "item": name,
        "quantity": rounded,
        "price": price,
        "amount": round(rounded * price, 6),
        "unsure": is_unsure,
    }
