"""A minimal loopback server: reads a POST, waits, sends the same response.

It runs in a separate process, so that its CPU is not counted as the client's. It serves clients of PushSimple
and FCM, and any other client that posts and reads JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

ACCEPTED = (
    b'{"RequestId":"B589F4F4-0000-4000-8000-000000000000","ResultCode":"OK","ResultMessage":"ok",'
    b'"PushResult":{"Success":true,"ResultMsg":"ok","Data":""},"name":"projects/p/messages/1"}'
)


class _Protocol(asyncio.Protocol):
    def __init__(self, latency: float, response: bytes) -> None:
        self.latency = latency
        self.response = response
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) >= length:
            self.received = b""
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.transport.write, self.response)
            else:
                self.transport.write(self.response)


def _run(latency: float, body: bytes, ready: Connection) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    response = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Protocol(latency, response), "127.0.0.1", 0, backlog=1024
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


@contextlib.contextmanager
def serving(latency: float = 0.0, body: bytes = ACCEPTED) -> Iterator[int]:
    """Run the server for the block; yield its port. It responds with the body after `latency` seconds."""
    connection, child_connection = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(latency, body, child_connection), daemon=True
    )
    process.start()
    try:
        yield connection.recv()
    finally:
        process.terminate()
        process.join()
