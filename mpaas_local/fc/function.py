"""The configuration of a function, and the environment variables that follow from it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mpaas_local.account import Account

__all__ = ["Function", "environment_of"]

ENVIRONMENT_LIMIT = 4096
"""Maximum size, in bytes, of the names and values of a function's own variables
(fc-runtime.md: Environment variables)."""
EXECUTABLE_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, kw_only=True)
class Function:
    """The configuration of one function.

    Attributes:
        name: Function name, as in `s.yaml`.
        folder: Code package, which replaces `/code`.
        handler: `file.method` (fc-runtime.md: Handler).
        runtime: Determines the `context` and the `FC_*` variables of the function (fc-runtime.md: Context,
            Environment variables), but not the interpreter, which the host chooses.
        timeout: Seconds per call, more than 0, at most 86400.
        memory: In MB; shown to the function, not enforced.
        environment: The function's own variables, at most 4 KB. `FC_*` names are reserved.
        layers: Folders that replace `/opt/python`; the earlier one wins.
        initializer: `file.method` called once per instance before its first call
            (fc-runtime.md: Lifecycle hooks).
        initializer_timeout: Seconds, at most 300.
        prestop: `file.method` called before an idle instance is stopped (fc-runtime.md: Lifecycle hooks).
        prestop_timeout: Seconds, at most 90.
    """

    name: str
    folder: Path
    handler: str = "index.handler"
    runtime: Literal["python3.10", "python3.12"] = "python3.10"
    timeout: float = 60
    memory: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    initializer: str | None = None
    initializer_timeout: float = 30
    prestop: str | None = None
    prestop_timeout: float = 30

    def __post_init__(self) -> None:
        for name, seconds, maximum in (
            ("timeout", self.timeout, 86400),
            ("initializer_timeout", self.initializer_timeout, 300),
            ("prestop_timeout", self.prestop_timeout, 90),
        ):
            if not 0 < seconds <= maximum:
                raise ValueError(
                    f"{self.name}: {name} is {seconds}; must be more than 0 and at most {maximum}"
                )
        if not self.folder.is_dir():
            raise ValueError(f"{self.name}: the code folder {self.folder} does not exist")
        for key in self.environment:
            if key.startswith("FC_"):
                raise ValueError(f"{self.name}: variable {key}: names that start with FC_ are reserved")
        size = sum(len(f"{key}{value}".encode()) for key, value in self.environment.items())
        if size > ENVIRONMENT_LIMIT:
            raise ValueError(
                f"{self.name}: variables have {size} bytes; at most {ENVIRONMENT_LIMIT} are allowed"
            )


def environment_of(function: Function, account: Account) -> dict[str, str]:
    """Return all environment variables of the function; those of this process are not inherited
    (fc-runtime.md: Environment variables).
    """
    versions = (
        {"FC_VER_ID": "LATEST", "FC_QUALIFIER": "LATEST"}
        if function.runtime == "python3.10"
        else {"FC_FUNCTION_VERSION": "LATEST", "FC_CUSTOM_LISTEN_PORT": "9000"}
    )
    credentials = (
        {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": account.credentials.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": account.credentials.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": account.credentials.security_token,
        }
        if account.credentials
        else {}
    )
    return {
        "PATH": EXECUTABLE_PATH,
        "HOME": "/tmp",  # noqa: S108 - the developer's home may hold keys that SDKs read
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **credentials,
        **function.environment,
        "FC_ACCOUNT_ID": account.account_id,
        "FC_FUNC_CODE_PATH": str(function.folder.resolve()),
        "FC_FUNCTION_HANDLER": function.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(function.memory),
        "FC_FUNCTION_NAME": function.name,
        "FC_INSTANCE_ID": f"c-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}",
        "FC_REGION": account.region,
        **versions,
    }
