from __future__ import annotations

import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push import (
    Credentials,
    Fault,
    InvalidMessage,
    Invocation,
    Misconfigured,
    Outcome,
    OutcomeKind,
    PushClient,
    PushMessage,
    retries,
    transport,
)
from mpaas_push import request as request_module
from mpaas_push.outcome import ACCEPTED, MISCONFIGURED, REFUSED, THROTTLED, UNKNOWN, verdict_of
from mpaas_push.queues.message import LONGEST_DELAY_SECONDS
from mpaas_push.retries import Attempts
from mpaas_push.task import PushTask
from tests.mpaas_push.invocations import KEY, within
from tests.mpaas_push.message.examples import minimal, with_targets
from tests.servers import (
    LOOPBACK,
    OK,
    PATIENCE,
    Exchange,
    Responder,
    Server,
    business,
    closed_port,
    drip,
    gateway,
    hang,
    listening,
    raw,
    reply,
    reset,
    together,
    unresponsive_port,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.redis_server import RedisServer

NO_DEADLINE = Invocation(request_id="1-2", credentials=KEY)


def message(**fields: Any) -> PushMessage:
    return PushMessage.parse(minimal() | fields)


def numbered(count: int) -> list[PushMessage]:
    return [
        message(title=f"message {index}", targetMsgkey={f"user-{index}": f"id-{index}"})
        for index in range(count)
    ]


def send(server: Server, invocation: Invocation = NO_DEADLINE, **env: str) -> Outcome:
    """Send the minimal message to a server and return the outcome."""
    with PushClient.from_env(server.env | env) as client:
        (outcome,) = client.send(message(), invocation=invocation)
    return outcome


def send_to(port: int, invocation: Invocation = NO_DEADLINE, **env: str) -> Outcome:
    endpoint = {"MPAAS_ENDPOINT": f"http://{LOOPBACK}:{port}", "MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    with PushClient.from_env(endpoint | env) as client:
        (outcome,) = client.send(message(), invocation=invocation)
    return outcome


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the delays between attempts instead of sleeping."""
    delays: list[float] = []
    monkeypatch.setattr(retries, "sleep", delays.append)
    return delays


# --- One request --------------------------------------------------------------------------------------


def test_accepted_push_has_an_accepted_outcome() -> None:
    with Server(reply(OK)) as server:
        outcome = send(server)

        assert outcome == Outcome(
            kind=ACCEPTED,
            targets={"user-4711": "order-4711-1"},
            request_id=OK["RequestId"],
            result_code="OK",
            result_message="success",
            attempts=1,
        )
        request = server.request
        assert request.method == "POST"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.headers["host"] == f"{LOOPBACK}:{server.port}"
        assert request.query["AccessKeyId"] == "LTAI-test-id"
        assert request.form["Title"] == "Your order is on its way"


@pytest.mark.parametrize(
    ("respond", "kind", "code"),
    [
        (business("100"), ACCEPTED, "100"),
        (business("3029"), REFUSED, "3029"),
        (business("OK", PushResult={"Success": False}), REFUSED, "OK"),
        (business("8014"), MISCONFIGURED, "8014"),
        (gateway("SignatureDoesNotMatch"), MISCONFIGURED, "SignatureDoesNotMatch"),
        (gateway("Forbidden.RAM", 403), MISCONFIGURED, "Forbidden.RAM"),
        (business("9000"), UNKNOWN, "9000"),
        (gateway("InternalError", 500), UNKNOWN, "InternalError"),
        (gateway("ServiceUnavailable", 503), UNKNOWN, "ServiceUnavailable"),
        (reply(b"<html>", 502), UNKNOWN, "HTTP502"),
        (reply(b"<html>", 200), UNKNOWN, "HTTP200"),
    ],
)
def test_response_determines_the_outcome_after_one_request(
    respond: Responder, kind: OutcomeKind, code: str
) -> None:
    with Server(respond) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (kind, code, 1)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "respond",
    [
        reset,
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{}"),
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"ResultCode": "OK"}\r\n'),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}"),
        raw(b"HTTP/1.1 abc\r\n\r\n"),
        raw(b"\x15\x03\x01\x00\x02\x02\x28"),
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
        raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400_000 + b'\r\n{"ResultCode": "OK"}'),
        raw(b'HTTP/1.1 200 OK\r\n\r\n{"ResultCode": "OK"}' + b" " * 10_000_000),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000),
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
    ],
)
def test_request_with_an_incomplete_response_is_unknown_and_sent_once(
    respond: Responder, delays: list[float]
) -> None:
    with Server(respond) as server:
        outcome = send(server)

        assert outcome.kind is UNKNOWN
        assert outcome.attempts == 1
        assert len(server.requests) == 1
        assert delays == []


def test_read_timeout_is_unknown() -> None:
    with Server(hang) as server:
        outcome = send(server, PUSH_READ_TIMEOUT_SECONDS="0.1")
        server.await_requests(1)

        assert (outcome.kind, outcome.result_code) == (UNKNOWN, "ReadTimeout")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
        b"HTTP/1.1 200\r\ncOnTeNt-LeNgTh: %d\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Odd: \xff\xfe\r\nX-Odd: again\r\nContent-Length: %d\r\n\r\n",
    ],
)
def test_unusual_but_complete_response_is_read(head: bytes) -> None:
    body = b'{"ResultCode": "OK"}'
    with Server(raw(head % len(body) + body)) as server:
        assert send(server).kind is ACCEPTED


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
def test_response_may_end_with_the_connection(end: bytes) -> None:
    with Server(raw(b"HTTP/1.1 200 OK\r\n" + end + b'\r\n{"ResultCode": "OK"}')) as server:
        assert send(server).kind is ACCEPTED


def test_response_may_be_chunked() -> None:
    with Server(
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"ResultCode": "OK"}\r\n0\r\n\r\n')
    ) as server:
        assert send(server).kind is ACCEPTED


def test_data_after_a_response_is_discarded() -> None:
    first, second = b'{"ResultCode": "3028"}', b'{"ResultCode": "OK"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    both = raw(head % len(first) + first + head % len(second) + second)
    with Server(both, reply()) as server, PushClient.from_env(server.env) as client:
        (outcome,) = client.send(message(), invocation=NO_DEADLINE)
        (after,) = client.send(message(), invocation=NO_DEADLINE)

        assert (outcome.kind, outcome.result_code) == (REFUSED, "3028")
        assert after.kind is ACCEPTED
        assert server.connections == 2


@pytest.mark.parametrize("stray", [b"\r\n\x00\x01", b"stray", b"{}"])
def test_accepted_response_followed_by_stray_bytes_counts_and_closes_the_connection(stray: bytes) -> None:
    def respond(exchange: Exchange) -> bool:
        body = b'{"ResultCode": "OK"}'
        exchange.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + stray)
        return True

    with Server(respond, reply()) as server, PushClient.from_env(server.env) as client:
        (outcome,) = client.send(message(), invocation=NO_DEADLINE)
        (after,) = client.send(message(), invocation=NO_DEADLINE)

        assert (outcome.kind, after.kind) == (ACCEPTED, ACCEPTED)
        assert server.connections == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with Server() as elsewhere:
        target = ("Location", f"{elsewhere.url}/")
        with Server(reply(b"", status, headers=[target])) as server:
            outcome = send(server)

            assert (outcome.kind, outcome.result_code) == (UNKNOWN, f"HTTP{status}")
            assert len(server.requests) == 1
        assert elsewhere.requests == []


def test_keys_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPAAS_AK_ENV", "env-id")
    monkeypatch.setenv("MPAAS_SK_ENV", "env-secret")
    with Server() as server, PushClient.from_env(server.env) as client:
        client.send(message())

        assert server.request.query["AccessKeyId"] == "env-id"


def test_without_keys_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MPAAS_AK_ENV",
        "MPAAS_SK_ENV",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    ):
        monkeypatch.delenv(name, raising=False)
    with Server() as server, PushClient.from_env(server.env) as client:
        with pytest.raises(Misconfigured, match="MPAAS_AK_ENV"):
            client.send(message())

        assert server.connections == 0


def test_each_invocation_signs_with_its_own_keys() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        for name in ("first", "second"):
            client.send(
                message(),
                invocation=Invocation(
                    request_id="1", credentials=Credentials(f"{name}-id", "s", f"{name}-token")
                ),
            )

        assert [request.query["AccessKeyId"] for request in server.requests] == ["first-id", "second-id"]
        assert [request.query["SecurityToken"] for request in server.requests] == [
            "first-token",
            "second-token",
        ]


def test_message_without_an_app_is_refused_before_anything_is_sent() -> None:
    with Server() as server, PushClient.from_env({"MPAAS_ENDPOINT": server.url}) as client:
        (outcome,) = client.send(message(), invocation=NO_DEADLINE)

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (REFUSED, "InvalidMessage", 0)
        assert outcome.targets == {"user-4711": "order-4711-1"}
        assert server.connections == 0


def test_message_too_new_for_the_api_version_is_refused_before_anything_is_sent() -> None:
    with Server() as server:
        old = server.env | {"MPAAS_API_VERSION": "2019-08-21"}
        with PushClient.from_env(old) as client:
            (outcome,) = client.send(message(channelId="orders"), invocation=NO_DEADLINE)

        assert outcome.kind is REFUSED
        assert [fault.field for fault in outcome.faults] == ["channelId"]
        assert server.connections == 0


def test_more_than_ten_targets_become_several_requests_with_an_outcome_each() -> None:
    targets = [f"user-{number}" for number in range(25)]

    def respond(exchange: Any) -> bool:
        full = len(exchange.request.targets) == 10
        return (reply() if full else business("3028"))(exchange)

    with Server(respond) as server, PushClient.from_env(server.env) as client:
        outcomes = client.send(PushMessage.parse(with_targets(*targets)), scope="s", invocation=NO_DEADLINE)

        assert [outcome.kind for outcome in outcomes] == [ACCEPTED, ACCEPTED, REFUSED]
        assert [target for outcome in outcomes for target in outcome.targets] == targets
        sent = {target: mid for request in server.requests for target, mid in request.targets.items()}
        assert sent == {target: mid for outcome in outcomes for target, mid in outcome.targets.items()}


def test_same_scope_gives_the_same_message_ids_and_none_gives_new_ones() -> None:
    push = PushMessage.parse(with_targets("user-1"))
    with Server() as server, PushClient.from_env(server.env) as client:
        for scope in ("event-1", "event-1", "event-2", None, None):
            client.send(push, scope=scope, invocation=NO_DEADLINE)

        ids = [request.targets["user-1"] for request in server.requests]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 4


@pytest.mark.parametrize(
    "broken",
    [
        {"image_urls": {"defaultUrl": "\ud800"}},
        {"third_channel_category": {"hms": "\ud800"}},
        {"title": "\ud800"},
        {"workspace_id": "\ud800"},
        {"extended_params": {"key": "\ud800"}},
        {"target_msgkey": {"\ud800": "id"}},
        {"target_msgkey": {"user-1": "\ud800"}},
        {"target_msgkey": None, "targets": ("\ud800",)},
        {"strategy_type": 2, "strategy_content": {"time": "\ud800"}},
    ],
)
def test_unpaired_surrogate_is_refused_without_an_exception(broken: dict[str, Any]) -> None:
    arguments = {name: value for name, value in message() if value is not None} | broken
    with Server() as server, PushClient.from_env(server.env) as client:
        try:
            push = PushMessage(**arguments)
        except ValueError:
            return
        (outcome,) = client.send(push, invocation=NO_DEADLINE)

        assert outcome.kind is REFUSED
        assert server.connections == 0


# --- Retries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("respond", [gateway("Throttling.User"), business("8011"), reply(b"slow down", 429)])
def test_throttled_request_is_retried_up_to_the_limit(respond: Responder, delays: list[float]) -> None:
    with Server(respond) as server:
        outcome = send(server, PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.attempts) == (THROTTLED, 3)
        assert len(server.requests) == 3
        assert len(delays) == 2
        assert all(0 <= delay <= 0.4 * 2**index for index, delay in enumerate(delays))


def test_throttled_request_may_be_accepted_on_a_later_attempt() -> None:
    with Server(gateway("Throttling"), gateway("Throttling"), reply()) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.attempts, outcome.result_code) == (ACCEPTED, 3, "OK")


def test_every_attempt_has_the_same_ids_and_its_own_signature() -> None:
    with Server(gateway("Throttling"), reply()) as server, PushClient.from_env(server.env) as client:
        client.send(PushMessage.parse(with_targets("user-1", "user-2")), invocation=NO_DEADLINE)

        first, second = server.requests
        assert first.body == second.body
        assert first.query["SignatureNonce"] != second.query["SignatureNonce"]
        assert first.query["Signature"] != second.query["Signature"]


def test_retry_after_is_honoured(delays: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="7"), reply()) as server:
        assert send(server).kind is ACCEPTED

        assert delays == [7.0]


def test_retry_after_beyond_the_deadline_ends_the_attempts_and_is_reported(delays: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="30")) as server:
        outcome = send(server, within(5))

        assert (outcome.kind, outcome.attempts, outcome.retry_after) == (THROTTLED, 1, 30.0)
        assert delays == []


@pytest.mark.parametrize("retry_after", ["86400", "9" * 300])
def test_retry_after_of_hours_ends_the_attempts_even_without_deadline(
    retry_after: str, delays: list[float]
) -> None:
    with Server(gateway("Throttling", Retry_After=retry_after)) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.attempts) == (THROTTLED, 1)
        assert delays == []


def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:{closed_port()}")

    with Server() as server:
        assert send(server).kind is ACCEPTED


def test_refused_connection_is_retried_and_ends_throttled(delays: list[float]) -> None:
    outcome = send_to(closed_port(), PUSH_MAX_ATTEMPTS="3")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectionFailed", 3)
    assert len(delays) == 2


def test_connect_timeout_ends_throttled() -> None:
    with unresponsive_port() as port:
        outcome = send_to(port, PUSH_CONNECT_TIMEOUT_SECONDS="0.1", PUSH_MAX_ATTEMPTS="2")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectTimeout", 2)


@pytest.fixture
def host_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the endpoint's name resolve to several addresses (ports) after a delay."""

    def resolve_to(*ports: int, delay: float = 0.0) -> None:
        def getaddrinfo(*_: object, **__: object) -> list[Any]:
            time.sleep(delay)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port)) for port in ports]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return resolve_to


