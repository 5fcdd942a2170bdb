"""Sends requests concurrently: claims them in blocks, delivers them in threads, settles them in blocks.

A worker that is killed leaves at most one block claimed, whose outcomes are then unknown. A failing request
never affects another: its failure becomes its outcome.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from mpaas_push.outcome import Outcome, ids_for_log
from mpaas_push.retries import Attempts, not_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpaas_push.invocation import Invocation
    from mpaas_push.ledger import Ledger
    from mpaas_push.ledger.claims import Claim
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings
    from mpaas_push.transport import Transport

__all__ = ["Round", "log_outcome"]

logger = logging.getLogger(__name__)

MIN_BLOCK = 20
"""Requests that may be claimed but not settled; twice the concurrency if that is more."""


class Round:
    """One call of the client."""

    def __init__(
        self,
        requests: Sequence[PushRequest],
        invocation: Invocation,
        settings: Settings,
        transport: Transport,
        ledger: Ledger | None,
    ) -> None:
        """Prepare the round; nothing is claimed or sent yet.

        Args:
            requests: The requests to send.
            invocation: Keys and deadline. Nothing is claimed if no time remains to begin a request.
            settings: The concurrency, and the settings of each request's `Attempts`.
            transport: Sends the requests.
            ledger: Where they are claimed; None without a ledger.
        """
        self._requests = requests
        self._invocation = invocation
        self._settings = settings
        self._transport = transport
        self._ledger = ledger.claims(invocation) if ledger and invocation.time_to_begin > 0 else None
        self._has_ledger = ledger is not None
        self._block = max(MIN_BLOCK, 2 * settings.concurrency)
        self._running: dict[int, Attempts] = {}
        self._outcomes: list[Outcome | None] = [None] * len(requests)
        # Indexes of the requests to claim, ready to be sent, and finished.
        self._waiting = deque(range(len(requests)) if self._ledger else ())
        self._ready = deque(() if self._ledger else range(len(requests)))
        self._finished: deque[int] = deque()
        self._claims: dict[int, Claim] = {}
        self._not_begun: list[int] = []
        self._ledger_lock = threading.Lock()
        self._helpers = 0
        self._is_over = False
        self._change = threading.Condition()
        self._fatal: BaseException | None = None

    def run(self, submit: Callable[[Callable[[], None]], None]) -> list[Outcome]:
        """Deliver all requests and return their outcomes in order.

        The calling thread works, too: if no other can be started, it does all the work.

        Args:
            submit: Runs a function in another thread, or raises RuntimeError if none can be started.

        Raises:
            BaseException: one that ends the program, such as KeyboardInterrupt. No request was begun after
                it, and those in flight have finished.
        """
        try:
            self._call_helpers(submit)
            self._work()
            self._end()
        except BaseException as error:
            self._fatal = error
            self._end()
            raise
        finally:
            for index, outcome in enumerate(self._outcomes):
                if outcome is None:
                    self._finish(index, self._failure_outcome(index, self._fatal))
            outcomes = [outcome for outcome in self._outcomes if outcome]
            self._log_not_begun()
            if self._ledger:
                self._ledger.conclude((claim, outcomes[index]) for index, claim in self._claims.items())
        # An Exception, such as a failed claim or MemoryError, is in the outcomes of the requests it stopped.
        if self._fatal is not None and not isinstance(self._fatal, Exception):
            raise self._fatal
        return outcomes

    def _call_helpers(self, submit: Callable[[Callable[[], None]], None]) -> None:
        try:
            for _ in range(min(self._settings.concurrency, len(self._requests)) - 1):
                submit(self._help)
        except RuntimeError:  # no more threads: the running ones do the work
            with suppress(Exception):
                logger.warning("no more threads can be started: fewer requests are sent concurrently")

    def _end(self) -> None:
        """Admit no more helpers, and wait for those at work."""
        with self._change:
            self._is_over = True
            self._change.wait_for(lambda: not self._helpers)

    def _help(self) -> None:
        with self._change:
            if self._is_over:
                return
            self._helpers += 1
        try:
            self._work()
        finally:
            with self._change:
                self._helpers -= 1
                self._change.notify_all()

    def _work(self) -> None:
        """Deliver requests one by one until none is left; never raises."""
        while self._fatal is None:
            index = None
            try:
                index = self._next_index()
                if index is None:
                    return
                self._deliver(index)
            except BaseException as error:  # noqa: BLE001 - it must end only this request
                if index is None or isinstance(error, MemoryError) or not isinstance(error, Exception):
                    self._fatal = error
                elif self._outcomes[index] is None:
                    self._finish(index, self._failure_outcome(index, error))

    def _next_index(self) -> int | None:
        """Return the index of the next request; None if there is none left to begin."""
        while self._fatal is None:
            # More is claimed while a quarter of a block is still ready to be sent, so the round trip to the
            # ledger costs no time: only threads with nothing to send wait for it. An eighth is settled in one
            # trip: less would mean more trips, more would keep claims for longer.
            if self._waiting and len(self._ready) <= self._block // 4:
                if self._ledger_lock.acquire(blocking=not self._ready):
                    try:
                        self._claim()
                    finally:
                        self._ledger_lock.release()
            elif len(self._finished) >= self._block // 8 and self._ledger_lock.acquire(blocking=False):
                try:
                    self._settle()
                finally:
                    self._ledger_lock.release()
            try:
                index = self._ready.popleft()
            except IndexError:
                if not self._waiting:
                    return None
                continue
            if index in self._claims or self._invocation.time_to_begin > 0:
                return index
            self._skip(index)
        return None

    def _skip(self, index: int) -> None:
        """Record that no time was left for a request; one log line covers all, since they may be many."""
        self._not_begun.append(index)
        targets = self._requests[index].targets
        self._outcomes[index] = not_begun(targets, unconfirmed=self._has_ledger)

    def _claim(self) -> None:
        """Claim a part of a block; a request with an outcome in the ledger is finished."""
        if self._ledger is None or not self._waiting or len(self._ready) > self._block // 4:
            return  # another thread was faster
        if self._invocation.time_to_begin <= 0:
            self._ready.extend(self._waiting)
            self._waiting.clear()
            return
        self._settle()
        started = time.monotonic()
        # Half a block: the first requests are sent while more are claimed.
        number = min(self._block // 2, self._block - len(self._claims), len(self._waiting))
        indexes = list(islice(self._waiting, number))
        results = self._ledger.claim([self._requests[index] for index in indexes])
        for index, result in zip(indexes, results, strict=True):
            if isinstance(result, Outcome):
                self._outcomes[index] = result
                log_outcome(result, self._invocation, time.monotonic() - started, from_ledger=True)
            else:
                self._claims[index] = result
                self._ready.append(index)
        for _ in indexes:  # not earlier: a thread ends when nothing is waiting or ready
            self._waiting.popleft()

    def _settle(self) -> None:
        """Record the outcomes of the finished requests."""
        finished = [self._finished.popleft() for _ in range(len(self._finished))]
        settled = [(self._claims.pop(index), self._outcomes[index]) for index in finished]
        if self._ledger and settled:
            self._ledger.settle((claim, outcome) for claim, outcome in settled if outcome)

    def _deliver(self, index: int) -> None:
        claim, invocation = self._claims.get(index), self._invocation
        if claim and claim.deadline < invocation.deadline:
            invocation = replace(invocation, deadline=claim.deadline)
        attempts = Attempts(self._requests[index], invocation, self._settings, self._transport)
        self._running[index] = attempts
        self._finish(index, attempts.run())

    def _log_not_begun(self) -> None:
        if self._not_begun:
            fields = {"request_id": self._invocation.request_id}
            with suppress(Exception):  # as in `log_outcome`
                logger.warning(
                    "no time was left for %d requests: not sent", len(self._not_begun), extra=fields
                )

    def _finish(self, index: int, outcome: Outcome) -> None:
        claim = self._claims.get(index)
        if self._has_ledger and not outcome.accepted and (claim is None or claim.unconfirmed):
            outcome = replace(outcome, unconfirmed=True)
        if self._requests[index].may_have_arrived or (claim and claim.may_have_arrived):
            outcome = outcome.if_earlier_may_have_arrived()
        self._outcomes[index] = outcome
        if claim:
            self._finished.append(index)
        attempts = self._running.pop(index, None)
        log_outcome(outcome, self._invocation, time.monotonic() - attempts.started if attempts else 0.0)

    def _failure_outcome(self, index: int, error: BaseException | None) -> Outcome:
        """Return the outcome of a request that an error ended or prevented."""
        attempts, exception = self._running.get(index), type(error).__name__
        if attempts:
            return attempts.failure_outcome(exception)
        text = f"not sent after an error ({exception})"
        return replace(not_begun(self._requests[index].targets, unconfirmed=False), result_message=text)


def log_outcome(
    outcome: Outcome, invocation: Invocation, seconds: float, *, from_ledger: bool = False
) -> None:
    """Log one outcome; never raises, even if a log handler does.

    Args:
        outcome: The outcome.
        invocation: The invocation that it belongs to.
        seconds: The time that it took.
        from_ledger: The ledger decided it: nothing was sent in this invocation.
    """
    level = logging.INFO if outcome.accepted else logging.WARNING
    with suppress(Exception):  # it must not stop other requests
        if not logger.isEnabledFor(level):
            return
        logger.log(
            level,
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
                **({"from_ledger": True} if from_ledger else {}),
            },
        )
