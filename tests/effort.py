"""The cost of a call, counted rather than timed: its peak memory in bytes and its function calls."""

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
    """Return the peak memory that a call adds (bytes); errors that it raises are ignored.

    The result is the minimum of up to three calls, or that of the first with at most `enough`: the garbage that is
    not yet collected differs from call to call.
    """
    peak = _peak_bytes(call)
    for _ in range(2):
        if peak > enough:
            peak = min(peak, _peak_bytes(call))
    return peak


def _peak_bytes(call: Callable[[], Any]) -> int:
    gc.collect(1)  # so that no older object is freed during the trace
    tracemalloc.start()
    try:
        with suppress(Exception):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def steps(call: Callable[[], Any]) -> int:
    """Return the number of Python and C function calls that a call makes; errors that it raises are ignored."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        with suppress(Exception):
            call()
    finally:
        sys.setprofile(before)
    return count
