from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pytest
import trustme

from mpaas_local.mns import MnsServer
from mpaas_local.mpaas import AccessKey
from mpaas_push import Credentials, Invocation, Settings
from mpaas_push.queues import BODY_BYTES, MnsQueues, QueueMessage
from tests.servers import Answer, Exchange, Server, hang, reply, reset

if TYPE_CHECKING:
    from pathlib import Path

PARCEL = QueueMessage("a message")
TAKEN = reply(
    b'<?xml version="1.0"?><Messages xmlns="http://mns.aliyuncs.com/doc/v1/"><Message>'
    b"<MessageId>1</MessageId><MessageBodyMD5>2</MessageBodyMD5></Message></Messages>",
    201,
)


def queues_at(url: str, seconds: float = 20, **env: str) -> MnsQueues:
    invocation = Invocation("1-2", Credentials("ak", "sk"), time.monotonic() + seconds)
    return MnsQueues(Settings.from_env({"PUSH_MNS_ENDPOINT": url} | env), invocation)


def close(_: Exchange) -> bool:
    """Close the connection instead of answering."""
    return False


# --- A lost answer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [close, reset])
def test_a_message_whose_answer_was_lost_is_not_sent_again(lost: Answer) -> None:
    with Server(lost, TAKEN) as server, queues_at(server.url) as queues:
        assert queues.hand_over("retry", [PARCEL]) == [False]
        assert len(server.requests) == 1


def test_after_a_lost_answer_the_next_message_goes_its_way() -> None:
    with Server(close, TAKEN) as server, queues_at(server.url) as queues:
        queues.hand_over("retry", [PARCEL])

        assert queues.hand_over("dead", [PARCEL]) == [True]


def test_messages_share_a_connection_until_the_server_closes_it() -> None:
    with Server(TAKEN) as server, queues_at(server.url) as queues:
        taken = [queues.hand_over("retry", [PARCEL]), queues.hand_over("dead", [PARCEL])]
        server.hang_up()
        taken.append(queues.hand_over("dead", [PARCEL]))

        assert taken == [[True]] * 3
        assert [request.connection for request in server.requests] == [0, 0, 1]


# --- Time --------------------------------------------------------------------------------------------


def test_no_request_outlasts_the_invocation() -> None:
    with Server(hang) as server, queues_at(server.url, 0.3) as queues:
        began = time.monotonic()
        taken = queues.hand_over("retry", [PARCEL])

        assert taken == [False]
        assert time.monotonic() - began < 1.0


def test_a_connection_that_is_used_again_has_the_time_that_is_left_now() -> None:
    with Server(TAKEN, hang) as server, queues_at(server.url, 0.6) as queues:
        began = time.monotonic()
        assert queues.hand_over("retry", [PARCEL]) == [True]
        assert queues.hand_over("retry", [PARCEL]) == [False]
        assert time.monotonic() - began < 1.5


def test_a_queue_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpaas_push.queues.TIMEOUT_SECONDS", 0.3)
    with Server(hang) as server, queues_at(server.url) as queues:
        assert queues.hand_over("retry", [PARCEL]) == [False]


def test_nothing_is_sent_after_the_deadline() -> None:
    with Server(TAKEN) as server, queues_at(server.url, -1) as queues:
        assert queues.hand_over("retry", [PARCEL]) == [False]
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

    with Server(TAKEN, tls=tls, host="localhost") as server:
        with queues_at(server.url, ALIBABA_CLOUD_CA_BUNDLE=str(bundle)) as queues:
            assert queues.hand_over("retry", [PARCEL]) == [taken]
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
    parcels = [QueueMessage("x" * length) for length in lengths]
    with MnsServer(access_keys={"ak": AccessKey("sk", None)}) as server:
        server.store.create_queue("dead")
        with queues_at(server.endpoint) as queues:
            assert queues.hand_over("dead", parcels) == [True] * len(parcels)
        assert len(server.store.messages("dead")) == len(parcels)


def test_a_body_that_is_too_long_harms_no_other() -> None:
    with Server(TAKEN) as server, queues_at(server.url) as queues:
        assert queues.hand_over("dead", [QueueMessage("x" * (BODY_BYTES + 1)), PARCEL]) == [False, True]
