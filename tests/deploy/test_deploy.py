"""The steps of a deployment. A script stands for the `s` command, which cannot do its work without the cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.deploy import missing, other_stage
from project.env_file import read_env
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
ARN = "acs:fc:cn-hangzhou:1000000000000000:layers/mpaas-push-staging/versions/7"
SETTINGS = """
# a comment
ALIBABA_CLOUD_ACCOUNT_ID=1000000000000000
ALIBABA_CLOUD_REGION_ID=cn-hangzhou
MPAAS_APP_ID=ONEX570DA89211721
UPLOADS_BUCKET=our-uploads
PUSH_LEDGER_URL=
"""
S = f"""#!/bin/sh
echo "$@ | layer $MPAAS_LAYER_ARN | app $MPAAS_APP_ID | stage $STAGE" >> "$CALLS"
case "$*" in *"layer publish"*) echo '{{"layerVersionArn": "{ARN}"}}';; esac
case "$*" in *"$FAILS"*) exit 3;; esac
"""

NO_SUCH_ROLE = """#!/bin/sh
echo "asked $@" >> "$CALLS.aliyun"
echo "ERROR: SDK.ServerError" >&2
echo "ErrorCode: EntityNotExist.Role" >&2
exit 1
"""


class Machine:
    """A machine with a home, a settings file and the commands that a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.project = PROJECT
        self.settings = folder / "team.env"
        self.settings.write_text(SETTINGS)
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        self.add("s", S)
        (folder / ".s").mkdir()
        (folder / ".s" / "access.yaml").write_text("default:\n  AccountID: x\n")

    def own_project(self, old: str, new: str) -> None:
        """Deploy another project, which differs in a line of `s.yaml`."""
        self.project = shutil.copytree(PROJECT, self.home / "project")
        path = self.project / "s.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def add(self, command: str, script: str) -> None:
        path = self.bin / command
        path.write_text(script)
        path.chmod(0o755)

    def run(self, action: str, *arguments: str, answer: str = "", **env: str) -> tuple[int, str]:
        fixed: Mapping[str, str] = {
            "HOME": str(self.home),
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "CALLS": str(self.calls),
            "FAILS": "nothing fails",
        }
        command = [sys.executable, "-m", "deploy.deploy", action, "--settings", str(self.settings)]
        command += ["--folder", str(self.project)]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env={**fixed, "PYTHONPATH": str(ROOT), "UV_OFFLINE": "1", **env},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    @property
    def made(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_layer_is_published_and_the_stage_deployed_with_it(machine: Machine) -> None:
    code, printed = machine.run("deploy", "--stage", "staging")

    assert code == 0, printed
    publish, deploy = machine.made
    assert publish.startswith("cli fc3 layer publish --region cn-hangzhou --layer-name mpaas-push-staging ")
    assert "--compatible-runtime python3.10 -a default" in publish
    assert deploy.startswith("deploy -y -t s.staging.yaml -a default")
    assert deploy.endswith(f"layer {ARN} | app ONEX570DA89211721 | stage staging")
    assert "smoke --stage staging" in printed


def test_everything_that_is_missing_is_named_at_once_and_nothing_is_done(machine: Machine) -> None:
    machine.settings.write_text("ALIBABA_CLOUD_REGION_ID=nowhere\nMPAAS_APP_ID=\nFC_REGION=cn-hangzhou\n")
    (machine.bin / "s").unlink()
    machine.add("aliyun", NO_SUCH_ROLE)

    code, printed = machine.run("deploy", "--stage", "prod")

    assert code == 2
    for told in (
        "ALIBABA_CLOUD_ACCOUNT_ID is not set",
        "ALIBABA_CLOUD_REGION_ID is 'nowhere': put a region such as cn-hangzhou into team.env",
        "FC_REGION is set; unset it",
        "MPAAS_APP_ID is not set",
        "UPLOADS_BUCKET is not set",
        "the command s is not there: npm install",
        "the role mpaas-push-prod is not there: create it (docs/deploy.md",
    ):
        assert told in printed
    assert machine.made == []


@pytest.mark.parametrize("answer", ["ErrorCode: NoPermission", "dial tcp: no such host", ""])
def test_a_role_that_could_not_be_asked_for_is_not_missing(machine: Machine, answer: str) -> None:
    machine.add("aliyun", f"#!/bin/sh\necho '{answer}' >&2\nexit 1\n")
    env = read_env(machine.settings) | {"HOME": str(machine.home), "PATH": f"{machine.bin}:/usr/bin:/bin"}

    assert missing(env, "staging", machine.settings, PROJECT) == []


@pytest.mark.parametrize("action", ["logs", "remove"])
def test_what_is_deployed_is_followed_and_removed_with_less(machine: Machine, action: str) -> None:
    machine.settings.write_text(
        "ALIBABA_CLOUD_ACCOUNT_ID=1000000000000000\nALIBABA_CLOUD_REGION_ID=cn-hangzhou\n"
    )
    machine.add("aliyun", NO_SUCH_ROLE)

    code, printed = machine.run(action, "--stage", "staging", "--yes")

    assert code == 0, printed
    assert not (machine.home / "calls.aliyun").exists()


@pytest.mark.parametrize("action", ["deploy", "logs", "remove"])
def test_settings_of_another_stage_are_refused(machine: Machine, action: str) -> None:
    machine.settings.write_text(f"{SETTINGS}STAGE=prod\n")

    code, printed = machine.run(action, "--stage", "staging")

    assert code == 2
    assert "STAGE is 'prod' in team.env, but staging was asked for: remove it there" in printed
    assert machine.made == []
    assert other_stage(machine.settings, "prod") == []


def test_the_home_of_the_command_may_be_elsewhere(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (machine.home / ".s").rename(elsewhere / ".s")

    assert machine.run("deploy")[0] == 2
    assert machine.run("deploy", serverless_devs_config_home=str(elsewhere))[0] == 0


def test_a_missing_access_is_named(machine: Machine) -> None:
    (machine.home / ".s" / "access.yaml").write_text("other:\n  AccountID: x\n")

    code, printed = machine.run("deploy")

    assert code == 2
    assert "the access default is not there: s config add -a default" in printed
    assert machine.run("deploy", SERVERLESS_ACCESS="other")[0] == 0


def test_the_layer_is_for_the_runtime_of_the_descriptor(machine: Machine) -> None:
    machine.own_project("runtime: python3.10", "runtime: python3.12")

    code, printed = machine.run("deploy")

    assert code == 0, printed
    assert "layer-python3.12.zip" in machine.made[0]
    assert "--compatible-runtime python3.12" in machine.made[0]


def test_functions_of_two_runtimes_are_refused(machine: Machine) -> None:
    machine.own_project(
        "      code: ./functions/http_push", "      code: ./functions/http_push\n      runtime: python3.12"
    )

    code, printed = machine.run("deploy")

    assert code == 2
    assert "s.yaml cannot be used: functions of python3.10 and python3.12 cannot share a layer" in printed
    assert not machine.calls.exists()


@pytest.mark.parametrize("action", ["deploy", "logs", "remove"])
def test_settings_that_cannot_be_read_are_named(machine: Machine, action: str) -> None:
    machine.settings.write_bytes(b"MPAAS_APP_ID=\xe9\n")

    code, printed = machine.run(action)

    assert code == 2
    assert "team.env cannot be read: byte 13 is no UTF-8" in printed
    assert not machine.calls.exists()


def test_keys_of_a_pipeline_are_an_access_too(machine: Machine) -> None:
    (machine.home / ".s" / "access.yaml").unlink()
    name = "ci_serverless_devs_key"

    code, _ = machine.run("deploy", SERVERLESS_ACCESS=name, **{name: "{}"})

    assert code == 0


def test_what_is_set_in_the_environment_wins(machine: Machine) -> None:
    machine.run("deploy", MPAAS_APP_ID="ANOTHER")

    assert "app ANOTHER" in machine.made[-1]


@pytest.mark.parametrize(
    ("step", "told"), [("publish", "was not published"), ("deploy -y", "s deploy failed")]
)
def test_a_step_that_fails_ends_the_deployment(machine: Machine, step: str, told: str) -> None:
    code, printed = machine.run("deploy", FAILS=step)

    assert code == 1
    assert told in printed


def test_logs_and_remove_are_for_one_stage(machine: Machine) -> None:
    assert machine.run("logs", "--stage", "prod", "--function", "queue_push")[0] == 0
    assert machine.run("remove", "--stage", "prod", "--yes")[0] == 0

    assert machine.made[0].startswith("queue_push logs --tail -t s.prod.yaml -a default")
    assert machine.made[1].startswith("remove -y -t s.prod.yaml -a default")


@pytest.mark.parametrize(("answer", "removed"), [("prod\n", True), ("yes\n", False), ("", False)])
def test_a_stage_is_removed_once_its_name_is_typed(machine: Machine, answer: str, removed: bool) -> None:
    code, printed = machine.run("remove", "--stage", "prod", answer=answer)

    assert code == (0 if removed else 2)
    assert bool(machine.made) is removed
    assert ("nothing was removed" not in printed) is removed


def test_the_example_of_the_settings_names_all_that_is_needed() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    for name in ("ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID", "MPAAS_APP_ID", "UPLOADS_BUCKET"):
        assert f"\n{name}=" in example
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
