"""The lease of a piece, renewed from a thread of its own as long as its worker lives."""

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
    """Keeps a piece, whatever its worker waits for: OSS, mPaaS, its moment.

    A worker that is killed renews nothing, and another one soon takes over. If this one still lives, its
    commit has no effect, and the ledger has kept both from sending the same request.
    """

    def __init__(self, store: CampaignStore, campaign_id: str, piece: int, owner: str) -> None:
        """Keep a piece that `owner` has taken."""
        self._store = store
        self._what = (campaign_id, piece, owner)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="campaign-lease", daemon=True)
        self.is_lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not waited for: if it renews again, the piece has another owner by then, or none.
        self._over.set()

    def _keep(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            try:
                if self._store.renew(*self._what) is None:
                    self.is_lost = True
                    return
            except StoreUnavailable:
                continue  # the lease is longer than several attempts
