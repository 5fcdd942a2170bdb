"""The claims of one invocation: requests are claimed before they are sent, and settled with their outcomes.

A request is identified by its message ids with their targets, its app, workspace and tenant, of which only a
hash is stored. Its record holds a fingerprint of the message and the outcome, but no target, no text of the
push and no secret. `ledger.lua` describes records and is the only way to change one. A record is

* claimed, until the deadline of the invocation that sends the request: others see it as ``throttled``;
* claimed and past that deadline: the sender is gone, and the outcome is ``unknown``;
* ``accepted`` or ``unknown``, for as long as the message is valid: the same message gets that outcome again,
  another message with the same ids is ``refused`` (``IdReused``).

No other outcome is recorded: those requests may be sent again, corrected or not.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mpaas_push.ledger.redis_client import Failure, record_key
from mpaas_push.outcome import (
    ACCEPTED,
    LEDGER_MISCONFIGURED,
    MISCONFIGURED,
    REFUSED,
    THROTTLED,
    UNKNOWN,
    Outcome,
    OutcomeKind,
    ids_for_log,
)
from mpaas_push.settings import IfDown, Late

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpaas_push.invocation import Invocation
    from mpaas_push.ledger.redis_client import RedisClient
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings

__all__ = ["SHORTEST_KEPT_SECONDS", "Claim", "Claims"]

logger = logging.getLogger(__name__)

SHORTEST_KEPT_SECONDS = 24 * 3600
"""Records outlive short validities: deliveries are repeated for up to a day
(fc-runtime.md: MNS topic trigger, Asynchronous invocation)."""
LONGEST_KEPT_SECONDS = 400 * 24 * 3600
"""Longer validities look like mistakes and may exceed what clocks and servers can represent."""
LONGEST_CLAIM_SECONDS = 15 * 60.0
"""Longest claim, also of an invocation that has no deadline or a later one."""
MARGIN_SECONDS = 1.0
"""How long a claim outlives its invocation: a verdict at the last moment must still be recorded."""
DAY_MILLISECONDS = 24 * 3600 * 1000
"""A loop runs until the end of its last day; `endTime` may be any moment of that day
(pushsimple.md: Strategy content)."""
CALLS_PER_TRIP = 500
"""Maximum number of outcomes recorded in one trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to send a request; settle it with the outcome.

    Attributes:
        request: The request.
        owner: Unique to this claim.
        deadline: Latest time at which the request may be in progress, on the clock of `time.monotonic`; after
            it, others may assume that the sender is gone.
        may_have_arrived: It was sent before, with an unknown outcome.
        unconfirmed: The ledger could not tell whether it was sent before.
    """

    request: PushRequest = field(repr=False)
    owner: str
    deadline: float
    may_have_arrived: bool = False
    unconfirmed: bool = False


class Claims:
    """The claims of one invocation, and the outcomes that are not recorded yet. Not thread-safe.

    When the ledger cannot tell, `PUSH_LEDGER_IF_DOWN` decides. When it can never work (wrong password,
    missing rights, a node of a cluster), nothing is sent regardless of that setting: each request is
    ``misconfigured``. Each kind of failure is logged once, and at the end the number of affected requests.
    """

    def __init__(self, redis: RedisClient, settings: Settings, invocation: Invocation) -> None:
        """Create an object without claims; see `Ledger.claims`.

        Args:
            redis: Keeps the records.
            settings: What to do when the ledger cannot tell, and with an unknown outcome.
            invocation: Its deadline bounds the claims.
        """
        self._redis = redis
        self._sends_without = settings.ledger_if_down is IfDown.SEND
        self._on_unknown = settings.on_unknown.value
        self._sends_late = settings.late is Late.SEND
        self._invocation = invocation
        self._unrecorded: list[tuple[Any, ...]] = []
        self._set_aside: list[tuple[Any, ...]] = []
        self._undecided = 0
        self._failures: dict[str, None] = {}  # a set that keeps its order

    def claim(self, requests: Sequence[PushRequest]) -> list[Claim | Outcome]:
        """Claim the right to send requests, all in one trip; never raises.

        Args:
            requests: The requests. One whose validity has ended does not take over an unknown outcome, unless
                late requests are sent, too.

        Returns:
            For each request one of two:

            * the claim: send the request, then settle the claim. If the ledger could not tell, the claim may
              not exist; the outcome is recorded nevertheless, as soon as possible;
            * an outcome instead: the recorded one, ``throttled`` while another invocation sends the request
              (``InProgress``) or while the ledger is down and `PUSH_LEDGER_IF_DOWN` is ``fail``, ``refused``
              if another message was sent with these ids (``IdReused``), ``misconfigured`` if the ledger can
              never work.
        """
        time_left = self._invocation.time_left
        seconds = max(min(time_left + MARGIN_SECONDS, LONGEST_CLAIM_SECONDS), MARGIN_SECONDS)
        deadline = time.monotonic() + seconds - MARGIN_SECONDS
        token = os.urandom(8).hex()
        claims = [
            Claim(request=request, owner=f"{token}-{index}", deadline=deadline)
            for index, request in enumerate(requests)
        ]
        replies = self._ask(
            [
                _call(
                    claim,
                    "claim",
                    _seconds_kept(claim.request),
                    claim.request.fingerprint,
                    round(seconds * 1000),
                    "" if self._is_expired(claim.request) else self._on_unknown,
                )
                for claim in claims
            ]
        )
        # One permanent failure is enough: this is not the intended server.
        permanent = next(
            (reply for reply in replies if isinstance(reply, Failure) and reply.is_permanent), None
        )
        results = [
            self._result(claim, permanent or reply) for claim, reply in zip(claims, replies, strict=True)
        ]
        # An unused claim must not end as `unknown`; it may exist even without a reply.
        self.settle(
            [
                (claim, result)
                for claim, reply, result in zip(claims, replies, results, strict=True)
                if isinstance(result, Outcome) and _may_exist(reply)
            ]
        )
        return results

    def settle(self, settled: Iterable[tuple[Claim, Outcome]]) -> None:
        """Record the outcomes of claimed requests, all in one trip; never raises.

        ``accepted`` and ``unknown`` are kept. Any other outcome releases the claim: a request that was
        unknown before is unknown again. Outcomes that cannot be recorded now are retried with the next ones.
        If another invocation has taken over the request in the meantime, its claim or outcome stays, unless
        this push was accepted.
        """
        self._unrecorded += _settlements(settled)
        self._record()

    def conclude(self, settled: Iterable[tuple[Claim, Outcome]] = ()) -> None:
        """Settle the last requests and log which ones the ledger failed for; never raises.

        A server that was down a moment ago is tried again. If that fails, too, existing claims stay and
        count as ``unknown`` past their deadline.
        """
        self._unrecorded += [*_settlements(settled), *self._set_aside]
        self._set_aside = []
        self._record(despite_pause=True)
        unrecorded = len(self._unrecorded) + len(self._set_aside)
        reasons = ", ".join(self._failures)
        if self._undecided:
            text = (
                "the ledger failed for %d requests (%s): they were sent without it, and may be sent twice"
                if self._sends_without
                else "the ledger failed for %d requests (%s): they wait for it"
            )
            self._log(logging.ERROR, text, self._undecided, reasons)
        if unrecorded:
            text = "the ledger failed (%s): %d outcomes are not recorded, and may end as unknown"
            self._log(logging.ERROR, text, reasons, unrecorded)

    def _record(self, *, despite_pause: bool = False) -> None:
        """Record the outcomes that are waiting, until the server fails for a whole trip.

        If only a part of the server is down, the outcomes for that part wait for `conclude` and do not delay
        the others.
        """
        while self._unrecorded:
            calls = self._unrecorded[:CALLS_PER_TRIP]
            replies = self._ask(calls, despite_pause=despite_pause)
            failed = [call for call, reply in zip(calls, replies, strict=True) if isinstance(reply, Failure)]
            if len(failed) == len(calls):
                return
            del self._unrecorded[:CALLS_PER_TRIP]
            self._set_aside += failed

    def _ask(
        self, calls: Sequence[tuple[Any, ...]], *, despite_pause: bool = False
    ) -> list[list[str] | Failure]:
        """Call the server, and log each kind of failure the first time."""
        replies = self._redis.ask(calls, despite_pause=despite_pause, retry_until=self._invocation.deadline)
        for reply in replies:
            if not isinstance(reply, Failure) or reply.reason in self._failures:
                continue
            self._failures[reply.reason] = None
            if reply.is_permanent:
                text = "the ledger cannot work as it is configured, nothing is sent: %s"
                self._log(logging.ERROR, text, reply.reason)
            else:
                self._log(logging.WARNING, "the ledger failed: %s", reply.reason)
        return replies

    def _result(self, claim: Claim, reply: list[str] | Failure) -> Claim | Outcome:
        """Interpret the reply to a claim."""
        request = claim.request
        match reply:
            case Failure(is_permanent=True):
                text = f"the ledger: {reply.reason}"
                return _not_sent(request, MISCONFIGURED, LEDGER_MISCONFIGURED, text, unconfirmed=True)
            case Failure():
                self._undecided += 1
                return self._without(claim, "LedgerDown")
            case ["reclaimed"]:
                self._log(logging.WARNING, "sent again after an unknown outcome", request=request)
                return replace(claim, may_have_arrived=True)
            case ["claimed"]:
                return claim
        outcome = _outcome_of(request, reply)
        if outcome is None:
            text = "the ledger holds a record that this version cannot read: %s"
            consequence = "it is sent, and may be sent twice" if self._sends_without else "it waits"
            self._log(logging.ERROR, text, consequence, request=request)
            return self._without(claim, "LedgerUnreadable")
        return replace(outcome, is_final=outcome.kind is UNKNOWN and self._is_expired(request))

    def _is_expired(self, request: PushRequest) -> bool:
        """Return whether it is too late to send a request, although an earlier outcome is unknown."""
        return not self._sends_late and request.validity_left() <= 0

    def _without(self, claim: Claim, code: str) -> Claim | Outcome:
        """Return the result that `PUSH_LEDGER_IF_DOWN` requires when the ledger cannot tell."""
        if self._sends_without:
            return replace(claim, unconfirmed=True)
        text = "the ledger cannot tell whether it was sent before"
        return _not_sent(claim.request, THROTTLED, code, text, unconfirmed=True)

    def _log(self, level: int, text: str, *values: object, request: PushRequest | None = None) -> None:
        extra: dict[str, Any] = {"request_id": self._invocation.request_id}
        if request:
            extra["message_ids"] = ids_for_log(request.targets)
        with suppress(Exception):  # a log handler that raises must not stop other requests
            logger.log(level, text, *values, extra=extra)


class _Record(BaseModel):
    """An outcome in its record. New fields need a default; a removed or changed one, a new version."""

    request_id: str | None = None
    result_code: str | None = None
    result_message: str | None = None
    task_id: str | None = None
    attempts: int = 1


def _outcome_of(request: PushRequest, reply: list[str]) -> Outcome | None:
    """Return the outcome in a record; None if it cannot be read."""
    try:
        match reply:
            case ["busy", _]:
                text = "another invocation is sending it; safe to retry"
                return _not_sent(request, THROTTLED, "InProgress", text, retry_after=1.0, unconfirmed=True)
            case ["reused", at]:
                moment = datetime.fromtimestamp(int(at) // 1000, timezone.utc)
                return _not_sent(request, REFUSED, "IdReused", _reuse(request, moment))
            case ["settled", "claimed", _]:
                text = "the invocation that sent this request ended before its outcome was known"
                return Outcome(
                    kind=UNKNOWN,
                    targets=request.targets,
                    request_id=None,
                    result_code="Interrupted",
                    result_message=text,
                    attempts=1,
                )
            case ["settled", state, text]:
                record = _Record.model_validate_json(text).model_dump()
                return Outcome(kind=OutcomeKind(state), targets=request.targets, **record)
    except (ValueError, OverflowError, OSError):  # truncated, or with an impossible time
        pass
    return None


def _reuse(request: PushRequest, moment: datetime) -> str:
    first, *others = ids_for_log(request.targets)
    ids = f"message id {first}" + (f" (and {len(others)} more)" if others else "")
    return f"another message was sent with {ids} at {moment.isoformat()}; give this one another id"


def _not_sent(
    request: PushRequest,
    kind: OutcomeKind,
    code: str,
    reason: str,
    *,
    retry_after: float | None = None,
    unconfirmed: bool = False,
) -> Outcome:
    return Outcome(
        kind=kind,
        targets=request.targets,
        result_code=code,
        result_message=f"not sent: {reason}",
        retry_after=retry_after,
        unconfirmed=unconfirmed,
    )


def _may_exist(reply: list[str] | Failure) -> bool:
    """Return whether the claim may exist after this reply."""
    if isinstance(reply, Failure):
        return reply.was_called and not reply.is_permanent
    return reply[0] in {"claimed", "reclaimed"}


def _settlements(settled: Iterable[tuple[Claim, Outcome]]) -> list[tuple[Any, ...]]:
    """Return the calls that record outcomes or release claims."""
    return [
        _call(
            claim,
            "settle",
            _seconds_kept(claim.request),
            claim.request.fingerprint,
            outcome.kind.value,
            _Record.model_validate(outcome, from_attributes=True).model_dump_json(exclude_defaults=True),
        )
        if outcome.kind in {ACCEPTED, UNKNOWN}
        else _call(claim, "release", _seconds_kept(claim.request), claim.request.fingerprint)
        for claim, outcome in settled
    ]


def _call(claim: Claim, action: str, *arguments: Any) -> tuple[Any, ...]:
    return (record_key("request", _identity(claim.request)), action, claim.owner, *arguments)


def _identity(request: PushRequest) -> str:
    """Return the identity of a request: app, workspace, targets with their message ids, and any tenant."""
    parameters = request.common
    identity = [parameters.get("AppId"), parameters.get("WorkspaceId"), sorted(request.targets.items())]
    if tenant := parameters.get("TenantId"):
        identity.append(tenant)
    return json.dumps(identity)


def _seconds_kept(request: PushRequest) -> int:
    """Return how long a record is kept; the validity of a timed or loop push begins when mPaaS sends it."""
    message, wait = request.message, 0.0
    if message.strategy_content:
        moments = message.strategy_content.used_fields(message.strategy_type)
        last_moment = moments.get("fixedTime") or moments.get("endTime", 0) + DAY_MILLISECONDS
        wait = max(last_moment / 1000 - time.time(), 0.0)
    return min(max(math.ceil(wait) + message.expired_seconds, SHORTEST_KEPT_SECONDS), LONGEST_KEPT_SECONDS)
