"""The connection under the SDK of MNS: certificate checked, with a time limit, and no request sent twice.

The SDK's own one knows no CA file, has no time limit on HTTPS, and sends a request again when its answer does
not come, although the first copy may have arrived. Imported with the SDK only: most invocations need neither.
"""

from __future__ import annotations

import io
import math
from functools import partial
from http.client import BadStatusLine, HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from mpaas_push.connection import connect, is_dropped, left_until, tls_context

if TYPE_CHECKING:
    import socket

__all__ = ["MnsConnection"]


class MnsConnection(HTTPConnection):
    """A connection to an endpoint, HTTPS or HTTP, that is opened when it is needed.

    Attributes:
        deadline: Until when a request and its answer may take, on the clock of `time.monotonic`; to be set
            before each request.
        request_length: For the SDK's statistics.
    """

    def __init__(self, endpoint: str, ca_bundle: str | None) -> None:
        """Open nothing yet.

        Raises:
            Misconfigured: the CA bundle cannot be loaded.
        """
        url = urlsplit(endpoint)
        is_https = url.scheme == "https"
        super().__init__(url.hostname or "", url.port or (443 if is_https else 80))
        self._tls = tls_context(ca_bundle) if is_https else None
        self.sock: socket.socket | None = None
        self.deadline = math.inf
        self.request_length = 0

    def connect(self) -> None:
        """Open the connection within the deadline."""
        self.sock = connect(self.host, self.port, self._tls, self.deadline)

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, on a new connection if the server has closed the old one."""
        if self.sock is not None and is_dropped(self.sock):
            self.close()
        if self.sock is not None:
            self.sock.settimeout(left_until(self.deadline))
        super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:
        """Read the answer within the deadline.

        Raises:
            OSError: none came; the request may have arrived or not.
        """
        self.response_class = cast("type[HTTPResponse]", partial(_response, self.deadline))
        try:
            return super().getresponse()
        except BadStatusLine:
            # At this very error the SDK would send the request again.
            raise ConnectionError("closed without an answer") from None


def _response(deadline: float, sock: socket.socket, **options: Any) -> HTTPResponse:
    """Make a response of which head and body together come within the deadline, however they trickle."""
    return HTTPResponse(cast("socket.socket", _Stream(sock, deadline)), **options)


class _Stream(io.RawIOBase):
    """What a response reads of a socket."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._bytes = sock.makefile("rb", buffering=0)

    def makefile(self, _: str) -> io.BufferedReader:
        """Open the stream as `HTTPResponse` asks for it."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what comes next."""
        self._sock.settimeout(left_until(self._deadline))
        return self._bytes.readinto(buffer)

    def close(self) -> None:
        """Close the stream; the socket stays with its connection."""
        self._bytes.close()
        super().close()
