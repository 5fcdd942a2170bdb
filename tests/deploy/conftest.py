"""Fixtures: a project in its own repository, an empty cloud, and a stand-in for the command `s`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.control_plane import ACCOUNT, ControlPlane, Server
from tests.deploy.s_command import serverless_command
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = f"""
ALIBABA_CLOUD_ACCOUNT_ID={ACCOUNT}
ALIBABA_CLOUD_REGION_ID=cn-hangzhou
MPAAS_APP_ID=ONEX570DA89211721
UPLOADS_BUCKET=our-uploads
PUSH_LEDGER_URL=rediss://push:sword%2Ffish@ledger.example.com:6379/0
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit_all(folder: Path) -> None:
    git(folder, "add", "--all")
    name = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    git(folder, *name, "commit", "--quiet", "--allow-empty", "-m", "change")


class Project:
    """A checkout with settings, and the commands of its deployment."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.layer = folder.parent / "layer.zip"
        self.layer.write_bytes(b"a layer")
        self.logs = folder.parent / "home" / ".s" / "logs" / "s.log"
        self._capsys = capsys

    def run(self, command: str, *arguments: str, stage: str = "dev") -> tuple[int, str]:
        """Run a command; return its exit code and printed text."""
        from deploy.__main__ import main  # late: it imports the SDKs of four services

        layer = ["--layer", str(self.layer)] if command in {"plan", "deploy"} else []
        code = main([command, "--folder", str(self.folder), "--stage", stage, *layer, *arguments])
        captured = self._capsys.readouterr()
        return code, captured.out + captured.err

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    def commit(self) -> str:
        """Commit everything and return the commit."""
        commit_all(self.folder)
        return git(self.folder, "rev-parse", "--short=12", "HEAD")

    def commit_and_deploy(self) -> str:
        """Commit everything, deploy it, and return the commit."""
        commit = self.commit()
        code, printed = self.run("deploy")
        assert code == 0, printed
        return commit


class FirstDeployment:
    """The cloud and the log files after the first deployment, which is carried out once and then restored."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cloud: dict[str, Any] = {}

    def restore(self, project: Project, cloud: ControlPlane) -> None:
        home = project.folder.parent / "home"
        if self._cloud:
            shutil.copytree(self._folder, home)
            cloud.restore(self._cloud)
            return
        code, printed = project.run("deploy")
        assert code == 0, printed
        assert (
            git(project.folder, "status", "--porcelain", "--ignored") == "!! .env"
        )  # nothing else to restore
        self._cloud = cloud.state()
        shutil.copytree(home, self._folder)


@pytest.fixture(scope="module")
def first_deployment(tmp_path_factory: pytest.TempPathFactory) -> FirstDeployment:
    return FirstDeployment(tmp_path_factory.mktemp("first") / "deployment")


@pytest.fixture(scope="module")
def policies() -> dict[str, str]:
    """Return the policies of the stages' roles, filled in as by `make prepare`."""
    from deploy.prepare import filled_policies  # late, as above

    env = dict(line.split("=", 1) for line in SETTINGS.split())
    return {
        f"mpaas-push-{stage}": json.dumps(filled_policies(stage, env)["function"])
        for stage in ("dev", "staging")
    }


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Run the server of the control planes."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cloud(server: Server, policies: dict[str, str]) -> ControlPlane:
    plane = ControlPlane(server)
    plane.policies |= policies
    return plane


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the committed project, to be copied: a copy is faster than a commit."""
    folder = tmp_path_factory.mktemp("repository") / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".env").write_text(SETTINGS)
    (folder / ".gitignore").write_text(".env\n.env.*\n")
    git(folder, "init", "--quiet", "--template=")
    commit_all(folder)
    git(folder, "repack", "-adq")  # one file instead of forty
    return folder


@pytest.fixture
def project(
    tmp_path: Path,
    repository: Path,
    cloud: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Project]:
    folder = shutil.copytree(repository, tmp_path / "project")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in (
        "STAGE",
        "MPAAS_LAYER_ARN",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
        "SERVERLESS_ACCESS",
        "FC_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{commands}:/usr/bin:/bin",
        "DEPLOY_CLOUD": cloud.url,
        "SSL_CERT_FILE": os.devnull,  # no test uses TLS, and each SDK session would read all certificates
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-deployer",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "swordfish-secret",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("deploy.code.interpreter", lambda _: None)  # test_code.py tests compilation
    with serverless_command(commands / "s"):
        yield Project(folder, capsys)


@pytest.fixture
def deployed(project: Project, cloud: ControlPlane, first_deployment: FirstDeployment) -> Project:
    """Return the project after its first deployment."""
    first_deployment.restore(project, cloud)
    return project