def test_unresponsive_addresses_share_one_connect_timeout(host_at: Callable[..., None]) -> None:
    with unresponsive_port() as port:
        host_at(*[port] * 60)
        began = time.monotonic()
        outcome = send_to(port, PUSH_CONNECT_TIMEOUT_SECONDS="0.5", PUSH_MAX_ATTEMPTS="1")

    assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectTimeout")
    assert time.monotonic() - began < 15  # not 0.5 s for each


def test_unresponsive_address_leaves_time_for_the_next(host_at: Callable[..., None]) -> None:
    with unresponsive_port() as port, Server() as server:
        host_at(port, closed_port(), server.port)

        assert send(server, PUSH_CONNECT_TIMEOUT_SECONDS="3", PUSH_MAX_ATTEMPTS="1").kind is ACCEPTED


def test_host_that_does_not_exist_ends_throttled() -> None:
    with PushClient.from_env(
        {"MPAAS_ENDPOINT": "https://no-such-host.invalid", "MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    ) as client:
        (outcome,) = client.send(message(), invocation=NO_DEADLINE)

    assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectionFailed")


def test_connection_closed_before_reading_is_not_accepted() -> None:
    with listening(lambda _: None) as port:
        assert send_to(port).kind in {THROTTLED, UNKNOWN}


@pytest.mark.parametrize("respond", [reset, raw(b""), gateway("InternalError", 500), business("9000")])
def test_unknown_request_is_resent_only_if_the_setting_says_so(respond: Responder) -> None:
    with Server(respond, reply()) as server:
        assert send(server).kind is UNKNOWN
        assert len(server.requests) == 1
    with Server(respond, reply()) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry")

        assert (outcome.kind, outcome.attempts) == (ACCEPTED, 2)
        first, second = server.requests
        assert first.form["TargetMsgkey"] == second.form["TargetMsgkey"]
        assert first.query["SignatureNonce"] != second.query["SignatureNonce"]


def test_request_after_a_read_timeout_is_resent_if_the_setting_says_so() -> None:
    with Server(hang, reply()) as server:
        outcome = send(
            server, PUSH_ON_UNKNOWN="retry", PUSH_READ_TIMEOUT_SECONDS="0.5", PUSH_MAX_ATTEMPTS="20"
        )

        assert outcome.kind is ACCEPTED
        assert outcome.attempts > 1
        assert len({request.form["TargetMsgkey"] for request in server.requests}) == 1


@pytest.mark.parametrize("later", [business("3028"), gateway("Forbidden.RAM", 403), gateway("Throttling")])
def test_unknown_request_stays_unknown_unless_it_is_then_accepted(later: Responder) -> None:
    with Server(gateway("InternalError", 500), later) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.result_code) == (UNKNOWN, "InternalError")
        assert outcome.attempts == len(server.requests) > 1


def test_request_unknown_at_every_attempt_is_unknown() -> None:
    with Server(reset) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.attempts) == (UNKNOWN, 3)


