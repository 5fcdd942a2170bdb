"""A campaign as stored in Redis: fields of its hash enter, state, rate and remaining time leave."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.errors import StoreUnavailable
from mpaas_push.campaign.model import Campaign
from mpaas_push.campaign.results import folder_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FATES", "FIELDS", "RATE_SECONDS", "StoredCampaign", "WorkingPieces"]

FATES = ("accepted", "refused", "unknown", "expired", "invalid", "duplicate", "cancelled", "failed")
"""Possible fates of a row; each row has exactly one."""
FIELDS = (
    *("id", "state", "document", "header", "fingerprint", "etag", "size", "pieces", "pieceBytes", "run"),
    *("plans", "pace", "paceVersion", "startedAt", "finishedAt", "activeUntil", "done", "failed", "problem"),
    *("rateAt", "rateNow", "rateBefore", "rateSince"),
    *(f"n.{name}" for name in (*FATES, "rows", "bytes", "requests", "throttledMs")),
)
"""Fields of the hash, without its pieces."""
RATE_SECONDS = 15.0
"""Period over which the rate is computed: several blocks, each of which may be some seconds' worth."""
_MAX_NUMBER = 2**53
"""Largest number in Redis that a script counts exactly."""
SILENT_SECONDS = 15 * 60.0
"""A campaign that has shown no sign of life for this long after it was due has no worker."""


@dataclass(frozen=True)
class WorkingPieces:
    """Pieces that workers have taken.

    Attributes:
        working: Their workers have renewed the lease recently.
        stalled: Their workers have not, and may have been killed.
        until: When another worker may take the first stalled piece, in Unix seconds of the Redis server.
    """

    working: int
    stalled: int
    until: float | None

    def as_json(self) -> dict[str, Any]:
        """Return them as `GET /v1/campaigns/{id}` shows them."""
        return {
            "piecesWorking": self.working,
            "piecesStalled": self.stalled,
            "stalledUntil": None if self.until is None else _utc(self.until),
        }


