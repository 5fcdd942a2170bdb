"""Inputs of the commands: files, rules, settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push.errors import Misconfigured
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["read_input", "rules_files", "settings_with_placeholders"]


def rules_files(folder: Path) -> Sequence[Path]:
    """Return the rule files of all functions."""
    return sorted(folder.glob("functions/*/rules.yaml"))


def read_input(file: str) -> bytes:
    """Return the content of a file, or standard input for ``-``.

    Raises:
        Misconfigured: the file cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from None


def settings_with_placeholders(env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, with placeholders for a missing app id and workspace.

    Args:
        env: By default that of the process.

    Raises:
        Misconfigured: an environment variable is invalid.
    """
    settings = Settings.from_env(env)
    ids = {"app_id": settings.app_id or "your-app-id", "workspace_id": settings.workspace_id or "default"}
    return settings.model_copy(update=ids)
