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
from tests.mpaas_push.message.examples import minimal, with_targets
from tests.servers import (
    LOOPBACK,
    OK,
    PATIENCE,
    Answer,
    Exchange,
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
    unanswering_port,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.redis_server import RedisServer

KEY = Credentials("LTAI-test-id", "test-secret")
FOR_EVER = Invocation(request_id="1-2", credentials=KEY)


def within(seconds: float) -> Invocation:
    """Return an invocation that has this much time left."""
    return Invocation(request_id="1-2", credentials=KEY, deadline=time.monotonic() + seconds)


def message(**more: Any) -> PushMessage:
    return PushMessage.parse(minimal() | more)


def numbered(number: int) -> list[PushMessage]:
    return [
        message(title=f"message {place}", targetMsgkey={f"user-{place}": f"id-{place}"})
        for place in range(number)
    ]


def send(server: Server, invocation: Invocation = FOR_EVER, **env: str) -> Outcome:
    """Send the minimal message to a server and return what became of it."""
    with PushClient.from_env(server.env | env) as client:
        (outcome,) = client.send(message(), invocation=invocation)
    return outcome


def send_to(port: int, invocation: Invocation = FOR_EVER, **env: str) -> Outcome:
    at = {"MPAAS_ENDPOINT": f"http://{LOOPBACK}:{port}", "MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    with PushClient.from_env(at | env) as client:
        (outcome,) = client.send(message(), invocation=invocation)
    return outcome


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between tries, asked for and not slept."""
    asked: list[float] = []
    monkeypatch.setattr(retries, "sleep", asked.append)
    return asked


# --- One request --------------------------------------------------------------------------------------


def test_an_accepted_push_says_so() -> None:
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
    ("answer", "kind", "code"),
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
def test_an_answer_becomes_its_outcome_after_one_request(
    answer: Answer, kind: OutcomeKind, code: str
) -> None:
    with Server(answer) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (kind, code, 1)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
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
def test_a_request_without_a_whole_answer_is_unknown_and_goes_out_once(
    answer: Answer, naps: list[float]
) -> None:
    with Server(answer) as server:
        outcome = send(server)

        assert outcome.kind is UNKNOWN
        assert outcome.attempts == 1
        assert len(server.requests) == 1
        assert naps == []


def test_no_answer_in_time_is_unknown() -> None:
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
def test_an_odd_but_whole_answer_is_read(head: bytes) -> None:
    body = b'{"ResultCode": "OK"}'
    with Server(raw(head % len(body) + body)) as server:
        assert send(server).kind is ACCEPTED


@pytest.mark.parametrize("end", [b"", b"Connection: close\r\n"])
def test_an_answer_may_end_with_the_connection(end: bytes) -> None:
    with Server(raw(b"HTTP/1.1 200 OK\r\n" + end + b'\r\n{"ResultCode": "OK"}')) as server:
        assert send(server).kind is ACCEPTED


def test_an_answer_may_come_in_chunks() -> None:
    with Server(
        raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n{"ResultCode": "OK"}\r\n0\r\n\r\n')
    ) as server:
        assert send(server).kind is ACCEPTED


def test_what_follows_an_answer_is_not_mixed_into_it() -> None:
    first, second = b'{"ResultCode": "3028"}', b'{"ResultCode": "OK"}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    both = raw(head % len(first) + first + head % len(second) + second)
    with Server(both, reply()) as server, PushClient.from_env(server.env) as client:
        (outcome,) = client.send(message(), invocation=FOR_EVER)
        (after,) = client.send(message(), invocation=FOR_EVER)

        assert (outcome.kind, outcome.result_code) == (REFUSED, "3028")
        assert after.kind is ACCEPTED
        assert server.connections == 2


@pytest.mark.parametrize("stray", [b"\r\n\x00\x01", b"stray", b"{}"])
def test_an_acceptance_followed_by_stray_bytes_counts_and_its_connection_is_closed(stray: bytes) -> None:
    def answer(exchange: Exchange) -> bool:
        body = b'{"ResultCode": "OK"}'
        exchange.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + stray)
        return True

    with Server(answer, reply()) as server, PushClient.from_env(server.env) as client:
        (outcome,) = client.send(message(), invocation=FOR_EVER)
        (after,) = client.send(message(), invocation=FOR_EVER)

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


def test_a_message_that_lacks_an_app_is_refused_before_anything_is_sent() -> None:
    with Server() as server, PushClient.from_env({"MPAAS_ENDPOINT": server.url}) as client:
        (outcome,) = client.send(message(), invocation=FOR_EVER)

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (REFUSED, "InvalidMessage", 0)
        assert outcome.targets == {"user-4711": "order-4711-1"}
        assert server.connections == 0


def test_a_message_too_new_for_the_api_version_is_refused_before_anything_is_sent() -> None:
    with Server() as server:
        old = server.env | {"MPAAS_API_VERSION": "2019-08-21"}
        with PushClient.from_env(old) as client:
            (outcome,) = client.send(message(channelId="orders"), invocation=FOR_EVER)

        assert outcome.kind is REFUSED
        assert [fault.field for fault in outcome.faults] == ["channelId"]
        assert server.connections == 0


def test_more_than_ten_targets_become_several_requests_with_an_outcome_each() -> None:
    targets = [f"user-{number}" for number in range(25)]

    def answer(exchange: Any) -> bool:
        full = len(exchange.request.targets) == 10
        return (reply() if full else business("3028"))(exchange)

    with Server(answer) as server, PushClient.from_env(server.env) as client:
        outcomes = client.send(PushMessage.parse(with_targets(*targets)), scope="s", invocation=FOR_EVER)

        assert [outcome.kind for outcome in outcomes] == [ACCEPTED, ACCEPTED, REFUSED]
        assert [target for outcome in outcomes for target in outcome.targets] == targets
        sent = {target: mid for request in server.requests for target, mid in request.targets.items()}
        assert sent == {target: mid for outcome in outcomes for target, mid in outcome.targets.items()}


def test_the_same_scope_gives_the_same_message_ids_and_none_gives_new_ones() -> None:
    push = PushMessage.parse(with_targets("user-1"))
    with Server() as server, PushClient.from_env(server.env) as client:
        for scope in ("event-1", "event-1", "event-2", None, None):
            client.send(push, scope=scope, invocation=FOR_EVER)

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
def test_half_a_surrogate_pair_is_refused_and_never_raises(broken: dict[str, Any]) -> None:
    arguments = {name: value for name, value in message() if value is not None} | broken
    with Server() as server, PushClient.from_env(server.env) as client:
        try:
            push = PushMessage(**arguments)
        except ValueError:
            return
        (outcome,) = client.send(push, invocation=FOR_EVER)

        assert outcome.kind is REFUSED
        assert server.connections == 0


# --- Further tries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [gateway("Throttling.User"), business("8011"), reply(b"slow down", 429)])
def test_a_throttled_request_is_tried_again_up_to_the_limit(answer: Answer, naps: list[float]) -> None:
    with Server(answer) as server:
        outcome = send(server, PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.attempts) == (THROTTLED, 3)
        assert len(server.requests) == 3
        assert len(naps) == 2
        assert all(0 <= nap <= 0.4 * 2**place for place, nap in enumerate(naps))


def test_a_throttled_request_that_is_then_taken_is_accepted() -> None:
    with Server(gateway("Throttling"), gateway("Throttling"), reply()) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.attempts, outcome.result_code) == (ACCEPTED, 3, "OK")


def test_every_try_has_the_same_ids_and_a_signature_of_its_own() -> None:
    with Server(gateway("Throttling"), reply()) as server, PushClient.from_env(server.env) as client:
        client.send(PushMessage.parse(with_targets("user-1", "user-2")), invocation=FOR_EVER)

        first, second = server.requests
        assert first.body == second.body
        assert first.query["SignatureNonce"] != second.query["SignatureNonce"]
        assert first.query["Signature"] != second.query["Signature"]


def test_retry_after_is_waited_for(naps: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="7"), reply()) as server:
        assert send(server).kind is ACCEPTED

        assert naps == [7.0]


def test_a_retry_after_beyond_the_deadline_ends_the_tries_and_is_passed_on(naps: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="30")) as server:
        outcome = send(server, within(5))

        assert (outcome.kind, outcome.attempts, outcome.retry_after) == (THROTTLED, 1, 30.0)
        assert naps == []


@pytest.mark.parametrize("asked", ["86400", "9" * 300])
def test_a_retry_after_of_hours_ends_the_tries_even_without_deadline(asked: str, naps: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After=asked)) as server:
        outcome = send(server)

        assert (outcome.kind, outcome.attempts) == (THROTTLED, 1)
        assert naps == []


def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:{closed_port()}")

    with Server() as server:
        assert send(server).kind is ACCEPTED


def test_a_refused_connection_is_tried_again_and_ends_throttled(naps: list[float]) -> None:
    outcome = send_to(closed_port(), PUSH_MAX_ATTEMPTS="3")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectionFailed", 3)
    assert len(naps) == 2


def test_a_connection_that_is_not_answered_ends_throttled() -> None:
    with unanswering_port() as port:
        outcome = send_to(port, PUSH_CONNECT_TIMEOUT_SECONDS="0.1", PUSH_MAX_ATTEMPTS="2")

    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "ConnectTimeout", 2)


@pytest.fixture
def host_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the name of the endpoint stand for several addresses, here ports, and be found after a while."""

    def stand_for(*ports: int, after: float = 0.0) -> None:
        def found(*_: object, **__: object) -> list[Any]:
            time.sleep(after)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (LOOPBACK, port)) for port in ports]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return stand_for


