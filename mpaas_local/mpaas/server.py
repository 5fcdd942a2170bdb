"""The sandbox as a server: in a thread of its own (`Sandbox`), or in the event loop of a larger program.

`Sandbox` is for tests and scripts. A larger program calls `create_app`, `bind_loopback` and
`sandbox_server`, and awaits `server.serve(sockets=[...])`.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from mpaas_local.mpaas.app import LOCAL_ACCESS_KEYS, SandboxApp, create_app
from mpaas_local.mpaas.errors import NotStarted, PortInUse
from mpaas_local.mpaas.faults import FAULT_ORDER
from mpaas_local.mpaas.protocol import SandboxProtocol
from mpaas_local.mpaas.store import Filter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from mpaas_local.mpaas.authentication import AccessKey, Clock
    from mpaas_local.mpaas.faults import FaultBook
    from mpaas_local.mpaas.judgement import Behaviour
    from mpaas_local.mpaas.store import Store

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 10
_STOP_SECONDS = 10


class Sandbox:
    """A running sandbox on loopback. Closing it, or leaving the `with`, stops the server and its thread.

    Args:
        port: 0 takes any free port.
        store: The SQLite file for the inbox, or ":memory:".
        access_keys: Id to secret, or to an `AccessKey` with the token that an STS key must bring.
        behaviour: What it does where the reference is unsure.
        clock: Seconds since 1970; tests move it to expire timestamps.
        ssl_certfile: PEM chain; with it the sandbox speaks HTTPS only.
        ssl_keyfile: PEM key, if it is not in the same file.
        port_option: What the error about a port in use tells the user to change.

    Raises:
        PortInUse: Something else listens on the port.
        StoreUnusable: The file cannot be opened or is something else.
        NotStarted: The server ended before it was ready.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        store: Path | str = ":memory:",
        access_keys: Mapping[str, AccessKey | str] = LOCAL_ACCESS_KEYS,
        behaviour: Behaviour | None = None,
        clock: Clock = time.time,
        ssl_certfile: Path | str | None = None,
        ssl_keyfile: Path | str | None = None,
        port_option: str = "port",
    ) -> None:
        self._listener = bind_loopback(port, option=port_option)
        try:
            self._app = create_app(store=store, access_keys=access_keys, behaviour=behaviour, clock=clock)
        except BaseException:
            self._listener.close()
            raise
        try:
            self._server = sandbox_server(self._app, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile)
            self.port: int = self._listener.getsockname()[1]
            """The port that it listens on."""
            self.url = f"{'https' if ssl_certfile else 'http'}://{_LOOPBACK}:{self.port}"
            """Where it listens, without a slash at the end."""
            self._start()
        except BaseException:
            self._listener.close()
            self._app.store.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The inbox."""
        return self._app.store

    @property
    def fault_book(self) -> FaultBook:
        """The faults that stand."""
        return self._app.faults

    def order(self, **fault: Any) -> dict[str, Any]:
        """Order a fault, the JSON of `POST /faults` as keywords.

        For example `order(kind="throttling", next=2, retryAfter=1)`.

        Answers the order with its id. Raises pydantic's ValidationError if there is no such fault.
        """
        return self._app.faults.order(FAULT_ORDER.validate_python(fault))

    def faults(self) -> list[dict[str, Any]]:
        """The orders that may still strike, oldest first."""
        return self._app.faults.standing()

    def inbox(
        self,
        *,
        limit: int = 1000,
        offset: int = 0,
        after: int | None = None,
        outcome: str | None = None,
        target: str | None = None,
        text: str | None = None,
    ) -> list[dict[str, Any]]:
        """Entries as `GET /inbox` shows them, newest first."""
        return self._app.store.find(Filter(limit, offset, after, outcome, target, text))[1]

    def clear(self) -> None:
        """Forget every entry, every message id and every ordered fault."""
        self._app.store.clear()
        self._app.faults.clear()

    def close(self) -> None:
        """Stop the server, close the store, end the thread. A second call does nothing."""
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(_STOP_SECONDS)

    def _start(self) -> None:
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"mpaas-sandbox-{self.port}", daemon=True)
        self._thread.start()
        self._server.ready.wait(_START_SECONDS)
        if not self._server.started:
            self._server.should_exit = True
            raise NotStarted(f"the sandbox on port {self.port} ended before it was ready") from self._failure

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except BaseException as error:  # handed to the thread that waits for the start
            self._failure = error
        finally:
            self._listener.close()
            self._server.ready.set()


class SandboxServer(uvicorn.Server):
    """uvicorn with connections that can be broken, and a shutdown that does not wait for ordered delays."""

    def __init__(self, config: uvicorn.Config, app: SandboxApp) -> None:
        super().__init__(config)
        self._app = app
        self.ready = threading.Event()
        """Set once it listens, or has failed to."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let delayed answers go, then stop."""
        self._app.gateway.end_delays()
        await super().shutdown(sockets)


def sandbox_server(
    app: SandboxApp, *, ssl_certfile: Path | str | None = None, ssl_keyfile: Path | str | None = None
) -> SandboxServer:
    """A server for the application, to be run with `serve(sockets=[bind_loopback(...)])`.

    Raises:
        OSError: The certificate or key cannot be read (`ssl.SSLError` if it is not one).
    """
    config = uvicorn.Config(
        app,
        http=SandboxProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=2,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
    )
    config.load()
    return SandboxServer(config, app)


def bind_loopback(port: int, *, option: str) -> socket.socket:
    """A listening-ready socket on 127.0.0.1; port 0 takes any free one.

    Raises:
        PortInUse: Something else listens there; the error names `option` as what to change.
    """
    # asyncio switches Nagle's algorithm off only where the socket says that it is TCP. With it on, the body
    # of an answer waits some 40 ms for the acknowledgement of its headers.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port, option) from error
        raise
    return listener
