"""What the commands read: files, rules, settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_push.errors import Misconfigured
from mpaas_push.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["read_input", "rules_files", "settings_or_stand_ins"]


def rules_files(folder: Path) -> Sequence[Path]:
    """Return the files of rules of all functions."""
    return sorted(folder.glob("functions/*/rules.yaml"))


def read_input(file: str) -> bytes:
    """Return what a file holds, or standard input for ``-``.

    Raises:
        Misconfigured: the file cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from None


def settings_or_stand_ins(env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment; app and workspace are made up where it names none.

    Args:
        env: By default the process's own.

    Raises:
        Misconfigured: a variable of the environment holds what it may not.
    """
    settings = Settings.from_env(env)
    named = {"app_id": settings.app_id or "your-app-id", "workspace_id": settings.workspace_id or "default"}
    return settings.model_copy(update=named)
