"""Signed calls to the cloud's RPC-style APIs: RAM, STS, ResourceManager and EventBridge.

`call_rpc` takes an action with its parameters and returns the response, or None if it says that the object
does not exist. It raises `ReadFailed` if the key lacks the permission or the service does not respond.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from mpaas_push.settings import Settings
from project.env_file import deployer_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deploy.stage import Stage

__all__ = ["TIMEOUT_SECONDS", "ReadFailed", "call_rpc", "call_sdk", "sdk_config", "sdk_options"]

TIMEOUT_SECONDS = 10.0
"""Longest wait for a connection, and for a response."""
_ABSENT = ("NotExist", "NotEnable")
"""Parts of the codes of objects that do not exist and of services that are not activated."""


class ReadFailed(Exception):
    """The cloud's state cannot be read: the key lacks the permission, or there was no response."""


def call_rpc(
    stage: Stage, host: str, version: str, action: str, query: Mapping[str, str], *, in_body: bool = False
) -> dict[str, Any] | None:
    """Call an API of a stage's account; return None if the object does not exist.

    Args:
        stage: The stage.
        host: Such as ``ram.aliyuncs.com``.
        version: Version of the API, such as ``2015-05-01``.
        action: Such as ``GetRole``.
        query: The parameters.
        in_body: Whether the API reads them from the body.

    Raises:
        ReadFailed: the state cannot be read.
    """
    params = Params(
        action=action,
        version=version,
        protocol="HTTP" if stage.stand_in else "HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    client = Client(sdk_config(stage, host))
    request = OpenApiRequest(body=dict(query)) if in_body else OpenApiRequest(query=dict(query))
    response = call_sdk(partial(client.call_api, params, request, sdk_options()))
    if response is None:
        return None
    if not isinstance(response["body"], dict):
        raise ReadFailed
    return response["body"]


def call_sdk(call: Callable[[], Any]) -> Any:
    """Return the result of a call of an SDK; None if the object does not exist.

    Raises:
        ReadFailed: the state cannot be read.
    """
    try:
        return call()
    except Exception as error:  # the SDKs raise classes of several packages
        # All have the API's code, except connection errors.
        if any(part in str(getattr(error, "code", "")) for part in _ABSENT):
            return None
        raise ReadFailed from None


def sdk_config(stage: Stage, host: str) -> Config:
    """Return the configuration of an SDK client, with the deployer's key."""
    keys = deployer_key(stage.env)
    config = Config(
        access_key_id=keys.access_key_id,
        access_key_secret=keys.access_key_secret,
        security_token=keys.security_token,
        region_id=stage.region,
        endpoint=host,
        ca=Settings.from_env(stage.env).ca_bundle,
    )
    if stand_in := stage.stand_in:
        config.endpoint, config.protocol = stand_in.partition("://")[2], "HTTP"
    return config


def sdk_options() -> RuntimeOptions:
    """Return the options of one call."""
    milliseconds = round(TIMEOUT_SECONDS * 1000)
    return RuntimeOptions(connect_timeout=milliseconds, read_timeout=milliseconds)
