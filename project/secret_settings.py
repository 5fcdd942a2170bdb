"""Which settings are secret, by their name or value: the one rule of what is masked, compared and checked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["is_secret", "password_in"]

_NAMES = re.compile("ACCESS_KEY|SECRET|PASSWORD|TOKEN|^MPAAS_[AS]K_ENV$|_serverless_devs_key$", re.IGNORECASE)
_ACCESS_KEY_ID = re.compile(r"LTAI\w{8,}")


def is_secret(name: str, value: str = "") -> bool:
    """Return whether a setting is a key, a token, or a URL with a password."""
    return bool(_NAMES.search(name) or _ACCESS_KEY_ID.match(value) or password_in(value))


def password_in(value: str) -> str | None:
    """Return the password in a URL, as written; None if there is none. A malformed URL counts as one."""
    try:
        return urlsplit(value).password or None if "://" in value else None
    except ValueError:
        return value
