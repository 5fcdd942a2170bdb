"""Instances that start immediately: a process imports the functions' imports once, then forks for each instance.

For tests of the functions' behaviour. An instance's own imports, and how its process starts and ends, are tested
without forks in `test_layer`, `test_stack` and `test_host`.
"""

from __future__ import annotations

import ast
import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.fc.instance import Process

__all__ = ["start_forked"]

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "mpaas_local" / "fc" / "runtime.py"


def start_forked(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    inherited: Sequence[int],
) -> Process:
    """Start the runtime like `mpaas_local.fc.instance.start_process`, which is used where pidfds are not available."""
    from mpaas_local.fc.instance import start_process

    if not hasattr(os, "pidfd_open") or command[0] != sys.executable:
        return start_process(command, folder, environment, output, inherited)
    return _server().fork(folder, environment, output, inherited)


class Forked:
    """A process that is not a child of this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # It stays a zombie until the server ends, so its number is not reused.
        self._handle = os.pidfd_open(pid)
        self._ended = False

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self) -> int | None:
        return self._wait(None)

    def terminate(self) -> None:
        signal.pidfd_send_signal(self._handle, signal.SIGTERM)

    def _wait(self, milliseconds: int | None) -> int | None:
        if not self._ended:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if not poll.poll(milliseconds):
                return None
            self._ended = True
            os.close(self._handle)
        return 0


class ForkServer:
    """The tests' side of the process that forks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._control, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with remote:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-s", __file__, str(remote.fileno())],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"},
                pass_fds=[remote.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)

    def fork(
        self, folder: Path, environment: Mapping[str, str], output: int, inherited: Sequence[int]
    ) -> Forked:
        request = json.dumps([str(folder), dict(environment)]).encode()
        with self._lock:
            socket.send_fds(self._control, [request], [output, *inherited])
            return Forked(int(self._control.recv(100)))

    def close(self) -> None:
        self._control.close()
        self._process.wait()


_server = cache(ForkServer)


# --- In the process that forks


def serve(control: socket.socket) -> None:
    """Fork for each request until the control socket is closed."""
    import_dependencies_of_functions()
    extend_redis_timeouts()
    runtime = compile(RUNTIME.read_bytes(), RUNTIME, "exec")
    gc.collect()
    gc.freeze()  # so that no fork touches, and thereby copies, shared objects
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            os.setsid()  # before anyone learns its number and kills its group
            control.send(b"%d" % os.getpid())
            control.close()
            become_instance(runtime, *json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def import_dependencies_of_functions() -> None:
    """Import what the functions' modules import at their top, and the SDK that campaigns import when they need it.

    The modules themselves are not imported.
    """
    for path in sorted((ROOT / "functions").glob("*/*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mpaas_push"):
                importlib.import_module(node.module or "")
    importlib.import_module("alibabacloud_oss_v2")
    for node in ast.parse(RUNTIME.read_bytes()).body:
        for name in node.names if isinstance(node, ast.Import) else ():
            importlib.import_module(name.name)


def extend_redis_timeouts() -> None:
    """Keep a busy machine from looking like an outage; a stopped Redis refuses connections immediately."""
    from mpaas_push.campaign import store
    from mpaas_push.ledger import redis_client

    redis_client.TIMEOUT_SECONDS = redis_client.WAIT_SECONDS = store._TIMEOUT_SECONDS = 30.0


def become_instance(
    runtime: object, folder: str, environment: dict[str, str], output: int, channel: int, lifeline: int
) -> NoReturn:
    """Turn this process into what a new process with the runtime would be."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for descriptor in (null, output):
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[:] = [str(RUNTIME), str(channel), str(lifeline)]
    sys.path[0] = str(RUNTIME.parent)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = str(RUNTIME)
    code: object = 1
    try:
        exec(runtime, main.__dict__)  # type: ignore[arg-type]  # it is code
        code = 0
    except SystemExit as error:
        code = error.code or 0
    finally:
        if raised := sys.exc_info()[1]:
            traceback.print_exception(raised)
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
