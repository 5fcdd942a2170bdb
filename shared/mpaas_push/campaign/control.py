"""Starting and steering campaigns: what the HTTP function, timers, uploads and commands do with them.

Nothing here sends a push. A start reads the file's size and header, writes one hash in Redis and submits one
task, which submits all others; so it costs the same for 10^4 rows and for 10^8.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.audience import HEADER_BYTES, header_of, warnings_of
from mpaas_push.campaign.errors import AudienceUnreadable, CampaignConflict, InvalidCampaign
from mpaas_push.campaign.model import Campaign
from mpaas_push.campaign.pieces import piece_bytes_for
from mpaas_push.campaign.rendering import has_stray_brace
from mpaas_push.campaign.tasks import PieceTask, PlanTask
from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from mpaas_push.campaign.model import PaceChange
    from mpaas_push.campaign.objects import ObjectInfo, Objects, ReadableObjects
    from mpaas_push.campaign.state import StoredCampaign
    from mpaas_push.campaign.store import CampaignStore
    from mpaas_push.campaign.tasks import TaskQueue
    from mpaas_push.settings import Settings

__all__ = [
    "MAX_BLOCK_ROWS",
    "Controls",
    "Readable",
    "Started",
    "block_rows_for",
    "read_campaign",
]

logger = logging.getLogger(__name__)

MAX_BLOCK_ROWS = 4000
"""Maximum number of rows that are repeated after a failure, or sent before a pause takes effect."""


def block_rows_for(pace: int | None, rate: float | None) -> int:
    """Return the number of rows in a block: one second's worth, a multiple of ten from 10 to 4,000.

    A block is sent at once, and each row with its own text is a request.

    Args:
        pace: The campaign's pace, in targets a second.
        rate: `PUSH_PACE`, in requests a second.
    """
    allowed = min(pace or MAX_BLOCK_ROWS, rate or MAX_BLOCK_ROWS, MAX_BLOCK_ROWS)
    return max(10, int(allowed) // 10 * 10)


@dataclass(frozen=True)
class Readable:
    """A campaign whose audience can be used.

    Attributes:
        campaign: The campaign.
        info: Size and ETag of its audience.
        header: The columns, if its file has a header.
        warnings: What may be wrong, although it can be sent.
    """

    campaign: Campaign
    info: ObjectInfo
    header: list[str] | None
    warnings: tuple[Fault, ...]


@dataclass(frozen=True)
class Started:
    """The result of a start.

    Attributes:
        stored: The campaign.
        is_new: Whether this call started it.
        warnings: As in `Readable`.
    """

    stored: StoredCampaign
    is_new: bool
    warnings: tuple[Fault, ...]


class Controls:
    """Starts, steers and shows campaigns."""

    def __init__(self, settings: Settings, store: CampaignStore, queue: TaskQueue) -> None:
        """Prepare; nothing is called yet."""
        self._settings = settings
        self._store = store
        self._queue = queue

    def start(self, document: Any, objects: Objects) -> Started:
        """Start a campaign; starting it again returns the same campaign.

        Args:
            document: As `model.read_document` returns it.
            objects: Where its audience is.

        Raises:
            InvalidCampaign: the document or its audience is wrong; nothing was started.
            CampaignConflict: its id was used with other content or another file.
            StoreUnavailable, InvocationRefused, InvocationUnknown: it may have been started; start it again.
        """
        readable = read_campaign(document, self._settings, objects)
        campaign, info = readable.campaign, readable.info
        for warning in readable.warnings:
            logger.warning("campaign %s: %s", campaign.campaign, warning)
        piece_bytes = piece_bytes_for(info.size)
        fields = {
            "id": campaign.campaign,
            "document": json.dumps(campaign.as_json(), ensure_ascii=False),
            "header": json.dumps(readable.header),
            "size": info.size,
            "pieces": math.ceil(info.size / piece_bytes),
            "pieceBytes": piece_bytes,
            "blockRows": block_rows_for(campaign.pace, self._settings.pace),
            "pace": campaign.pace or "",
            "run": os.urandom(3).hex(),
        }
        plan = self._store.start(
            campaign.campaign, fields, fingerprint=campaign.fingerprint(self._settings), etag=info.etag
        )
        stored = self._store.get(campaign.campaign)
        self._submit(stored, plan.number)
        return Started(stored, plan.is_new, readable.warnings)

    def submit_pieces(self, task: PlanTask) -> int:
        """Carry out a plan: submit a task for each open piece; return their number."""
        pieces = [
            PieceTask(campaign=task.campaign, run=task.run, piece=index, turn=turn)
            for index, turn in self._store.open_pieces(task.campaign)
        ]
        self._queue.submit_all(pieces)
        return len(pieces)

    def pause(self, campaign_id: str) -> StoredCampaign:
        """Stop every piece after its current block.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it is done or was cancelled.
        """
        self._store.get(campaign_id).check()
        self._store.pause(campaign_id)
        return self._store.get(campaign_id)

    def resume(self, campaign_id: str, objects: Objects, change: PaceChange | None = None) -> StoredCampaign:
        """Continue with the rest, after a pause or after pieces were given up.

        Args:
            campaign_id: The campaign.
            objects: Where its audience is.
            change: A new pace; applied only if the campaign is resumed.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it was cancelled; or it is done and the pace would change; or its file was
                replaced or deleted.
            AudienceUnreadable: its file is temporarily unreachable; nothing was changed.
        """
        stored = self._store.get(campaign_id)
        if not stored.is_cancelled and stored.state != "done":
            _check_same_file(stored, objects)
        return self._reopen(campaign_id, "running", change)

    def cancel(self, campaign_id: str) -> StoredCampaign:
        """Stop sending; the remaining rows are counted as cancelled.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it is done.
        """
        return self._reopen(campaign_id, "cancelled")

    def change_pace(self, campaign_id: str, change: PaceChange) -> StoredCampaign:
        """Change the pace of a campaign.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it has ended.
        """
        self._store.get(campaign_id).check()
        self._store.change_pace(campaign_id, change)
        stored = self._store.get(campaign_id)
        if stored.state not in {"running", "waiting"}:
            return stored
        # Otherwise pieces would keep waiting for moments that the former pace gave them.
        return self._reopen(campaign_id, "same")

    def _reopen(self, campaign_id: str, state: str, change: PaceChange | None = None) -> StoredCampaign:
        self._store.get(campaign_id).check()
        if plan := self._store.reopen(campaign_id, state, change):
            self._submit(self._store.get(campaign_id), plan.number)
        return self._store.get(campaign_id)

    def _submit(self, stored: StoredCampaign, plan: int) -> None:
        if stored.number("done") < stored.number("pieces"):
            task = PlanTask(campaign=stored.fields["id"], run=stored.fields["run"], plan=plan)
            self._queue.submit(task)


def _check_same_file(stored: StoredCampaign, objects: Objects) -> None:
    """Check that the file of a campaign is the one that it was started with.

    Raises:
        CampaignConflict: it is another one, or permanently unreadable.
        AudienceUnreadable: it is temporarily unreachable.
    """
    campaign = stored.campaign
    audience = campaign.audience
    name = f"campaign {campaign.campaign} cannot be resumed"
    try:
        etag = objects.info(audience.bucket, audience.key).etag
    except AudienceUnreadable as error:
        if not error.is_final:
            raise
        raise CampaignConflict(f"{name}: {error}") from None
    if etag != stored.fields["etag"]:
        raise CampaignConflict(
            f"{name}: oss://{audience.bucket}/{audience.key} was replaced by another file (its ETag differs):"
            " restore the original file, or cancel the campaign"
        )


def read_campaign(document: Any, settings: Settings, objects: ReadableObjects) -> Readable:
    """Read a campaign and the beginning of its audience.

    Args:
        document: As `model.read_document` returns it.
        settings: Defaults of the message.
        objects: Where its audience is.

    Raises:
        InvalidCampaign: with every fault of both at once.
        AudienceUnreadable: the document is valid, but its audience is temporarily unreachable.
    """
    try:
        campaign = Campaign.parse(document, settings)
    except InvalidCampaign as error:
        faults = [*error.faults, *_audience_faults(document, objects)]
        raise InvalidCampaign(Campaign.in_order(faults)) from None
    return _read_audience(campaign, objects)


def _audience_faults(document: Any, objects: ReadableObjects) -> tuple[Fault, ...]:
    """Return what is wrong with the audience of an invalid document, as far as it names one."""
    if outline := Campaign.outline(document):
        try:
            _read_audience(outline, objects)
        except InvalidCampaign as error:
            return error.faults
        except AudienceUnreadable:
            pass  # temporary; the document's own faults are reported
    return ()


def _read_audience(campaign: Campaign, objects: ReadableObjects) -> Readable:
    """Read the beginning of an audience.

    Raises:
        InvalidCampaign: it cannot be used.
        AudienceUnreadable: it is temporarily unreachable.
    """
    audience = campaign.audience
    try:
        info = objects.info(audience.bucket, audience.key)
        if not info.size:
            raise InvalidCampaign([Fault("audience", "the file is empty")])
        beginning = objects.read(audience.bucket, audience.key, 0, min(HEADER_BYTES, info.size), info.etag)
    except AudienceUnreadable as error:
        if not error.is_final:
            raise
        raise InvalidCampaign([Fault("audience", str(error))]) from None
    header, faults = header_of(campaign, beginning)
    if faults:
        raise InvalidCampaign(faults)
    warnings = (*_document_warnings(campaign), *warnings_of(campaign, header, beginning))
    return Readable(campaign, info, header, warnings)


def _document_warnings(campaign: Campaign) -> list[Fault]:
    """Return warnings about a document; not errors, so that starting a finished campaign again succeeds."""
    warnings = [
        Fault(path, "has a brace that is sent unchanged: a placeholder is written {column}")
        for path, value in campaign.fields_by_path.items()
        if has_stray_brace(value)
    ]
    if campaign.has_ended(time.time()):
        warnings.append(Fault("endsAt", "has passed: every row that has not been sent expires"))
    return warnings
