"""One deployment of the project: its stage, descriptor and settings, and clients for the cloud."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mns.account import Account as MnsAccount

from deploy.cloud import Cloud
from deploy.layer import ROOT, runtime_of
from deploy.plan import FunctionPlan, code_files
from deploy.serverless import Serverless
from mpaas_push.errors import Misconfigured
from mpaas_push.settings import Settings, is_loopback
from project.descriptor import DescriptorError, read_functions
from project.env_file import FC_NAME_FAULT, REQUIRED_SETTINGS, deployer_key
from project.stages import missing_settings, name_faults, read_settings, stage_file
from project.triggers import Oss

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from project.function import FunctionProperties

__all__ = ["STAND_IN", "Stage", "read_stage"]

STAND_IN = "DEPLOY_CLOUD"
"""Variable with the address of a local stand-in for the cloud, which then receives all calls."""

TIMEOUT_SECONDS = 10.0
"""Longest wait for the queue service."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One deployment.

    Attributes:
        name: Such as ``staging``.
        folder: The project's folder, or a checkout of another commit.
        env: The settings.
    """

    name: str
    folder: Path
    env: Mapping[str, str]

    @property
    def descriptor(self) -> Path:
        """The descriptor of the stage."""
        return stage_file(self.folder, self.name)

    @property
    def layer(self) -> str:
        """Name of its layer."""
        return f"mpaas-push-{self.name}"

    @property
    def region(self) -> str:
        """Region of the stage."""
        return self.env["ALIBABA_CLOUD_REGION_ID"]

    @cached_property
    def functions(self) -> dict[str, FunctionProperties]:
        """Its functions by resource, in the order of the descriptor.

        Raises:
            DescriptorError: the descriptor is invalid.
        """
        return read_functions(self.descriptor, self.env)

    @cached_property
    def uploads(self) -> list[Oss]:
        """The OSS triggers of its functions.

        Raises:
            DescriptorError: the descriptor is invalid.
        """
        return [
            trigger
            for function in self.functions.values()
            for trigger in function.triggers
            if isinstance(trigger, Oss)
        ]

    @property
    def runtime(self) -> str:
        """The runtime of its functions and its layer.

        Raises:
            DescriptorError: the descriptor is invalid.
            Misconfigured: the functions have different runtimes.
        """
        return runtime_of(self.functions.values())

    def with_layer(self, arn: str) -> Stage:
        """Return the same deployment with a version of the layer."""
        return replace(self, env={**self.env, "MPAAS_LAYER_ARN": arn})

    def layer_arn(self, version: int) -> str:
        """Return the ARN of a version of its layer."""
        account = self.env["ALIBABA_CLOUD_ACCOUNT_ID"]
        return f"acs:fc:{self.region}:{account}:layers/{self.layer}/versions/{version}"

    def plans(self) -> list[FunctionPlan]:
        """Return its functions as the API of the cloud would report them."""
        return [
            FunctionPlan(properties=function, code=code_files(self.folder / function.code))
            for function in self.functions.values()
        ]

    def cloud(self) -> Cloud:
        """Return a client for Function Compute in its account and region.

        Raises:
            Misconfigured: the environment has no deployer's key.
        """
        settings = Settings.from_env(self.env)
        account = self.env["ALIBABA_CLOUD_ACCOUNT_ID"]
        endpoint = self.stand_in or settings.fc_endpoint or f"https://{account}.{self.region}.fc.aliyuncs.com"
        return Cloud(endpoint, deployer_key(self.env), settings.ca_bundle)

    @property
    def stand_in(self) -> str | None:
        """The address of a stand-in for the cloud, if set.

        Raises:
            Misconfigured: the address is not on this machine.
        """
        address = self.env.get(STAND_IN)
        if address and not is_loopback(urlsplit(address).hostname or ""):
            raise Misconfigured(
                f"{STAND_IN} must be an address of this machine, such as http://127.0.0.1:9000"
            )
        return address

    @property
    def queue_endpoint(self) -> str:
        """Endpoint of its queue service."""
        account = self.env["ALIBABA_CLOUD_ACCOUNT_ID"]
        default = f"https://{account}.mns.{self.region}.aliyuncs.com"
        return Settings.from_env(self.env).mns_endpoint or self.stand_in or default

    def queue_service(self) -> MnsAccount:
        """Return a client for the queue service in its account and region.

        Raises:
            Misconfigured: the environment has no deployer's key.
        """
        keys = deployer_key(self.env)
        token = keys.security_token or ""
        mns = MnsAccount(self.queue_endpoint, keys.access_key_id, keys.access_key_secret, token)
        # The SDK sets no timeout for HTTPS; the connection opens at the first request.
        mns.mns_client.http.conn.timeout = mns.mns_client.http.conn.connection_timeout = TIMEOUT_SECONDS
        return mns

    def serverless(self) -> Serverless:
        """Return the command `s` for this deployment.

        Raises:
            CloudRefused: the secrets of the deployed functions, to be masked, cannot be read.
        """
        cloud = self.cloud()
        environments: list[Mapping[str, str]] = []
        for function in self.functions.values():
            deployed = cloud.function(function.function_name) or {}
            environments += [function.environment_variables, deployed.get("environmentVariables") or {}]
        return Serverless(self.descriptor, self.env, environments)

    def setting_faults(self, names: Collection[str] = tuple(REQUIRED_SETTINGS)) -> list[str]:
        """Describe the settings that are missing or invalid, and what to set."""
        faults = [f"{fault.field} {fault.message}" for fault in missing_settings(self.env, self.name, names)]
        if "FC_REGION" in self.env:
            faults.append(f"FC_REGION is set; unset it: {FC_NAME_FAULT}")
        try:
            _ = self.runtime
        except (DescriptorError, Misconfigured) as error:
            faults.append(str(error))
        try:
            Settings.from_env(self.env)
            deployer_key(self.env)
        except Misconfigured as error:
            faults.append(str(error))
        return faults


def read_stage(name: str, folder: Path = ROOT) -> Stage:
    """Read a stage of the project.

    Raises:
        Misconfigured: the stage does not exist, its settings cannot be read, or its settings or descriptor
            name another stage.
    """
    descriptor, env = stage_file(folder, name), read_settings(folder, name, os.environ)
    with suppress(DescriptorError):  # reported by `setting_faults`
        for fault in name_faults(descriptor, env):
            raise Misconfigured(f"{descriptor.name}: {fault}")
    return Stage(name=name, folder=folder, env=env)
