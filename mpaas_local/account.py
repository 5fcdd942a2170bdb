"""The account of the functions, and the temporary keys of their role."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Account", "LocalCredentials"]


@dataclass(frozen=True)
class LocalCredentials:
    """STS credentials of the function's role; the defaults are valid only on this machine."""

    access_key_id: str = "STS.LocalAccessKeyId"
    access_key_secret: str = field(default="local-access-key-secret", repr=False)
    security_token: str = field(default="local-security-token", repr=False)


@dataclass(frozen=True)
class Account:
    """The owner of the functions. Without credentials, they have no role (fc-runtime.md: Context)."""

    account_id: str = "1000000000000000"
    region: str = "cn-hangzhou"
    credentials: LocalCredentials | None = LocalCredentials()
