"""Calling functions through both official SDKs, before a server that verifies their signatures."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.fc.api import Callee, create_events_app
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.host import Account, Function, FunctionHost
from mpaas_local.mpaas import AccessKey
from mpaas_local.server import Server
from mpaas_push import Credentials, Misconfigured, Settings
from mpaas_push.functions import FunctionFailed, Functions, InvocationRefused, InvocationUnknown
from tests.servers import LOOPBACK, closed_port, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

KEY = Credentials("STS.caller", "caller-secret", "caller-token")
SECRETS = ("caller-secret", "caller-token", "STS.caller")
HANDLER = """
import json, time

def handler(event, context):
    if event == b"fail":
        raise ValueError("not today")
    if event == b"exit":
        raise SystemExit(1)
    if event == b"sleep":
        time.sleep(3)
    return event.decode() + "!"
"""
GENERATIONS = ["callee", "fc2:service/callee"]


class Deployed:
    """One function, to be called as one of FC 3.0 and as one of a service of FC 2.0."""

    def __init__(self, url: str, queue: AsyncQueue) -> None:
        self.url = url
        self.queue = queue

    def functions(self, key: Credentials = KEY, timeout: float = 30) -> Functions:
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
        app = create_events_app({"callee": callee, "service/callee": callee}, access_keys=keys)
        with Server(app) as server:
            yield Deployed(server.url, queue)


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for secret in SECRETS:
        assert secret not in caplog.text


@pytest.mark.parametrize("function", GENERATIONS)
def test_a_function_answers(deployed: Deployed, function: str) -> None:
    answer = deployed.functions().invoke(function, b"hello")

    assert answer.payload == b"hello!"
    assert answer.request_id


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("payload", [b"", "汉字 %20+ü".encode()])
def test_payloads_arrive_as_they_are(deployed: Deployed, function: str, payload: bytes) -> None:
    assert deployed.functions().invoke(function, payload).payload == payload + b"!"


@pytest.mark.parametrize("function", GENERATIONS)
def test_a_function_that_fails_is_an_error_of_its_own(deployed: Deployed, function: str) -> None:
    with pytest.raises(FunctionFailed, match="ValueError: not today") as error:
        deployed.functions().invoke(function, b"fail")

    assert error.value.error_type == "UnhandledInvocationError"
    assert error.value.request_id
    assert json.loads(error.value.payload)["errorType"] == "ValueError"


@pytest.mark.parametrize("function", GENERATIONS)
def test_a_function_that_exits_failed_too(deployed: Deployed, function: str) -> None:
    with pytest.raises(FunctionFailed, match="failed"):
        deployed.functions().invoke(function, b"exit")


@pytest.mark.parametrize(
    ("function", "code"), [("nothing", "FunctionNotFound"), ("fc2:service/nothing", "FunctionNotFound")]
)
def test_a_function_that_is_not_there_is_refused(deployed: Deployed, function: str, code: str) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions().invoke(function, b"x")

    assert (error.value.status, error.value.code) == (404, code)
    assert not error.value.may_be_tried_again


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
def test_a_wrong_key_is_refused(deployed: Deployed, function: str, key: Credentials) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions(key).invoke(function, b"x")

    assert error.value.status == 403
    for secret in SECRETS:
        assert secret not in str(error.value)


@pytest.mark.parametrize("function", GENERATIONS)
def test_a_call_refused_for_load_may_be_tried_again(deployed: Deployed, function: str) -> None:
    busy = deployed.functions()
    with pytest.raises(InvocationUnknown):
        deployed.functions(timeout=0.5).invoke(function, b"sleep")
    with pytest.raises(InvocationRefused) as error:
        busy.invoke(function, b"x")

    assert (error.value.status, error.value.code) == (429, "ResourceExhausted")
    assert error.value.may_be_tried_again
    time.sleep(3)


@pytest.mark.parametrize("function", GENERATIONS)
def test_an_event_is_handed_over_and_a_task_only_once(deployed: Deployed, function: str) -> None:
    functions = deployed.functions()
    task = f"task-{function.replace(':', '-').replace('/', '-')}"

    accepted = functions.invoke_later(function, b"later", task_id=task)

    assert accepted.request_id
    assert accepted.payload == b""
    with pytest.raises(InvocationRefused) as error:
        functions.invoke_later(function, b"later", task_id=task)
    assert (error.value.status, error.value.code) == (409, "AsyncTaskAlreadyExists")
    assert deployed.queue.finish(20)
    assert deployed.queue.tasks[task] == "Succeeded"


@pytest.mark.parametrize("function", GENERATIONS)
def test_an_event_that_is_too_long_is_refused(deployed: Deployed, function: str) -> None:
    with pytest.raises(InvocationRefused) as error:
        deployed.functions().invoke_later(function, b"x" * 200_000)

    assert error.value.status == 400


# --- Nothing is sent twice


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("later", [False, True])
def test_a_broken_connection_is_not_tried_again(function: str, later: bool) -> None:
    seen: list[bytes] = []

    def breaks(connection: socket.socket) -> None:
        seen.append(connection.recv(65536))

    with listening(breaks) as port:
        functions = Functions(Settings(fc_endpoint=f"http://{LOOPBACK}:{port}"), KEY, timeout=5)
        with pytest.raises(InvocationUnknown, match="nobody knows whether .* no answer") as error:
            (functions.invoke_later if later else functions.invoke)(function, b"x")

    assert len(seen) == 1
    assert str(port) not in str(error.value)


@pytest.mark.parametrize("function", GENERATIONS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_call_that_found_no_way_was_not_made(function: str, scheme: str) -> None:
    functions = Functions(Settings(fc_endpoint=f"{scheme}://{LOOPBACK}:{closed_port()}"), KEY)

    with pytest.raises(InvocationRefused, match=r"no connection \(ConnectionRefusedError\)") as error:
        functions.invoke(function, b"x")

    assert (error.value.status, error.value.code) == (0, "NotReached")
    assert error.value.may_be_tried_again


@pytest.mark.parametrize("function", GENERATIONS)
def test_an_error_without_json_is_typed_and_not_tried_again(function: str) -> None:
    seen = 0

    def answers(connection: socket.socket) -> None:
        nonlocal seen
        seen += 1
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops")

    with listening(answers) as port:
        functions = Functions(Settings(fc_endpoint=f"http://{LOOPBACK}:{port}"), KEY)
        with pytest.raises((InvocationUnknown, InvocationRefused)):
            functions.invoke(function, b"x")

    assert seen == 1


# --- Where


@pytest.mark.parametrize("name", ["fc2:callee", "fc2:a/b/c", "fc2:/b", "fc2:a/"])
def test_a_name_of_a_service_must_have_two_parts(name: str) -> None:
    with pytest.raises(Misconfigured, match="fc2:service/function"):
        Functions(Settings(fc_endpoint="http://127.0.0.1:9"), KEY).invoke(name, b"")


def test_the_endpoint_comes_from_account_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FC_ACCOUNT_ID", "FC_REGION", "ALIBABA_CLOUD_ACCOUNT_ID", "ALIBABA_CLOUD_REGION_ID"):
        monkeypatch.delenv(name, raising=False)
    functions = Functions(Settings(), KEY)
    with pytest.raises(Misconfigured, match="PUSH_FC_ENDPOINT"):
        functions.invoke("f", b"")

    monkeypatch.setenv("FC_ACCOUNT_ID", "1000000000000000")
    monkeypatch.setenv("FC_REGION", "cn-hangzhou")

    assert functions.endpoint == "https://1000000000000000.cn-hangzhou.fc.aliyuncs.com"


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "https://host/path"])
def test_an_endpoint_is_https_or_loopback(url: Any) -> None:
    with pytest.raises(Misconfigured, match="PUSH_FC_ENDPOINT"):
        Settings.from_env({"PUSH_FC_ENDPOINT": url})
