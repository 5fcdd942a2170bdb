"""Decides whether a request is tried again, and when: at once (`Attempts`), or later, from the retry queue.

`Attempts` turns a request into its outcome, and an exception, too (`Attempts.failure_outcome`). `may_wait`
decides whether a later invocation may try again, `delay_seconds` when.
"""

from __future__ import annotations

import logging
import math
import random
import time
from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

from mpaas_push.outcome import (
    ACCEPTED,
    MISCONFIGURED,
    REFUSED,
    THROTTLED,
    UNKNOWN,
    Outcome,
    Verdict,
    ids_for_log,
)
from mpaas_push.queues.message import LONGEST_DELAY_SECONDS
from mpaas_push.settings import Late, OnUnknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mpaas_push.invocation import Invocation
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings
    from mpaas_push.task import PushTask
    from mpaas_push.transport import Transport

__all__ = ["Attempts", "delay_seconds", "may_wait", "not_begun"]

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.2
"""Mean wait before the second attempt; doubles with each further one, with full jitter."""
BACKOFF_LIMIT_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 120.0
"""Longest wait. If a server requests more (Retry-After), the request is not retried; its outcome has the
value."""
FIRST_DELAY_SECONDS = 5
LONGEST_BACKOFF_SECONDS = 900
"""The delay in the retry queue doubles from the first to the longest, give or take a quarter."""
VALIDITY_SHARE = 0.75
"""Longest delay as a share of the remaining validity: the message returns while it may still be sent."""


class Attempts:
    """A request and its attempts so far.

    Attributes:
        started: When this object was created, on the clock of `time.monotonic`.
    """

    def __init__(
        self,
        request: PushRequest,
        invocation: Invocation,
        settings: Settings,
        transport: Transport,
    ) -> None:
        """Prepare the first attempt.

        Args:
            request: The request to send.
            invocation: Keys and deadline.
            settings: Number of attempts, and how to treat unknown and late requests.
            transport: Sends each attempt.
        """
        self._request = request
        self._invocation = invocation
        self._settings = settings
        self._transport = transport
        self.started = monotonic()
        self._attempts = 0
        self._in_flight = False
        self._unknown: Verdict | None = None

    def run(self) -> Outcome:
        """Retry until the outcome is known or no time is left."""
        if self._request.too_late:
            return Outcome.invalid(self._request.too_late, self._request.targets)
        while True:
            verdict = self._attempt()
            if not self._should_retry(verdict):
                return self._outcome(verdict)
            # Wait as long as the server requests, and never less than the backoff.
            wait = max(_backoff(self._attempts), verdict.retry_after or 0.0)
            if wait >= min(self._invocation.time_to_begin, self._validity_left(), LONGEST_WAIT_SECONDS):
                return self._outcome(verdict)
            sleep(wait)
            if verdict.kind is UNKNOWN:  # the push may be shown twice
                ids = ids_for_log(self._request.targets)
                logger.warning("sent again after an unknown outcome", extra={"message_ids": ids})

    def failure_outcome(self, kind: str) -> Outcome:
        """Return the outcome of a run that ended with an exception; the text names only its class."""
        if self._in_flight:
            verdict = Verdict(
                kind=UNKNOWN, code="Failed", message=f"failed after it may have been sent ({kind})"
            )
        else:
            verdict = Verdict(
                kind=THROTTLED,
                code="Failed",
                message=f"failed before it was sent ({kind})",
            )
        return self._outcome(verdict)

    def _attempt(self) -> Verdict:
        if self._invocation.time_to_begin <= 0:
            return _NOT_SENT
        if self._validity_left() <= 0:
            seconds = self._request.message.expired_seconds
            ended = f"its validity period of {seconds} s had ended"
            text = f"not sent: {ended} (set PUSH_LATE=send to send it anyway)"
            return Verdict(kind=REFUSED, code="Expired", message=text)
        signed_request = self._request.sign(self._invocation.credentials, self._settings)
        self._attempts += 1
        self._in_flight = True
        verdict = self._transport.exchange(signed_request, self._invocation.time_left)
        self._in_flight = False
        if verdict.kind is UNKNOWN:
            self._unknown = verdict
        return verdict

    def _should_retry(self, verdict: Verdict) -> bool:
        if not 0 < self._attempts < self._settings.max_attempts:
            return False
        if (verdict.code or "").startswith("InvalidTimeStamp"):
            return self._attempts == 1  # a new signature has a new timestamp
        if verdict.kind is UNKNOWN:
            return self._settings.on_unknown is OnUnknown.RETRY
        return verdict.kind is THROTTLED

    def _outcome(self, verdict: Verdict) -> Outcome:
        if self._unknown and verdict.kind is not ACCEPTED:
            # An earlier attempt may have arrived, regardless of the last one's result.
            verdict = self._unknown
        keys = self._invocation.credentials
        secrets = (keys.access_key_id, keys.access_key_secret, keys.security_token)
        outcome = Outcome.of(verdict, self._request.targets, self._attempts, secrets)
        left = max(self._validity_left(), 0.0)
        longest, limit = min((left, "of validity left"), (LONGEST_DELAY_SECONDS, "that a queue can wait"))
        if outcome.retry_after is None or outcome.retry_after <= longest:
            return outcome
        text = f"asked to wait {outcome.retry_after:.9g} s, longer than the {longest:.0f} s {limit}"
        message = f"{outcome.result_message}; {text}" if outcome.result_message else text
        return replace(outcome, result_message=message)

    def _validity_left(self) -> float:
        """Return the seconds until the request is too late; infinite if late requests are sent, too."""
        return self._request.validity_left() if self._settings.late is Late.EXPIRE else math.inf


