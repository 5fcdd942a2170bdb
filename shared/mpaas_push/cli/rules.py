"""`rules test EVENT.json`: show which rules match an event and what they would send, without sending it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push.cli.inputs import read_input, rules_files, settings_with_placeholders
from mpaas_push.errors import InvalidMessage, Misconfigured
from mpaas_push.event_rules import read_rules, tasks_of_event
from mpaas_push.request import plan
from mpaas_push.triggers.cloudevent import events_of
from mpaas_push.triggers.destination import failure_of

if TYPE_CHECKING:
    import argparse

    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask

__all__ = ["add_to"]


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser("rules", help="test the rules that turn cloud events into messages")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    test = actions.add_parser("test", help="show which rules match an event and what they would send")
    test.add_argument(
        "event", metavar="EVENT.json", help="file with one or more events; - for standard input"
    )
    test.add_argument("--rules", type=Path, metavar="FILE", help="rule file; default: functions/*/rules.yaml")
    test.set_defaults(run=_test)


def _test(options: argparse.Namespace) -> int:
    settings = settings_with_placeholders()
    files = [options.rules] if options.rules else rules_files(Path())
    if not files:
        raise Misconfigured("no functions/*/rules.yaml in this folder: name a file with --rules")
    payload = read_input(options.event)
    failure = failure_of(payload)
    events = events_of(failure.payload if failure else payload)
    is_valid = True
    for file in files:
        rules = read_rules(file, settings)
        for event in events:
            print(f"{file}: event {event.scope}")
            tasks = {task.scope.rpartition(":")[2]: task for task in tasks_of_event(event, rules, settings)}
            for rule in rules:
                if rule.name not in tasks:
                    print(f"  {rule.name}: does not match")
            for name, task in tasks.items():
                is_valid &= _print_requests(name, task, settings)
    return 0 if is_valid else 1


def _print_requests(name: str, task: PushTask, settings: Settings) -> bool:
    """Print the requests of a rule for an event; return whether they can be sent."""
    requests = plan(task.message, settings, task.scope)
    if isinstance(requests, InvalidMessage):
        print(f"  {name}: FAILS, the event would become a dead letter")
        for fault in requests.faults:
            print(f"    {fault}")
        return False
    print(f"  {name}: matches, {len(requests)} request{'s' if len(requests) > 1 else ''}")
    for request in requests:
        print("    " + json.dumps(dict(request.parameters), ensure_ascii=False))
    for advice in requests[0].message.advice(levels=settings.constraint_levels):
        print(f"    note: {advice}")
    return True
