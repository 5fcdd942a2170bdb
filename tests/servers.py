"""Scripted HTTP and HTTPS servers on loopback that record the requests they receive.

A script is a sequence of responders: each handles one request, and the last one handles all further requests.
A responder is a function that responds to an `Exchange` and returns whether the connection stays open; most
are built by the functions below.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    import ssl
    from types import TracebackType

    from typing_extensions import Self

OK: dict[str, Any] = {
    "RequestId": "B589F4F4-CD68-3CE5-BDA0-6597F33E23916512",
    "ResultCode": "OK",
    "ResultMessage": "success",
    "PushResult": {"Success": True, "ResultMsg": "success", "Data": ""},
}
"""The response of mPaaS to an accepted push."""

LOOPBACK = "127.0.0.1"
PATIENCE = 60.0
"""Seconds after which a server stops waiting; only a failing test waits that long."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it was received; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def query(self) -> dict[str, str]:
        return _pairs(urlsplit(self.path).query)

    @property
    def form(self) -> dict[str, str]:
        return _pairs(self.body.decode("ascii"))

    @property
    def targets(self) -> dict[str, str]:
        return dict(json.loads(self.form["TargetMsgkey"]))


def _pairs(text: str) -> dict[str, str]:
    fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    pairs = dict(fields)
    assert len(pairs) == len(fields), "a field is duplicated"
    return pairs


@dataclass(frozen=True)
class Exchange:
    """A request that waits for its response."""

    request: Received
    socket: socket.socket
    stopping: threading.Event


Responder = Callable[[Exchange], bool]


def reply(
    payload: object = None,
    status: int = 200,
    *,
    headers: Iterable[tuple[str, str]] = (),
    close: bool = False,
) -> Responder:
    """Return a responder that sends JSON or the given bytes; by default, it accepts the push."""
    body = payload if isinstance(payload, bytes) else json.dumps(OK if payload is None else payload).encode()
    lines = [f"HTTP/1.1 {status} Scripted", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in headers]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")

    def respond(exchange: Exchange) -> bool:
        exchange.socket.sendall(head + body)
        return not close

    return respond


def business(code: object, **more: object) -> Responder:
    """Return a responder that sends HTTP 200 with a result code in the body."""
    return reply({"RequestId": "R-1", "ResultCode": code, "ResultMessage": "scripted", **more})


def gateway(code: str, status: int = 400, message: str = "scripted", **headers: str) -> Responder:
    """Return a responder that sends an error of the gateway; underscores in header names become hyphens."""
    pairs = [(name.replace("_", "-"), text) for name, text in headers.items()]
    return reply({"RequestId": "R-1", "Code": code, "Message": message}, status, headers=pairs)


def raw(data: bytes) -> Responder:
    """Return a responder that sends these bytes and closes the connection."""

    def respond(exchange: Exchange) -> bool:
        exchange.socket.sendall(data)
        return False

    return respond


def reset(exchange: Exchange) -> bool:
    """Reset the connection instead of responding."""
    _reset(exchange.socket)
    return False


def close(_: Exchange) -> bool:
    """Close the connection instead of responding."""
    return False


def hang(exchange: Exchange) -> bool:
    """Never respond."""
    exchange.stopping.wait(PATIENCE)
    return False


def drip(exchange: Exchange) -> bool:
    """Send a response that never ends."""
    exchange.socket.sendall(b"HTTP/1.1 200 Scripted\r\nContent-Length: 100000000\r\n\r\n")
    while not exchange.stopping.wait(0.02):
        exchange.socket.sendall(b" ")
    return False


def together(count: int, then: Responder | None = None) -> Responder:
    """Return a responder that waits for `count` concurrent requests, then accepts or calls `then`."""
    barrier = threading.Barrier(count, timeout=PATIENCE)
    accept = then or reply()

    def respond(exchange: Exchange) -> bool:
        barrier.wait()
        return accept(exchange)

    return respond


class Server:
    """A server on a free loopback port; a context manager.

    Attributes:
        requests: The requests read, in the order of arrival.
        connections: The number of connections opened.
        max_concurrent: The largest number of requests that waited for a response at the same time.
        names: The server name requested in each TLS handshake.
        application_bytes: The number of bytes received; with TLS, only application data after the handshake.
    """

    def __init__(
        self, *responders: Responder, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.max_concurrent = 0
        self.names: list[str | None] = []
        self.application_bytes = 0
        self._responders = responders or (reply(),)
        self._host = host
        self._concurrent = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._tls = tls
        if tls is not None:
            tls.sni_callback = self._record_name
        self._listener = socket.create_server((LOOPBACK, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self._host}:{self.port}"

    @property
    def env(self) -> dict[str, str]:
        """Settings that send to this server, with timeouts long enough for a busy machine."""
        return {
            "MPAAS_ENDPOINT": self.url,
            "MPAAS_APP_ID": "ONEX1",
            "MPAAS_WORKSPACE_ID": "test",
            "PUSH_CONNECT_TIMEOUT_SECONDS": "60",
            "PUSH_READ_TIMEOUT_SECONDS": "60",
        }

    def await_requests(self, count: int) -> None:
        """Wait until `count` requests were read: a client may time out before this server has read its request."""
        deadline = time.monotonic() + PATIENCE
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {count} requests arrived"
            time.sleep(0.005)

    @property
    def request(self) -> Received:
        """The only request."""
        (request,) = self.requests
        return request

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(PATIENCE)

    def hang_up(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _record_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number, self.connections = self.connections, self.connections + 1
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        # The test checks how the client handles a reset, truncated or refused connection.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(PATIENCE)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(connection)
            while not self._stopping.is_set():
                request = self._read(connection, number)
                if request is None or not self._respond(request, connection):
                    break
        with self._lock:
            # Removed and closed under one lock: after hang_up(), no connection stays open.
            self._open.discard(connection)
            connection.close()

    def _respond(self, request: Received, connection: socket.socket) -> bool:
        with self._lock:
            index = len(self.requests)
            self.requests.append(request)
            self._concurrent += 1
            self.max_concurrent = max(self.max_concurrent, self._concurrent)
        respond = self._responders[min(index, len(self._responders) - 1)]
        try:
            return respond(Exchange(request, connection, self._stopping))
        finally:
            with self._lock:
                self._concurrent -= 1

    def _read(self, connection: socket.socket, number: int) -> Received | None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += (received := self._receive(connection))
            if not received:
                return None
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += (received := self._receive(connection))
            if not received:
                return None
        method, path, _ = first.split(" ")
        return Received(method=method, path=path, headers=headers, body=body, connection=number)

    def _receive(self, connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        with self._lock:
            self.application_bytes += len(data)
        return data


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed_port() -> int:
    """Return a port on which nothing listens while this process runs."""
    bound = socket.socket()
    bound.bind((LOOPBACK, 0))
    atexit.register(bound.close)  # bound until then, so that no other process gets the port
    return int(bound.getsockname()[1])


@contextlib.contextmanager
def listening(on_connection: Callable[[socket.socket], object]) -> Iterator[int]:
    """Yield a port; each connection to it is passed to a function, without HTTP and TLS, then closed."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(PATIENCE)
                        on_connection(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


@contextlib.contextmanager
def unresponsive_port() -> Iterator[int]:
    """Yield a port whose backlog is full: connections to it are neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])
