from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
ORDER = {
    "id": "4711",
    "source": "shop.orders",
    "type": "order:Shipped",
    "specversion": "1.0",
    "data": {"order": {"id": 4711, "customer": "user-1"}},
}
TIMER = """
resources:
  timer_push:
    component: fc3
    props:
      triggers:
        - {triggerName: http, triggerType: http}
        - triggerName: noon
          triggerType: timer
          triggerConfig: {payload: '%s'}
"""
MESSAGE = {
    "taskName": "t",
    "title": "t",
    "content": "c",
    "deliveryType": 3,
    "targets": ["u"],
    "expiredSeconds": 60,
}


def command(
    *arguments: str, folder: Path = ROOT, stdin: str = "", env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command as a person does; return its exit code and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mpaas_push", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


# --- rules test


def test_an_event_shows_which_rules_match_and_what_they_would_send(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps(ORDER))

    code, printed = command("rules", "test", str(tmp_path / "event.json"))

    assert code == 0
    assert "order-shipped: matches, 1 request" in printed
    assert '"Title": "Order 4711 is on its way"' in printed
    assert "alert: does not match" in printed


def test_a_rule_that_fails_on_the_event_says_why() -> None:
    code, printed = command("rules", "test", "-", stdin=json.dumps(ORDER | {"data": {}}))

    assert code == 1
    assert "order-shipped: FAILS" in printed
    assert "`data.order.customer` is not in the event" in printed


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_what_is_no_event_says_so(text: str) -> None:
    code, printed = command("rules", "test", "-", stdin=text)

    assert code == 1
    assert "error: expected a CloudEvents 1.0 event" in printed


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert command("rules", "test", "nothing.json") == (
        1,
        "error: nothing.json cannot be read: No such file or directory\n",
    )
    code, printed = command("rules", "test", "-", folder=tmp_path)
    assert code == 1
    assert "--rules" in printed


# --- validate


def test_the_project_itself_is_valid() -> None:
    code, printed = command("validate")

    assert code == 0
    assert "timer_push: timer morning: 1 message" in printed
    assert "functions/event_push/rules.yaml: 3 rules" in printed


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (json.dumps(MESSAGE | {"titel": "x"}), "did you mean `title`?"),
        (json.dumps({"messages": [MESSAGE, {}]}), "messages.1.title: is required"),
    ],
)
def test_a_wrong_timer_payload_is_a_fault(tmp_path: Path, payload: str, told: str) -> None:
    (tmp_path / "s.yaml").write_text(TIMER % payload)

    code, printed = command("validate", str(tmp_path))

    assert code == 1
    assert "FAULT s.yaml: timer_push: timer noon: " in printed
    assert told in printed
    assert "1 checked, 1 fault\n" in printed


def test_overlays_and_rules_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(TIMER % json.dumps(MESSAGE))
    (tmp_path / "s.prod.yaml").write_text(TIMER % "{}")
    rules = tmp_path / "functions" / "f" / "rules.yaml"
    rules.parent.mkdir(parents=True)
    rules.write_text("rules: []")

    code, printed = command("validate", str(tmp_path))

    assert code == 1
    assert "ok    s.yaml" in printed
    assert "FAULT s.prod.yaml" in printed
    assert "FAULT functions/f/rules.yaml" in printed


@pytest.mark.parametrize(
    ("text", "told"), [("a: [", "s.yaml cannot be read"), (None, "neither s.yaml nor functions")]
)
def test_a_folder_without_a_project_says_so(tmp_path: Path, text: Any, told: str) -> None:
    if text:
        (tmp_path / "s.yaml").write_text(text)

    code, printed = command("validate", str(tmp_path))

    assert code == 1
    assert told in printed


def test_a_wrong_setting_of_the_environment_is_named() -> None:
    code, printed = command("validate", env={"PUSH_CONCURRENCY": "many"})

    assert code == 1
    assert printed.startswith("error: PUSH_CONCURRENCY: ")


def test_without_a_command_the_commands_are_named() -> None:
    code, printed = command()

    assert code == 2
    assert "usage: python -m mpaas_push" in printed
