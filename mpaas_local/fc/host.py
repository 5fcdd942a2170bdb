"""Function Compute for one function on this machine: events enter, results leave.

A `FunctionHost` keeps instances of a function. Each is a process of its own running
`mpaas_local/fc/runtime.py`, so that a timeout, an exit or a crash is real and no variable of this process
reaches the function. An instance takes one call at a time; more calls make more instances, up to a limit;
idle instances are used again, the most recently used first (fc-runtime.md: Instances). Unlike on FC, an idle
instance is not frozen: its threads go on, and what they print appears before the instance's next call.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LogSink = Callable[[str, str, str], None]
"""Takes each log line as it comes: function name, request id, line without its end. Called on the thread that
waits for the call."""

CallSink = Callable[[str, bytes, "Result"], None]
"""Takes each call when it has ended: function name, event, result. Called on the thread that made it."""

LOG_TAIL_LIMIT = 4096
"""Bytes of log that a result carries (fc-runtime.md: Logging)."""
ENVIRONMENT_LIMIT = 4096
"""Bytes of keys and values that a function's own variables may take
(fc-runtime.md: Environment variables)."""
EXECUTABLE_PATH = "/usr/local/bin:/usr/bin:/bin"

_LENGTHS = struct.Struct("!II")
_RUNTIME = Path(__file__).resolve().parent / "runtime.py"
_MARKERS = {"invoke": "Invoke", "initialize": "Initialize", "prestop": "PreStop"}
_READY_SECONDS = 60.0  # for an interpreter to start on a busy machine
_CHECK_SECONDS = 0.25  # between looks whether a silent process still lives
_LINE_LIMIT = 128 * 1024


@dataclass(frozen=True)
class Function:
    """What is configured of one function on FC.

    Attributes:
        name: Function name, as in `s.yaml`.
        folder: Code package; stands for `/code`.
        handler: `file.method` (fc-runtime.md: Handler).
        runtime: Which `context` and `FC_*` variables the function sees (fc-runtime.md: Context, Environment
            variables). The interpreter is this one, whatever is said here, unless the host is given another.
        timeout: Seconds per call, more than 0, at most 86400.
        memory: MB; told to the function, not enforced.
        environment: The function's own variables. `FC_*` is reserved; 4 KB in all.
        layers: Folders that stand for `/opt/python`; the earlier one wins.
        initializer: `file.method` called once per instance before its first call
            (fc-runtime.md: Lifecycle hooks).
        initializer_timeout: Seconds, at most 300.
        prestop: `file.method` called before an instance is stopped on purpose
            (fc-runtime.md: Lifecycle hooks).
        prestop_timeout: Seconds, at most 90.
    """

    name: str
    folder: Path
    handler: str = "index.handler"
    runtime: Literal["python3.10", "python3.12"] = "python3.10"
    timeout: float = 60
    memory: int = 512
    environment: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    initializer: str | None = None
    initializer_timeout: float = 30
    prestop: str | None = None
    prestop_timeout: float = 30

    def __post_init__(self) -> None:
        for name, seconds, most in (
            ("timeout", self.timeout, 86400),
            ("initializer_timeout", self.initializer_timeout, 300),
            ("prestop_timeout", self.prestop_timeout, 90),
        ):
            if not 0 < seconds <= most:
                raise ValueError(f"{self.name}: {name} is {seconds}; more than 0 and at most {most} seconds")
        if not self.folder.is_dir():
            raise ValueError(f"{self.name}: no code folder {self.folder}")
        for key in self.environment:
            if key.startswith("FC_"):
                raise ValueError(f"{self.name}: variable {key}: names that start with FC_ are the platform's")
        size = sum(len(f"{key}{value}".encode()) for key, value in self.environment.items())
        if size > ENVIRONMENT_LIMIT:
            raise ValueError(f"{self.name}: variables take {size} bytes, at most {ENVIRONMENT_LIMIT}")


@dataclass(frozen=True)
class Credentials:
    """STS credentials of the function's role; the defaults open nothing."""

    access_key_id: str = "STS.LocalAccessKeyId"
    access_key_secret: str = field(default="local-access-key-secret", repr=False)
    security_token: str = field(default="local-security-token", repr=False)


