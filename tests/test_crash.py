"""Nothing is lost and nothing is sent twice under faults; `make soak` is the same at a larger scale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.crash import Plan, run

SMALL = Plan(messages=250, batch=25, kills=4, pause=0.5, timeout=4, redeliveries=0.4, queue_speed=4)


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("on_unknown", ["report", "retry"])
def test_every_message_has_one_fate_despite_faults_kills_and_redeliveries(on_unknown: str) -> None:
    figures = run(replace(SMALL, on_unknown=on_unknown))

    assert figures.struck > 0.1 * figures.requests
    assert figures.killed > 0
    assert figures.redelivered > 0
    assert figures.missing == []
    assert figures.bad_letters == figures.bad > 0
    assert figures.accepted + figures.unknown == figures.good
    if on_unknown == "report":
        assert figures.unknown > 0
        assert figures.twice == 0
    else:
        assert figures.unknown == 0
        assert figures.twice_unasked == 0


@pytest.mark.usefixtures("redis_server")
def test_killed_asynchronous_batches_lose_nothing_and_send_nothing_twice() -> None:
    figures = run(
        Plan(
            messages=400,
            batch=20,
            faults=0.0,
            kills=3,
            pause=0.1,
            redeliveries=0.4,
            timeout=3,
            asynchronous=True,
        )
    )

    assert figures.killed > 0
    assert figures.failed > 0
    assert figures.redelivered > 0
    assert figures.missing == []
    assert figures.bad_letters == figures.bad > 0
    assert figures.accepted + figures.unknown == figures.good
    assert figures.twice == 0


@pytest.mark.usefixtures("redis_server")
def test_redelivered_batch_is_sent_again_without_a_ledger() -> None:
    figures = run(Plan(messages=150, kills=0, faults=0.0, redeliveries=0.6, ledger=False))

    assert figures.redelivered > 0
    assert figures.twice_unasked > 0
    assert figures.missing == []
