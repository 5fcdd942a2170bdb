"""Calls of functions of FC 3.0 and FC 2.0 on a server that verifies the signatures."""

from __future__ import annotations

import io
import json
import logging
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from mpaas_local.account import Account
from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.mpaas import AccessKey
from mpaas_local.server import Server
from mpaas_push import Credentials, Misconfigured, Settings, acs3
from mpaas_push.functions import NOT_REACHED, FunctionFailed, Functions, InvocationRefused, InvocationUnknown
from tests.servers import LOOPBACK, closed_port, listening, reply
from tests.servers import Server as ScriptedServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = Credentials("STS.caller", "caller-secret", "caller-token")
SECRETS = ("caller-secret", "caller-token", "STS.caller")
HANDLER = """
import json, os, time

def handler(event, context):
    if event == b"fail":
        raise ValueError("not today")
    if event == b"exit":
        raise SystemExit(1)
    while event.startswith(b"/") and os.path.exists(event):
        time.sleep(0.01)
    return event.decode() + "!"
"""
GENERATIONS = ["callee", "fc2:service/callee"]


class Deployed:
    """One function, callable by its FC 3.0 name and as part of an FC 2.0 service."""

    def __init__(self, url: str, queue: AsyncQueue) -> None:
        self.url = url
        self.queue = queue

    def functions(self, key: Credentials = KEY, timeout: float = 60) -> Functions:
        return Functions(Settings.from_env({"PUSH_FC_ENDPOINT": self.url}), key, timeout=timeout)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder: Path = tmp_path_factory.mktemp("callee")
    (folder / "index.py").write_text(HANDLER)
    keys = {KEY.access_key_id: AccessKey(KEY.access_key_secret, KEY.security_token)}
    with (
        FunctionHost(Function(name="callee", folder=folder), account=Account(), limit=1) as host,
        AsyncQueue("callee", host.invoke, config=AsyncConfig(task_mode=True)) as queue,
    ):
        callee = Callee(host.invoke, queue)
        app = create_api({"callee": callee, "service/callee": callee}, access_keys=keys)
        with Server(app) as server:
            yield Deployed(server.url, queue)


@pytest.fixture(autouse=True)
def no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for secret in SECRETS:
        assert secret not in caplog.text


@pytest.mark.parametrize("function", GENERATIONS)
def test_function_returns_a_payload_and_a_request_id(deployed: Deployed, function: str) -> None:
    result = deployed.functions().invoke(function, b"hello")

    assert result.payload == b"hello!"
    assert result.request_id


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("payload", [b"", "汉字 %20+ü".encode()])
def test_payloads_arrive_unchanged(deployed: Deployed, function: str, payload: bytes) -> None:
    assert deployed.functions().invoke(function, payload).payload == payload + b"!"


@pytest.mark.parametrize("function", GENERATIONS)
def test_failed_function_raises_function_failed(deployed: Deployed, function: str) -> None:
    with pytest.raises(FunctionFailed, match="ValueError: not today") as error:
        deployed.functions().invoke(function, b"fail")

    assert error.value.error_type == "UnhandledInvocationError"
    assert error.value.request_id
    assert json.loads(error.value.payload)["errorType"] == "ValueError"


def test_long_error_of_a_function_is_visibly_cut() -> None:
    payload = json.dumps({"errorType": "ValueError", "errorMessage": "x" * 301}).encode()

    assert f"ValueError: {'x' * 300}… (request id-1)" in str(FunctionFailed("f", "id-1", "Error", payload))


@pytest.mark.parametrize("function", GENERATIONS)
def test_function_that_exits_raises_function_failed(deployed: Deployed, function: str) -> None:
    with pytest.raises(FunctionFailed, match="failed"):
        deployed.functions().invoke(function, b"exit")


