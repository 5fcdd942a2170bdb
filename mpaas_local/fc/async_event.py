"""The life of an accepted event: calls, retries, end, and the record for a destination
(fc-runtime.md: Asynchronous invocation). `mpaas_local.fc.asynchronous` lists the choices where the page is
silent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpaas_local.compact_json import compact_json
from mpaas_local.fc.destinations import Undeliverable
from mpaas_local.fc.errors import HostClosed, PayloadTooLarge, Throttled

if TYPE_CHECKING:
    from mpaas_local.clock import Clock
    from mpaas_local.counts import Counts
    from mpaas_local.fc.async_store import AsyncStore, StoredEvent
    from mpaas_local.fc.call import Invoke, Result
    from mpaas_local.fc.destinations import DeliverRecord
    from mpaas_local.fc.schedule import Schedule
    from project.function import AsyncInvokeConfig

__all__ = ["AsyncConfig", "AsyncEvent", "QueueContext", "RecordSender", "Task"]

_FIRST_BACKOFF = 0.5  # seconds, doubled each time, of throttled calls and of destinations
_SYSTEM_SECONDS = 5 * 3600
_DELIVERY_SECONDS = 30 * 60

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AsyncConfig:
    """`asyncInvokeConfig` of a function (fc-runtime.md: Asynchronous invocation).

    Attributes:
        max_retries: `maxAsyncRetryAttempts`: retries after function errors, 0 to 8.
        max_age_seconds: `maxAsyncEventAgeInSeconds`, 1 to 2592000
            (deploy.md: Function properties; elsewhere 604800).
        task_mode: `asyncTask`: a task id cannot be reused for 7 days.
        on_success: ARN that receives the record of an event that succeeded.
        on_failure: ARN that receives the record of an event that was given up.
    """

    max_retries: int = 3
    max_age_seconds: int = 18000
    task_mode: bool = False
    on_success: str | None = None
    on_failure: str | None = None

    @classmethod
    def of(cls, config: AsyncInvokeConfig) -> AsyncConfig:
        """Return the configuration from `s.yaml`."""
        return cls(
            max_retries=config.max_async_retry_attempts,
            max_age_seconds=config.max_async_event_age_in_seconds,
            task_mode=config.async_task,
            on_success=config.on_success,
            on_failure=config.on_failure,
        )


@dataclass
class Task:
    """A task (fc-runtime.md: Asynchronous invocation)."""

    accepted_at: float
    state: str = "Enqueued"


@dataclass(frozen=True, kw_only=True)
class RecordSender:
    """Delivers records to destinations, each as a job."""

    function: str
    deliver: DeliverRecord | None
    schedule: Schedule
    clock: Clock
    counts: Counts

    def __call__(self, arn: str, record: bytes) -> None:
        """Start to deliver a record to an ARN."""
        if self.deliver is None:
            _logger.warning("%s: no destinations are configured; not delivered to %s", self.function, arn)
            self.counts.add("undelivered")
            return
        self.schedule.at(self.clock.time(), _RecordDelivery(self, self.deliver, arn, record))


@dataclass(frozen=True, kw_only=True)
class QueueContext:
    """The settings and services that all events of one queue share."""

    function: str
    arn: str
    config: AsyncConfig
    invoke: Invoke
    clock: Clock
    retry_seconds: float
    counts: Counts
    send_record: RecordSender
    store: AsyncStore | None = None


@dataclass(frozen=True)
class _LastResponse:
    """How the last attempt ended, for the record."""

    condition: str
    status: int
    function_error: str
    payload: str


_NEVER_CALLED = _LastResponse("FunctionResourceExhausted", 429, "", "")


class AsyncEvent:
    """A job of a `Schedule`: one event from its first call to its end."""

    def __init__(self, context: QueueContext, event: StoredEvent, task: Task) -> None:
        self._context = context
        self._stored = event
        self._event = event.payload
        self._request_id = event.request_id
        self._task = task
        self._expires_at = event.due + context.config.max_age_seconds
        self._calls = 0
        self._function_errors = 0
        self._refusals = 0  # consecutive
        self._refused_since = 0.0
        self._last = _NEVER_CALLED

    def __call__(self) -> float | None:
        """Make the next call; returns when to run again, or None."""
        context = self._context
        if context.clock.time() >= self._expires_at:
            self._end("expired", "Expired")
            return None
        self._task.state = "Running"
        try:
            result = context.invoke(self._event, request_id=self._request_id, retry_count=self._calls)
        except HostClosed:
            context.counts.add("abandoned")
            return None
        except Throttled as error:
            context.counts.add("throttled")
            return self._back_off(_refusal("FunctionResourceExhausted", 429, "ResourceExhausted", error))
        except Exception as error:
            _logger.exception("%s: request %s: system error", context.function, self._request_id)
            context.counts.add("system_errors")
            return self._back_off(_refusal("InternalServerError", 500, "InternalServerError", error))
        return self._handle_result(result)

    def _handle_result(self, result: Result) -> float | None:
        """Handle the function's result, which may be an error."""
        context = self._context
        context.counts.add("calls")
        self._calls += 1
        self._refusals = 0
        condition = result.error_type or ""
        self._last = _LastResponse(condition, 200, condition, result.payload.decode(errors="replace"))
        if not condition:
            self._end("succeeded", "Succeeded")
            return None
        self._function_errors += 1
        if self._function_errors <= context.config.max_retries:
            return self._retry_after(context.retry_seconds)
        self._end("failed", "Failed")
        return None

    def _back_off(self, response: _LastResponse) -> float | None:
        """Retry later: the function was not called (fc-runtime.md: Asynchronous invocation)."""
        self._last = response
        now = self._context.clock.time()
        if not self._refusals:
            self._refused_since = now
        delay = _FIRST_BACKOFF * 2.0**self._refusals
        self._refusals += 1
        if now + delay <= self._refused_since + _SYSTEM_SECONDS:
            return self._retry_after(delay)
        self._end("failed", "Failed")
        return None

    def _retry_after(self, delay: float) -> float:
        self._context.counts.add("retried")
        self._task.state = "Retrying"
        return min(self._context.clock.time() + delay, self._expires_at)

    def _end(self, count: str, state: str) -> None:
        context = self._context
        succeeded = count == "succeeded"
        arn = context.config.on_success if succeeded else context.config.on_failure
        if arn is not None:
            context.send_record(arn, self._record())
        if not succeeded:
            _logger.warning(
                "%s: request %s given up: %s", context.function, self._request_id, self._last.condition
            )
        self._task.state = state
        context.counts.add(count)
        if context.store:
            context.store.remove(self._stored.id)

    def _record(self) -> bytes:
        """Return the record for a destination (fc-runtime.md: Asynchronous invocation)."""
        last = self._last
        record = {
            "timestamp": int(self._context.clock.time() * 1000),
            "requestContext": {
                "requestId": self._request_id,
                "functionArn": self._context.arn,
                "condition": last.condition,
                "approximateInvokeCount": self._calls,
            },
            "requestPayload": self._event.decode(errors="replace"),
            "responseContext": {"statusCode": last.status, "functionError": last.function_error},
            "responsePayload": last.payload,
        }
        return compact_json(record)


