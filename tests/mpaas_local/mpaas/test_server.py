from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import trustme

from mpaas_local.mpaas import NotStarted, PortInUse, Sandbox
from mpaas_local.ports import unassigned_port
from tests.mpaas_local.mpaas.calls import get, push, raw_push, send, signed_query
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_the_sandbox_listens_on_loopback_only(sandbox: Sandbox) -> None:
    assert sandbox.url == f"http://127.0.0.1:{sandbox.port}"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", sandbox.port), timeout=1)


def test_a_port_in_use_is_reported(sandbox: Sandbox) -> None:
    with pytest.raises(PortInUse, match=rf"port {sandbox.port} ") as raised:
        Sandbox(port=sandbox.port)

    assert raised.value.port == sandbox.port


def test_an_invalid_certificate_is_reported_at_startup(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")

    with pytest.raises(NotStarted) as raised:
        Sandbox(ssl_certfile=tmp_path / "cert.pem")

    assert isinstance(raised.value.__cause__, ssl.SSLError)


def test_closing_twice_is_harmless_and_frees_thread_and_port() -> None:
    sandbox = Sandbox(port=unassigned_port())
    name = f"server-{sandbox.port}"
    sandbox.close()
    sandbox.close()

    assert name not in {thread.name for thread in threading.enumerate()}
    Sandbox(port=sandbox.port).close()


def test_closing_does_not_wait_for_a_delay() -> None:
    with Sandbox() as sandbox:
        sandbox.order(kind="delay", milliseconds=60_000)
        client = threading.Thread(target=send, args=(sandbox,))
        client.start()
        eventually(sandbox.inbox)
    client.join(30)

    assert not client.is_alive()


def test_the_sandbox_serves_https_and_resets_its_connections(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with Sandbox(ssl_certfile=tmp_path / "both.pem") as sandbox:
        assert sandbox.url.startswith("https://127.0.0.1:")
        connection = http.client.HTTPSConnection("127.0.0.1", sandbox.port, context=context, timeout=60)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        for kind in ("resetBeforeRead", "resetAfterRead"):
            sandbox.order(kind=kind)
            body = push()
            plain = socket.create_connection(("127.0.0.1", sandbox.port))
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted:
                encrypted.sendall(raw_push(body))
                # OpenSSL reports a reset as an end of file; the socket underneath distinguishes them.
                with pytest.raises(ConnectionResetError):
                    _read_to_the_end(encrypted.fileno())


def test_responses_do_not_wait_for_a_delayed_acknowledgement(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=60)
    seconds = []
    for _ in range(50):
        body = push()
        path = f"/?{urlencode(signed_query(body))}"
        started = time.perf_counter()
        connection.request("POST", path, urlencode(body), _FORM)
        assert connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
    connection.close()

    assert get(sandbox, "/health").json["entries"] == 50
    # Without TCP_NODELAY, Linux delays every response but the first by 40 ms; a busy machine delays some.
    assert min(seconds[1:]) < 0.04


def _read_to_the_end(file: int) -> None:
    while os.read(file, 65536):
        pass