@dataclass(frozen=True)
class Account:
    """In whose name the function runs. Without credentials it has no role (fc-runtime.md: Context)."""

    account_id: str = "1000000000000000"
    region: str = "cn-hangzhou"
    credentials: Credentials | None = Credentials()


@dataclass(frozen=True)
class Result:
    """What the Invoke API tells of one call.

    Attributes:
        payload: What the handler returned, serialised (fc-runtime.md: Return value), or the error JSON
            (fc-runtime.md: Error semantics).
        error_type: Value of `X-Fc-Error-Type`: `UnhandledInvocationError`, `InitializationError`; None if all
            went well.
        request_id: The call's id.
        duration_ms: Milliseconds in the handler, import at the first call included, start of the process not.
        max_memory_mb: Largest resident size of the instance so far; 0 where the system does not tell.
        log_tail: Last 4 KB of the call's log.
        cold: The instance was made for this call.
    """

    payload: bytes
    error_type: str | None
    request_id: str
    duration_ms: float
    max_memory_mb: float
    log_tail: str
    cold: bool


class Throttled(Exception):
    """All instances that the function may have are busy; the call was not made."""

    def __init__(self, function: str, limit: int) -> None:
        super().__init__(f"{function}: all {limit} instances are busy; try again, or raise the host's limit")
        self.function = function
        self.limit = limit


class HostClosed(Exception):
    """The host has been closed and takes no calls."""


