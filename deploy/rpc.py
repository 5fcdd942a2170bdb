"""Signed calls to the cloud's APIs of the RPC style: RAM, STS, ResourceManager and EventBridge.

`call_rpc` takes an action with its parameters and returns the response, None if it says that something does
not exist. A key that may not ask, and a service that does not respond, raise `NotAllowed`.
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

__all__ = ["TIMEOUT_SECONDS", "NotAllowed", "ask", "call_rpc", "sdk_config", "sdk_options"]

TIMEOUT_SECONDS = 10.0
"""Longest wait for a connection, and for a response."""
_ABSENT = ("NotExist", "NotEnable")
"""Parts of the codes that mean that something, or a whole service, is not there."""


class NotAllowed(Exception):
    """The question was not answered: the key is not allowed to ask, or there was no response."""


def call_rpc(
    stage: Stage, host: str, version: str, action: str, query: Mapping[str, str], *, in_body: bool = False
) -> dict[str, Any] | None:
    """Call an API of a stage's account; None if something does not exist.

    Args:
        stage: The stage.
        host: Such as ``ram.aliyuncs.com``.
        version: Of the API, such as ``2015-05-01``.
        action: Such as ``GetRole``.
        query: The parameters.
        in_body: Whether the API reads them from the body.

    Raises:
        NotAllowed: there is no answer.
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
    answer = ask(partial(client.call_api, params, request, sdk_options()))
    if answer is None:
        return None
    if not isinstance(answer["body"], dict):
        raise NotAllowed
    return answer["body"]


def ask(call: Callable[[], Any]) -> Any:
    """Return what a call of an SDK returns; None if it says that something does not exist.

    Raises:
        NotAllowed: there is no answer.
    """
    try:
        return call()
    except Exception as error:  # the SDKs raise classes of several packages
        # All have the API's code, except those of a connection.
        if any(part in str(getattr(error, "code", "")) for part in _ABSENT):
            return None
        raise NotAllowed from None


def sdk_config(stage: Stage, host: str) -> Config:
    """Return the configuration of an SDK's client, with the deployer's key."""
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