def test_addresses_that_do_not_answer_share_one_time_limit(host_at: Callable[..., None]) -> None:
    with unanswering_port() as port:
        host_at(*[port] * 60)
        began = time.monotonic()
        outcome = send_to(port, PUSH_CONNECT_TIMEOUT_SECONDS="0.5", PUSH_MAX_ATTEMPTS="1")

    assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectTimeout")
    assert time.monotonic() - began < 15  # not 0.5 s for each


def test_an_address_that_does_not_answer_leaves_time_for_the_next(host_at: Callable[..., None]) -> None:
    with unanswering_port() as port, Server() as server:
        host_at(port, closed_port(), server.port)

        assert send(server, PUSH_CONNECT_TIMEOUT_SECONDS="3", PUSH_MAX_ATTEMPTS="1").kind is ACCEPTED


def test_a_host_that_does_not_exist_ends_throttled() -> None:
    with PushClient.from_env(
        {"MPAAS_ENDPOINT": "https://no-such-host.invalid", "MPAAS_APP_ID": "A", "MPAAS_WORKSPACE_ID": "W"}
    ) as client:
        (outcome,) = client.send(message(), invocation=FOR_EVER)

    assert (outcome.kind, outcome.result_code) == (THROTTLED, "ConnectionFailed")


