"""The access keys that the local services accept, and the comparison of signatures."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCAL_ACCESS_KEYS",
    "LOCAL_ACCESS_KEY_ID",
    "LOCAL_ACCESS_KEY_SECRET",
    "AccessKey",
    "same_signature",
]

LOCAL_ACCESS_KEY_ID = "local-access-key-id"
LOCAL_ACCESS_KEY_SECRET = "local-access-key-secret"  # noqa: S105 - plainly fake, for loopback only


@dataclass(frozen=True)
class AccessKey:
    """A key of a service; one with a `security_token` is temporary (STS) and requires the token."""

    secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)

    def accepts(self, token: str) -> bool:
        """Whether a request with this token may use the key; a permanent key ignores the token."""
        return self.security_token is None or same_signature(self.security_token, token)


LOCAL_ACCESS_KEYS: Mapping[str, AccessKey] = {LOCAL_ACCESS_KEY_ID: AccessKey(LOCAL_ACCESS_KEY_SECRET)}
"""The default keys of a service."""


def same_signature(expected: str, given: str) -> bool:
    """Whether two signatures or tokens are equal, compared in constant time."""
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (expected, given)))
