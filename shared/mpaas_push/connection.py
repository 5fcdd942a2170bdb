"""Sockets, TLS and deadlines of outbound connections, and reading an HTTP response.

Used for mPaaS, for calls of other functions and for MNS. No proxy is used: `HTTPS_PROXY` and the like are
ignored. Deadlines are on the clock of `time.monotonic`.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from mpaas_push.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
    """What `socket.getaddrinfo` returns for an address."""

__all__ = [
    "HttpResponse",
    "connect",
    "is_dropped",
    "read_response",
    "seconds_until",
    "set_timeout",
    "tls_context",
]

RESPONSE_BYTES = 1 << 20
"""Default limit of a response; those of mPaaS have a few hundred bytes."""


def connect(host: str, port: int, tls: ssl.SSLContext | None, deadline: float) -> socket.socket:
    """Open a connection, with TLS if a context is given.

    The deadline covers everything. A name lookup cannot be interrupted, but its time counts.

    Args:
        host: Name or address, which the certificate must match.
        port: TCP port.
        tls: Verifies the certificate.
        deadline: On the clock of `time.monotonic`.

    Raises:
        OSError: no connection, or the certificate was refused; nothing was sent.
    """
    # A host in bytes avoids the IDNA codec, whose tables would slow down a cold start.
    name = host.encode("ascii") if host.isascii() else host
    connection = _connect_to_any(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM), deadline)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(seconds_until(deadline))
        # server_hostname is sent as SNI, and the certificate must match it.
        return tls.wrap_socket(connection, server_hostname=host) if tls else connection
    except BaseException:
        connection.close()
        raise


def seconds_until(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def set_timeout(connection: socket.socket, seconds: float) -> None:
    """Set the timeout of a connection, without a system call if it has that timeout already."""
    if connection.gettimeout() != seconds:
        connection.settimeout(seconds)


def is_dropped(connection: socket.socket) -> bool:
    """Return whether the peer has closed an idle connection, which is then readable."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names, with the system's CAs or those of a file.

    Raises:
        Misconfigured: the file cannot be loaded.
    """
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:  # ssl.SSLError is one
        raise Misconfigured(
            f"ALIBABA_CLOUD_CA_BUNDLE: {ca_bundle} cannot be read as CA certificates in PEM form "
            f"({type(error).__name__})",
            setting="ALIBABA_CLOUD_CA_BUNDLE",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_response(
    connection: socket.socket, timeout: Callable[[], float], limit: int = RESPONSE_BYTES
) -> HttpResponse:
    """Read one response with llhttp (httptools), which keeps a warm push cheap.

    Interim responses (1xx) are skipped. Extra bytes after the response do not change it, but the connection
    cannot be reused: the next response could not be matched to its request.

    Args:
        connection: A connection on which the request was sent.
        timeout: Called before each read: returns the seconds to wait, or raises `TimeoutError`.
        limit: Longest response in bytes, including headers.

    Raises:
        OSError: the connection failed or was closed early, or the response is too long or not HTTP.
    """
    response, received = HttpResponse(), 0
    while not response.complete:
        set_timeout(connection, timeout())
        data = connection.recv(65536)
        received += len(data)
        if not data:
            response.end()
            break
        response.feed(data)
        if received > limit:
            raise ConnectionError("the response is too long")
    return response


class HttpResponse:
    """An HTTP response, built from the parser's callbacks.

    Attributes:
        status: The status code.
        headers: By name in lower case; the last value of a repeated header.
        body: As sent, with chunks joined.
        complete: Whether all of it has been read.
        keep_alive: Whether another request may follow on the connection.
    """

    def __init__(self) -> None:
        """Prepare for the first byte."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.keep_alive = False
        self._headers_read = False
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the connection.

        Raises:
            ConnectionError: they are not HTTP.
        """
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.complete:
                raise ConnectionError(f"not an HTTP response ({type(error).__name__})") from None
            self.keep_alive = False

    def end(self) -> None:
        """Handle the end of the connection, which ends a body without a length (RFC 9112, 6.3).

        Raises:
            ConnectionError: the response is incomplete.
        """
        if not self._headers_read or self.headers.keys() & {"content-length", "transfer-encoding"}:
            raise ConnectionError("closed before the response was complete")
        self.on_message_complete()
        self.keep_alive = False

    def on_message_begin(self) -> None:
        """Do not reuse the connection if a second response begins: it is unsolicited."""
        if self.complete:
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        """Record that the headers, with the length of the body, were read."""
        self._headers_read = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the first response."""
        if not self.complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body of the first response."""
        if not self.complete:
            self.body += data

    def on_message_complete(self) -> None:
        """Read the status; the response is complete unless it was an interim one."""
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        # An interim response (1xx) precedes the final one.
        self.complete = self.status >= 200


def _connect_to_any(addresses: Sequence[_Address], deadline: float) -> socket.socket:
    """Connect to the first reachable address of a host.

    Each address gets an equal part of the remaining time, so an unreachable one leaves time for the others.

    Raises:
        OSError: no address could be connected to.
    """
    failure = OSError("the name has no address")
    for index, address in enumerate(addresses):
        try:
            return _connect_to(address, seconds_until(deadline) / (len(addresses) - index))
        except OSError as error:
            failure = error
    raise failure


def _connect_to(address: _Address, timeout: float) -> socket.socket:
    family, kind, protocol, _, socket_address = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(timeout)
        connection.connect(socket_address)
    except BaseException:
        connection.close()
        raise
    return connection
