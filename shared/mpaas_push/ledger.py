"""What has been sent already: one record for each request in Redis or Tair, claimed before it is sent.

A request is known by its message ids with their targets, its app and its workspace, of which only a hash is
stored. Its record keeps a fingerprint of the message and what became of it, but no target, no text of the
push and no secret. `ledger.lua` describes records and is the only way to change one. A record is

* claimed, until the deadline of the invocation that sends it: for another one it is ``throttled`` for now;
* claimed and past that deadline: the sender is gone, the outcome is ``unknown``;
* ``accepted`` or ``unknown``, for as long as the message is valid: the same message gets that outcome again,
  another one under the same ids is ``refused`` (``IdReused``).

Nothing else is remembered: what was not taken may be sent again, corrected or not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from mpaas_push.ledger_server import Failure, LedgerServer
from mpaas_push.outcome import (
    ACCEPTED,
    MISCONFIGURED,
    REFUSED,
    THROTTLED,
    UNKNOWN,
    Outcome,
    OutcomeKind,
    ids_for_log,
)
from mpaas_push.settings import IfDown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_push.invocation import Invocation
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings

__all__ = ["Claim", "Comparison", "Ledger"]

logger = logging.getLogger(__name__)

Comparison = Literal["new", "same", "other"]
"""Of an Idempotency-Key: new, known with the same body, known with another one."""

SHORTEST_KEPT_SECONDS = 24 * 3600
"""Records outlive short validities: deliveries are repeated for up to a day
(fc-runtime.md: MNS topic trigger, Asynchronous invocation)."""
LONGEST_KEPT_SECONDS = 400 * 24 * 3600
"""Longer validities are not told from mistakes, and no clock and no server counts without end."""
LONGEST_CLAIM_SECONDS = 15 * 60.0
"""A claim of an invocation without deadline, or with a later one: the request has no longer than that."""
MARGIN_SECONDS = 1.0
"""How long a claim outlives its invocation: a verdict of the last moment still has to be recorded."""
PROBE_SECONDS = 10
"""How long the record of a health check is kept, should it not be deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to send a request, taken from the ledger; settle it with the outcome.

    Attributes:
        request: The request.
        owner: What tells this claim from all others.
        deadline: Until when the request may be under way, on the clock of `time.monotonic`; then others may
            think that its sender is gone.
    """

    request: PushRequest = field(repr=False)
    owner: str
    deadline: float


class Ledger:
    """Records of what was sent, shared by all functions and instances that name the same server.

    Safe under threads and after a fork; keeps connections, and no decision. What it cannot tell about a
    request is decided by `PUSH_LEDGER_IF_DOWN`. Where it can never work (wrong password, missing rights, a
    node of a cluster) nothing goes out, whatever that says: each request is ``misconfigured``.
    """

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet.

        Args:
            settings: `PUSH_LEDGER_URL`, and what to do when the ledger cannot tell.
        """
        self._settings = settings
        self._server = LedgerServer(settings)
        self._if_down = (
            "pushes are sent without it, and may be sent twice"
            if settings.ledger_if_down is IfDown.SEND
            else "pushes wait for it"
        )

    def claim(self, requests: Sequence[PushRequest], invocation: Invocation) -> list[Claim | Outcome | None]:
        """Ask for the right to send requests, all in one trip; never raises.

        Args:
            requests: The requests. One whose validity has ended takes over no unknown outcome.
            invocation: Until when its requests may be under way.

        Returns:
            For each request one of three:

            * the claim: send the request, then settle it. After a lost answer the claim may not exist; what
              became of the request is recorded even so, if that is possible by then;
            * the outcome that stands for sending: that of the first time, ``throttled`` while another
              invocation sends it (``InProgress``) or while the ledger is down and `PUSH_LEDGER_IF_DOWN` is
              ``fail``, ``refused`` if another message was sent under its ids (``IdReused``),
              ``misconfigured`` if the ledger can never work;
            * None: send it without the ledger.
        """
        seconds = max(min(invocation.time_left + MARGIN_SECONDS, LONGEST_CLAIM_SECONDS), MARGIN_SECONDS)
        deadline = time.monotonic() + seconds - MARGIN_SECONDS
        token = os.urandom(8).hex()
        claims = [
            Claim(request=request, owner=f"{token}-{index}", deadline=deadline)
            for index, request in enumerate(requests)
        ]
        on_unknown = self._settings.on_unknown.value
        calls = [
            _call(
                claim,
                "claim",
                _seconds_kept(claim.request),
                claim.request.fingerprint,
                round(seconds * 1000),
                on_unknown if claim.request.validity_left() > 0 else "",
            )
            for claim in claims
        ]
        answers = self._ask(calls, self._if_down)
        # One record that can never be written is enough: the server is not the one that is meant.
        permanent = _permanent(answers)
        results = [
            self._result(claim, permanent or answer) for claim, answer in zip(claims, answers, strict=True)
        ]
        # A claim that is not used must not end as `unknown`. Where there was no answer it may exist.
        self.settle(
            [
                (claim, result)
                for claim, answer, result in zip(claims, answers, results, strict=True)
                if isinstance(result, Outcome) and _may_exist(answer)
            ]
        )
        return results

    def settle(self, settled: Sequence[tuple[Claim, Outcome]]) -> None:
        """Record what became of claimed requests, all in one trip; never raises.

        ``accepted`` and ``unknown`` are kept, any other outcome gives the claim back. When the ledger cannot
        be reached the claim stays and, past its deadline, counts as ``unknown``. Another invocation that has
        taken the request over meanwhile keeps its claim, and its outcome stays, unless this push was
        accepted.
        """
        calls = [
            _call(
                claim,
                "settle",
                _seconds_kept(claim.request),
                claim.request.fingerprint,
                outcome.kind.value,
                _Record.model_validate(outcome, from_attributes=True).model_dump_json(exclude_defaults=True),
            )
            if outcome.kind in {ACCEPTED, UNKNOWN}
            else _call(claim, "release")
            for claim, outcome in settled
        ]
        self._ask(calls, "what became of them is not recorded; they may end as unknown", despite_pause=True)

    def compare(self, key: str, fingerprint: str) -> Comparison:
        """Say whether an Idempotency-Key is new or known, and with which body; remember it for a day.

        A ledger that cannot tell says ``same``: nothing against the key. Never raises.

        Args:
            key: The caller's key, with the sender before it: others may use the same one.
            fingerprint: Of the body that came with it, without spaces.
        """
        seconds = SHORTEST_KEPT_SECONDS
        name, token = _name("key", key), os.urandom(8).hex()
        (answer,) = self._ask([(name, "claim", token, seconds, fingerprint, seconds * 1000, "")], "")
        match answer:
            case ["claimed"]:
                return "new"
            case ["busy", known] if known != fingerprint:
                return "other"
            case ["reused", _]:
                return "other"
        return "same"

    def forget(self, key: str) -> None:
        """Forget an Idempotency-Key under which nothing was sent; never raises."""
        self._ask([(_name("key", key), "forget", "")], "")

    def health(self) -> Failure | None:
        """Write and delete a record; never raises.

        Returns:
            What is wrong: for now, or permanently. None if the ledger works.
        """
        name, token = _name("health", os.urandom(8).hex()), os.urandom(8).hex()
        calls = [
            (name, "claim", token, PROBE_SECONDS, "-", PROBE_SECONDS * 1000, ""),
            (name, "settle", token, PROBE_SECONDS, "-", ACCEPTED.value, "{}"),
            (name, "forget", token),
        ]
        answers = self._server.ask(calls, despite_pause=True)
        failures = (answer for answer in answers if isinstance(answer, Failure))
        return _permanent(answers) or next(failures, None)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _result(self, claim: Claim, answer: list[str] | Failure) -> Claim | Outcome | None:
        """Return what an answer to a claim means."""
        request = claim.request
        match answer:
            case Failure(is_permanent=True):
                text = f"the ledger: {answer.reason}"
                return _not_sent(request, MISCONFIGURED, "LedgerMisconfigured", text)
            case Failure():
                return self._without(request, "LedgerDown", claim if answer.is_asked else None)
            case ["reclaimed"]:
                logger.warning("sent again after an unknown outcome", extra=_ids(request))
                return claim
            case ["claimed"]:
                return claim
        outcome = _outcome_of(request, answer)
        if outcome is None:
            text = "the ledger holds a record that this version cannot read: %s"
            logger.error(text, self._if_down, extra=_ids(request))
            return self._without(request, "LedgerUnreadable", None)
        return outcome

    def _without(self, request: PushRequest, code: str, claim: Claim | None) -> Claim | Outcome | None:
        """Return what `PUSH_LEDGER_IF_DOWN` says, where nobody can tell whether a request was sent before."""
        if self._settings.ledger_if_down is IfDown.SEND:
            return claim
        return _not_sent(request, THROTTLED, code, "the ledger cannot tell whether it was sent before")

    def _ask(
        self, calls: Sequence[tuple[Any, ...]], consequence: str, *, despite_pause: bool = False
    ) -> list[list[str] | Failure]:
        """Ask the server, and say loudly for how many requests it failed, why, and what follows."""
        answers = self._server.ask(calls, despite_pause=despite_pause)
        failures = Counter(answer for answer in answers if isinstance(answer, Failure))
        for failure, number in failures.items():
            if failure.is_permanent:
                logger.error("the ledger can never work as it is set up, nothing is sent: %s", failure.reason)
            elif failure.is_new:
                logger.error(
                    "the ledger failed for %d requests (%s): %s", number, failure.reason, consequence
                )
        return answers


