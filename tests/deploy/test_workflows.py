"""The GitHub workflows are valid and pinned, and give no cloud secret to pull requests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_are_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_and_tool_is_pinned(path: Path) -> None:
    text = path.read_text("utf-8")
    for action, version in re.findall(r"uses: ([\w/.-]+)@(\S+)", text):
        # Each runs with the deployer's keys or before they are created, and a tag can be moved.
        assert re.fullmatch(r"[0-9a-f]{40}", version), action
    assert not re.search(r"runs-on: \S+-latest|npm install(?![^\n]*@[\w/-]+@\d)", text)


def test_checks_of_pull_requests_have_no_secret_and_no_permissions() -> None:
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text("utf-8")

    assert "secrets." not in text
    assert "id-token" not in text
    assert "pull_request_target" not in text
    assert "permissions:\n  contents: read\n" in text


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow, with its triggers under `on`, which YAML 1.1 reads as true."""
    document = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in document.items()}


def test_only_main_is_deployed_after_the_checks() -> None:
    jobs = workflow("deploy")["jobs"]

    assert jobs["checks"] == {"uses": "./.github/workflows/checks.yml"}
    assert jobs["staging"]["needs"] == "checks"
    assert jobs["prod"]["needs"] == "staging"
    for stage in ("staging", "prod"):
        assert jobs[stage]["if"] == "github.ref == 'refs/heads/main'"
        assert jobs[stage]["with"] == {"stage": stage}


def test_push_to_main_is_checked_once() -> None:
    assert workflow("checks")["on"].keys() == {"pull_request", "workflow_call"}
    assert workflow("deploy")["on"]["push"] == {"branches": ["main"]}


def test_only_deployments_may_request_keys() -> None:
    deploy = workflow("deploy")

    assert deploy["permissions"] == {"contents": "read"}
    requesting = {name for name, job in deploy["jobs"].items() if "id-token" in job.get("permissions", {})}
    assert (
        requesting
        == {"staging", "prod"}
        == {name for name, job in deploy["jobs"].items() if "secrets" in job}
    )


def test_waiting_stage_does_not_block_another() -> None:
    assert "concurrency" not in workflow("deploy")
    (job,) = workflow("deploy-stage")["jobs"].values()
    assert job["concurrency"] == {"group": "deploy-${{ inputs.stage }}", "cancel-in-progress": False}


def test_every_example_setting_is_a_variable_or_a_secret_of_the_stage() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    text = (ROOT / ".github" / "workflows" / "deploy-stage.yml").read_text("utf-8")
    names = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE)) - {"SERVERLESS_ACCESS"}

    for name in names:
        assert f"{name}: ${{{{ vars.{name} " in text or f"{name}: ${{{{ secrets.{name} " in text, name


def test_no_key_is_stored_for_deployments() -> None:
    for path in WORKFLOWS:
        named = set(re.findall(r"secrets\.(\w+)", path.read_text("utf-8")))
        assert named <= {"PUSH_LEDGER_URL"}
