"""The ports of the local stack."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ports"]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """A port for each service; 0 for a free one."""

    http: int = 8080
    sandbox: int = 8081
    events: int = 8082
    queues: int = 8083
    inbox: int = 8084
    oss: int = 8085

    @classmethod
    def any(cls) -> Self:
        """Return free ports only."""
        return cls(**dict.fromkeys((field.name for field in fields(cls)), 0))
