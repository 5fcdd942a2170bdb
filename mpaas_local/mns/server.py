"""The service on a loopback port, served from a background thread.

`with MnsServer() as server:` provides `server.endpoint` for the official SDK, and `server.store`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mpaas_local.access_keys import LOCAL_ACCESS_KEYS
from mpaas_local.mns.app import MnsApp
from mpaas_local.mns.store import MnsStore
from mpaas_local.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.clock import TimeSource

__all__ = ["MnsServer"]


class MnsServer(Service):
    """The service on 127.0.0.1.

    Args:
        store: A store, which the caller closes, or the path of one, which the server opens and closes;
            ":memory:" is not saved.
        port: 0 for a free one.
        access_keys: The accepted keys, by access key id.
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
        access_keys: Mapping[str, AccessKey] = LOCAL_ACCESS_KEYS,
        clock: TimeSource = time.time,
    ) -> None:
        owned = None
        if not isinstance(store, MnsStore):
            store = owned = MnsStore(store, clock=clock)
        self.store = store
        app = MnsApp(store, access_keys)
        super().__init__(app, port=port, owned=owned, on_stop=app.polls.stop)
