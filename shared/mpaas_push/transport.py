"""HTTPS to mPaaS: a signed request enters, a verdict leaves, and never an exception.

Connections are kept open and shared by threads. A request is written in one piece and its answer is read by
llhttp (httptools), which is what makes a warm push cheap.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from mpaas_push.errors import Misconfigured
from mpaas_push.outcome import MISCONFIGURED, THROTTLED, UNKNOWN, Verdict, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpaas_push.request import SignedRequest
    from mpaas_push.settings import Settings

    _Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
    """What `socket.getaddrinfo` tells of an address."""

__all__ = ["Transport", "connect", "is_dropped", "left_until", "tls_context"]

IDLE_LIMIT_SECONDS = 10.0
"""A connection idle for longer is closed instead of used: the peer may have closed it while the instance
was frozen, and a request sent on it would have no verdict."""

EXCHANGE_SECONDS = 600.0
"""Longest time for one exchange, however slowly an answer drips; the settings bound each silence."""

ANSWER_BYTES = 1 << 20
"""Longest answer that is read; a real one has a few hundred bytes."""


class Transport:
    """Connections to the endpoint, certificate and host name checked on each; safe under threads."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet.

        Raises:
            Misconfigured: the CA bundle of the settings cannot be loaded.
        """
        self._connect_timeout = settings.connect_timeout
        self._read_timeout = settings.read_timeout
        url = urlsplit(settings.endpoint)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._host_header = url.netloc
        self._tls = tls_context(settings.ca_bundle) if url.scheme == "https" else None
        # Each with the time of its last answer; the one used last is at the right and goes first.
        self._idle: deque[tuple[socket.socket, float]] = deque()

    def refresh(self) -> None:
        """Close connections that have been idle for too long to be trusted."""
        with suppress(IndexError):
            while _is_stale(self._idle[0][1]):
                self._idle.popleft()[0].close()

    def exchange(self, request: SignedRequest, time_left: float) -> Verdict:
        """Send a request and judge what comes back.

        Three steps, because they fail differently: what goes wrong while a connection opens or a request is
        written never reached mPaaS as a whole and is safe to send again; what goes wrong later may have.

        Args:
            request: What to send.
            time_left: Seconds that all of it may last, at most `EXCHANGE_SECONDS`.
        """
        deadline = time.monotonic() + min(time_left, EXCHANGE_SECONDS)

        def patience(limit: float) -> float:
            return min(limit, left_until(deadline))

        # The texts of network errors are not shown: only their kind is known to be free of secrets.
        try:
            connection = self._connected(patience(self._connect_timeout))
        except OSError as error:
            return _unopened(error)
        try:
            connection.settimeout(patience(self._read_timeout))
            connection.sendall(self._written(request))
        except OSError as error:
            connection.close()
            return Verdict(THROTTLED, "ConnectionLost", f"not sent as a whole ({type(error).__name__})")
        try:
            answer = _Answer.read_from(connection, lambda: patience(self._read_timeout))
        except (HttpParserError, HttpParserUpgrade, OSError) as error:
            connection.close()
            code = "ReadTimeout" if isinstance(error, TimeoutError) else "AnswerLost"
            return Verdict(UNKNOWN, code, f"sent, but no whole answer came ({type(error).__name__})")
        if answer.keep_alive:
            self._idle.append((connection, time.time()))
        else:
            connection.close()
        return verdict_of(answer.status, answer.headers, bytes(answer.body))

    def close(self) -> None:
        """Close the connections that are not in use."""
        with suppress(IndexError):
            while True:
                self._idle.pop()[0].close()

    def _connected(self, timeout: float) -> socket.socket:
        """Return the connection used last, or a new one if there is none that is still open."""
        with suppress(IndexError):
            while True:
                connection, used = self._idle.pop()
                if not _is_stale(used) and not is_dropped(connection):
                    return connection
                connection.close()
        return connect(self._host, self._port, self._tls, time.monotonic() + timeout)

    def _written(self, request: SignedRequest) -> bytes:
        """Return a request as it goes over the wire; nothing in it comes unencoded from a message."""
        lines = [f"POST {request.path} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"Content-Length: {len(request.body)}", "", ""]
        return "\r\n".join(lines).encode("ascii") + request.body


class _Answer:
    """An HTTP response, put together from what the parser calls out."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False
        self.keep_alive = False
        self._headers_read = False
        self._parser = HttpResponseParser(self)

    @classmethod
    def read_from(cls, connection: socket.socket, patience: Callable[[], float]) -> _Answer:
        """Read one response; `patience` tells how long the next piece of it may take.

        Raises:
            OSError: the connection failed, was closed too early, or the answer is too long.
            HttpParserError: what came is not HTTP.
            HttpParserUpgrade: the server wants to speak something else.
        """
        answer, received = cls(), 0
        while not answer.complete:
            connection.settimeout(patience())
            data = connection.recv(65536)
            received += len(data)
            if not data:
                answer._end()
                break
            answer._parser.feed_data(data)
            if received > ANSWER_BYTES:
                raise ConnectionError("the answer is too long")
        return answer

    def _end(self) -> None:
        """Take the end of the connection as the end of a body that names no length (RFC 9112 §6.3)."""
        if not self._headers_read or self.headers.keys() & {"content-length", "transfer-encoding"}:
            raise ConnectionError("closed before the answer was whole")
        self.on_message_complete()
        self.keep_alive = False

    def on_message_begin(self) -> None:
        if self.complete:
            # A second response that nobody asked for: whose answer came next would be anyone's guess.
            self.keep_alive = False

    def on_headers_complete(self) -> None:
        self._headers_read = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body += data

    def on_message_complete(self) -> None:
        if self.complete:
            return
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()
        # An interim response (1xx) comes before the one that counts.
        self.complete = self.status >= 200


