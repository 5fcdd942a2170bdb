"""The HTTP trigger: real requests over loopback, the event that they become, the response that comes back."""

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

from mpaas_local.clock import ManualClock
from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.fc.errors import PAYLOAD_LIMIT, Throttled
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.server import Server
from tests.mpaas_local.callables import ScriptedFunction
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
WEB = HERE / "functions" / "web"
DOMAIN = "demo-abcdefgh.cn-hangzhou.fcapp.run"
PAIRS = sorted(path.stem for path in (HERE / "events").glob("*.http"))


@dataclass(frozen=True)
class Reply:
    payload: bytes = b"ok"
    error_type: str | None = None


class Recorder:
    """Stands for a function: keeps the events, gives what it is told to."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
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
    any_recorder.forget()  # one server for all tests, nothing left of the last one
    return any_recorder


@pytest.fixture(scope="module", params=["h11", "httptools"])
def gateway(any_recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(create_gateway(any_recorder, domain=DOMAIN), http=request.param) as server:
        yield server


@pytest.fixture
def client() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=60) as pool:
        yield pool


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\nok" not in answer and (chunk := connection.recv(65536)):
            answer += chunk
    return answer


def get(client: urllib3.PoolManager, server: Server, **more: Any) -> urllib3.BaseHTTPResponse:
    return client.request(more.pop("method", "GET"), server.url + more.pop("path", "/"), **more)


# Request → event


@pytest.mark.parametrize("name", PAIRS)
def test_request_becomes_the_documented_event(gateway: Server, recorder: Recorder, name: str) -> None:
    text = (HERE / "events" / f"{name}.http").read_bytes()
    chunked = b"chunked" in text
    head, _, body = text.partition(b"\n\n")
    body = body.replace(b"\n", b"\r\n") if chunked else body.removesuffix(b"\n")
    raw(gateway, head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
    (event,) = recorder.events
    wanted = json.loads((HERE / "events" / f"{name}.json").read_text())
    for given in ("requestId", "time", "timeEpoch"):
        wanted["requestContext"][given] = event["requestContext"][given]
    assert event == wanted
    assert [list(event), list(event["requestContext"]), list(event["requestContext"]["http"])] == [
        list(wanted),
        list(wanted["requestContext"]),
        list(wanted["requestContext"]["http"]),
    ]


def test_request_id_has_the_form_of_fc_and_is_the_same_everywhere(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    response = get(client, gateway)
    (event,), (given,) = recorder.events, recorder.ids
    assert event["requestContext"]["requestId"] == given == response.headers["X-Fc-Request-Id"]
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", given)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
def test_every_method_reaches_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, method: str
) -> None:
    response = get(client, gateway, method=method)
    assert response.status == 200
    assert response.data == (b"" if method == "HEAD" else b"ok")
    assert recorder.events[0]["requestContext"]["http"]["method"] == method


def test_address_of_the_client_is_the_peer_whatever_a_header_says(
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


def test_response_carries_the_headers_of_the_function_and_those_of_fc_only(
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
def test_status_without_a_body_is_sent_without_one(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, status: int
) -> None:
    recorder.returns(statusCode=status, body="dropped")
    for _ in range(2):  # on one connection
        response = get(client, gateway)
        assert (response.status, response.data) == (status, b"")
        assert "content-length" not in response.headers


def test_head_tells_the_length_of_the_body_and_sends_none(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    recorder.returns(statusCode=200, body="12345")
    response = get(client, gateway, method="HEAD")
    assert (response.data, response.headers["content-length"]) == (b"", "5")


def test_attachment_of_the_default_domain_is_forced_on_request_only(
    recorder: Recorder, client: urllib3.PoolManager
) -> None:
    recorder.returns(statusCode=200, headers={"Content-Disposition": "inline"})
    for attachment, wanted in ((False, "inline"), (True, "attachment")):
        with Server(create_gateway(recorder, attachment=attachment)) as server:
            assert get(client, server).headers["content-disposition"] == wanted


def test_origin_gets_the_default_cors_headers_unless_the_function_sets_them(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    asking = {"Origin": gateway.url}
    response = get(client, gateway, headers=asking)
    assert response.headers["access-control-allow-origin"] == gateway.url
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-expose-headers"] == "Date,x-fc-request-id"
    assert "access-control-allow-origin" not in get(client, gateway).headers
    recorder.returns(statusCode=200, headers={"Access-Control-Allow-Origin": "*"})
    assert get(client, gateway, headers=asking).headers["access-control-allow-origin"] == "*"


# Errors and limits


def test_failed_function_is_502_without_details(
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


def test_host_that_cannot_call_is_500_and_logged(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.reply = FileNotFoundError("no interpreter")
    response = get(client, gateway)
    assert response.status == 500
    assert response.json()["errorCode"] == "InternalServerError"
    assert recorder.ids[0] in caplog.text


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"headers": {"X-Large": "x" * 8192}}, "headers have"),
        ({"path": "/" + "p" * 4096}, "path and query have 4097 bytes"),
        ({"path": "/?" + "q" * 4095}, "path and query have 4097 bytes"),
        ({"headers": {"X-Fc-Invocation-Type": "Async"}}, "no asynchronous queue"),
    ],
)
def test_request_over_a_limit_is_refused_before_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager, request_: dict[str, Any], text: str
) -> None:
    response = get(client, gateway, **request_)
    assert response.status == 400
    error = response.json()
    assert error["errorCode"] == "InvalidArgument"
    assert text in error["errorMessage"]
    assert recorder.events == []


def test_request_just_under_the_limits_reaches_the_function(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    headers = {"X-Large": "x" * 7900, "X-Fc-Invocation-Type": "Sync"}
    assert get(client, gateway, path="/" + "p" * 4095, headers=headers).status == 200
    assert len(recorder.events[0]["rawPath"]) == 4096


def test_body_of_32_mb_is_taken_and_one_byte_more_is_refused(
    gateway: Server, recorder: Recorder, client: urllib3.PoolManager
) -> None:
    body = b"x" * (32 * 1024 * 1024)
    kind = {"Content-Type": "text/plain"}
    assert get(client, gateway, method="POST", body=body, headers=kind).status == 200
    assert len(recorder.events[0]["body"]) == len(body)
    refused = get(client, gateway, method="POST", body=body + b"x", headers=kind)
    assert (refused.status, refused.json()["errorCode"]) == (400, "InvalidArgument")
    assert len(recorder.events) == 1


# With a hosted function


@pytest.fixture
def hosted(request: pytest.FixtureRequest) -> Iterator[tuple[Server, FunctionHost]]:
    function = Function(name="web", folder=WEB, handler=f"index.{request.param}")
    with FunctionHost(function, limit=2) as host, Server(create_gateway(host)) as server:
        yield server, host


@pytest.mark.parametrize("hosted", ["handler"], indirect=True)
def test_request_goes_through_a_real_function_and_back(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    response = get(client, hosted[0], method="POST", body=b"hello", headers={"Content-Type": "text/plain"})
    assert response.status == 201
    assert response.headers["x-shown"] == "yes"
    assert response.json() == {"method": "POST", "body": "hello"}


@pytest.mark.parametrize("hosted", ["plain"], indirect=True)
def test_object_without_a_status_code_arrives_indented_and_sorted(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    assert get(client, hosted[0]).data == b'{\n    "a": 1,\n    "b": 2\n}'


@pytest.mark.parametrize("hosted", ["fail"], indirect=True)
def test_exception_of_a_real_function_stays_inside(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager
) -> None:
    response = get(client, hosted[0])
    assert (response.status, response.data) == (502, b"Internal Server Error")


@pytest.mark.parametrize("hosted", ["wait_for_file"], indirect=True)
def test_requests_run_side_by_side_up_to_the_limit_and_are_throttled_over_it(
    hosted: tuple[Server, FunctionHost], client: urllib3.PoolManager, tmp_path: Path
) -> None:
    server, host = hosted
    end = tmp_path / "end"

    def call() -> int:
        with urllib3.PoolManager(retries=False, timeout=60) as own:
            return get(own, server, headers={"X-File": str(end)}).status

    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(call) for _ in range(2)]
        eventually(lambda: len(host.processes) == 2)
        assert [get(client, server).status for _ in range(3)] == [429, 429, 429]
        end.touch()
        assert [answer.result() for answer in slow] == [200, 200]


@pytest.mark.parametrize("hosted", ["wait_for_file"], indirect=True)
def test_server_stops_though_a_call_is_under_way(hosted: tuple[Server, FunctionHost]) -> None:
    server, host = hosted
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-File: /no/such\r\n\r\n")
        eventually(lambda: host.processes)
        server.stop()
    assert host.processes


def left_alone(server: Server, path: str, host: FunctionHost) -> None:
    """Ask, and leave as soon as an instance serves the request."""
    before = set(host.processes)
    body = '{"headers": {"X-File": "/no/such"}}'
    lines = ("Host: 127.0.0.1", "X-File: /no/such", f"Content-Length: {len(body)}", "", body)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall("\r\n".join((f"POST {path} HTTP/1.1", *lines)).encode())
        eventually(lambda: set(host.processes) - before)


def test_client_that_leaves_costs_the_function_its_instance() -> None:
    lines: list[str] = []
    function = Function(name="web", folder=WEB, handler="index.wait_for_file")
    with FunctionHost(function, on_log=lambda *line: lines.append(line[2])) as host:
        with Server(create_gateway(host)) as server:
            left_alone(server, "/", host)
            eventually(lambda: not host.processes)
        with AsyncQueue("web", host.invoke) as queue:
            api = create_api({"web": Callee(host.invoke, queue, host.cancel)})
            with Server(api) as server:
                left_alone(server, "/invocations/web", host)
                eventually(lambda: not host.processes)
    ends = [line for line in lines if "Error: Invocation canceled by client (duration: " in line]
    assert len(ends) == 2
    assert all(line.startswith("FC Invoke End RequestId: 1-") for line in ends)


def test_nothing_is_cancelled_when_no_call_has_the_id() -> None:
    with FunctionHost(Function(name="web", folder=WEB, handler="index.plain")) as host:
        result = host.invoke(b"{}")
        assert not host.cancel(result.request_id)
        assert host.processes


# Asynchronous requests


def test_a_request_that_nobody_waits_for_is_accepted_and_done_later(client: urllib3.PoolManager) -> None:
    function = ScriptedFunction()
    headers = {"X-Fc-Invocation-Type": "Async", "X-Fc-Async-Task-Id": "task-1"}
    config = AsyncConfig(task_mode=True)
    with AsyncQueue("f", function, config=config) as queue:
        recorder = Recorder()
        with Server(create_gateway(recorder, accept=queue.accept)) as server:
            accepted = get(client, server, method="POST", path="/v1?a=1", body=b"hello", headers=headers)
            again = get(client, server, method="POST", body=b"hello", headers=headers)
            large = get(client, server, method="POST", body=b"x" * (PAYLOAD_LIMIT + 1), headers=headers)
            headers.pop("X-Fc-Async-Task-Id")
            whole = get(client, server, method="POST", body=b"x" * PAYLOAD_LIMIT, headers=headers)
        assert queue.finish(60)

    assert (accepted.status, accepted.data) == (202, b"")
    assert whole.status == 202
    call, _ = function.calls
    assert call.request_id == accepted.headers["X-Fc-Request-Id"]
    assert call.json["rawPath"] == "/v1"
    assert recorder.events == []
    assert (again.status, again.json()["errorCode"]) == (409, "AsyncTaskAlreadyExists")
    assert large.status == 400


def test_a_request_may_be_called_for_later(client: urllib3.PoolManager) -> None:
    function, clock = ScriptedFunction(), ManualClock()
    headers = {"X-Fc-Invocation-Type": "Async", "X-Fc-Async-Delay": "60"}
    with AsyncQueue("f", function, clock=clock) as queue:
        with Server(create_gateway(Recorder(), accept=queue.accept)) as server:
            accepted = get(client, server, method="POST", headers=headers)
            wrong = get(client, server, method="POST", headers={**headers, "X-Fc-Async-Delay": "soon"})
            none = get(client, server, method="POST", headers={**headers, "X-Fc-Async-Delay": "0"})
        assert queue.settle()
        assert function.calls == []
        assert clock.skip() == 60
        assert queue.finish()

    assert [response.status for response in (accepted, wrong, none)] == [202, 400, 400]
    assert len(function.calls) == 1
