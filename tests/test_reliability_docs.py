"""docs/reliability.md names existing tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_guarantee_names_existing_tests() -> None:
    _, _, table = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Which tests show it")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    named = {
        name for _, names in (row for row in rows if len(row) == 2) for name in re.findall(r"`(\w+)`", names)
    }
    existing = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def test_(\w+)", file.read_text("utf-8"), re.MULTILINE)
    }

    assert len(named) > 50
    assert named - existing == set()
