"""The shape of a destination record (fc-runtime.md: Asynchronous invocation)."""

from __future__ import annotations

from typing import Any

from mpaas_push.triggers.record import Identifier, WireModel

__all__ = ["DestinationRecord"]


class _Request(WireModel):
    requestId: Identifier
    functionArn: Identifier
    condition: str


class _Response(WireModel):
    functionError: str = ""


class DestinationRecord(WireModel):
    """What a destination receives after an asynchronous invocation; payloads are text
    (fc-runtime.md: Asynchronous invocation).
    """

    timestamp: Any = None
    requestContext: _Request
    requestPayload: str
    responseContext: _Response | None = None

    @property
    def failed(self) -> bool:
        """Whether the invocation failed; after a success, condition and error are empty."""
        return bool(self.requestContext.condition or (self.responseContext or _Response()).functionError)
