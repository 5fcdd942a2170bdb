"""A service of the cloud on a port of this machine, with the endpoint for its official SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mpaas_local.server import Server

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Service"]


class Closable(Protocol):
    """A resource of the service."""

    def close(self) -> None:
        """Release it. Idempotent."""


class Service(Server):
    """One service, as a context manager or with `start` and `stop`.

    Args:
        app: Its ASGI application.
        port: 0 for a free one.
        owned: Closed when the service stops or fails to start.
        config: See `Server`.
    """

    def __init__(self, app: Any, *, port: int, owned: Closable | None = None, **config: Any) -> None:
        super().__init__(app, port=port, lifespan="off", **config)
        self._owned = owned

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return self.url

    def start(self) -> Self:
        """Start serving; returns when the port accepts requests.

        Raises:
            PortInUse: the port is taken.
            NotStarted: the server did not start.
        """
        try:
            return super().start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop serving, and close what the service owns. Idempotent."""
        super().stop()
        if self._owned:
            self._owned.close()