@pytest.mark.parametrize("retry", ["report", "retry"])
@pytest.mark.parametrize(
    "respond",
    [business("3028"), business("3007"), gateway("InvalidTitle"), gateway("SignatureDoesNotMatch", 403)],
)
def test_permanent_failure_is_never_retried(respond: Responder, retry: str, delays: list[float]) -> None:
    with Server(respond) as server:
        outcome = send(server, PUSH_ON_UNKNOWN=retry)

        assert outcome.kind in {REFUSED, MISCONFIGURED}
        assert len(server.requests) == 1
        assert delays == []


@pytest.mark.parametrize("code", ["InvalidTimeStamp.Expired", "InvalidTimeStamp.Format"])
def test_clock_error_is_retried_once(code: str) -> None:
    with Server(gateway(code)) as server:
        outcome = send(server, PUSH_MAX_ATTEMPTS="9")

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (MISCONFIGURED, code, 2)
    with Server(gateway(code), reply()) as server:
        assert send(server).kind is ACCEPTED


def test_one_attempt_means_one_request() -> None:
    for respond in (gateway("Throttling"), gateway("InvalidTimeStamp.Expired"), reset):
        with Server(respond) as server:
            assert send(server, PUSH_MAX_ATTEMPTS="1", PUSH_ON_UNKNOWN="retry").attempts == 1
            assert len(server.requests) == 1


