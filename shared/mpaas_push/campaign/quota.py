"""The share of `PUSH_PACE` that single pushes use: they are counted but never wait; campaigns wait."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import StoreUnavailable
from mpaas_push.campaign.store import CampaignStore

if TYPE_CHECKING:
    from mpaas_push.settings import Settings

__all__ = ["Quota"]

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 10.0
"""How long a failed Redis is not called, so that pushes do not wait for it repeatedly."""
FOREVER = 365 * 86400.0


class Quota:
    """The bucket of all requests. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Connections open on first use.

        Args:
            settings: `PUSH_PACE` and `PUSH_LEDGER_URL`.
        """
        self._rate = settings.pace
        # All functions share the bucket; the sender only matters for campaigns.
        self._store = CampaignStore(settings.ledger_url or "", settings.ca_bundle, sender="", retries=1)
        self._retry_at = 0.0

    def debit(self, requests: int) -> None:
        """Take requests from the bucket, even if it is empty. Never raises."""
        if time.monotonic() < self._retry_at:
            return
        try:
            self._store.reserve_requests(requests, self._rate, FOREVER)
        except StoreUnavailable as error:
            self._retry_at = time.monotonic() + PAUSE_SECONDS
            logger.warning("PUSH_PACE does not count these requests: %s", error)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
