"""The estimate of what a campaign costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpaas_push.campaign.cost import Prices, Work, cost_of

HUNDRED_MILLION = Work(
    rows=10**8, requests=10**7, pieces=477, piece_bytes=4 << 20, block_rows=4000, pace=5000, parts=0
)


def test_many_pieces_are_delayed_and_cost_what_their_blocks_do() -> None:
    tasks, seconds = HUNDRED_MILLION.tasks_and_seconds

    assert tasks == 477 + 25_000
    assert seconds == pytest.approx(0.004 * 10**7 + tasks)
    slower = replace(HUNDRED_MILLION, pace=4000)  # the same blocks: only the waiting is longer
    assert slower.tasks_and_seconds == (tasks, seconds)


def test_few_pieces_wait_in_their_instances() -> None:
    work = replace(HUNDRED_MILLION, rows=30_000, requests=3000, pieces=4, block_rows=100, pace=100)

    tasks, seconds = work.tasks_and_seconds

    assert seconds == 4 * 300
    assert tasks == 4 + 5


def test_prices_are_parameters() -> None:
    at_list_price, free = cost_of(HUNDRED_MILLION), cost_of(HUNDRED_MILLION, Prices(egress_gb=0.0))

    amounts = {item["item"]: item["amount"] for item in at_list_price["items"]}
    assert amounts["egressGb"] == pytest.approx(2.0)
    assert at_list_price["total"] - free["total"] == pytest.approx(2.0)
    assert at_list_price["instanceSeconds"] == 65_477
