"""`check`: reads every row of an audience as a worker would, and names by its line what cannot be sent."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mpaas_push.campaign.audience import RowReader
from mpaas_push.campaign.block import Composer
from mpaas_push.campaign.control import MOST_BLOCK_ROWS, read_audience
from mpaas_push.campaign.model import Campaign, read_document
from mpaas_push.campaign.pieces import Piece, lines_of
from mpaas_push.cli.campaign.api import CANNOT, command
from mpaas_push.cli.campaign.files import FileObjects, oss_objects
from mpaas_push.cli.campaign.progress import progress_bar
from mpaas_push.cli.inputs import read_input, settings_or_stand_ins

if TYPE_CHECKING:
    import argparse

    from mpaas_push.campaign.audience import InvalidRow, Row
    from mpaas_push.campaign.objects import ReadableObjects
    from mpaas_push.settings import Settings

__all__ = ["check"]

SHOWN_FAULTS = 20
"""Rows that are named; the others are counted."""


@command
def check(options: argparse.Namespace) -> int:
    """Read the audience, here or in OSS, and print what would become of its rows; nothing is sent."""
    settings = settings_or_stand_ins()
    campaign = Campaign.parse(read_document(read_input(options.file)), settings)
    with nullcontext(FileObjects(options.audience)) if options.audience else oss_objects(settings) as objects:
        counts = _read_all(campaign, objects, settings, line_seconds=options.progress)
    print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    if not counts["targets"]:
        print("error: no row can be sent", file=sys.stderr)
        return CANNOT
    if campaign.pace:
        print(f"{counts['targets'] / campaign.pace:,.0f} seconds at {campaign.pace:,} targets a second")
    return 0


def _read_all(
    campaign: Campaign, objects: ReadableObjects, settings: Settings, *, line_seconds: float | None
) -> dict[str, int]:
    """Read every row as a worker would, print those that cannot be sent, and count.

    Raises:
        InvalidCampaign: the audience cannot be used.
    """
    audience = campaign.audience
    info, header = read_audience(campaign, objects)
    reader, composer = RowReader(campaign, header), Composer(campaign, settings)
    counts = {"rows": 0, "targets": 0, "requests": 0}
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
    with progress_bar("reading", info.size, line_seconds=line_seconds) as update:
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
    return counts
