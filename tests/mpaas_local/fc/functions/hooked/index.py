"""A function with lifecycle hooks; each adds a line to the file that the variable EVENTS names."""

import os
import sys
from pathlib import Path
from typing import Any


def note(text: str) -> None:
    with Path(os.environ["EVENTS"]).open("a") as events:
        print(text, file=events)


def initialize(context: Any) -> None:
    note(f"initialize {context.function.name}")


def fail_to_initialize(_context: Any) -> None:
    note("fail")
    raise RuntimeError("no database")


def exit_in_initialize(_context: Any) -> None:
    sys.exit(1)


def pre_stop(_context: Any) -> None:
    note("preStop")


def handler(_event: bytes, _context: Any) -> str:
    note("call")
    return "ok"
