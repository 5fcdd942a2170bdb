"""`campaign check|start|status|pause|resume|cancel|report`: the arguments of each command."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpaas_push.campaign.model import MAX_PACE
from mpaas_push.cli.campaign.check import check
from mpaas_push.cli.campaign.progress import LINE_SECONDS
from mpaas_push.cli.campaign.report import report
from mpaas_push.cli.campaign.start import start
from mpaas_push.cli.campaign.steering import steer

__all__ = ["add_to"]

ADDRESSES = (
    "The commands talk to the HTTP function (--url, else PUSH_HTTP_URL) and to OSS (PUSH_OSS_ENDPOINT, else"
    " the public endpoint of the region), with your AccessKey (ALIBABA_CLOUD_ACCESS_KEY_ID, …_SECRET)."
)
CHECK_CODES = "Exit codes: 0 it can be started, even if some rows cannot be sent; 1 it cannot; 2 usage."
START_CODES = (
    "Exit codes: 0 done, or running with --no-wait; 1 refused, incomplete or cancelled; 2 usage; 3 not"
    " finished: paused, or interrupted with Ctrl-C; 4 no response from the HTTP function: the campaign may"
    " continue."
)
FOLLOW_CODES = (
    "Exit codes: 0 success; 1 refused; 2 usage; 4 no response from the HTTP function; with --follow those of"
    " `start`."
)
REQUEST_CODES = (
    "Exit codes: 0 success; 1 refused; 2 usage; 4 no response from the HTTP function: it may have processed"
    " the request."
)


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its subcommands."""
    command = subparsers.add_parser(
        "campaign",
        help="check, start and control campaigns",
        description="Send one message to an audience, a file in OSS: docs/campaigns.md.",
        epilog=ADDRESSES,
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for name, run, codes, text in (
        (
            "check",
            check,
            CHECK_CODES,
            "read the whole audience; show the rows that cannot be sent, and count the others",
        ),
        (
            "start",
            start,
            START_CODES,
            "upload the audience if one is given, start the campaign and follow it",
        ),
    ):
        action = actions.add_parser(name, help=text, description=_sentence(text), epilog=codes)
        action.add_argument("file", metavar="FILE", help="the campaign, JSON or YAML; - for standard input")
        action.add_argument("--audience", metavar="FILE", type=Path, help="local file of the audience")
        _add_url(action)
        action.set_defaults(run=run)
        if name == "check":
            interval = (
                f"seconds between progress lines when output is not a terminal, by default {LINE_SECONDS:.0f}"
            )
            action.add_argument("--progress", type=float, metavar="SECONDS", help=interval)
        if name == "start":
            replace = "overwrite a different file in OSS that no campaign needs any longer"
            action.add_argument("--replace", action="store_true", help=replace)
            action.add_argument("--no-wait", action="store_true", help="do not follow the campaign")
    for name, codes, text in (
        ("status", FOLLOW_CODES, "show state and counts"),
        ("pause", REQUEST_CODES, "stop every piece after its current block"),
        ("resume", FOLLOW_CODES, "continue with the rest, after a pause or after pieces were given up"),
        ("cancel", REQUEST_CODES, "stop sending and count the rest as cancelled"),
        ("report", REQUEST_CODES, "write a CSV of the rows not accepted, or of all with `report: all`"),
    ):
        action = actions.add_parser(name, help=text, description=_sentence(text), epilog=codes)
        action.add_argument("id", metavar="ID", help="the campaign's id")
        _add_url(action)
        action.set_defaults(run=report if name == "report" else steer, action=name)
        if name in {"status", "resume"}:
            action.add_argument("--follow", action="store_true", help="show progress until it ends")
        if name == "resume":
            pace = "targets a second from now on, or none for no limit; the current pace by default"
            action.add_argument("--pace", type=_pace, metavar="N", default=argparse.SUPPRESS, help=pace)
        if name == "report":
            action.add_argument("--output", metavar="CSV", type=Path, help="standard output by default")


def _add_url(action: argparse.ArgumentParser) -> None:
    action.add_argument("--url", metavar="URL", help="of the HTTP trigger; PUSH_HTTP_URL by default")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _pace(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isdecimal() and text.isascii() and 1 <= int(text) <= MAX_PACE):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MAX_PACE}, or none")
    return int(text)
