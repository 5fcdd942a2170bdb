"""Requests to MNS, encoded and signed by its official SDK and sent over the connections of this package.

The SDK's own connections do not support a CA file, have no timeout for HTTPS, and repeat a request whose
response is missing, although the first one may have arrived. The SDK also raises at the first message that
was not accepted. Imported at first use: most invocations send nothing to MNS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mns.mns_client import MessagesEncoder, MNSClient, RequestInternal
from mns.mns_request import BatchSendMessageRequest

from mpaas_push.connection import HttpResponse, connect, is_dropped, read_response, seconds_until

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Sequence

    from mpaas_push.credentials import Credentials
    from mpaas_push.queues.message import QueueMessage

__all__ = ["MnsConnection"]


class MnsConnection:
    """One connection to MNS, opened on demand. Not thread-safe."""

    def __init__(self, endpoint: str, credentials: Credentials, tls: ssl.SSLContext | None) -> None:
        """Create a client; the connection opens with the first request.

        Args:
            endpoint: `https://` or `http://` and a host.
            credentials: Sign the requests.
            tls: Verifies the certificate of an `https://` endpoint.
        """
        url = urlsplit(endpoint)
        is_https = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port or (443 if is_https else 80)
        self._tls = tls if is_https else None
        self._socket: socket.socket | None = None
        self._client = MNSClient(
            endpoint,
            credentials.access_key_id,
            credentials.access_key_secret,
            security_token=credentials.security_token or "",
        )

    def send(self, messages: Sequence[QueueMessage], deadline: float) -> HttpResponse:
        """Send messages to their queue with one request, and return the response.

        Args:
            messages: Up to 16, all for the same queue.
            deadline: On the clock of `time.monotonic`.

        Raises:
            OSError: There was no complete response in time; the request may have arrived.
        """
        request = self._request(messages)
        if self._socket is not None and is_dropped(self._socket):
            self.close()
        if self._socket is None:
            self._socket = connect(self._host, self._port, self._tls, deadline)
        try:
            self._socket.settimeout(seconds_until(deadline))
            self._socket.sendall(request)
            response = read_response(self._socket, lambda: seconds_until(deadline))
        except BaseException:
            self.close()
            raise
        if not response.keep_alive:
            self.close()
        return response

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _request(self, messages: Sequence[QueueMessage]) -> bytes:
        """Encode and sign a request as the SDK does."""
        batch = BatchSendMessageRequest(messages[0].queue, base64encode=True)
        for message in messages:
            batch.add_message(message.body, message.delay)
        request = RequestInternal(batch.method, f"/queues/{batch.queue_name}/messages")
        body: bytes = MessagesEncoder.encode(batch.message_list, batch.base64encode)
        request.data = body  # its digest is signed
        self._client.build_header(batch, request)
        headers = {**request.header, "Content-Length": str(len(body))}
        head = [
            f"{request.method} {request.uri} HTTP/1.1",
            *(f"{name}: {text}" for name, text in headers.items()),
        ]
        return "\r\n".join([*head, "", ""]).encode("latin-1") + body
