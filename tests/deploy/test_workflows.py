"""The workflows for GitHub: well formed, pinned, and no cloud secret where pull requests run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_workflows_are_what_github_takes() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_and_tool_is_pinned(path: Path) -> None:
    text = path.read_text("utf-8")
    for action, version in re.findall(r"uses: ([\w/.-]+)@(\S+)", text):
        # The action for Alibaba Cloud has major versions only.
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version) or action.startswith("aliyun/"), action
    assert not re.search(r"runs-on: \S+-latest|npm install(?![^\n]*@[\w/-]+@\d)", text)


def test_checks_of_pull_requests_have_no_secret_and_no_rights() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text("utf-8")

    assert "secrets." not in text
    assert "id-token" not in text
    assert "pull_request_target" not in text
    assert "permissions:\n  contents: read\n" in text


def test_no_key_is_stored_for_deployments() -> None:
    for path in WORKFLOWS:
        named = set(re.findall(r"secrets\.(\w+)", path.read_text("utf-8")))
        assert named <= {"PUSH_LEDGER_URL"}
