"""Every command of docs/campaigns.md is run and prints the output shown."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from mpaas_local.redis_server import redis_executable
from mpaas_local.stack import Ports, Stack
from mpaas_push.__main__ import main
from tests.descriptors import PROJECT
from tests.fork_server import start_forked
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "campaigns.md"
BLOCK = re.compile(r"^```(?P<language>sh|yaml|console)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(redis_executable() is None, reason="neither Redis nor Valkey is installed")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(
        ports=Ports.any(), store=tmp_path / "store", descriptor=PROJECT / "s.yaml", start=start_forked
    ) as running:
        yield running


def normalize(command: str, printed: str) -> str:
    """Replace the numbers that depend on the moment of the command."""
    if re.search("campaign (status|pause) ", command):
        return re.sub(r", N s left", "", re.sub(r"\d[\d,]*", "N", printed))
    if "% of " in printed:
        return re.sub(r"[\d,]+ (requests|targets a second)", r"N \1", printed)
    return printed


class Reader:
    """Follows the page in an empty folder."""

    def __init__(
        self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.stack, self.folder = stack, folder
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self._functions = ""
        monkeypatch.chdir(folder)
        # On a busy machine, following a campaign takes longer than half a minute.
        monkeypatch.setattr("mpaas_push.cli.campaign.progress.LINE_SECONDS", 600.0)

    def wait(self, campaign: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until a condition holds for the campaign as the API shows it."""
        url = f"{self.stack.urls['http_push']}/v1/campaigns/{campaign}"
        eventually(
            lambda: condition(urllib3.request("GET", url, timeout=60).json()), lambda: time.sleep(0.05)
        )

    def follow_console(self, text: str) -> None:
        """Run each command and compare its output."""
        for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, printed = step.partition("\n")
            if " status " in command:
                self.wait("double11-2026", lambda campaign: campaign["counts"]["rows"] > 0)
            assert normalize(command, self._run_here(command)) == normalize(command, printed), command

    def follow_shell(self, text: str) -> None:
        """Run a script, or keep its definitions for the next ones."""
        if text.startswith("export "):
            for assignment in self._adapt(text).replace("export ", "").split():
                self._monkeypatch.setenv(*assignment.split("=", 1))
        elif text.startswith("oss()"):
            self._functions += text
        elif text.startswith("next="):
            self.wait("by-curl", lambda campaign: campaign["state"] == "done")
            self._run(text)
            assert (self.folder / "report.csv").read_text("utf-8").count("column `name` is empty") == 3
        else:
            self._run(text)

    def _run(self, script: str) -> str:
        command = ["bash", "-ec", self._adapt(self._functions + script)]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=100).stdout

    def _run_here(self, command: str) -> str:
        """Run a command of the project in this process, because a new process takes long to start."""
        words = shlex.split(self._adapt(command))
        assert words[:3] == [".venv/bin/python", "-m", "mpaas_push"]
        code = main(words[3:])
        stdout, stderr = self._capsys.readouterr()
        assert code == 0, command + stdout + stderr
        return (stdout + stderr).replace(sys.executable, ".venv/bin/python")

    def _adapt(self, text: str) -> str:
        """Return a command adapted to the ports of this stack and made faster."""
        for shown, actual in {
            "http://127.0.0.1:8080": self.stack.urls["http_push"],
            "http://127.0.0.1:8085": self.stack.oss.endpoint,
            "--pace 2000": "--pace 50000",
            '{"pace": 2000}': '{"pace": 50000}',
            # A tenth of the rows, including those without a name.
            "oss PUT": "awk 'NR == 1 || NR % 10 == 9' users.csv > few.csv; oss PUT",
            "-T users.csv": "-T few.csv",
        }.items():
            text = text.replace(shown, actual)
        return text


def test_new_user_can_follow_the_page(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Reader(stack, tmp_path, monkeypatch, capsys)
    text = DOCUMENT.read_text("utf-8").partition("## The document")[0]
    blocks = list(BLOCK.finditer(text))
    assert [block["language"] for block in blocks].count("console") >= 3
    for block in blocks:
        if block["language"] == "yaml":
            (tmp_path / "double11.yaml").write_text(block["text"])
        elif block["language"] == "console":
            reader.follow_console(block["text"])
        else:
            reader.follow_shell(block["text"])
