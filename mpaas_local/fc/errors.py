"""Why a function was not called, or an event for it not accepted."""

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
"""Bytes of an asynchronous event (fc-runtime.md: Asynchronous invocation)."""


class Throttled(Exception):
    """All instances that the function may have are busy; the call was not made."""

    def __init__(self, function: str, limit: int) -> None:
        super().__init__(f"{function}: all {limit} instances are busy; try again, or raise the host's limit")
        self.function = function
        self.limit = limit


class HostClosed(Exception):
    """The host has been closed and takes no calls."""


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
