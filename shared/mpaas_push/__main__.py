"""`python -m mpaas_push`: commands that send and test. Exit codes: 0 success, 1 failure, 2 usage error."""

from __future__ import annotations

import sys

from mpaas_push.cli import call, invoke, rules, send
from mpaas_push.cli.campaign import command as campaign
from mpaas_push.cli.running import run_command


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_command(
        "mpaas_push", "Commands for mPaaS pushes.", (send, campaign, rules, invoke, call), arguments
    )


if __name__ == "__main__":
    sys.exit(main())
