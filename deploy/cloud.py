"""The deployed state of Function Compute, read through its API, and the few changes that `s` cannot make.

Results are plain dictionaries with the names of the API, or None if something does not exist. All calls use
the official SDK over HTTPS; plain HTTP only to this machine.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.policy.retry import RetryCondition, RetryOptions
from darabonba.runtime import RuntimeOptions
from urllib3 import PoolManager, Retry
from urllib3.exceptions import HTTPError

from mpaas_push.errors import PushError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mpaas_push.credentials import Credentials

__all__ = ["CONCURRENT", "Cloud", "CloudRefused"]

TIMEOUT_MILLISECONDS = 20_000
"""Longest wait for a connection, and for a response."""
CODE_BYTES = 100 << 20
"""Largest code package that is read back."""
CONCURRENT = "ConcurrentUpdateError"
"""Code of a change that was refused because another one was in progress."""
RETRIES = RetryOptions(
    retry_condition=[
        RetryCondition(
            exception=["ServerException", "ThrottlingException"],
            error_code=[
                "Throttling",
                "Throttling.User",
                "ResourceThrottled",
                "ResourceExhausted",
                CONCURRENT,
            ],
            max_attempts=5,
            backoff={"policy": "Exponential", "period": 200},
            max_delay=TIMEOUT_MILLISECONDS,
        )
    ]
)
"""A call is retried after 5xx and 429, and if another change is in progress: four times within about 6 s, or
at the times that the responses request."""
LATEST = "LATEST"
"""The qualifier of the last deployed code, which all triggers call."""
PAGE = 100
"""Most items in one page of a listing."""


class CloudRefused(PushError):
    """Function Compute refused a call, or could not be reached.

    Attributes:
        action: The call, such as ``get_function``.
        code: The API's code, such as ``AccessDenied``; empty if there was no response.
        status: The HTTP status; 0 if there was no response.
    """

    def __init__(self, action: str, code: str, status: int, request_id: str = "") -> None:
        self.action, self.code, self.status = action, code, status
        reason = f"{status} {code}" if status else "no response"
        quoted = f" (request {request_id})" if request_id else ""
        super().__init__(f"Function Compute: {action}: {reason}{quoted}")


class Cloud:
    """One account's Function Compute in one region.

    Args:
        endpoint: URL such as ``https://<account>.<region>.fc.aliyuncs.com``.
        credentials: AccessKey of a deployer.
        ca_bundle: File of the CA certificates to trust; the system's by default.
    """

    def __init__(self, endpoint: str, credentials: Credentials, ca_bundle: str | None = None) -> None:
        logging.getLogger("darabonba-core").setLevel(logging.WARNING)  # DEBUG=sdk would print keys
        scheme, _, host = endpoint.partition("://")
        self._client = Client(
            Config(
                access_key_id=credentials.access_key_id,
                access_key_secret=credentials.access_key_secret,
                security_token=credentials.security_token,
                endpoint=host,
                protocol=scheme.upper(),
                ca=ca_bundle,
                retry_options=RETRIES,
            )
        )
        self._options = RuntimeOptions(
            connect_timeout=TIMEOUT_MILLISECONDS, read_timeout=TIMEOUT_MILLISECONDS
        )

    def function(self, name: str) -> dict[str, Any] | None:
        """Return a function's configuration, without code."""
        return _as_dict(self._get("get_function", name, models.GetFunctionRequest()))

    def triggers(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the triggers of a function by name, each with its `triggerConfig` as an object."""
        triggers = self._pages("list_triggers", name, models.ListTriggersRequest, "triggers")
        try:
            return {
                str(trigger["triggerName"]): trigger
                | {"triggerConfig": json.loads(trigger.get("triggerConfig") or "{}")}
                for trigger in triggers
            }
        except ValueError:
            raise CloudRefused("list_triggers", "triggerConfig is not JSON", 0) from None

    def async_config(self, name: str) -> dict[str, Any] | None:
        """Return the asynchronous configuration of a function."""
        return _as_dict(self._get("get_async_invoke_config", name, models.GetAsyncInvokeConfigRequest()))

    def reserved_concurrency(self, name: str) -> int | None:
        """Return the reserved concurrency of a function."""
        response = self._get("get_concurrency_config", name)
        return response.reserved_concurrency if response else None

    def provision_config(self, name: str) -> dict[str, Any] | None:
        """Return the configuration of the instances that a function keeps warm."""
        request = models.GetProvisionConfigRequest(qualifier=LATEST)
        return _as_dict(self._get("get_provision_config", name, request))

    def scaling_config(self, name: str) -> dict[str, Any] | None:
        """Return the minimum instances of a function, an alternative to `provision_config`."""
        request = models.GetScalingConfigRequest(qualifier=LATEST)
        return _as_dict(self._get("get_scaling_config", name, request))

    def vpc_bindings(self, name: str) -> list[str]:
        """Return the VPCs from which a function may be called, in addition to the internet."""
        response = self._get("list_vpc_bindings", name)
        return list(response.vpc_ids or ()) if response else []

    def delete_provision_config(self, name: str) -> None:
        """Stop keeping instances of a function warm."""
        request = models.DeleteProvisionConfigRequest(qualifier=LATEST)
        self._delete("delete_provision_config", name, request)

    def delete_scaling_config(self, name: str) -> None:
        """Delete the minimum instances of a function."""
        request = models.DeleteScalingConfigRequest(qualifier=LATEST)
        self._delete("delete_scaling_config", name, request)

    def code(self, name: str) -> dict[str, bytes]:
        """Return the files of a function's code by path.

        Raises:
            CloudRefused: the package cannot be downloaded.
        """
        response = self._get("get_function_code", name, models.GetFunctionCodeRequest())
        return _files(response.url) if response else {}

    def layer_versions(self, layer: str) -> list[dict[str, Any]]:
        """Return the versions of a layer, the newest first."""
        versions = list(self._pages("list_layer_versions", layer, models.ListLayerVersionsRequest, "layers"))
        return sorted(versions, key=lambda version: -int(version["version"]))

    def delete_layer_version(self, layer: str, version: int) -> None:
        """Delete a version of a layer; functions that use it keep running."""
        self._delete("delete_layer_version", layer, str(version))

    def functions(self) -> list[dict[str, Any]]:
        """Return every function of the account in this region."""
        functions: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            request = models.ListFunctionsRequest(limit=PAGE, next_token=token)
            response = self._call("list_functions", request)
            functions += [function.to_map() for function in response.functions]
            if not (token := response.next_token):
                return functions

    def publish_version(self, name: str, description: str) -> str:
        """Publish the current state of a function as a version, and return its number."""
        body = models.PublishVersionInput(description=description)
        request = models.PublishFunctionVersionRequest(body=body)
        return str(self._call("publish_function_version", name, request).version_id)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Return the published versions of a function, the newest first."""
        versions = list(
            self._pages("list_function_versions", name, models.ListFunctionVersionsRequest, "versions")
        )
        return sorted(versions, key=lambda version: -int(version["versionId"]))

    def alias(self, name: str, alias: str) -> dict[str, Any] | None:
        """Return an alias of a function."""
        return _as_dict(self._get("get_alias", name, alias))

    def aliases(self, name: str) -> list[dict[str, Any]]:
        """Return the aliases of a function."""
        return list(self._pages("list_aliases", name, models.ListAliasesRequest, "aliases"))

    def move_alias(self, name: str, alias: str, version: str, description: str) -> None:
        """Point an alias to a version, creating it if needed."""
        if self.alias(name, alias) is None:
            creation = models.CreateAliasInput(alias_name=alias, version_id=version, description=description)
            self._call("create_alias", name, models.CreateAliasRequest(body=creation))
        else:
            self.update_alias(name, alias, version, description)

    def update_alias(self, name: str, alias: str, version: str, description: str) -> None:
        """Point an existing alias to a version."""
        body = models.UpdateAliasInput(version_id=version, description=description)
        self._call("update_alias", name, alias, models.UpdateAliasRequest(body=body))

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias; a function with an alias cannot be deleted."""
        self._delete("delete_alias", name, alias)

    def delete_version(self, name: str, version: str) -> None:
        """Delete a published version."""
        self._delete("delete_function_version", name, version)

    def delete_function(self, name: str) -> None:
        """Delete a function, which must no longer have triggers, versions or aliases."""
        self._delete("delete_function", name)

    def delete_trigger(self, name: str, trigger: str) -> None:
        """Delete a trigger."""
        self._delete("delete_trigger", name, trigger)

    def _pages(
        self, action: str, name: str, request: Callable[..., Any], key: str
    ) -> Iterator[dict[str, Any]]:
        options: dict[str, Any] = {"limit": PAGE}
        while response := self._get(action, name, request(**options)):
            yield from (item.to_map() for item in getattr(response, key))
            if token := getattr(response, "next_token", None):
                options = {"limit": PAGE, "next_token": token}
            elif version := getattr(response, "next_version", None):
                options = {"limit": PAGE, "start_version": version}
            else:
                return

    def _delete(self, action: str, *arguments: Any) -> None:
        """Call a delete action; something that does not exist is not an error."""
        self._get(action, *arguments)

    def _get(self, action: str, *arguments: Any) -> Any:
        """Return the SDK's model of the response; None if the object does not exist."""
        try:
            return self._call(action, *arguments)
        except CloudRefused as error:
            if error.status == 404:
                return None
            raise

    def _call(self, action: str, *arguments: Any) -> Any:
        method = getattr(self._client, f"{action}_with_options")
        try:
            response = method(*arguments, {}, self._options)
        except AlibabaCloudException as error:
            code = str(error.code or "").rpartition(".")[2] if error.status_code else ""
            raise CloudRefused(action, code, error.status_code or 0, error.request_id or "") from None
        except Exception as error:  # the SDK raises classes of three packages
            raise CloudRefused(action, type(error).__name__, 0) from None
        body = getattr(response, "body", None)
        if body is None and not action.startswith("delete_"):
            raise CloudRefused(action, "response without an object", 0)
        return body


def _as_dict(response: Any) -> dict[str, Any] | None:
    return None if response is None else dict(response.to_map())


_DOWNLOADS = PoolManager(
    timeout=TIMEOUT_MILLISECONDS / 1000,
    retries=Retry(3, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504)),
)


def _files(url: str) -> dict[str, bytes]:
    if not str(url).startswith(("https://", "http://127.0.0.1:")):
        raise CloudRefused("get_function_code", "URL with an unexpected scheme", 0)
    try:
        with closing(_DOWNLOADS.request("GET", url, preload_content=False)) as response:
            data = response.read(CODE_BYTES)
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            return {name: package.read(name) for name in package.namelist() if not name.endswith("/")}
    except (HTTPError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise CloudRefused("get_function_code", type(error).__name__, 0) from None
