"""The recent calls of the functions: their triggers, logs and durations.

A `CallLog` receives log lines and calls from a `FunctionHost` (`on_log`, `on_call`), keeps the most recent
calls and passes each on, so that the inbox can show a push with the call that sent it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mpaas_local.clock import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpaas_local.fc.call import LogSink, Result

__all__ = ["CallLog", "RecordedCall", "trigger_of"]

MAX_PAYLOAD_LENGTH = 64 * 1024
"""Number of characters kept of a payload."""
MAX_LINES = 500
"""Number of log lines kept of a call."""


@dataclass(frozen=True, kw_only=True)
class RecordedCall:
    """A finished call.

    Attributes:
        function: Name of the function.
        request_id: Id of the call.
        trigger: The kind of trigger, from `trigger_of`.
        payload: The event, as text.
        ended_at: Seconds since 1970.
        duration_ms: Milliseconds in the handler.
        cold: Whether a new instance was started for it.
        error: `X-Fc-Error-Type`; None on success.
        lines: Its log lines.
    """

    function: str
    request_id: str
    trigger: str
    payload: str
    ended_at: float
    duration_ms: float
    cold: bool
    error: str | None
    lines: tuple[str, ...]
    reports: tuple[dict[str, Any], ...] = field(repr=False)
    """The log lines that each report one request, parsed."""

    @property
    def message_ids(self) -> list[str]:
        """The message ids of all pushes that it reported."""
        return [
            message_id
            for report in self.reports
            for message_id in report["message_ids"]
            if isinstance(message_id, str)
        ]

    def document(self) -> dict[str, Any]:
        """The call as JSON."""
        return {
            "function": self.function,
            "requestId": self.request_id,
            "trigger": self.trigger,
            "endedAt": utc_text(self.ended_at),
            "durationMs": round(self.duration_ms, 1),
            "cold": self.cold,
            "error": self.error,
            "payload": self.payload,
            "log": list(self.lines),
        }


class CallLog:
    """The most recent calls of all functions. Thread-safe.

    Args:
        limit: Number of calls to keep.
        on_log: Also receives the log lines.
        on_call: Receives each recorded call.
    """

    def __init__(
        self,
        *,
        limit: int = 5000,
        on_log: LogSink | None = None,
        on_call: Callable[[RecordedCall], None] | None = None,
    ) -> None:
        self._calls: deque[RecordedCall] = deque(maxlen=limit)
        self._lines: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._on_log = on_log
        self._on_call = on_call

    def log(self, function: str, request_id: str, line: str) -> None:
        """Record a log line of a running call."""
        with self._lock:
            lines = self._lines.setdefault(request_id, [])
            if len(lines) < MAX_LINES:
                lines.append(line)
        if self._on_log:
            self._on_log(function, request_id, line)

    def record(self, function: str, event: bytes, result: Result) -> None:
        """Record a finished call."""
        with self._lock:
            lines = self._lines.pop(result.request_id, [])
            if len(self._lines) > MAX_LINES:  # logged by instances between calls
                self._lines.clear()
        payload = event[: MAX_PAYLOAD_LENGTH * 4].decode(errors="replace")
        call = RecordedCall(
            function=function,
            request_id=result.request_id,
            trigger=trigger_of(event),
            payload=payload[:MAX_PAYLOAD_LENGTH],
            ended_at=time.time(),
            duration_ms=result.duration_ms,
            cold=result.cold,
            error=result.error_type,
            lines=tuple(lines),
            reports=tuple(report for line in lines if (report := _report(line)) is not None),
        )
        with self._lock:
            self._calls.append(call)
        if self._on_call:
            self._on_call(call)

    def calls(self) -> list[RecordedCall]:
        """The recorded calls, oldest first."""
        with self._lock:
            return list(self._calls)


def trigger_of(event: bytes) -> str:
    """Return the kind of trigger that sends such an event
    (fc-runtime.md: HTTP trigger to Asynchronous invocation), or `invocation`.
    """
    try:
        value = json.loads(event)
    except ValueError:
        return "topic"  # STREAM: the body of the message
    if isinstance(value, list):
        return "queue"
    if not isinstance(value, dict):
        return "invocation"
    for keys, trigger in _KEYS_OF_TRIGGERS:
        if keys <= value.keys():
            return trigger
    return "invocation"


_KEYS_OF_TRIGGERS = (
    ({"requestContext", "rawPath"}, "http"),
    ({"triggerName", "triggerTime"}, "timer"),
    ({"TopicName", "MessageId"}, "topic"),
    ({"specversion"}, "event"),
    ({"events"}, "oss"),
    ({"requestContext", "responseContext"}, "destination"),
    ({"campaignTask"}, "campaign"),
    ({"campaignStart"}, "campaign"),
)


def _report(line: str) -> dict[str, Any] | None:
    if '"message_ids"' not in line:
        return None
    try:
        report = json.loads(line)
    except ValueError:
        return None
    return report if isinstance(report, dict) and isinstance(report.get("message_ids"), list) else None
