"""uvicorn's HTTP protocol with a handle on the connection, so that the sandbox can break it for real.

Every request's scope carries the connection in `scope["state"]["connection"]`. The application's lifespan
state may carry `strikes_unread`, a function that says of each request that begins to arrive whether to
reset it unread.
"""

from __future__ import annotations

import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "connection"
STRIKES_UNREAD = "strikes_unread"

_LINGER_NOT = struct.pack("ii", 1, 0)
_PUSH_BEGINNINGS = (b"POST / ", b"POST /?")


class SandboxProtocol(HttpToolsProtocol):
    """One connection. Works with and without TLS."""

    _inside_message = False

    def data_received(self, data: bytes) -> None:
        """Reset a push that begins to arrive if that is ordered, otherwise parse as ever.

        Only the first seven bytes are looked at, to spare the sandbox's own routes.
        """
        if not self._inside_message and data.startswith(_PUSH_BEGINNINGS):
            strikes_unread = self.app_state.get(STRIKES_UNREAD)
            if strikes_unread is not None and strikes_unread():
                self.reset()
                return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close this end after every loss.

        uvicorn does so only after a clean one; a TLS transport of Python 3.10 then warns that it is unclosed.
        """
        super().connection_lost(exc)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        self._inside_message = True
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_message_complete(self) -> None:
        """Called by the parser at the last byte of a request."""
        self._inside_message = False
        super().on_message_complete()

    def reset(self) -> None:
        """End the connection with a TCP RST: no lingering, unsent data is thrown away."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def finish(self) -> None:
        """Send what was written, then close, however much of the answer is still owed."""
        self.transport.close()