class FunctionHost:
    """Instances of one function. Safe under threads; close it, or use it as a context manager.

    Args:
        function: What to host.
        account: Account, region and credentials that the function sees.
        limit: Most instances at a time (FC: reservedConcurrency, with one call per instance).
        idle_seconds: Stop an instance that was idle for so long; None keeps it until `close`.
        on_log: Takes the log lines.
        on_call: Takes the calls.
        python: Interpreter of the instances; its installed packages are seen by the function.
        grace_seconds: From SIGTERM after a timeout to SIGKILL.
    """

    def __init__(
        self,
        function: Function,
        *,
        account: Account | None = None,
        limit: int = 10,
        idle_seconds: float | None = None,
        on_log: LogSink | None = None,
        on_call: CallSink | None = None,
        python: str = sys.executable,
        grace_seconds: float = 1.0,
    ) -> None:
        self.function = function
        self.account = account or Account()
        self.limit = limit
        self._idle_seconds = idle_seconds
        self._on_log = on_log or _discard_line
        self._on_call = on_call or _discard_call
        self._python = python
        self._grace_seconds = grace_seconds
        self._changed = threading.Condition()
        self._live: set[_Instance] = set()
        self._serving: dict[str, _Instance] = {}
        self._idle: list[_Instance] = []
        self._expiry: threading.Timer | None = None
        self._closed = False

    def __enter__(self) -> FunctionHost:  # noqa: PYI034  Self needs 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invoke(
        self,
        event: bytes,
        *,
        request_id: str | None = None,
        retry_count: int = 0,
        credentials: Credentials | None = None,
    ) -> Result:
        """Call the handler and wait for its result; a failure of the function is a result, too.

        Args:
            event: Payload, handed over as it is.
            request_id: Id of the call; made up if None.
            retry_count: How often the platform has tried this event before.
            credentials: In the context instead of the account's, as FC renews them between calls.

        Raises:
            Throttled: the limit of instances is reached.
            HostClosed: the host has been closed.
        """
        call = self._describe(request_id or new_request_id(), retry_count, credentials)
        instance, cold = self._take()
        log = _Log(self.function.name, call["request_id"], self._on_log)
        usable = False
        with self._changed:
            self._serving[call["request_id"]] = instance
        try:
            usable, kind, answer = self._run(instance, call, event, log, cold=cold)
        finally:
            with self._changed:
                self._serving.pop(call["request_id"], None)
            if usable:
                self._give_back(instance)
            else:
                self._discard(instance, log)
        if answer.stopped:
            log.line(f"FC {_MARKERS[kind]} End RequestId: {call['request_id']}, Error: {answer.stopped}")
        error_type = "InitializationError" if kind == "initialize" else "UnhandledInvocationError"
        result = Result(
            payload=answer.payload,
            error_type=None if answer.succeeded else error_type,
            request_id=call["request_id"],
            duration_ms=answer.duration_ms,
            max_memory_mb=instance.memory_mb,
            log_tail=log.tail,
            cold=cold,
        )
        self._on_call(self.function.name, event, result)
        return result

    def cancel(self, request_id: str) -> bool:
        """End a call under way with its instance, as FC does when the client of a call has gone
        (fc-runtime.md: Instances).

        The call ends with an error; the next one gets another instance.

        Returns:
            Whether there was such a call.
        """
        with self._changed:
            instance = self._serving.get(request_id)
            if instance:
                instance.cancel()
        return instance is not None

    @property
    def processes(self) -> tuple[int, ...]:
        """Process ids of the instances."""
        with self._changed:
            return tuple(instance.pid for instance in self._live)

    def kill(self) -> None:
        """End all instances at once, as a failing machine does. The next call gets a new one."""
        with self._changed:
            idle, self._idle = self._idle, []
            for instance in self._live:
                instance.kill()
        for instance in idle:
            self._discard(instance, self._log_of(instance))

    def close(self) -> None:
        """Stop idle instances with their prestop hook, busy ones without; returns when all are gone."""
        with self._changed:
            self._closed = True
            if self._expiry:
                self._expiry.cancel()
            idle, self._idle = self._idle, []
            for instance in self._live - set(idle):
                instance.kill()  # its call ends with an error and removes it
        with contextlib.ExitStack() as all_of_them:
            for instance in idle:
                all_of_them.callback(self._retire, instance)
        with self._changed:
            self._changed.wait_for(lambda: not self._live, timeout=10)

    def _describe(self, request_id: str, retry_count: int, credentials: Credentials | None) -> dict[str, Any]:
        shown = credentials or self.account.credentials or Credentials("", "", "")
        return {
            "request_id": request_id,
            "retry_count": retry_count,
            "credentials": [shown.access_key_id, shown.access_key_secret, shown.security_token],
            "account_id": self.account.account_id,
            "region": self.account.region,
            "runtime": self.function.runtime,
            "name": self.function.name,
            "memory": self.function.memory,
            "timeout": int(self.function.timeout) if self.function.timeout >= 1 else self.function.timeout,
        }

    def _take(self) -> tuple[_Instance, bool]:
        """Give an instance to one caller, and whether it is new."""
        dead = []
        try:
            with self._changed:
                if self._closed:
                    raise HostClosed(f"{self.function.name}: the host is closed")
                while self._idle:
                    instance = self._idle.pop()
                    if instance.alive:
                        return instance, False
                    self._live.discard(instance)
                    dead.append(instance)
                if len(self._live) >= self.limit:
                    raise Throttled(self.function.name, self.limit)
                instance = _Instance(self.function, self.account, self._python)
                self._live.add(instance)
                return instance, True
        finally:
            for gone in dead:
                gone.destroy(self._log_of(gone))

    def _run(
        self, instance: _Instance, call: dict[str, Any], event: bytes, log: _Log, *, cold: bool
    ) -> tuple[bool, str, _Answer]:
        """Make one call; says if the instance can take another, and what kind of call the answer is of."""
        function = self.function
        if cold:
            started = instance.start(log)
            if started.stopped:
                return False, "invoke", started
            if function.initializer:
                hook = {**call, "kind": "initialize", "handler": function.initializer}
                answer = instance.ask(hook, b"", function.initializer_timeout, log, self._grace_seconds)
                if not answer.succeeded:
                    return False, "initialize", answer
        else:
            instance.drain(self._log_of(instance))
        instance.request_id = call["request_id"]
        call = {**call, "kind": "invoke", "handler": function.handler}
        answer = instance.ask(call, event, function.timeout, log, self._grace_seconds)
        return not answer.stopped, "invoke", answer

    def _give_back(self, instance: _Instance) -> None:
        with self._changed:
            if not self._closed:
                instance.idle_since = time.monotonic()
                self._idle.append(instance)
                self._await_expiry()
                return
        self._retire(instance)

    def _discard(self, instance: _Instance, log: _Log) -> None:
        try:
            instance.destroy(log)
        finally:
            with self._changed:
                self._live.discard(instance)
                self._changed.notify_all()

    def _retire(self, instance: _Instance) -> None:
        log = self._log_of(instance)
        try:
            if self.function.prestop and instance.alive:
                instance.drain(log)
                call = self._describe(new_request_id(), 0, None)
                call |= {"kind": "prestop", "handler": self.function.prestop}
                log = _Log(self.function.name, call["request_id"], self._on_log)
                instance.ask(call, b"", self.function.prestop_timeout, log, self._grace_seconds)
        finally:
            self._discard(instance, log)

    def _await_expiry(self) -> None:
        if self._idle_seconds is not None and self._expiry is None and self._idle:
            oldest = self._idle[0].idle_since
            wait = max(0.0, oldest + self._idle_seconds - time.monotonic())
            self._expiry = threading.Timer(wait, self._expire)
            self._expiry.daemon = True
            self._expiry.start()

    def _expire(self) -> None:
        with self._changed:
            self._expiry = None
            if self._closed:
                return
            limit = time.monotonic() - (self._idle_seconds or 0.0)
            expired = [instance for instance in self._idle if instance.idle_since <= limit]
            self._idle = [instance for instance in self._idle if instance.idle_since > limit]
            self._await_expiry()
        for instance in expired:
            self._retire(instance)

    def _log_of(self, instance: _Instance) -> _Log:
        return _Log(self.function.name, instance.request_id, self._on_log)


