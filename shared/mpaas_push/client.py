"""The way out: signed requests over one pool of checked connections, retried only where that is safe.

Messages enter, outcomes leave, in the order of the messages. A client is made once and kept warm: it holds
connections and threads, never a key and never a decision.
"""

from __future__ import annotations

import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import tenacity

from mpaas_push.errors import InvalidMessage
from mpaas_push.invocation import Invocation
from mpaas_push.outcome import ACCEPTED, THROTTLED, UNKNOWN, Outcome, Verdict, ids_for_log
from mpaas_push.request import plan
from mpaas_push.settings import OnUnknown, Settings
from mpaas_push.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from mpaas_push.ledger import Ledger
    from mpaas_push.message import PushMessage
    from mpaas_push.request import PushRequest
    from mpaas_push.task import PushTask

__all__ = ["PushClient"]

logger = logging.getLogger(__name__)

BACKOFF_SECONDS = 0.2
"""Mean wait before the second try; it doubles with each further one, with full jitter."""
BACKOFF_LIMIT_SECONDS = 20.0
LONGEST_WAIT_SECONDS = 120.0
"""A server that asks for more (Retry-After) gets no further try: the outcome passes its wish on instead."""


class PushClient:
    """Sends messages to mPaaS and says what became of each.

    Safe under threads; make one and keep it. With `PUSH_LEDGER_URL` each request is claimed in the `ledger`
    before it is sent, and one that was sent before comes back with the outcome of that time. ::

        with PushClient.from_env() as client:
            for outcome in client.send(PushMessage(title="Hello", ...)):
                print(outcome.kind, outcome.request_id)
    """

    def __init__(self, settings: Settings) -> None:
        """Make a client; no connection is opened yet.

        Args:
            settings: Endpoint, timeouts, concurrency and the like.

        Raises:
            Misconfigured: the CA bundle of the settings cannot be loaded.
        """
        self.settings = settings
        self.ledger = _ledger(settings)
        self._transport = Transport(settings)
        self._workers = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="push")
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(self._worth_another_try),
            wait=_wait,
            stop=self._should_stop,
            before_sleep=_announce,
            retry_error_callback=_last_verdict,
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> PushClient:
        """Make a client from the environment variables (see `Settings`).

        Raises:
            Misconfigured: a variable holds what it may not; the text names it.
        """
        return cls(Settings.from_env(env))

    def send(
        self, message: PushMessage, *, scope: str | None = None, invocation: Invocation | None = None
    ) -> list[Outcome]:
        """Send one message and return one outcome for each request of at most ten targets.

        Never raises for what mPaaS or the network does: that is in the outcomes.

        Args:
            message: The message.
            scope: What stays the same when this push is tried again by the caller; ids of targets that have
                none are derived from it. A random one by default.
            invocation: Keys and deadline; by default keys from the environment and no deadline.

        Raises:
            Misconfigured: there is no complete AccessKey.
        """
        return self.send_all([message], scope=scope, invocation=invocation)[0]

    def send_all(
        self,
        messages: Sequence[PushMessage | InvalidMessage],
        *,
        scope: str | Sequence[str] | None = None,
        invocation: Invocation | None = None,
    ) -> list[list[Outcome]]:
        """Send messages side by side, at most ``PUSH_CONCURRENCY`` requests at once.

        Args:
            messages: The messages; their place here is part of the message ids derived. What could not be
                read as a message stands as its `InvalidMessage` and comes back as ``refused``, so that a bad
                one neither harms its neighbours nor moves them.
            scope: As in `send`; one for all, or one for each message, which then need no place.
            invocation: As in `send`. Requests that its deadline leaves no time for come back as
                ``throttled`` with result code ``NotSent``.

        Returns:
            For each message, in the order given, the outcomes of its requests in the order of its targets.

        Raises:
            Misconfigured: there is no complete AccessKey.
        """
        invocation = invocation or Invocation.of()
        if scope is None or isinstance(scope, str):
            shared = scope or uuid.uuid4().hex
            planned = [plan(message, self.settings, shared, index) for index, message in enumerate(messages)]
        else:
            planned = [
                plan(message, self.settings, own) for message, own in zip(messages, scope, strict=True)
            ]
        return self._send(messages, planned, invocation)

    def send_tasks(self, tasks: Sequence[PushTask], invocation: Invocation) -> list[list[Outcome]]:
        """Send what a trigger made: as `send_all`, each message with the scope and first moment of its task.

        Args:
            tasks: The messages, or what is wrong with them.
            invocation: Keys and deadline.
        """
        planned = [
            plan(task.message, self.settings, task.scope, first_moment=task.first_moment) for task in tasks
        ]
        return self._send([task.message for task in tasks], planned, invocation)

    def close(self) -> None:
        """Wait for requests under way, then close threads and connections."""
        self._workers.shutdown()
        self._transport.close()
        if self.ledger:
            self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(
        self,
        messages: Sequence[PushMessage | InvalidMessage],
        planned: Sequence[tuple[PushRequest, ...] | InvalidMessage],
        invocation: Invocation,
    ) -> list[list[Outcome]]:
        requests = [request for part in planned if isinstance(part, tuple) for request in part]
        outcomes = iter(self._deliver_all(requests, invocation))
        results = []
        for message, part in zip(messages, planned, strict=True):
            if isinstance(part, InvalidMessage):
                named = getattr(message, "target_msgkey", None)
                outcome = Outcome.invalid(part.faults, named or part.targets)
                _log(outcome, invocation, 0.0)
                results.append([outcome])
            else:
                results.append([next(outcomes) for _ in part])
        return results

    def _deliver_all(self, requests: Sequence[PushRequest], invocation: Invocation) -> Iterable[Outcome]:
        self._transport.refresh()
        if len(requests) == 1:
            return [self._deliver(requests[0], invocation)]
        return self._workers.map(lambda request: self._deliver(request, invocation), requests)

    def _deliver(self, request: PushRequest, invocation: Invocation) -> Outcome:
        started = time.monotonic()
        claim = None
        if self.ledger and invocation.time_left > 0:
            (claim,) = self.ledger.claim([request], invocation)
        if isinstance(claim, Outcome):
            _log(claim, invocation, time.monotonic() - started)
            return claim
        if claim and claim.deadline < invocation.deadline:
            invocation = replace(invocation, deadline=claim.deadline)
        delivery = _Delivery(request, invocation, self.settings, self._transport)
        verdict: Verdict = self._retrying(delivery)
        if delivery.unknown and verdict.kind is not ACCEPTED:
            # An earlier try may have arrived, whatever the last one came to.
            verdict = delivery.unknown
        keys = invocation.credentials
        secrets = (keys.access_key_id, keys.access_key_secret, keys.security_token)
        outcome = Outcome.of(verdict, request.targets, delivery.tries, secrets)
        if self.ledger and claim:
            self.ledger.settle([(claim, outcome)])
        _log(outcome, invocation, time.monotonic() - started)
        return outcome

    def _worth_another_try(self, verdict: Verdict) -> bool:
        if verdict.kind is UNKNOWN:
            return self.settings.on_unknown is OnUnknown.RETRY
        # A clock error was refused and a new signature has a new time; see _should_stop for "once".
        return verdict.kind is THROTTLED or _is_clock_error(verdict)

    def _should_stop(self, state: tenacity.RetryCallState) -> bool:
        delivery, verdict = _of(state)
        if delivery.tries >= self.settings.max_attempts:
            return True
        if _is_clock_error(verdict) and delivery.tries > 1:
            return True
        return state.upcoming_sleep >= min(delivery.invocation.time_left, LONGEST_WAIT_SECONDS)


