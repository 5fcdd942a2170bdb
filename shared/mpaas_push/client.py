"""Sends messages: plans their requests, claims these in the ledger, delivers them concurrently.

Messages in, outcomes out, in the same order. A client is created once and kept warm: it holds
connections and threads, but no keys and no decisions.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from mpaas_push.errors import InvalidMessage
from mpaas_push.invocation import Invocation
from mpaas_push.outcome import Outcome
from mpaas_push.request import plan
from mpaas_push.round import Round, log_outcome
from mpaas_push.settings import Settings
from mpaas_push.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor
    from types import TracebackType

    from typing_extensions import Self

    from mpaas_push.campaign.quota import Quota
    from mpaas_push.ledger import Ledger
    from mpaas_push.message import PushMessage
    from mpaas_push.request import PushRequest
    from mpaas_push.task import PushTask

__all__ = ["PushClient"]


class PushClient:
    """Sends messages to mPaaS and returns the outcomes of each.

    Thread-safe; create one and reuse it. With `PUSH_LEDGER_URL` each request is claimed in the `ledger`
    before it is sent, and a request that was sent before gets its earlier outcome. ::

        with PushClient.from_env() as client:
            for outcome in client.send(PushMessage(title="Hello", ...)):
                print(outcome.kind, outcome.request_id)
    """

    def __init__(self, settings: Settings) -> None:
        """Create a client; connections open on first use.

        Args:
            settings: Endpoint, timeouts, concurrency and the like.

        Raises:
            Misconfigured: the CA bundle of the settings cannot be loaded.
        """
        self.settings = settings
        self.ledger = _ledger(settings)
        self._quota = _quota(settings)
        self._transport = Transport(settings)
        self._reset()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> PushClient:
        """Create a client from the environment variables (see `Settings`).

        Raises:
            Misconfigured: a variable has an invalid value; the text names it.
        """
        return cls(Settings.from_env(env))

    def send(
        self, message: PushMessage, *, scope: str | None = None, invocation: Invocation | None = None
    ) -> list[Outcome]:
        """Send one message and return one outcome for each request of at most ten targets.

        Failures of mPaaS or the network do not raise: they are in the outcomes.

        Args:
            message: The message.
            scope: Stays the same when the caller retries this push; message ids that the message does not
                name are derived from it. Random by default.
            invocation: Keys and deadline; by default keys from the environment and no deadline.

        Raises:
            Misconfigured: no complete AccessKey was found.
        """
        return self.send_all([message], scope=scope, invocation=invocation)[0]

    def send_all(
        self,
        messages: Sequence[PushMessage | InvalidMessage],
        *,
        scope: str | Sequence[str] | None = None,
        invocation: Invocation | None = None,
    ) -> list[list[Outcome]]:
        """Send messages concurrently, at most ``PUSH_CONCURRENCY`` requests at once.

        Args:
            messages: The messages; their indexes are part of the derived message ids. A message that could
                not be read is an `InvalidMessage` and becomes ``refused``, without affecting the others
                or their indexes.
            scope: As in `send`; one for all, or one for each message, which makes indexes irrelevant.
            invocation: As in `send`. Requests for which its deadline leaves no time are
                ``throttled`` with result code ``NotSent``.

        Returns:
            For each message, in the order given, the outcomes of its requests in the order of its targets
            (see `targets.message_ids_of`).

        Raises:
            Misconfigured: no complete AccessKey was found.
        """
        invocation = invocation or Invocation.of()
        if scope is None or isinstance(scope, str):
            shared = scope or os.urandom(16).hex()
            planned = [plan(message, self.settings, shared, index) for index, message in enumerate(messages)]
        else:
            planned = [
                plan(message, self.settings, own_scope)
                for message, own_scope in zip(messages, scope, strict=True)
            ]
        return self._send(messages, planned, invocation)

    def send_tasks(self, tasks: Sequence[PushTask], invocation: Invocation) -> list[list[Outcome]]:
        """Send the tasks of a trigger: like `send_all`, with the scope and first moment of each task.

        Args:
            tasks: The messages, or their faults.
            invocation: Keys and deadline.
        """
        planned = [
            plan(
                task.message,
                self.settings,
                task.scope,
                first_moment=task.first_moment,
                too_late=task.too_late,
                may_have_arrived=task.may_have_arrived,
            )
            for task in tasks
        ]
        results = self._send([task.message for task in tasks], planned, invocation)
        for index, task in enumerate(tasks):
            if task.may_have_arrived:  # including requests that were not created or not begun
                results[index] = [outcome.if_earlier_may_have_arrived() for outcome in results[index]]
        return results

    def close(self) -> None:
        """Wait for requests in flight, then close threads and connections."""
        self._reset_after_fork()
        with self._change:
            self._change.wait_for(lambda: not self._calls)
        if self._workers:
            self._workers.shutdown()
        self._transport.close()
        if self.ledger:
            self.ledger.close()
        if self._quota:
            self._quota.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._workers: ThreadPoolExecutor | None = None
        self._calls = 0
        self._change = threading.Condition()

    def _reset_after_fork(self) -> None:
        """Recreate what does not survive a fork: threads and their condition."""
        if self._process != os.getpid():
            self._reset()

    def _submit(self, work: Callable[[], None]) -> None:
        """Run `work` in another thread.

        Raises:
            RuntimeError: no thread can be started.
        """
        with self._change:
            if self._workers is None:
                from concurrent.futures import ThreadPoolExecutor  # one request needs no other thread

                self._workers = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="push")
        self._workers.submit(work)

    def _send(
        self,
        messages: Sequence[PushMessage | InvalidMessage],
        planned: Sequence[tuple[PushRequest, ...] | InvalidMessage],
        invocation: Invocation,
    ) -> list[list[Outcome]]:
        requests = [request for part in planned if isinstance(part, tuple) for request in part]
        outcomes = iter(self._deliver(requests, invocation))
        results = []
        for message, part in zip(messages, planned, strict=True):
            if isinstance(part, InvalidMessage):
                given = getattr(message, "target_msgkey", None)
                outcome = Outcome.invalid(part.faults, given or part.targets)
                log_outcome(outcome, invocation, 0.0)
                results.append([outcome])
            else:
                results.append([next(outcomes) for _ in part])
        return results

    def _deliver(self, requests: Sequence[PushRequest], invocation: Invocation) -> list[Outcome]:
        self._reset_after_fork()
        with self._change:
            self._calls += 1
        try:
            self._transport.refresh()
            if self._quota and requests:
                self._quota.debit(len(requests))
            return Round(requests, invocation, self.settings, self._transport, self.ledger).run(self._submit)
        finally:
            with self._change:
                self._calls -= 1
                self._change.notify_all()


def _quota(settings: Settings) -> Quota | None:
    if settings.pace is None or settings.ledger_url is None:
        return None
    from mpaas_push.campaign.quota import Quota  # only deployments with campaigns need it

    return Quota(settings)


def _ledger(settings: Settings) -> Ledger | None:
    if settings.ledger_url is None:
        return None
    from mpaas_push.ledger import Ledger  # takes a tenth of a second; many deployments have no ledger

    return Ledger(settings)
