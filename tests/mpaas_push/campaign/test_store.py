"""Transitions of campaigns and pieces in a real Redis, and their pace."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from mpaas_push import Invocation, PushClient, PushMessage, Settings
from mpaas_push.campaign.errors import CampaignConflict, StoreUnavailable, UnknownCampaign
from mpaas_push.campaign.function import CampaignTools
from mpaas_push.campaign.lease import Lease
from mpaas_push.campaign.model import Campaign, PaceChange
from mpaas_push.campaign.state import WorkingPieces
from mpaas_push.campaign.store import CampaignStore, Plan
from mpaas_push.campaign.tasks import PieceTask, task_of
from mpaas_push.credentials import Credentials
from tests.mpaas_push.campaign.test_model import DOCUMENT, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

PLAIN = {name: DOCUMENT[name] for name in ("campaign", "audience", "message")}
FIELDS: dict[str, Any] = {
    "id": "double11-2026",
    "document": json.dumps(PLAIN),
    "header": "null",
    "size": 1000,
    "pieces": 2,
    "pieceBytes": 500,
    "blockRows": 10,
    "pace": 100,
    "run": "abc",
}
ID = "double11-2026"
SENDER = "acs:fc:cn-hangzhou:1:functions/mpaas-campaign-push-prod"
KEY = f"mpaas-push:campaign:{SENDER}:{ID}"


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[CampaignStore]:
    store = CampaignStore(redis_server.url, sender=SENDER)
    start(store)
    yield store
    store.close()


def start(store: CampaignStore, campaign_id: str = ID) -> Plan:
    return store.start(campaign_id, FIELDS | {"id": campaign_id}, fingerprint="0", etag="etag")


def commit(store: CampaignStore, owner: str, offset: int, to: int, *, is_last: bool = False) -> Any:
    counts = {"rows": 10, "accepted": 10, "bytes": 100}
    return store.commit(ID, 0, owner, offset=offset, to=to, next_rows=20, is_last=is_last, counts=counts)


def test_piece_is_held_by_one_worker(store: CampaignStore) -> None:
    first, second = (store.take(ID, 0, 1, owner) for owner in ("a", "b"))

    assert (first.status, first.offset, first.rows) == ("taken", -1, 10)
    assert second.status == "held"
    assert 0 < second.wait <= 8
    assert commit(store, "b", -1, 100) is None
    assert store.release(ID, 0, "a", due=0, has_waited=True) == 1
    assert store.take(ID, 0, 2, "b").status == "taken"
    assert store.take(ID, 0, 1, "c").status == "stale"
    assert store.release(ID, 0, "a", due=0, has_waited=True) is None


def test_block_is_counted_once_even_if_committed_twice(store: CampaignStore) -> None:
    store.take(ID, 0, 1, "a")

    assert commit(store, "a", -1, 100).state == "running"
    assert commit(store, "a", -1, 100).state == "running"  # the reply was lost
    assert commit(store, "a", -1, 200) is None
    assert commit(store, "a", 100, 200, is_last=True)

    stored = store.get(ID)
    assert stored.counts["accepted"] == stored.number("n.rows") == 20
    assert stored.number("done") == 1
    assert store.take(ID, 0, 2, "b").status == "done"
    assert store.open_pieces(ID) == [(1, 1)]


def test_piece_without_progress_is_given_up_and_reopened_by_resume(store: CampaignStore) -> None:
    for _ in range(5):
        assert store.take(ID, 0, 1, "a").status == "taken"
        store.release(ID, 0, "a", due=0, has_waited=False)
    assert store.take(ID, 0, 1, "a").status == "failed"
    assert store.get(ID).number("failed") == 1
    assert store.open_pieces(ID) == [(1, 1)]
    assert store.get(ID).problem == ""  # the other piece continues
    for _ in range(4):
        store.take(ID, 1, 1, "b")
        store.release(ID, 1, "b", due=0, has_waited=False, problem="OSS is down")
    assert store.get(ID).problem == "OSS is down"

    plan = store.reopen(ID, "running")

    assert plan
    assert plan.number == 2
    assert store.open_pieces(ID) == [(0, 3), (1, 3)]
    assert store.take(ID, 0, 1, "a").status == "stale"
    assert store.take(ID, 0, 3, "a").status == "taken"


def test_waiting_is_not_a_failed_attempt(store: CampaignStore) -> None:
    for turn in range(1, 20):
        assert store.take(ID, 0, turn, "a").status == "taken"
        store.release(ID, 0, "a", due=1, has_waited=True)


def test_call_gets_the_same_reply_when_repeated_after_its_reply_was_lost(store: CampaignStore) -> None:
    assert [store.take(ID, 0, 1, "a").status for _ in range(2)] == ["taken"] * 2
    assert [commit(store, "a", -1, 100).state for _ in range(2)] == ["running"] * 2
    assert [store.release(ID, 0, "a", due=1, has_waited=True) for _ in range(2)] == [1, 1]
    assert store.renew(ID, 0, "a") is None  # it was released
    assert store.working_pieces(ID).working == 0
    for _ in range(4):  # a fifth attempt without progress would be the last
        assert store.take(ID, 0, 2, "b").status == "taken"
    assert store.get(ID).number("failed") == 0
    assert store.get(ID).counts["accepted"] == 10


def test_pause_lets_a_piece_finish_its_block(store: CampaignStore) -> None:
    store.take(ID, 0, 1, "a")

    store.pause(ID)
    assert commit(store, "a", -1, 100).state == "paused"
    assert store.take(ID, 0, 1, "b").status == "paused"
    store.reopen(ID, "running")
    assert store.take(ID, 0, 3, "b").offset == 100


def test_resume_does_not_wait_for_moments_reserved_before_the_pause(store: CampaignStore) -> None:
    waits = [store.reserve(ID, 1000, 60).wait for _ in range(6)]
    assert waits[-1] == pytest.approx(50, abs=1)

    store.pause(ID)
    store.reopen(ID, "running")

    # Workers that wait for a near moment still send their blocks, which count for the pace.
    assert store.reserve(ID, 1000, 60).wait == pytest.approx(5, abs=1)


def test_cancelled_campaign_cannot_be_resumed(store: CampaignStore) -> None:
    store.reopen(ID, "cancelled")

    with pytest.raises(CampaignConflict):
        store.reopen(ID, "running")
    shown = store.get(ID).as_json()
    assert (shown["state"], shown["cancelling"]) == ("running", True)  # its rows are still being counted
    with pytest.raises(UnknownCampaign):
        store.reopen("nothing", "running")
    with pytest.raises(UnknownCampaign):
        store.pause("nothing")


def test_moments_of_blocks_keep_the_pace_and_a_new_pace_applies_at_once(store: CampaignStore) -> None:
    waits = [store.reserve(ID, 2000, 600).wait for _ in range(4)]
    assert waits == pytest.approx([0, 20, 40, 60], abs=10)
    for _ in range(30):
        last = store.reserve(ID, 2000, 600)
    assert not last.is_reserved
    assert last.wait == pytest.approx(620, abs=20)

    store.change_pace(ID, PaceChange(pace=None))

    assert [store.reserve(ID, 2000, 600).wait for _ in range(3)] == [0, 0, 0]


def test_rate_covers_recent_seconds_and_counts_only_sent_targets(
    store: CampaignStore, redis_server: RedisServer
) -> None:
    store.take(ID, 0, 1, "a")
    assert store.get(ID).rate == 0
    counts = {"rows": 500, "cancelled": 200, "accepted": 300, "sent": 300, "bytes": 100}
    store.commit(ID, 0, "a", offset=-1, to=100, next_rows=20, is_last=False, counts=counts)

    def rate_after(seconds: float, since_start: float) -> float:
        stored = store.get(ID)
        start = stored.now - seconds
        fields = {
            **stored.fields,
            "rateAt": str(start * 1000),
            "rateSince": str((start - since_start) * 1000),
        }
        return replace(stored, fields=fields).rate

    assert rate_after(3, 0) == pytest.approx(100, rel=0.01)
    assert rate_after(10, 100) == pytest.approx(20, rel=0.01)
    assert rate_after(15 + 7.5, 100) == pytest.approx(10, rel=0.01)
    assert rate_after(31, 100) == 0
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.hset(KEY, "rateAt", round(time.time() * 1000) - 16_000)
        store.commit(ID, 0, "a", offset=100, to=200, next_rows=20, is_last=False, counts={"sent": 30})
        window = admin.hmget(KEY, "rateBefore", "rateNow")
    assert window == [b"300", b"30"]


def test_live_worker_keeps_its_piece_and_a_silent_one_has_stalled(
    store: CampaignStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.campaign.store.LEASE_SECONDS", 800.0)
    monkeypatch.setattr("mpaas_push.campaign.store.RENEW_SECONDS", 200.0)
    monkeypatch.setattr("mpaas_push.campaign.lease.RENEW_SECONDS", 0.01)
    store.take(ID, 0, 1, "a")
    assert store.working_pieces(ID) == WorkingPieces(working=1, stalled=0, until=None)

    with redis.Redis.from_url(redis_server.url, decode_responses=True) as admin:

        def expire_in(seconds: float) -> float:
            begin = admin.hget(KEY, "p0").rpartition(" ")[0]
            until = round((time.time() + seconds) * 1000)
            admin.hset(KEY, "p0", f"{begin} {until}")
            return until / 1000

        until = expire_in(200)
        assert store.working_pieces(ID) == WorkingPieces(working=0, stalled=1, until=until)
        with Lease(store, ID, 0, "a") as lease:
            while store.working_pieces(ID).stalled:
                pass
        assert not lease.is_lost
        expire_in(-1)
        assert store.take(ID, 0, 1, "b").status == "taken"
    with Lease(store, ID, 0, "a") as lease:
        while not lease.is_lost:
            pass
    assert store.working_pieces(ID).working == 1


def test_campaign_whose_listing_failed_is_listed_when_it_is_started_again(
    store: CampaignStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(redis.Redis, "zadd", disconnect)
        with pytest.raises(StoreUnavailable):
            start(store, "late")

    assert not start(store, "late").is_new
    assert start(store).number == 1

    assert [campaign.fields["id"] for campaign in store.list_all()] == ["late", ID]


def disconnect(*_: Any, **__: Any) -> None:
    raise redis.ConnectionError


def test_campaign_of_a_newer_version_is_read_without_its_new_fields(
    store: CampaignStore, redis_server: RedisServer
) -> None:
    audience = PLAIN["audience"] | {"sheet": 2}
    newer = PLAIN | {"audience": audience, "window": DOCUMENT["window"] | {"days": [1]}, "newThing": {"a": 1}}
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.hset(KEY, "document", json.dumps(newer))

    campaign = store.get(ID).campaign

    assert campaign == Campaign.parse(PLAIN | {"window": DOCUMENT["window"]}, SETTINGS)
    assert [campaign.fields["id"] for campaign in store.list_all()] == [ID]


def test_task_of_a_newer_version_is_read_without_its_new_fields() -> None:
    task = PieceTask(campaign=ID, run="abc", piece=1, turn=2)
    event = {"campaignTask": {**asdict(task), "newThing": 1}}

    assert task_of(json.dumps(event).encode()) == task


@pytest.mark.parametrize(
    "changes",
    [
        {"document": "{"},
        {"document": "[]"},
        {"document": '{"report": "none"}'},
        {"pace": "x"},
        {"size": "inf"},
        {"n.rows": "-1"},
    ],
)
def test_unreadable_campaign_does_not_hide_others(
    store: CampaignStore, redis_server: RedisServer, changes: dict[str, str]
) -> None:
    start(store, "odd")
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.hset(KEY.replace(ID, "odd"), mapping=changes)

    assert [campaign.fields["id"] for campaign in store.list_all()] == [ID]
    if "document" in changes:
        with pytest.raises(StoreUnavailable, match="this version cannot read campaign odd"):
            _ = store.get("odd").campaign
    else:
        with pytest.raises(StoreUnavailable, match=f"field `{next(iter(changes))}` of campaign odd in Redis"):
            store.get("odd").check()


def test_ended_campaign_is_neither_paused_nor_cancelled(store: CampaignStore) -> None:
    for piece in (0, 1):
        store.take(ID, piece, 1, "a")
        counts = {"rows": 10, "accepted": 10, "bytes": 500}
        store.commit(ID, piece, "a", offset=-1, to=500, next_rows=20, is_last=True, counts=counts)
    start(store, "stopped")
    store.reopen("stopped", "cancelled")

    with pytest.raises(CampaignConflict, match=f"{ID} is done: nothing is left to pause"):
        store.pause(ID)
    with pytest.raises(CampaignConflict, match=f"{ID} is done: nothing is left to cancel"):
        store.reopen(ID, "cancelled")
    with pytest.raises(CampaignConflict, match="stopped was cancelled: nothing is left to pause"):
        store.pause("stopped")
    assert store.reopen("stopped", "cancelled")  # repeated, as by a caller that got no response
    assert store.reopen(ID, "running") is None
    assert store.get(ID).state == "done"


def test_key_of_another_type_does_not_hide_campaigns(store: CampaignStore, redis_server: RedisServer) -> None:
    start(store, "odd")
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.set(KEY.replace(ID, "odd"), "x")

    assert [campaign.fields["id"] for campaign in store.list_all()] == [ID]
    with pytest.raises(StoreUnavailable):
        store.get("odd")


def test_stages_that_share_a_redis_have_separate_campaigns(
    store: CampaignStore, redis_server: RedisServer
) -> None:
    staging = CampaignStore(redis_server.url, sender=SENDER.replace("prod", "staging"))

    assert staging.list_all() == []
    with pytest.raises(UnknownCampaign):
        staging.reopen(ID, "cancelled")
    assert start(staging).is_new
    staging.reopen(ID, "cancelled")
    staging.close()

    assert not store.get(ID).is_cancelled
    assert [campaign.fields["id"] for campaign in store.list_all()] == [ID]


def test_all_functions_of_a_stage_share_the_campaigns_of_their_worker(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSH_LEDGER_URL", redis_server.url)
    keys, functions = Credentials("id", "secret"), SENDER.rpartition("/")[0]

    def store_in(function: str, named: str | None) -> CampaignStore:
        invocation = Invocation(request_id="1-2", credentials=keys, sender=f"{functions}/{function}")
        return CampaignTools(Settings(campaign_function=named), invocation).store

    own = store_in("work-prod", None)

    assert store_in("http-prod", "work-prod") is own
    assert store_in("work-prod", "work-prod") is own
    assert store_in("http-staging", "work-staging") is not own


def test_throttling_slows_all_campaigns(store: CampaignStore) -> None:
    assert store.reserve_requests(400, None, 5).wait == 0
    store.slow()
    store.slow()  # no effect: at most once a second

    waits = [store.reserve_requests(4000, None, 600).wait for _ in range(4)]
    assert waits == pytest.approx([0, 20, 40, 60], abs=10)  # half of the 400 that were sent in a second
    assert store.reserve_requests(4000, 20, 600).wait == pytest.approx(80, abs=10)
    assert store.reserve_requests(4000, 20, 600).wait == pytest.approx(280, abs=10)  # `PUSH_PACE` is lower


def test_single_pushes_do_not_wait_but_campaigns_wait_for_them(
    store: CampaignStore, redis_server: RedisServer
) -> None:
    settings = Settings(
        endpoint="http://127.0.0.1:9",
        app_id="a",
        workspace_id="w",
        ledger_url=redis_server.url,
        pace=1,
        max_attempts=1,
    )
    message = PushMessage.parse({**DOCUMENT["message"], "targets": [f"u{number}" for number in range(300)]})
    with PushClient(settings) as client:
        client.send(message, invocation=Invocation(request_id="id", credentials=Credentials("id", "secret")))

    assert store.reserve_requests(1, 1, 60).wait == pytest.approx(30, abs=15)


def test_unreachable_redis_is_reported_without_its_address() -> None:
    store = CampaignStore("redis://127.0.0.1:9/0", sender=SENDER, retries=0)

    with pytest.raises(StoreUnavailable, match="the Redis of campaigns failed") as error:
        store.get(ID)
    assert "127.0.0.1" not in str(error.value)


def test_documented_permissions_suffice_and_a_missing_one_is_a_permanent_error(
    redis_server: RedisServer,
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "ledger.md").read_text("utf-8")
    lines = re.findall(r"^ACL SETUSER pushes (.+)$", page, re.MULTILINE)
    assert len(lines) == 2
    url = redis_server.url.replace("redis://", "redis://pushes:password@")
    with redis.Redis.from_url(redis_server.url) as admin:
        for number, permissions in enumerate(lines):
            admin.execute_command("ACL", "SETUSER", "pushes", *permissions.split())
            store = CampaignStore(url, sender=SENDER)
            if number == 0:
                with pytest.raises(StoreUnavailable, match=r"lacks permissions.*docs/ledger\.md") as error:
                    store.get(ID)
                assert error.value.is_permanent
                store.close()
        assert start(store).is_new
        assert [campaign.fields["id"] for campaign in store.list_all()] == [ID]
        store.take(ID, 0, 1, "a")
        commit(store, "a", -1, 100)
        assert store.renew(ID, 0, "a") == "running"
        assert store.working_pieces(ID).working == 1
        store.fail(ID, 0, "a", "why")
        store.release(ID, 1, "a", due=0, has_waited=False)
        store.change_pace(ID, PaceChange(pace=5))
        store.pause(ID)
        store.reopen(ID, "running")
        store.reserve(ID, 1, 1)
        store.reserve_requests(1, 5, 1)
        store.slow()
        store.close()
        admin.execute_command("ACL", "DELUSER", "pushes")
