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
from tests.mns_responses import accepting, bodies, error
from tests.servers import PATIENCE, Responder, Server, close, drip, hang, reply, reset

if TYPE_CHECKING:
    from pathlib import Path

ACCEPTED, FAILED, REFUSED = HandOverResult

MESSAGE = QueueMessage("retry", "a message")


def queues_at(url: str, seconds: float = 60, **env: str) -> MnsQueues:
    invocation = Invocation(
        request_id="1-2", credentials=Credentials("ak", "sk"), deadline=time.monotonic() + seconds
    )
    return MnsQueues(Settings.from_env({"PUSH_MNS_ENDPOINT": url} | env), invocation)


# --- Failures ----------------------------------------------------------------------------------------


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
        accepting(entries=0),
    ],
    ids=["closed", "reset", "proxy", "proxy refuses", "error", "throttled", "empty body", "no entries"],
)
def test_failed_hand_over_is_retried(failure: Responder) -> None:
    with Server(failure, failure, accepting()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE]) == [ACCEPTED]
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", [201, 500])
def test_only_the_failed_messages_of_a_request_are_sent_again(status: int) -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(5)]
    with Server(accepting({1, 3}, status=status), accepting()) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [ACCEPTED] * 5

        assert [bodies(request) for request in server.requests] == [
            [message.body for message in messages],
            ["message 1", "message 3"],
        ]


def test_permanently_rejected_messages_are_not_retried_and_others_are_accepted() -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(5)]
    partial = accepting({1, 3}, status=500, code="InvalidArgument")
    with Server(partial) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [ACCEPTED, REFUSED, ACCEPTED, REFUSED, ACCEPTED]
        assert len(server.requests) == 1


def test_queue_with_a_lower_size_limit_accepts_the_shorter_messages_of_a_request() -> None:
    lengths = [9, 900, 9, 9, 9, 900, 9]
    with MnsServer(access_keys={"ak": AccessKey("sk", None)}) as server:
        server.store.create_queue("dead", QueueAttributes(maximum_message_size=1024))
        with queues_at(server.endpoint) as queues:
            results = queues.hand_over([QueueMessage("dead", "x" * length) for length in lengths])

        assert results == [REFUSED if length == 900 else ACCEPTED for length in lengths]
        assert len(server.store.messages("dead")) == 5


def test_error_of_one_request_does_not_affect_the_others() -> None:
    messages = [QueueMessage("retry", f"message {number}") for number in range(40)]
    refusal = reply(error("AccessDenied"), 403)
    with Server(accepting(), refusal, accepting()) as server, queues_at(server.url) as queues:
        results = queues.hand_over(messages)

        assert (results.count(ACCEPTED), len(server.requests)) in {(24, 3), (32, 3)}


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
def test_permanent_error_is_not_retried(status: int, code: str, caplog: pytest.LogCaptureFixture) -> None:
    with Server(reply(error(code), status)) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE, MESSAGE]) == [FAILED, FAILED]

        assert len(server.requests) == 1
    assert caplog.messages == [f"queue retry did not accept 2 messages: 2 {code}"]


@pytest.mark.parametrize("status", [400, 403, 404, 500])
@pytest.mark.parametrize("code", ["QpsLimitExceeded", "SomethingNew"])
def test_error_not_known_to_be_permanent_is_retried(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.FIRST_PAUSE_SECONDS", 0.0)
    with Server(reply(error(code), status), accepting({0}, code=code), accepting()) as server:
        with queues_at(server.url) as queues:
            assert queues.hand_over([MESSAGE, MESSAGE]) == [ACCEPTED, ACCEPTED]
        assert len(server.requests) == 3


def test_invalid_header_is_not_a_fault_of_the_message() -> None:
    reason = "Authorization header is invalid or missing."
    with Server(reply(error("InvalidArgument", reason), 400)) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE, MESSAGE]) == [FAILED, FAILED]
        assert len(server.requests) == 1


def test_hand_over_is_retried_until_the_deadline_while_mns_is_down(caplog: pytest.LogCaptureFixture) -> None:
    with Server(reply(error("InternalError"), 500)) as server, queues_at(server.url, 2) as queues:
        assert queues.hand_over([MESSAGE]) == [FAILED]

        assert len(server.requests) > 1
    assert len(caplog.messages) == 1


