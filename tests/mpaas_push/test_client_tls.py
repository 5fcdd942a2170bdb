from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import trustme

from mpaas_push import Credentials, Invocation, Misconfigured, Outcome, PushClient, PushMessage, retries
from mpaas_push.outcome import ACCEPTED, MISCONFIGURED, THROTTLED, UNKNOWN
from tests.clocks import AdvancedMonotonic
from tests.mpaas_push.message.examples import minimal
from tests.servers import LOOPBACK, Server, hang, listening, reply, reset

if TYPE_CHECKING:
    from pathlib import Path

INVOCATION = Invocation(request_id="1-2", credentials=Credentials("LTAI-test-id", "test-secret"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The CA file configured by the operator."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "sleep", lambda _: None)


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the server side of TLS with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    return presenting(authority.issue_cert("localhost", "127.0.0.1"))


def send(endpoint: str, ca_bundle: str | None, **settings: str) -> Outcome:
    env = {"MPAAS_ENDPOINT": endpoint, "MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"} | settings
    if ca_bundle:
        env["ALIBABA_CLOUD_CA_BUNDLE"] = ca_bundle
    with PushClient.from_env(env) as client:
        (outcome,) = client.send(PushMessage.parse(minimal()), invocation=INVOCATION)
    return outcome


def test_valid_certificate_is_accepted_and_the_server_name_is_sent(tls: ssl.SSLContext, bundle: str) -> None:
    with Server(tls=tls, host="localhost") as server:
        assert send(server.url, bundle).kind is ACCEPTED

        assert server.names == ["localhost"]
        assert server.request.headers["host"] == f"localhost:{server.port}"
        assert server.request.form["AppId"] == "A"


def test_certificate_for_an_ip_address_is_accepted(tls: ssl.SSLContext, bundle: str) -> None:
    with Server(tls=tls) as server:
        assert send(server.url, bundle).kind is ACCEPTED


def assert_refused(outcome: Outcome, server: Server, reason: str) -> None:
    assert (outcome.kind, outcome.result_code, outcome.attempts) == (MISCONFIGURED, "CertificateRefused", 1)
    assert outcome.result_message is not None
    assert reason in outcome.result_message
    assert "ALIBABA_CLOUD_CA_BUNDLE" in outcome.result_message
    assert (server.connections, server.application_bytes, server.requests) == (1, 0, [])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificate_for_another_name_is_refused_before_anything_is_sent(
    authority: trustme.CA, bundle: str, version: ssl.TLSVersion
) -> None:
    tls = presenting(authority.issue_cert("mpaas.example.com", "localhost.example.com", "127.0.0.2"))
    tls.maximum_version = version
    for host in ("localhost", LOOPBACK):
        with Server(tls=tls, host=host) as server:
            assert_refused(send(server.url, bundle), server, "certificate is not valid for")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificate_of_another_authority_is_refused_before_anything_is_sent(
    bundle: str, version: ssl.TLSVersion
) -> None:
    tls = presenting(trustme.CA().issue_cert("localhost"))
    tls.maximum_version = version
    with Server(tls=tls, host="localhost") as server:
        assert_refused(send(server.url, bundle), server, "unable to get local issuer certificate")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_expired_certificate_is_refused_before_anything_is_sent(
    authority: trustme.CA, bundle: str, version: ssl.TLSVersion
) -> None:
    now = datetime.now(timezone.utc)
    expired = authority.issue_cert(
        "localhost", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
    )
    tls = presenting(expired)
    tls.maximum_version = version
    with Server(tls=tls, host="localhost") as server:
        assert_refused(send(server.url, bundle), server, "certificate has expired")


def test_certificate_that_is_not_valid_yet_is_refused(authority: trustme.CA, bundle: str) -> None:
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    early = authority.issue_cert("localhost", not_before=tomorrow, not_after=tomorrow + timedelta(days=9))
    with Server(tls=presenting(early), host="localhost") as server:
        assert_refused(send(server.url, bundle), server, "not yet valid")


def test_refused_certificate_is_never_retried(authority: trustme.CA, bundle: str) -> None:
    tls = presenting(authority.issue_cert("mpaas.example.com"))
    with Server(tls=tls, host="localhost") as server:
        outcome = send(server.url, bundle, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="9")

        assert_refused(outcome, server, "localhost")


def test_only_system_authorities_are_trusted_without_a_bundle(
    tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with Server(tls=tls, host="localhost") as server:
        assert_refused(send(server.url, None), server, "unable to get local issuer certificate")

    # OpenSSL's own variable says where the system keeps them.
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with Server(tls=tls, host="localhost") as server:
        assert send(server.url, None).kind is ACCEPTED


def test_system_authorities_are_not_trusted_with_a_bundle(
    tls: ssl.SSLContext, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    with Server(tls=tls, host="localhost") as server:
        assert_refused(send(server.url, str(other)), server, "unable to get local issuer certificate")


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_bundle_that_holds_no_certificate_is_named(text: str, tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text(text)

    with pytest.raises(Misconfigured, match="ALIBABA_CLOUD_CA_BUNDLE") as caught:
        PushClient.from_env({"ALIBABA_CLOUD_CA_BUNDLE": str(broken)})

    assert caught.value.setting == "ALIBABA_CLOUD_CA_BUNDLE"


@pytest.fixture
def old_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = presenting(authority.issue_cert("localhost"))
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_tls_below_1_2_is_not_negotiated(old_tls: ssl.SSLContext, bundle: str) -> None:
    with Server(tls=old_tls, host="localhost") as server:
        # The server does support it: a willing client negotiates it.
        willing = ssl.create_default_context(cafile=bundle)
        willing.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            willing.minimum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection((LOOPBACK, server.port)) as connection,
            willing.wrap_socket(connection, server_hostname="localhost") as negotiated,
        ):
            assert negotiated.version() == "TLSv1.1"

        outcome = send(server.url, bundle, PUSH_MAX_ATTEMPTS="1")

        assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectionFailed")
        assert server.application_bytes == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_connections_are_reused_with_every_tls_version(
    tls: ssl.SSLContext, bundle: str, version: ssl.TLSVersion
) -> None:
    tls.minimum_version = tls.maximum_version = version
    with Server(tls=tls, host="localhost") as server:
        with PushClient.from_env(server.env | {"ALIBABA_CLOUD_CA_BUNDLE": bundle}) as client:
            for _ in range(5):
                (outcome,) = client.send(PushMessage.parse(minimal()), invocation=INVOCATION)
                assert outcome.kind is ACCEPTED

        assert (len(server.requests), server.connections) == (5, 1)


@pytest.mark.parametrize("close", [False, True])
def test_connection_that_the_server_closed_is_replaced(tls: ssl.SSLContext, bundle: str, close: bool) -> None:
    with Server(reply(close=close), tls=tls, host="localhost") as server:
        with PushClient.from_env(server.env | {"ALIBABA_CLOUD_CA_BUNDLE": bundle}) as client:
            for _ in range(3):
                (outcome,) = client.send(PushMessage.parse(minimal()), invocation=INVOCATION)
                server.hang_up()

                assert (outcome.kind, outcome.attempts) == (ACCEPTED, 1)
        assert server.connections == 3


def test_request_without_a_response_is_unknown(tls: ssl.SSLContext, bundle: str) -> None:
    for respond in (reset, hang):
        with Server(respond, tls=tls, host="localhost") as server:
            outcome = send(server.url, bundle, PUSH_READ_TIMEOUT_SECONDS="2")
            server.await_requests(1)

            assert (outcome.kind, outcome.attempts) == (UNKNOWN, 1)
            assert len(server.requests) == 1


Connection = Callable[[socket.socket], None]


def respond_in_plain_http(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def cut(_: socket.socket) -> None:
    """Close immediately, in the middle of the handshake."""


@pytest.mark.parametrize("then", [respond_in_plain_http, cut])
def test_failed_handshake_is_retried_and_sends_nothing(then: Connection, bundle: str) -> None:
    received: list[bytes] = []

    def respond(connection: socket.socket) -> None:
        received.append(connection.recv(65536))
        then(connection)

    with listening(respond) as port:
        outcome = send(f"https://localhost:{port}", bundle, PUSH_MAX_ATTEMPTS="3")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectionFailed", 3)
    assert len(received) == 3
    for greeting in received:
        # Only a TLS handshake record, no part of the request.
        assert greeting[:1] == b"\x16"
        assert b"AccessKeyId" not in greeting
        assert b"POST" not in greeting


def test_handshake_that_never_ends_times_out_before_anything_is_sent(bundle: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        endpoint = f"https://localhost:{listener.getsockname()[1]}"
        outcome = send(endpoint, bundle, PUSH_CONNECT_TIMEOUT_SECONDS="0.1", PUSH_MAX_ATTEMPTS="2")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectTimeout", 2)


def test_slow_name_server_leaves_a_handshake_less_time(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def getaddrinfo(*_: object, **__: object) -> list[object]:
            clock.advance(299.5)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname())]

        monotonic, clock = time.monotonic, AdvancedMonotonic()
        monkeypatch.setattr(time, "monotonic", clock)
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        began = monotonic()
        outcome = send(
            "https://mpaas.example.com", bundle, PUSH_CONNECT_TIMEOUT_SECONDS="300", PUSH_MAX_ATTEMPTS="1"
        )

    assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectTimeout")
    assert monotonic() - began < 60
