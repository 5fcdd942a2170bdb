"""The mPaaS sandbox: a gateway on loopback that judges, records and, if ordered, fails PushSimple requests."""

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
