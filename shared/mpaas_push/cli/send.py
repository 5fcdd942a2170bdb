"""`send FILE`: send the messages of a file directly to mPaaS or the sandbox, without a function."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mpaas_push.cli.inputs import read_input
from mpaas_push.client import PushClient
from mpaas_push.errors import InvalidMessage
from mpaas_push.json_text import read_json
from mpaas_push.message.reading import messages_of, payloads_of
from mpaas_push.outcome import Outcome, OutcomeKind, counts_of
from mpaas_push.request import plan
from mpaas_push.settings import Settings
from mpaas_push.targets import without_targets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from mpaas_push.message import PushMessage

__all__ = ["add_to"]

EXIT_CODES = {OutcomeKind.UNKNOWN: 4, OutcomeKind.THROTTLED: 3}
"""For the worst outcome; 1 for failures that a retry cannot fix."""
CHUNK_MESSAGES = 200
"""Messages that the client sends together, between two steps of the progress bar."""


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = subparsers.add_parser(
        "send",
        help="send the messages of a file",
        description="Send one message, or {'messages': [...]}. Settings and AccessKey come from the"
        " environment. Exit codes: 0 all accepted; 1 refused or misconfigured; 3 throttled, send it again"
        " later; 4 unknown: it may have been accepted.",
    )
    command.add_argument("file", metavar="FILE", help="JSON; - for standard input")
    command.add_argument(
        "--target", action="append", metavar="ID", help="send to this target instead; repeatable"
    )
    command.add_argument("--key", metavar="TEXT", help="the same key gives the same message ids")
    command.add_argument("--dry-run", action="store_true", help="show the requests without sending them")
    command.add_argument(
        "--json", action="store_true", help="print a line of JSON per request instead of a table"
    )
    command.set_defaults(run=_send)


def _send(options: argparse.Namespace) -> int:
    payload = read_json(read_input(options.file))
    if options.target:
        payload = {"messages": [_with_targets(message, options.target) for message in payloads_of(payload)]}
    settings = Settings.from_env()
    messages = messages_of(payload, settings)
    if options.dry_run:
        return _print_requests(messages, settings, options.key or "dry-run")
    outcomes: list[tuple[int, Outcome]] = []
    is_interrupted = False
    try:
        with PushClient(settings) as client:
            outcomes.extend(_send_all(messages, client, options.key))
    except KeyboardInterrupt:
        is_interrupted = True
    if options.json:
        for index, outcome in outcomes:
            print(json.dumps({"message": index, **outcome.as_json()}, ensure_ascii=False))
    else:
        _print_table(outcomes)
    if is_interrupted:
        first = max((index for index, _ in outcomes), default=-1) + 1
        print(f"interrupted: message {first} and later ones may or may not have been sent", file=sys.stderr)
        return EXIT_CODES[OutcomeKind.UNKNOWN]
    failed = [outcome.kind for _, outcome in outcomes if not outcome.accepted]
    return next((code for kind, code in EXIT_CODES.items() if kind in failed), 1 if failed else 0)


def _with_targets(payload: Any, targets: list[str]) -> Any:
    if not isinstance(payload, dict):
        return payload
    return {**without_targets(payload), "targets": targets}


def _send_all(
    messages: Sequence[PushMessage | InvalidMessage], client: PushClient, key: str | None
) -> Iterator[tuple[int, Outcome]]:
    """Send in chunks and yield each outcome with the index of its message."""
    from rich.console import Console  # only operators have it
    from rich.progress import Progress

    console = Console(stderr=True)
    is_shown = console.is_terminal and len(messages) > 1
    with Progress(console=console, transient=True, disable=not is_shown) as progress:
        task = progress.add_task("sending", total=len(messages))
        for start in range(0, len(messages), CHUNK_MESSAGES):
            chunk = messages[start : start + CHUNK_MESSAGES]
            scope = [f"cli:{key}:{start + index}" for index in range(len(chunk))] if key else None
            for index, outcomes in enumerate(client.send_all(chunk, scope=scope), start):
                for outcome in outcomes:
                    yield index, outcome
            progress.advance(task, len(chunk))


def _print_requests(messages: Sequence[PushMessage | InvalidMessage], settings: Settings, scope: str) -> int:
    is_valid = True
    for index, message in enumerate(messages):
        planned = plan(message, settings, scope, index)
        if isinstance(planned, InvalidMessage):
            is_valid = False
            for fault in planned.faults:
                print(f"message {index}: {fault}", file=sys.stderr)
            continue
        for request in planned:
            print(json.dumps(dict(request.parameters), ensure_ascii=False))
        for advice in planned[0].message.advice(levels=settings.constraint_levels):
            print(f"message {index}: warning: {advice}", file=sys.stderr)
    return 0 if is_valid else 1


def _print_table(outcomes: Sequence[tuple[int, Outcome]]) -> None:
    from rich.console import Console  # only operators have it
    from rich.markup import escape
    from rich.table import Table

    table = Table("message", "outcome", "targets", "attempts", "request id", box=None, pad_edge=False)
    for index, outcome in outcomes:
        cells = (index, outcome.kind, len(outcome.targets), outcome.attempts, outcome.request_id or "-")
        table.add_row(*(escape(str(cell)) for cell in cells))
    console = Console(soft_wrap=True)
    console.print(table)
    for index, outcome in outcomes:
        if not outcome.accepted:
            reason = f"message {index}: {outcome.result_code}: {outcome.result_message or ''}"
            console.print(reason, markup=False)
    counts = counts_of(outcome for _, outcome in outcomes)
    console.print(", ".join(f"{number} {name}" for name, number in counts.items()), markup=False)