# --- Time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, -1000])
def test_without_time_left_nothing_is_sent(seconds: float) -> None:
    with Server() as server:
        outcome = send(server, within(seconds))

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "NotSent", 0)
        assert server.connections == 0


def test_messages_without_time_left_are_not_sent() -> None:
    with Server(hang) as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        outcomes = client.send_all(numbered(20), invocation=within(2))

        codes = [outcome.result_code for (outcome,) in outcomes]
        sent = codes.count("ReadTimeout")
        assert sent <= 2
        assert codes == ["ReadTimeout"] * sent + ["NotSent"] * (20 - sent)
        assert len(server.requests) <= sent


def test_waiting_for_a_response_ends_at_the_deadline() -> None:
    with Server(hang) as server:
        outcome = send(server, within(2), PUSH_READ_TIMEOUT_SECONDS="300", PUSH_ON_UNKNOWN="retry")
        server.await_requests(1)

        assert (outcome.kind, outcome.result_code) == (UNKNOWN, "ReadTimeout")  # the server never hangs up
        assert len(server.requests) == 1


def test_reading_a_slow_response_ends_at_the_deadline() -> None:
    with Server(drip) as server:
        assert send(server, within(2)).kind is UNKNOWN


@pytest.mark.timeout(100)
def test_connecting_ends_at_the_deadline() -> None:
    with unresponsive_port() as port:
        outcome = send_to(port, within(0.2), PUSH_CONNECT_TIMEOUT_SECONDS="300")

    assert outcome.kind is THROTTLED


