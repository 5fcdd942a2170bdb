"""Queues that messages are handed over to: MNS, through its official SDK.

Bodies enter, and whether each was taken leaves. The SDK is imported at the first use: most invocations hand
nothing over.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mpaas_push.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

    from mpaas_push.invocation import Invocation
    from mpaas_push.settings import Settings

__all__ = ["BODY_BYTES", "MnsQueues", "QueueMessage", "Queues"]

logger = logging.getLogger(__name__)

BODY_BYTES = 48 * 1024
"""Longest body of a parcel, in bytes of UTF-8: MNS takes 64 KB, and Base64 makes three bytes four."""
BATCH = 16
"""Messages that MNS takes in one request, together no longer than `BATCH_BYTES`."""
BATCH_BYTES = 64 * 1024
"""Of Base64, to which each message is filled up on its own."""
TIMEOUT_SECONDS = 5.0
"""For a request and its answer; less where less time is left."""
LONGEST_DELAY_SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class QueueMessage:
    """A body on its way into a queue.

    Attributes:
        body: At most `BODY_BYTES` long, no half of a surrogate pair in it; longer ones are not taken.
        delay: Seconds until it can be received.
    """

    body: str
    delay: int = 0


class Queues(Protocol):
    """Where parcels can be handed over."""

    def hand_over(self, queue: str, parcels: Sequence[QueueMessage]) -> list[bool]:
        """Put parcels into a queue and say of each whether it was surely taken; never raises."""


class MnsQueues:
    """Queues of Alibaba Cloud's Message Service in the function's own region. One thread at a time.

    A context manager: leaving it closes the connection.
    """

    def __init__(self, settings: Settings, invocation: Invocation) -> None:
        """Open nothing yet.

        Args:
            settings: The endpoint.
            invocation: Its AccessKey needs `mns:SendMessage` on the queues. After its deadline nothing more
                is handed over: a function that is stopped in the middle could not even say what is left.
        """
        self._endpoint = settings.mns_endpoint
        self._ca_bundle = settings.ca_bundle
        self._invocation = invocation
        self._account: Any = None

    def hand_over(self, queue: str, parcels: Sequence[QueueMessage]) -> list[bool]:
        """Put parcels into a queue, up to 16 a request, and say of each whether it was surely taken.

        A request whose answer was lost counts as not taken and is not sent again.
        """
        taken = [False] * len(parcels)
        for places in _batches(parcels):
            if self._invocation.time_left <= 0:
                logger.error("no time is left to hand %d messages to queue %s", taken.count(False), queue)
                break
            try:
                self._send(queue, [parcels[place] for place in places])
            except Exception as error:  # noqa: BLE001 - the SDK raises many kinds, and a message must not be lost
                # The texts of its errors quote the request; their kind and the server's code do not.
                kind = getattr(error, "type", None) or type(error).__name__
                logger.error("queue %s did not take %d messages: %s", queue, len(places), kind)  # noqa: TRY400
                break
            for place in places:
                taken[place] = True
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._account is not None:
            self._account.mns_client.http.conn.close()
            self._account = None

    def _send(self, queue: str, parcels: Sequence[QueueMessage]) -> None:
        from mns.queue import Message  # most invocations hand nothing over

        messages = [Message(parcel.body, min(parcel.delay, LONGEST_DELAY_SECONDS)) for parcel in parcels]
        account = self._opened()
        limit = min(TIMEOUT_SECONDS, self._invocation.time_left)
        account.mns_client.http.conn.deadline = time.monotonic() + limit
        account.get_queue(queue).batch_send_message(messages)

    def _opened(self) -> Any:
        if self._account is None:
            from mns.account import Account

            from mpaas_push.mns_http import MnsConnection

            endpoint, keys = self._endpoint or _own_endpoint(), self._invocation.credentials
            account = Account(endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
            account.mns_client.http.conn = MnsConnection(endpoint, self._ca_bundle)
            self._account = account
        return self._account


def _own_endpoint() -> str:
    account, region = os.environ.get("FC_ACCOUNT_ID"), os.environ.get("FC_REGION")
    if not account or not region:
        raise Misconfigured("PUSH_MNS_ENDPOINT is not set", setting="PUSH_MNS_ENDPOINT")
    return f"https://{account}.mns.{region}.aliyuncs.com"


def _batches(parcels: Sequence[QueueMessage]) -> Iterator[list[int]]:
    """Yield the places of parcels that may go in one request; too long ones are left out."""
    batch: list[int] = []
    size = 0
    for place, parcel in enumerate(parcels):
        length = len(parcel.body.encode("utf-8", "replace"))
        if length > BODY_BYTES:
            continue
        encoded = (length + 2) // 3 * 4
        if batch and (len(batch) == BATCH or size + encoded > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += encoded
    if batch:
        yield batch
