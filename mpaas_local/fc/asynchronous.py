"""Asynchronous invocation of a function (fc-runtime.md: Asynchronous invocation): an event is accepted,
delivered later, retried, and finally reported to a destination.

With a store, unfinished events and task ids survive a restart, as on FC; an event then starts over with all
its attempts. Choices where the reference is silent:

* A function error is retried after `retry_seconds`, with the same request id and a higher `retry_count`.
* The "up to 5 h" of throttling and system errors count from the first of consecutive ones.
* The age of an event counts from the end of its `x-fc-async-delay`.
* `condition` of an event whose last attempt did not reach the function is `FunctionResourceExhausted`
  (throttled, or expired before an instance was free) or `InternalServerError` (system error);
  `approximateInvokeCount` counts the attempts that did.
* A duplicate is a second delivery of the event with the same request id, but its own retries and record.
"""

from __future__ import annotations

import logging
import random
import re
import threading
from typing import TYPE_CHECKING

from mpaas_local.account import Account
from mpaas_local.clock import Clock
from mpaas_local.counts import Counts
from mpaas_local.fc.async_event import AsyncConfig, AsyncEvent, QueueContext, RecordSender, Task
from mpaas_local.fc.async_store import StoredEvent
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.errors import PAYLOAD_LIMIT, InvalidArgument, PayloadTooLarge, QueueClosed, TaskExists
from mpaas_local.fc.schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_local.fc.async_store import AsyncStore
    from mpaas_local.fc.call import Invoke
    from mpaas_local.fc.destinations import DeliverRecord

__all__ = ["AsyncConfig", "AsyncQueue", "delay_of"]

MAX_DELAY_SECONDS = 3600
"""Largest `x-fc-async-delay`, in seconds (fc-runtime.md: Asynchronous invocation)."""

_TASK_SECONDS = 7 * 86400
_TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_COUNTS = (
    *("accepted", "duplicated", "succeeded", "failed", "expired", "abandoned"),
    *("calls", "retried", "throttled", "system_errors", "delivered", "undelivered"),
)

_logger = logging.getLogger(__name__)


def delay_of(header: str | None) -> float | None:
    """Read `x-fc-async-delay`, in seconds; None if it was not sent.

    Raises:
        InvalidArgument: it is not a number.
    """
    if header is None:
        return None
    try:
        return float(header)
    except ValueError as error:
        raise InvalidArgument("x-fc-async-delay must be a number of seconds") from error


