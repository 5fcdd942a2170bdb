"""Invocations with the keys of a test."""

from __future__ import annotations

import time

from mpaas_push import Credentials, Invocation

__all__ = ["KEY", "within"]

KEY = Credentials("LTAI-test-id", "test-secret")


def within(seconds: float = 300) -> Invocation:
    """Return an invocation with this much time left."""
    return Invocation(request_id="1-2", credentials=KEY, deadline=time.monotonic() + seconds)
