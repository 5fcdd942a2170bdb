"""Alibaba Cloud MNS (now Simple Message Queue) on loopback: queues and topics. The official SDK works with it
unchanged; triggers use the store without HTTP.
"""

from mpaas_local.access_keys import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCESS_KEY_SECRET,
    LOCAL_ACCESS_KEYS,
    AccessKey,
)
from mpaas_local.database import StoreUnusable
from mpaas_local.mns.errors import CODES, MnsError
from mpaas_local.mns.model import (
    ContentFormat,
    Message,
    OutgoingMessage,
    Property,
    Publication,
    Queue,
    QueueAttributes,
    State,
    Strategy,
    Subscription,
    SubscriptionAttributes,
    Topic,
    TopicAttributes,
)
from mpaas_local.mns.server import MnsServer
from mpaas_local.mns.store import MnsStore
from mpaas_local.server import PortInUse

__all__ = [
    "CODES",
    "LOCAL_ACCESS_KEYS",
    "LOCAL_ACCESS_KEY_ID",
    "LOCAL_ACCESS_KEY_SECRET",
    "AccessKey",
    "ContentFormat",
    "Message",
    "MnsError",
    "MnsServer",
    "MnsStore",
    "OutgoingMessage",
    "PortInUse",
    "Property",
    "Publication",
    "Queue",
    "QueueAttributes",
    "State",
    "StoreUnusable",
    "Strategy",
    "Subscription",
    "SubscriptionAttributes",
    "Topic",
    "TopicAttributes",
]
