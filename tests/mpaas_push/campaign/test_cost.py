"""The estimated cost of a campaign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpaas_push.campaign.cost import REQUEST_SECONDS, Work, cost_of

if TYPE_CHECKING:
    from collections.abc import Iterable

HUNDRED_MILLION = Work(
    rows=10**8, requests=10**7, pieces=477, piece_bytes=4 << 20, block_rows=4000, pace=5000, parts=0
)


def test_many_pieces_are_delayed_so_each_block_is_a_task() -> None:
    tasks, seconds = HUNDRED_MILLION.tasks_and_seconds

    assert tasks == 477 + 25_000
    assert seconds == pytest.approx(0.004 * 10**7 + tasks)
    slower = replace(HUNDRED_MILLION, pace=4000)  # the same blocks, which only wait longer
    assert slower.tasks_and_seconds == (tasks, seconds)


def test_few_pieces_wait_in_running_instances() -> None:
    work = replace(HUNDRED_MILLION, rows=30_000, requests=3000, pieces=4, block_rows=100, pace=100)

    tasks, seconds = work.tasks_and_seconds

    assert seconds == 4 * 300
    assert tasks == 4 + 5


def test_total_is_the_sum_of_the_items() -> None:
    cost = cost_of(HUNDRED_MILLION)

    amounts = {item["item"]: item["amount"] for item in cost["items"]}
    assert amounts["egressGb"] == pytest.approx(2.0)
    assert cost["total"] == pytest.approx(sum(amounts.values()), abs=1e-4)
    assert cost["instanceSeconds"] == 65_477


def test_page_shows_the_computed_figures() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "campaigns.md").read_text("utf-8")
    table = page.partition("<!-- paper -->")[2].partition("<!-- end of paper -->")[0]

    assert table.strip().splitlines()[2:] == paper()


def paper() -> list[str]:
    works = [
        HUNDRED_MILLION,
        replace(HUNDRED_MILLION, pace=500, block_rows=500),
        replace(HUNDRED_MILLION, pace=None),
        replace(HUNDRED_MILLION, requests=10**8),
    ]
    costs = [cost_of(work) for work in works]
    items = [{item["item"]: item for item in cost["items"]} for cost in costs]

    def row(name: str, values: Iterable[float], digits: int = 0) -> str:
        return f"| {name} | {' | '.join(f'{value:,.{digits}f}' for value in values)} |"

    def hours(work: Work) -> float:
        paced = work.rows / work.pace if work.pace else 0.0
        return max(paced, work.requests * REQUEST_SECONDS / 20) / 3600

    return [
        row("hours, with 20 instances", map(hours, works), 1),
        row("requests to mPaaS", (work.requests for work in works)),
        row("tasks", (cost["tasks"] for cost in costs)),
        row("hours of instances", (cost["instanceSeconds"] / 3600 for cost in costs), 1),
        row("compute units (CU)", (item["computeUnits"]["quantity"] for item in items)),
        row("requests to OSS", (item["ossGets"]["quantity"] + item["ossPuts"]["quantity"] for item in items)),
        row("GB sent", (item["egressGb"]["quantity"] for item in items)),
        row("Function Compute, USD", (item["computeUnits"]["amount"] for item in items), 2),
        row("OSS, USD", (item["ossGets"]["amount"] + item["ossPuts"]["amount"] for item in items), 2),
        row("traffic, USD", (item["egressGb"]["amount"] for item in items), 2),
        row("**together, USD**", (cost["total"] for cost in costs), 2),
    ]