def test_hand_over_works_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "mns":
            raise RuntimeError("can't start new thread")
        start(thread)

    messages = [QueueMessage("retry", "a message")] * 100
    with Server(accepting()) as server, queues_at(server.url) as queues:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        results = queues.hand_over(messages)

        assert results == [ACCEPTED] * 100


def test_queues_do_not_share_a_request() -> None:
    messages = [QueueMessage(name, name) for name in ("retry", "dead", "retry")]
    with Server(accepting()) as server, queues_at(server.url) as queues:
        assert queues.hand_over(messages) == [ACCEPTED] * 3

        sent = {request.path: bodies(request) for request in server.requests}
        assert sent == {"/queues/retry/messages": ["retry"] * 2, "/queues/dead/messages": ["dead"]}


# --- Time --------------------------------------------------------------------------------------------


def test_messages_share_a_connection_until_the_server_closes_it() -> None:
    with Server(accepting()) as server, queues_at(server.url) as queues:
        results = [queues.hand_over([MESSAGE]), queues.hand_over([MESSAGE])]
        server.hang_up()
        results.append(queues.hand_over([MESSAGE]))

        assert results == [[ACCEPTED]] * 3
        assert [request.connection for request in server.requests] == [0, 0, 1]


@pytest.mark.parametrize("silent", [hang, drip])
def test_request_ends_with_the_invocation(monkeypatch: pytest.MonkeyPatch, silent: Responder) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", PATIENCE)
    with Server(silent) as server, queues_at(server.url, 0.3) as queues:
        began = time.monotonic()
        results = queues.hand_over([MESSAGE])

        assert results == [FAILED]
        assert time.monotonic() - began < PATIENCE / 2


def test_reused_connection_has_the_current_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", PATIENCE)
    with Server(accepting(), hang) as server, queues_at(server.url, 3) as queues:
        began = time.monotonic()
        assert queues.hand_over([MESSAGE]) == [ACCEPTED]
        assert queues.hand_over([MESSAGE]) == [FAILED]
        assert time.monotonic() - began < PATIENCE / 2


def test_request_without_a_response_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.queues.mns.TIMEOUT_SECONDS", 1.0)
    with Server(hang, accepting()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([MESSAGE]) == [ACCEPTED]


def test_nothing_is_sent_after_the_deadline() -> None:
    with Server(accepting()) as server, queues_at(server.url, -1) as queues:
        assert queues.hand_over([MESSAGE]) == [FAILED]
        assert server.requests == []


# --- TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "trusted", "accepted"),
    [("localhost", True, True), ("other.example", True, False), ("localhost", False, False)],
)
def test_certificate_and_name_are_checked(tmp_path: Path, name: str, trusted: bool, accepted: bool) -> None:
    authority, bundle = trustme.CA(), tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(bundle)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(tls)

    with Server(accepting(), tls=tls, host="localhost") as server:
        with queues_at(server.url, 60 if accepted else 0.5, ALIBABA_CLOUD_CA_BUNDLE=str(bundle)) as queues:
            assert queues.hand_over([MESSAGE]) == [ACCEPTED if accepted else FAILED]
        assert len(server.requests) == accepted


# --- Size of a request -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [
        # Base64 pads each of them to a multiple of three bytes.
        [3070] * 15 + [3102],
        [BODY_BYTES, 1, 1],
        [1] * 40,
        [BODY_BYTES // 2, BODY_BYTES // 2],
    ],
)
def test_request_never_exceeds_the_size_limit_of_mns(lengths: list[int]) -> None:
    messages = [QueueMessage("dead", "x" * length) for length in lengths]
    with MnsServer(access_keys={"ak": AccessKey("sk", None)}) as server:
        server.store.create_queue("dead")
        with queues_at(server.endpoint) as queues:
            assert queues.hand_over(messages) == [ACCEPTED] * len(messages)
        assert len(server.store.messages("dead")) == len(messages)


def test_body_that_is_too_long_does_not_affect_others() -> None:
    with Server(accepting()) as server, queues_at(server.url) as queues:
        assert queues.hand_over([QueueMessage("dead", "x" * (BODY_BYTES + 1)), MESSAGE]) == [
            REFUSED,
            ACCEPTED,
        ]
