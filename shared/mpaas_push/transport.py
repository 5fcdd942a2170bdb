"""HTTPS to mPaaS: a signed request in, a verdict out, never an exception.

Threads share open connections. Each request is written in one call.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mpaas_push.connection import connect, is_dropped, read_response, seconds_until, set_timeout, tls_context
from mpaas_push.outcome import MISCONFIGURED, THROTTLED, UNKNOWN, Verdict, verdict_of

if TYPE_CHECKING:
    import socket

    from mpaas_push.request import SignedRequest
    from mpaas_push.settings import Settings

__all__ = ["Transport"]

IDLE_LIMIT_SECONDS = 10.0
"""A connection that was idle for longer is closed, not reused: the peer may have closed it while the instance
was frozen, and a request on it would have no verdict."""

EXCHANGE_SECONDS = 600.0
"""Longest exchange, however slowly the response arrives; the settings limit each wait for data."""


class Transport:
    """Connections to the endpoint, each with verified certificate and host name. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Create a transport; connections open with requests.

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
        # Each with the time of its last response; the rightmost was used most recently and is used next.
        self._idle: deque[tuple[socket.socket, float]] = deque()
        self._process = os.getpid()

    def refresh(self) -> None:
        """Close connections that were idle for too long, or that belong to the parent process of a fork."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.close()
        try:
            while _is_stale(self._idle[0][1]):
                self._idle.popleft()[0].close()
        except IndexError:  # no connection is left
            pass

    def exchange(self, request: SignedRequest, time_left: float) -> Verdict:
        """Send a request and judge the response.

        Three steps, because they fail differently: a request that fails while the connection opens or while
        it is written did not reach mPaaS completely and is safe to send again; one that fails later may have.

        Args:
            request: The request.
            time_left: Longest duration of the exchange in seconds, at most `EXCHANGE_SECONDS`.
        """
        deadline = time.monotonic() + min(time_left, EXCHANGE_SECONDS)

        def timeout_within(limit: float) -> float:
            return min(limit, seconds_until(deadline))

        # Show only the class of a network error: its text may contain secrets.
        try:
            connection = self._connect(timeout_within(self._connect_timeout))
        except OSError as error:
            return _judge_failed_connection(error)
        try:
            set_timeout(connection, timeout_within(self._read_timeout))
            connection.sendall(self._serialize(request))
        except OSError as error:
            connection.close()
            return Verdict(
                kind=THROTTLED, code="ConnectionLost", message=f"not completely sent ({type(error).__name__})"
            )
        try:
            response = read_response(connection, lambda: timeout_within(self._read_timeout))
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

    def _connect(self, timeout: float) -> socket.socket:
        """Return the most recently used open connection, or a new one."""
        while self._idle:
            try:
                connection, used = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not _is_stale(used) and not is_dropped(connection):
                return connection
            connection.close()
        return connect(self._host, self._port, self._tls, time.monotonic() + timeout)

    def _serialize(self, request: SignedRequest) -> bytes:
        """Return a request as bytes on the wire; content of messages is always encoded."""
        lines = [f"POST {request.path} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"Content-Length: {len(request.body)}", "", ""]
        return "\r\n".join(lines).encode("ascii") + request.body


def _is_stale(used: float) -> bool:
    # Wall time: the monotonic clock of a frozen instance may not advance.
    return abs(time.time() - used) > IDLE_LIMIT_SECONDS


def _judge_failed_connection(error: OSError) -> Verdict:
    """Judge a connection that was never established."""
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
