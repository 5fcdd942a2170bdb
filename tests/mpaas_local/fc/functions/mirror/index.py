# A function prints to its log.
"""Handlers that return their event, context and environment."""

import datetime as dt  # for `evaluate`
import decimal  # for `evaluate`
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

STARTED = time.time()
calls = 0


class Money:
    def to_json(self) -> str:
        return "12.50 CNY"


def handler(event: bytes, _context: Any) -> bytes:
    return event


def kind_of_event(event: bytes, _context: Any) -> str:
    return type(event).__name__


def evaluate(event: bytes, _context: Any) -> Any:
    return eval(event)


def circle(_event: bytes, _context: Any) -> Any:
    ring: list[Any] = []
    ring.append(ring)
    return ring


def attributes(_event: bytes, context: Any) -> str:
    def plain(value: Any) -> Any:
        return (
            {key: plain(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value
        )

    values = {key: plain(value) for key, value in vars(context).items() if key != "logger"}
    values["logger"] = type(context.logger).__name__
    return json.dumps(values)


def context_as_json(_event: bytes, context: Any) -> Any:
    return context.to_json()


def surroundings(_event: bytes, _context: Any) -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "path": sys.path,
        "argv": sys.argv,
        "folder": os.getcwd(),
        "threads": [thread.name for thread in threading.enumerate()],
    }


def which_module(event: bytes, _context: Any) -> str:
    return str(__import__(event.decode()).__file__)


def count(_event: bytes, _context: Any) -> dict[str, Any]:
    global calls
    calls += 1
    return {"calls": calls, "process": os.getpid()}


def sleep(event: bytes, _context: Any) -> dict[str, float]:
    start = time.time()
    time.sleep(float(event))
    return {"start": start, "end": time.time(), "process": os.getpid()}


def wait_for_file(event: bytes, _context: Any) -> dict[str, int]:
    deadline = time.monotonic() + 60
    while not Path(event.decode()).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"process": os.getpid()}


def meet(event: bytes, _context: Any) -> dict[str, int]:
    """Leave a file in a folder and wait for that of a second instance."""
    folder = Path(event.decode())
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"met": len(list(folder.iterdir()))}


def talk(_event: bytes, _context: Any) -> None:
    print("printed")
    print("to stderr", file=sys.stderr)
    os.write(1, b"written to the descriptor\n")
    logging.getLogger().debug("not shown")
    logging.getLogger("mine").info("logged %s", "你好")
    sys.stdout.write("without an end")


def talk_much(_event: bytes, _context: Any) -> str:
    for number in range(5000):
        print(f"{number:05d} " + "x" * 60)
    return "done"
