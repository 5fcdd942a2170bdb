"""A dry run: what a campaign would send, told from the first and the last rows of its file.

It costs the same for every file. All rows are read by `check` on the command line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.audience import InvalidRow, RowReader
from mpaas_push.campaign.block import Composer
from mpaas_push.campaign.control import block_rows_for, read_audience
from mpaas_push.campaign.pieces import Piece, lines_of, piece_bytes_for
from mpaas_push.errors import mask_id
from mpaas_push.targets import without_targets

if TYPE_CHECKING:
    from mpaas_push.campaign.audience import Row
    from mpaas_push.campaign.block import Block
    from mpaas_push.campaign.model import Campaign
    from mpaas_push.campaign.objects import ObjectInfo, Objects
    from mpaas_push.settings import Settings

__all__ = ["preview"]

SAMPLE_BYTES = 128 << 10
"""Read from each end of the file."""
SAMPLES, FAULTS = 5, 10
"""Rows shown rendered, and rows named that cannot be sent."""
UNPACED_REQUESTS = 500.0
"""Requests a second that are reckoned with where no pace is set: what one quota of mPaaS may allow."""


def preview(campaign: Campaign, objects: Objects, settings: Settings) -> dict[str, Any]:
    """Say what a campaign would send; nothing is sent and nothing kept.

    Raises:
        InvalidCampaign: its audience cannot be used.
    """
    info, header = read_audience(campaign, objects)
    rows = _rows_at_both_ends(campaign, objects, info, header)
    composer = Composer(campaign, settings)
    block = composer.compose(rows, info.size)
    samples = [
        {"target": mask_id(row.target), "message": without_targets(_content(block, row))}
        for row in _shown([row for request in block.requests for row in request.rows])
    ]
    sampled = min(info.size, 2 * SAMPLE_BYTES)
    estimate = round(len(rows) * info.size / sampled) if rows else 0
    # Rows with texts of their own share no request.
    per_request = block.targets / len(block.requests) if block.requests else 1.0
    requests = math.ceil(estimate / per_request)
    quota = settings.pace or UNPACED_REQUESTS
    seconds = max(requests / quota, estimate / campaign.pace if campaign.pace else 0)
    advice = [each.as_json() for each in block.requests[0].message.advice()] if block.requests else []
    return {
        "campaign": campaign.campaign,
        "bytes": info.size,
        "etag": info.etag,
        "pieces": math.ceil(info.size / piece_bytes_for(info.size)),
        "rows": estimate,
        "rowsRead": len(rows),
        "requests": requests,
        "seconds": round(seconds),
        "pace": campaign.pace,
        "blockRows": block_rows_for(campaign.pace),
        "samples": samples,
        "faults": [
            {"offset": fate.start, "outcome": fate.name, "message": fate.text or "its target came before"}
            for fate in block.fates[:FAULTS]
        ],
        "rowsWithFaults": len(block.fates),
        "warnings": advice,
    }


def _rows_at_both_ends(
    campaign: Campaign, objects: Objects, info: ObjectInfo, header: list[str] | None
) -> list[Row | InvalidRow]:
    """Return the first and the last rows of a file; all of a short one."""
    audience, reader = campaign.audience, RowReader(campaign, header)

    def read(start: int, end: int) -> bytes:
        return objects.read(audience.bucket, audience.key, start, end, info.etag)

    ends = [Piece(0, 0, min(SAMPLE_BYTES, info.size), info.size)]
    if info.size > 2 * SAMPLE_BYTES:
        ends.append(Piece(1, info.size - SAMPLE_BYTES, info.size, info.size))
    elif info.size > SAMPLE_BYTES:
        ends.append(Piece(1, SAMPLE_BYTES, info.size, info.size))
    rows = (reader.row_of(line) for piece in ends for line in lines_of(piece, read))
    return [row for row in rows if row is not None]


def _shown(rows: list[Row]) -> list[Row]:
    """Return the first rows and the last one."""
    return rows if len(rows) <= SAMPLES else [*rows[: SAMPLES - 1], rows[-1]]


def _content(block: Block, row: Row) -> dict[str, Any]:
    message = next(request.message for request in block.requests if row in request.rows)
    return message.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
