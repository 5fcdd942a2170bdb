"""A campaign loses no row and reaches no target twice; `make soak-campaign` is the same at a larger scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.campaign_crash import Plan, run

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Plan(rows=3000, kills=3, duplicates=0.3, workers=2, pauses=1, timeout=60, patience=500)


@pytest.mark.usefixtures("redis_server")
def test_every_row_has_one_fate_despite_faults_kills_redeliveries_and_a_restart_of_redis(
    tmp_path: Path,
) -> None:
    figures = run(SMALL, tmp_path)

    assert figures.struck > 0
    assert figures.killed > 0
    assert 0 <= figures.interrupted <= figures.counts["unknown"]
    rows = figures.counts.pop("rows")
    assert rows == sum(figures.counts.values()) == 3000
    assert figures.counts["invalid"] == figures.counts["duplicate"] == 30
    assert figures.counts["refused"] == figures.counts["failed"] == figures.counts["expired"] == 0
    assert figures.reached >= figures.counts["accepted"]
    assert figures.twice == 0