def test_a_server_that_closes_before_reading_is_not_taken_for_an_acceptance() -> None:
    with listening(lambda _: None) as port:
        assert send_to(port).kind in {THROTTLED, UNKNOWN}


@pytest.mark.parametrize("answer", [reset, raw(b""), gateway("InternalError", 500), business("9000")])
def test_an_unknown_request_is_sent_again_only_if_the_setting_says_so(answer: Answer) -> None:
    with Server(answer, reply()) as server:
        assert send(server).kind is UNKNOWN
        assert len(server.requests) == 1
    with Server(answer, reply()) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry")

        assert (outcome.kind, outcome.attempts) == (ACCEPTED, 2)
        first, second = server.requests
        assert first.form["TargetMsgkey"] == second.form["TargetMsgkey"]
        assert first.query["SignatureNonce"] != second.query["SignatureNonce"]


def test_a_request_that_is_not_answered_in_time_is_sent_again_if_the_setting_says_so() -> None:
    with Server(hang, reply()) as server:
        outcome = send(
            server, PUSH_ON_UNKNOWN="retry", PUSH_READ_TIMEOUT_SECONDS="0.5", PUSH_MAX_ATTEMPTS="20"
        )

        assert outcome.kind is ACCEPTED
        assert outcome.attempts > 1
        assert len({request.form["TargetMsgkey"] for request in server.requests}) == 1


