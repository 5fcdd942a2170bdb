# A function prints to its log.
"""Handlers that fail in different ways."""

import os
import signal
import subprocess
import sys
import time
from typing import Any, NoReturn


class NoStock(Exception):
    pass


def handler(_event: bytes, _context: Any) -> NoReturn:
    raise NoStock("nothing left, 没有了")


def deeper(event: bytes, context: Any) -> NoReturn:
    handler(event, context)


def leave(_event: bytes, _context: Any) -> NoReturn:
    sys.exit(3)


def vanish(_event: bytes, _context: Any) -> NoReturn:
    print("last words", end="")
    os._exit(7)


def crash(_event: bytes, _context: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def fork_and_crash(_event: bytes, _context: Any) -> None:
    print("child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
    if child := os.fork():
        print("child", child)
        os._exit(1)
    time.sleep(60)


def hang(_event: bytes, _context: Any) -> None:
    time.sleep(60)


def resist(_event: bytes, _context: Any) -> str:
    while True:
        try:
            time.sleep(60)
        except SystemExit:
            print("staying")
