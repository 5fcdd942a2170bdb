"""Similar functions never mistake each other's pushes for their own; `make soak` is the same at a larger scale."""

from __future__ import annotations

import pytest

from tests.twins import Plan, run


@pytest.mark.usefixtures("redis_server")
def test_similar_functions_send_each_push_once_despite_faults_kills_and_expiry() -> None:
    figures = run(Plan(kinds=("timer",), events=10, foreign=4, kills=2, pause=1.0, timeout=6))

    assert figures.mns_failed > 0
    assert figures.struck > 0
    assert figures.expired > 0
    assert figures.records.keys() == {"1", "2"}
    assert figures.missing == []
    assert figures.doubled == 0
    assert figures.wrong_letters == []
    assert figures.accepted + figures.unknown + figures.expired == figures.pushes
