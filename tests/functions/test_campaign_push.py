"""Campaigns from a request to the last row, through the deployed functions, with real OSS, Redis and sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push.campaign.results import RESULTS, result_lines
from tests.functions.campaign_stack import BUCKET, CampaignStack, document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, running_redis: RedisServer) -> Iterator[CampaignStack]:
    with CampaignStack(tmp_path_factory.mktemp("campaigns"), running_redis.url) as stack:
        yield stack


def users(number: int, prefix: str = "user") -> str:
    lines = (f"{prefix}-{index},Name {index % 7},{'zh' if index % 3 else 'en'}" for index in range(number))
    return "\n".join(["user_id,name,lang", *lines, ""])


def fates(shown: dict[str, Any]) -> dict[str, int]:
    counts = dict(shown["counts"])
    assert counts.pop("rows") == sum(counts.values())
    return {name: number for name, number in counts.items() if number}


def test_every_row_of_an_audience_is_reached_once(stack: CampaignStack) -> None:
    stack.put("audiences/first.csv", users(3000, "first"))

    answer = stack.start(document("first"))

    assert answer.status == 201, answer.data
    done = stack.wait("first")
    assert fates(done) == {"accepted": 3000}
    assert done["bytesDone"] == done["bytes"]
    assert done["requests"] == 300
    reached = {target: times for target, times in stack.reached().items() if target.startswith("first")}
    assert len(reached) == 3000
    assert set(reached.values()) == {1}


def reached(stack: CampaignStack, prefix: str) -> dict[str, int]:
    return {target: times for target, times in stack.reached().items() if target.startswith(prefix)}


def results(stack: CampaignStack, campaign: str) -> list[dict[str, str]]:
    (run,) = {key.split("/")[2] for key in stack.objects.names(BUCKET, f"{RESULTS}{campaign}/")}
    return list(result_lines(stack.objects, BUCKET, campaign, run))


def test_texts_come_from_the_rows_and_each_row_has_one_fate(stack: CampaignStack) -> None:
    rows = ["t-1,Ada,en", "t-2,,en", "t-3,Bo,zh", "t-1,Ada,en", "broken", ',"x",en', '"t-4","Cy, Jr",fr', ""]
    stack.put("audiences/texts.csv", "\ufeffuser_id,name,lang\r\n" + "\r\n".join(rows))
    body = document(
        "texts",
        texts={
            "by": "lang",
            "default": "zh",
            "zh": {"title": "{name} 八点开始"},
            "en": {"title": "Hi {name}"},
        },
    )

    assert stack.start(body).status == 201
    done = stack.wait("texts")

    assert fates(done) == {"accepted": 3, "invalid": 3, "duplicate": 1}
    titles = {
        entry["targets"][0]["target"]: entry["parameters"]["Title"]
        for entry in stack.sandbox.inbox(outcome="accepted")
        if entry["targets"][0]["target"].startswith("t-")
    }
    assert titles == {"t-1": "Hi Ada", "t-3": "Bo 八点开始", "t-4": "Cy, Jr 八点开始"}
    told = {(line["outcome"], line["target"], line["text"]) for line in results(stack, "texts")}
    assert told == {
        ("invalid", "t-2", "column name is empty"),
        ("invalid", "", "has 1 fields, the header 3"),
        ("invalid", "", "has no target: user_id is empty"),
        ("duplicate", "t-1", ""),
    }


def test_the_same_start_is_the_same_campaign_and_another_one_is_refused(stack: CampaignStack) -> None:
    stack.put("audiences/twice.csv", users(20, "twice"))
    first, again = stack.start(document("twice")), stack.start(document("twice"))
    stack.wait("twice")
    after = stack.start(document("twice", pace=7))  # the pace may be changed, it is no other content
    other = stack.start(document("twice", report="all"))
    stack.put("audiences/twice.csv", users(21, "twice"))
    changed = stack.start(document("twice"))

    assert [answer.status for answer in (first, again, after, other, changed)] == [201, 200, 200, 409, 409]
    assert "another content" in other.json["detail"]
    assert "ETag" in changed.json["detail"]
    assert set(reached(stack, "twice").values()) == {1}


def test_what_is_wrong_with_a_campaign_is_told_before_anything_is_sent(stack: CampaignStack) -> None:
    stack.put("audiences/wrong.csv", users(3, "wrong"))
    message = {**document()["message"], "title": "{nick}, hello", "titel": "x"}

    unreadable = stack.start(document("wrong", message=message, pace=0))
    assert unreadable.status == 422
    assert [fault["field"] for fault in unreadable.json["errors"]] == ["message.titel", "pace"]
    del message["titel"]
    missing = stack.start(document("wrong", message=message))
    nowhere = stack.start(document("wrong", audience={"bucket": BUCKET, "key": "no.csv", "target": "u"}))

    assert missing.json["errors"] == [
        {"field": "message", "message": "the audience has no column `nick`; it has user_id, name, lang"}
    ]
    assert "oss://marketing/no.csv does not exist" in nowhere.json["errors"][0]["message"]
    assert stack.request("GET", "/v1/campaigns/wrong").status == 404


def test_a_dry_run_shows_what_would_be_sent(stack: CampaignStack) -> None:
    stack.put("audiences/dry.csv", users(20000, "dry"))
    body = document("dry", pace=100, message={**document()["message"], "title": "{name}"})

    answer = stack.request("POST", "/v1/campaigns?dryRun=true", body)

    assert answer.status == 200, answer.data
    assert abs(answer.json["rows"] - 20000) < 1000
    assert answer.json["seconds"] == pytest.approx(200, rel=0.1)
    sample = answer.json["samples"][0]
    assert (sample["target"], sample["message"]["title"]) == ("d…(5)", "Name 0")
    assert stack.request("GET", "/v1/campaigns/dry").status == 404


def test_a_campaign_is_paused_resumed_at_another_pace_and_accounted_for(stack: CampaignStack) -> None:
    stack.put("audiences/paused.csv", users(12000, "paused"))
    stack.start(document("paused", pace=500))
    while not stack.show("paused")["counts"]["rows"]:
        pass

    assert stack.request("POST", "/v1/campaigns/paused/pause").json["state"] == "paused"
    wait_until_still(stack, "paused")
    still = stack.show("paused")
    assert 0 < still["counts"]["rows"] < 12000
    assert stack.request("PATCH", "/v1/campaigns/paused", {"pace": 20000}).json["pace"] == 20000
    resumed = stack.request("POST", "/v1/campaigns/paused/resume")

    assert resumed.json["state"] == "running"
    assert fates(stack.wait("paused")) == {"accepted": 12000}
    times = reached(stack, "paused")
    assert (len(times), set(times.values())) == (12000, {1})


def wait_until_still(stack: CampaignStack, campaign: str) -> None:
    """Wait until those who work on a campaign have ended with their blocks."""
    assert stack.queue.finish(30)
    assert stack.show(campaign)["state"] == "paused"


def test_what_is_cancelled_is_counted_as_cancelled(stack: CampaignStack) -> None:
    stack.put("audiences/stopped.csv", users(12000, "stopped"))
    stack.start(document("stopped", pace=200))
    while not stack.show("stopped")["counts"]["rows"]:
        pass

    assert stack.request("POST", "/v1/campaigns/stopped/cancel").status == 200
    done = stack.wait("stopped", states=("cancelled",))
    while done["bytesDone"] < done["bytes"]:
        done = stack.show("stopped")

    counted = fates(done)
    assert counted.keys() == {"accepted", "cancelled"}
    assert sum(counted.values()) == 12000
    assert len(reached(stack, "stopped")) == counted["accepted"]
    assert stack.request("POST", "/v1/campaigns/stopped/resume").status == 409
