"""`new-function NAME TRIGGER`: makes a function, its entry in `s.yaml`, a test and an event to try.

The code is that of the project's function of the same kind; what is peculiar to a kind of trigger is in
project/templates/.
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
from project.descriptor import Descriptor, read_yaml

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["TRIGGERS", "add_to"]

TEMPLATES = Path(__file__).with_name("templates")
QUEUE, TIMER, EVENT = (f"functions/{name}/index.py" for name in ("queue_push", "timer_push", "event_push"))
TRIGGERS: dict[str, tuple[str | Path, str]] = {
    "kafka": (QUEUE, "messages of a Kafka topic"),
    "mns": (QUEUE, "messages of an MNS queue"),
    "timer": (TIMER, "set times"),
    "http": (TEMPLATES / "http.py", "HTTP requests"),
    "event": (EVENT, "events of the event bus, by the rules of rules.yaml"),
}
"""By `TRIGGER`: what the code starts as, and what the function's description says it serves."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 40
"""Of function names, which hold the stage too, Function Compute takes 64 characters."""
TEST = '''"""The function NAME before the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

from tests.functions.queue_stack import QueueStack

ROOT = Path(__file__).resolve().parents[2]
EVENT = json.loads(Path(__file__).with_name("NAME.json").read_text("utf-8"))


def test_what_the_trigger_delivers_is_pushed() -> None:
    # PUSH_LATE: the moment that the event names may be long ago.
    with QueueStack("NAME", folder=ROOT / "functions" / "NAME", PUSH_LATE="send") as stack:
        stack.invoke(EVENT)

        assert stack.accepted == ["user-1"]
'''


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "new-function",
        help="make a function with its trigger, a test and an event to try",
        description="Make functions/NAME, its entry in s.yaml, tests/functions/test_NAME.py and the event"
        " tests/functions/NAME.json. Nothing is overwritten. Exit codes: 0 made; 1 nothing was made.",
    )
    command.add_argument("name", metavar="NAME", help="such as order_events: lower case, with underscores")
    command.add_argument("trigger", metavar="TRIGGER", choices=TRIGGERS, help=f"one of {', '.join(TRIGGERS)}")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default this one"
    )
    command.set_defaults(run=_new_function)


def _new_function(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    _check_name(options.name)
    descriptor = _with_function(folder / "s.yaml", options.name, options.trigger)
    files = _files(folder, options.name, options.trigger)
    if there := sorted(path for path in files if (folder / path).exists()):
        raise Misconfigured(f"nothing was made: {', '.join(there)} exists already")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
        print(f"made    {path}")
    (folder / "s.yaml").write_bytes(descriptor.encode())
    print(f"changed s.yaml: resources.{options.name}")
    if (folder / "template.yml").is_file():
        print("note: make template brings it into template.yml")
    print(f"next: make validate, and .venv/bin/python -m pytest tests/functions/test_{options.name}.py")
    return 0


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME or keyword.iskeyword(name):
        raise Misconfigured(
            f"{name!r} cannot be a function: NAME is in lower case, begins with a letter, and has letters,"
            f" digits and single underscores, at most {LONGEST_NAME} characters, as in order_events"
        )


def _files(folder: Path, name: str, trigger: str) -> Mapping[str, str]:
    """Return the files of a new function: texts by path.

    Raises:
        Misconfigured: the function whose code it starts with is not there.
    """
    code, _ = TRIGGERS[trigger]
    try:
        files = {f"functions/{name}/index.py": (folder / code).read_text("utf-8")}
    except OSError:
        raise Misconfigured(
            f"nothing was made: {code}, which the code is copied from, is not there"
        ) from None
    if trigger == "event":
        files[f"functions/{name}/rules.yaml"] = _filled("rules.yaml", name)
    files[f"tests/functions/test_{name}.py"] = TEST.replace("NAME", name)
    files[f"tests/functions/{name}.json"] = _filled(f"{trigger}.json", name)
    return files


def _filled(template: str, name: str) -> str:
    """Return the text of a template, filled in."""
    moment = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = (TEMPLATES / template).read_text("utf-8")
    return text.replace("HYPHENATED", name.replace("_", "-")).replace("MOMENT", moment)


def _with_function(path: Path, name: str, trigger: str) -> str:
    """Return the text of `s.yaml` with one more function; comments and order stay.

    Raises:
        DescriptorError: the file, or the function in it, cannot be read or resolved.
        Misconfigured: there is a function of this name, or no place for one.
    """
    descriptor = Descriptor(path)
    if name in descriptor.frame.resources:
        raise Misconfigured(f"nothing was made: s.yaml has resources.{name} already")
    first = next(iter(descriptor.frame.resources.values()))
    if first.extend is None:
        raise Misconfigured(
            "s.yaml has no template that its first function extends: add the function by hand"
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
        f"    triggers:\n" + indent(_filled(f"{trigger}.yaml", name), "      ")
    )
    added = indent(entry, margin)
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    changed = "".join([*lines[:at], added, *lines[at:]])
    if "\r\n" in text:
        changed = re.sub("\r?\n", "\r\n", changed)
    _check_that_only_a_function_came(path, changed, name)
    return changed


def _deployed_name(name: str) -> str:
    """Return the name in the cloud, as the deployer's policy has it: `mpaas-*-push-STAGE`."""
    return f"mpaas-{name.replace('_', '-').removesuffix('-push')}-push-${{vars.stage}}"


def _end_of_resources(lines: list[str]) -> tuple[int, str]:
    """Return the line after the last function and the margin of functions.

    Raises:
        Misconfigured: `resources` is not written as a block.
    """
    starts = [index for index, line in enumerate(lines) if re.match(r"resources:\s*(#.*)?$", line)]
    functions = [line for line in lines[starts[0] + 1 :] if re.match(r" +[\w'\"-]", line)] if starts else []
    if not functions:
        raise Misconfigured("s.yaml has no block `resources:`, one function a key: add the function by hand")
    end = next(
        (index for index in range(starts[0] + 1, len(lines)) if re.match(r"[^\s#]", lines[index])), len(lines)
    )
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1  # blank lines and comments belong to what follows
    return end, functions[0][: -len(functions[0].lstrip(" "))]


def _check_that_only_a_function_came(path: Path, changed: str, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(changed.encode())
        Descriptor(copy).function(name, {})
        document = read_yaml(copy)
    others = {key: value for key, value in document["resources"].items() if key != name}
    if document | {"resources": others} != read_yaml(path):
        raise Misconfigured("s.yaml is written in a way that cannot be added to: add the function by hand")
