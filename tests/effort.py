"""What a call costs, counted rather than timed: bytes of memory at its peak, and steps of Python."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["peak_bytes", "steps"]


def peak_bytes(call: Callable[[], Any], enough: int) -> int:
    """The most memory that a call holds at a time beyond what was held before; an error it raises is dropped.

    The least of three calls, or the first that holds at most `enough`: what the garbage collector has not freed yet
    differs from one to the next.
    """
    peak = _peak_bytes(call)
    for _ in range(2):
        if peak > enough:
            peak = min(peak, _peak_bytes(call))
    return peak


def _peak_bytes(call: Callable[[], Any]) -> int:
    gc.collect(1)  # nothing older can be freed while it is traced
    tracemalloc.start()
    try:
        with suppress(Exception):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def steps(call: Callable[[], Any]) -> int:
    """How many calls of functions, in Python or C, a call makes; an error it raises is dropped."""
    count = 0

    def counted(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        with suppress(Exception):
            call()
    finally:
        sys.setprofile(before)
    return count