def test_request_is_not_sent_when_time_runs_out_during_signing(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> str:
        time.sleep(0.2)
        return "nonce"

    monkeypatch.setattr(request_module, "_nonce", slow)
    with Server() as server:
        assert send(server, within(0.1)).kind is THROTTLED
        assert server.requests == []


def test_no_delay_is_longer_than_the_time_left(delays: list[float]) -> None:
    with Server(gateway("Throttling")) as server:
        outcome = send(server, within(10), PUSH_MAX_ATTEMPTS="20")

        assert outcome.kind is THROTTLED
        assert all(delay < 10 for delay in delays)


# --- Many messages --------------------------------------------------------------------------------------


def test_outcomes_follow_the_order_of_messages_and_requests_are_concurrent() -> None:
    with Server(together(8)) as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "8"}) as client:
        outcomes = client.send_all(numbered(200), invocation=NO_DEADLINE)

        assert [target for (outcome,) in outcomes for target in outcome.targets] == [
            f"user-{index}" for index in range(200)
        ]
        assert {outcome.kind for (outcome,) in outcomes} == {ACCEPTED}
        assert server.max_concurrent == 8
        assert server.connections == 8
        assert len(server.requests) == 200


def test_every_message_gets_its_own_response() -> None:
    def respond(exchange: Any) -> bool:
        index = int(exchange.request.form["Title"].split()[-1])
        return (
            reply(OK | {"RequestId": f"R-{index}"}, 200)(exchange)
            if index % 3
            else business("3028")(exchange)
        )

    with Server(respond) as server, PushClient.from_env(server.env) as client:
        outcomes = client.send_all(numbered(300), invocation=NO_DEADLINE)

        for index, (outcome,) in enumerate(outcomes):
            assert outcome.kind is (ACCEPTED if index % 3 else REFUSED)
            assert outcome.request_id == (f"R-{index}" if index % 3 else "R-1")
            assert outcome.targets == {f"user-{index}": f"id-{index}"}


def test_invalid_message_is_refused_at_its_index_without_affecting_others() -> None:
    bad = InvalidMessage([Fault("messages.1.title", "is required")], ["user-9"])
    push = PushMessage.parse(with_targets("user-1"))
    with Server() as server, PushClient.from_env(server.env) as client:
        (first,), (second,), (third,) = client.send_all([push, bad, push], scope="s", invocation=NO_DEADLINE)
        (_,), (_,), (alone,) = client.send_all([bad, bad, push], scope="s", invocation=NO_DEADLINE)

        assert (first.kind, third.kind) == (ACCEPTED, ACCEPTED)
        assert second == Outcome.invalid(bad.faults, ["user-9"])
        assert (second.kind, second.targets) == (REFUSED, {"user-9": None})
        assert third.targets == alone.targets != first.targets


def test_no_messages_cause_no_requests() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        assert client.send_all([], invocation=NO_DEADLINE) == []
        assert (
            client.send_all([InvalidMessage([Fault("", "wrong")])], invocation=NO_DEADLINE)[0][0].kind
            is REFUSED
        )
        assert server.connections == 0


def test_many_threads_share_one_client() -> None:
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "4"}) as client:

        def work(thread: int) -> list[tuple[str, OutcomeKind]]:
            results = []
            for index in range(20):
                target = f"user-{thread}-{index}"
                pushes = [PushMessage.parse(with_targets(target))] * (1 + index % 3)
                for (outcome,) in client.send_all(pushes, invocation=NO_DEADLINE):
                    assert list(outcome.targets) == [target]
                    results.append((target, outcome.kind))
            return results

        with ThreadPoolExecutor(12) as threads:
            results = [result for rows in threads.map(work, range(12)) for result in rows]

        assert {kind for _, kind in results} == {ACCEPTED}
        assert len(results) == len(server.requests)
        ids = [mid for request in server.requests for mid in request.targets.values()]
        assert len(set(ids)) == len(ids)


# --- Connections ----------------------------------------------------------------------------------------


def test_connections_are_kept_and_reused() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        for _ in range(10):
            client.send(message(), invocation=NO_DEADLINE)

        assert (len(server.requests), server.connections) == (10, 1)