@pytest.mark.parametrize(
    ("function", "code"), [("nothing", "FunctionNotFound"), ("fc2:service/nothing", "FunctionNotFound")]
)
def test_call_of_a_missing_function_is_refused(deployed: Deployed, function: str, code: str) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions().invoke(function, b"x")

    assert (error.value.status, error.value.code) == (404, code)
    assert not error.value.is_retryable


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize(
    "key",
    [
        Credentials("STS.caller", "wrong-secret", "caller-token"),
        Credentials("STS.caller", "caller-secret", "wrong-token"),
        Credentials("STS.caller", "caller-secret"),
        Credentials("STS.nobody", "caller-secret", "caller-token"),
    ],
)
def test_wrong_key_is_refused(deployed: Deployed, function: str, key: Credentials) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions(key).invoke(function, b"x")

    assert error.value.status == 403
    for secret in SECRETS:
        assert secret not in str(error.value)


@pytest.mark.parametrize("function", GENERATIONS)
def test_call_refused_for_load_is_retryable(deployed: Deployed, tmp_path: Path, function: str) -> None:
    busy, until_removed = deployed.functions(), tmp_path / "busy"
    until_removed.touch()
    with pytest.raises(InvocationUnknown):
        deployed.functions(timeout=0.5).invoke(function, bytes(until_removed))
    with pytest.raises(InvocationRefused) as error:
        busy.invoke(function, b"x")

    assert (error.value.status, error.value.code) == (429, "ResourceExhausted")
    assert error.value.is_retryable
    until_removed.unlink()
    wait_until_free(deployed, function)


def wait_until_free(deployed: Deployed, function: str) -> None:
    while True:
        with suppress(InvocationRefused):
            deployed.functions().invoke(function, b"x")
            return


@pytest.mark.parametrize("function", GENERATIONS)
def test_event_is_accepted_asynchronously_and_a_task_id_only_once(deployed: Deployed, function: str) -> None:
    functions = deployed.functions()
    task = f"task-{function.replace(':', '-').replace('/', '-')}"

    accepted = functions.invoke_later(function, b"later", task_id=task)

    assert accepted.request_id
    assert accepted.payload == b""
    with pytest.raises(InvocationRefused) as error:
        functions.invoke_later(function, b"later", task_id=task)
    assert (error.value.status, error.value.code) == (409, "AsyncTaskAlreadyExists")
    assert error.value.was_accepted_before
    assert deployed.queue.finish(60)
    assert deployed.queue.tasks[task] == "Succeeded"


@pytest.mark.parametrize("function", GENERATIONS)
def test_event_that_is_too_long_is_refused(deployed: Deployed, function: str) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions().invoke_later(function, b"x" * 200_000)

    assert error.value.status == 400


# --- Nothing is sent twice


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("later", [False, True])
def test_call_is_not_retried_after_a_broken_connection(function: str, later: bool) -> None:
    seen: list[bytes] = []

    def break_connection(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))

    with listening(break_connection) as port:
        functions = Functions(Settings(fc_endpoint=f"http://{LOOPBACK}:{port}"), KEY, timeout=60)
        with pytest.raises(InvocationUnknown, match="may have been called: no response") as error:
            (functions.invoke_later if later else functions.invoke)(function, b"x")

    assert len(seen) == 1
    assert str(port) not in str(error.value)


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_call_without_a_connection_is_reported_as_not_made(function: str, scheme: str) -> None:
    functions = Functions(Settings(fc_endpoint=f"{scheme}://{LOOPBACK}:{closed_port()}"), KEY)

    with pytest.raises(InvocationRefused, match=r"no connection \(ConnectionRefusedError\)") as error:
        functions.invoke(function, b"x")

    assert (error.value.status, error.value.code) == (0, "NotReached")
    assert error.value.is_retryable


# --- Which responses count as accepted


