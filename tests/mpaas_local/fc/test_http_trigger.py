"""The HTTP trigger: real requests over loopback, the events created from them, and the responses."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.errors import PAYLOAD_LIMIT, Throttled
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.server import Server
from tests.clocks import ManualClock
from tests.mpaas_local.callables import ScriptedFunction
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
WEB = HERE / "functions" / "web"
PAIRS = sorted(path.stem for path in (HERE / "events").glob("*.http"))


@dataclass(frozen=True)
class Reply:
    payload: bytes = b"ok"
    error_type: str | None = None


class Recorder:
    """A fake function that records its events and returns a configured reply."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.reply: Reply | Exception = Reply()

    def __call__(self, event: bytes, request_id: str) -> Reply:
        self.events.append(json.loads(event))
        self.ids.append(request_id)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def returns(self, **response: Any) -> None:
        self.reply = Reply(json.dumps(response).encode())


@pytest.fixture(scope="module")
def any_recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorder(any_recorder: Recorder) -> Recorder:
    any_recorder.reset()  # all tests share one server
    return any_recorder


@pytest.fixture(scope="module", params=["h11", "httptools"])
def gateway(any_recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(create_gateway(any_recorder), http=request.param) as server:
        yield server


@pytest.fixture
def client() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        yield pool


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        response = b""
        while b"\r\n\r\nok" not in response and (chunk := connection.recv(65536)):
            response += chunk
    return response


def get(client: urllib3.PoolManager, server: Server, **options: Any) -> urllib3.BaseHTTPResponse:
    return client.request(options.pop("method", "GET"), server.url + options.pop("path", "/"), **options)


# Request → event


@pytest.mark.parametrize("name", PAIRS)
def test_request_becomes_the_documented_event(gateway: Server, recorder: Recorder, name: str) -> None:
    text = (HERE / "events" / f"{name}.http").read_bytes()
    chunked = b"chunked" in text
    head, _, body = text.partition(b"\n\n")
    body = body.replace(b"\n", b"\r\n") if chunked else body.removesuffix(b"\n")
    raw(gateway, head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
    (event,) = recorder.events
    expected = json.loads((HERE / "events" / f"{name}.json").read_text())
    for key in ("requestId", "time", "timeEpoch"):
        expected["requestContext"][key] = event["requestContext"][key]
    assert event == expected
    assert [list(event), list(event["requestContext"]), list(event["requestContext"]["http"])] == [
        list(expected),
        list(expected["requestContext"]),
        list(expected["requestContext"]["http"]),
    ]


def test_request_id_has_the_format_of_fc_and_is_the_same_everywhere(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    response = get(client, gateway)
    (event,), (request_id,) = recorder.events, recorder.ids
    assert event["requestContext"]["requestId"] == request_id == response.headers["X-Fc-Request-Id"]
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", request_id)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
def test_every_method_reaches_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, method: str
) -> None:
    response = get(client, gateway, method=method)
    assert response.status == 200
    assert response.data == (b"" if method == "HEAD" else b"ok")
    assert recorder.events[0]["requestContext"]["http"]["method"] == method


def test_client_address_is_that_of_the_peer_regardless_of_headers(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    get(client, gateway, headers={"X-Forwarded-For": "203.0.113.7"})
    assert recorder.events[0]["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_bad_response_is_502(gateway: Server, recorder: Recorder, client: urllib3.PoolManager) -> None:
    recorder.returns(statusCode=200, headers={"X": "x" * 8192})
    response = get(client, gateway)
    assert response.status == 502
    assert response.json() == {
        "errorCode": "BadResponse",
        "errorMessage": "headers have more than 8192 bytes",
    }


def test_response_has_only_the_headers_of_the_function_and_of_fc(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    recorder.returns(statusCode=202, headers={"X-Mine": "1"}, body="text")
    response = get(client, gateway)
    assert response.status == 202
    assert {name.lower() for name in response.headers} == {
        "content-length",
        "content-type",
        "date",
        "x-fc-request-id",
        "x-mine",
    }
    assert response.data == b"text"


@pytest.mark.parametrize("status", [204, 304])
def test_response_to_a_status_without_body_has_no_body(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, status: int
) -> None:
    recorder.returns(statusCode=status, body="dropped")
    for _ in range(2):  # on one connection
        response = get(client, gateway)
        assert (response.status, response.data) == (status, b"")
        assert "content-length" not in response.headers


def test_response_to_head_has_the_length_of_the_body_but_no_body(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    recorder.returns(statusCode=200, body="12345")
    response = get(client, gateway, method="HEAD")
    assert (response.data, response.headers["content-length"]) == (b"", "5")


def test_response_to_an_origin_has_the_default_cors_headers_unless_the_function_sets_them(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    headers = {"Origin": gateway.url}
    response = get(client, gateway, headers=headers)
    assert response.headers["access-control-allow-origin"] == gateway.url
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-expose-headers"] == "Date,x-fc-request-id"
    assert "access-control-allow-origin" not in get(client, gateway).headers
    recorder.returns(statusCode=200, headers={"Access-Control-Allow-Origin": "*"})
    assert get(client, gateway, headers=headers).headers["access-control-allow-origin"] == "*"


# Errors and limits


def test_error_of_the_function_is_502_without_details(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    recorder.reply = Reply(b'{"errorMessage": "a secret"}', "UnhandledInvocationError")
    response = get(client, gateway)
    assert (response.status, response.data) == (502, b"Internal Server Error")
    assert len(response.data) == 21
    assert response.headers["x-fc-request-id"] == recorder.ids[0]


def test_throttled_call_is_429(gateway: Server, recorder: Recorder, client: urllib3.PoolManager) -> None:
    recorder.reply = Throttled("f", 3)
    response = get(client, gateway)
    assert response.status == 429
    assert response.json()["errorCode"] == "ResourceExhausted"


def test_error_of_the_host_is_500_and_logged(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.reply = FileNotFoundError("no interpreter")
    response = get(client, gateway)
    assert response.status == 500
    assert response.json()["errorCode"] == "InternalServerError"
    assert recorder.ids[0] in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"headers": {"X-Large": "x" * 8192}}, "headers have"),
        ({"path": "/" + "p" * 4096}, "path and query have 4097 bytes"),
        ({"path": "/?" + "q" * 4095}, "path and query have 4097 bytes"),
        ({"headers": {"X-Fc-Invocation-Type": "Async"}}, "no asynchronous queue"),
    ],
)
def test_invalid_request_is_refused_without_calling_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, options: dict[str, Any], text: str
) -> None:
    response = get(client, gateway, **options)
    assert response.status == 400
    error = response.json()
    assert error["errorCode"] == "InvalidArgument"
    assert text in error["errorMessage"]
    assert recorder.events == []


def test_request_within_the_limits_reaches_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    headers = {"X-Large": "x" * 7900, "X-Fc-Invocation-Type": "Sync"}
    assert get(client, gateway, path="/" + "p" * 4095, headers=headers).status == 200
    assert len(recorder.events[0]["rawPath"]) == 4096


def test_body_of_at_most_32_mb_is_accepted(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    body = b"x" * (32 * 1024 * 1024)
    headers = {"Content-Type": "text/plain"}
    assert get(client, gateway, method="POST", body=body, headers=headers).status == 200
    assert len(recorder.events[0]["body"]) == len(body)
    refused = get(client, gateway, method="POST", body=body + b"x", headers=headers)
    assert (refused.status, refused.json()["errorCode"]) == (400, "InvalidArgument")
    assert len(recorder.events) == 1


# With a hosted function


@pytest.fixture
def hosted(request: pytest.FixtureRequest) -> Iterator[tuple[Server, FunctionHost]]:
    function = Function(name="web", folder=WEB, handler=f"index.{request.param}")
    with FunctionHost(function, limit=2) as host, Server(create_gateway(host)) as server:
        yield server, host


@pytest.mark.parametrize("hosted", ["handler"], indirect=True)
def test_request_reaches_a_real_function_and_its_response_the_client(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    response = get(client, hosted[0], method="POST", body=b"hello", headers={"Content-Type": "text/plain"})
    assert response.status == 201
    assert response.headers["x-custom"] == "yes"
    assert response.json() == {"method": "POST", "body": "hello"}


@pytest.mark.parametrize("hosted", ["plain"], indirect=True)
def test_object_without_a_status_code_is_sent_indented_and_sorted(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    assert get(client, hosted[0]).data == b'{\n    "a": 1,\n    "b": 2\n}'


@pytest.mark.parametrize("hosted", ["fail"], indirect=True)
def test_exception_of_a_real_function_is_not_disclosed(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    response = get(client, hosted[0])
    assert (response.status, response.data) == (502, b"Internal Server Error")


@pytest.mark.parametrize("hosted", ["wait_for_file"], indirect=True)
def test_requests_run_concurrently_up_to_the_limit_and_are_then_throttled(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager, tmp_path: Path
) -> None:
    server, host = hosted
    end = tmp_path / "end"

    def call() -> int:
        with urllib3.PoolManager(retries=False, timeout=60) as own_client:
            return get(own_client, server, headers={"X-File": str(end)}).status

    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(call) for _ in range(2)]
        eventually(lambda: len(host.processes) == 2)
        assert [get(client, server).status for _ in range(3)] == [429, 429, 429]
        end.touch()
        assert [status.result() for status in slow] == [200, 200]


@pytest.mark.parametrize("hosted", ["wait_for_file"], indirect=True)
def test_server_stops_during_a_call(hosted: tuple[Server, FunctionHost]) -> None:
    server, host = hosted
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-File: /no/such\r\n\r\n")
        eventually(lambda: host.processes)
        server.stop()
    assert host.processes


def send_and_disconnect(server: Server, path: str, host: FunctionHost) -> None:
    """Send a request and disconnect as soon as an instance serves it."""
    before = set(host.processes)
    body = '{"headers": {"X-File": "/no/such"}}'
    lines = ("Host: 127.0.0.1", "X-File: /no/such", f"Content-Length: {len(body)}", "", body)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall("\r\n".join((f"POST {path} HTTP/1.1", *lines)).encode())
        eventually(lambda: set(host.processes) - before)


def test_instance_is_killed_when_the_client_disconnects() -> None:
    lines: list[str] = []
    function = Function(name="web", folder=WEB, handler="index.wait_for_file")
    with FunctionHost(function, on_log=lambda *line: lines.append(line[2])) as host:
        with Server(create_gateway(host)) as server:
            send_and_disconnect(server, "/", host)
            eventually(lambda: not host.processes)
        with AsyncQueue("web", host.invoke) as queue:
            api = create_api({"web": Callee(host.invoke, queue, host.cancel)})
            with Server(api) as server:
                send_and_disconnect(server, "/invocations/web", host)
                eventually(lambda: not host.processes)
    ends = [line for line in lines if "Error: Invocation canceled by client (duration: " in line]
    assert len(ends) == 2
    assert all(line.startswith("FC Invoke End RequestId: 1-") for line in ends)


def test_cancel_does_nothing_without_a_running_call_of_this_id() -> None:
    with FunctionHost(Function(name="web", folder=WEB, handler="index.plain")) as host:
        result = host.invoke(b"{}")
        assert not host.cancel(result.request_id)
        assert host.processes


# Asynchronous requests


def test_asynchronous_request_is_accepted_and_processed_later(client: urllib3.PoolManager) -> None:
    function = ScriptedFunction()
    headers = {"X-Fc-Invocation-Type": "Async", "X-Fc-Async-Task-Id": "task-1"}
    config = AsyncConfig(task_mode=True)
    with AsyncQueue("f", function, config=config) as queue:
        recorder = Recorder()
        with Server(create_gateway(recorder, accept=queue.accept)) as server:
            accepted = get(client, server, method="POST", path="/v1?a=1", body=b"hello", headers=headers)
            repeated = get(client, server, method="POST", body=b"hello", headers=headers)
            too_large = get(client, server, method="POST", body=b"x" * (PAYLOAD_LIMIT + 1), headers=headers)
            headers.pop("X-Fc-Async-Task-Id")
            largest = get(client, server, method="POST", body=b"x" * PAYLOAD_LIMIT, headers=headers)
        assert queue.finish(60)

    assert (accepted.status, accepted.data) == (202, b"")
    assert largest.status == 202
    call, _ = function.calls
    assert call.request_id == accepted.headers["X-Fc-Request-Id"]
    assert call.json["rawPath"] == "/v1"
    assert recorder.events == []
    assert (repeated.status, repeated.json()["errorCode"]) == (409, "AsyncTaskAlreadyExists")
    assert too_large.status == 400


def test_asynchronous_request_may_have_a_delay(client: urllib3.PoolManager) -> None:
    function, clock = ScriptedFunction(), ManualClock()
    headers = {"X-Fc-Invocation-Type": "Async", "X-Fc-Async-Delay": "60"}
    with AsyncQueue("f", function, clock=clock) as queue:
        with Server(create_gateway(Recorder(), accept=queue.accept)) as server:
            accepted = get(client, server, method="POST", headers=headers)
            text = get(client, server, method="POST", headers={**headers, "X-Fc-Async-Delay": "soon"})
            zero = get(client, server, method="POST", headers={**headers, "X-Fc-Async-Delay": "0"})
        assert queue.settle()
        assert function.calls == []
        assert clock.skip() == 60
        assert queue.finish()

    assert [response.status for response in (accepted, text, zero)] == [202, 400, 400]
    assert len(function.calls) == 1
