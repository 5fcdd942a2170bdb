"""One instance of a function: a process with the runtime that serves one call at a time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mpaas_local.fc.function import environment_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.account import Account
    from mpaas_local.fc.call import InvocationLog
    from mpaas_local.fc.function import Function

__all__ = ["Instance", "Process", "ProcessStart", "RuntimeReply", "start_process"]

_LENGTHS = struct.Struct("!II")
_RUNTIME = Path(__file__).resolve().parent / "runtime.py"
_READY_SECONDS = 60.0  # an interpreter starts slowly on a busy machine
_CHECK_SECONDS = 0.25  # how often to check that a silent process is alive
_LINE_LIMIT = 128 * 1024


@dataclass(frozen=True)
class RuntimeReply:
    """The response of the runtime, or the reason why there is none."""

    succeeded: bool
    payload: bytes
    duration_ms: float
    stopped: str = ""
    """Why the instance has ended; empty if it has not."""


class Process(Protocol):
    """The process of an instance; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""

    def poll(self) -> int | None:
        """Return None while it runs."""

    def wait(self) -> int | None:
        """Wait until it has ended."""

    def terminate(self) -> None:
        """Send SIGTERM."""


ProcessStart = Callable[["Sequence[str]", Path, "Mapping[str, str]", int, "Sequence[int]"], Process]
"""Starts a process, as `start_process` does."""


