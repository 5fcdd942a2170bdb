"""The lease of a piece, renewed by a separate thread while its worker lives."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import StoreUnavailable
from mpaas_push.campaign.store import RENEW_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_push.campaign.store import CampaignStore

__all__ = ["Lease"]


class Lease:
    """Keeps a piece while its worker waits for OSS, mPaaS or its moment.

    A killed worker stops renewing, and another one soon takes over. If the first one is still alive, its
    commit has no effect, and the ledger prevents both from sending the same request.
    """

    def __init__(self, store: CampaignStore, campaign_id: str, piece: int, owner: str) -> None:
        """Keep a piece that `owner` has taken."""
        self._store = store
        self._piece = (campaign_id, piece, owner)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="campaign-lease", daemon=True)
        self.is_lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The thread is not joined: by a late renewal the piece has another owner, or none.
        self._stopped.set()

    def _keep(self) -> None:
        while not self._stopped.wait(RENEW_SECONDS):
            try:
                if self._store.renew(*self._piece) is None:
                    self.is_lost = True
                    return
            except StoreUnavailable:
                continue  # the lease outlasts several attempts
