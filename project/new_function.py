"""`new-function NAME TRIGGER`: create a function, its entry in `s.yaml`, a test and a sample event.

The code is a copy of the project's function of the same kind; project/templates/ has the parts that depend on
the kind of trigger.
"""

from __future__ import annotations

import keyword
import re
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from mpaas_push.errors import Misconfigured
from project.descriptor import Descriptor, descriptor_files, read_yaml
from project.smoke import check_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["TRIGGERS", "add_to"]

TEMPLATES = Path(__file__).with_name("templates")
QUEUE, TIMER, EVENT = (f"functions/{name}/index.py" for name in ("queue_push", "timer_push", "event_push"))
TRIGGERS: dict[str, tuple[str | Path, str]] = {
    "kafka": (QUEUE, "messages of a Kafka topic"),
    "mns": (QUEUE, "messages of an MNS queue"),
    "timer": (TIMER, "the ticks of a timer"),
    "http": (TEMPLATES / "http.py", "HTTP requests"),
    "event": (EVENT, "events of the event bus, by the rules of rules.yaml"),
}
"""By `TRIGGER`: the code to copy, and the end of the function's description."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 40
"""Longest NAME. Function Compute allows 64 characters in a function name, which also contains the stage."""
TEST = '''"""The function NAME, which sends to the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

from tests.functions.queue_stack import QueueStack

ROOT = Path(__file__).resolve().parents[2]
EVENT = json.loads(Path(__file__).with_name("NAME.json").read_text("utf-8"))
SMOKE = json.loads(Path(__file__).with_name("NAME.smoke.json").read_text("utf-8"))


def test_delivered_event_is_pushed() -> None:
    # PUSH_LATE=send: the time in the event may be long past.
    with QueueStack("NAME", folder=ROOT / "functions" / "NAME", PUSH_LATE="send") as stack:
        stack.invoke(EVENT)

        assert stack.accepted == ["user-1"]


def test_smoke_event_sends_no_push() -> None:
    with QueueStack("NAME", folder=ROOT / "functions" / "NAME") as stack:
        result = stack.host.invoke(json.dumps(SMOKE["event"]).encode()).payload.decode()

        assert SMOKE["expected"] in result
        assert stack.sandbox.inbox() == []
