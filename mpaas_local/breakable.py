"""Connections that a sandbox can break: uvicorn's HTTP protocol with access to the connection, and truncated
responses.

Every request has its connection in `scope["state"]["connection"]`. The lifespan state of the application may
hold `strikes_unread`, which decides from the first bytes of a request whether to reset its connection unread.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message, Receive, Scope, Send

__all__ = ["STRIKES_UNREAD", "BreakableProtocol", "ConnectionReset", "CutResponse"]

STRIKES_UNREAD = "strikes_unread"

_CONNECTION = "connection"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


class BreakableProtocol(HttpToolsProtocol):
    """One connection, with or without TLS."""

    _inside_message = False

    def data_received(self, data: bytes) -> None:
        """Parse the data, or reset the connection if a fault strikes a request that begins to arrive."""
        if not self._inside_message:
            strikes_unread = self.app_state.get(STRIKES_UNREAD)
            if strikes_unread is not None and strikes_unread(data):
                self.reset()
                return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the transport, even after an error.

        uvicorn closes it only after a clean end; an unclosed TLS transport of Python 3.10 raises a warning.
        """
        super().connection_lost(exc)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins."""
        self._inside_message = True
        super().on_message_begin()
        self.scope["state"][_CONNECTION] = self

    def on_message_complete(self) -> None:
        """Called by the parser when a request is complete."""
        self._inside_message = False
        super().on_message_complete()

    def reset(self) -> None:
        """End the connection with a TCP RST and discard unsent data."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def finish(self) -> None:
        """Send the data written so far, then close, even in the middle of a response."""
        self.transport.close()


class ConnectionReset(Response):
    """A TCP RST instead of a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection and wait until it is closed."""
        del send
        _connection(scope).reset()
        await _wait_for_disconnect(receive)


class CutResponse(Response):
    """Status, headers with the full Content-Length and half of the body; then the connection closes."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.status_code = response.status_code
        self.raw_headers = response.raw_headers
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body, close, and wait until the connection is closed."""
        remaining = int(self.headers.get("content-length", "0")) // 2

        async def send_half(message: Message) -> None:
            nonlocal remaining
            body: bytes = message.get("body", b"")
            if message["type"] == "http.response.start" or len(body) < remaining:
                remaining -= len(body)
                await send(message)
                return
            await send({"type": "http.response.body", "body": body[:remaining], "more_body": True})
            _connection(scope).finish()
            await _wait_for_disconnect(receive)
            raise _Cut

        with contextlib.suppress(_Cut, ClientDisconnect):
            await self._response(scope, receive, send_half)


class _Cut(OSError):
    """The body has been cut; an `OSError`, like the error of sending to a disconnected client."""


def _connection(scope: Mapping[str, Any]) -> BreakableProtocol:
    connection = scope.get("state", {}).get(_CONNECTION)
    if not isinstance(connection, BreakableProtocol):
        raise TypeError("only a server with BreakableProtocol can break connections")
    return connection


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
