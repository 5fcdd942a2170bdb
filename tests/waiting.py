"""Waiting for other threads and processes, also on a slow machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["eventually"]

ValueT = TypeVar("ValueT")
PATIENCE_SECONDS = 60
"""Only a failing test waits that long."""


def eventually(
    value: Callable[[], ValueT | None],
    pause: Callable[[], object] = lambda: time.sleep(0.005),
    *,
    state: Callable[[], object] = lambda: None,
) -> ValueT:
    """Wait until a value is true and return it; fail after a minute.

    Args:
        value: Called repeatedly.
        pause: Called between two calls of `value`.
        state: Returns what to show when the wait fails.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := value()):
        assert time.monotonic() < deadline, state()
        pause()
    return result
