"""What can go wrong when the sandbox is started; each error keeps the facts that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class SandboxError(Exception):
    """Base of the sandbox's own errors."""


class PortInUse(SandboxError):
    """Something else listens on `port`; `option` is what the user changes to take another."""

    def __init__(self, port: int, option: str) -> None:
        super().__init__(
            f"port {port} on 127.0.0.1 is in use; stop what listens there, or choose another with {option}"
            " (0 takes any free port)"
        )
        self.port = port
        self.option = option


class StoreUnusable(SandboxError):
    """The file for the inbox cannot be opened or is not one of ours."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"the inbox {path} cannot be used: {reason}; name another file or remove this one")
        self.path = path
        self.reason = reason


class NotStarted(SandboxError):
    """The server ended before it was ready; the cause is chained."""