'''


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "new-function",
        help="create a function with its trigger, a test and a sample event",
        description="Create functions/NAME, its entry in s.yaml, tests/functions/test_NAME.py, the event"
        " tests/functions/NAME.json and, for `smoke`, NAME.smoke.json. Nothing is overwritten. Exit codes: 0"
        " created; 1 nothing was created.",
    )
    command.add_argument("name", metavar="NAME", help="such as order_events: lower case, with underscores")
    command.add_argument("trigger", metavar="TRIGGER", choices=TRIGGERS, help=f"one of {', '.join(TRIGGERS)}")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default the current one"
    )
    command.set_defaults(run=_new_function)


def _new_function(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    _check_name(options.name)
    descriptor = _with_function(folder / "s.yaml", options.name, options.trigger)
    _check_unique_name(folder, options.name)
    files = _files(folder, options.name, options.trigger)
    if existing := sorted(path for path in files if (folder / path).exists()):
        raise Misconfigured(f"nothing was created: {', '.join(existing)} already exists")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        print(f"created {path}")
    (folder / "s.yaml").write_bytes(descriptor.encode())
    print(f"changed s.yaml: resources.{options.name}")
    template = "template " if (folder / "template.yml").is_file() else ""  # it must have the function, too
    print(f"next: make {template}validate, and")
    print(f"      .venv/bin/python -m pytest tests/functions/test_{options.name}.py")
    return 0


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME or keyword.iskeyword(name):
        raise Misconfigured(
            f"{name!r} is not a valid NAME: use lower-case letters, digits and single underscores, a letter"
            f" first, at most {LONGEST_NAME} characters, as in order_events"
        )


def _check_unique_name(folder: Path, name: str) -> None:
    """Raise `Misconfigured` if a function of any descriptor has the same name in the cloud."""
    for path in descriptor_files(folder):
        descriptor = Descriptor(path)
        for resource in descriptor.frame.resources:
            if descriptor.written_name(resource) == _deployed_name(name):
                raise Misconfigured(
                    f"nothing was created: {_deployed_name(name)} is the functionName of {resource} in"
                    f" {path.name}: use another NAME"
                )


def _files(folder: Path, name: str, trigger: str) -> Mapping[str, str]:
    """Return the files of a new function: texts by path.

    Raises:
        Misconfigured: the function to copy does not exist.
    """
    code, _ = TRIGGERS[trigger]
    try:
        files = {f"functions/{name}/index.py": (folder / code).read_text("utf-8")}
    except OSError:
        raise Misconfigured(f"nothing was created: {code}, the code to copy, does not exist") from None
    if trigger == "event":
        files[f"functions/{name}/rules.yaml"] = _fill("rules.yaml", name)
    files[f"tests/functions/test_{name}.py"] = TEST.replace("NAME", name)
    files[f"tests/functions/{name}.json"] = _fill(f"{trigger}.json", name)
    files[str(check_file(name))] = _fill(f"{trigger}.smoke.json", name)
    return files


def _fill(template: str, name: str) -> str:
    """Return the text of a template, with the name and the current time inserted."""
    moment = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = (TEMPLATES / template).read_text("utf-8")
    return text.replace("HYPHENATED", name.replace("_", "-")).replace("MOMENT", moment)


def _with_function(path: Path, name: str, trigger: str) -> str:
    """Return the text of `s.yaml` with a function added; comments and order stay.

    Raises:
        DescriptorError: the file, or the function in it, cannot be read or resolved.
        Misconfigured: the function exists, or the file cannot be extended.
    """
    descriptor = Descriptor(path)
    if name in descriptor.frame.resources:
        raise Misconfigured(f"nothing was created: s.yaml already has resources.{name}")
    first = next(iter(descriptor.frame.resources.values()))
    if first.extend is None:
        raise Misconfigured(
            "the first function in s.yaml does not extend a template: add the function manually"
        )
    text = path.read_bytes().decode()
    lines = text.splitlines(keepends=True)
    at, margin = _end_of_resources(lines)
    entry = (
        f"\n{name}:\n"
        f"  component: {first.component}\n"
        f"  extend:\n"
        f"    name: {first.extend.name}\n"
        f"  props:\n"
        f"    functionName: {_deployed_name(name)}\n"
        f"    description: Pushes sent for {TRIGGERS[trigger][1]}\n"
        f"    code: ./functions/{name}\n"
        f"    triggers:\n" + indent(_fill(f"{trigger}.yaml", name), "      ")
    )
    added = indent(entry, margin)
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    changed = "".join([*lines[:at], added, *lines[at:]])
    if "\r\n" in text:
        changed = re.sub("\r?\n", "\r\n", changed)
    _check_only_addition(path, changed, name)
    return changed


def _deployed_name(name: str) -> str:
    """Return the name in the cloud, which the deployer's policy requires: `mpaas-*-push-STAGE`."""
    return f"mpaas-{name.replace('_', '-').removesuffix('-push')}-push-${{vars.stage}}"


def _end_of_resources(lines: list[str]) -> tuple[int, str]:
    """Return the line after the last function, and the indentation of functions.

    Raises:
        Misconfigured: `resources` is not written as a block.
    """
    starts = [index for index, line in enumerate(lines) if re.match(r"resources:\s*(#.*)?$", line)]
    functions = [line for line in lines[starts[0] + 1 :] if re.match(r" +[\w'\"-]", line)] if starts else []
    if not functions:
        raise Misconfigured(
            "s.yaml has no block `resources:` with a key per function: add the function manually"
        )
    end = next(
        (index for index in range(starts[0] + 1, len(lines)) if re.match(r"[^\s#]", lines[index])), len(lines)
    )
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1  # blank lines and comments belong to the next block
    return end, functions[0][: -len(functions[0].lstrip(" "))]


def _check_only_addition(path: Path, changed: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(changed.encode())
        Descriptor(copy).function(name, {})
        document = read_yaml(copy)
    others = {key: value for key, value in document["resources"].items() if key != name}
    if document | {"resources": others} != read_yaml(path):
        raise Misconfigured("the format of s.yaml does not allow an addition: add the function manually")
