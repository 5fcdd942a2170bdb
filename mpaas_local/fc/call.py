"""One call of a function: its request id, log and result, and the interfaces for making calls."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Accept", "CallSink", "InvocationLog", "Invoke", "LogSink", "Result", "new_request_id"]

LOG_TAIL_LIMIT = 4096
"""Bytes of log in a result (fc-runtime.md: Logging)."""

LogSink = Callable[[str, str, str], None]
"""Receives each log line at once: function name, request id, line without line break. Runs on the thread that
waits for the call."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one call, as the Invoke API returns it.

    Attributes:
        payload: The handler's serialized result (fc-runtime.md: Return value), or the error JSON
            (fc-runtime.md: Error semantics).
        error_type: `X-Fc-Error-Type`: `UnhandledInvocationError` or `InitializationError`; None on success.
        request_id: Id of the call.
        duration_ms: Milliseconds in the handler, including imports but not the start of the process.
        max_memory_mb: Peak resident size of the instance so far; 0 if the system does not report it.
        log_tail: Last 4 KB of the call's log.
        cold: Whether the instance was started for this call.
    """

    payload: bytes
    error_type: str | None
    request_id: str
    duration_ms: float
    max_memory_mb: float
    log_tail: str
    cold: bool


def new_request_id() -> str:
    """Return a new request id: `1-`, the time in hexadecimal seconds, 8 and 12 random hexadecimal digits
    (fc-runtime.md: HTTP event).
    """
    return f"1-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}"


class InvocationLog:
    """The log of one call."""

    def __init__(self, function: str, request_id: str, sink: LogSink) -> None:
        self._function = function
        self._request_id = request_id
        self._sink = sink
        self._tail = b""

    def line(self, text: str) -> None:
        """Add a line, without its line break."""
        self._tail = (self._tail + text.encode(errors="replace") + b"\n")[-LOG_TAIL_LIMIT:]
        self._sink(self._function, self._request_id, text)

    @property
    def tail(self) -> str:
        """The last 4 KB."""
        return self._tail.decode(errors="replace")


CallSink = Callable[[str, bytes, Result], None]
"""Receives each finished call: function name, event, result. Runs on the thread that made the call."""


class Invoke(Protocol):
    """Calls a function and waits for the result, as `FunctionHost.invoke` does. May raise `Throttled`."""

    def __call__(self, event: bytes, *, request_id: str | None = None, retry_count: int = 0) -> Result:
        """Call the function."""


class Accept(Protocol):
    """Accepts an event for a function and returns the request id, as `AsyncQueue.accept` does.

    `size` is the number of bytes that count against the limit: the event without the trigger's additions.
    """

    def __call__(self, event: bytes, /, *, size: int | None = None) -> str:
        """Accept the event."""
