"""Which Host headers name this machine: what else comes was sent by a page that rebinds DNS."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_own_host"]

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def is_own_host(host: str) -> bool:
    """Say whether a Host header, with or without a port, is one of this machine's own names."""
    try:
        return urlsplit(f"//{host}").hostname in _NAMES
    except ValueError:
        return False
