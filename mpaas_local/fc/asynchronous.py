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

import json
import logging
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mpaas_local.clock import Clock
from mpaas_local.counts import Counts
from mpaas_local.fc.destinations import Undeliverable
from mpaas_local.fc.host import Account, HostClosed, Result, Throttled, new_request_id
from mpaas_local.schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

    from project.function import AsyncInvokeConfig

__all__ = [
    "PAYLOAD_LIMIT",
    "Accept",
    "AsyncConfig",
    "AsyncQueue",
    "Deliver",
    "InvalidArgument",
    "Invoke",
    "PayloadTooLarge",
    "QueueClosed",
    "TaskExists",
    "delay_of",
]

PAYLOAD_LIMIT = 128 * 1024
"""Bytes of an event (fc-runtime.md: Asynchronous invocation)."""
LONGEST_DELAY = 3600
"""Seconds of `x-fc-async-delay` (fc-runtime.md: Asynchronous invocation)."""

_FIRST_BACKOFF = 0.5  # seconds, doubled each time: of throttled calls and of destinations
_SYSTEM_SECONDS = 5 * 3600
_DELIVERY_SECONDS = 30 * 60
_TASK_SECONDS = 7 * 86400
_TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")

_logger = logging.getLogger(__name__)


class Invoke(Protocol):
    """Calls a function and waits; `FunctionHost.invoke` is one. May raise `Throttled`."""

    def __call__(self, event: bytes, *, request_id: str | None = None, retry_count: int = 0) -> Result:
        """Call it."""


class Accept(Protocol):
    """Takes an event for a function and returns the request id; `AsyncQueue.accept` is one.

    `size` is what counts of the event, in bytes: without what a trigger writes around it.
    """

    def __call__(self, event: bytes, /, *, size: int | None = None) -> str:
        """Take it."""


Deliver = Callable[[str, bytes], None]
"""Takes a record to the destination of an ARN, as `mpaas_local.fc.destinations.Destinations` does."""


class InvalidArgument(ValueError):
    """The delay or the task id is not one (400)."""


class PayloadTooLarge(ValueError):
    """The event is larger than 128 KB (400 `EntityTooLarge`)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"payload size exceeds maximum allowed size: {size} bytes, at most {PAYLOAD_LIMIT}")
        self.size = size


class TaskExists(Exception):
    """A task of this id has been accepted before (409)."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"the task {task_id} exists already")
        self.task_id = task_id


class QueueClosed(Exception):
    """The queue has been closed and takes no events."""


@dataclass(frozen=True)
class AsyncConfig:
    """`asyncInvokeConfig` of a function (fc-runtime.md: Asynchronous invocation).

    Attributes:
        max_retries: `maxAsyncRetryAttempts`: more calls after a function error, 0 to 8.
        max_age_seconds: `maxAsyncEventAgeInSeconds`, 1 to 2592000
            (deploy.md: Function properties; elsewhere 604800).
        task_mode: `asyncTask`: task ids are kept for 7 days and cannot be used twice.
        on_success: ARN that gets the record of an event that succeeded.
        on_failure: ARN that gets the record of an event that was given up.
    """

    max_retries: int = 3
    max_age_seconds: int = 18000
    task_mode: bool = False
    on_success: str | None = None
    on_failure: str | None = None

    @classmethod
    def of(cls, config: AsyncInvokeConfig) -> AsyncConfig:
        """Return what `s.yaml` says of a function."""
        return cls(
            max_retries=config.max_async_retry_attempts,
            max_age_seconds=config.max_async_event_age_in_seconds,
            task_mode=config.async_task,
            on_success=config.on_success,
            on_failure=config.on_failure,
        )


