"""The requests of a valid message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push import InvalidMessage
from mpaas_push.request import plan

if TYPE_CHECKING:
    from mpaas_push import PushMessage, Settings
    from mpaas_push.request import PushRequest

__all__ = ["requests_of"]


def requests_of(
    message: PushMessage, settings: Settings, scope: str, index: int = 0, **options: Any
) -> tuple[PushRequest, ...]:
    """Return the requests of a message; raise its faults."""
    planned = plan(message, settings, scope, index, **options)
    if isinstance(planned, InvalidMessage):
        raise planned
    return planned
