"""The share of `PUSH_PACE` that single pushes use: they never wait for it, campaigns wait for them."""

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
"""How long a Redis that failed is left alone: no push may wait for it again and again."""
FOREVER = 365 * 86400.0


class Quota:
    """The bucket of all requests. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Connections open on first use.

        Args:
            settings: `PUSH_PACE` and `PUSH_LEDGER_URL`.
        """
        self._rate = settings.pace
        # The bucket is shared by all campaigns; none is looked up.
        self._store = CampaignStore(settings.ledger_url or "", settings.ca_bundle, sender="", retries=1)
        self._asked_again_at = 0.0

    def debit(self, requests: int) -> None:
        """Take requests from the bucket, even if it is empty; never raises."""
        if time.monotonic() < self._asked_again_at:
            return
        try:
            self._store.reserve_requests(requests, self._rate, FOREVER)
        except StoreUnavailable as error:
            self._asked_again_at = time.monotonic() + PAUSE_SECONDS
            logger.warning("PUSH_PACE does not count these requests: %s", error)

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
