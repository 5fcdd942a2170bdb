"""Every command of docs/campaigns.md is run as it stands there, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from mpaas_local.redis_server import redis_executable
from mpaas_local.stack import Ports, Stack
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "campaigns.md"
BLOCK = re.compile(r"^```(?P<language>sh|yaml|console)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(redis_executable() is None, reason="neither Redis nor Valkey is here")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(ports=Ports.any(), store=tmp_path / "store", descriptor=PROJECT / "s.yaml") as running:
        yield running


def normal(command: str, printed: str) -> str:
    """Leave out what depends on the moment of the command."""
    if re.search("campaign (status|pause) ", command):
        return re.sub(r", N s left", "", re.sub(r"\d[\d,]*", "N", printed))
    if "% of " in printed:
        return re.sub(r"[\d,]+ (requests|targets a second)", r"N \1", printed)
    return printed


def wait(url: str, is_so: Callable[[dict[str, Any]], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so(shown := urllib3.request("GET", url, timeout=60).json()):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


def test_a_new_user_can_follow_the_page(stack: Stack, tmp_path: Path) -> None:
    there = {
        "http://127.0.0.1:8080": stack.urls["http_push"],
        "http://127.0.0.1:8085": stack.oss.endpoint,
        ".venv/bin/python": sys.executable,
        "--pace 2000": "--pace 50000",
        '{"pace": 2000}': '{"pace": 50000}',
    }
    definitions = ""

    def run(command: str) -> str:
        script = definitions + command
        for shown, real in there.items():
            script = script.replace(shown, real)
        done = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, command + done.stdout + done.stderr
        return (done.stdout + done.stderr).replace(sys.executable, ".venv/bin/python")

    text = DOCUMENT.read_text("utf-8").partition("## The document")[0]
    blocks = list(BLOCK.finditer(text))
    assert [block["language"] for block in blocks].count("console") >= 3
    campaigns = stack.urls["http_push"] + "/v1/campaigns"
    for block in blocks:
        if block["language"] == "yaml":
            (tmp_path / "double11.yaml").write_text(block["text"])
        elif block["language"] == "console":
            for step in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, printed = step.partition("\n")
                if " status " in command:
                    wait(f"{campaigns}/double11-2026", lambda shown: shown["counts"]["rows"] > 0)
                assert normal(command, run(command)) == normal(command, printed), command
        elif block["text"].startswith(("export ", "oss()")):
            definitions += block["text"]
        elif block["text"].startswith("results="):
            wait(f"{campaigns}/by-curl", lambda shown: shown["state"] == "done")
            assert run(block["text"]).count("column name is empty") == 3
        else:
            run(block["text"])
