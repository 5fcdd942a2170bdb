"""Campaigns from the request to the last row, through the deployed functions, with real OSS, Redis and sandbox."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import redis

from mpaas_push.campaign.results import result_lines
from tests.functions.campaign_stack import BUCKET, CampaignStack, document
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads"
WRONG_PACE = "must be a whole number from 1 to 100000, in targets a second, or null for no limit"


@pytest.fixture
def stack(running_stack: CampaignStack) -> CampaignStack:
    """The stack, not slowed by the throttling of another test, and without its thousands of pushes."""
    with redis.Redis.from_url(running_stack.redis_url) as client:
        client.delete("mpaas-push:pace")
    running_stack.sandbox.store.clear()
    return running_stack


@pytest.fixture(scope="module")
def running_stack(
    tmp_path_factory: pytest.TempPathFactory, running_redis: RedisServer
) -> Iterator[CampaignStack]:
    with CampaignStack(folder=tmp_path_factory.mktemp("campaigns"), redis_url=running_redis.url) as stack:
        yield stack


def users(number: int, prefix: str = "user") -> str:
    lines = (f"{prefix}-{index},Name {index % 7},{'zh' if index % 3 else 'en'}" for index in range(number))
    return "\n".join(["user_id,name,lang", *lines, ""])


def fates(shown: dict[str, Any]) -> dict[str, int]:
    counts = dict(shown["counts"])
    assert counts.pop("rows") == sum(counts.values())
    return {name: number for name, number in counts.items() if number}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/nothing"),
        ("PATCH", "/nothing"),
        ("POST", "/nothing/pause"),
        ("POST", "/nothing/resume"),
        ("POST", "/nothing/cancel"),
    ],
)
def test_unknown_query_parameter_changes_nothing(stack: CampaignStack, method: str, path: str) -> None:
    response = stack.request(method, f"/v1/campaigns{path}?dryRun=true", {"pace": 5})

    assert (response.status, response.json["type"]) == (400, "urn:mpaas-push:problem:bad-query")
    assert response.json["detail"] == "unknown query parameter dryRun; this route has none"


def test_every_target_of_an_audience_is_reached_once(stack: CampaignStack) -> None:
    stack.put("audiences/first.csv", users(3000, "first"))

    response = stack.start(document("first"))

    assert response.status == 201, response.data
    done = stack.wait("first")
    assert fates(done) == {"accepted": 3000}
    assert done["bytesDone"] == done["bytes"]
    assert done["requests"] == 300
    assert done["rate"] > 0
    assert done["secondsLeft"] is None
    assert (done["piecesWorking"], done["piecesStalled"], done["stalledUntil"]) == (0, 0, None)
    reached = {target: times for target, times in stack.reached().items() if target.startswith("first")}
    assert len(reached) == 3000
    assert set(reached.values()) == {1}


def has_sent(shown: Any) -> bool:
    return bool(shown["counts"]["accepted"])


def reached(stack: CampaignStack, prefix: str) -> dict[str, int]:
    return {target: times for target, times in stack.reached().items() if target.startswith(prefix)}


def results(stack: CampaignStack, campaign: str) -> list[dict[str, str]]:
    _, _, folder = stack.show(campaign)["results"].partition(f"oss://{BUCKET}/")
    return list(result_lines(stack.objects, BUCKET, folder))


def test_texts_are_rendered_from_the_rows_and_each_row_is_counted_once(stack: CampaignStack) -> None:
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
    lines = results(stack, "texts")
    assert [line["offset"] for line in lines] == sorted(line["offset"] for line in lines)
    failed = {(line["outcome"], line["target"], line["text"]) for line in lines}
    assert failed == {
        ("invalid", "t-2", "column `name` is empty"),
        ("invalid", "broken", "has 1 field; the header has 3"),
        ("invalid", "", "has no target: user_id is empty"),
        ("duplicate", "t-1", ""),
    }


def test_repeated_start_keeps_the_campaign_and_different_content_is_refused(stack: CampaignStack) -> None:
    stack.put("audiences/twice.csv", users(20, "twice"))
    first, second = stack.start(document("twice")), stack.start(document("twice"))
    stack.wait("twice")
    third = stack.start(document("twice", pace=7))  # another pace is not other content
    other = stack.start(document("twice", report="all"))
    stack.put("audiences/twice.csv", users(21, "twice"))
    changed = stack.start(document("twice"))

    assert [response.status for response in (first, second, third, other, changed)] == [
        201,
        200,
        200,
        409,
        409,
    ]
    assert other.json["detail"] == ("campaign twice was started with other content: give this one another id")
    assert changed.json["detail"] == (
        "campaign twice was started with another file (its ETag differs): give this one another id"
    )
    assert set(reached(stack, "twice").values()) == {1}


def test_faults_of_a_campaign_are_reported_before_anything_is_sent(stack: CampaignStack) -> None:
    stack.put("audiences/wrong.csv", users(3, "wrong"))
    message = {**document()["message"], "title": "{nick}, hello", "titel": "x"}

    unreadable = stack.start(document("wrong", message=message, pace=0))
    assert unreadable.status == 422
    assert [fault["field"] for fault in unreadable.json["errors"]] == [
        "message.titel",
        "message.title",
        "pace",
    ]
    del message["titel"]
    missing = stack.start(document("wrong", message=message))
    nowhere = stack.start(document("wrong", audience={"bucket": BUCKET, "key": "no.csv", "target": "u"}))

    assert missing.json["errors"] == [
        {"field": "message.title", "message": "the audience has no column `nick`; it has user_id, name, lang"}
    ]
    assert "oss://marketing/no.csv does not exist" in nowhere.json["errors"][0]["message"]
    assert stack.request("GET", "/v1/campaigns/wrong").status == 404


def test_dry_run_shows_what_would_be_sent(stack: CampaignStack) -> None:
    stack.put("audiences/dry.csv", users(20000, "dry"))
    body = document("dry", pace=100, message={**document()["message"], "title": "{name}"})

    response = stack.request("POST", "/v1/campaigns?dryRun=true", body)

    assert response.status == 200, response.data
    assert abs(response.json["rows"] - 20000) < 1000
    assert response.json["seconds"] == pytest.approx(200, rel=0.1)
    sample = response.json["samples"][0]
    assert (sample["line"], sample["target"], sample["message"]["title"]) == (2, "d…(5)", "Name 0")
    assert response.json["samples"][-1]["line"] is None  # lines are not counted up to the last rows
    assert stack.request("GET", "/v1/campaigns/dry").status == 404


def test_dry_run_counts_no_requests_for_rows_that_cannot_be_sent(stack: CampaignStack) -> None:
    stack.put("audiences/dry.csv", users(40, "dry") + "dry-1,Again,zh\n" + "short\n" * 60)

    response = stack.request("POST", "/v1/campaigns?dryRun=true", document("dry"))

    assert (response.json["rows"], response.json["rowsWithFaults"]) == (101, 61)
    assert (response.json["targets"], response.json["requests"]) == (40, 4)
    assert [fault["line"] for fault in response.json["faults"]] == [*range(42, 52)]
    assert response.json["faults"][0]["message"] == "duplicate target"


def test_dry_run_estimates_the_cost(stack: CampaignStack) -> None:
    stack.put("audiences/dry.csv", users(2000, "dry"))

    cost = stack.request("POST", "/v1/campaigns?dryRun=true", document("dry")).json["cost"]

    assert cost["currency"] == "USD"
    assert cost["tasks"] == 2
    assert cost["total"] == pytest.approx(sum(item["amount"] for item in cost["items"]), abs=0.0001)
    assert {item["item"]: item["quantity"] for item in cost["items"]} == {
        "computeUnits": pytest.approx(0.8 * 0.425 + 2 * 0.0075),
        "ossGets": 2.0,
        "ossPuts": 3,
        "egressGb": 0.0,
    }


def test_campaign_is_paused_resumed_at_another_pace_and_counted(stack: CampaignStack) -> None:
    stack.put("audiences/paused.csv", users(2400, f"paused{'-' * 90}"))  # two pieces of several blocks
    stack.start(document("paused", pace=100))
    stack.wait_until(has_sent, "paused")

    assert stack.request("POST", "/v1/campaigns/paused/pause").json["state"] == "paused"
    wait_until_still(stack, "paused")
    still = stack.show("paused")
    assert 0 < still["counts"]["rows"] < 2400
    assert still["secondsLeft"] is None
    assert stack.request("PATCH", "/v1/campaigns/paused", {"pace": 1000}).json["pace"] == 1000
    resumed = stack.request("POST", "/v1/campaigns/paused/resume")

    assert resumed.json["state"] == "running"
    assert fates(stack.wait("paused")) == {"accepted": 2400}
    times = reached(stack, "paused")
    assert (len(times), set(times.values())) == (2400, {1})


def wait_until_started(stack: CampaignStack, campaign: str) -> None:
    eventually(
        lambda: stack.request("GET", f"/v1/campaigns/{campaign}").status != 404,
        state=lambda: stack.lines[-10:],
    )


def wait_until_still(stack: CampaignStack, campaign: str) -> None:
    """Wait until the workers of a campaign have finished their blocks."""
    assert stack.queue.settle(60)
    assert stack.show(campaign)["state"] == "paused"


def replace_file_of_paused(stack: CampaignStack, campaign: str, rows: int, *, pace: int) -> None:
    """Start a campaign, pause it after its first pushes, and add a row to its file."""
    path = f"audiences/{campaign}.csv"
    stack.put(path, users(rows, campaign))
    stack.start(document(campaign, pace=pace))
    stack.wait_until(has_sent, campaign)
    stack.request("POST", f"/v1/campaigns/{campaign}/pause")
    wait_until_still(stack, campaign)
    stack.put(path, users(rows + 1, campaign))


def test_unsent_rows_of_a_cancelled_campaign_are_counted_as_cancelled(stack: CampaignStack) -> None:
    stack.put("audiences/stopped.csv", users(12000, "stopped"))
    stack.start(document("stopped", pace=200))
    stack.wait_until(has_sent, "stopped")

    assert stack.request("POST", "/v1/campaigns/stopped/cancel").status == 200
    done = stack.wait("stopped", states=("cancelled",))

    counts = fates(done)
    assert counts.keys() == {"accepted", "cancelled"}
    assert sum(counts.values()) == 12000
    assert len(reached(stack, "stopped")) == counts["accepted"]
    assert stack.request("POST", "/v1/campaigns/stopped/resume").status == 409


@pytest.mark.parametrize("act", ["cancel", "pause"])
def test_waiting_block_is_not_sent_after_its_campaign_is_stopped(stack: CampaignStack, act: str) -> None:
    name = f"{act}-waiting"
    stack.put(f"audiences/{name}.csv", users(30, name))
    stack.start(document(name, pace=3))  # ten rows at once, and ten more after three seconds
    stack.wait_until(has_sent, name)

    stack.request("POST", f"/v1/campaigns/{name}/{act}")

    assert stack.queue.settle(60)
    assert len(reached(stack, name)) == stack.show(name)["counts"]["accepted"] == 10
    if act == "pause":
        stack.request("POST", f"/v1/campaigns/{name}/resume", {"pace": 1000})
        assert fates(stack.wait(name)) == {"accepted": 30}


def test_report_can_be_read_in_parts_over_http(stack: CampaignStack) -> None:
    row = "part-{},{}"  # the file has three pieces of 256 KiB
    lines = ["user_id,name", *(row.format(number, "x" * 500) for number in range(1200)), ""]
    stack.put("audiences/parts.csv", "\n".join(lines))
    stack.start(document("parts", report="all"))
    assert stack.wait("parts")["pieces"] == 3

    response = stack.request("GET", "/v1/campaigns/parts/report")
    assert response.headers["Content-Type"].startswith("text/csv")
    lines = response.data.decode().splitlines()
    assert [line.split(",")[:2] for line in lines] == [
        ["target", "outcome"],
        *([f"part-{number}", "accepted"] for number in range(1200)),
    ]
    assert "Link" not in response.headers
    rest = stack.request("GET", f"/v1/campaigns/parts/report?after={lines[601].split(',')[5]}")
    assert rest.data.decode() == "".join(f"{line}\n" for line in lines[602:])


def test_report_without_failed_rows_has_only_the_column_names(
    stack: CampaignStack,
) -> None:
    stack.put("audiences/fine.csv", users(3, "fine"))
    stack.start(document("fine"))
    stack.wait("fine")

    response = stack.request("GET", "/v1/campaigns/fine/report")

    assert (response.status, response.data) == (200, b"target,outcome,resultCode,text,messageId,offset\n")
    assert stack.request("GET", "/v1/campaigns/nothing/report").status == 404
    for query in ("after=x", "afetr=5"):
        assert stack.request("GET", f"/v1/campaigns/fine/report?{query}").status == 400


def test_change_of_a_small_file_is_detected_before_the_next_block(
    stack: CampaignStack,
) -> None:
    stack.put("audiences/small.csv", users(6000, "small"))
    stack.start(document("small", pace=200))
    stack.wait_until(has_sent, "small")

    stack.put("audiences/small.csv", users(6000, "other"))
    changed = stack.show("small")["counts"]["accepted"]

    stopped = stack.wait("small", states=("incomplete",))
    assert "was changed while the campaign ran" in stopped["problem"]
    assert stopped["counts"]["accepted"] <= changed + 2 * 200  # the block in flight, and one just begun
    assert set(reached(stack, "other")) == set()


def test_paused_campaign_with_a_changed_file_is_not_resumed(stack: CampaignStack) -> None:
    replace_file_of_paused(stack, "moved", 12000, pace=200)

    refused = stack.request("POST", "/v1/campaigns/moved/resume")

    assert refused.status == 409
    assert "audiences/moved.csv was replaced by another file" in refused.json["detail"]
    stopped = stack.show("moved")
    assert stopped["state"] == "paused"
    assert 0 < len(reached(stack, "moved")) == stopped["counts"]["accepted"] < 12000


def test_misconfigured_campaign_is_incomplete_and_can_be_resumed(
    stack: CampaignStack,
) -> None:
    stack.put("audiences/keys.csv", users(40, "keys"))
    message = {**document()["message"], "taskName": "misconfigured-once"}
    fault = {"kind": "result", "code": "3007", "match": {"taskName": "misconfigured-once"}}
    stack.sandbox.order(**fault, next=16)  # four attempts of Function Compute, four requests each

    records = stack.queue.counts["failed"]
    stack.start(document("keys", message=message))
    stopped = stack.wait("keys", states=("incomplete",))
    stopped = stack.wait_until(  # the last attempt may be running
        lambda shown: not shown.get("problem", "").endswith("resume the campaign"), "keys"
    )
    assert fates(stopped) == {}
    assert stopped["problem"].startswith("mPaaS: 3007 (")
    eventually(lambda: stack.queue.counts["failed"] > records)  # its record goes to the failed queue
    stack.request("POST", "/v1/campaigns/keys/resume")

    assert fates(stack.wait("keys")) == {"accepted": 40}
    assert set(reached(stack, "keys").values()) == {1}


def test_throttling_slows_all_campaigns_even_if_every_request_is_accepted(
    stack: CampaignStack,
) -> None:
    stack.put("audiences/throttled.csv", users(100, "throttled"))
    stack.sandbox.order(kind="throttling", next=5)  # of ten requests; each is tried up to four times

    stack.start(document("throttled"))

    assert fates(stack.wait("throttled")) == {"accepted": 100}
    with redis.Redis.from_url(stack.redis_url) as client:
        assert float(client.hget("mpaas-push:pace", "factor") or 1) < 1


def test_rows_after_the_end_of_a_campaign_expire(stack: CampaignStack) -> None:
    stack.put("audiences/late.csv", users(50, "late"))

    stack.start(document("late", endsAt="2020-01-01T00:00:00Z"))

    assert fates(stack.wait("late")) == {"expired": 50}
    assert reached(stack, "late") == {}
    assert len(results(stack, "late")) == 50


def test_campaign_outside_its_window_waits_without_cost(stack: CampaignStack) -> None:
    stack.put("audiences/night.csv", users(50, "night"))
    hour = time.gmtime(time.time() + 8 * 3600).tm_hour
    window = {"from": f"{(hour + 2) % 24:02}:00", "to": f"{(hour + 3) % 24:02}:00"}

    stack.start(document("night", window=window))
    shown = stack.wait_until(
        lambda shown: stack.queue.counts["calls"] > 0 and shown["state"] == "waiting", "night"
    )

    opens = datetime.fromisoformat(shown["opensAt"].replace("Z", "+00:00"))
    assert f"{opens.astimezone(ZoneInfo('Asia/Shanghai')):%H:%M:%S}" == f"{window['from']}:00"
    assert 0 < opens.timestamp() - time.time() < 2 * 3600 + 1
    assert stack.queue.settle(60)
    assert reached(stack, "night") == {}
    assert stack.queue.counts["pending"] > 0  # the piece, delayed by up to an hour
    assert stack.request("POST", "/v1/campaigns/night/pause").json["opensAt"] is None
    stack.request("POST", "/v1/campaigns/night/cancel")
    assert fates(stack.wait("night", states=("cancelled",))) in ({"cancelled": 50}, {})


def upload(stack: CampaignStack, key: str, text: str) -> bytes:
    """Upload a campaign and return the event of OSS."""
    stack.put(key, text)
    event = json.loads((PAYLOADS / "oss-native.json").read_text("utf-8"))
    entry = event["events"][0]
    entry["oss"]["bucket"] |= {"arn": f"acs:oss:cn-hangzhou:1000000000000000:{BUCKET}", "name": BUCKET}
    entry["oss"]["object"]["key"] = key
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("campaign: [", "is neither JSON nor YAML: expected the node content"),
        ("campaign: x\n", "message: is required; audience: is required"),
        (
            f"# {'x' * (1 << 20)}",
            "dev/campaigns/wrong.yaml has 1048578 bytes; a campaign has at most 1048576",
        ),
    ],
)
def test_upload_that_is_not_a_campaign_raises(stack: CampaignStack, text: str, error: str) -> None:
    event = upload(stack, "dev/campaigns/wrong.yaml", text)
    assert stack.queue.settle(60)  # other tests may have left both instances busy
    result = stack.host.invoke(event)

    assert result.error_type  # Function Compute tries again, then puts the record into the failed queue
    assert error in json.loads(result.payload)["errorMessage"]


def test_upload_below_campaigns_starts_a_campaign(stack: CampaignStack) -> None:
    stack.put("audiences/upload.csv", users(30, "upload"))

    stack.queue.accept(upload(stack, "dev/campaigns/upload.json", json.dumps(document("upload"))))
    wait_until_started(stack, "upload")

    assert fates(stack.wait("upload")) == {"accepted": 30}


def test_timer_starts_the_campaign_of_the_day_once(stack: CampaignStack) -> None:
    stack.put("audiences/daily.csv", users(30, "daily"))
    body = document("daily") | {"campaign": "daily-{date}"}
    tick = {"triggerTime": "2026-11-10T16:00:05Z", "triggerName": "daily", "payload": json.dumps(body)}

    responses = [stack.timer_host.invoke(json.dumps(tick).encode()).payload for _ in range(2)]

    assert [json.loads(response) for response in responses] == [{"campaign": "daily-20261111"}] * 2
    wait_until_started(stack, "daily-20261111")
    assert fates(stack.wait("daily-20261111")) == {"accepted": 30}
    assert set(reached(stack, "daily").values()) == {1}


@pytest.mark.parametrize("method", ["PATCH", "POST"])
@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"pace": 0}, {"pace": WRONG_PACE}),
        ({"pace": "fast"}, {"pace": WRONG_PACE}),
        ({"pce": 5}, {"pace": "is required", "pce": "unknown field `pce`; did you mean `pace`?"}),
        ({"pace": 5, "endsAt": "x"}, {"endsAt": "unknown field `endsAt`; known fields: `pace`"}),
        ([5], {"": 'must be an object such as {"pace": 500}'}),
    ],
)
def test_invalid_pace_is_refused(
    stack: CampaignStack, method: str, body: Any, faults: dict[str, str]
) -> None:
    response = stack.request(method, f"/v1/campaigns/any{'/resume' if method == 'POST' else ''}", body)

    assert response.status == 422
    assert response.json["title"] == "The campaign, or the requested change, is invalid"
    assert {fault["field"]: fault["message"] for fault in response.json["errors"]} == faults


def test_resume_changes_the_pace_or_is_refused_without_changes(stack: CampaignStack) -> None:
    stack.put("audiences/repaced.csv", users(6000, "repaced"))
    stack.start(document("repaced", pace=100))
    stack.request("POST", "/v1/campaigns/repaced/pause")

    resumed = stack.request("POST", "/v1/campaigns/repaced/resume", {"pace": 20000})
    assert (resumed.status, resumed.json["state"], resumed.json["pace"]) == (200, "running", 20000)
    assert stack.request("POST", "/v1/campaigns/repaced/pause").status == 200
    assert stack.request("POST", "/v1/campaigns/repaced/resume", {"pace": None}).json["pace"] is None
    done = stack.wait("repaced")

    for method, path in (("PATCH", ""), ("POST", "/resume")):
        unchanged = stack.request(method, f"/v1/campaigns/repaced{path}", {"pace": None})
        assert (unchanged.status, unchanged.json["state"]) == (200, "done")
        refused = stack.request(method, f"/v1/campaigns/repaced{path}", {"pace": 5})
        assert (refused.status, refused.json["detail"]) == (
            409,
            "campaign repaced is done: its pace cannot change",
        )
    assert stack.request("POST", "/v1/campaigns/repaced/resume").json["state"] == "done"
    assert stack.show("repaced")["pace"] == done["pace"] is None


def test_cancelled_campaign_keeps_its_pace(stack: CampaignStack) -> None:
    stack.put("audiences/over.csv", users(20, "over"))
    stack.start(document("over", pace=10))
    stack.request("POST", "/v1/campaigns/over/cancel")

    for method, path in (("PATCH", ""), ("POST", "/resume")):
        assert stack.request(method, f"/v1/campaigns/over{path}", {"pace": 7}).status == 409
    assert stack.show("over")["pace"] == 10


@pytest.mark.parametrize(
    ("media_type", "body", "status", "detail"),
    [
        (
            "text/plain",
            "campaign: x",
            415,
            "the body must be application/json or application/yaml, not text/plain",
        ),
        ("application/yaml; charset=latin-1", "campaign: x", 415, "the charset must be utf-8, not latin-1"),
        ("application/yaml", "", 400, "the body is empty: send a campaign"),
        ("application/yaml", "campaign: [\n", 422, "nothing was started or changed: see errors"),
        ("application/yaml", f"# {'x' * (1 << 20)}", 413, "the body has 1048578 bytes"),
    ],
)
def test_body_that_is_not_a_campaign_is_refused(
    stack: CampaignStack, media_type: str, body: str, status: int, detail: str
) -> None:
    response = stack.http.request(
        "POST", f"{stack.url}/v1/campaigns", body=body.encode(), headers={"Content-Type": media_type}
    )

    assert response.status == status
    assert response.json()["detail"].startswith(detail)
    if status == 422:
        text = (
            "is neither JSON nor YAML: expected the node content, but found '<stream end>' (line 2, column 1)"
        )
        assert response.json()["errors"] == [{"field": "", "message": text}]


def test_unknown_campaign_cannot_be_controlled(stack: CampaignStack) -> None:
    for action in ("pause", "resume", "cancel"):
        response = stack.request("POST", f"/v1/campaigns/nothing/{action}")
        assert (response.status, response.json["detail"]) == (404, "there is no campaign nothing")
        assert response.json["title"] == "There is no such campaign"
    assert stack.request("PATCH", "/v1/campaigns/nothing", {"pace": 5}).status == 404


def test_tasks_that_are_delivered_twice_send_their_piece_once(stack: CampaignStack) -> None:
    stack.put("audiences/again.csv", users(2000, "again"))
    stack.start(document("again"))
    run = stack.show("again")["results"].split("/")[-2]
    task = {"campaign": "again", "run": run, "piece": 0, "turn": 1}
    for _ in range(5):
        stack.queue.accept(json.dumps({"campaignTask": task}).encode())

    assert fates(stack.wait("again")) == {"accepted": 2000}
    assert set(reached(stack, "again").values()) == {1}


def test_campaigns_without_redis_are_refused(tmp_path: Path) -> None:
    with CampaignStack(folder=tmp_path, redis_url="") as stack:
        stack.put("audiences/double11.csv", users(3))

        responses = [stack.start(document()), stack.request("GET", "/v1/campaigns")]

    assert [response.status for response in responses] == [500, 500]
    assert "set PUSH_LEDGER_URL" in responses[0].json["detail"]


def test_rows_that_failed_with_an_invalid_key_are_sent_after_a_resume(stack: CampaignStack) -> None:
    stack.put("audiences/revoked.csv", users(200, "revoked"))
    message = {**document()["message"], "taskName": "revoked"}
    fault = {"kind": "gateway", "code": "InvalidAccessKeyId.NotFound", "match": {"target": "revoked-150"}}
    stack.sandbox.order(**fault, next=4)  # attempts of Function Compute; the other requests are accepted

    stack.start(document("revoked", message=message))
    stopped = stack.wait("revoked", states=("incomplete",))
    assert fates(stopped) == {}
    stack.request("POST", "/v1/campaigns/revoked/resume")

    assert fates(stack.wait("revoked")) == {"accepted": 200}
    assert set(reached(stack, "revoked").values()) == {1}


@pytest.mark.parametrize("fate", ["cancelled", "expired"])
def test_rows_sent_by_a_stopped_block_are_not_counted_as_unsent(stack: CampaignStack, fate: str) -> None:
    stack.put(f"audiences/{fate}.csv", users(400, fate))
    # Throttled, all rows would take longer than six seconds.
    ends = datetime.fromtimestamp(time.time() + (6 if fate == "expired" else 3600), timezone.utc)
    stack.sandbox.order(kind="throttling", rate=0.9, seed=3)

    stack.start(document(fate, endsAt=ends.isoformat()))
    eventually(
        lambda: len(reached(stack, fate)) >= 50 or datetime.now(timezone.utc) >= ends,
        lambda: time.sleep(0.1),
    )
    if fate == "cancelled":
        stack.request("POST", f"/v1/campaigns/{fate}/cancel")
    ended = stack.wait_until(lambda shown: shown["counts"]["rows"] == 400, fate)
    stack.sandbox.fault_book.clear()

    sent = reached(stack, fate)
    assert fates(ended) == {"accepted": len(sent), fate: 400 - len(sent)}
    assert {row["target"] for row in results(stack, fate)}.isdisjoint(sent)


def test_campaign_with_a_changed_file_can_be_cancelled(stack: CampaignStack) -> None:
    replace_file_of_paused(stack, "gone", 3000, pace=100)

    stack.request("POST", "/v1/campaigns/gone/cancel")

    ended = stack.wait("gone", states=("cancelled", "incomplete"))
    assert ended["state"] == "cancelled"
    assert fates(ended) == {"accepted": len(reached(stack, "gone"))}