def new_request_id() -> str:
    """Make a request id in FC's form: `1-`, the second in hexadecimal, 8 and 12 random digits
    (fc-runtime.md: HTTP event).
    """
    return f"1-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}"


@dataclass(frozen=True)
class _Answer:
    succeeded: bool
    payload: bytes
    duration_ms: float
    stopped: str = ""
    """Why there is no instance any more; empty if there is."""


class _Instance:
    """One process with the runtime. Used by one thread at a time; `kill`, `cancel`, `alive` are for all."""

    def __init__(self, function: Function, account: Account, python: str) -> None:
        self.memory_mb = 0.0
        self.request_id = ""
        self.idle_since = 0.0
        self._cancelled = False
        self._received = bytearray()
        self._partial_line = b""
        self._channel, theirs = socket.socketpair()
        logs, their_stdout = os.pipe()
        their_lifeline, self._lifeline = os.pipe()
        try:
            # A session of its own: Ctrl-C in the terminal is the host's business, and killing its group
            # takes along whatever the function has started.
            self._process = subprocess.Popen(
                [python, "-u", "-s", str(_RUNTIME), str(theirs.fileno()), str(their_lifeline)],
                cwd=function.folder,
                env=_environment(function, account),
                stdin=subprocess.DEVNULL,
                stdout=their_stdout,
                stderr=their_stdout,
                pass_fds=(theirs.fileno(), their_lifeline),
                start_new_session=True,
            )
        except BaseException:
            self._channel.close()
            os.close(logs)
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(their_stdout)
            os.close(their_lifeline)
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
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def cancel(self) -> None:
        self._cancelled = True
        self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def start(self, log: _Log) -> _Answer:
        """Wait until the runtime is ready."""
        return self._exchange(self._setup, b"", _READY_SECONDS, log, 0.0)

    def ask(self, call: dict[str, Any], event: bytes, seconds: float, log: _Log, grace: float) -> _Answer:
        """Have the runtime make one call within `seconds`; after that it has `grace` seconds to go."""
        return self._exchange(call, event, seconds, log, grace)

    def _exchange(
        self, meta: dict[str, Any], payload: bytes, seconds: float, log: _Log, grace: float
    ) -> _Answer:
        began = time.monotonic()
        try:
            self._send(meta, payload, seconds)
            answered, body = self._receive(began + seconds, log)
            self.drain(log)
        except TimeoutError:
            self._terminate(log, grace)
            reason = f"Function timed out after {seconds:g} seconds"
            return self._stopped(reason, began, f"(maxMemoryUsage: {self._memory_text})")
        except EOFError:
            reason = "Process exited unexpectedly before completing request"
            if self._cancelled:
                reason = "Invocation canceled by client"
            return self._stopped(reason, began, None)
        finally:
            self._measure()
        return _Answer(answered.get("succeeded", True), body, _milliseconds(began))

    def _stopped(self, reason: str, began: float, detail: str | None) -> _Answer:
        duration = _milliseconds(began)
        usage = f"(duration: {duration:.0f}ms, maxMemoryUsage: {self._memory_text})"
        message = json.dumps({"errorMessage": f"{reason} {detail or usage}"}, separators=(",", ":"))
        return _Answer(
            succeeded=False, payload=message.encode(), duration_ms=duration, stopped=f"{reason} {usage}"
        )

    def _send(self, meta: dict[str, Any], payload: bytes, seconds: float) -> None:
        head = json.dumps(meta).encode()
        self._channel.settimeout(seconds)
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # reading will tell
            self._channel.sendall(_LENGTHS.pack(len(head), len(payload)) + head + payload)

    def _receive(self, deadline: float, log: _Log) -> tuple[dict[str, Any], bytes]:
        """Read an answer, and log lines meanwhile; EOFError when the process is gone."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = self._selector.select(min(left, _CHECK_SECONDS))
            for key, _ in ready:
                if key.fd == self._logs:
                    self.drain(log)
                elif frame := self._read_frame():
                    return frame
            if not ready:
                self._measure()
                if not self.alive:  # though one of its own children may hold the channel open
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

    def drain(self, log: _Log) -> None:
        """Hand over the log lines that have been written. All of a call's are, once its answer is there."""
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

    def _terminate(self, log: _Log, grace: float) -> None:
        """Ask the process to go and read what it says meanwhile (fc-runtime.md: Instances)."""
        if self.alive:
            self._process.terminate()
        deadline = time.monotonic() + grace
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.01)
            self.drain(log)
        self.kill()
        self._process.wait()

    def destroy(self, log: _Log) -> None:
        """End the process and everything that it started; hand over its last words."""
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
        """Read the peak of this process; rusage would count the host's, from before exec."""
        with contextlib.suppress(OSError), Path(f"/proc/{self.pid}/status").open() as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    self.memory_mb = int(line.split()[1]) / 1024

    @property
    def _memory_text(self) -> str:
        return f"{self.memory_mb:.2f}MB" if self.memory_mb else "0MB"