@dataclass(frozen=True)
class StoredCampaign:
    """A campaign as stored in Redis, without its pieces.

    Attributes:
        fields: Fields of its hash.
        now: When they were read, in Unix seconds of the Redis server.
    """

    fields: Mapping[str, str]
    now: float

    @cached_property
    def campaign(self) -> Campaign:
        """The document that it was started with.

        Raises:
            StoreUnavailable: this version cannot read it.
        """
        try:
            return Campaign.of_stored(self.fields["document"])
        except (ValueError, LookupError, AttributeError):
            campaign_id = self.fields.get("id")
            text = f"this version cannot read campaign {campaign_id}: deploy one version of all functions"
            raise StoreUnavailable(text, is_permanent=True) from None

    @property
    def header(self) -> list[str] | None:
        """The columns of its file, if that has a header."""
        header: list[str] | None = json.loads(self.fields["header"])
        return header

    def number(self, name: str) -> int:
        """Return a field as a whole number; 0 if it is absent.

        Raises:
            StoreUnavailable: it is not a valid number.
        """
        try:
            number = float(self.fields.get(name) or 0)
        except ValueError:
            number = math.nan
        if not 0 <= number <= _MAX_NUMBER:
            text = (
                f"field `{name}` of campaign {self.fields.get('id')} in Redis is not a valid number:"
                " correct it (HSET), or restore Redis from a backup"
            )
            raise StoreUnavailable(text, is_permanent=True)
        return round(number)

    def check(self) -> None:
        """Check that all of it can be read.

        Raises:
            StoreUnavailable: a field cannot; the text names it.
        """
        self.as_json()

    @property
    def pace(self) -> int | None:
        """Targets a second; None for no limit."""
        return self.number("pace") or None

    @property
    def counts(self) -> dict[str, int]:
        """Rows that are accounted for, by their fate."""
        return {name: self.number(f"n.{name}") for name in FATES}

    @property
    def state(self) -> str:
        """`running`, `waiting` (outside its window), `paused`, `done`, `incomplete` or `cancelled`.

        In `done` and `cancelled` every row has its fate: a cancelled campaign is `running` until all its rows
        are counted.
        """
        state, pieces = self.fields["state"], self.number("pieces")
        done, failed = self.number("done"), self.number("failed")
        if done >= pieces:
            return "cancelled" if self.is_cancelled else "done"
        if state == "paused":
            return "paused"
        silent = self.now - self.number("activeUntil") / 1000 > SILENT_SECONDS
        if (failed and done + failed >= pieces) or silent:
            return "incomplete"
        if state == "running" and self._seconds_until_open:
            return "waiting"
        return "running"  # also while the remaining rows of a cancelled campaign are counted

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled, so that it sends nothing more."""
        return self.fields["state"] == "cancelled"

    @property
    def problem(self) -> str:
        """Why it is incomplete, or will be; empty if nothing is wrong."""
        if problem := self.fields.get("problem"):
            return problem
        if self.state != "incomplete":
            return ""
        remedy = "cancel it again" if self.is_cancelled else "resume the campaign"
        if failed := self.number("failed"):
            return f"{failed} pieces made no progress and were given up: {remedy}"
        return f"it has had no worker for {SILENT_SECONDS / 60:.0f} minutes: {remedy}"

    @property
    def results(self) -> str:
        """Where its results are: bucket and prefix."""
        folder = folder_of(self.fields["id"], self.fields["run"])
        return f"oss://{self.campaign.audience.bucket}/{folder}"

    @property
    def rate(self) -> float:
        """Targets sent per second during the last `RATE_SECONDS`.

        The hash counts them in windows of that length; the previous window contributes the part that the
        current one lacks.
        """
        age = self.now - self.number("rateAt") / 1000
        sent, before = self.number("rateNow"), self.number("rateBefore")
        if age >= RATE_SECONDS:
            age, sent, before = age - RATE_SECONDS, 0, sent
        if age >= RATE_SECONDS:
            return 0.0
        active = self.now - self.number("rateSince") / 1000  # shorter after a start or a resume
        return (sent + before * (1 - max(age, 0) / RATE_SECONDS)) / min(max(active, 1.0), RATE_SECONDS)

    @property
    def seconds_left(self) -> int | None:
        """Remaining time in seconds, by its pace or else by its rate; None while it is unknown."""
        done, speed = self.number("n.bytes"), self.pace or self.rate
        if self.state not in {"running", "waiting"} or self.is_cancelled or not done or not speed:
            return None
        rows = self.number("n.rows") / done * (self.number("size") - done)
        return round(self._seconds_until_open + rows / speed)

    @property
    def opens_at(self) -> str | None:
        """When its window opens, in UTC; None unless it is `waiting`."""
        return _utc(round(self.now + self._seconds_until_open)) if self.state == "waiting" else None

    @property
    def _seconds_until_open(self) -> float:
        window = self.campaign.window
        return window.seconds_until_open(self.now) if window else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as the campaign routes show it."""
        started, finished = self.number("startedAt") / 1000, self.number("finishedAt") / 1000
        document: dict[str, Any] = {
            "campaign": self.fields["id"],
            "state": self.state,
            "cancelling": self.is_cancelled and self.state != "cancelled",
            "counts": {"rows": self.number("n.rows"), **self.counts},
            "pace": self.pace,
            "bytes": self.number("size"),
            "bytesDone": self.number("n.bytes"),
            "requests": self.number("n.requests"),
            "throttledSeconds": round(self.number("n.throttledMs") / 1000, 1),
            "pieces": self.number("pieces"),
            "piecesDone": self.number("done"),
            "piecesFailed": self.number("failed"),
            "startedAt": _utc(started),
            "finishedAt": _utc(finished) if finished else None,
            "rate": round(self.rate, 1),
            "secondsLeft": self.seconds_left,
            "opensAt": self.opens_at,
        }
        if problem := self.problem:
            document["problem"] = problem
        return document


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
