"""A dry run: what a campaign would send, estimated from the first and last rows of its file.

It costs the same for every file; the command `check` reads all rows.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.audience import InvalidRow, RowReader
from mpaas_push.campaign.block import Composer
from mpaas_push.campaign.control import block_rows_for
from mpaas_push.campaign.cost import Work, cost_of
from mpaas_push.campaign.pieces import Piece, lines_of, piece_bytes_for
from mpaas_push.errors import mask_id
from mpaas_push.targets import without_targets

if TYPE_CHECKING:
    from mpaas_push.campaign.audience import Row
    from mpaas_push.campaign.block import BlockRequest
    from mpaas_push.campaign.control import Readable
    from mpaas_push.campaign.model import Campaign
    from mpaas_push.campaign.objects import ObjectInfo, Objects
    from mpaas_push.settings import Settings

__all__ = ["preview"]

SAMPLE_BYTES = 128 << 10
"""Bytes read from each end of the file."""
MAX_SAMPLES, MAX_FAULTS = 5, 10
"""Maximum number of rendered rows, and of listed rows that cannot be sent."""
UNPACED_REQUESTS = 500.0
"""Requests a second assumed if no pace is set: what a quota of mPaaS may allow."""


def preview(readable: Readable, objects: Objects, settings: Settings) -> dict[str, Any]:
    """Return what a campaign would send; nothing is sent or stored.

    Raises:
        AudienceUnreadable: its audience can no longer be reached.
    """
    campaign, info = readable.campaign, readable.info
    reader = RowReader(campaign, readable.header)
    rows, lines = _rows_at_both_ends(campaign, objects, info, reader)
    block_rows = block_rows_for(campaign.pace, settings.pace)
    composer = Composer(campaign, settings)
    blocks = [
        composer.compose(rows[first : first + block_rows], info.size)
        for first in range(0, len(rows), block_rows)
    ]
    requests = [request for block in blocks for request in block.requests]
    fates = [fate for block in blocks for fate in block.fates]
    samples = [
        {
            "line": lines.get(row.start),
            "target": mask_id(row.target),
            "message": without_targets(_content(request)),
        }
        for request, row in _first_and_last([(request, row) for request in requests for row in request.rows])
    ]
    share = min(info.size, 2 * SAMPLE_BYTES) / info.size
    targets = math.ceil(sum(block.targets for block in blocks) / share)
    estimate = math.ceil(len(requests) / share)
    quota = settings.pace or UNPACED_REQUESTS
    seconds = max(estimate / quota, targets / campaign.pace if campaign.pace else 0)
    piece_bytes = piece_bytes_for(info.size)
    work = Work(
        rows=round(len(rows) / share),
        requests=estimate,
        pieces=math.ceil(info.size / piece_bytes),
        piece_bytes=min(piece_bytes, info.size),
        block_rows=block_rows,
        pace=campaign.pace,
        parts=math.ceil(sum(bool(block.fates) or campaign.report == "all" for block in blocks) / share),
    )
    warnings = [warning.as_json() for warning in (*readable.warnings, *reader.warnings())]
    advice = [advice.as_json() for advice in requests[0].message.advice()] if requests else []
    return {
        "campaign": campaign.campaign,
        "bytes": info.size,
        "etag": info.etag,
        "pieces": work.pieces,
        "rows": work.rows,
        "rowsRead": len(rows),
        "targets": targets,
        "requests": estimate,
        "seconds": round(seconds),
        "cost": cost_of(work),
        "pace": campaign.pace,
        "blockRows": block_rows,
        "samples": samples,
        "faults": [
            {
                "line": lines.get(fate.start),
                "offset": fate.start,
                "outcome": fate.name,
                "message": fate.text or "duplicate target",
            }
            for fate in sorted(fates, key=lambda fate: fate.start)[:MAX_FAULTS]
        ],
        "rowsWithFaults": len(fates),
        "warnings": warnings + advice,
    }


def _rows_at_both_ends(
    campaign: Campaign, objects: Objects, info: ObjectInfo, reader: RowReader
) -> tuple[list[Row | InvalidRow], dict[int, int]]:
    """Return the first and last rows of a file (all rows of a short one), and the line numbers of the first
    rows by offset.
    """
    audience = campaign.audience

    def read(start: int, end: int) -> bytes:
        return objects.read(audience.bucket, audience.key, start, end, info.etag)

    ends = [Piece(0, 0, min(SAMPLE_BYTES, info.size), info.size)]
    if info.size > 2 * SAMPLE_BYTES:
        ends.append(Piece(1, info.size - SAMPLE_BYTES, info.size, info.size))
    elif info.size > SAMPLE_BYTES:
        ends.append(Piece(1, SAMPLE_BYTES, info.size, info.size))
    first, *last = (list(lines_of(piece, read)) for piece in ends)
    numbers = {line.start: number for number, line in enumerate(first, 1)}
    rows = [reader.row_of(line) for line in itertools.chain(first, *last)]
    return [row for row in rows if row is not None], numbers


def _first_and_last(rows: list[tuple[BlockRequest, Row]]) -> list[tuple[BlockRequest, Row]]:
    """Return the first rows and the last one, at most `MAX_SAMPLES`."""
    return rows if len(rows) <= MAX_SAMPLES else [*rows[: MAX_SAMPLES - 1], rows[-1]]


def _content(request: BlockRequest) -> dict[str, Any]:
    return request.message.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
