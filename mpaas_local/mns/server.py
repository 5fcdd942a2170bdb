"""The service on a port of this machine, served from a background thread.

`with MnsServer() as server:` gives an endpoint that the official SDK takes, and the store under it.
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

_KEEP_ALIVE_SECONDS = 75  # longer than a long poll, and than clients keep a connection


class MnsServer:
    """The service on 127.0.0.1, as a context manager or with `start` and `close`.

    Args:
        store: A store, which stays open; or the file of one, which is opened and closed here (":memory:"
            keeps nothing).
        port: 0 takes a free one.
        access_keys: Id to secret, or to an `AccessKey` with the security token that an STS key must bring.
        clock: Of the store that is opened here: decides about delays, visibility and retention.

    Attributes:
        store: For use without HTTP.

    Raises:
        StoreUnusable: the file cannot be opened, or belongs to something else.
    """

    def __init__(
        self,
        store: MnsStore | Path | str = ":memory:",
        *,
        port: int = 0,
        access_keys: Mapping[str, AccessKey | str] = LOCAL_ACCESS_KEYS,
        clock: Clock = time.time,
    ) -> None:
        self._given = isinstance(store, MnsStore)
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
        """What the SDK's `Account` takes: `http://127.0.0.1:<port>`."""
        return self._server.url

    def start(self) -> Self:
        """Listen and serve; returns when the port answers.

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
        """Let long polls answer, stop listening, close the store that was opened here. A second call does
        nothing.
        """
        self._server.stop()
        if not self._given:
            self.store.close()
