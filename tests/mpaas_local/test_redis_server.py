"""The local stack's Redis, which lives exactly as long as the process that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from mpaas_local import redis_server
from mpaas_local.redis_server import RedisServer, redis_executable
from mpaas_local.server import NotStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import signal, sys
from pathlib import Path
from mpaas_local.redis_server import RedisServer
signal.signal(signal.SIGINT, signal.SIG_IGN)
with RedisServer(Path(sys.argv[1])) as server:
    print(server.port, server.pid, flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(redis_executable() is None, reason="neither Redis nor Valkey is installed")


@contextmanager
def owner(folder: Path) -> Iterator[tuple[subprocess.Popen[str], redis.Redis]]:
    """Yield a process that has started a server, in its own process group, and a client of the server."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    port, pid = map(int, process.stdout.readline().split())
    try:
        with redis.Redis(port=port) as client, process:
            yield process, client
            process.kill()
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_redis_ends_with_its_killed_process_and_the_next_one_has_its_data(tmp_path: Path) -> None:
    with owner(tmp_path) as (process, client):
        port = client.connection_pool.connection_kwargs["port"]
        client.set("campaign", "double11")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            process.kill()
            process.wait()
            # Check the connection, not the port: another process may use the port by now.
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""

        with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as reopened:
            assert reopened.get("campaign") == b"double11"


def test_interrupt_of_the_terminal_does_not_reach_redis(tmp_path: Path) -> None:
    with owner(tmp_path) as (process, client):
        os.killpg(process.pid, signal.SIGINT)

        assert client.set("campaign", "double11")
        assert client.get("campaign") == b"double11"


def test_two_servers_never_use_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer(tmp_path):
        monkeypatch.setattr(redis_server, "START_SECONDS", 0.1)
        with pytest.raises(NotStarted, match="another Redis uses the files in"), RedisServer(tmp_path):
            pass


def test_redis_that_exits_immediately_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "redis_executable", lambda: "/bin/false")
    with pytest.raises(NotStarted, match="/bin/false did not start"), RedisServer(tmp_path):
        pass