@pytest.mark.parametrize("after", [business("3028"), gateway("Forbidden.RAM", 403), gateway("Throttling")])
def test_unknown_and_then_anything_but_accepted_stays_unknown(after: Answer) -> None:
    with Server(gateway("InternalError", 500), after) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.result_code) == (UNKNOWN, "InternalError")
        assert outcome.attempts == len(server.requests) > 1


def test_unknown_to_the_end_is_unknown() -> None:
    with Server(reset) as server:
        outcome = send(server, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="3")

        assert (outcome.kind, outcome.attempts) == (UNKNOWN, 3)


@pytest.mark.parametrize("retry", ["report", "retry"])
@pytest.mark.parametrize(
    "answer",
    [business("3028"), business("3007"), gateway("InvalidTitle"), gateway("SignatureDoesNotMatch", 403)],
)
def test_what_a_retry_cannot_help_is_never_tried_again(answer: Answer, retry: str, naps: list[float]) -> None:
    with Server(answer) as server:
        outcome = send(server, PUSH_ON_UNKNOWN=retry)

        assert outcome.kind in {REFUSED, MISCONFIGURED}
        assert len(server.requests) == 1
        assert naps == []


@pytest.mark.parametrize("code", ["InvalidTimeStamp.Expired", "InvalidTimeStamp.Format"])
def test_a_clock_error_is_tried_once_more(code: str) -> None:
    with Server(gateway(code)) as server:
        outcome = send(server, PUSH_MAX_ATTEMPTS="9")

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (MISCONFIGURED, code, 2)
    with Server(gateway(code), reply()) as server:
        assert send(server).kind is ACCEPTED


def test_one_attempt_means_one_request() -> None:
    for answer in (gateway("Throttling"), gateway("InvalidTimeStamp.Expired"), reset):
        with Server(answer) as server:
            assert send(server, PUSH_MAX_ATTEMPTS="1", PUSH_ON_UNKNOWN="retry").attempts == 1
            assert len(server.requests) == 1


# --- Time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, -1000])
def test_without_time_left_nothing_is_sent(seconds: float) -> None:
    with Server() as server:
        outcome = send(server, within(seconds))

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "NotSent", 0)
        assert server.connections == 0


def test_of_many_messages_those_without_time_left_are_not_sent() -> None:
    with Server(hang) as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        outcomes = client.send_all(numbered(20), invocation=within(2))

        codes = [outcome.result_code for (outcome,) in outcomes]
        sent = codes.count("ReadTimeout")
        assert sent <= 2
        assert codes == ["ReadTimeout"] * sent + ["NotSent"] * (20 - sent)
        assert len(server.requests) <= sent


def test_no_wait_for_an_answer_outlasts_the_deadline() -> None:
    with Server(hang) as server:
        outcome = send(server, within(2), PUSH_READ_TIMEOUT_SECONDS="300", PUSH_ON_UNKNOWN="retry")
        server.await_requests(1)

        assert (outcome.kind, outcome.result_code) == (UNKNOWN, "ReadTimeout")  # the server never hangs up
        assert len(server.requests) == 1


def test_an_answer_that_drips_does_not_outlast_the_deadline() -> None:
    with Server(drip) as server:
        assert send(server, within(2)).kind is UNKNOWN


@pytest.mark.timeout(100)
def test_no_wait_for_a_connection_outlasts_the_deadline() -> None:
    with unanswering_port() as port:
        outcome = send_to(port, within(0.2), PUSH_CONNECT_TIMEOUT_SECONDS="300")

    assert outcome.kind is THROTTLED


def test_time_that_runs_out_while_a_request_is_signed_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow() -> str:
        time.sleep(0.2)
        return "nonce"

    monkeypatch.setattr(request_module, "_nonce", slow)
    with Server() as server:
        assert send(server, within(0.1)).kind is THROTTLED
        assert server.requests == []


def test_the_last_wait_is_not_longer_than_the_time_left(naps: list[float]) -> None:
    with Server(gateway("Throttling")) as server:
        outcome = send(server, within(10), PUSH_MAX_ATTEMPTS="20")

        assert outcome.kind is THROTTLED
        assert all(nap < 10 for nap in naps)


# --- Many messages --------------------------------------------------------------------------------------


