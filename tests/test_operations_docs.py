"""docs/operations.md names existing commands, log lines, queues and settings."""

from __future__ import annotations

import re
from pathlib import Path

from project.descriptor import read_functions
from project.wiring import mns_queues
from tests.descriptors import PROJECT

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
ALARMS, METRICS = (
    re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[1:]
    for table in PAGE.partition("<!-- alarms -->\n")[2].split("\n\n")[:2]
)


def texts(*folders: str) -> str:
    return "\n".join(path.read_text("utf-8") for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_every_log_line_of_an_alarm_is_written_by_the_functions() -> None:
    code = texts("shared", "functions")

    assert len(ALARMS) >= 8
    for alarm in ALARMS:
        assert alarm.strip("`") in code, alarm


def test_every_queue_of_an_alarm_is_in_the_deployment() -> None:
    queues = mns_queues(read_functions(PROJECT / "s.yaml", {}).values())
    named = {name for metric in METRICS for name in re.findall(r"`(mpaas-push-[a-z]+)-<stage>`", metric)}

    assert named == {name.removesuffix("-dev") for name in queues} - {"mpaas-push"}


def test_every_command_of_the_page_is_a_make_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = set(re.findall(r"\bmake ([a-z-]+)(?: [A-Z]+=|`| )", PAGE)) - {"these"}

    assert commands
    assert commands <= targets


def test_every_link_of_the_page_leads_to_a_file() -> None:
    for link in re.findall(r"\]\(([\w/.-]+\.md)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
