"""What is configured of a function, and the environment that follows from it."""

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
"""Bytes of keys and values that a function's own variables may take
(fc-runtime.md: Environment variables)."""
EXECUTABLE_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Function:
    """What is configured of one function on FC.

    Attributes:
        name: Function name, as in `s.yaml`.
        folder: Code package; stands for `/code`.
        handler: `file.method` (fc-runtime.md: Handler).
        runtime: Which `context` and `FC_*` variables the function sees (fc-runtime.md: Context, Environment
            variables). The interpreter is this one, whatever is said here, unless the host is given another.
        timeout: Seconds per call, more than 0, at most 86400.
        memory: MB; told to the function, not enforced.
        environment: The function's own variables. `FC_*` is reserved; 4 KB in all.
        layers: Folders that stand for `/opt/python`; the earlier one wins.
        initializer: `file.method` called once per instance before its first call
            (fc-runtime.md: Lifecycle hooks).
        initializer_timeout: Seconds, at most 300.
        prestop: `file.method` called before an instance is stopped on purpose
            (fc-runtime.md: Lifecycle hooks).
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
        for name, seconds, most in (
            ("timeout", self.timeout, 86400),
            ("initializer_timeout", self.initializer_timeout, 300),
            ("prestop_timeout", self.prestop_timeout, 90),
        ):
            if not 0 < seconds <= most:
                raise ValueError(f"{self.name}: {name} is {seconds}; more than 0 and at most {most} seconds")
        if not self.folder.is_dir():
            raise ValueError(f"{self.name}: no code folder {self.folder}")
        for key in self.environment:
            if key.startswith("FC_"):
                raise ValueError(f"{self.name}: variable {key}: names that start with FC_ are the platform's")
        size = sum(len(f"{key}{value}".encode()) for key, value in self.environment.items())
        if size > ENVIRONMENT_LIMIT:
            raise ValueError(f"{self.name}: variables take {size} bytes, at most {ENVIRONMENT_LIMIT}")


def environment_of(function: Function, account: Account) -> dict[str, str]:
    """List all that the function finds in its environment (fc-runtime.md: Environment variables); nothing of
    this process is in it.
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
        "HOME": "/tmp",  # noqa: S108  not the developer's, where SDKs look for keys
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
