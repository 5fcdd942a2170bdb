"""The official SDK as a client of the server under test; it is untyped, hence `Any`."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from mpaas_local.mns import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

account_module: Any = importlib.import_module("mns.account")
queue_module: Any = importlib.import_module("mns.queue")
topic_module: Any = importlib.import_module("mns.topic")
subscription_module: Any = importlib.import_module("mns.subscription")
exception_module: Any = importlib.import_module("mns.mns_exception")
property_module: Any = importlib.import_module("mns.message_property")

Message = queue_module.Message
QueueMeta = queue_module.QueueMeta
TopicMeta = topic_module.TopicMeta
TopicMessage = topic_module.TopicMessage
SubscriptionMeta = subscription_module.SubscriptionMeta
ServerError = exception_module.MNSServerException


@contextlib.contextmanager
def connected(
    endpoint: str,
    key_id: str = LOCAL_ACCESS_KEY_ID,
    secret: str = LOCAL_ACCESS_KEY_SECRET,
    token: str = "",
) -> Iterator[Any]:
    """Yield an `Account` and close its connection at the end."""
    account = account_module.Account(endpoint, key_id, secret, token)
    try:
        yield account
    finally:
        account.get_client().close_connection()
