"""Decides by name and value which settings are secret; masking, comparing and checking share this rule."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

__all__ = ["MASK", "is_secret", "mask_settings", "may_hold_password", "password_in"]

MASK = "********"
"""The text shown instead of a secret."""

_WORDS = (
    "(?:ACCESS|API|PRIVATE|SIGNING|ENCRYPTION|MASTER)_?KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|TOKEN"
    "|_PWD\\b|_PASS\\b"
)
_NAMES = re.compile(f"{_WORDS}|^MPAAS_[AS]K_ENV$|_serverless_devs_key$", re.IGNORECASE)
_ACCESS_KEY_ID = re.compile(r"\bLTAI\w{8,}")
_URL_NAME = re.compile(r"(?:^|_)(?:URL|URI|DSN)$", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+@")
_QUOTED = r"""(?P<{0}>\\*["']).*?(?<!\\)(?P={0})"""
_NAMED = re.compile(
    rf"""(\b(?:\w*(?:{_WORDS})\w*|MPAAS_[AS]K_ENV)\b(?:\\*["'])?\s*[:=]\s*)"""
    rf"({_QUOTED.format('old')}(?: => {_QUOTED.format('new')})?|\S.*)",
    re.IGNORECASE,
)
"""A setting in YAML, JSON, or JSON within JSON, or its change; a value without quotes ends with its line."""


def is_secret(name: str, value: str = "") -> bool:
    """Return whether a setting is a key, a token, or a URL with a password."""
    return bool(_NAMES.search(name) or _ACCESS_KEY_ID.match(value) or password_in(value))


def password_in(value: str) -> str | None:
    """Return the password in a URL, as written; None if there is none. A malformed URL counts as one."""
    try:
        return urlsplit(value).password or None if "://" in value else None
    except ValueError:
        return value


def may_hold_password(name: str, default: str) -> bool:
    """Return whether a setting is secret, or a URL whose later value may contain a password."""
    return is_secret(name, default) or bool(_URL_NAME.search(name) and not default)


def mask_settings(text: str) -> str:
    """Mask everything in a text that is secret by name or form, not only current settings."""
    text = _NAMED.sub(_masked_value, text)
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", _ACCESS_KEY_ID.sub(MASK, text))


def _masked_value(match: re.Match[str]) -> str:
    return match[1] + " => ".join(MASK for _ in match[2].split(" => "))