def start_process(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    output: int,
    inherited: Sequence[int],
) -> Process:
    """Start a process in a new session.

    Ctrl-C in the terminal then reaches only the host, and killing the process group also kills the processes
    that the function started.

    Args:
        command: The program and its arguments.
        folder: Its working directory.
        environment: All its environment variables.
        output: Descriptor for stdout and stderr.
        inherited: Other descriptors that it inherits.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=inherited,
        start_new_session=True,
    )


class Instance:
    """One process with the runtime. Not thread-safe, except `kill`, `cancel` and `alive`."""

    def __init__(self, function: Function, account: Account, python: str, start: ProcessStart) -> None:
        self.memory_mb = 0.0
        self.request_id = ""
        self.idle_since = 0.0
        self._cancelled = False
        self._received = bytearray()
        self._partial_line = b""
        self._channel, runtime_channel = socket.socketpair()
        logs, runtime_stdout = os.pipe()
        runtime_lifeline, self._lifeline = os.pipe()
        try:
            inherited = (runtime_channel.fileno(), runtime_lifeline)
            command = [python, "-u", "-s", str(_RUNTIME), *map(str, inherited)]
            environment = environment_of(function, account)
            self._process = start(command, function.folder, environment, runtime_stdout, inherited)
        except BaseException:
            self._channel.close()
            os.close(logs)
            os.close(self._lifeline)
            raise
        finally:
            runtime_channel.close()
            os.close(runtime_stdout)
            os.close(runtime_lifeline)
        os.set_blocking(logs, False)
        self._logs = logs
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(self._logs, selectors.EVENT_READ)
        self._setup = {
            "code": str(function.folder.resolve()),
            "layers": [str(layer.resolve()) for layer in function.layers],
        }

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def cancel(self) -> None:
        """Kill the process because the client of its call has disconnected."""
        self._cancelled = True
        self.kill()

    def kill(self) -> None:
        """Kill the process and all processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def start(self, log: InvocationLog) -> RuntimeReply:
        """Wait until the runtime is ready."""
        return self._exchange(self._setup, b"", _READY_SECONDS, log, 0.0)

    def call(
        self, description: dict[str, Any], event: bytes, seconds: float, log: InvocationLog, grace: float
    ) -> RuntimeReply:
        """Make one call; after `seconds` without a result, the process has `grace` seconds to exit."""
        return self._exchange(description, event, seconds, log, grace)

    def _exchange(
        self, meta: dict[str, Any], payload: bytes, seconds: float, log: InvocationLog, grace: float
    ) -> RuntimeReply:
        started_at = time.monotonic()
        try:
            self._send(meta, payload, seconds)
            reply, body = self._receive(started_at + seconds, log)
            self.drain(log)
        except TimeoutError:
            self._terminate(log, grace)
            reason = f"Function timed out after {seconds:g} seconds"
            return self._stopped(reason, started_at, f"(maxMemoryUsage: {self._memory_text})")
        except EOFError:
            reason = "Process exited unexpectedly before completing request"
            if self._cancelled:
                reason = "Invocation canceled by client"
            return self._stopped(reason, started_at, None)
        finally:
            self._measure()
        return RuntimeReply(reply.get("succeeded", True), body, _milliseconds(started_at))

    def _stopped(self, reason: str, started_at: float, detail: str | None) -> RuntimeReply:
        duration = _milliseconds(started_at)
        usage = f"(duration: {duration:.0f}ms, maxMemoryUsage: {self._memory_text})"
        message = json.dumps({"errorMessage": f"{reason} {detail or usage}"}, separators=(",", ":"))
        return RuntimeReply(
            succeeded=False, payload=message.encode(), duration_ms=duration, stopped=f"{reason} {usage}"
        )

    def _send(self, meta: dict[str, Any], payload: bytes, seconds: float) -> None:
        head = json.dumps(meta).encode()
        self._channel.settimeout(seconds)
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # the next read raises EOFError
            self._channel.sendall(_LENGTHS.pack(len(head), len(payload)) + head + payload)

    def _receive(self, deadline: float, log: InvocationLog) -> tuple[dict[str, Any], bytes]:
        """Read a response, and meanwhile log lines; EOFError if the process has ended."""
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            ready = self._selector.select(min(remaining, _CHECK_SECONDS))
            for key, _ in ready:
                if key.fd == self._logs:
                    self.drain(log)
                elif frame := self._read_frame():
                    return frame
            if not ready:
                self._measure()
                if not self.alive:  # even if a child process keeps the channel open
                    raise EOFError

    def _read_frame(self) -> tuple[dict[str, Any], bytes] | None:
        chunk = b""
        with contextlib.suppress(ConnectionError):
            chunk = self._channel.recv(1 << 20)
        if not chunk:
            raise EOFError
        received = self._received
        received += chunk
        if len(received) < _LENGTHS.size:
            return None
        meta_length, payload_length = _LENGTHS.unpack_from(received)
        start = _LENGTHS.size + meta_length
        if len(received) < start + payload_length:
            return None
        meta, payload = json.loads(received[_LENGTHS.size : start]), bytes(received[start:])
        received.clear()
        return meta, payload

    def drain(self, log: InvocationLog) -> None:
        """Forward the log lines written so far. A call's log lines are written before its response."""
        while True:
            try:
                chunk = os.read(self._logs, 1 << 16)
            except BlockingIOError:
                return
            if not chunk:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(self._logs)
                return
            *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
            if len(self._partial_line) > _LINE_LIMIT:
                lines.append(self._partial_line)
                self._partial_line = b""
            for line in lines:
                log.line(line.decode(errors="replace"))

    def _terminate(self, log: InvocationLog, grace: float) -> None:
        """Terminate the process, and meanwhile read its log (fc-runtime.md: Instances)."""
        if self.alive:
            self._process.terminate()
        deadline = time.monotonic() + grace
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
            self.drain(log)
        self.kill()
        self._process.wait()

    def destroy(self, log: InvocationLog) -> None:
        """Kill the process and all processes that it started, and forward its last log lines."""
        self.kill()
        self._process.wait()
        try:
            self.drain(log)
            if self._partial_line:
                log.line(self._partial_line.decode(errors="replace"))
        finally:
            self._selector.close()
            self._channel.close()
            os.close(self._logs)
            os.close(self._lifeline)

    def _measure(self) -> None:
        """Read the peak memory of the process; rusage would include the host's, from before exec."""
        with contextlib.suppress(OSError), Path(f"/proc/{self.pid}/status").open() as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    self.memory_mb = int(line.split()[1]) / 1024

    @property
    def _memory_text(self) -> str:
        return f"{self.memory_mb:.2f}MB" if self.memory_mb else "0MB"


def _milliseconds(started_at: float) -> float:
    return (time.monotonic() - started_at) * 1000
