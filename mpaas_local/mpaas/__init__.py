"""The mPaaS sandbox on loopback: judges and records PushSimple requests, or fails them as ordered."""

from mpaas_local.access_keys import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCESS_KEY_SECRET,
    LOCAL_ACCESS_KEYS,
    AccessKey,
)
from mpaas_local.database import StoreUnusable
from mpaas_local.mpaas.judgement.behaviour import Behaviour
from mpaas_local.mpaas.server import Sandbox
from mpaas_local.server import NotStarted, PortInUse

__all__ = [
    "LOCAL_ACCESS_KEYS",
    "LOCAL_ACCESS_KEY_ID",
    "LOCAL_ACCESS_KEY_SECRET",
    "AccessKey",
    "Behaviour",
    "NotStarted",
    "PortInUse",
    "Sandbox",
    "StoreUnusable",
]
