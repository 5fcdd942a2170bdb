"""The service on a loopback port, served from a background thread.

`with OssServer(OssStore(folder)) as server:` provides `server.endpoint` for the official SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_local.access_keys import LOCAL_ACCESS_KEYS
from mpaas_local.account import Account
from mpaas_local.breakable import BreakableProtocol
from mpaas_local.oss.app import OssApp
from mpaas_local.oss.injected_faults import FAULT_ORDER
from mpaas_local.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.oss.store import OssStore

__all__ = ["OssServer"]


class OssServer(Service):
    """The service on 127.0.0.1.

    Args:
        store: The buckets; the caller closes it.
        port: 0 for a free one.
        access_keys: The accepted keys, by access key id.
        account: The owner of the buckets, and the only region that a V4 signature may name.

    Attributes:
        store: For use without HTTP.
        region: For the SDK's `Config`.
    """

    def __init__(
        self,
        store: OssStore,
        *,
        port: int = 0,
        access_keys: Mapping[str, AccessKey] = LOCAL_ACCESS_KEYS,
        account: Account | None = None,
    ) -> None:
        self.store = store
        account = account or Account()
        self.region = account.region
        self._app = OssApp(store, access_keys, account)
        super().__init__(self._app, port=port, http=BreakableProtocol)

    def order(self, **fault: Any) -> dict[str, Any]:
        """Order a fault, with the fields of `POST /.local/faults` as keyword arguments.

        For example `order(kind="serviceUnavailable", rate=0.1, match={"method": "GET"})`.

        Returns the order with its id. Raises pydantic's ValidationError for an invalid order.
        """
        return self._app.faults.order(FAULT_ORDER.validate_python(fault))

    def faults(self) -> list[dict[str, Any]]:
        """The active orders, oldest first."""
        return self._app.faults.active()

    def clear_faults(self) -> None:
        """Cancel all orders."""
        self._app.faults.clear()
