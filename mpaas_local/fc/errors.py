"""Errors of a function that could not be called, or whose event was not accepted."""

from __future__ import annotations

__all__ = [
    "PAYLOAD_LIMIT",
    "HostClosed",
    "InvalidArgument",
    "PayloadTooLarge",
    "QueueClosed",
    "TaskExists",
    "Throttled",
]

PAYLOAD_LIMIT = 128 * 1024
"""Maximum size, in bytes, of an asynchronous event (fc-runtime.md: Asynchronous invocation)."""


class Throttled(Exception):
    """All instances are busy; the function was not called."""

    def __init__(self, function: str, limit: int) -> None:
        super().__init__(f"{function}: all {limit} instances are busy; try again, or raise the host's limit")
        self.function = function
        self.limit = limit


class HostClosed(Exception):
    """The host is closed."""


class InvalidArgument(ValueError):
    """The delay or the task id is invalid (400)."""


class PayloadTooLarge(ValueError):
    """The event is larger than 128 KB (400 `EntityTooLarge`)."""

    def __init__(self, size: int) -> None:
        super().__init__(f"payload size exceeds maximum allowed size: {size} bytes, maximum {PAYLOAD_LIMIT}")
        self.size = size


class TaskExists(Exception):
    """A task with this id was accepted before (409)."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} already exists")
        self.task_id = task_id


class QueueClosed(Exception):
    """The queue is closed."""
