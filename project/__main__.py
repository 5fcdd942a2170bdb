"""`python -m project`: checks of this repository and of its deployments.

Exit codes: 0 success, 1 a fault, 2 a usage error.
"""

from __future__ import annotations

import sys

from mpaas_push.cli.running import run_command
from project import cost, new_function, smoke, template, validate


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    return run_command(
        "project",
        "Commands for this repository's descriptors.",
        (validate, template, smoke, new_function, cost),
        arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