def sending(status: str, body: bytes = b"", **headers: str) -> Callable[[socket.socket], None]:
    """Send the same response to every call; underscores in header names become hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    response = "\r\n".join([*lines, "", ""]).encode() + body

    def respond(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(response)

    return respond


def functions_at(port: int) -> Functions:
    return Functions(Settings(fc_endpoint=f"http://{LOOPBACK}:{port}"), KEY, timeout=60)


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize(
    "respond",
    [
        sending("200 OK", b"<html>welcome</html>", Content_Type="text/html"),
        sending("200 OK", b"", X_Fc_Request_Id="1-2"),
        sending("202 Accepted"),
        sending("202 Accepted", b"", X_Fc_Request_Id="1-2 <b>"),
        sending("204 No Content"),
        sending("500 Internal Server Error", b'{"errorCode": "InternalServerError"}'),
        sending("502 Bad Gateway", b"oops"),
        sending("503 Service Unavailable", b"<html>proxy</html>"),
    ],
)
def test_response_that_does_not_confirm_acceptance_is_unknown(
    function: str, respond: Callable[[socket.socket], None]
) -> None:
    with listening(respond) as port, pytest.raises(InvocationUnknown, match="may have been called: HTTP"):
        functions_at(port).invoke_later(function, b"x")


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize(
    ("respond", "status", "code", "is_retryable"),
    [
        (sending("400 Bad Request", b'{"errorCode": "InvalidArgument"}'), 400, "InvalidArgument", False),
        (sending("403 Forbidden", b"<html>proxy</html>"), 403, "HTTP403", False),
        (sending("407 Proxy Authentication Required"), 407, "HTTP407", False),
        (
            sending("409 Conflict", b'{"errorCode": "ConcurrentUpdateError"}'),
            409,
            "ConcurrentUpdateError",
            False,
        ),
        (sending("409 Conflict", b"AsyncTaskAlreadyExists"), 409, "HTTP409", False),
        (
            sending("429 Too Many Requests", b'{"ErrorCode": "ResourceExhausted"}'),
            429,
            "ResourceExhausted",
            True,
        ),
        (
            sending("503 Service Unavailable", b'{"errorCode": "ServiceUnavailable"}'),
            503,
            "ServiceUnavailable",
            True,
        ),
        (sending("400 Bad Request", b'{"errorCode": "a b\\n<script>"}'), 400, "HTTP400", False),
        (sending("400 Bad Request", b"[" * 100_000), 400, "HTTP400", False),
    ],
)
def test_refusal_is_distinguished_from_an_already_accepted_task(
    function: str, respond: Callable[[socket.socket], None], status: int, code: str, is_retryable: bool
) -> None:
    with listening(respond) as port, pytest.raises(InvocationRefused) as error:
        functions_at(port).invoke_later(function, b"x", task_id="task")

    assert (error.value.status, error.value.code) == (status, code)
    assert error.value.is_retryable == is_retryable
    assert not error.value.was_accepted_before


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_no_redirect_is_followed(function: str, status: str) -> None:
    redirected: list[bytes] = []

    def record(connection: socket.socket) -> None:
        redirected.append(connection.recv(65536))

    with listening(record) as other:
        location = f"http://{LOOPBACK}:{other}/"
        with (
            listening(sending(status, Location=location)) as port,
            pytest.raises(InvocationRefused) as error,
        ):
            functions_at(port).invoke_later(function, b"x")

    assert error.value.status == int(status[:3])
    assert redirected == []


@pytest.mark.parametrize("function", GENERATIONS)
def test_call_with_an_unsendable_header_is_not_made(function: str) -> None:
    seen: list[bytes] = []

    def record(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))

    key = Credentials("id", "secret", "token\r\nx-fc-invocation-type: Sync")
    with listening(record) as port:
        functions = Functions(Settings(fc_endpoint=f"http://{LOOPBACK}:{port}"), key)
        with pytest.raises(InvocationRefused, match="has characters that cannot be sent") as error:
            functions.invoke_later(function, b"x")

    assert error.value.code == NOT_REACHED
    assert "token" not in str(error.value).replace("security-token", "")
    assert seen == []


@pytest.mark.parametrize("function", GENERATIONS)
def test_no_proxy_is_used(function: str, deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:{closed_port()}")

    assert deployed.functions().invoke(function, b"hello").payload == b"hello!"


# --- The certificate


@pytest.mark.parametrize("function", GENERATIONS)
def test_server_certificate_is_checked_against_the_ca_bundle(function: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    accepted = ScriptedServer(reply({}, 202, headers=[("X-Fc-Request-Id", "1-2")]), tls=tls, host="localhost")
    with accepted as server:
        trusting = Functions(Settings(fc_endpoint=server.url, ca_bundle=str(bundle)), KEY)
        assert trusting.invoke_later(function, b"x").request_id == "1-2"

        with pytest.raises(InvocationRefused, match="certificate was refused") as error:
            Functions(Settings(fc_endpoint=server.url), KEY).invoke_later(function, b"x")

        assert error.value.code == NOT_REACHED
        assert len(server.requests) == 1


# --- The signature


@pytest.mark.parametrize("key", [KEY, Credentials("LTAI-id", "a-secret")], ids=["sts", "long-term"])
@pytest.mark.parametrize("function", ["callee", "service$callee", "汉字 a/b"])
def test_signature_equals_that_of_the_official_sdk(
    function: str, key: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alibabacloud_fc20230330 import models  # 700 modules: imported late, only by workers that run this
    from alibabacloud_fc20230330.client import Client
    from alibabacloud_tea_openapi.utils import Utils
    from alibabacloud_tea_openapi.utils_models import Config
    from darabonba.runtime import RuntimeOptions

    calls: list[tuple[Any, str, str]] = []
    sign = Utils.get_authorization

    def record(request: Any, kind: str, payload: str, key_id: str, secret: str) -> str:
        authorization = str(sign(request, kind, payload, key_id, secret))
        calls.append((request, payload, authorization))
        return authorization

    monkeypatch.setattr(Utils, "get_authorization", record)
    payload = "汉字 %20+ü".encode()
    with ScriptedServer(reply({}, 202, headers=[("X-Fc-Request-Id", "1-2")])) as server:
        config = Config(
            access_key_id=key.access_key_id,
            access_key_secret=key.access_key_secret,
            security_token=key.security_token,
            endpoint=f"{LOOPBACK}:{server.port}",
            protocol="HTTP",
        )
        invoke_headers = models.InvokeFunctionHeaders(
            x_fc_invocation_type="Async", x_fc_async_task_id="task-1"
        )
        request = models.InvokeFunctionRequest(body=io.BytesIO(payload))
        Client(config).invoke_function_with_options(function, request, invoke_headers, RuntimeOptions())
        Functions(Settings(fc_endpoint=server.url), key).invoke_later(function, payload, task_id="task-1")
        official, ours = server.requests

    ((signed, body_hash, expected),) = calls
    headers = {name: value for name, value in signed.headers.items() if name != "Authorization"}
    canonical, names = acs3.canonical_request("POST", signed.pathname, signed.query, headers, body_hash)
    assert acs3.authorization(canonical, names, key) == expected

    assert (ours.method, ours.path, ours.body) == (official.method, official.path, official.body)
    official_only = {"user-agent", "accept-encoding", "connection", "x-acs-credentials-provider"}
    per_request = {"x-acs-date", "x-acs-signature-nonce", "authorization", "connection"}
    assert ours.headers.keys() - per_request == official.headers.keys() - per_request - official_only
    for name in ours.headers.keys() - per_request:
        assert ours.headers[name] == official.headers[name]
    our_names = ours.headers["authorization"].split("SignedHeaders=")[1].partition(",")[0].split(";")
    assert set(our_names) == ours.headers.keys() - {"authorization", "connection", "content-length"}


# --- Function names and endpoints


@pytest.mark.parametrize("name", ["fc2:callee", "fc2:a/b/c", "fc2:/b", "fc2:a/"])
def test_fc2_name_must_have_a_service_and_a_function(name: str) -> None:
    with pytest.raises(Misconfigured, match="fc2:service/function"):
        Functions(Settings(fc_endpoint="http://127.0.0.1:9"), KEY).invoke(name, b"")


def test_endpoint_comes_from_account_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FC_ACCOUNT_ID", "FC_REGION", "ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID"):
        monkeypatch.delenv(name, raising=False)
    functions = Functions(Settings(), KEY)
    with pytest.raises(Misconfigured, match="PUSH_FC_ENDPOINT"):
        functions.invoke("f", b"")

    monkeypatch.setenv("FC_ACCOUNT_ID", "1000000000000000")
    monkeypatch.setenv("FC_REGION", "cn-hangzhou")

    assert functions.endpoint == "https://1000000000000000.cn-hangzhou.fc.aliyuncs.com"


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "https://host/path"])
def test_endpoint_is_https_or_loopback(url: Any) -> None:
    with pytest.raises(Misconfigured, match="PUSH_FC_ENDPOINT"):
        Settings.from_env({"PUSH_FC_ENDPOINT": url})
