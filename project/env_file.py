"""`.env`: the settings of a deployment, one `NAME=value` per line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from mpaas_push.credentials import Credentials
from mpaas_push.errors import Fault, Misconfigured
from mpaas_push.settings import Settings
from project.secret_settings import is_secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["ACCOUNT_SETTINGS", "FC_NAME_FAULT", "REQUIRED_SETTINGS", "deployer_key", "env_faults", "read_env"]

REQUIRED_SETTINGS = {
    "ALIBABA_CLOUD_ACCOUNT_ID": (r"[0-9]{10,20}", "the number of your account"),
    "ALIBABA_CLOUD_REGION_ID": (r"[a-z]+(-[a-z0-9]+)+", "a region such as cn-hangzhou"),
    "MPAAS_APP_ID": (r"(?!unset$)[A-Za-z0-9_-]+", "the app id that the mPaaS console shows"),
    "UPLOADS_BUCKET": (r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "an OSS bucket of this region"),
}
"""Settings that a deployment requires, each with its pattern and a description."""

ACCOUNT_SETTINGS = ("ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID")
"""The settings that identify a deployment; only deploying requires the others."""

DEPLOYER_KEY_VARIABLES = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
)
"""Shell variables that hold the deployer's key."""

FC_NAME_FAULT = (
    "names that start with FC_ are reserved by Function Compute; with FC_REGION set, `s` acts as if it ran in"
    " a function and uploads to an internal address; set ALIBABA_CLOUD_REGION_ID instead"
)
"""The fault of a variable whose name starts with `FC_` (https://github.com/devsapp/fc3/issues/59)."""

_COMMAND_SETTINGS = {"PUSH_FC_ENDPOINT", "PUSH_MNS_ENDPOINT"}
"""Settings that only commands read, such as `smoke` and `deploy`."""


def read_env(file: Path) -> dict[str, str]:
    """Return the settings of a file, empty ones too; an empty map if the file does not exist.

    Raises:
        Misconfigured: the file is not UTF-8.
    """
    lines = _lines(file) if file.is_file() else []
    pairs = [line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {name.strip(): value.strip() for name, _, value in pairs}


def deployer_key(env: Mapping[str, str]) -> Credentials:
    """Return the deployer's key; ``MPAAS_AK_ENV`` in the same shell is for the functions.

    Raises:
        Misconfigured: no key is set, or only half of one.
    """
    keys = {name: env[name] for name in DEPLOYER_KEY_VARIABLES if env.get(name)}
    if not keys:
        key_id, secret, _ = DEPLOYER_KEY_VARIABLES
        raise Misconfigured(f"the deployer's AccessKey is missing: set {key_id} and {secret}", setting=key_id)
    return Credentials.resolve(env=keys)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8-sig").splitlines()  # Windows editors write a BOM
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file.name} cannot be read: byte {error.start} is not UTF-8") from None


def env_faults(file: Path, known: Collection[str]) -> Iterator[Fault]:
    """Yield the faults of a settings file.

    Args:
        file: The file.
        known: Names that the descriptors read.
    """
    yield from _malformed_lines(_lines(file))
    settings = {name: value for name, value in read_env(file).items() if value}
    names = {*known, *REQUIRED_SETTINGS, *_COMMAND_SETTINGS}
    for name, value in settings.items():
        if name.startswith("FC_"):
            yield Fault(name, FC_NAME_FAULT)
        elif is_secret(name):
            yield Fault(
                name,
                "must not be in a file: set a deployer's keys in the shell; the functions use their role's",
            )
        elif name in Settings.variables().keys() - names:
            yield Fault(name, "is not read by any descriptor: add it to environmentVariables in s.yaml")
        elif name not in names:
            near = get_close_matches(name, names, 1)
            yield Fault(name, f"is not a setting{f'; did you mean {near[0]}?' if near else ''}")
        elif re.search(r"""["']|\s#""", value):
            yield Fault(name, "must be the plain value: quotes and comments would become part of it")
    yield from settings_faults(settings)


def _malformed_lines(lines: Iterable[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        name, sign, _ = line.partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not sign:
            yield Fault(f"line {number}", "must be NAME=value")
        elif name.strip() in seen:
            yield Fault(f"line {number}", f"{name.strip()} is a duplicate")
        seen.add(name.strip())


def settings_faults(variables: dict[str, str]) -> Iterator[Fault]:
    """Yield the faults of the functions' settings among variables."""
    for name in variables.keys() & Settings.variables().keys():
        try:
            Settings.from_env({name: variables[name]})
        except Misconfigured as error:
            yield Fault(name, str(error).removeprefix(f"{name}: "))
