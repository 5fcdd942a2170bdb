"""`check`: reads every row of an audience as a worker would, and lists the rows that cannot be sent."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

from mpaas_push.campaign.audience import Row, RowReader
from mpaas_push.campaign.block import Composer
from mpaas_push.campaign.control import MAX_BLOCK_ROWS, block_rows_for, read_campaign
from mpaas_push.campaign.model import read_document
from mpaas_push.campaign.pieces import Piece, lines_of, piece_bytes_for, piece_index_of
from mpaas_push.campaign.seen import SeenTargets
from mpaas_push.cli.campaign.api import FAILED, with_exit_codes
from mpaas_push.cli.campaign.files import FileObjects, oss_objects
from mpaas_push.cli.campaign.progress import counted, progress_bar
from mpaas_push.cli.inputs import read_input, settings_with_placeholders

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from mpaas_push.campaign.audience import InvalidRow
    from mpaas_push.campaign.control import Readable
    from mpaas_push.campaign.model import Campaign
    from mpaas_push.campaign.objects import ReadableObjects
    from mpaas_push.settings import Settings

__all__ = ["check"]

MAX_SHOWN_ROWS = 20
"""Maximum number of rows whose fault is printed; further ones are only counted."""


@with_exit_codes
def check(options: argparse.Namespace) -> int:
    """Read the audience, here or in OSS, and print what would become of its rows; nothing is sent."""
    settings = settings_with_placeholders()
    document = read_document(read_input(options.file))
    with nullcontext(FileObjects(options.audience)) if options.audience else oss_objects(settings) as objects:
        readable = read_campaign(document, settings, objects)
        campaign = readable.campaign
        counts = _read_all(readable, objects, settings, line_seconds=options.progress)
    print(", ".join(counted(number, name) for name, number in counts.items()))
    if not counts["targets"]:
        print("error: no row can be sent", file=sys.stderr)
        return FAILED
    if campaign.has_ended(time.time()):
        print("error: no row can be sent: endsAt has passed", file=sys.stderr)
        return FAILED
    blocks = f"in blocks of {block_rows_for(campaign.pace, settings.pace):,} rows"
    if campaign.pace:
        seconds = counts["targets"] / campaign.pace
        print(f"{seconds:,.0f} seconds at {campaign.pace:,} targets a second, {blocks}")
    else:
        print(f"without a pace, {blocks}")
    return 0


def _read_all(
    readable: Readable, objects: ReadableObjects, settings: Settings, *, line_seconds: float | None
) -> Counter[str]:
    """Read every row as the workers will, print those that cannot be sent or are sent again, and count.

    A block ends with its piece, as the workers' blocks do.
    """
    campaign, size, piece_bytes = readable.campaign, readable.info.size, piece_bytes_for(readable.info.size)
    audience, block_rows = campaign.audience, block_rows_for(campaign.pace, settings.pace)
    reader, tally = RowReader(campaign, readable.header), _Tally(campaign, settings)
    for warning in readable.warnings:
        print(f"warning: {warning}")
    rows: dict[int, Row | InvalidRow] = {}
    piece = 0
    with progress_bar("reading", size, line_seconds=line_seconds) as update:
        lines = lines_of(
            Piece(0, 0, size, size),
            lambda start, end: objects.read(audience.bucket, audience.key, start, end, readable.info.etag),
        )
        for number, line in enumerate(lines, 1):
            index = piece_index_of(line.start, piece_bytes)
            if len(rows) == block_rows or index != piece:
                tally.add_block(rows, line.start)
                rows = {}
            if index != piece:
                tally.begin_piece()
                piece = index
            if (row := reader.row_of(line)) is not None:
                rows[number] = row
            if number % MAX_BLOCK_ROWS == 0:
                update(line.end)
        tally.add_block(rows, size)
    tally.print_omitted()
    for warning in reader.warnings():
        print(f"warning: {warning}")
    return tally.counts


class _Tally:
    """Counts the rows of an audience by their fate; prints the first ones that get no push of their own.

    Attributes:
        counts: Rows, targets, requests, rows by the fate that they have before anything is sent, and rows
            that are sent again: their target was in another piece, which a worker cannot know.
    """

    def __init__(self, campaign: Campaign, settings: Settings) -> None:
        self.counts: Counter[str] = Counter(rows=0, targets=0, requests=0)
        self._campaign, self._settings = campaign, settings
        self._targets = SeenTargets()
        self._faulty_rows = 0
        self.begin_piece()

    def begin_piece(self) -> None:
        self._composer = Composer(self._campaign, self._settings)

    def add_block(self, rows: Mapping[int, Row | InvalidRow], end: int) -> None:
        """Count a block.

        Args:
            rows: By line number.
            end: Offset of the first line after them.
        """
        seen = {
            row.start for row in rows.values() if isinstance(row, Row) and not self._targets.add(row.target)
        }
        block = self._composer.compose(list(rows.values()), end)
        texts = {fate.start: fate.text or "duplicate target" for fate in block.fates}
        sent_again = seen - texts.keys()
        texts |= dict.fromkeys(sent_again, "duplicate target, in another piece: it is sent again")
        self.counts.update(rows=block.rows, targets=block.targets, requests=len(block.requests))
        self.counts.update(fate.name for fate in sorted(block.fates, key=lambda fate: fate.start))
        if sent_again:
            self.counts["sent again"] += len(sent_again)
        for number, row in rows.items():
            if row.start in texts:
                self._faulty_rows += 1
                if self._faulty_rows <= MAX_SHOWN_ROWS:
                    print(f"line {number}: {texts[row.start]}")

    def print_omitted(self) -> None:
        """Print how many rows were omitted."""
        if self._faulty_rows > MAX_SHOWN_ROWS:
            print(f"… and {self._faulty_rows - MAX_SHOWN_ROWS:,} more")
