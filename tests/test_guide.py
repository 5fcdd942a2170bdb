"""Every command of docs/guide.md is run and prints the output shown, except for ids and times."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpaas_local.stack import Ports, Stack
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide.md"
STEP = re.compile(r"<!-- run -->\n```sh\n(?P<command>.*?)```\n\n```\w+\n(?P<printed>.*?)```", re.DOTALL)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Stack(ports=Ports.any(), store=tmp_path / "store", descriptor=PROJECT / "s.yaml") as running:
        yield running


def normalize(text: str) -> str:
    """Replace the ids, which differ between runs."""
    for pattern, name in (
        (r"\b[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\b", "REQUEST"),
        (r"\b1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}\b", "CALL"),
        (r"\b[0-9a-f]{32}\b|\b[0-9A-F]{16,32}\b", "ID"),
    ):
        text = re.sub(pattern, name, text)
    return text.strip()


def run(command: str, stack: Stack, folder: Path) -> str:
    """Run a command of the guide against a test stack; return its output."""
    replacements = {
        "http://127.0.0.1:8080": stack.urls["http_push"],
        "http://127.0.0.1:8082": stack.events_url,
        "http://127.0.0.1:8084": stack.inbox_url,
        ".venv/bin/python": sys.executable,
    }
    for shown, actual in replacements.items():
        command = command.replace(shown, actual)
    process = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_commands_of_the_guide_print_the_output_shown(stack: Stack, tmp_path: Path) -> None:
    steps = list(STEP.finditer(GUIDE.read_text("utf-8")))

    assert len(steps) >= 8
    for step in steps:
        assert normalize(run(step["command"], stack, tmp_path)) == normalize(step["printed"]), step["command"]


def test_every_picture_of_the_documentation_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text("utf-8")):
            assert (document.parent / picture).is_file(), picture