def delay_of(header: str | None) -> float | None:
    """Read `x-fc-async-delay`, in seconds; None if there is none.

    Raises:
        InvalidArgument: it is no number.
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
        self._states: dict[str, _Task] = {}
        self._counts = Counts(*_COUNTS)
        self._work = _Work(
            self.function,
            self.arn,
            self.config,
            invoke,
            self._clock,
            retry_seconds,
            self._counts,
            _HandOver(function, deliver, self._schedule, self._clock, self._counts),
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
            delay: `x-fc-async-delay`: seconds until it may be called for, more than 0, below 3600; None: at
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
        if delay is not None and not 0 < delay < LONGEST_DELAY:
            raise InvalidArgument(
                f"x-fc-async-delay is {delay:g}; more than 0 and less than {LONGEST_DELAY} seconds"
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
            if not self._schedule.at(due, _Life(self._work, event, request_id, task, due)):
                self._counts.add("abandoned")
                raise QueueClosed(f"{self.function}: the asynchronous queue is closed")
        return request_id

    def _enlist(self, task_id: str) -> _Task:
        """Make a task; in task mode its id is kept."""
        now = self._clock.time()
        task = _Task(now)
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


_COUNTS = (
    *("accepted", "duplicated", "succeeded", "failed", "expired", "abandoned"),
    *("calls", "retried", "throttled", "system_errors", "delivered", "undelivered"),
)


@dataclass
class _Task:
    """What is known of a task (fc-runtime.md: Asynchronous invocation)."""

    accepted_at: float
    state: str = "Enqueued"


@dataclass(frozen=True)
class _HandOver:
    """Takes records to destinations."""

    function: str
    deliver: Deliver | None
    schedule: Schedule
    clock: Clock
    counts: Counts

    def __call__(self, arn: str, record: bytes) -> None:
        if self.deliver is None:
            _logger.warning("%s: nobody delivers to %s", self.function, arn)
            self.counts.add("undelivered")
            return
        self.schedule.at(self.clock.time(), _Delivery(self, self.deliver, arn, record))


@dataclass(frozen=True)
class _Work:
    """What every event of a queue needs."""

    function: str
    arn: str
    config: AsyncConfig
    invoke: Invoke
    clock: Clock
    retry_seconds: float
    counts: Counts
    hand_over: _HandOver


@dataclass(frozen=True)
class _Response:
    """How the last attempt ended, as the record tells it."""

    condition: str
    status: int
    function_error: str
    payload: str


_NEVER_CALLED = _Response("FunctionResourceExhausted", 429, "", "")


class _Life:
    """A job: one event from its first call to its end."""

    def __init__(self, work: _Work, event: bytes, request_id: str, task: _Task, born: float) -> None:
        self._work = work
        self._event = event
        self._request_id = request_id
        self._task = task
        self._dies = born + work.config.max_age_seconds
        self._calls = 0
        self._function_errors = 0
        self._refusals = 0  # in a row
        self._refused_since = 0.0
        self._last = _NEVER_CALLED

    def __call__(self) -> float | None:
        work = self._work
        if work.clock.time() >= self._dies:
            self._end("expired", "Expired")
            return None
        self._task.state = "Running"
        try:
            result = work.invoke(self._event, request_id=self._request_id, retry_count=self._calls)
        except HostClosed:
            work.counts.add("abandoned")
            return None
        except Throttled as error:
            work.counts.add("throttled")
            return self._refused(_refusal("FunctionResourceExhausted", 429, "ResourceExhausted", error))
        except Exception as error:
            _logger.exception("%s: request %s met a system error", work.function, self._request_id)
            work.counts.add("system_errors")
            return self._refused(_refusal("InternalServerError", 500, "InternalServerError", error))
        return self._answered(result)

    def _answered(self, result: Result) -> float | None:
        """Take the answer of the function, which may be its error."""
        work = self._work
        work.counts.add("calls")
        self._calls += 1
        self._refusals = 0
        condition = result.error_type or ""
        self._last = _Response(condition, 200, condition, result.payload.decode(errors="replace"))
        if not condition:
            self._end("succeeded", "Succeeded")
            return None
        self._function_errors += 1
        if self._function_errors <= work.config.max_retries:
            return self._again(work.retry_seconds)
        self._end("failed", "Failed")
        return None

    def _refused(self, response: _Response) -> float | None:
        """Back off: the function was not called (fc-runtime.md: Asynchronous invocation)."""
        self._last = response
        now = self._work.clock.time()
        if not self._refusals:
            self._refused_since = now
        delay = _FIRST_BACKOFF * 2.0**self._refusals
        self._refusals += 1
        if now + delay <= self._refused_since + _SYSTEM_SECONDS:
            return self._again(delay)
        self._end("failed", "Failed")
        return None

    def _again(self, delay: float) -> float:
        self._work.counts.add("retried")
        self._task.state = "Retrying"
        return min(self._work.clock.time() + delay, self._dies)

    def _end(self, count: str, state: str) -> None:
        work = self._work
        good = count == "succeeded"
        arn = work.config.on_success if good else work.config.on_failure
        if arn is not None:
            work.hand_over(arn, self._record())
        if not good:
            _logger.warning(
                "%s: request %s is given up: %s", work.function, self._request_id, self._last.condition
            )
        self._task.state = state
        work.counts.add(count)

    def _record(self) -> bytes:
        """Return what a destination gets (fc-runtime.md: Asynchronous invocation)."""
        last = self._last
        record = {
            "timestamp": int(self._work.clock.time() * 1000),
            "requestContext": {
                "requestId": self._request_id,
                "functionArn": self._work.arn,
                "condition": last.condition,
                "approximateInvokeCount": self._calls,
            },
            "requestPayload": self._event.decode(errors="replace"),
            "responseContext": {"statusCode": last.status, "functionError": last.function_error},
            "responsePayload": last.payload,
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _refusal(condition: str, status: int, code: str, error: Exception) -> _Response:
    payload = json.dumps({"errorCode": code, "errorMessage": str(error)}, separators=(",", ":"))
    return _Response(condition, status, "", payload)


class _Delivery:
    """A job: one record on its way to its destination; 5xx is tried again for 30 minutes
    (fc-runtime.md: Asynchronous invocation).
    """

    def __init__(self, hand_over: _HandOver, deliver: Deliver, arn: str, record: bytes) -> None:
        self._function = hand_over.function
        self._clock = hand_over.clock
        self._counts = hand_over.counts
        self._deliver = deliver
        self._arn = arn
        self._record = record
        self._attempts = 0
        self._ends = self._clock.time() + _DELIVERY_SECONDS

    def __call__(self) -> float | None:
        try:
            self._deliver(self._arn, self._record)
        except (Undeliverable, PayloadTooLarge) as error:
            _logger.warning("%s: a record was refused: %s", self._function, error)
        except Exception as error:  # whatever the place raises is its 5xx
            due = self._clock.time() + _FIRST_BACKOFF * 2.0**self._attempts
            self._attempts += 1
            if due <= self._ends:
                return due
            _logger.warning("%s: a record is given up: %s: %s", self._function, self._arn, error)
        else:
            self._counts.add("delivered")
            return None
        self._counts.add("undelivered")
        return None
