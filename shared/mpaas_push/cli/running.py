"""Runs the command that the arguments name: arguments enter, the exit code leaves."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Protocol

from mpaas_push.errors import PushError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Command", "run_command"]


class Command(Protocol):
    """A module with one command."""

    def add_to(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser], /) -> None:
        """Add the command's parser, whose default ``run`` accepts the options and returns the exit code."""


def run_command(
    package: str, description: str, commands: Sequence[Command], arguments: list[str] | None
) -> int:
    """Run the command that the arguments name and return its exit code.

    Args:
        package: The package for ``python -m``.
        description: The first line of the help.
        commands: The available commands.
        arguments: None for those of the process.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=description)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in commands:
        command.add_to(subparsers)
    options = parser.parse_args(arguments)
    logging.getLogger("mpaas_push").addHandler(logging.NullHandler())  # commands print their own errors
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PushError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return code
