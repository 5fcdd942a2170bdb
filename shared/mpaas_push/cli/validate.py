"""`validate`: everything of a project that can be checked offline, as the functions themselves check it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpaas_push.cli.descriptors import check_function, check_stack, functions_of, read_yaml, timer_messages
from mpaas_push.cli.project import descriptors, read_input, rules_files, settings_or_stand_ins
from mpaas_push.errors import InvalidMessage, Misconfigured, PushError
from mpaas_push.json_text import read_json
from mpaas_push.messages import messages_of
from mpaas_push.rules import read_rules

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from mpaas_push.settings import Settings

__all__ = ["add_to"]


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "validate",
        help="check settings, descriptors, timer payloads, rules and messages, offline",
        description="Check the settings of the environment, s.yaml and its overlays with every timer payload,"
        " template.yml, every functions/*/rules.yaml, and the messages of files. Exit codes: 0 all is well; 1"
        " a fault was found.",
    )
    command.add_argument("messages", nargs="*", metavar="FILE", help="files of messages to check as well")
    command.add_argument(
        "--folder", type=Path, default=Path(), help="the project's folder; by default this one"
    )
    command.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    settings = settings_or_stand_ins()
    faults = 0
    checks = list(_checks(options.folder, settings))
    checks += [(file, partial(_messages, file, settings)) for file in options.messages]
    if not checks:
        folder = options.folder.resolve()
        raise Misconfigured(f"there is neither s.yaml nor functions/*/rules.yaml in {folder}")
    print("ok    settings of the environment")
    for place, check in checks:
        try:
            told = check()
        except PushError as error:
            faults += 1
            print(f"FAULT {place}: {error}")
        else:
            print(f"ok    {place}: {told}")
    print(f"{len(checks) + 1} checked, {faults or 'no'} fault{'' if faults == 1 else 's'}")
    return 1 if faults else 0


def _checks(folder: Path, settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what there is to check, each with its place and a check that says what is there or raises."""
    base: dict[str, dict[str, Any]] = {}
    for path in descriptors(folder):
        document = read_yaml(path)
        overlay = isinstance(document, dict) and "extend" in document
        functions = functions_of(document)
        base = base or functions
        for name, props in functions.items():
            place = f"{path.name}: {name}"
            yield place, partial(check_function, props, folder, overlay=overlay)
            for trigger in props.get("triggers") or ():
                if trigger.get("triggerType") == "timer":
                    timer = f"{place}: timer {trigger.get('triggerName')}"
                    yield timer, partial(_timer, trigger, settings)
    template = folder / "template.yml"
    if template.is_file():
        yield template.name, partial(check_stack, read_yaml(template), base)
    for path in rules_files(folder):
        yield str(path.relative_to(folder)), partial(_rules, path, settings)


def _timer(trigger: dict[str, Any], settings: Settings) -> str:
    return _counted(timer_messages(trigger, settings), "message")


def _rules(path: Path, settings: Settings) -> str:
    return _counted(len(read_rules(path, settings)), "rule")


def _messages(file: str, settings: Settings) -> str:
    messages = messages_of(read_json(read_input(file)), settings)
    faults = [
        fault for message in messages if isinstance(message, InvalidMessage) for fault in message.faults
    ]
    if faults:
        raise InvalidMessage(faults)
    return _counted(len(messages), "message")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
