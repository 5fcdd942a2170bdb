"""`python -m mpaas_push call`: unsigned to this machine, signed to any other."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from mpaas_local.fc.signatures import ApiCall, verify_http_trigger
from mpaas_local.mpaas import AccessKey
from mpaas_push.__main__ import main
from tests.servers import LOOPBACK, Server, close, closed_port, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "push.cn-hangzhou.fcapp.run"
DONE = reply({"status": "ok"}, headers=[("X-Fc-Request-Id", "1-2-3")])


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MPAAS_AK_ENV", "MPAAS_SK_ENV", "PUSH_HTTP_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.caller")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "caller-secret")
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "caller-token")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A trigger with a public name that resolves to this machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("ALIBABA_CLOUD_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    getaddrinfo = socket.getaddrinfo

    def resolve_here(host: str | bytes, *arguments: Any, **options: Any) -> Any:
        return getaddrinfo(LOOPBACK if host in (HOST, HOST.encode()) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    with Server(DONE, tls=context, host=HOST) as server:
        yield server


def test_request_to_a_deployed_function_is_signed(
    deployed: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "push.json").write_text('{"title": "汉"}', "utf-8")
    arguments = ["POST", "/v1/pushes?dryRun=true", "--data", str(tmp_path / "push.json")]

    code = main(["call", "--url", deployed.url, *arguments, "--header", "Idempotency-Key: 4711"])

    printed = capsys.readouterr()
    assert (code, json.loads(printed.out), printed.err) == (0, {"status": "ok"}, "HTTP 200, request 1-2-3\n")
    request = deployed.request
    assert (request.method, request.body) == ("POST", '{"title": "汉"}'.encode())
    assert request.headers["idempotency-key"] == "4711"
    path, _, query = request.path.partition("?")
    headers = {name: [value] for name, value in request.headers.items()}
    call = ApiCall(method=request.method, path=path, query=query, headers=headers, body=request.body)
    verify_http_trigger(call, {"STS.caller": AccessKey("caller-secret", "caller-token")})


def test_token_replaces_the_signature(deployed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_HTTP_URL", f"{deployed.url}/")

    assert main(["call", "/v1/health", "--header", "Authorization: Bearer token"]) == 0

    assert deployed.request.method == "GET"
    assert deployed.request.path == "/v1/health"
    assert deployed.request.headers["authorization"] == "Bearer token"
    assert not {name for name in deployed.request.headers if name.startswith("x-acs-")}


def test_request_to_this_machine_needs_no_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_ID")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    with Server(reply({"title": "invalid"}, 422)) as server:
        code = main(["call", "--url", server.url, "/v1/pushes"])

    assert (code, capsys.readouterr().err) == (1, "HTTP 422\n")
    assert "authorization" not in server.request.headers


def test_request_without_a_response_may_have_been_processed(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(close) as server:
        assert main(["call", "--url", server.url, "/v1/health"]) == 4

    assert "may have been processed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["/v1/health"], "PUSH_HTTP_URL"),
        (["--url", f"http://{HOST}", "/v1/health"], "must be https"),
        (["--url", f"https://user:secret@{HOST}", "/v1/health"], "https://HOST"),
        (["--url", "https://[", "/v1/health"], "https://HOST"),
        (["--url", f"https://{HOST}", "v1/health"], "PATH must start with /"),
        (["--url", f"http://{LOOPBACK}:{closed_port()}", "/v1/health"], "no connection"),
        (["--url", f"http://{LOOPBACK}:1", "/v1/health", "--header", "Accept"], "NAME:VALUE"),
        (["--url", f"http://{LOOPBACK}:1", "/v1 /health"], "percent-encode"),
        (["--url", f"http://{LOOPBACK}:1", "/", "--data", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_request_that_cannot_be_sent_says_why(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", *arguments]) == 1

    error = capsys.readouterr().err
    assert text in error
    assert "secret" not in error
