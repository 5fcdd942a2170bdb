"""A campaign's report: its results as one CSV, in the order of the file, complete or in parts."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.pieces import piece_index_of
from mpaas_push.campaign.results import folder_of, lines_after

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from mpaas_push.campaign.objects import Objects
    from mpaas_push.campaign.state import StoredCampaign

__all__ = ["ReportPage", "report_page", "write_report"]

COLUMNS = ("target", "outcome", "resultCode", "text", "messageId", "offset")
"""Columns of a report."""
PAGE_BYTES, PAGE_OBJECTS = 4 << 20, 100
"""Limits of one part of a report, without its last row: it fits into a response and is read in seconds."""


@dataclass(frozen=True)
class ReportPage:
    """A part of a report.

    Attributes:
        text: CSV; the first part begins with the names of the columns.
        after: The argument `after` of `report_page` for the next part; None after the last one.
    """

    text: str
    after: int | None


def report_page(objects: Objects, stored: StoredCampaign, after: int) -> ReportPage:
    """Return a part of a campaign's report; while the campaign runs, of the results so far.

    Args:
        objects: Where its results are.
        stored: The campaign.
        after: Offset of the last row that was reported; -1 for the beginning.

    Raises:
        AudienceUnreadable: the results are temporarily unreachable.
    """
    bucket, folder = stored.campaign.audience.bucket, folder_of(stored.fields["id"], stored.fields["run"])
    first = piece_index_of(after, stored.number("pieceBytes"))
    text = io.StringIO()
    writer = _writer(text, has_header=after < 0)
    keys: set[str] = set()
    for key, line in lines_after(objects, bucket, folder, first_piece=first, after=after):
        is_full = text.tell() >= PAGE_BYTES or (len(keys) == PAGE_OBJECTS and key not in keys)
        if is_full and keys:
            return ReportPage(text.getvalue(), after)
        writer.writerow(line)
        keys.add(key)
        after = line["offset"]
    return ReportPage(text.getvalue(), None)


def write_report(file: TextIO, lines: Iterable[dict[str, Any]]) -> int:
    """Write a complete report as CSV, and return its number of rows."""
    rows = iter(lines)
    first = next(rows, None)  # if this fails, nothing has been written
    writer = _writer(file, has_header=True)
    number = 0
    for line in chain([] if first is None else [first], rows):
        writer.writerow(line)
        number += 1
    return number


def _writer(file: TextIO, *, has_header: bool) -> csv.DictWriter[str]:
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    if has_header:
        writer.writeheader()
    return writer