def test_connection_is_kept_after_an_error_response() -> None:
    with (
        Server(business("3028"), gateway("Throttling"), reply()) as server,
        PushClient.from_env(server.env) as client,
    ):
        client.send(message(), invocation=NO_DEADLINE)
        client.send(message(), invocation=NO_DEADLINE)

        assert (len(server.requests), server.connections) == (3, 1)


def test_connection_with_an_incomplete_response_is_not_reused() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}"

    def respond(exchange: Any) -> bool:
        exchange.socket.sendall(cut)
        exchange.stopping.wait(PATIENCE)
        return True

    with Server(respond, reply()) as server:
        with PushClient.from_env(server.env | {"PUSH_READ_TIMEOUT_SECONDS": "2"}) as client:
            assert client.send(message(), invocation=NO_DEADLINE)[0].kind is UNKNOWN
            assert client.send(message(), invocation=NO_DEADLINE)[0].kind is ACCEPTED

        assert server.connections == 2


@pytest.mark.parametrize("close", [reply(close=True), reply(headers=[("Connection", "close")], close=True)])
def test_connection_that_the_server_closes_is_replaced(close: Responder) -> None:
    with Server(close) as server, PushClient.from_env(server.env) as client:
        for _ in range(5):
            (outcome,) = client.send(message(), invocation=NO_DEADLINE)
            server.hang_up()

            assert (outcome.kind, outcome.attempts) == (ACCEPTED, 1)
        assert server.connections == 5


def test_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        for _ in range(5):
            (outcome,) = client.send(message(), invocation=NO_DEADLINE)
            server.hang_up()

            assert (outcome.kind, outcome.attempts) == (ACCEPTED, 1)
        assert (len(server.requests), server.connections) == (5, 5)


def test_connections_idle_for_too_long_are_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        client.send(message(), invocation=NO_DEADLINE)
        monkeypatch.setattr(transport, "IDLE_LIMIT_SECONDS", -1.0)
        client.send(message(), invocation=NO_DEADLINE)

        assert (len(server.requests), server.connections) == (2, 2)


def test_idle_time_is_counted_per_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "IDLE_LIMIT_SECONDS", 6000.0)
    later, wall_time = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: wall_time() + sum(later))
    both, alone = together(2), reply()
    with (
        Server(both, both, alone, alone, alone, both) as server,
        PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client,
    ):
        client.send_all(numbered(2), invocation=NO_DEADLINE)
        for _ in range(3):
            later.append(3000.0)
            client.send(message(), invocation=NO_DEADLINE)
        client.send_all(numbered(2), invocation=NO_DEADLINE)

        used = [request.connection for request in server.requests]
        assert used[2] == used[3] == used[4]
        assert set(used[5:]) == {used[2], 2}


def test_client_closes_its_connections() -> None:
    closed = threading.Event()

    def respond(exchange: Any) -> bool:
        reply()(exchange)
        if exchange.socket.recv(1) == b"":
            closed.set()
        return False

    with Server(respond) as server:
        with PushClient.from_env(server.env) as client:
            client.send(message(), invocation=NO_DEADLINE)
            assert not closed.is_set()

        assert closed.wait(PATIENCE)


def test_client_may_be_closed_twice_and_unused() -> None:
    client = PushClient.from_env({})

    client.close()
    client.close()


def test_close_waits_for_requests_in_flight() -> None:
    arrived, proceed = threading.Event(), threading.Event()

    def respond(exchange: Any) -> bool:
        arrived.set()
        proceed.wait(PATIENCE)
        return reply()(exchange)

    with Server(respond) as server, ThreadPoolExecutor(2) as threads:
        client = PushClient.from_env(server.env)
        sending = threads.submit(client.send_all, numbered(2), invocation=NO_DEADLINE)
        arrived.wait(PATIENCE)
        closing = threads.submit(client.close)
        proceed.set()
        closing.result(PATIENCE)

        assert [outcome.kind for (outcome,) in sending.result(PATIENCE)] == [ACCEPTED, ACCEPTED]


def test_invocation_without_deadline_has_infinite_time_left() -> None:
    assert math.isinf(NO_DEADLINE.time_left)


# --- Validity ------------------------------------------------------------------------------------------


def task_of(age: float, **fields: Any) -> PushTask:
    """Return a push first requested so many seconds ago; it is valid for 600 s."""
    return PushTask(scope="s", original="", message=message(**fields), first_moment=time.time() - age)


def send_task(server: Server, task: PushTask, **env: str) -> Outcome:
    with PushClient.from_env(server.env | env) as client:
        ((outcome,),) = client.send_tasks([task], NO_DEADLINE)
    return outcome


def test_push_is_sent_with_its_remaining_validity() -> None:
    with Server() as server:
        assert send_task(server, task_of(age=100.5)).accepted

        assert server.request.form["ExpiredSeconds"] == "500"


def test_expired_push_is_refused_and_not_sent() -> None:
    with Server() as server:
        outcome = send_task(server, task_of(age=600))

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (REFUSED, "Expired", 0)
        assert "validity period of 600 s" in str(outcome.result_message)
        assert server.requests == []


