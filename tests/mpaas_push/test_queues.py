from __future__ import annotations

import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from mpaas_local.mns import MnsServer
from mpaas_local.mns.model import QueueAttributes
from mpaas_local.mpaas import AccessKey
from mpaas_push import Credentials, Invocation, Settings
from mpaas_push.queues.message import BODY_BYTES, QueueMessage
from mpaas_push.queues.mns import HandOverResult, MnsQueues
from tests.mns_responses import bodies, error, taking
from tests.servers import PATIENCE, Answer, Server, close, drip, hang, reply, reset

if TYPE_CHECKING:
    from pathlib import Path

TAKEN, FAILED, REFUSED = HandOverResult

MESSAGE = QueueMessage("retry", "a message")


def queues_at(url: str, seconds: float = 60, **env: str) -> MnsQueues:
    invocation = Invocation(
        request_id="1-2", credentials=Credentials("ak", "sk"), deadline=time.monotonic() + seconds
    )
    return MnsQueues(Settings.from_env({"PUSH_MNS_ENDPOINT": url} | env), invocation)


# --- What is not taken -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        close,
        reset,
        reply(b"<html>bad gateway</html>", 502),
        reply(b"<html>who are you</html>", 403),
        reply(error("InternalError"), 500),
        reply(error("QpsLimitExceeded"), 403),
        reply(b"", 201),
        taking(entries=0),
    ],
    ids=["closed", "reset", "proxy", "proxy refuses", "error", "throttled", "no answer", "says nothing"],
)
def test_what_was_not_taken_is_tried_again(failure: Answer) -> None:
    with Server(failure, failure, taking()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE]) == [TAKEN]
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [201, 500])
def test_of_a_request_only_the_messages_that_were_not_taken_are_sent_again(status: int) -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(5)]
    with Server(taking({1, 3}, status=status), taking()) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [TAKEN] * 5

        assert [bodies(request) for request in server.requests] == [
            [message.body for message in messages],
            ["message 1", "message 3"],
        ]


def test_a_message_that_mns_will_never_take_is_not_tried_again_and_its_neighbours_are_taken() -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(5)]
    refusing = taking({1, 3}, status=500, code="InvalidArgument")
    with Server(refusing) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [TAKEN, REFUSED, TAKEN, REFUSED, TAKEN]
        assert len(server.requests) == 1


def test_a_queue_that_takes_shorter_messages_only_takes_those_of_a_request() -> None:
    lengths = [9, 900, 9, 9, 9, 900, 9]
    with MnsServer(access_keys={"ak": AccessKey("sk", None)}) as server:
        server.store.create_queue("dead", QueueAttributes(maximum_message_size=1024))
        with queues_at(server.endpoint) as queues:
            results = queues.hand_over([QueueMessage("dead", "x" * length) for length in lengths])

        assert results == [REFUSED if length == 900 else TAKEN for length in lengths]
        assert len(server.store.messages("dead")) == 5


def test_after_an_error_the_other_requests_go_their_way() -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(40)]
    refusal = reply(error("AccessDenied"), 403)
    with Server(taking(), refusal, taking()) as server, queues_at(server.url) as queues:
        taken = queues.hand_over(messages)

        assert (taken.count(TAKEN), len(server.requests)) in {(24, 3), (32, 3)}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "QueueNotExist"),
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "MissingDateHeader"),
    ],
)
def test_what_mns_will_never_take_is_not_tried_again(
    status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(reply(error(code), status)) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE, MESSAGE]) == [FAILED, FAILED]

        assert len(server.requests) == 1
    assert caplog.messages == [f"queue retry did not take 2 messages: 2 {code}"]


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("code", ["QpsLimitExceeded", "SomethingNew"])
def test_an_error_that_is_not_known_to_be_permanent_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.FIRST_PAUSE_SECONDS", 0.0)
    with Server(reply(error(code), status), taking({0}, code=code), taking()) as server:
        with queues_at(server.url) as queues:
            assert queues.hand_over([MESSAGE, MESSAGE]) == [TAKEN, TAKEN]
        assert len(server.requests) == 3


def test_an_argument_in_a_header_is_no_fault_of_the_message() -> None:
    words = "Authorization header is invalid or missing."
    with Server(reply(error("InvalidArgument", words), 400)) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE, MESSAGE]) == [FAILED, FAILED]
        assert len(server.requests) == 1


