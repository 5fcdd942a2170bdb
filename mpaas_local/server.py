"""An ASGI application on a port of this machine, served from a background thread.

`Server(app).start()` returns when the port accepts requests; `.url` is its address. The main thread keeps the
signals.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = ["NotStarted", "PortInUse", "Server"]

_STOP_SECONDS = 1  # for running requests
_KEEP_ALIVE_SECONDS = 75  # longer than a long poll, and than clients keep idle connections
_START_SECONDS = 30.0


class PortInUse(Exception):
    """Another program listens on `port`."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"port {port} is in use: stop the program that listens there, or choose another (0: a free one)"
        )
        self.port = port


class NotStarted(Exception):
    """The application or its server stopped before it was ready; the cause is chained."""


class Server:
    """One application on one port, as a context manager or with `start` and `stop`, from any other thread.

    Args:
        app: Any ASGI application.
        host: Address to listen on.
        port: 0 for a free one.
        on_stop: Called in the event loop before it waits for running requests, to end long polls.
        config: Other arguments of `uvicorn.Config`, such as `http=` (a protocol class) or `ssl_certfile=`.
    """

    def __init__(
        self,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        on_stop: Callable[[], None] | None = None,
        **config: Any,
    ) -> None:
        defaults: dict[str, Any] = {
            "access_log": False,
            "log_config": None,  # the program configures logging
            "log_level": "warning",
            "loop": "asyncio",
            "proxy_headers": False,  # no proxy in between: the peer is the client
            "server_header": False,
            "timeout_graceful_shutdown": _STOP_SECONDS,
            "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
            "ws": "none",
        }
        self.host = host
        self.port = port
        self._requested_port = port
        self._config = uvicorn.Config(app, **(defaults | config))
        self._on_stop = on_stop
        self._server: _ObservedServer | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._lock = threading.RLock()  # a start that fails stops

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of the application, without a trailing slash."""
        scheme = "https" if self._config.is_ssl else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    def start(self) -> Self:
        """Start serving; returns when the application has started.

        Raises:
            PortInUse: the port is taken.
            NotStarted: the application or the server did not start.
        """
        with self._lock:
            listener = self._listen()
            self.port = listener.getsockname()[1]
            started = threading.Event()
            self._server = _ObservedServer(self._config, started, self._on_stop)
            self._thread = threading.Thread(
                target=self._serve,
                args=(self._server, listener, started),
                name=f"server-{self.port}",
                daemon=True,
            )
            self._thread.start()
            started.wait(_START_SECONDS)
            if not self._server.started:
                port = self.port
                self.stop()
                raise NotStarted(f"the server on port {port} did not start") from self._failure
            return self

    def stop(self) -> None:
        """Stop listening, give running requests a second, close the rest. Idempotent."""
        with self._lock:
            if self._server and self._thread:
                self._server.end()
                self._thread.join(_STOP_SECONDS + 5)
                self._server = self._thread = None
                self.port = self._requested_port

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # With an explicit protocol asyncio sets TCP_NODELAY; without it, responses are delayed by 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(2048)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(self.port) from error
            raise
        return listener

    def _serve(self, server: uvicorn.Server, listener: socket.socket, started: threading.Event) -> None:
        try:
            with listener:
                server.run(sockets=[listener])
        except BaseException as error:  # uvicorn may raise SystemExit; `start` chains it
            self._failure = error
        finally:
            started.set()


class _ObservedServer(uvicorn.Server):
    """Signals when it has started and when it is about to stop, and ends as soon as it is asked to.

    uvicorn looks only ten times a second whether to end, and a stack stops six servers one after another.
    """

    def __init__(
        self, config: uvicorn.Config, started: threading.Event, on_stop: Callable[[], None] | None
    ) -> None:
        super().__init__(config)
        self._started_event = started
        self._on_stop = on_stop
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """Begin to stop. Called by another thread."""
        self.should_exit = True
        if self._loop:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._ending.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._started_event.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # which also updates the `Date` of responses
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Do as uvicorn does without its pause of 0.1 s; answer requests just sent, close all connections."""
        if self._on_stop:
            self._on_stop()
        await _ready_callbacks()  # accept what has connected
        for server in self.servers:
            for accepting in server.sockets:  # no more
                asyncio.get_running_loop().remove_reader(accepting)
        await _ready_callbacks()  # read what has been sent
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await _ready_callbacks()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wait_tasks_to_complete(), self.config.timeout_graceful_shutdown)
        for task in self.server_state.tasks:
            task.cancel()
        await _ready_callbacks()
        # Left are clients that do not read, do not end TLS, or began it too late for `connection.shutdown`.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await _ready_callbacks()
        await self.lifespan.shutdown()


async def _ready_callbacks() -> None:
    """Let the event loop run what is ready: asyncio needs three rounds to accept or to close a connection."""
    for _ in range(3):
        await asyncio.sleep(0)
