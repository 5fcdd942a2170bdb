"""The service on a loopback port, served from a background thread.

`with MnsServer() as server:` provides `server.endpoint` for the official SDK, and `server.store`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mpaas_local.access_keys import LOCAL_ACCESS_KEYS
from mpaas_local.mns.app import MnsApp
from mpaas_local.mns.store import MnsStore
from mpaas_local.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Self

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.mns.store import Clock

__all__ = ["MnsServer"]

_KEEP_ALIVE_SECONDS = 75  # longer than a long poll and than clients keep idle connections


class MnsServer:
    """The service on 127.0.0.1, as a context manager or with `start` and `close`.

    Args:
        store: A store, which the caller closes; or the path of one, which the server opens and closes
            (":memory:" keeps nothing).
        port: 0 for a free one.
        access_keys: Id to secret, or to an `AccessKey` with the security token that an STS key requires.
        clock: Governs delays, visibility and retention of a store that the server opens.

    Attributes:
        store: For use without HTTP.

    Raises:
        StoreUnusable: the file cannot be opened, or is not a store of this version.
    """

    def __init__(
        self,
        store: MnsStore | Path | str = ":memory:",
        *,
        port: int = 0,
        access_keys: Mapping[str, AccessKey | str] = LOCAL_ACCESS_KEYS,
        clock: Clock = time.time,
    ) -> None:
        self._owns_store = not isinstance(store, MnsStore)
        self.store = store if isinstance(store, MnsStore) else MnsStore(store, clock=clock)
        self._app = MnsApp(self.store, access_keys)
        self._server = Server(
            self._app,
            port=port,
            on_stop=self._app.polls.stop,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """Endpoint for the SDK's `Account`: `http://127.0.0.1:<port>`."""
        return self._server.url

    def start(self) -> Self:
        """Start serving; returns when the port accepts requests.

        Raises:
            PortInUse: the port is taken.
        """
        try:
            self._server.start()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """End long polls, stop serving and close a store that the server opened. Idempotent."""
        self._server.stop()
        if self._owns_store:
            self.store.close()
