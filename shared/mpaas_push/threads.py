"""Runs the same work on many items concurrently, in threads that end with it."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["run_concurrently"]

T = TypeVar("T")


def run_concurrently(
    work: Callable[[T], None], items: Iterable[T], *, threads: int, until: float = math.inf
) -> None:
    """Process items in order, in this thread and in as many others as are useful and can be started.

    Args:
        work: Processes an item; must not raise.
        items: The items.
        threads: Maximum number of threads, including this one.
        until: No item is begun after this time, on the clock of `time.monotonic`.
    """
    waiting = deque(items)

    def run() -> None:
        while waiting and time.monotonic() < until:
            try:
                item = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            work(item)

    helpers = [
        threading.Thread(target=run, name="push-helper") for _ in range(min(threads, len(waiting)) - 1)
    ]
    started = []
    for helper in helpers:
        try:
            helper.start()
        except RuntimeError:  # no more threads: the running ones do the work
            break
        started.append(helper)
    try:
        run()
    finally:
        waiting.clear()  # after an interruption, the helpers must not begin more items
        for helper in started:
            helper.join()
