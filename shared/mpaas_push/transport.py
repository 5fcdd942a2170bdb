"""HTTPS to mPaaS: a signed request enters, a verdict leaves, and never an exception.

Connections are kept open and shared by threads. A request is written in one piece.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mpaas_push.connection import connect, is_dropped, left_until, read_response, set_timeout, tls_context
from mpaas_push.outcome import MISCONFIGURED, THROTTLED, UNKNOWN, Verdict, verdict_of

if TYPE_CHECKING:
    import socket

    from mpaas_push.request import SignedRequest
    from mpaas_push.settings import Settings

__all__ = ["Transport"]

IDLE_LIMIT_SECONDS = 10.0
"""A connection idle for longer is closed instead of used: the peer may have closed it while the instance
was frozen, and a request sent on it would have no verdict."""

EXCHANGE_SECONDS = 600.0
"""Longest time for one exchange, however slowly a response trickles in; the settings bound each silence."""


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
        self._process = os.getpid()

    def refresh(self) -> None:
        """Close connections that have been idle for too long to be trusted, or that a parent process uses."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()
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
            set_timeout(connection, patience(self._read_timeout))
            connection.sendall(self._written(request))
        except OSError as error:
            connection.close()
            return Verdict(
                kind=THROTTLED, code="ConnectionLost", message=f"not completely sent ({type(error).__name__})"
            )
        try:
            response = read_response(connection, lambda: patience(self._read_timeout))
        except OSError as error:
            connection.close()
            code = "ReadTimeout" if isinstance(error, TimeoutError) else "AnswerLost"
            return Verdict(
                kind=UNKNOWN,
                code=code,
                message=f"sent, but the response was incomplete ({type(error).__name__})",
            )
        if response.keep_alive:
            self._idle.append((connection, time.time()))
        else:
            connection.close()
        return verdict_of(response.status, response.headers, bytes(response.body))

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


def _is_stale(used: float) -> bool:
    # Wall time: the monotonic clock of a frozen instance may stand still.
    return abs(time.time() - used) > IDLE_LIMIT_SECONDS


def _unopened(error: OSError) -> Verdict:
    """Judge a connection that never opened."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Verdict(
            kind=MISCONFIGURED,
            code="CertificateRefused",
            message=f"the server's certificate was refused ({error.verify_message}): "
            "check MPAAS_ENDPOINT and ALIBABA_CLOUD_CA_BUNDLE",
        )
    code = "ConnectTimeout" if isinstance(error, TimeoutError) else "ConnectionFailed"
    return Verdict(
        kind=THROTTLED, code=code, message=f"no connection, nothing was sent ({type(error).__name__})"
    )