def test_outcomes_stand_in_the_order_of_the_messages_and_requests_go_out_side_by_side() -> None:
    with Server(together(8)) as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "8"}) as client:
        outcomes = client.send_all(numbered(200), invocation=FOR_EVER)

        assert [target for (outcome,) in outcomes for target in outcome.targets] == [
            f"user-{place}" for place in range(200)
        ]
        assert {outcome.kind for (outcome,) in outcomes} == {ACCEPTED}
        assert server.most_at_once == 8
        assert server.connections == 8
        assert len(server.requests) == 200


def test_every_message_gets_its_own_answer() -> None:
    def answer(exchange: Any) -> bool:
        place = int(exchange.request.form["Title"].split()[-1])
        return (
            reply(OK | {"RequestId": f"R-{place}"}, 200)(exchange)
            if place % 3
            else business("3028")(exchange)
        )

    with Server(answer) as server, PushClient.from_env(server.env) as client:
        outcomes = client.send_all(numbered(300), invocation=FOR_EVER)

        for place, (outcome,) in enumerate(outcomes):
            assert outcome.kind is (ACCEPTED if place % 3 else REFUSED)
            assert outcome.request_id == (f"R-{place}" if place % 3 else "R-1")
            assert outcome.targets == {f"user-{place}": f"id-{place}"}


def test_a_bad_message_is_refused_at_its_place_and_harms_no_neighbour() -> None:
    bad = InvalidMessage([Fault("messages.1.title", "is required")], ["user-9"])
    push = PushMessage.parse(with_targets("user-1"))
    with Server() as server, PushClient.from_env(server.env) as client:
        (first,), (second,), (third,) = client.send_all([push, bad, push], scope="s", invocation=FOR_EVER)
        (_,), (_,), (alone,) = client.send_all([bad, bad, push], scope="s", invocation=FOR_EVER)

        assert (first.kind, third.kind) == (ACCEPTED, ACCEPTED)
        assert second == Outcome.invalid(bad.faults, ["user-9"])
        assert (second.kind, second.targets) == (REFUSED, {"user-9": None})
        assert third.targets == alone.targets != first.targets


def test_no_messages_are_no_requests() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        assert client.send_all([], invocation=FOR_EVER) == []
        assert (
            client.send_all([InvalidMessage([Fault("", "wrong")])], invocation=FOR_EVER)[0][0].kind is REFUSED
        )
        assert server.connections == 0


def test_many_threads_share_one_client() -> None:
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "4"}) as client:

        def work(thread: int) -> list[tuple[str, OutcomeKind]]:
            found = []
            for place in range(20):
                target = f"user-{thread}-{place}"
                pushes = [PushMessage.parse(with_targets(target))] * (1 + place % 3)
                for (outcome,) in client.send_all(pushes, invocation=FOR_EVER):
                    (answered,) = outcome.targets
                    found.append((answered, outcome.kind))
                    assert answered == target
            return found

        with ThreadPoolExecutor(12) as threads:
            found = [row for rows in threads.map(work, range(12)) for row in rows]

        assert {kind for _, kind in found} == {ACCEPTED}
        assert len(found) == len(server.requests)
        ids = [mid for request in server.requests for mid in request.targets.values()]
        assert len(set(ids)) == len(ids)


# --- Connections ----------------------------------------------------------------------------------------


def test_connections_are_kept_and_used_again() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        for _ in range(10):
            client.send(message(), invocation=FOR_EVER)

        assert (len(server.requests), server.connections) == (10, 1)


def test_a_connection_is_kept_after_a_failure_that_was_answered() -> None:
    with (
        Server(business("3028"), gateway("Throttling"), reply()) as server,
        PushClient.from_env(server.env) as client,
    ):
        client.send(message(), invocation=FOR_EVER)
        client.send(message(), invocation=FOR_EVER)

        assert (len(server.requests), server.connections) == (3, 1)


def test_a_connection_without_a_whole_answer_is_not_used_again() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}"

    def answer(exchange: Any) -> bool:
        exchange.socket.sendall(cut)
        exchange.stopping.wait(PATIENCE)
        return True

    with Server(answer, reply()) as server:
        with PushClient.from_env(server.env | {"PUSH_READ_TIMEOUT_SECONDS": "2"}) as client:
            assert client.send(message(), invocation=FOR_EVER)[0].kind is UNKNOWN
            assert client.send(message(), invocation=FOR_EVER)[0].kind is ACCEPTED

        assert server.connections == 2