def test_while_mns_is_down_all_of_the_time_is_used_to_try(caplog: pytest.LogCaptureFixture) -> None:
    with Server(reply(error("InternalError"), 500)) as server, queues_at(server.url, 2) as queues:
        assert queues.hand_over([MESSAGE]) == [FAILED]

        assert len(server.requests) > 1
    assert len(caplog.messages) == 1


def test_no_thread_more_than_the_machine_has_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def no_more(thread: threading.Thread) -> None:
        if thread.name == "mns":
            raise RuntimeError("can't start new thread")
        start(thread)

    messages = [QueueMessage("retry", "a message")] * 100
    with Server(taking()) as server, queues_at(server.url) as queues:
        monkeypatch.setattr(threading.Thread, "start", no_more)
        taken = queues.hand_over(messages)

        assert taken == [TAKEN] * 100


def test_queues_do_not_share_a_request() -> None:
    messages = [QueueMessage(name, name) for name in ("retry", "dead", "retry")]
    with Server(taking()) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [TAKEN] * 3

        sent = {request.path: bodies(request) for request in server.requests}
        assert sent == {"/queues/retry/messages": ["retry"] * 2, "/queues/dead/messages": ["dead"]}


# --- Time --------------------------------------------------------------------------------------------


def test_messages_share_a_connection_until_the_server_closes_it() -> None:
    with Server(taking()) as server, queues_at(server.url) as queues:
        taken = [queues.hand_over([MESSAGE]), queues.hand_over([MESSAGE])]
        server.hang_up()
        taken.append(queues.hand_over([MESSAGE]))

        assert taken == [[TAKEN]] * 3
        assert [request.connection for request in server.requests] == [0, 0, 1]


@pytest.mark.parametrize("silent", [hang, drip])
def test_no_request_outlasts_the_invocation(monkeypatch: pytest.MonkeyPatch, silent: Answer) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", PATIENCE)
    with Server(silent) as server, queues_at(server.url, 0.3) as queues:
        began = time.monotonic()
        taken = queues.hand_over([MESSAGE])

        assert taken == [FAILED]
        assert time.monotonic() - began < PATIENCE / 2


def test_a_connection_that_is_used_again_has_the_time_that_is_left_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", PATIENCE)
    with Server(taking(), hang) as server, queues_at(server.url, 3) as queues:
        began = time.monotonic()
        assert queues.hand_over([MESSAGE]) == [TAKEN]
        assert queues.hand_over([MESSAGE]) == [FAILED]
        assert time.monotonic() - began < PATIENCE / 2


def test_a_request_that_is_not_answered_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", 1.0)
    with Server(hang, taking()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE]) == [TAKEN]


def test_nothing_is_sent_after_the_deadline() -> None:
    with Server(taking()) as server, queues_at(server.url, -1) as queues:
        assert queues.hand_over([MESSAGE]) == [FAILED]
        assert server.requests == []


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trusted", "taken"),
    [("localhost", True, True), ("other.example", True, False), ("localhost", False, False)],
)
def test_certificate_and_name_are_checked(tmp_path: Path, name: str, trusted: bool, taken: bool) -> None:
    authority, bundle = trustme.CA(), tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(bundle)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(tls)

    with Server(taking(), tls=tls, host="localhost") as server:
        with queues_at(server.url, 60 if taken else 0.5, ALIBABA_CLOUD_CA_BUNDLE=str(bundle)) as queues:
            assert queues.hand_over([MESSAGE]) == [TAKEN if taken else FAILED]
        assert len(server.requests) == taken


# --- What goes into one request ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [
        # Base64 fills each of them up to a multiple of three.
        [3070] * 15 + [3102],
        [BODY_BYTES, 1, 1],
        [1] * 40,
        [BODY_BYTES // 2, BODY_BYTES // 2],
    ],
)
def test_no_request_is_longer_than_mns_takes(lengths: list[int]) -> None:
    messages = [QueueMessage("dead", "x" * length) for length in lengths]
    with MnsServer(access_keys={"ak": AccessKey("sk", None)}) as server:
        server.store.create_queue("dead")
        with queues_at(server.endpoint) as queues:
            assert queues.hand_over(messages) == [TAKEN] * len(messages)
        assert len(server.store.messages("dead")) == len(messages)


def test_a_body_that_is_too_long_harms_no_other() -> None:
    with Server(taking()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([QueueMessage("dead", "x" * (BODY_BYTES + 1)), MESSAGE]) == [REFUSED, TAKEN]