def _backoff(attempts: int) -> float:
    return random.uniform(0, min(BACKOFF_SECONDS * 2**attempts, BACKOFF_LIMIT_SECONDS))  # spreads load


def not_begun(targets: Mapping[str, str | None], *, unconfirmed: bool) -> Outcome:
    """Return the outcome of a request for which no time was left.

    Args:
        targets: Message id of each target, None if it was not derived.
        unconfirmed: There is a ledger, but it was not queried.
    """
    return Outcome(
        kind=_NOT_SENT.kind,
        targets=targets,
        result_code=_NOT_SENT.code,
        result_message=_NOT_SENT.message,
        unconfirmed=unconfirmed,
    )


_NOT_SENT = Verdict(
    kind=THROTTLED,
    code="NotSent",
    message="not sent: no time was left in this invocation",
)


def may_wait(outcome: Outcome, attempt: int, settings: Settings) -> bool:
    """Return whether a request may be tried again from the retry queue.

    Args:
        outcome: Of the last attempt. `misconfigured` requests may wait, too: keys and permissions get fixed.
        attempt: Number of the invocation that made it, 1 for the first.
        settings: The limit, and how to treat unknown requests.
    """
    may = outcome.kind in {THROTTLED, MISCONFIGURED} or (
        outcome.kind is UNKNOWN and settings.on_unknown is OnUnknown.RETRY and not outcome.is_final
    )
    return may and attempt <= settings.retry_limit


def delay_seconds(task: PushTask, outcomes: Iterable[Outcome], settings: Settings) -> float:
    """Return the seconds until the next attempt: more each time, and no fewer than the server requested.

    Never more than the queue allows and, unless late messages are sent, than the validity allows; a longer
    request of the server is logged.
    """
    backoff: float = min(FIRST_DELAY_SECONDS * 2 ** (task.attempt - 1), LONGEST_BACKOFF_SECONDS)
    backoff *= random.uniform(0.75, 1.25)  # spreads load
    requested = max(outcome.retry_after or 0.0 for outcome in outcomes)
    left = math.inf if settings.late is Late.SEND else task.expires_at - time.time()
    # A message that is about to expire must not use up its attempts at once.
    longest = max(min(left * VALIDITY_SHARE, LONGEST_DELAY_SECONDS), FIRST_DELAY_SECONDS)
    delay = min(max(backoff, requested), longest)
    if requested > delay:
        text = "the server asked to wait %.0f s, longer than validity or queue allow: next attempt in %.0f s"
        logger.warning(text, requested, delay)
    return delay