def test_late_push_is_sent_with_its_full_validity_if_the_setting_says_so() -> None:
    with Server() as server:
        assert send_task(server, task_of(age=601), PUSH_LATE="send").accepted

        assert server.request.form["ExpiredSeconds"] == "600"


def test_validity_of_a_timed_push_begins_when_mpaas_sends_it() -> None:
    timed = {"strategyType": 1, "strategyContent": {"fixedTime": (time.time() + 86_400) * 1000 // 1}}
    with Server() as server:
        assert send_task(server, task_of(age=9_999, **timed)).accepted

        assert server.request.form["ExpiredSeconds"] == "600"


def test_push_that_would_expire_before_the_next_attempt_is_not_retried(delays: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="7")) as server:
        outcome = send_task(server, task_of(age=595))

        assert len(server.requests) == 1
    assert (outcome.kind, delays) == (THROTTLED, [])


@pytest.mark.parametrize(("late", "longest"), [("expire", 500), ("send", 3600)])
def test_outcome_reports_a_retry_after_beyond_the_remaining_validity(late: str, longest: int) -> None:
    with Server(gateway("Throttling", Retry_After="3600")) as server:
        outcome = send_task(server, task_of(age=100), PUSH_LATE=late)

    assert (outcome.attempts, outcome.retry_after) == (1, 3600)
    warning = re.search(
        "asked to wait 3600 s, longer than the (.*) s of validity left", str(outcome.result_message)
    )
    assert (float(warning[1]) if warning else 3600) == pytest.approx(longest, abs=30)


@pytest.mark.parametrize(("retry_after", "seconds"), [("400000000", 400_000_000), ("9" * 300, 2**31)])
@pytest.mark.parametrize("kind", ["late", "timed"])
def test_outcome_reports_a_retry_after_beyond_the_longest_queue_delay(
    retry_after: str, seconds: int, kind: str
) -> None:
    tomorrow = {"fixedTime": (time.time() + 86_400) * 1000 // 1}
    timed = {"strategyType": 1, "strategyContent": tomorrow} if kind == "timed" else {}
    with Server(gateway("Throttling", Retry_After=retry_after)) as server:
        outcome = send_task(server, task_of(age=0, **timed), PUSH_LATE="send" if kind == "late" else "expire")

    assert (outcome.attempts, outcome.retry_after) == (1, seconds)
    assert f"s, longer than the {LONGEST_DELAY_SECONDS} s that a queue can wait" in str(
        outcome.result_message
    )
    assert len(str(outcome.result_message)) < 100


def test_retry_after_beyond_the_expiry_is_not_waited_for(delays: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="110")) as server:
        outcome = send_task(server, task_of(age=500))

        assert len(server.requests) == 1
    assert (outcome.kind, delays) == (THROTTLED, [])


# --- Failures in a worker thread ----------------------------------------------------------------------


def failing_to(target: str, call: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Return a replacement of `call` that raises for the request to one target."""

    def replacement(*arguments: Any, **options: Any) -> Any:
        if target in repr(arguments):
            raise error
        return call(*arguments, **options)

    return replacement


def test_exception_before_sending_affects_only_its_own_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed = failing_to("id-3", request_module._sign, ZeroDivisionError("secret"))
    monkeypatch.setattr(request_module, "_sign", signed)
    with Server() as server, PushClient.from_env(server.env) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=NO_DEADLINE)]

        assert len(server.requests) == 19
    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "failed before it was sent (ZeroDivisionError)"


def test_exception_after_a_request_may_have_been_sent_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("id-3", verdict_of, KeyError("secret")))
    with (
        Server(lambda exchange: reply(OK | exchange.request.targets)(exchange)) as server,
        PushClient.from_env(server.env) as client,
    ):
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=NO_DEADLINE)]

    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [UNKNOWN] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "failed after it may have been sent (KeyError)"


def test_no_request_is_started_after_memory_ran_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("OK", verdict_of, MemoryError()))
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        results = client.send_all(numbered(40), invocation=NO_DEADLINE)

        assert len(server.requests) <= 2
    kinds = [outcome.kind for (outcome,) in results]
    assert kinds.count(UNKNOWN) == len(server.requests)
    assert kinds.count(THROTTLED) == 40 - len(server.requests)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_is_raised_once_no_request_is_in_flight(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("OK", verdict_of, error()))
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        with pytest.raises(error):
            client.send_all(numbered(40), invocation=NO_DEADLINE)
        seen = len(server.requests)
        client.close()

        assert 1 <= seen == len(server.requests) <= 2


def test_requests_in_flight_finish_before_the_failed_call_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Function Compute freezes an instance after its handler; a running thread would continue in the next call."""
    ended = []
    both = threading.Barrier(2)

    def verdict(*arguments: Any) -> Any:
        both.wait(PATIENCE)
        if threading.current_thread() is threading.main_thread():
            raise SystemExit
        time.sleep(0.1)
        ended.append(True)
        return verdict_of(*arguments)

    monkeypatch.setattr("mpaas_push.transport.verdict_of", verdict)
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        with pytest.raises(SystemExit):
            client.send_all(numbered(20), invocation=NO_DEADLINE)
        assert ended == [True]


@pytest.mark.parametrize("claimed", [False, True])
def test_logging_failure_affects_no_request(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, *, claimed: bool
) -> None:
    def fail(_: object) -> bool:
        raise ValueError("a filter of the calling program")

    def fail_some(attempts: Attempts) -> Outcome:
        if "id-3" in repr(attempts._request.targets):
            raise ZeroDivisionError
        return run(attempts)

    run = Attempts.run
    monkeypatch.setattr(Attempts, "run", fail_some)
    for name in ("ledger.claims", "round"):
        monkeypatch.setattr(logging.getLogger(f"mpaas_push.{name}"), "filters", [fail])
    ledger = {"PUSH_LEDGER_URL": redis_server.url} if claimed else {}
    batch = numbered(30)
    with Server() as server, PushClient.from_env(server.env | ledger) as client:
        first = [outcome for (outcome,) in client.send_all(batch, invocation=NO_DEADLINE)]
        client.send_all(batch, invocation=NO_DEADLINE)

        assert len(server.requests) == (29 if claimed else 58)
    assert [outcome.kind for outcome in first] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 26


def test_logging_failure_affects_no_request_while_the_ledger_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bool:
        raise ValueError("a filter of the calling program")

    for name in ("ledger.claims", "round"):
        monkeypatch.setattr(logging.getLogger(f"mpaas_push.{name}"), "filters", [fail])
    down = {"PUSH_LEDGER_URL": f"redis://{LOOPBACK}:{closed_port()}/0"}
    with Server() as server, PushClient.from_env(server.env | down) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(30), invocation=NO_DEADLINE)]

    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 30


