"""One call of a function: who makes it, its id, what it logs, and its result."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Accept", "CallSink", "Invoke", "Log", "LogSink", "Result", "new_request_id"]

LOG_TAIL_LIMIT = 4096
"""Bytes of log that a result carries (fc-runtime.md: Logging)."""

LogSink = Callable[[str, str, str], None]
"""Takes each log line as it comes: function name, request id, line without its end. Called on the thread that
waits for the call."""


@dataclass(frozen=True)
class Result:
    """What the Invoke API tells of one call.

    Attributes:
        payload: What the handler returned, serialised (fc-runtime.md: Return value), or the error JSON
            (fc-runtime.md: Error semantics).
        error_type: Value of `X-Fc-Error-Type`: `UnhandledInvocationError`, `InitializationError`; None if all
            went well.
        request_id: The call's id.
        duration_ms: Milliseconds in the handler, import at the first call included, start of the process not.
        max_memory_mb: Largest resident size of the instance so far; 0 where the system does not tell.
        log_tail: Last 4 KB of the call's log.
        cold: The instance was made for this call.
    """

    payload: bytes
    error_type: str | None
    request_id: str
    duration_ms: float
    max_memory_mb: float
    log_tail: str
    cold: bool


def new_request_id() -> str:
    """Make a request id in FC's form: `1-`, the second in hexadecimal, 8 and 12 random digits
    (fc-runtime.md: HTTP event).
    """
    return f"1-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}"


class Log:
    """Where the lines of one call go."""

    def __init__(self, function: str, request_id: str, sink: LogSink) -> None:
        self._function = function
        self._request_id = request_id
        self._sink = sink
        self._tail = b""

    def line(self, text: str) -> None:
        """Take a line without its end."""
        self._tail = (self._tail + text.encode(errors="replace") + b"\n")[-LOG_TAIL_LIMIT:]
        self._sink(self._function, self._request_id, text)

    @property
    def tail(self) -> str:
        """The last 4 KB."""
        return self._tail.decode(errors="replace")


CallSink = Callable[[str, bytes, Result], None]
"""Takes each call when it has ended: function name, event, result. Called on the thread that made it."""


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
