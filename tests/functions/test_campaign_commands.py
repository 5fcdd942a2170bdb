"""The campaign commands, against the deployed functions with real OSS and Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from mpaas_push.__main__ import main
from mpaas_push.campaign import objects
from mpaas_push.campaign.model import Campaign
from mpaas_push.campaign.objects import OssObjects
from mpaas_push.cli.campaign import progress, steering
from tests.functions.campaign_stack import BUCKET, CampaignStack, document
from tests.functions.http_stack import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, running_redis: RedisServer) -> Iterator[CampaignStack]:
    with CampaignStack(folder=tmp_path_factory.mktemp("commands"), redis_url=running_redis.url) as stack:
        yield stack


class Commands:
    """Runs `campaign …`; keeps the output of the latest command."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        try:
            return main(["campaign", *map(str, arguments)])
        finally:
            self.out, self.err = self._capsys.readouterr()

    def file(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


@pytest.fixture
def campaign(
    stack: CampaignStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    monkeypatch.setenv("PUSH_HTTP_URL", stack.url)
    monkeypatch.setenv("PUSH_OSS_ENDPOINT", stack.oss.endpoint)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", ROLE.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ROLE.access_key_secret)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", ROLE.security_token or "")
    monkeypatch.setattr(steering, "MIN_POLL_SECONDS", 0.05)
    return Commands(tmp_path, capsys)


def users(number: int, prefix: str) -> str:
    return "".join(["user_id,name\n", *(f"{prefix}-{index},Name {index % 7}\n" for index in range(number))])


def waiting(name: str, **changes: Any) -> dict[str, Any]:
    """A campaign outside its window."""
    hour = time.gmtime(time.time() + 8 * 3600).tm_hour
    return document(
        name, window={"from": f"{(hour + 2) % 24:02}:00", "to": f"{(hour + 3) % 24:02}:00"}, **changes
    )


def in_oss(stack: CampaignStack, key: str) -> str | None:
    """The audience of a campaign; None if there is none."""
    if f"audiences/{key}.csv" not in set(stack.objects.names(BUCKET, "audiences/")):
        return None
    info = stack.objects.info(BUCKET, f"audiences/{key}.csv")
    return stack.objects.read(BUCKET, f"audiences/{key}.csv", 0, info.size).decode()


def test_campaign_is_checked_started_followed_and_reported(campaign: Commands) -> None:
    file = campaign.file("cli.json", document("cli", pace=5000))
    audience = campaign.file("users.csv", users(300, "cli") + "cli-7,Again\n,Nobody\n")

    assert campaign("check", file, "--audience", audience) == 0
    assert campaign.out == (
        "line 302: duplicate target\nline 303: has no target: user_id is empty\n"
        "302 rows, 300 targets, 30 requests, 1 duplicate, 1 invalid\n"
        "0 seconds at 5,000 targets a second, in blocks of 4,000 rows\n"
    )
    assert campaign("check", file, "--audience", audience, "--progress", "0") == 0
    assert campaign.err == ""  # too few rows for a progress line
    assert campaign("start", file, "--audience", audience) == 0
    assert "uploaded to oss://marketing/audiences/cli.csv" in campaign.out
    assert "cli: done\n  302 rows, 300 accepted, 1 invalid, 1 duplicate\n" in campaign.out
    assert campaign("status", "cli") == 0
    assert "cli: done" in campaign.out
    assert campaign("report", "cli") == 0
    report = campaign.out.splitlines()
    assert report[0] == "target,outcome,resultCode,text,messageId,offset"
    assert len(report) == 3
    assert campaign("pause", "nothing") == 1
    assert "there is no campaign nothing" in campaign.err


def test_repeated_start_uploads_nothing_and_keeps_the_campaign(
    stack: CampaignStack, campaign: Commands
) -> None:
    file = campaign.file("same.json", document("same"))
    audience = campaign.file("users.csv", users(20, "same"))
    assert campaign("start", file, "--audience", audience) == 0

    assert campaign("start", file, "--audience", audience) == 0

    assert "oss://marketing/audiences/same.csv already has this content" in campaign.out
    assert "same: done" in campaign.out
    assert stack.show("same")["counts"]["accepted"] == 20


@pytest.mark.parametrize("changed", ["content", "file", "content and file"])
def test_refused_start_leaves_the_uploaded_file_unchanged(
    stack: CampaignStack, campaign: Commands, changed: str
) -> None:
    name = f"open-{changed.replace(' ', '-')}"
    rows = users(3, name)
    stack.put(f"audiences/{name}.csv", rows)
    stack.start(waiting(name))
    file = campaign.file("a.json", waiting(name, report="all" if "content" in changed else "failed"))
    audience = campaign.file("users.csv", rows + "one-more,Name\n" if "file" in changed else rows)

    for options in ([], ["--replace"]):
        assert campaign("start", file, "--audience", audience, *options) == 1
        error = f"campaign {name} " + (
            "was started with other content (in report): give"
            if "content" in changed
            else "has begun, and oss://"
        )
        assert error in campaign.err
        assert in_oss(stack, name) == rows


def test_start_of_a_paused_campaign_with_another_file_is_refused(
    stack: CampaignStack, campaign: Commands
) -> None:
    stack.put("audiences/resting.csv", users(3, "resting"))
    stack.start(waiting("resting"))
    stack.request("POST", "/v1/campaigns/resting/pause")
    file = campaign.file("a.json", waiting("resting"))
    audience = campaign.file("users.csv", users(4, "resting"))

    assert campaign("start", file, "--audience", audience) == 1
    assert "campaign resting has begun, and oss://marketing/audiences/resting.csv differs" in campaign.err
    assert "use another id" in campaign.err
    stack.put("audiences/resting.csv", users(5, "resting"))
    assert campaign("start", file, "--no-wait") == 1
    assert "HTTP 409: campaign resting was started with another file (its ETag differs)" in campaign.err


def test_new_campaign_replaces_an_existing_file_only_with_the_option(
    stack: CampaignStack, campaign: Commands
) -> None:
    stack.put("audiences/daily.csv", users(5, "yesterday"))
    file = campaign.file("daily.json", document("daily"))
    audience = campaign.file("users.csv", users(7, "today"))

    assert campaign("start", file, "--audience", audience) == 1
    assert "use --replace" in campaign.err
    assert in_oss(stack, "daily") == users(5, "yesterday")
    assert campaign("start", file, "--audience", audience, "--replace") == 0
    assert in_oss(stack, "daily") == users(7, "today")
    assert stack.show("daily")["counts"]["accepted"] == 7


@pytest.mark.parametrize(
    ("rows", "message", "error"),
    [
        (users(3, "u"), {"title": "{nick}"}, "message.title: the audience has no column `nick`"),
        (users(3, "u"), {"titel": "x"}, "message.titel: "),
        ("user_id,name\n\n", {}, "audience: the file has a header and no rows"),
        ("", {}, "audience: the file is empty"),
    ],
)
def test_check_and_start_report_the_same_fault_and_upload_nothing(
    stack: CampaignStack, campaign: Commands, rows: str, message: dict[str, str], error: str
) -> None:
    message = {**document()["message"], **message}
    file = campaign.file("wrong.json", document("wrong", message=message))
    audience = campaign.file("users.csv", rows)

    for action in ("check", "start"):
        assert campaign(action, file, "--audience", audience) == 1
        assert campaign.err.startswith(f"error: the campaign cannot be started: {error}")
        assert campaign.out == ""
    assert in_oss(stack, "wrong") is None


def test_function_refuses_an_audience_without_rows(stack: CampaignStack) -> None:
    stack.put("audiences/header.csv", "user_id,name\n")

    response = stack.start(document("header"))

    assert (response.status, response.json["errors"][0]["message"]) == (
        422,
        "the file has a header and no rows",
    )


def test_concurrent_upload_of_the_same_content_is_accepted(
    stack: CampaignStack, campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = OssObjects.upload

    def beaten(self: OssObjects, *arguments: Any, **options: Any) -> None:
        stack.put("audiences/beaten.csv", meanwhile)
        upload(self, *arguments, **options)

    monkeypatch.setattr(OssObjects, "upload", beaten)
    file = campaign.file("a.json", document("beaten"))
    audience = campaign.file("users.csv", users(3, "beaten"))

    meanwhile = users(4, "beaten")
    assert campaign("start", file, "--audience", audience) == 1
    assert "was just uploaded by another client" in campaign.err
    stack.objects.delete(BUCKET, "audiences/beaten.csv")
    meanwhile = users(3, "beaten")
    assert campaign("start", file, "--audience", audience) == 0
    assert stack.show("beaten")["counts"]["accepted"] == 3


def test_unreachable_oss_is_reported_with_the_reason(
    campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MAX_ATTEMPTS", 1)
    monkeypatch.setenv("PUSH_OSS_ENDPOINT", "http://127.0.0.1:9")

    assert campaign("check", campaign.file("a.json", document("any"))) == 1
    error = "cannot be reached at the moment (ConnectionRefusedError) at http://127.0.0.1:9; set PUSH_OSS_ENDPOINT"
    assert error in campaign.err


def test_interrupted_command_says_how_to_continue(
    campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(OssObjects, "upload", interrupt)
    file = campaign.file("a.json", document("interrupted"))

    assert campaign("start", file, "--audience", campaign.file("users.csv", users(3, "i"))) == 3
    assert campaign.err == "interrupted; the same command continues where it stopped\n"


def test_missing_audience_file_is_named(campaign: Commands) -> None:
    file = campaign.file("a.json", document("absent"))

    assert campaign("start", file, "--audience", campaign.folder / "no.csv") == 1
    assert "no.csv cannot be read: No such file or directory" in campaign.err


def test_file_without_sendable_rows_is_an_error(campaign: Commands) -> None:
    file = campaign.file("a.json", document("none"))

    assert campaign("check", file, "--audience", campaign.file("users.csv", "user_id,name\n,A\n,B\n")) == 1
    assert campaign.err == "error: no row can be sent\n"


def test_past_end_is_an_error_in_check_and_a_warning_in_start(campaign: Commands) -> None:
    file = campaign.file("ended.json", document("ended", endsAt="2020-01-01T00:00:00Z"))
    audience = campaign.file("users.csv", users(2, "ended"))

    assert campaign("check", file, "--audience", audience) == 1
    assert "error: no row can be sent: endsAt has passed" in campaign.err
    for _ in range(2):
        assert campaign("start", file, "--audience", audience) == 0, campaign.out + campaign.err
        assert "warning: endsAt: has passed: every row that has not been sent expires" in campaign.err
        assert "2 expired" in campaign.out


@pytest.mark.parametrize("text", ["{name", "{name} {", "{}", "name} x", "{1st}"])
def test_brace_outside_a_placeholder_is_warned_about(campaign: Commands, text: str) -> None:
    texts = {"by": "name", "default": "en", "en": {}, "zh": {"title": text}}
    plain = document("brace", texts=texts)
    plain["message"] |= {"content": text, "extendedParams": '{"a": {"b": "{name}"}}', "title": "{{name}}"}
    audience = campaign.file("users.csv", users(2, "brace"))

    assert campaign("check", campaign.file("a.json", plain), "--audience", audience) == 0
    warning = "has a brace that is sent unchanged: a placeholder is written {column}"
    assert [line for line in campaign.out.splitlines() if "warning" in line] == [
        f"warning: message.content: {warning}",
        f"warning: texts.zh.title: {warning}",
    ]


def test_commands_load_neither_redis_nor_oss() -> None:
    code = "import mpaas_push.cli.campaign.command, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "mpaas_push.cli.campaign.check" in loaded.split()
    assert {"redis", "alibabacloud_oss_v2"}.isdisjoint(loaded.split())


def test_invalid_yaml_is_reported_in_one_line(campaign: Commands) -> None:
    file = campaign.file("a.yaml", "campaign: x\nmessage: {title: [}\n")

    assert campaign("check", file, "--audience", "users.csv") == 1
    assert campaign.err == (
        "error: the campaign cannot be started: is neither JSON nor YAML:"
        " expected the node content, but found '}' (line 2, column 19)\n"
    )


def test_start_of_a_stopped_campaign_says_what_to_do(stack: CampaignStack, campaign: Commands) -> None:
    stack.put("audiences/halted.csv", users(3, "halted"))
    stack.start(waiting("halted"))
    file = campaign.file("a.json", waiting("halted"))
    audience = campaign.file("users.csv", users(3, "halted"))

    stack.request("POST", "/v1/campaigns/halted/pause")
    assert campaign("start", file, "--audience", audience) == 3
    assert "halted: paused" in campaign.out
    assert "-m mpaas_push campaign resume halted\n" in campaign.out
    stack.request("POST", "/v1/campaigns/halted/cancel")
    assert campaign("start", file, "--no-wait") == 1
    assert "a cancelled campaign cannot be started again: use another id" in campaign.out
    assert campaign("resume", "halted", "--follow") == 1
    assert "HTTP 409" in campaign.err


def test_check_and_dry_run_count_the_requests_that_are_sent(stack: CampaignStack, campaign: Commands) -> None:
    # A hundred rows of 37 texts in blocks of thirty: each block has its own requests.
    rows = ["user_id,name", *(f"count-{number},Name {number % 37}" for number in range(100)), ""]
    stack.put("audiences/count.csv", "\n".join(rows))
    message = {**document()["message"], "title": "{name}"}
    file = campaign.file("count.json", document("count", message=message, pace=30))

    assert campaign("check", file) == 0
    checked = campaign.out
    dry = stack.request("POST", "/v1/campaigns?dryRun=true", json.loads(file.read_text())).json
    assert campaign("start", file) == 0

    sent = stack.show("count")["requests"]
    assert f"100 rows, 100 targets, {sent} requests\n" in checked
    assert dry["requests"] == sent


def test_check_reports_a_duplicate_in_another_piece(campaign: Commands) -> None:
    wide = "x" * 1000
    rows = ["user_id,name", *(f"apart-{number},{wide}" for number in range(400)), f"apart-7,{wide}", ""]
    audience = campaign.file("apart.csv", "\n".join(rows))

    assert campaign("check", campaign.file("a.json", document("apart")), "--audience", audience) == 0
    assert "line 402: duplicate target, in another piece: it is sent again\n" in campaign.out
    assert "401 rows, 401 targets, 41 requests, 1 sent again\n" in campaign.out


def test_file_without_a_header_is_warned_about(stack: CampaignStack, campaign: Commands) -> None:
    rows = "".join(f"bare-{number}\n" for number in range(5))
    body = document("bare", audience={"bucket": BUCKET, "key": "audiences/bare.csv", "target": "bare-0"})
    file, audience = campaign.file("bare.json", body), campaign.file("bare.csv", rows)
    text = "looks like the id below it: a file without a header needs one"

    assert campaign("check", file, "--audience", audience) == 0
    assert f"warning: audience.target: the name of column `ba…(6)` {text}" in campaign.out
    stack.put("audiences/bare.csv", rows)
    warnings = stack.request("POST", "/v1/campaigns?dryRun=true", body).json["warnings"]
    assert [text in warning["message"] for warning in warnings] == [True]
    assert campaign("start", file, "--no-wait") == 0
    assert text in campaign.err
    wrong = campaign.file("wrong.json", document("bare"))
    assert campaign("check", wrong, "--audience", audience) == 1
    assert "it has ba…(6), which look like a row: a file without a header needs one" in campaign.err


def test_white_space_around_targets_is_removed_with_a_warning(campaign: Commands) -> None:
    audience = campaign.file("blank.csv", "user_id,name\nblank-1 ,Ann\nblank-1,Ann\n")

    assert campaign("check", campaign.file("a.json", document("blank")), "--audience", audience) == 0
    assert "line 3: duplicate target\n" in campaign.out
    assert "warning: audience.target: 1 row has white space around the target" in campaign.out


@pytest.mark.parametrize("is_uploaded", [True, False])
def test_faults_of_document_and_audience_are_reported_together(
    stack: CampaignStack, campaign: Commands, is_uploaded: bool
) -> None:
    message = {**document()["message"], "title": "{nmae}"}
    body = {**document("both"), "message": message, "pase": 5}
    file, rows = campaign.file("both.json", body), users(3, "both")
    faults = [
        "pase: unknown field `pase`; did you mean `pace`?",
        "message.title: the audience has no column `nmae`",
    ]
    if is_uploaded:
        stack.put("audiences/both.csv", rows)
        options: list[object] = []
    else:
        options = ["--audience", campaign.file("both.csv", rows)]

    for action in ("check", "start"):
        assert campaign(action, file, *options) == 1
        assert all(fault in campaign.err for fault in faults), campaign.err
    if is_uploaded:
        for path in ("/v1/campaigns", "/v1/campaigns?dryRun=true"):
            errors = stack.request("POST", path, body).json["errors"]
            assert [error["field"] for error in errors] == ["message.title", "pase"]


def test_pace_changes_only_with_a_successful_resume(stack: CampaignStack, campaign: Commands) -> None:
    stack.put("audiences/paces.csv", users(3, "paces"))
    stack.start(waiting("paces", pace=5))

    assert campaign("resume", "paces", "--pace", "2000") == 0
    assert "pace: 2,000 targets a second" in campaign.out
    assert campaign("resume", "paces", "--pace", "none") == 0
    assert "pace: no limit" in campaign.out
    stack.request("POST", "/v1/campaigns/paces/cancel")
    assert campaign("resume", "paces", "--pace", "7") == 1
    assert stack.show("paces")["pace"] is None


def test_pause_and_cancel_of_a_finished_campaign_are_refused(
    stack: CampaignStack, campaign: Commands
) -> None:
    stack.put("audiences/ended.csv", users(3, "ended"))
    stack.start(document("ended"))
    stack.wait("ended")

    for action in ("pause", "cancel"):
        assert campaign(action, "ended") == 1
        assert campaign.err == f"error: HTTP 409: campaign ended is done: nothing is left to {action}\n"
    assert campaign("resume", "ended") == 0


def test_campaign_with_a_changed_file_is_not_resumed(stack: CampaignStack, campaign: Commands) -> None:
    stack.put("audiences/swapped.csv", users(3, "swapped"))
    stack.start(waiting("swapped"))
    assert campaign("status", "swapped") == 0
    assert f"  its window opens at {stack.show('swapped')['opensAt']}\n" in campaign.out
    assert campaign("pause", "swapped") == 0
    stack.put("audiences/swapped.csv", users(4, "swapped"))

    assert campaign("resume", "swapped", "--pace", "7") == 1
    assert (
        "HTTP 409: campaign swapped cannot be resumed: oss://marketing/audiences/swapped.csv was"
        in campaign.err
    )
    assert (stack.show("swapped")["state"], stack.show("swapped")["pace"]) == ("paused", None)
    stack.put("audiences/swapped.csv", users(3, "swapped"))
    assert campaign("resume", "swapped") == 0
    stack.objects.delete(BUCKET, "audiences/swapped.csv")
    assert campaign("resume", "swapped") == 1
    assert "campaign swapped cannot be resumed: " in campaign.err


def test_cancel_says_that_rows_are_still_being_counted(campaign: Commands) -> None:
    with scripted({"state": "running", "cancelling": True}) as url:
        assert campaign("cancel", "c", "--url", url) == 0

    assert campaign.out.startswith("c: cancelling\n")
    assert "still being counted" in campaign.out


@pytest.mark.parametrize("pace", ["0", "-1", "1e3", "fast", "100001"])
def test_invalid_pace_is_a_usage_error(campaign: Commands, pace: str) -> None:
    with pytest.raises(SystemExit) as ended:
        campaign("resume", "any", "--pace", pace)

    assert ended.value.code == 2
    assert "must be a whole number from 1 to 100000, or none" in campaign.err


SHOWN: dict[str, Any] = {
    "campaign": "c",
    "document": Campaign.model_validate(document("c")).as_json(),
    "cancelling": False,
    "counts": {"rows": 1},
    "bytes": 10,
    "bytesDone": 5,
    "requests": 1,
    "pieces": 4,
    "pace": None,
    "secondsLeft": 3,
}


class Scripted(BaseHTTPRequestHandler):
    """Responds with each step in turn, then always with the last: a status, a state, or members of a campaign.

    0 closes the connection without a response.
    """

    script: ClassVar[list[str | int | dict[str, Any]]] = []

    def do_GET(self) -> None:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if not step:
            return
        shown = step if isinstance(step, dict) else {"state": step}
        refusal = (
            {"Code": "AccessDenied"}
            if step == 403
            else {"errorCode": "SignatureNotMatch"}
            if step == 401
            else {"type": "urn:mpaas-push:problem:unavailable", "detail": "not now"}
        )
        body = json.dumps(refusal if isinstance(step, int) else SHOWN | shown).encode()
        self.send_response(step if isinstance(step, int) else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def scripted(*script: str | int | dict[str, Any]) -> Iterator[str]:
    handler = type("Handler", (Scripted,), {"script": list(script)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_campaign_is_followed_through_failures_of_the_function(campaign: Commands) -> None:
    with scripted("running", "running", 500, 0, 503, "running", 429, "done") as url:
        assert campaign("status", "c", "--follow", "--url", url) == 0

    assert campaign.out.startswith("c: done\n")


def test_progress_without_a_terminal_is_an_occasional_line(
    campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, lines in ((0.0, ["c running, 1 row, 3 s left: 50%", "c done, 1 row: 50%"]), (3600.0, [])):
        monkeypatch.setattr(progress, "LINE_SECONDS", seconds)
        with scripted("running", "running", "done") as url:
            assert campaign("status", "c", "--follow", "--url", url) == 0
        assert campaign.err.splitlines() == lines


@pytest.mark.parametrize(
    ("seconds", "text"), [(299, "299 s"), (300, "5 min"), (7100, "118 min"), (82_796, "23 h 0 min")]
)
def test_long_wait_is_shown_in_hours(campaign: Commands, seconds: int, text: str) -> None:
    with scripted({"state": "waiting", "secondsLeft": seconds}) as url:
        assert campaign("status", "c", "--url", url) == 0

    assert f", {text} left\n" in campaign.out


def test_following_ends_with_an_error_when_the_function_stays_unavailable(
    campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "PATIENCE_SECONDS", 0.2)
    with scripted("running", "running", 500) as url:
        assert campaign("status", "c", "--follow", "--url", url) == 4

    assert campaign.out.startswith("c: running\n")
    assert "HTTP 500: not now" in campaign.err
    assert "-m mpaas_push campaign status c --follow\n" in campaign.err


def test_following_ends_at_once_when_the_function_refuses(campaign: Commands) -> None:
    with scripted("running", 404) as url:
        assert campaign("status", "c", "--follow", "--url", url) == 1

    assert "HTTP 404: not now" in campaign.err


def test_start_of_an_incomplete_campaign_says_what_to_do(campaign: Commands) -> None:
    file = campaign.file("a.json", document("c"))
    with scripted("incomplete") as url:
        assert campaign("start", file, "--url", url) == 1

    assert "c: incomplete\n" in campaign.out
    assert "campaign resume c" in campaign.out


def test_interrupted_following_says_how_to_continue(
    campaign: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mpaas_push.cli.campaign.steering.time.sleep", interrupt)
    with scripted("running") as url:
        assert campaign("status", "c", "--follow", "--url", url) == 3

    assert campaign.err.startswith("it continues; to follow it again: ")


def test_pieces_of_killed_workers_are_shown(campaign: Commands) -> None:
    stalled = {"state": "running", "piecesStalled": 2, "stalledUntil": "2026-11-11T12:00:20Z"}
    with scripted(stalled) as url:
        assert campaign("status", "c", "--url", url) == 0

    assert "2 of 4 pieces wait for another worker" in campaign.out
    assert "2026-11-11T12:00:20Z" in campaign.out


def test_wrong_service_at_the_address_gets_no_campaign(stack: CampaignStack, campaign: Commands) -> None:
    file = campaign.file("a.json", document("elsewhere"))
    audience = campaign.file("users.csv", users(3, "elsewhere"))

    assert campaign("start", file, "--audience", audience, "--url", stack.sandbox.url) == 1
    assert "HTTP 404, not from http_push: check the address (PUSH_HTTP_URL) and the AccessKey" in campaign.err
    assert in_oss(stack, "elsewhere") is None


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (401, "SignatureNotMatch")])
def test_refusal_of_the_platform_is_reported_with_its_code(
    campaign: Commands, status: int, code: str
) -> None:
    with scripted(status) as url:
        assert campaign("status", "c", "--url", url) == 1

    assert f"HTTP {status} {code}, not from http_push" in campaign.err


def test_unreachable_address_is_reported(campaign: Commands) -> None:
    with scripted("running") as url:
        pass

    assert campaign("pause", "c", "--url", url) == 4
    assert "no connection to 127.0.0.1" in campaign.err
