"""One request on its way: tried, and tried again where that is safe, until its outcome is known.

A request enters, an outcome leaves. What is raised meanwhile becomes an outcome too: see `Delivery.failed`.
"""

from __future__ import annotations

import logging
import math
import random
from dataclasses import replace
from time import monotonic, sleep
from typing import TYPE_CHECKING

from mpaas_push.outcome import ACCEPTED, REFUSED, THROTTLED, UNKNOWN, Outcome, Verdict, ids_for_log
from mpaas_push.queue_message import LONGEST_DELAY_SECONDS
from mpaas_push.settings import Late, OnUnknown

if TYPE_CHECKING:
    from mpaas_push.invocation import Invocation
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings
    from mpaas_push.transport import Transport

__all__ = ["Delivery"]

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.2
"""Mean wait before the second try; it doubles with each further one, with full jitter."""
BACKOFF_LIMIT_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 120.0
"""A server that asks for more (Retry-After) gets no further try: the outcome passes its wish on instead."""


class Delivery:
    """A request, and what its tries have come to so far.

    Attributes:
        started: When it was made, on the clock of `time.monotonic`.
    """

    def __init__(
        self, request: PushRequest, invocation: Invocation, settings: Settings, transport: Transport
    ) -> None:
        """Send nothing yet.

        Args:
            request: What to send.
            invocation: Keys and deadline.
            settings: How often to try, and what to do with the unknown and the late.
            transport: Carries each try.
        """
        self._request = request
        self._invocation = invocation
        self._settings = settings
        self._transport = transport
        self.started = monotonic()
        self._tries = 0
        self._under_way = False
        self._unknown: Verdict | None = None

    def run(self) -> Outcome:
        """Try until the outcome is known or there is no time left."""
        while True:
            verdict = self._try()
            if not self._is_worth_another(verdict):
                return self._outcome(verdict)
            # Wait as long as the server asks, and never less than the backoff.
            wait = max(_backoff(self._tries), verdict.retry_after or 0.0)
            if wait >= min(self._invocation.time_left, self._validity_left(), LONGEST_WAIT_SECONDS):
                return self._outcome(verdict)
            sleep(wait)
            if verdict.kind is UNKNOWN:  # it may be shown twice: leave a trace
                ids = ids_for_log(self._request.targets)
                logger.warning("sent again after an unknown outcome", extra={"message_ids": ids})

    def failed(self, kind: str) -> Outcome:
        """Return the outcome of a run that ended with an exception, of which only the class is shown."""
        if self._under_way:
            verdict = Verdict(UNKNOWN, "Failed", f"failed after it may have been sent ({kind})")
        else:
            verdict = Verdict(THROTTLED, "Failed", f"failed before it was sent ({kind}); safe to send again")
        return self._outcome(verdict)

    def _try(self) -> Verdict:
        if self._invocation.time_left <= 0:
            return Verdict(THROTTLED, "NotSent", "no time was left in this invocation; safe to send again")
        if self._validity_left() <= 0:
            seconds = self._request.message.expired_seconds
            text = f"not sent: its validity of {seconds} s had ended (PUSH_LATE=send sends it all the same)"
            return Verdict(REFUSED, "Expired", text)
        signed = self._request.signed(self._invocation.credentials, self._settings)
        self._tries += 1
        self._under_way = True
        verdict = self._transport.exchange(signed, self._invocation.time_left)
        self._under_way = False
        if verdict.kind is UNKNOWN:
            self._unknown = verdict
        return verdict

    def _is_worth_another(self, verdict: Verdict) -> bool:
        if not 0 < self._tries < self._settings.max_attempts:
            return False
        if (verdict.code or "").startswith("InvalidTimeStamp"):
            return self._tries == 1  # it was refused for its time, and a new signature has a new one
        if verdict.kind is UNKNOWN:
            return self._settings.on_unknown is OnUnknown.RETRY
        return verdict.kind is THROTTLED

    def _outcome(self, verdict: Verdict) -> Outcome:
        if self._unknown and verdict.kind is not ACCEPTED:
            # An earlier try may have arrived, whatever the last one came to.
            verdict = self._unknown
        keys = self._invocation.credentials
        secrets = (keys.access_key_id, keys.access_key_secret, keys.security_token)
        outcome = Outcome.of(verdict, self._request.targets, self._tries, secrets)
        if outcome.retry_after is None:
            return outcome
        left = max(self._validity_left(), 0.0)
        longest, why = min((left, "of validity left"), (LONGEST_DELAY_SECONDS, "that a queue can wait"))
        if outcome.retry_after <= longest:
            return outcome
        text = f"asked to wait {outcome.retry_after:.9g} s, longer than the {longest:.0f} s {why}"
        message = f"{outcome.result_message}; {text}" if outcome.result_message else text
        return replace(outcome, result_message=message, retry_after=longest)

    def _validity_left(self) -> float:
        """Return for how long it may be sent: for ever if late ones are sent too."""
        return self._request.validity_left() if self._settings.late is Late.EXPIRE else math.inf


def _backoff(tries: int) -> float:
    return random.uniform(0, min(BACKOFF_SECONDS * 2**tries, BACKOFF_LIMIT_SECONDS))  # spreads load