class _Log:
    """Where the lines of one call go."""

    def __init__(self, function: str, request_id: str, sink: LogSink) -> None:
        self._function = function
        self._request_id = request_id
        self._sink = sink
        self._tail = b""

    def line(self, text: str) -> None:
        self._tail = (self._tail + text.encode(errors="replace") + b"\n")[-LOG_TAIL_LIMIT:]
        self._sink(self._function, self._request_id, text)

    @property
    def tail(self) -> str:
        return self._tail.decode(errors="replace")


def _environment(function: Function, account: Account) -> dict[str, str]:
    """List all that the function finds in its environment (fc-runtime.md: Environment variables); nothing of
    this process is in it.
    """
    versions = (
        {"FC_VER_ID": "LATEST", "FC_QUALIFIER": "LATEST"}
        if function.runtime == "python3.10"
        else {"FC_FUNCTION_VERSION": "LATEST", "FC_CUSTOM_LISTEN_PORT": "9000"}
    )
    credentials = (
        {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": account.credentials.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": account.credentials.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": account.credentials.security_token,
        }
        if account.credentials
        else {}
    )
    return {
        "PATH": EXECUTABLE_PATH,
        "HOME": "/tmp",  # noqa: S108  not the developer's, where SDKs look for keys
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        **credentials,
        **function.environment,
        "FC_ACCOUNT_ID": account.account_id,
        "FC_FUNC_CODE_PATH": str(function.folder.resolve()),
        "FC_FUNCTION_HANDLER": function.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(function.memory),
        "FC_FUNCTION_NAME": function.name,
        "FC_INSTANCE_ID": f"c-{int(time.time()):08x}-{secrets.token_hex(4)}-{secrets.token_hex(6)}",
        "FC_REGION": account.region,
        **versions,
    }


def _milliseconds(began: float) -> float:
    return (time.monotonic() - began) * 1000


def _discard_line(_function: str, _request_id: str, _line: str) -> None:
    """Take a log line that nobody asked for."""


def _discard_call(_function: str, _event: bytes, _result: Result) -> None:
    """Take a call that nobody asked for."""
