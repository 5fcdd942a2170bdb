"""The background server: its port, failures to start, and stopping."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import urllib3

from mpaas_local.ports import unassigned_port
from mpaas_local.server import NotStarted, PortInUse, Server
from tests.clocks import AdvancedMonotonic

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def fetch(url: str, **options: Any) -> bytes:
    with urllib3.PoolManager(retries=False, timeout=60, **options) as client:
        return client.request("GET", url).data


def test_server_responds_on_a_free_port() -> None:
    with Server(hello) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert fetch(server.url) == b"hello"


def test_stopped_server_accepts_no_connection_and_frees_its_port() -> None:
    port = unassigned_port()
    with Server(hello, port=port) as first:
        fetch(first.url)
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        fetch(first.url)
    with Server(hello, port=port) as second:
        assert second.port == port
        assert fetch(second.url) == b"hello"


def test_error_of_a_port_in_use_suggests_another_port() -> None:
    with Server(hello) as first:
        with pytest.raises(PortInUse, match=f"port {first.port} is in use.*choose another") as caught:
            Server(hello, port=first.port).start()
        assert caught.value.port == first.port


def test_application_that_does_not_start_raises_not_started() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise OSError("no database")

    before = threading.active_count()
    with pytest.raises(NotStarted, match="did not start"):
        Server(broken, lifespan="on").start()
    assert threading.active_count() == before


def test_invalid_configuration_is_the_cause_of_the_error(tmp_path: Path) -> None:
    server = Server(hello, ssl_certfile=tmp_path / "absent.pem", ssl_keyfile=tmp_path / "absent.key")
    with pytest.raises(NotStarted, match="did not start") as caught:
        server.start()
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[dict[str, Any], ssl.SSLContext]:
    """A server's arguments, and the context of a client that trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return {"ssl_certfile": chain, "ssl_keyfile": key}, trust


def test_server_uses_tls_with_given_files(tls_files: tuple[dict[str, Any], ssl.SSLContext]) -> None:
    files, trust = tls_files
    with Server(hello, **files) as server:
        assert server.url.startswith("https://")
        assert fetch(server.url, ssl_context=trust) == b"hello"


def test_stop_does_not_wait_for_open_connections_or_requests() -> None:
    received = threading.Event()

    async def forever(_scope: Scope, receive: Receive, _send: Send) -> None:
        received.set()
        while True:
            await receive()

    server = Server(forever, lifespan="off").start()
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        socket.create_connection(("127.0.0.1", server.port)) as busy,
    ):
        busy.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert received.wait(60)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 6


def test_running_request_has_the_configured_time_to_end() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        received.set()
        await asyncio.sleep(1.2)
        await hello(scope, receive, send)

    received = threading.Event()
    server = Server(slow, lifespan="off", timeout_graceful_shutdown=60).start()
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(fetch, server.url)
        assert received.wait(60)
        server.stop()
        assert response.result(60) == b"hello"


def test_running_request_is_answered_before_the_server_stops() -> None:
    received, stopping = threading.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        received.set()
        await stopping.wait()
        await hello(scope, receive, send)

    server = Server(slow, on_stop=stopping.set, lifespan="off").start()
    with ThreadPoolExecutor(1) as pool:
        response = pool.submit(fetch, server.url)
        assert received.wait(60)
        server.stop()
        assert response.result(60) == b"hello"


def test_request_sent_just_before_the_stop_is_answered() -> None:
    def send_request() -> None:
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    with socket.socket() as connection:
        connection.settimeout(60)
        with Server(hello, on_stop=send_request, lifespan="off") as server:
            pass
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_connection_made_just_before_the_stop_is_closed(sent: bytes) -> None:
    for _ in range(5):
        server = Server(hello, lifespan="off").start()
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(sent)
            server.stop()
            with suppress(ConnectionResetError):  # it was not accepted
                while connection.recv(1000):
                    pass
    gc.collect()  # a transport that was not closed fails the test


def test_connection_of_an_idle_tls_client_is_closed(
    tls_files: tuple[dict[str, Any], ssl.SSLContext],
) -> None:
    files, trust = tls_files
    with (
        Server(hello, lifespan="off", timeout_graceful_shutdown=0, **files) as server,
        urllib3.PoolManager(ssl_context=trust) as client,
    ):
        assert client.request("GET", server.url).data == b"hello"
        server.stop()  # the client keeps its connection, and does not see that the server ends TLS
    gc.collect()  # a transport that was not closed fails the test


def test_connection_of_a_client_that_stops_reading_is_closed() -> None:
    async def long(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(10_000_000)})

    server = Server(long, lifespan="off", timeout_graceful_shutdown=0).start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1) == b"H"
        server.stop()
        with suppress(ConnectionResetError):  # the response was not sent to its end
            while connection.recv(1_000_000):
                pass
    gc.collect()  # a transport that was not closed fails the test


def test_server_can_be_stopped_after_a_test_advanced_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = AdvancedMonotonic()
    with Server(hello) as server:
        name = f"server-{server.port}"
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", clock)
            clock.advance(3600)
            time.sleep(0.3)  # the server's timers run every 0.1 s
        fetch(server.url)
    assert name not in [thread.name for thread in threading.enumerate()]


def test_signal_handlers_stay_unchanged() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Server(hello) as server:
        fetch(server.url)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_stop_may_be_called_before_start_and_twice() -> None:
    server = Server(hello)
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_threads_may_start_and_stop_one_server_at_the_same_time() -> None:
    server = Server(hello, lifespan="off")
    with ThreadPoolExecutor(3) as pool:
        for _ in range(50):
            calls: list[Future[Any]] = [
                pool.submit(server.stop),
                pool.submit(server.start),
                pool.submit(server.stop),
            ]
            for call in calls:
                call.result(60)
            server.stop()
