"""`python -m mpaas_local.tick NAME`: fire a timer of the running stack now."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import quote

import urllib3

from mpaas_local.ports import Ports


def main() -> int:
    """Fire the timer and print the response; returns 0 if it fired, 1 if not, 2 if no stack is running."""
    parser = argparse.ArgumentParser(prog="python -m mpaas_local.tick", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="name of the trigger, such as morning, or function/name")
    parser.add_argument(
        "--events", default=f"http://127.0.0.1:{Ports.events}", help="URL of the stack's events port"
    )
    options = parser.parse_args()
    url = f"{options.events}/ticks/{quote(options.name)}"
    try:
        response = urllib3.request("POST", url, retries=False, timeout=60)
    except urllib3.exceptions.HTTPError as error:
        print(
            f"no response from {options.events} ({type(error).__name__}): is `make run` running?",
            file=sys.stderr,
        )
        return 2
    print(response.data.decode(errors="replace"))
    return 1 if response.status >= 400 else 0


if __name__ == "__main__":
    sys.exit(main())