@pytest.mark.parametrize("close", [reply(close=True), reply(headers=[("Connection", "close")], close=True)])
def test_a_connection_that_the_server_closes_is_replaced(close: Answer) -> None:
    with Server(close) as server, PushClient.from_env(server.env) as client:
        for _ in range(5):
            (outcome,) = client.send(message(), invocation=FOR_EVER)
            server.hang_up()

            assert (outcome.kind, outcome.attempts) == (ACCEPTED, 1)
        assert server.connections == 5


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced() -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        for _ in range(5):
            (outcome,) = client.send(message(), invocation=FOR_EVER)
            server.hang_up()

            assert (outcome.kind, outcome.attempts) == (ACCEPTED, 1)
        assert (len(server.requests), server.connections) == (5, 5)


def test_connections_idle_for_too_long_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server() as server, PushClient.from_env(server.env) as client:
        client.send(message(), invocation=FOR_EVER)
        monkeypatch.setattr(transport, "IDLE_LIMIT_SECONDS", -1.0)
        client.send(message(), invocation=FOR_EVER)

        assert (len(server.requests), server.connections) == (2, 2)


def test_a_connection_is_idle_although_another_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "IDLE_LIMIT_SECONDS", 6000.0)
    later, wall_time = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: wall_time() + sum(later))
    both, alone = together(2), reply()
    with (
        Server(both, both, alone, alone, alone, both) as server,
        PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client,
    ):
        client.send_all(numbered(2), invocation=FOR_EVER)
        for _ in range(3):
            later.append(3000.0)
            client.send(message(), invocation=FOR_EVER)
        client.send_all(numbered(2), invocation=FOR_EVER)

        used = [request.connection for request in server.requests]
        assert used[2] == used[3] == used[4]
        assert set(used[5:]) == {used[2], 2}


def test_a_client_closes_its_connections() -> None:
    closed = threading.Event()

    def answer(exchange: Any) -> bool:
        reply()(exchange)
        if exchange.socket.recv(1) == b"":
            closed.set()
        return False

    with Server(answer) as server:
        with PushClient.from_env(server.env) as client:
            client.send(message(), invocation=FOR_EVER)
            assert not closed.is_set()

        assert closed.wait(PATIENCE)


def test_a_client_may_be_closed_twice_and_unused() -> None:
    client = PushClient.from_env({})

    client.close()
    client.close()


def test_closing_waits_for_requests_under_way() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(exchange: Any) -> bool:
        arrived.set()
        go_on.wait(PATIENCE)
        return reply()(exchange)

    with Server(answer) as server, ThreadPoolExecutor(2) as threads:
        client = PushClient.from_env(server.env)
        sending = threads.submit(client.send_all, numbered(2), invocation=FOR_EVER)
        arrived.wait(PATIENCE)
        closing = threads.submit(client.close)
        go_on.set()
        closing.result(PATIENCE)

        assert [outcome.kind for (outcome,) in sending.result(PATIENCE)] == [ACCEPTED, ACCEPTED]


def test_no_deadline_is_an_infinite_one() -> None:
    assert math.isinf(FOR_EVER.time_left)


# --- Validity ------------------------------------------------------------------------------------------


def task_of(age: float, **more: Any) -> PushTask:
    """Return a push that was asked for so many seconds ago; it is valid for 600 s."""
    return PushTask(scope="s", original="", message=message(**more), first_moment=time.time() - age)


def send_task(server: Server, task: PushTask, **env: str) -> Outcome:
    with PushClient.from_env(server.env | env) as client:
        ((outcome,),) = client.send_tasks([task], FOR_EVER)
    return outcome


def test_a_push_is_sent_with_the_validity_that_is_left() -> None:
    with Server() as server:
        assert send_task(server, task_of(age=100.5)).accepted

        assert server.request.form["ExpiredSeconds"] == "500"