def test_exception_before_the_first_attempt_is_the_outcome_of_that_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing_attempts = failing_to("id-3", Attempts, ZeroDivisionError("secret"))
    monkeypatch.setattr("mpaas_push.round.Attempts", failing_attempts)
    monkeypatch.setattr(request_module.PushRequest, "__repr__", lambda request: repr(request.targets))
    with Server() as server, PushClient.from_env(server.env) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=NO_DEADLINE)]

        assert len(server.requests) == 19
    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "not sent after an error (ZeroDivisionError)"


@pytest.mark.parametrize("available", [0, 2])
def test_every_request_is_sent_before_the_call_returns_when_threads_are_scarce(
    monkeypatch: pytest.MonkeyPatch, available: int
) -> None:
    start, permits = threading.Thread.start, deque(range(available))

    def start_some(thread: threading.Thread) -> None:
        if thread.name.startswith("push"):
            if not permits:
                raise RuntimeError("can't start new thread")
            permits.pop()
        start(thread)

    with Server() as server, PushClient.from_env(server.env) as client:
        monkeypatch.setattr(threading.Thread, "start", start_some)
        outcomes = client.send_all(numbered(50), invocation=NO_DEADLINE)
        seen = len(server.requests)
        client.close()

        assert seen == len(server.requests) == 50
    assert [outcome.kind for (outcome,) in outcomes] == [ACCEPTED] * 50


FORKING = """
import os, sys
from mpaas_push import Invocation, Credentials, PushClient, PushMessage
from tests.mpaas_push.message.examples import minimal

endpoint, alone = sys.argv[1:]
clients = [
    PushClient.from_env(os.environ | {"MPAAS_ENDPOINT": endpoint}),
    PushClient.from_env(os.environ | {"MPAAS_ENDPOINT": alone, "PUSH_CONCURRENCY": "1"}),
]
invocation = Invocation(request_id="1-2", credentials=Credentials("id", "secret"))
messages = [PushMessage.parse(minimal() | {"targetMsgkey": {f"user-{n}": f"id-{n}"}}) for n in range(5)]

def is_sent():
    sent = [client.send_all(messages, invocation=invocation) for client in clients]
    return all(outcome.accepted for outcomes in sent for (outcome,) in outcomes)

assert is_sent()
child = os.fork()
if child == 0:
    sent = is_sent()
    for client in clients:
        client.close()
    os._exit(0 if sent else 1)
assert os.waitpid(child, 0)[1] == 0
assert is_sent()
"""


def test_client_that_was_used_before_a_fork_works_in_the_child() -> None:
    root = Path(__file__).resolve().parents[2]
    with Server() as server, Server() as alone:
        environment = os.environ | server.env | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'shared'}"}
        code = [sys.executable, "-c", FORKING, server.url, alone.url]
        subprocess.run(code, check=True, env=environment, timeout=PATIENCE)

        assert len(server.requests) == len(alone.requests) == 15
        # A shared connection would mix up the responses of parent and child.
        assert alone.connections == 2
