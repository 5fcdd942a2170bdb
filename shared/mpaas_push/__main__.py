"""`python -m mpaas_push`: commands that send and test.

Exit codes: 0 success, 1 failure, 2 usage error, 3 interrupted.
"""

from __future__ import annotations

import sys

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 3
"""Exit code after Ctrl-C, unless the command has its own for what it has done so far."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        # Imported here so that Ctrl-C is also handled while they load.
        from mpaas_push.cli import call, invoke, rules, send
        from mpaas_push.cli.campaign import command as campaign
        from mpaas_push.cli.running import run_command

        return run_command(
            "mpaas_push", "Commands for mPaaS pushes.", (send, campaign, rules, invoke, call), arguments
        )
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