def _ledger(settings: Settings) -> Ledger | None:
    if settings.ledger_url is None:
        return None
    from mpaas_push.ledger import Ledger  # a tenth of a second that most deployments need not pay

    return Ledger(settings)


class _Delivery:
    """One request on its way: what its tries have come to so far."""

    def __init__(
        self, request: PushRequest, invocation: Invocation, settings: Settings, transport: Transport
    ) -> None:
        self.request = request
        self.invocation = invocation
        self.settings = settings
        self.transport = transport
        self.tries = 0
        self.unknown: Verdict | None = None

    def __call__(self) -> Verdict:
        """Try once."""
        if self.invocation.time_left <= 0:
            return Verdict(THROTTLED, NOT_SENT, "no time was left in this invocation; safe to send again")
        self.tries += 1
        signed = self.request.signed(self.invocation.credentials, self.settings)
        verdict = self.transport.exchange(signed, self.invocation.time_left)
        if verdict.kind is UNKNOWN:
            self.unknown = verdict
        return verdict


NOT_SENT = "NotSent"


def _of(state: tenacity.RetryCallState) -> tuple[_Delivery, Verdict]:
    return cast("_Delivery", state.fn), _last_verdict(state)


def _last_verdict(state: tenacity.RetryCallState) -> Verdict:
    return cast("Verdict", cast("tenacity.Future", state.outcome).result())


_backoff: Callable[[tenacity.RetryCallState], float] = tenacity.wait_random_exponential(
    multiplier=2 * BACKOFF_SECONDS, max=BACKOFF_LIMIT_SECONDS
)


def _wait(state: tenacity.RetryCallState) -> float:
    """Wait as long as the server asks, and never less than the backoff."""
    return max(_backoff(state), _last_verdict(state).retry_after or 0.0)


def _announce(state: tenacity.RetryCallState) -> None:
    """Leave a trace of what may be shown twice."""
    delivery, verdict = _of(state)
    if verdict.kind is UNKNOWN:
        ids = ids_for_log(delivery.request.targets)
        logger.warning("sent again after an unknown outcome", extra={"message_ids": ids})


def _is_clock_error(verdict: Verdict) -> bool:
    return (verdict.code or "").startswith("InvalidTimeStamp")


def _log(outcome: Outcome, invocation: Invocation, seconds: float) -> None:
    logger.log(
        logging.INFO if outcome.accepted else logging.WARNING,
        "push %s",
        outcome.kind.value,
        extra={
            "outcome": outcome.kind.value,
            "duration_ms": round(seconds * 1000, 1),
            "attempts": outcome.attempts,
            "targets": len(outcome.targets),
            "result_code": outcome.result_code,
            "result_message": outcome.result_message,
            "mpaas_request_id": outcome.request_id,
            "message_ids": ids_for_log(outcome.targets),
            "request_id": invocation.request_id,
        },
    )
