"""`campaign check|start|status|pause|resume|cancel|report`: campaigns from a terminal.

State is asked of the HTTP function, since the Redis of a VPC is reached by functions only; audiences and
results go to and from OSS directly. What runs in the cloud runs on when a command is left.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.errors import AudienceUnreadable, CampaignError, InvalidCampaign
from mpaas_push.campaign.model import Campaign, read_document
from mpaas_push.cli.call import request_function
from mpaas_push.cli.inputs import read_input
from mpaas_push.credentials import Credentials
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from mpaas_push.campaign.objects import ObjectInfo, OssObjects

__all__ = ["add_to"]

SHOWN_FAULTS = 20
"""Rows that `check` names; the others are counted."""
POLL_SECONDS = 1.0
ENDED = {"done", "cancelled", "incomplete", "paused"}
"""States in which a campaign does not go on by itself."""
REPORT_COLUMNS = ("target", "outcome", "resultCode", "text", "messageId", "offset")


def add_to(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its own commands."""
    command = subparsers.add_parser(
        "campaign",
        help="check, start and steer campaigns",
        description="One message to an audience in a file of OSS. The commands talk to the HTTP function and"
        " to OSS (PUSH_OSS_ENDPOINT, else the public endpoint of the region). Exit codes: 0 well; 1 a fault.",
    )
    actions = command.add_subparsers(required=True, metavar="ACTION")
    for name, text, run in (
        ("check", "read the whole audience: which rows cannot be sent, and what would be", _check),
        ("start", "upload the audience if a file is given, start the campaign and follow it", _start),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("file", metavar="FILE", help="the campaign, JSON or YAML; - for standard input")
        action.add_argument("--audience", metavar="CSV", type=Path, help="a file of this machine")
        _add_url(action)
        action.set_defaults(run=run)
        if name == "start":
            action.add_argument("--no-wait", action="store_true", help="do not follow it")
    for name, text in (
        ("status", "show state and counts; with --follow until it ends"),
        ("pause", "let every piece end with its block"),
        ("resume", "go on with what is left; --pace at another one"),
        ("cancel", "send nothing more; the rest is counted as cancelled"),
        ("report", "write a CSV of the rows that were not accepted (`report: all`: of all)"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("id", metavar="ID")
        _add_url(action)
        action.set_defaults(run=_report if name == "report" else _steer, action=name)
        if name in {"status", "resume"}:
            action.add_argument("--follow", action="store_true", help="until it ends")
        if name == "resume":
            action.add_argument("--pace", type=int, metavar="N", help="targets a second from now on")
        if name == "report":
            action.add_argument("--output", metavar="CSV", type=Path, help="standard output by default")


def _add_url(action: argparse.ArgumentParser) -> None:
    action.add_argument("--url", metavar="URL", help="of the HTTP trigger; PUSH_HTTP_URL by default")


class _FileObjects:
    """A file of this machine in place of the audience's object."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def info(self, _: str, __: str) -> ObjectInfo:
        from mpaas_push.campaign.objects import ObjectInfo

        try:
            return ObjectInfo(self._path.stat().st_size, "")
        except OSError as error:
            raise AudienceUnreadable(f"{self._path} cannot be read ({type(error).__name__})") from None

    def read(self, _: str, __: str, start: int, end: int, ___: str | None = None) -> bytes:
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def _check(options: argparse.Namespace) -> int:
    settings = Settings.from_env()
    campaign = Campaign.parse(_document(options), settings)
    source: Any = nullcontext(_FileObjects(options.audience)) if options.audience else _oss(settings)
    with source as objects:
        return _check_all(campaign, objects, settings)


def _check_all(campaign: Campaign, objects: Any, settings: Settings) -> int:
    """Read every row of an audience, as a worker would, and say what becomes of it."""
    from mpaas_push.campaign.audience import InvalidRow, Row, RowReader
    from mpaas_push.campaign.block import Composer
    from mpaas_push.campaign.control import MOST_BLOCK_ROWS, read_audience
    from mpaas_push.campaign.pieces import Piece, lines_of

    audience = campaign.audience
    info, header = read_audience(campaign, objects)
    reader, composer = RowReader(campaign, header), Composer(campaign, settings)
    counts: dict[str, int] = {"rows": 0, "targets": 0, "requests": 0}
    shown = 0

    def settle(rows: list[Row | InvalidRow], numbers: dict[int, int], end: int) -> None:
        nonlocal shown
        block = composer.compose(rows, end)
        counts["rows"] += block.rows
        counts["targets"] += block.targets
        counts["requests"] += len(block.requests)
        for fate in sorted(block.fates, key=lambda fate: fate.start):
            counts[fate.name] = counts.get(fate.name, 0) + 1
            if shown < SHOWN_FAULTS:
                shown += 1
                print(f"line {numbers[fate.start]}: {fate.text or 'its target came before'}")

    rows: list[Row | InvalidRow] = []
    numbers: dict[int, int] = {}
    with _bar("reading", info.size) as update:
        lines = lines_of(
            Piece(0, 0, info.size, info.size),
            lambda start, end: objects.read(audience.bucket, audience.key, start, end, info.etag),
        )
        for number, line in enumerate(lines, 1):
            if (row := reader.row_of(line)) is not None:
                rows.append(row)
                numbers[line.start] = number
            if len(rows) == MOST_BLOCK_ROWS:
                settle(rows, numbers, line.end)
                rows, numbers = [], {}
                update(line.end)
        settle(rows, numbers, info.size)
    faults = counts.get("invalid", 0) + counts.get("duplicate", 0)
    if faults > shown:
        print(f"… and {faults - shown:,} more")
    print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    if campaign.pace:
        print(f"{counts['targets'] / campaign.pace:,.0f} seconds at {campaign.pace:,} targets a second")
    return 0 if counts["targets"] else 1


def _start(options: argparse.Namespace) -> int:
    settings = Settings.from_env()
    document = _document(options)
    campaign = Campaign.parse(document, settings)
    if options.audience:
        audience = campaign.audience
        with (
            _oss(settings) as objects,
            _bar("uploading", options.audience.stat().st_size) as update,
        ):
            objects.upload(
                audience.bucket, audience.key, options.audience, lambda written, _: update(written)
            )
        print(f"uploaded to oss://{audience.bucket}/{audience.key}")
    shown = _ask(options, "POST", "", document)
    print(f"campaign {shown['campaign']} is {shown['state']}")
    return 0 if options.no_wait else _follow(options, shown)


def _steer(options: argparse.Namespace) -> int:
    if options.action == "status":
        shown = _ask(options, "GET", f"/{options.id}")
    else:
        if getattr(options, "pace", None):
            _ask(options, "PATCH", f"/{options.id}", {"pace": options.pace})
        shown = _ask(options, "POST", f"/{options.id}/{options.action}")
    if getattr(options, "follow", False):
        return _follow(options, shown)
    _tell(shown)
    return 0


def _report(options: argparse.Namespace) -> int:
    from mpaas_push.campaign.results import result_lines

    shown = _ask(options, "GET", f"/{options.id}")
    bucket, _, folder = shown["results"].removeprefix("oss://").partition("/")
    output = options.output.open("w", encoding="utf-8", newline="") if options.output else None
    number = 0
    with output or nullcontext(sys.stdout) as file, _oss(Settings.from_env()) as objects:
        writer = csv.DictWriter(file, REPORT_COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for line in result_lines(objects, bucket, folder):
            writer.writerow(line)
            number += 1
    print(f"{number:,} rows", file=sys.stderr)
    return 0


def _follow(options: argparse.Namespace, shown: dict[str, Any]) -> int:
    """Show how a campaign goes on until it ends; leaving that does not stop it."""
    campaign = shown["campaign"]
    try:
        with _bar(campaign, shown["bytes"]) as update:
            while shown["state"] not in ENDED:
                time.sleep(POLL_SECONDS)
                shown = _ask(options, "GET", f"/{campaign}")
                update(shown["bytesDone"])
    except KeyboardInterrupt:
        print(f"it goes on; to follow it again: campaign status {campaign} --follow", file=sys.stderr)
    _tell(shown)
    return 1 if shown["state"] == "incomplete" else 0


def _tell(shown: dict[str, Any]) -> None:
    counts = {name: number for name, number in shown["counts"].items() if number}
    print(f"{shown['campaign']}: {shown['state']}")
    print("  " + (", ".join(f"{number:,} {name}" for name, number in counts.items()) or "no rows yet"))
    pace = f"{shown['pace']:,} targets a second" if shown["pace"] else "no limit"
    left = "" if shown["secondsLeft"] is None else f", {shown['secondsLeft']:,} s left"
    percent = 100 * shown["bytesDone"] // max(shown["bytes"], 1)
    print(f"  {percent}% of {shown['bytes']:,} bytes, {shown['requests']:,} requests, pace: {pace}{left}")
    if shown.get("problem"):
        print(f"  {shown['problem']}")


def _ask(options: argparse.Namespace, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Ask the HTTP function.

    Raises:
        CampaignError: it refuses, in its own words.
    """
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if data else {}
    response = request_function(options.url, method, f"/v1/campaigns{path}", data, headers)
    try:
        answer = json.loads(response.body)
    except ValueError:
        answer = {}
    if response.status >= 400 or not isinstance(answer, dict):
        faults = "".join(f"\n  {each['field']}: {each['message']}" for each in answer.get("errors", ()))
        raise CampaignError(
            f"HTTP {response.status}: {answer.get('detail', 'no answer of the function')}{faults}"
        )
    return answer


def _document(options: argparse.Namespace) -> Any:
    document = read_document(read_input(options.file))
    if not isinstance(document, dict):
        raise InvalidCampaign([])
    return document


@contextmanager
def _oss(settings: Settings) -> Iterator[OssObjects]:
    from mpaas_push.campaign.objects import OssObjects

    objects = OssObjects(settings, Credentials.resolve(), inside=False)
    try:
        yield objects
    finally:
        objects.close()


def _bar(title: str, total: int) -> Any:
    """Return a progress bar on a terminal, as a context manager that gives what sets it."""
    from rich.console import Console  # only operators have it
    from rich.progress import Progress

    @contextmanager
    def shown() -> Iterator[Any]:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            yield lambda done: progress.update(task, completed=done)

    return shown()
