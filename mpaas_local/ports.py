"""The ports of the local stack."""

from __future__ import annotations

import errno
import secrets
import socket
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ports", "unassigned_port"]


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


def unassigned_port() -> int:
    """Return a free port that the system assigns to nobody, since it is below the range for that.

    So it stays free until a server is started on it, and while that server restarts.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise  # another port would not help, such as without free file descriptors
