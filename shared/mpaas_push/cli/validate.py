"""`validate`: every timer's payload and every rule of a project, checked as the functions check them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push.cli.project import descriptors, rules_files, settings_or_stand_ins
from mpaas_push.errors import Misconfigured, PushError
from mpaas_push.json_text import read_json
from mpaas_push.rules import read_rules
from mpaas_push.triggers.timer import Tick, tasks_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from mpaas_push.settings import Settings

__all__ = ["add_to"]


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser("validate", help="check timer payloads and rules, offline")
    command.add_argument(
        "folder", type=Path, nargs="?", default=Path(), help="the project's folder; by default this one"
    )
    command.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    settings = settings_or_stand_ins()
    faults = 0
    found = 0
    for place, check in _checks(options.folder, settings):
        found += 1
        try:
            told = check()
        except PushError as error:
            faults += 1
            print(f"FAULT {place}: {error}")
        else:
            print(f"ok    {place}: {told}")
    if not found:
        raise Misconfigured(
            f"there is neither s.yaml nor functions/*/rules.yaml in {options.folder.resolve()}"
        )
    print(f"{found} checked, {faults or 'no'} fault{'' if faults == 1 else 's'}")
    return 1 if faults else 0


def _checks(folder: Path, settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what there is to check, each with its place and a check that says what is there or raises."""
    for path in descriptors(folder):
        for resource, trigger in _timers(path):
            place = f"{path.name}: {resource}: timer {trigger.get('triggerName')}"
            yield place, partial(_timer, trigger, settings)
    for path in rules_files(folder):
        yield str(path.relative_to(folder)), partial(_rules, path, settings)


def _timers(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Misconfigured(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None
    resources = document.get("resources") if isinstance(document, dict) else None
    for resource, described in (resources or {}).items():
        props = described.get("props") if isinstance(described, dict) else None
        for trigger in (props or {}).get("triggers") or ():
            if isinstance(trigger, dict) and trigger.get("triggerType") == "timer":
                yield str(resource), trigger


def _timer(trigger: dict[str, Any], settings: Settings) -> str:
    config = trigger.get("triggerConfig") or {}
    payload = read_json(str(config.get("payload") or ""))
    messages = len(tasks_of(Tick(str(trigger.get("triggerName")), "", payload), settings))
    return f"{messages} message{'' if messages == 1 else 's'}"


def _rules(path: Path, settings: Settings) -> str:
    rules = len(read_rules(path, settings))
    return f"{rules} rule{'' if rules == 1 else 's'}"
