"""Function Compute for one function on this machine: it calls the function with events and returns results.

A `FunctionHost` keeps the instances of a function. Each is a process that runs `mpaas_local/fc/runtime.py`:
timeouts, exits and crashes are real, and the function sees no environment variable of the host. An instance
serves one call at a time. More concurrent calls start more instances, up to a limit; idle instances are
reused, the most recently used first (fc-runtime.md: Instances). Unlike on FC, an idle instance is not frozen:
its threads keep running, and their output appears before the instance's next call.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from mpaas_local.account import Account, LocalCredentials
from mpaas_local.fc.call import InvocationLog, Result, new_request_id
from mpaas_local.fc.errors import HostClosed, Throttled
from mpaas_local.fc.instance import Instance, start_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from mpaas_local.fc.call import CallSink, LogSink
    from mpaas_local.fc.function import Function
    from mpaas_local.fc.instance import ProcessStart, RuntimeReply

__all__ = ["FunctionHost"]

_MARKERS = {"invoke": "Invoke", "initialize": "Initialize", "prestop": "PreStop"}


class FunctionHost:
    """The instances of one function; a context manager. Thread-safe.

    Args:
        function: The function to host.
        account: Account, region and credentials that the function sees.
        limit: Maximum number of instances (FC: reservedConcurrency, with one call per instance).
        idle_seconds: Stops an instance that was idle for this long; None keeps it until `close`.
        on_log: Receives the log lines.
        on_start: Receives the event of each call before the handler is called.
        on_call: Receives the finished calls.
        python: Interpreter of the instances; the function sees its installed packages.
        grace_seconds: Time between SIGTERM, after a timeout, and SIGKILL.
        start: Starts the processes.
    """

    def __init__(
        self,
        function: Function,
        *,
        account: Account | None = None,
        limit: int = 10,
        idle_seconds: float | None = None,
        on_log: LogSink | None = None,
        on_start: Callable[[bytes], object] | None = None,
        on_call: CallSink | None = None,
        python: str = sys.executable,
        grace_seconds: float = 1.0,
        start: ProcessStart = start_process,
    ) -> None:
        self.function = function
        self.account = account or Account()
        self.limit = limit
        self._idle_seconds = idle_seconds
        self._on_log = on_log or _discard_line
        self._on_start = on_start or _discard_event
        self._on_call = on_call or _discard_call
        self._python = python
        self._grace_seconds = grace_seconds
        self._start = start
        self._changed = threading.Condition()
        self._live: set[Instance] = set()
        self._serving: dict[str, Instance] = {}
        self._idle: list[Instance] = []
        self._expiry: threading.Timer | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def invoke(
        self,
        event: bytes,
        *,
        request_id: str | None = None,
        retry_count: int = 0,
        credentials: LocalCredentials | None = None,
    ) -> Result:
        """Call the handler and wait for its result. An error of the function is a result, not an exception.

        Args:
            event: Payload for the handler.
            request_id: Id of the call; None for a new one.
            retry_count: Number of earlier attempts with this event.
            credentials: Replace the account's credentials in the context: FC renews them between calls.

        Raises:
            Throttled: all instances are busy.
            HostClosed: the host is closed.
        """
        call = self._describe(request_id or new_request_id(), retry_count, credentials)
        instance, cold = self._acquire()
        log = InvocationLog(self.function.name, call["request_id"], self._on_log)
        usable = False
        with self._changed:
            self._serving[call["request_id"]] = instance
        self._on_start(event)
        try:
            usable, kind, response = self._run(instance, call, event, log, cold=cold)
        finally:
            with self._changed:
                self._serving.pop(call["request_id"], None)
            if usable:
                self._release(instance)
            else:
                self._discard(instance, log)
        if response.stopped:
            log.line(f"FC {_MARKERS[kind]} End RequestId: {call['request_id']}, Error: {response.stopped}")
        error_type = "InitializationError" if kind == "initialize" else "UnhandledInvocationError"
        result = Result(
            payload=response.payload,
            error_type=None if response.succeeded else error_type,
            request_id=call["request_id"],
            duration_ms=response.duration_ms,
            max_memory_mb=instance.memory_mb,
            log_tail=log.tail,
            cold=cold,
        )
        self._on_call(self.function.name, event, result)
        return result

    def cancel(self, request_id: str) -> bool:
        """Cancel a running call and kill its instance, as FC does when the client has disconnected
        (fc-runtime.md: Instances).

        The call ends with an error; the next one gets another instance.

        Returns:
            Whether an instance serves this call.
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
        """Kill all instances, as a failing machine does. The next call gets a new one."""
        with self._changed:
            idle, self._idle = self._idle, []
            for instance in self._live:
                instance.kill()
        for instance in idle:
            self._discard(instance, self._log_of(instance))

    def close(self) -> None:
        """Stop idle instances after their prestop hook and kill busy ones; returns when all have ended."""
        with self._changed:
            self._closed = True
            if self._expiry:
                self._expiry.cancel()
            idle, self._idle = self._idle, []
            for instance in self._live - set(idle):
                instance.kill()  # its call ends with an error and removes it
        with contextlib.ExitStack() as retirements:  # an error of one does not affect the others
            for instance in idle:
                retirements.callback(self._retire, instance)
        with self._changed:
            self._changed.wait_for(lambda: not self._live, timeout=10)

    def _describe(
        self, request_id: str, retry_count: int, credentials: LocalCredentials | None
    ) -> dict[str, Any]:
        keys = credentials or self.account.credentials or LocalCredentials("", "", "")
        return {
            "request_id": request_id,
            "retry_count": retry_count,
            "credentials": [keys.access_key_id, keys.access_key_secret, keys.security_token],
            "account_id": self.account.account_id,
            "region": self.account.region,
            "runtime": self.function.runtime,
            "name": self.function.name,
            "memory": self.function.memory,
            "timeout": int(self.function.timeout) if self.function.timeout >= 1 else self.function.timeout,
        }

    def _acquire(self) -> tuple[Instance, bool]:
        """Reserve an instance for one caller; True if it is new."""
        dead_instances = []
        try:
            with self._changed:
                if self._closed:
                    raise HostClosed(f"{self.function.name}: the host is closed")
                while self._idle:
                    instance = self._idle.pop()
                    if instance.alive:
                        return instance, False
                    self._live.discard(instance)
                    dead_instances.append(instance)
                if len(self._live) >= self.limit:
                    raise Throttled(self.function.name, self.limit)
                instance = Instance(self.function, self.account, self._python, self._start)
                self._live.add(instance)
                return instance, True
        finally:
            for dead in dead_instances:
                dead.destroy(self._log_of(dead))

    def _run(
        self, instance: Instance, call: dict[str, Any], event: bytes, log: InvocationLog, *, cold: bool
    ) -> tuple[bool, str, RuntimeReply]:
        """Make one call; returns whether the instance is reusable, the last kind of call, and the reply."""
        function = self.function
        if cold:
            started = instance.start(log)
            if started.stopped:
                return False, "invoke", started
            if function.initializer:
                hook = {**call, "kind": "initialize", "handler": function.initializer}
                response = instance.call(hook, b"", function.initializer_timeout, log, self._grace_seconds)
                if not response.succeeded:
                    return False, "initialize", response
        else:
            instance.drain(self._log_of(instance))
        instance.request_id = call["request_id"]
        call = {**call, "kind": "invoke", "handler": function.handler}
        response = instance.call(call, event, function.timeout, log, self._grace_seconds)
        return not response.stopped, "invoke", response

    def _release(self, instance: Instance) -> None:
        with self._changed:
            if not self._closed:
                instance.idle_since = time.monotonic()
                self._idle.append(instance)
                self._schedule_expiry()
                return
        self._retire(instance)

    def _discard(self, instance: Instance, log: InvocationLog) -> None:
        try:
            instance.destroy(log)
        finally:
            with self._changed:
                self._live.discard(instance)
                self._changed.notify_all()

    def _retire(self, instance: Instance) -> None:
        log = self._log_of(instance)
        try:
            if self.function.prestop and instance.alive:
                instance.drain(log)
                call = self._describe(new_request_id(), 0, None)
                call |= {"kind": "prestop", "handler": self.function.prestop}
                log = InvocationLog(self.function.name, call["request_id"], self._on_log)
                instance.call(call, b"", self.function.prestop_timeout, log, self._grace_seconds)
        finally:
            self._discard(instance, log)

    def _schedule_expiry(self) -> None:
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
            self._schedule_expiry()
        for instance in expired:
            self._retire(instance)

    def _log_of(self, instance: Instance) -> InvocationLog:
        return InvocationLog(self.function.name, instance.request_id, self._on_log)


def _discard_line(_function: str, _request_id: str, _line: str) -> None:
    """The default of `on_log`."""


def _discard_event(_event: bytes) -> None:
    """The default of `on_start`."""


def _discard_call(_function: str, _event: bytes, _result: Result) -> None:
    """The default of `on_call`."""
