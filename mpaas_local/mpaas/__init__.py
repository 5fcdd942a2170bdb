"""The mPaaS sandbox: a gateway on loopback that judges, keeps and, if ordered, fails PushSimple requests."""

from mpaas_local.mpaas.app import (
    LOCAL_ACCESS_KEY_ID,
    LOCAL_ACCESS_KEY_SECRET,
    LOCAL_ACCESS_KEYS,
    SandboxApp,
    create_app,
)
from mpaas_local.mpaas.authentication import AccessKey
from mpaas_local.mpaas.errors import NotStarted, PortInUse, SandboxError, StoreUnusable
from mpaas_local.mpaas.judgement import Behaviour
from mpaas_local.mpaas.server import Sandbox, SandboxServer, bind_loopback, sandbox_server

__all__ = [
    "LOCAL_ACCESS_KEYS",
    "LOCAL_ACCESS_KEY_ID",
    "LOCAL_ACCESS_KEY_SECRET",
    "AccessKey",
    "Behaviour",
    "NotStarted",
    "PortInUse",
    "Sandbox",
    "SandboxApp",
    "SandboxError",
    "SandboxServer",
    "StoreUnusable",
    "bind_loopback",
    "create_app",
    "sandbox_server",
]