class _Record(BaseModel):
    """An outcome in its record. New fields need a default; a removed or changed one, a new version."""

    request_id: str | None = None
    result_code: str | None = None
    result_message: str | None = None
    task_id: str | None = None
    attempts: int = 1


def _outcome_of(request: PushRequest, answer: list[str]) -> Outcome | None:
    """Return the outcome that a record stands for; None if it cannot be read."""
    try:
        match answer:
            case ["busy", _]:
                text = "another invocation is sending it; safe to ask again"
                return _not_sent(request, THROTTLED, "InProgress", text, retry_after=1.0)
            case ["reused", at]:
                moment = datetime.fromtimestamp(int(at) // 1000, timezone.utc)
                return _not_sent(request, REFUSED, "IdReused", _reuse(request, moment))
            case ["settled", "claimed", _]:
                text = "the invocation that sent this request ended before its outcome was known"
                return Outcome(UNKNOWN, request.targets, None, "Interrupted", text, attempts=1)
            case ["settled", state, text]:
                record = _Record.model_validate_json(text).model_dump()
                return Outcome(OutcomeKind(state), request.targets, **record)
    except (ValueError, OverflowError, OSError):  # cut, or of a moment that no calendar has
        pass
    return None


def _reuse(request: PushRequest, moment: datetime) -> str:
    first, *others = ids_for_log(request.targets)
    ids = f"message id {first}" + (f" (and {len(others)} more)" if others else "")
    return f"another message was sent under {ids} at {moment.isoformat()}; give this one an id of its own"


def _not_sent(
    request: PushRequest, kind: OutcomeKind, code: str, why: str, retry_after: float | None = None
) -> Outcome:
    return Outcome(
        kind, request.targets, result_code=code, result_message=f"not sent: {why}", retry_after=retry_after
    )


def _ids(request: PushRequest) -> dict[str, Any]:
    return {"message_ids": ids_for_log(request.targets)}


def _permanent(answers: Sequence[list[str] | Failure]) -> Failure | None:
    return next((answer for answer in answers if isinstance(answer, Failure) and answer.is_permanent), None)


def _may_exist(answer: list[str] | Failure) -> bool:
    """Say whether a claim may exist after an answer."""
    if isinstance(answer, Failure):
        return answer.is_asked and not answer.is_permanent
    return answer[0] in {"claimed", "reclaimed"}


def _call(claim: Claim, action: str, *arguments: Any) -> tuple[Any, ...]:
    parameters = claim.request.parameters
    identity = [parameters.get("AppId"), parameters.get("WorkspaceId"), sorted(claim.request.targets.items())]
    return (_name("request", json.dumps(identity)), action, claim.owner, *arguments)


def _name(kind: str, identity: str) -> str:
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return f"mpaas-push:{kind}:{digest[:32]}"


def _seconds_kept(request: PushRequest) -> int:
    return min(max(request.message.expired_seconds, SHORTEST_KEPT_SECONDS), LONGEST_KEPT_SECONDS)
