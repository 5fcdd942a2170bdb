"""The state of campaigns in Redis: one hash each, changed only by the scripts in `lua/`.

A campaign and its pieces are one key, so a script changes them in one step, even behind the proxy of a
cluster. The ledger records what was sent to whom; results are OSS objects.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis import exceptions
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from mpaas_push.campaign.errors import CampaignConflict, CampaignError, StoreUnavailable, UnknownCampaign
from mpaas_push.campaign.state import FIELDS, RATE_SECONDS, StoredCampaign, WorkingPieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_push.campaign.model import PaceChange
    from mpaas_push.settings import Settings

__all__ = [
    "LEASE_SECONDS",
    "NEAR_SECONDS",
    "RENEW_SECONDS",
    "CampaignStore",
    "Commit",
    "Moment",
    "Plan",
    "TakeResult",
    "store_of",
]

logger = logging.getLogger(__name__)

KEPT_SECONDS = 90 * 86400
"""How long a campaign is kept, from its start: as long as its results are useful."""
LEASE_SECONDS = 8.0
"""How long a worker keeps a piece after taking it, committing a block or renewing the lease, by the server's
clock; the piece of a killed worker is idle for that long."""
NEAR_SECONDS = 5.0
"""A worker waits for a moment that is nearer; a later one becomes the delay of the next task."""
RENEW_SECONDS = 2.0
"""How often a worker renews its lease: a brief failure of Redis does not cost it the piece."""
MAX_LISTED = 100
"""Maximum number of campaigns in a list, the latest first."""
_TIMEOUT_SECONDS = 2.0
RETRIES = 6
"""Retries of a call, over some seconds, which outlast a failover."""
_BUCKET = "mpaas-push:pace"
"""Shared by all functions that use the Redis: a quota of mPaaS belongs to the app."""
_UNREADABLE = (
    ArithmeticError,
    CampaignError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    exceptions.RedisError,
)
"""Errors of reading a record of another version."""
_LUA = Path(__file__).with_name("lua")


@dataclass(frozen=True)
class Plan:
    """The result of a start or a resume.

    Attributes:
        number: Number of the plan that submits the open pieces.
        is_new: Whether this call started the campaign.
    """

    number: int
    is_new: bool


@dataclass(frozen=True)
class TakeResult:
    """The result of taking a piece.

    Attributes:
        status: `taken`, or why it was not: `unknown`, `stale`, `done`, `paused`, `failed` or `held`.
        offset: First byte that is not accounted for; -1 before the first block.
        rows: Number of rows of the block that begins there.
        wait: Seconds for which another worker may still keep it.
    """

    status: str
    offset: int = -1
    rows: int = 0
    wait: float = 0.0


@dataclass(frozen=True)
class Commit:
    """The campaign as a block was committed.

    Attributes:
        state: running, paused or cancelled.
        pace: Targets a second, if there is a limit.
        pace_version: Counts the changes of the pace.
    """

    state: str
    pace: int | None
    pace_version: int


@dataclass(frozen=True)
class Moment:
    """When a block may be sent.

    Attributes:
        wait: Seconds until then.
        is_reserved: Whether the moment is reserved for the block; if not, try again after that time.
    """

    wait: float
    is_reserved: bool


class CampaignStore:
    """Campaigns in Redis or Tair. Thread-safe.

    Every method raises `StoreUnavailable` once some attempts have failed.
    """

    def __init__(
        self, url: str, ca_bundle: str | None = None, *, sender: str, retries: int = RETRIES
    ) -> None:
        """Connections open on first use.

        Args:
            url: `PUSH_LEDGER_URL`.
            ca_bundle: The certificates to trust.
            sender: The campaigns' function (see `mpaas_push.invocation.sender_of`). Campaigns of other
                functions, such as those of another stage, are separate, even with the same id.
            retries: How often a call is retried.
        """
        trust = {"ssl_ca_certs": ca_bundle, "ssl_check_hostname": True, "ssl_cert_reqs": "required"}
        self._index = f"mpaas-push:campaigns:{sender}"
        self._prefix = f"mpaas-push:campaign:{sender}:"
        self._redis: Any = redis.Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
            # Every script can be repeated: its arguments include owner and offset.
            retry=Retry(ExponentialBackoff(cap=4, base=0.1), retries),
            retry_on_error=[exceptions.ConnectionError, exceptions.TimeoutError, exceptions.BusyLoadingError],
            **(trust if url.startswith("rediss:") else {}),
        )
        shared = (_LUA / "piece.lua").read_text("utf-8")
        self._scripts = {
            script.stem: shared + script.read_text("utf-8")
            for script in _LUA.glob("*.lua")
            if script.stem != "piece"
        }

    def start(self, campaign_id: str, fields: Mapping[str, Any], *, fingerprint: str, etag: str) -> Plan:
        """Start a campaign, unless the same one was started before.

        Args:
            campaign_id: The campaign.
            fields: Fields of its hash, such as size and pieces.
            fingerprint: As `Campaign.fingerprint` returns it.
            etag: ETag of its file.

        Raises:
            CampaignConflict: the id was used with other content or another file.
        """
        flat = [part for item in fields.items() for part in item]
        status, *plan = self._call("start", campaign_id, fingerprint, etag, KEPT_SECONDS, *flat)
        if status == "content":
            raise CampaignConflict(
                f"campaign {campaign_id} was started with other content: give this one another id"
            )
        if status == "file":
            raise CampaignConflict(
                f"campaign {campaign_id} was started with another file (its ETag differs): "
                "give this one another id"
            )
        # The call that wrote the hash may have failed before it listed the campaign.
        self._do("zadd", self._index, {campaign_id: time.time()}, nx=True)
        return Plan(int(plan[0]), status == "started")

    def get(self, campaign_id: str) -> StoredCampaign:
        """Return a campaign.

        Raises:
            UnknownCampaign: it does not exist.
        """
        (campaign,) = self._read([campaign_id])
        if campaign is None:
            raise UnknownCampaign(campaign_id)
        if isinstance(campaign, exceptions.RedisError):
            raise StoreUnavailable(
                f"the Redis key of campaign {campaign_id} does not hold a campaign", is_permanent=True
            )
        return campaign

    def list_all(self) -> list[StoredCampaign]:
        """Return the latest campaigns, the newest first, without those that this version cannot read."""
        ids = self._do("zrevrange", self._index, 0, MAX_LISTED - 1)
        listed = []
        for campaign_id, campaign in zip(ids, self._read(ids), strict=True):
            if campaign is None:  # it has expired
                continue
            try:
                if isinstance(campaign, exceptions.RedisError):
                    raise campaign
                campaign.as_json()
            except _UNREADABLE as error:
                logger.warning("campaign %s cannot be read (%s)", campaign_id, type(error).__name__)
            else:
                listed.append(campaign)
        return listed

    def working_pieces(self, campaign_id: str) -> WorkingPieces:
        """Count the pieces that workers hold; a worker that missed two renewals has stalled."""
        left = LEASE_SECONDS - 2 * RENEW_SECONDS
        working, stalled, until = self._call("working", campaign_id, round(left * 1000))
        return WorkingPieces(int(working), int(stalled), int(until) / 1000 or None)

    def open_pieces(self, campaign_id: str) -> list[tuple[int, int]]:
        """Return index and turn of each piece that is neither done nor failed."""
        stored = self.get(campaign_id)
        names = [f"p{index}" for index in range(stored.number("pieces"))]
        texts = self._do("hmget", self._key(campaign_id), names)
        open_pieces = []
        for index, text in enumerate(texts):
            status, turn, *_ = (text or "open 1").split(" ")
            if status == "open":
                open_pieces.append((index, int(turn)))
        return open_pieces

    def take(self, campaign_id: str, piece: int, turn: int, owner: str) -> TakeResult:
        """Take a piece to work on it."""
        status, *values = self._call("take", campaign_id, piece, turn, owner, round(LEASE_SECONDS * 1000))
        if status == "taken":
            return TakeResult(status, offset=int(values[0]), rows=int(values[1]))
        return TakeResult(status, wait=int(values[0]) / 1000 if values else 0.0)

    def commit(
        self,
        campaign_id: str,
        piece: int,
        owner: str,
        *,
        offset: int,
        to: int,
        next_rows: int,
        is_last: bool,
        counts: Mapping[str, int],
    ) -> Commit | None:
        """Account for a block.

        Args:
            campaign_id: The campaign.
            piece: Index of the piece.
            owner: The worker that holds it.
            offset: Where the block begins, as it was taken or committed.
            to: Where the next block begins.
            next_rows: Number of rows of the next block.
            is_last: Whether the piece ends with this block.
            counts: Numbers to add, by name; `rate` is computed from `sent`.

        Returns:
            None if another worker holds the piece.
        """
        flat = [part for name, number in counts.items() if number for part in (f"n.{name}", number)]
        status, *values = self._call(
            "commit",
            campaign_id,
            piece,
            owner,
            round(LEASE_SECONDS * 1000),
            offset,
            to,
            next_rows,
            int(is_last),
            round(RATE_SECONDS * 1000),
            *flat,
        )
        if status == "lost":
            return None
        return Commit(values[0], int(values[1]) if values[1] else None, int(values[2]))

    def renew(self, campaign_id: str, piece: int, owner: str) -> str | None:
        """Renew the lease of a piece; return the campaign's state, None if another worker holds the piece."""
        status, *state = self._call("renew", campaign_id, piece, owner, round(LEASE_SECONDS * 1000))
        return state[0] if status == "kept" else None

    def release(
        self,
        campaign_id: str,
        piece: int,
        owner: str,
        *,
        due: float,
        has_waited: bool,
        problem: str = "",
    ) -> int | None:
        """Release a piece.

        Args:
            campaign_id: The campaign.
            piece: Index of the piece.
            owner: The worker that holds it.
            due: Seconds until its next task is due.
            has_waited: Whether it only waited, for its pace or its window, which is not a failed attempt.
            problem: What went wrong; the campaign shows it if the attempt may have been the last.

        Returns:
            Its current turn; None if another worker holds it.
        """
        status, *turn = self._call(
            "release", campaign_id, piece, owner, round(due * 1000), int(has_waited), problem
        )
        return int(turn[0]) if status == "released" else None

    def fail(self, campaign_id: str, piece: int, owner: str, problem: str) -> None:
        """Give a piece up until the campaign is resumed."""
        self._call("fail", campaign_id, piece, owner, problem)

    def pause(self, campaign_id: str) -> None:
        """Stop every piece after its current block.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it is done or was cancelled.
        """
        state = self._state(campaign_id, self._call("pause", campaign_id, round(NEAR_SECONDS * 1000)))
        if state in {"cancelled", "done"}:
            how = "was cancelled" if state == "cancelled" else "is done"
            raise CampaignConflict(f"campaign {campaign_id} {how}: nothing is left to pause")

    def reopen(self, campaign_id: str, state: str, change: PaceChange | None = None) -> Plan | None:
        """Resume or cancel a campaign, or wake its waiting pieces.

        Args:
            campaign_id: The campaign.
            state: `running`, `cancelled`, or `same`.
            change: A new pace, set in the same step.

        Returns:
            The plan that submits the remaining pieces; None if there are none.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it was cancelled and would run; or it has ended and its pace would change; or it
                is done and would be cancelled.
        """
        pace = [] if change is None else [change.pace or ""]
        reply = self._call("reopen", campaign_id, state, *pace)
        self._check_not_ended(campaign_id, reply, change)
        return Plan(int(reply[1]), is_new=False) if reply[0] == "reopened" else None

    def change_pace(self, campaign_id: str, change: PaceChange) -> None:
        """Change the pace of a campaign.

        Raises:
            UnknownCampaign: it does not exist.
            CampaignConflict: it has ended.
        """
        self._check_not_ended(campaign_id, self._call("change_pace", campaign_id, change.pace or ""), change)

    def reserve(self, campaign_id: str, targets: int, ahead: float) -> Moment:
        """Return when a block may be sent by the pace of its campaign.

        Args:
            campaign_id: The campaign.
            targets: Number of targets of the block.
            ahead: Maximum number of seconds until a moment that is reserved.
        """
        status, wait = self._call("reserve", campaign_id, targets, round(ahead * 1000))
        return Moment(int(wait) / 1000, status == "at")

    def reserve_requests(self, requests: int, rate: float | None, ahead: float) -> Moment:
        """Return when requests may be sent, by `PUSH_PACE` and by how mPaaS has throttled.

        Args:
            requests: Number of requests.
            rate: Requests a second of all functions, if there is a limit.
            ahead: As in `reserve`.
        """
        window = round(RATE_SECONDS * 1000)
        status, wait = self._run_script(_BUCKET, "reserve", requests, round(ahead * 1000), rate or "", window)
        return Moment(int(wait) / 1000, status == "at")

    def slow(self) -> None:
        """Halve the rate of all campaigns since mPaaS throttles; it recovers within a minute."""
        self._run_script(_BUCKET, "slow", round(RATE_SECONDS * 1000))

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _check_not_ended(self, campaign_id: str, reply: Sequence[Any], change: PaceChange | None) -> None:
        if self._state(campaign_id, reply) == "cancelled":
            raise CampaignConflict(f"campaign {campaign_id} was cancelled: start another one for the rest")
        if reply[0] == "ended" and not change:
            raise CampaignConflict(f"campaign {campaign_id} is done: nothing is left to cancel")
        # A campaign that ended at this very pace is no conflict, as when a resume is repeated.
        if reply[0] == "ended" and change and self.get(campaign_id).pace != change.pace:
            raise CampaignConflict(f"campaign {campaign_id} is done: its pace cannot change")

    @staticmethod
    def _state(campaign_id: str, reply: Sequence[Any]) -> str:
        if not reply or not reply[0]:
            raise UnknownCampaign(campaign_id)
        return str(reply[0])

    def _read(self, ids: Sequence[str]) -> list[StoredCampaign | exceptions.RedisError | None]:
        """Return the campaign of each id; None if it does not exist, an error if its key is not a hash."""
        if not ids:
            return []

        def read() -> Any:
            with self._redis.pipeline(transaction=False) as pipeline:
                for campaign_id in ids:
                    pipeline.hmget(self._key(campaign_id), FIELDS)
                pipeline.time()
                replies = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                    raise reply
            return replies

        *hashes, (seconds, microseconds) = self._guarded(read)
        now = seconds + microseconds / 1e6
        campaigns: list[StoredCampaign | exceptions.RedisError | None] = []
        for values in hashes:
            if isinstance(values, exceptions.RedisError):
                campaigns.append(values)
                continue
            fields = {name: text for name, text in zip(FIELDS, values, strict=True) if text is not None}
            campaigns.append(StoredCampaign(fields, now) if "state" in fields else None)
        return campaigns

    def _call(self, script: str, campaign_id: str, *arguments: Any) -> Any:
        return self._run_script(self._key(campaign_id), script, *arguments)

    def _run_script(self, key: str, script: str, *arguments: Any) -> Any:
        text = self._scripts[script]
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

        def call() -> Any:
            try:
                return self._redis.evalsha(sha, 1, key, *arguments)
            except exceptions.NoScriptError:
                # This node does not know the script yet: each node behind a proxy loads its own copy.
                return self._redis.eval(text, 1, key, *arguments)

        return self._guarded(call)

    def _do(self, command: str, *arguments: Any, **options: Any) -> Any:
        return self._guarded(lambda: getattr(self._redis, command)(*arguments, **options))

    def _key(self, campaign_id: str) -> str:
        return f"{self._prefix}{campaign_id}"

    @staticmethod
    def _guarded(call: Any) -> Any:
        try:
            return call()
        except (exceptions.AuthenticationError, exceptions.NoPermissionError):
            text = "the user of PUSH_LEDGER_URL lacks permissions that campaigns need (docs/ledger.md)"
            raise StoreUnavailable(text, is_permanent=True) from None
        except (exceptions.RedisError, OSError) as error:
            # The text of such an error may name host and user.
            raise StoreUnavailable(f"the Redis of campaigns failed ({type(error).__name__})") from None


def store_of(settings: Settings, sender: str) -> CampaignStore:
    """Return the store that the settings name.

    Args:
        settings: `PUSH_LEDGER_URL`.
        sender: As in `CampaignStore`.

    Raises:
        StoreUnavailable: no Redis is configured.
    """
    if not settings.ledger_url:
        raise StoreUnavailable(
            "campaigns need a Redis or Tair: set PUSH_LEDGER_URL (docs/ledger.md)", is_permanent=True
        )
    return CampaignStore(settings.ledger_url, settings.ca_bundle, sender=sender)