def test_a_push_whose_validity_has_ended_is_refused_and_not_sent() -> None:
    with Server() as server:
        outcome = send_task(server, task_of(age=600))

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (REFUSED, "Expired", 0)
        assert "validity period of 600 s" in str(outcome.result_message)
        assert server.requests == []


def test_a_late_push_is_sent_as_it_was_given_if_the_setting_says_so() -> None:
    with Server() as server:
        assert send_task(server, task_of(age=601), PUSH_LATE="send").accepted

        assert server.request.form["ExpiredSeconds"] == "600"


def test_the_validity_of_a_timed_push_begins_when_mpaas_sends_it() -> None:
    timed = {"strategyType": 1, "strategyContent": {"fixedTime": (time.time() + 86_400) * 1000 // 1}}
    with Server() as server:
        assert send_task(server, task_of(age=9_999, **timed)).accepted

        assert server.request.form["ExpiredSeconds"] == "600"


def test_a_push_that_ends_while_it_is_tried_is_not_tried_again(naps: list[float]) -> None:
    with Server(gateway("Throttling", Retry_After="7")) as server:
        outcome = send_task(server, task_of(age=595))

        assert len(server.requests) == 1
    assert (outcome.kind, naps) == (THROTTLED, [])


@pytest.mark.parametrize(("late", "longest"), [("expire", 500), ("send", 3600)])
def test_an_outcome_says_that_a_server_asked_for_more_than_the_validity_that_is_left(
    late: str, longest: int
) -> None:
    with Server(gateway("Throttling", Retry_After="3600")) as server:
        outcome = send_task(server, task_of(age=100), PUSH_LATE=late)

    assert (outcome.attempts, outcome.retry_after) == (1, 3600)
    said = re.search(
        "asked to wait 3600 s, longer than the (.*) s of validity left", str(outcome.result_message)
    )
    assert (float(said[1]) if said else 3600) == pytest.approx(longest, abs=30)


@pytest.mark.parametrize(("asked", "seconds"), [("400000000", 400_000_000), ("9" * 300, 2**31)])
@pytest.mark.parametrize("kind", ["late", "timed"])
def test_an_outcome_says_that_a_server_asked_for_more_than_a_queue_can_wait(
    asked: str, seconds: int, kind: str
) -> None:
    tomorrow = {"fixedTime": (time.time() + 86_400) * 1000 // 1}
    timed = {"strategyType": 1, "strategyContent": tomorrow} if kind == "timed" else {}
    with Server(gateway("Throttling", Retry_After=asked)) as server:
        outcome = send_task(server, task_of(age=0, **timed), PUSH_LATE="send" if kind == "late" else "expire")

    assert (outcome.attempts, outcome.retry_after) == (1, seconds)
    assert f"s, longer than the {LONGEST_DELAY_SECONDS} s that a queue can wait" in str(
        outcome.result_message
    )
    assert len(str(outcome.result_message)) < 100


def test_nobody_waits_for_a_moment_at_which_the_push_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("mpaas_push.retries.sleep", naps.append)
    with Server(gateway("Throttling", Retry_After="110")) as server:
        outcome = send_task(server, task_of(age=500))

        assert len(server.requests) == 1
    assert (outcome.kind, naps) == (THROTTLED, [])


# --- What goes wrong in a worker ----------------------------------------------------------------------


def failing_to(target: str, call: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Return a call that raises for the request to one target."""

    def replacement(*arguments: Any, **options: Any) -> Any:
        if target in repr(arguments):
            raise error
        return call(*arguments, **options)

    return replacement


def test_an_exception_before_a_request_is_sent_is_its_own_outcome_and_ends_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed = failing_to("id-3", request_module._sign, ZeroDivisionError("secret"))
    monkeypatch.setattr(request_module, "_sign", signed)
    with Server() as server, PushClient.from_env(server.env) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=FOR_EVER)]

        assert len(server.requests) == 19
    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "failed before it was sent (ZeroDivisionError)"


def test_an_exception_after_a_request_may_have_been_sent_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("id-3", verdict_of, KeyError("secret")))
    with (
        Server(lambda exchange: reply(OK | exchange.request.targets)(exchange)) as server,
        PushClient.from_env(server.env) as client,
    ):
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=FOR_EVER)]

    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [UNKNOWN] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "failed after it may have been sent (KeyError)"


def test_after_memory_ran_out_nothing_more_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("OK", verdict_of, MemoryError()))
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        results = client.send_all(numbered(40), invocation=FOR_EVER)

        assert len(server.requests) <= 2
    kinds = [outcome.kind for (outcome,) in results]
    assert kinds.count(UNKNOWN) == len(server.requests)
    assert kinds.count(THROTTLED) == 40 - len(server.requests)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_asks_the_program_to_end_ends_it_once_no_request_is_under_way(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr("mpaas_push.transport.verdict_of", failing_to("OK", verdict_of, error()))
    with Server() as server, PushClient.from_env(server.env | {"PUSH_CONCURRENCY": "2"}) as client:
        with pytest.raises(error):
            client.send_all(numbered(40), invocation=FOR_EVER)
        seen = len(server.requests)
        client.close()

        assert 1 <= seen == len(server.requests) <= 2


def test_what_is_under_way_ends_before_the_call_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Function Compute freezes an instance behind its handler: what still runs would go on at the next call."""
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
            client.send_all(numbered(20), invocation=FOR_EVER)
        assert ended == [True]


@pytest.mark.parametrize("claimed", [False, True])
def test_a_log_that_fails_ends_no_request(
    monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, *, claimed: bool
) -> None:
    def fail(_: object) -> bool:
        raise ValueError("a filter of the program around")

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
        first = [outcome for (outcome,) in client.send_all(batch, invocation=FOR_EVER)]
        client.send_all(batch, invocation=FOR_EVER)

        assert len(server.requests) == (29 if claimed else 58)
    assert [outcome.kind for outcome in first] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 26


def test_a_log_that_fails_ends_no_request_while_the_ledger_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> bool:
        raise ValueError("a filter of the program around")

    for name in ("ledger.claims", "round"):
        monkeypatch.setattr(logging.getLogger(f"mpaas_push.{name}"), "filters", [fail])
    down = {"PUSH_LEDGER_URL": f"redis://{LOOPBACK}:{closed_port()}/0"}
    with Server() as server, PushClient.from_env(server.env | down) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(30), invocation=FOR_EVER)]

    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 30


def test_whatever_fails_before_the_first_attempt_is_that_requests_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = failing_to("id-3", Attempts, ZeroDivisionError("secret"))
    monkeypatch.setattr("mpaas_push.round.Attempts", made)
    monkeypatch.setattr(request_module.PushRequest, "__repr__", lambda request: repr(request.targets))
    with Server() as server, PushClient.from_env(server.env) as client:
        outcomes = [outcome for (outcome,) in client.send_all(numbered(20), invocation=FOR_EVER)]

        assert len(server.requests) == 19
    assert [outcome.kind for outcome in outcomes] == [ACCEPTED] * 3 + [THROTTLED] + [ACCEPTED] * 16
    assert outcomes[3].result_message == "not sent after an error (ZeroDivisionError)"


@pytest.mark.parametrize("available", [0, 2])
def test_too_few_threads_harm_no_request_and_none_goes_out_behind_the_call(
    monkeypatch: pytest.MonkeyPatch, available: int
) -> None:
    start, left = threading.Thread.start, deque(range(available))

    def start_some(thread: threading.Thread) -> None:
        if thread.name.startswith("push"):
            if not left:
                raise RuntimeError("can't start new thread")
            left.pop()
        start(thread)

    with Server() as server, PushClient.from_env(server.env) as client:
        monkeypatch.setattr(threading.Thread, "start", start_some)
        outcomes = client.send_all(numbered(50), invocation=FOR_EVER)
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


def test_a_client_that_was_used_before_a_fork_works_in_the_child() -> None:
    root = Path(__file__).resolve().parents[2]
    with Server() as server, Server() as alone:
        environment = os.environ | server.env | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'shared'}"}
        code = [sys.executable, "-c", FORKING, server.url, alone.url]
        subprocess.run(code, check=True, env=environment, timeout=PATIENCE)

        assert len(server.requests) == len(alone.requests) == 15
        # A connection that both use would mix up their responses.
        assert alone.connections == 2
