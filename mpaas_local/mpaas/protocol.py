"""uvicorn's HTTP protocol with access to the connection, which the sandbox can break.

Every request has its connection in `scope["state"]["connection"]`. The lifespan state of the application may
hold `strikes_unread`, a function that decides, when a request begins to arrive, whether to reset it unread.
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
    """One connection, with or without TLS."""

    _inside_message = False

    def data_received(self, data: bytes) -> None:
        """Reset a push that begins to arrive, if such a fault is ordered; otherwise parse the data.

        The first seven bytes tell a push from the sandbox's own routes.
        """
        if not self._inside_message and data.startswith(_PUSH_BEGINNINGS):
            strikes_unread = self.app_state.get(STRIKES_UNREAD)
            if strikes_unread is not None and strikes_unread():
                self.reset()
                return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the transport after every loss.

        uvicorn closes it only after a clean one; otherwise a TLS transport of Python 3.10 warns that it is
        unclosed.
        """
        super().connection_lost(exc)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins."""
        self._inside_message = True
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self

    def on_message_complete(self) -> None:
        """Called by the parser when a request is complete."""
        self._inside_message = False
        super().on_message_complete()

    def reset(self) -> None:
        """End the connection with a TCP RST and discard unsent data."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()

    def finish(self) -> None:
        """Send what was written, then close, even in the middle of a response."""
        self.transport.close()
