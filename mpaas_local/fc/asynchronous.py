"""Asynchronous invocation of a function as FC does it (fc-runtime.md: Asynchronous invocation): an event is
accepted, called for later, tried again, and at the end handed to a destination.

The queue is in memory: what has been accepted and is not finished is lost when this process ends, which
FC's is not. What the reference leaves open is decided like this:

* A function error is tried again after `retry_seconds`; a retry keeps the request id and counts
  `retry_count` up.
* "Up to 5 h" for throttling and system errors is the time from the first of them in a row to giving up.
* The age of an event counts from when it may be called for (after `x-fc-async-delay`).
* `condition` of an event whose last attempt never reached the function is `FunctionResourceExhausted`
  (throttled, or nobody was free before it was too old) or `InternalServerError` (system error), and
  `approximateInvokeCount` counts the calls that were made.
* A duplicate is a second life of the event with the same request id, with retries and a destination of
  its own.
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
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.errors import PAYLOAD_LIMIT, InvalidArgument, PayloadTooLarge, QueueClosed, TaskExists
from mpaas_local.schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_local.fc.call import Invoke
    from mpaas_local.fc.destinations import Deliver

__all__ = ["AsyncConfig", "AsyncQueue", "delay_of"]

LONGEST_DELAY = 3600
"""Seconds of `x-fc-async-delay` (fc-runtime.md: Asynchronous invocation)."""

_TASK_SECONDS = 7 * 86400
_TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_COUNTS = (
    *("accepted", "duplicated", "succeeded", "failed", "expired", "abandoned"),
    *("calls", "retried", "throttled", "system_errors", "delivered", "undelivered"),
)

_logger = logging.getLogger(__name__)


def delay_of(header: str | None) -> float | None:
    """Read `x-fc-async-delay`, in seconds; None if there is none.

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
    """The asynchronous queue of one function. Safe under threads; close it, or use it in a `with`.

    Args:
        function: Name of the function.
        invoke: Calls it.
        config: Retries, age, destinations.
        account: In the function's ARN.
        deliver: Takes records to destinations; without it they are counted as undelivered.
        clock: The machine's if None.
        concurrency: The most calls at a time.
        retry_seconds: From a function error to the next call; not documented for FC.
        duplicates: Probability that an event is delivered twice, 0 to 1.
        seed: Of that chance.
    """

    def __init__(
        self,
        function: str,
        invoke: Invoke,
        *,
        config: AsyncConfig | None = None,
        account: Account | None = None,
        deliver: Deliver | None = None,
        clock: Clock | None = None,
        concurrency: int = 10,
        retry_seconds: float = 1.0,
        duplicates: float = 0.0,
        seed: int = 0,
    ) -> None:
        account = account or Account()
        self.function = function
        self.arn = f"acs:fc:{account.region}:{account.account_id}:functions/{function}"
        """`functionArn` of its records."""
        self.config = config or AsyncConfig()
        self._clock = clock or Clock()
        self._duplicates = duplicates
        self._random = random.Random(seed)  # chance of a simulation
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
            send_record=RecordSender(function, deliver, self._schedule, self._clock, self._counts),
        )

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
        """Take an event (202) and return its request id.

        Args:
            event: At most 128 KB of what counts.
            request_id: Made up if None.
            delay: `x-fc-async-delay`: seconds until it may be called for, more than 0, at most 3600; None: at
                once.
            task_id: `x-fc-async-task-id`; the request id stands for it if None.
            size: Bytes that count: those of a timer's payload (fc-runtime.md: Timer trigger), of a request's
                body (fc-runtime.md: HTTP limits), of a batch's messages (fc-runtime.md: Batches and retries).
                Those of the event if None.

        Raises:
            PayloadTooLarge: the event is too large.
            InvalidArgument: the delay or the task id is not one.
            TaskExists: in task mode, the id was used in the last 7 days.
            QueueClosed: nothing is accepted any more.
        """
        size = len(event) if size is None else size
        if size > PAYLOAD_LIMIT:
            raise PayloadTooLarge(size)
        if delay is not None and not 0 < delay <= LONGEST_DELAY:
            raise InvalidArgument(
                f"x-fc-async-delay is {delay:g}; more than 0 and at most {LONGEST_DELAY} seconds"
            )
        if task_id is not None and not _TASK_ID.fullmatch(task_id):
            raise InvalidArgument(
                f"x-fc-async-task-id is {task_id!r}; a letter or _, then letters, digits, _, -; at most 128"
            )
        request_id = request_id or new_request_id()
        with self._lock:
            task = self._enlist(task_id or request_id)
            lives = 2 if self._random.random() < self._duplicates else 1
        due = self._clock.time() + (delay or 0.0)
        self._counts.add("accepted")
        self._counts.add("duplicated", lives - 1)
        for _ in range(lives):
            if not self._schedule.at(due, AsyncEvent(self._context, event, request_id, task, due)):
                self._counts.add("abandoned")
                raise QueueClosed(f"{self.function}: the asynchronous queue is closed")
        return request_id

    def _enlist(self, task_id: str) -> Task:
        """Make a task; in task mode its id is kept."""
        now = self._clock.time()
        task = Task(now)
        if self.config.task_mode:
            known = self._states.get(task_id)
            if known is not None and now - known.accepted_at < _TASK_SECONDS:
                raise TaskExists(task_id)
            self._states[task_id] = task
        return task

    @property
    def counts(self) -> dict[str, int]:
        """What became of the events.

        Events: `accepted`, `duplicated`, `succeeded`, `failed`, `expired`, `abandoned` (the host was closed),
        and `pending`: accepted and not finished. Attempts: `calls`, `retried`, `throttled`, `system_errors`.
        Records of destinations: `delivered`, `undelivered`.
        """
        counts = self._counts.read()
        finished = sum(counts[name] for name in ("succeeded", "failed", "expired", "abandoned"))
        return {**counts, "pending": counts["accepted"] + counts["duplicated"] - finished}

    @property
    def tasks(self) -> dict[str, str]:
        """State of each task by its id, in task mode (fc-runtime.md: Asynchronous invocation)."""
        with self._lock:
            return {task_id: task.state for task_id, task in self._states.items()}

    def settle(self, timeout: float = 10.0) -> bool:
        """Wait, real seconds, until nothing is being done or due; False if that took too long."""
        return self._schedule.settle(timeout)

    def finish(self, timeout: float = 10.0) -> bool:
        """Wait, real seconds, until every event is finished and every record delivered; False if too long."""
        return self._schedule.finish(timeout)

    def close(self) -> None:
        """Stop at once; calls under way are left to end with their host."""
        forgotten = self._schedule.close()
        if forgotten:
            _logger.warning(
                "%s: %d asynchronous events or records were not finished", self.function, forgotten
            )