def _refusal(condition: str, status: int, code: str, error: Exception) -> _LastResponse:
    payload = compact_json({"errorCode": code, "errorMessage": str(error)}).decode()
    return _LastResponse(condition, status, "", payload)


class _RecordDelivery:
    """A job of a `Schedule`: the delivery of one record; 5xx is retried for 30 minutes
    (fc-runtime.md: Asynchronous invocation).
    """

    def __init__(self, sender: RecordSender, deliver: DeliverRecord, arn: str, record: bytes) -> None:
        self._function = sender.function
        self._clock = sender.clock
        self._counts = sender.counts
        self._deliver = deliver
        self._arn = arn
        self._record = record
        self._attempts = 0
        self._deadline = self._clock.time() + _DELIVERY_SECONDS

    def __call__(self) -> float | None:
        try:
            self._deliver(self._arn, self._record)
        except (Undeliverable, PayloadTooLarge) as error:
            _logger.warning("%s: record refused: %s", self._function, error)
        except Exception as error:  # any other exception counts as 5xx
            due = self._clock.time() + _FIRST_BACKOFF * 2.0**self._attempts
            self._attempts += 1
            if due <= self._deadline:
                return due
            _logger.warning("%s: record given up: %s: %s", self._function, self._arn, error)
        else:
            self._counts.add("delivered")
            return None
        self._counts.add("undelivered")
        return None
