"""Campaigns in the inbox, over HTTP: through the HTTP function, OSS and Redis of one stack."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import threading
import time
from http.client import HTTPConnection
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from jsonschema import Draft202012Validator

from mpaas_local.demo import run_campaign
from mpaas_local.inbox.campaigns.audience import LARGEST_BYTES, PART_BYTES, UnusableAudience, read_beginning
from mpaas_local.inbox.campaigns.history import SAMPLES, CampaignWatch, History
from mpaas_local.inbox.campaigns.http_function import FunctionRefused
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_local.stack import Stack

    Call = Callable[..., Any]

USERS = b"user_id,name,lang\n" + b"".join(b"user-%d,Name %d,en\n" % (n, n) for n in range(40))


@pytest.fixture
def upload(stack: Stack, contract: dict[str, Any]) -> Callable[..., Any]:
    """Uploads an audience, validates the response against the OpenAPI document, and returns its value."""

    def post(content: bytes = USERS, name: str = "users.csv", *, status: int = 201) -> Any:
        url = f"{stack.inbox_url}/api/audiences?name={name}"
        response = urllib3.request("POST", url, body=content, retries=False, timeout=60)
        assert response.status == status, response.data
        if status == 201:
            schema = contract["components"]["schemas"]["UploadedAudience"]
            Draft202012Validator(schema).validate(response.json())
        return response.json()

    return post


def document(campaign: str, audience: dict[str, Any], **changes: Any) -> dict[str, Any]:
    message = {"taskName": "t", "title": "{name}", "content": "c", "deliveryType": 3, "expiredSeconds": 600}
    return {"campaign": campaign, "message": message, "audience": audience} | changes


def check_all_rows(stack: Stack, contract: dict[str, Any], body: dict[str, Any]) -> list[dict[str, Any]]:
    """Check all rows, validate the steps against the OpenAPI document, and return them."""
    url = f"{stack.inbox_url}/api/campaigns/check"
    response = urllib3.request("POST", url, json=body, retries=False, timeout=60)
    assert response.status == 200, response.data
    operation = contract["paths"]["/api/campaigns/check"]["post"]
    schema = operation["responses"]["200"]["content"]["application/x-ndjson"]["schema"]
    steps = [json.loads(line) for line in response.data.splitlines()]
    for step in steps:
        Draft202012Validator(schema).validate(step)
    return steps


def wait_for_state(call: Call, campaign: str, state: str) -> Any:
    """Wait until a campaign is in a state and return its details."""

    def details() -> Any:
        current = call("GET", f"/api/campaigns/{campaign}")
        return current if current["campaign"]["state"] == state else None

    return eventually(details, lambda: time.sleep(0.1))


# --- The audience


def test_audience_is_uploaded_to_oss_and_its_first_rows_are_returned(upload: Call, stack: Stack) -> None:
    details = upload()

    assert details["columns"] == ["user_id", "name", "lang"]
    assert details["rows"][0] == ["user-0", "Name 0", "en"]
    assert len(details["rows"]) == 5
    assert details["bytes"] == len(USERS)
    audience = details["audience"]
    assert audience["target"] == "user_id"
    stored, file = stack.oss.store.open(audience["bucket"], audience["key"])
    with file:
        assert file.read() == USERS
    assert stored.key.endswith("/users.csv")
    assert upload(USERS + b"user-40,Ann,en\n")["audience"] != audience  # a campaign may be reading that one


def test_repeated_upload_of_a_file_gives_the_same_audience(upload: Call) -> None:
    assert upload()["audience"] == upload()["audience"]


def test_large_audience_is_uploaded_in_parts(upload: Call, stack: Stack) -> None:
    content = b"id\n" + b"x" * (PART_BYTES // 2 - 1) + b"\n" + b"y" * PART_BYTES + b"\n"
    content = content.replace(b"id\n", b"id\n1\n" * 20_000, 1)

    audience = upload(content)["audience"]

    stored, file = stack.oss.store.open(audience["bucket"], audience["key"])
    with file:
        assert file.read() == content
    assert stored.etag.endswith("-2")
    assert upload(content)["audience"] == audience  # so that a repeated start is the same campaign
    again, file = stack.oss.store.open(audience["bucket"], audience["key"])
    file.close()
    assert again.modified == stored.modified


def test_aborted_upload_leaves_nothing(stack: Stack, upload: Call) -> None:
    address = ("127.0.0.1", int(stack.inbox_url.rpartition(":")[2]))
    with socket.create_connection(address) as connection:
        head = f"POST /api/audiences?name=cut.csv HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {3 * PART_BYTES}\r\n\r\n"
        connection.sendall(head.encode() + b"id\n" + b"1\n" * (PART_BYTES * 3 // 4))

    bucket = upload()["audience"]["bucket"]  # the next upload succeeds

    assert not stack.oss.store.uploads(bucket)
    listed = stack.oss.store.list_objects(bucket, prefix="audiences/").objects
    assert not [entry.key for entry in listed if entry.key.endswith("/cut.csv")]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("users.csv.gz", b"\x1f\x8b\x08\x00", "is gzip: unpack it"),
        (
            "users.xlsx",
            b"PK\x03\x04....",
            "a ZIP archive or a workbook: unpack it, or save it as CSV in UTF-8",
        ),
        (
            "users.csv",
            "用户,名称\n".encode("gbk"),
            "is not text in UTF-8: in a spreadsheet, save it as CSV UTF-8",
        ),
        ("users.csv", "user_id\n".encode("utf-16"), "is not text in UTF-8"),
        ("users.csv", b"", "it is empty"),
        ("users.csv", b"x" * 100_000, "its first line is longer than 64 KiB"),
        ("users.csv", b",,\n1,2,3\n", "has no header"),
        ("users.doc", b"a,b\n1,2\n", "must end with .csv, .tsv, .jsonl, .ndjson, .txt"),
        ("users.jsonl", b"[1]\n", "the first line is not a JSON object"),
        ("users.csv", b'user_id,"name\nA"\n', "the header has a quote that does not close on its line"),
        ("users.csv", b"user_id,name\rm1,A\rm2,B\r", "its lines end with CR alone"),
        ("users.txt", b"m1\r" * 30_000, "its lines end with CR alone"),
    ],
)
def test_unusable_audience_is_refused_with_a_reason(
    upload: Call, name: str, content: bytes, error: str
) -> None:
    assert error in upload(content, name, status=422)["detail"]


def test_too_large_audience_is_refused_before_its_upload(stack: Stack) -> None:
    connection = HTTPConnection("127.0.0.1", int(stack.inbox_url.rpartition(":")[2]), timeout=60)
    connection.putrequest("POST", "/api/audiences?name=a.csv")
    connection.putheader("Content-Length", str(LARGEST_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()

    assert response.status == 413
    assert "accepts files of up to 5 GiB" in json.loads(response.read())["detail"]
    connection.close()


@pytest.mark.parametrize(
    ("name", "content", "audience", "columns"),
    [
        ("a.csv", "\ufeffname,UID\nAda,1\n", {"target": "UID"}, ["name", "UID"]),
        ("a.csv", "name;user-id\nAda;1\n", {"target": "user-id", "delimiter": ";"}, ["name", "user-id"]),
        ("a.tsv", "x\ty\n1\t2\n", {"target": "x", "delimiter": "\t", "format": "csv"}, ["x", "y"]),
        ("a.jsonl", '{"lang": "en", "id": 7}\n{"id": "8"}\n', {"target": "id"}, ["lang", "id"]),
        ("a.txt", "user-1\nuser-2\n", {}, []),
    ],
)
def test_format_delimiter_and_target_are_guessed(
    name: str, content: str, audience: dict[str, str], columns: list[str]
) -> None:
    beginning = read_beginning(name, content.encode())

    assert (beginning.audience, beginning.columns) == (audience, columns)


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        ("user-1\nuser-2\n", False),
        ("2088102146225135\n2088102146225136\n", False),
        ("openidabc\nopeniddef\n", False),
        ("user_id\nuser-1\n", True),
        ("uid\n123\n", True),
        ("phone\n13800000000\n", True),
        ("name\n", True),
        ("id1,id2\n1,2\n", True),
    ],
)
def test_first_line_that_looks_like_an_id_is_distinguished_from_a_header(
    content: str, has_header: bool
) -> None:
    assert read_beginning("a.csv", content.encode()).has_header is has_header


def test_invalid_row_of_json_lines_affects_no_other_row() -> None:
    beginning = read_beginning("a.jsonl", b'{"id": "1", "n": ["x"]}\nnot JSON\n\n[3]\n{"id": 40, "n": "D"}\n')

    assert (beginning.columns, beginning.rows) == (["id", "n"], [["1", '["x"]'], ["40", "D"]])
    assert beginning.faults == ["line 2 is not JSON", "line 4 is not a JSON object"]


def test_first_rows_of_a_csv_are_parsed_as_by_a_campaign() -> None:
    content = b'id,n\n1,"a ""b"""\n3,"line\nbreak"\n4,"unclosed\n5,ok\n'

    beginning = read_beginning("a.csv", content)

    assert beginning.rows == [["1", 'a "b"'], ["5", "ok"]]
    quote = "has a quote that does not close on its line"
    assert (beginning.faults[0], beginning.faults[2]) == (f"line 3 {quote}", f"line 5 {quote}")
    assert beginning.faults[1].startswith("line 4 has ")


