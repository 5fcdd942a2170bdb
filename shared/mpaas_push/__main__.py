"""`python -m mpaas_push`: the operator's commands. Exit codes: 0 well, 1 a fault, 2 wrongly called."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from mpaas_push.cli import invoke, rules, send, smoke, validate
from mpaas_push.errors import PushError

COMMANDS = (send, rules, validate, invoke, smoke)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mpaas_push", description="Commands around mPaaS pushes.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(subparsers)
    options = parser.parse_args(arguments)
    logging.getLogger("mpaas_push").addHandler(logging.NullHandler())  # commands say it themselves
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output has gone, as `head` does; nothing more is to be written, not even at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PushError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is a command
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