class AsyncQueue:
    """The asynchronous queue of one function; a context manager. Thread-safe.

    Args:
        function: Name of the function.
        invoke: Calls it.
        config: Retries, age, destinations.
        account: Account and region in the function's ARN.
        deliver: Delivers records to destinations; without it, they count as undelivered.
        clock: None for that of the machine.
        concurrency: Maximum number of concurrent calls.
        retry_seconds: Delay before a retry after a function error; that of FC is not documented.
        duplicates: Probability that an event is delivered twice, 0 to 1.
        seed: Seed of that probability.
        store: Keeps events and task ids over a restart; without it, they are lost.
    """

    def __init__(
        self,
        function: str,
        invoke: Invoke,
        *,
        config: AsyncConfig | None = None,
        account: Account | None = None,
        deliver: DeliverRecord | None = None,
        clock: Clock | None = None,
        concurrency: int = 10,
        retry_seconds: float = 1.0,
        duplicates: float = 0.0,
        seed: int = 0,
        store: AsyncStore | None = None,
    ) -> None:
        account = account or Account()
        self.function = function
        self.arn = f"acs:fc:{account.region}:{account.account_id}:functions/{function}"
        """`functionArn` of its records."""
        self.config = config or AsyncConfig()
        self._clock = clock or Clock()
        self._duplicates = duplicates
        self._random = random.Random(seed)  # for a simulation, not for secrets
        self._schedule = Schedule(f"async-{function}", threads=concurrency, clock=self._clock)
        self._lock = threading.Lock()
        self._states: dict[str, Task] = {}
        self._counts = Counts(*_COUNTS)
        self._context = QueueContext(
            function=self.function,
            arn=self.arn,
            config=self.config,
            invoke=invoke,
            clock=self._clock,
            retry_seconds=retry_seconds,
            counts=self._counts,
            send_record=RecordSender(
                function=function,
                deliver=deliver,
                schedule=self._schedule,
                clock=self._clock,
                counts=self._counts,
            ),
            store=store,
        )
        self._store = store
        self._closed = False
        if store:
            self._restore(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(
        self,
        event: bytes,
        *,
        request_id: str | None = None,
        delay: float | None = None,
        task_id: str | None = None,
        size: int | None = None,
    ) -> str:
        """Accept an event (202) and return its request id.

        Args:
            event: Payload; `size` has its limit.
            request_id: None for a new one.
            delay: `x-fc-async-delay`: seconds until the first call, more than 0, at most 3600; None for none.
            task_id: `x-fc-async-task-id`; None for the request id.
            size: The bytes that count against the limit of 128 KB: those of a timer's payload
                (fc-runtime.md: Timer trigger), of a request's body (fc-runtime.md: HTTP limits), of a batch's
                messages (fc-runtime.md: Batches and retries). None for the size of the event.

        Raises:
            PayloadTooLarge: the event is too large.
            InvalidArgument: the delay or the task id is invalid.
            TaskExists: in task mode, the id was used in the last 7 days.
            QueueClosed: the queue is closed.
        """
        size = len(event) if size is None else size
        if size > PAYLOAD_LIMIT:
            raise PayloadTooLarge(size)
        if delay is not None and not 0 < delay <= MAX_DELAY_SECONDS:
            raise InvalidArgument(
                f"x-fc-async-delay is {delay:g}; must be more than 0 and at most {MAX_DELAY_SECONDS} seconds"
            )
        if task_id is not None and not _TASK_ID.fullmatch(task_id):
            raise InvalidArgument(
                f"x-fc-async-task-id is {task_id!r}; must be at most 128 letters, digits, _ and -,"
                " with a letter or _ first"
            )
        request_id = request_id or new_request_id()
        task_id = task_id or request_id
        with self._lock:
            task = self._register(task_id)
            deliveries = 2 if self._random.random() < self._duplicates else 1
        due = self._clock.time() + (delay or 0.0)
        self._counts.add("accepted")
        self._counts.add("duplicated", deliveries - 1)
        for _ in range(deliveries):
            row = self._store.add(self.function, event, request_id, task_id, due) if self._store else 0
            stored = StoredEvent(id=row, payload=event, request_id=request_id, task_id=task_id, due=due)
            if not self._schedule.at(due, AsyncEvent(self._context, stored, task)):
                self._counts.add("abandoned")
                raise QueueClosed(f"{self.function}: the asynchronous queue is closed")
        return request_id

    def _register(self, task_id: str) -> Task:
        """Create a task; in task mode, remember its id."""
        now = self._clock.time()
        task = Task(now)
        if self.config.task_mode:
            known = self._states.get(task_id)
            if known is not None and now - known.accepted_at < _TASK_SECONDS:
                raise TaskExists(task_id)
            self._states[task_id] = task
            if self._store:
                self._store.add_task(self.function, task_id, now)
        return task

    def _restore(self, store: AsyncStore) -> None:
        """Resume the events that an earlier process left unfinished."""
        tasks = store.tasks(self.function, self._clock.time() - _TASK_SECONDS)
        self._states = {task_id: Task(accepted_at, "Succeeded") for task_id, accepted_at in tasks.items()}
        for event in store.events(self.function):
            task = self._states.get(event.task_id) or Task(self._clock.time())
            task.state = "Enqueued"
            self._counts.add("accepted")
            self._schedule.at(event.due, AsyncEvent(self._context, event, task))

    @property
    def counts(self) -> dict[str, int]:
        """Counters.

        Events: `accepted`, `duplicated`, `succeeded`, `failed`, `expired`, `abandoned` (the host was closed),
        and `pending` (not finished). Attempts: `calls`, `retried`, `throttled`, `system_errors`. Records for
        destinations: `delivered`, `undelivered`.
        """
        counts = self._counts.read()
        finished = sum(counts[name] for name in ("succeeded", "failed", "expired", "abandoned"))
        return {**counts, "pending": counts["accepted"] + counts["duplicated"] - finished}

    @property
    def tasks(self) -> dict[str, str]:
        """States of the tasks by id, in task mode (fc-runtime.md: Asynchronous invocation)."""
        with self._lock:
            return {task_id: task.state for task_id, task in self._states.items()}

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until nothing is running or due; False after the timeout."""
        return self._schedule.settle(timeout)

    def finish(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until all events are finished and all records delivered; False after the
        timeout.
        """
        return self._schedule.finish(timeout)

    def close(self) -> None:
        """Stop at once; running calls end with their host. Idempotent."""
        if self._closed:
            return
        self._closed = True
        discarded = self._schedule.close()
        if self._store:
            if unfinished := len(self._store.events(self.function)):
                text = "%s: unfinished asynchronous events: %d; they resume at the next start"
                _logger.warning(text, self.function, unfinished)
        elif discarded:
            _logger.warning(
                "%s: unfinished asynchronous events and records: %d; they are lost", self.function, discarded
            )