def connect(host: str, port: int, tls: ssl.SSLContext | None, deadline: float) -> socket.socket:
    """Open a connection, TLS included where a context is given.

    There is one time limit for all of it. The look-up of the name cannot be cut short, but it counts.

    Args:
        host: Name or address; what the certificate must be for.
        port: Where it listens.
        tls: Checks the certificate.
        deadline: On the clock of `time.monotonic`.

    Raises:
        OSError: no connection, or the certificate was refused; nothing was sent.
    """
    connection = _first_of(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), deadline)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(left_until(deadline))
        # server_hostname is what is sent as SNI and what the certificate must be for.
        return tls.wrap_socket(connection, server_hostname=host) if tls else connection
    except BaseException:
        connection.close()
        raise


def left_until(deadline: float) -> float:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: it has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _first_of(addresses: Sequence[_Address], deadline: float) -> socket.socket:
    """Connect to the first address of a host that answers.

    Each gets an equal part of the time that is left: one that does not answer leaves some for the others.

    Raises:
        OSError: none could be connected to.
    """
    failure = OSError("the name has no address")
    for place, address in enumerate(addresses):
        try:
            return _connected_to(address, left_until(deadline) / (len(addresses) - place))
        except OSError as error:
            failure = error
    raise failure


def _connected_to(address: _Address, timeout: float) -> socket.socket:
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(timeout)
        connection.connect(where)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_stale(used: float) -> bool:
    # Wall time: the monotonic clock of a frozen instance may stand still.
    return abs(time.time() - used) > IDLE_LIMIT_SECONDS


def is_dropped(connection: socket.socket) -> bool:
    """Return whether the peer has closed an idle connection: then there is something to read, its end."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """Return what checks certificates and host names, by the system's CAs or those of a file.

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


def _unopened(error: OSError) -> Verdict:
    """Judge a connection that never opened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Verdict(
            MISCONFIGURED,
            "CertificateRefused",
            f"the server's certificate was refused ({error.verify_message}): "
            "check MPAAS_ENDPOINT and ALIBABA_CLOUD_CA_BUNDLE",
        )
    code = "ConnectTimeout" if isinstance(error, TimeoutError) else "ConnectionFailed"
    return Verdict(THROTTLED, code, f"no connection, nothing was sent ({type(error).__name__})")
