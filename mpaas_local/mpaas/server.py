"""The sandbox as a server on a background thread: `with Sandbox() as sandbox:`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpaas_local.access_keys import LOCAL_ACCESS_KEYS
from mpaas_local.breakable import BreakableProtocol
from mpaas_local.mpaas.app import create_app
from mpaas_local.mpaas.injected_faults import FAULT_ORDER
from mpaas_local.mpaas.judgement.behaviour import Behaviour
from mpaas_local.mpaas.store import Filter
from mpaas_local.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Self

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.clock import TimeSource
    from mpaas_local.mpaas.injected_faults import PushFaults
    from mpaas_local.mpaas.store import Store

__all__ = ["Sandbox"]


class Sandbox:
    """A running sandbox on loopback; a context manager.

    Args:
        port: 0 for a free one.
        store: The SQLite file of the inbox, or ":memory:".
        access_keys: The accepted keys, by access key id.
        behaviour: What the sandbox does where the reference leaves it open.
        clock: Seconds since 1970; tests move it to expire timestamps.
        max_entries: Number of entries after which the inbox deletes the oldest, with their message ids; None
            for no limit.
        ssl_certfile: PEM key and certificate chain; with them the sandbox serves HTTPS only.

    Raises:
        PortInUse: another program listens on the port.
        StoreUnusable: the file cannot be opened, or is not a store of this version.
        NotStarted: the server stopped before it was ready.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        store: Path | str = ":memory:",
        access_keys: Mapping[str, AccessKey] = LOCAL_ACCESS_KEYS,
        behaviour: Behaviour | None = None,
        clock: TimeSource = time.time,
        max_entries: int | None = None,
        ssl_certfile: Path | str | None = None,
    ) -> None:
        self._app = create_app(
            store=store,
            access_keys=access_keys,
            behaviour=behaviour or Behaviour(),
            clock=clock,
            max_entries=max_entries,
        )
        self._server = Server(
            self._app,
            port=port,
            on_stop=self._app.gateway.end_delays,
            http=BreakableProtocol,
            lifespan="on",
            ssl_certfile=ssl_certfile,
        )
        try:
            self._server.start()
        except BaseException:
            self._app.store.close()
            raise
        self.port = self._server.port
        """The port of the server."""
        self.url = self._server.url
        """The address of the server, without a trailing slash."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The inbox."""
        return self._app.store

    @property
    def fault_book(self) -> PushFaults:
        """The ordered faults."""
        return self._app.faults

    def order(self, **fault: Any) -> dict[str, Any]:
        """Order a fault, with the fields of `POST /faults` as keyword arguments.

        For example `order(kind="throttling", next=2, retryAfter=1)`.

        Returns the order with its id. Raises pydantic's ValidationError for an invalid order.
        """
        return self._app.faults.order(FAULT_ORDER.validate_python(fault))

    def faults(self) -> list[dict[str, Any]]:
        """The active orders, oldest first."""
        return self._app.faults.active()

    def inbox(
        self,
        *,
        limit: int = 1000,
        offset: int = 0,
        after: int | None = None,
        outcome: str | None = None,
        target: str | None = None,
    ) -> list[dict[str, Any]]:
        """Entries as `GET /inbox` shows them, newest first."""
        return self._app.store.find(
            Filter(limit=limit, offset=offset, after=after, outcome=outcome, target=target)
        )[1]

    def clear(self) -> None:
        """Delete all entries, message ids and ordered faults."""
        self._app.store.clear()
        self._app.faults.clear()

    def close(self) -> None:
        """Stop the server and its thread, and close the store. Idempotent."""
        self._server.stop()
