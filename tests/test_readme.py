"""The examples, tables and lists of README.md match the project."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.demo import CASES
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_push import PushClient, Settings
from mpaas_push.event_rules import read_rules
from tests.functions.http_stack import ROLE, HttpStack
from tests.functions.queue_stack import QueueStack

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def block(marker: str, number: int = 0) -> str:
    """Return the text of a fenced block after a marker."""
    blocks = re.findall(r"```\w*\n(.*?)```", README.partition(marker)[2], re.DOTALL)
    return str(blocks[number])


@pytest.fixture
def stack() -> Iterator[HttpStack]:
    with HttpStack() as running:
        yield running


def without_ids(response: dict[str, Any]) -> dict[str, Any]:
    for outcome in response["outcomes"]:
        outcome["requestId"] = "an id"
        outcome["targets"] = dict.fromkeys(outcome["targets"], "an id")
    return response


def test_curl_example_gets_the_response_shown(stack: HttpStack) -> None:
    command, shown = block("<!-- curl -->"), block("<!-- curl -->", 1)
    body = re.search(r"-d '(.*)'", command, re.DOTALL)
    assert body
    assert "-X POST http://127.0.0.1:8080/v1/pushes" in command

    response = stack.post(body[1].encode())

    assert without_ids(response.json) == without_ids(json.loads(shown))


def test_table_of_settings_is_complete() -> None:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, (meaning, default) in Settings.variables().items():
        rows.append(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |")

    assert "\n".join(rows) in README


def test_library_example_runs_unchanged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
    with Sandbox(access_keys=keys) as sandbox:
        for name, value in {
            "MPAAS_ENDPOINT": sandbox.url,
            "MPAAS_APP_ID": "ONEX1",
            "MPAAS_WORKSPACE_ID": "default",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": ROLE.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ROLE.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": ROLE.security_token,
        }.items():
            monkeypatch.setenv(name, value)

        exec(compile(block("## As a library"), "README.md", "exec"), {})  # exactly the code in the README

        assert capsys.readouterr().out.startswith("accepted ")
        assert len(sandbox.inbox()) == 1


def test_map_lists_every_folder_and_no_other() -> None:
    listed = set(re.findall(r"^\| `([\w.]+)/` \|", README, re.MULTILINE))
    existing = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ignored = {"build", "dist"}

    assert listed - {".ci", ".github"} == existing - ignored
    for link in re.findall(r"\]\((docs/[^)]*)\)", README):
        assert (ROOT / link).exists(), link


def test_demo_of_the_readme_lists_the_actual_cases() -> None:
    shown = block("<!-- demo -->")
    for case in CASES:
        assert f"  {case.title:46} {case.status:>4}" in shown


def test_client_of_the_examples_is_public() -> None:
    assert PushClient.from_env({}).settings == Settings()


def test_message_of_the_queue_page_can_be_sent(stack: HttpStack) -> None:
    text = (ROOT / "docs" / "queue.md").read_text("utf-8")
    body = "".join(re.findall(r"^        '(.*)'$", text, re.MULTILINE))

    assert stack.post(body.encode()).status == 200


def test_rule_of_the_events_page_is_valid_and_its_event_is_pushed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "events.md").read_text("utf-8")
    (rule,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rule)
    event = re.findall(r"-d '(.*?)'", text.partition("<!-- event -->")[2], re.DOTALL)[0]

    assert len(read_rules(tmp_path / "rules.yaml", Settings())) == 1
    with QueueStack("event_push") as function:
        assert function.invoke(json.loads(event))["outcomes"] == {"accepted": 1}