def test_first_rows_are_read_when_the_beginning_ends_within_a_character() -> None:
    content = "user_id,name\n" + "1,你好\n" * 20_000  # the look ends within a character

    assert read_beginning("a.csv", content.encode()).rows == [["1", "你好"]] * 5
    with pytest.raises(UnusableAudience):
        read_beginning("a.csv", content.encode("gbk"))


# --- Before the start


def test_rows_are_rendered_as_each_channel_displays_them(call: Call, upload: Call) -> None:
    preview = call("POST", "/api/campaigns/preview", document("preview", upload()["audience"]))

    assert (preview["rows"], preview["faults"]) == (40, [])
    sample = preview["samples"][0]
    assert (sample["line"], sample["message"]["title"]) == (2, "Name 0")
    xiaomi = next(channel for channel in sample["shown"]["channels"] if channel["label"] == "Xiaomi")
    assert xiaomi["title"]["shown"] == "Name 0"
    assert call("GET", "/api/campaigns/preview", status=404)["detail"] == "there is no campaign preview"


def test_check_reports_progress_and_the_lines_that_cannot_be_sent(
    stack: Stack, contract: dict[str, Any], upload: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_local.inbox.campaigns.commands.PROGRESS_SECONDS", 0)
    rows = b"".join(b"user-%d,Ada\n" % n for n in range(10_000))
    audience = upload(b"user_id,name\n" + rows + b"user-10000,\nuser-1,Ada\n")["audience"]

    *progress, last = check_all_rows(stack, contract, document("checked", audience, pace=20))

    assert progress == [{"share": 0}, {"share": 0.39}, {"share": 0.79}]
    assert last == {
        "share": 1,
        "passed": True,
        "lines": [
            "line 10002: column `name` is empty",
            "line 10003: duplicate target",
            "10,002 rows, 10,000 targets, 1,000 requests, 1 invalid, 1 duplicate",
            "500 seconds at 20 targets a second, in blocks of 20 rows",
        ],
        "error": None,
    }


def test_check_reports_why_nothing_can_be_sent(stack: Stack, contract: dict[str, Any], upload: Call) -> None:
    audience = upload()["audience"] | {"target": "uid"}

    *_, last = check_all_rows(stack, contract, document("checked", audience))

    assert last["passed"] is False
    assert "the audience has no column `uid`" in last["error"]


def test_check_stops_when_its_browser_disconnects(stack: Stack, upload: Call) -> None:
    audience = upload(b"user_id,name\n" + b"".join(b"user-%d,Ada\n" % n for n in range(200_000)))["audience"]
    body = json.dumps(document("left", audience))
    connection = HTTPConnection("127.0.0.1", int(stack.inbox_url.rpartition(":")[2]), timeout=60)
    connection.request("POST", "/api/campaigns/check", body, {"Content-Type": "application/json"})
    eventually(running_checks)

    connection.close()

    eventually(lambda: not running_checks())


def running_checks() -> list[str]:
    """The command lines of checks that are children of this process."""
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,args="], capture_output=True, check=True, text=True)
    lines = (line.split(None, 1) for line in listed.stdout.splitlines())
    return [line[1] for line in lines if line[0] == str(os.getpid()) and "campaign check" in line[1]]


@pytest.mark.parametrize("text", ['{"campaign": "c", "pace": 5}', "campaign: c\npace: 5\n"])
def test_document_is_read_from_json_and_yaml(stack: Stack, text: str) -> None:
    url = f"{stack.inbox_url}/api/campaigns/document"
    headers = {"Content-Type": "text/plain"}

    read = urllib3.request("POST", url, body=text.encode(), headers=headers, retries=False, timeout=60)
    wrong = urllib3.request("POST", url, body=b"a: [", headers=headers, retries=False, timeout=60)

    assert read.json() == {"document": {"campaign": "c", "pace": 5}}
    assert wrong.status == 422
    assert "is neither JSON nor YAML" in wrong.json()["detail"]


# --- Control and report


def test_campaign_is_started_paced_paused_resumed_and_reported(
    call: Call, upload: Call, stack: Stack
) -> None:
    rows = "".join(f"user-{n},{'' if n == 7 else 'Ada'}\n" for n in range(300))
    audience = upload(f"user_id,name\n{rows}".encode())["audience"]
    body = document("paced", audience, pace=10)

    assert call("POST", "/api/campaigns", body, status=201)["state"] == "running"
    assert call("POST", "/api/campaigns", body)["campaign"] == "paced"
    assert call("POST", "/api/campaigns/paced/pause")["state"] == "paused"
    eventually(lambda: not call("GET", "/api/campaigns/paced")["campaign"]["piecesWorking"])
    assert call("PATCH", "/api/campaigns/paced", {"pace": None})["pace"] is None
    assert call("POST", "/api/campaigns/paced/resume", {"pace": 2000})["pace"] == 2000
    done = wait_for_state(call, "paced", "done")

    assert done["document"].items() >= (body | {"audience": done["document"]["audience"]}).items()
    counts = done["campaign"]["counts"]
    assert (counts["rows"], counts["accepted"], counts["invalid"]) == (300, 299, 1)
    eventually(lambda: call("GET", "/api/campaigns")["campaigns"][0]["counts"] == counts)
    history = done["history"]
    assert [sample["at"] for sample in history] == sorted(sample["at"] for sample in history)
    assert history[0]["counts"]["rows"] == 0
    assert history[-1]["counts"] == counts
    report = f"{stack.inbox_url}/api/campaigns/paced/report"
    response = urllib3.request("GET", report, retries=False, timeout=60)
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"] == 'attachment; filename="paced-report.csv"'
    (line,) = csv.DictReader(io.StringIO(response.data.decode()))
    assert (line["target"], line["outcome"], line["text"]) == ("user-7", "invalid", "column `name` is empty")
    caused = call("GET", "/api/pushes?trigger=campaign&target=user-8")["pushes"]
    assert [call("GET", f"/api/pushes/{push['seq']}")["campaign"] for push in caused] == ["paced"]


def test_demo_starts_the_same_campaign_at_every_run(call: Call, stack: Stack) -> None:
    assert run_campaign(stack, stack.oss_triggers[0].bucket)
    assert run_campaign(stack, stack.oss_triggers[0].bucket)

    def demos() -> list[str]:
        listed = call("GET", "/api/campaigns")["campaigns"]
        return [campaign["campaign"] for campaign in listed if campaign["campaign"].startswith("demo-")]

    assert len(eventually(demos)) == 1


def test_unreadable_report_is_refused_with_a_reason(call: Call, upload: Call, stack: Stack) -> None:
    audience = upload(b"user_id,name\nuser-1,\nuser-2,Ada\n")["audience"]
    call("POST", "/api/campaigns", document("unreadable", audience), status=201)
    wait_for_state(call, "unreadable", "done")
    fault = {"kind": "internalError", "rate": 1, "match": {"prefix": "campaign-results/unreadable/"}}
    faults = f"{stack.oss.endpoint}/.local/faults"
    urllib3.request("POST", faults, json=fault, retries=False, timeout=60)
    try:
        refused = call("GET", "/api/campaigns/unreadable/report", status=502)
    finally:
        urllib3.request("DELETE", faults, retries=False, timeout=60)

    assert refused["detail"].startswith("The report is incomplete: oss://")


def test_cancelled_campaign_is_not_resumed(call: Call, upload: Call) -> None:
    rows = "".join(f"user-{n},Ada\n" for n in range(500))
    body = document("stopped", upload(f"user_id,name\n{rows}".encode())["audience"], pace=10)
    call("POST", "/api/campaigns", body, status=201)

    call("POST", "/api/campaigns/stopped/cancel")

    wait_for_state(call, "stopped", "cancelled")
    refused = call("POST", "/api/campaigns/stopped/resume", status=409)
    assert refused["detail"] == "campaign stopped was cancelled: start another one for the rest"


def test_refusal_of_the_http_function_is_passed_on(call: Call, upload: Call) -> None:
    audience = upload()["audience"]

    invalid = call("POST", "/api/campaigns", document("wrong", audience, pace=0), status=422)
    unknown = call("PATCH", "/api/campaigns/unknown", {"pace": 5}, status=404)
    report = call("GET", "/api/campaigns/unknown/report", status=404)

    assert invalid["errors"] == [
        {
            "field": "pace",
            "message": "must be a whole number from 1 to 100000, in targets a second, or null for no limit",
        }
    ]
    assert unknown["detail"] == report["detail"] == "there is no campaign unknown"


# --- The history


def campaign_at(rows: int, state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "campaign": "c",
        "state": state,
        "counts": {"rows": rows, "accepted": rows},
        "bytesDone": rows,
        "pace": 5,
        "startedAt": "2026-11-11T00:00:00Z",
        "finishedAt": None,
    } | changes


def test_history_is_bounded_and_keeps_its_ends() -> None:
    history, start = History(), 1794355200.0

    for second in range(1, 20_001):
        history.record(campaign_at(second), start + second)
    for _ in range(3):
        history.record(campaign_at(20_000, "done", finishedAt="2026-11-11T05:33:20Z"), start + 50_000)

    samples = history.samples
    assert SAMPLES / 2 < len(samples) <= SAMPLES
    assert (samples[0]["at"], samples[0]["counts"]["rows"]) == (start, 0)
    assert (samples[-1]["at"], samples[-1]["state"]) == (start + 20_000, "done")
    spans = [later["at"] - earlier["at"] for earlier, later in pairwise(samples[:-1])]
    assert max(spans) <= 2 * min(spans)


class Function:
    """A fake HTTP function that returns one response after the other."""

    def __init__(self, *responses: dict[str, Any] | None) -> None:
        self.responses, self.requests = list(responses), 0

    def request(self, _: str, path: str, __: Any = None) -> tuple[int, dict[str, Any]]:
        self.requests += 1
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if response is None:
            raise FunctionRefused(503, {"detail": "busy"})
        if path:
            return 200, response
        return 200, {"campaigns": [response]}


def test_running_campaign_is_sampled_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_local.inbox.campaigns.history.SAMPLE_SECONDS", 0.01)
    done = campaign_at(9, "done", finishedAt="2026-11-11T00:00:09Z")
    function = Function(campaign_at(1), None, campaign_at(5), done)
    announced: list[str] = []
    watch = CampaignWatch(function, announced.append)  # type: ignore[arg-type]  # a fake

    watch.list_all()
    eventually(lambda: not any(thread.name == "campaign-watch" for thread in threading.enumerate()))

    assert function.requests == 4
    assert set(announced) == {"campaigns"}


def test_only_the_latest_campaigns_have_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_local.inbox.campaigns.history.CAMPAIGNS", 1)
    ended = {"state": "done", "finishedAt": "2026-11-11T00:00:09Z"}
    older = campaign_at(1, **ended) | {"campaign": "older", "startedAt": "2026-11-10T00:00:00Z"}
    watch = CampaignWatch(Function(campaign_at(9, **ended), older, campaign_at(9, **ended)), print)  # type: ignore[arg-type]  # a fake

    watch.list_all()

    assert watch.get("older") == (older, [])
    assert len(watch.get("c")[1]) == 2
