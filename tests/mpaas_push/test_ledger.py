from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import select
import socket
import ssl
import threading
import time
import warnings
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme

from mpaas_push import (
    Invocation,
    Misconfigured,
    Outcome,
    PushClient,
    PushMessage,
    Settings,
    retries,
)
from mpaas_push.ledger import Ledger, redis_client
from mpaas_push.ledger import claims as claims_module
from mpaas_push.ledger.claims import Claim
from mpaas_push.ledger.redis_client import RedisClient, record_key
from mpaas_push.message.constraints import Level
from mpaas_push.outcome import ACCEPTED, MISCONFIGURED, REFUSED, THROTTLED, UNKNOWN, OutcomeKind
from mpaas_push.round import MIN_BLOCK
from mpaas_push.task import PushTask
from tests.clocks import AdvancedMonotonic
from tests.mpaas_push.invocations import KEY, within
from tests.mpaas_push.message.examples import minimal
from tests.mpaas_push.planning import requests_of
from tests.servers import (
    LOOPBACK,
    OK,
    PATIENCE,
    Exchange,
    Responder,
    Server,
    business,
    closed_port,
    gateway,
    hang,
    listening,
    reply,
    reset,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mpaas_push.request import PushRequest
    from tests.redis_server import RedisServer

SECRET = "ledger-password"
USER = "pusher-4711"


def push(**fields: Any) -> PushMessage:
    return PushMessage.parse({**minimal(), "appId": "A", "workspaceId": "W"} | fields)


def request_of(**fields: Any) -> PushRequest:
    (request,) = requests_of(push(**fields), Settings(), "scope")
    return request


def claim_of(ledger: Ledger, request: PushRequest, invocation: Invocation) -> Claim | Outcome:
    """Claim the right to send a single request."""
    (result,) = ledger.claims(invocation).claim([request])
    return result


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "sleep", lambda _: None)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tolerate slow responses of a busy machine."""
    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", PATIENCE)
    monkeypatch.setattr(redis_client, "WAIT_SECONDS", PATIENCE)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@contextmanager
def instances(count: int, server: Server, url: str, **env: str) -> Iterator[list[PushClient]]:
    """Yield clients that share no state, like instances of a function."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(PushClient.from_env({**server.env, "PUSH_LEDGER_URL": url} | env))
            for _ in range(count)
        ]


def send_twice(respond: Responder, url: str, **env: str) -> tuple[Outcome, Outcome, int]:
    """Send the same push from two instances in turn; return both outcomes and the number of requests."""
    with Server(respond) as server, instances(2, server, url, **env) as (one, other):
        (first,) = one.send(push(), scope="s", invocation=within())
        (second,) = other.send(push(), scope="s", invocation=within())
        return first, second, len(server.requests)


# --- What was sent is not sent again -----------------------------------------------------------------


def test_repeated_push_gets_the_first_outcome_and_is_not_sent(url: str) -> None:
    first, second, requests = send_twice(reply(OK), url)

    assert first.kind is ACCEPTED
    assert second == first
    assert requests == 1


@pytest.mark.parametrize(
    ("respond", "kind"),
    [
        (business("3028"), REFUSED),  # the message or its template may have been corrected
        (business("8011"), THROTTLED),
        (gateway("Forbidden.RAM", 403), MISCONFIGURED),
    ],
)
def test_push_that_was_not_accepted_may_be_sent_again(url: str, respond: Responder, kind: Any) -> None:
    first, second, requests = send_twice(respond, url, PUSH_MAX_ATTEMPTS="1", PUSH_LEDGER_IF_DOWN="fail")

    assert first.kind is second.kind is kind
    assert requests == 2


def test_corrected_message_is_sent_under_the_ids_of_the_refused_one(url: str) -> None:
    with Server(business("3024"), reply(OK)) as server, instances(2, server, url) as (one, other):
        (first,) = one.send(push(), invocation=within())
        (second,) = other.send(push(title="Corrected"), invocation=within())

    assert (first.kind, second.kind) == (REFUSED, ACCEPTED)


@pytest.mark.parametrize("respond", [reply(OK), reset])
def test_different_message_under_the_same_ids_is_refused_with_the_id_and_the_time(
    url: str, respond: Responder
) -> None:
    ids = {"user-4711": "user-4711 at 9", "user-4712": "order-2"}
    with Server(respond) as server, instances(2, server, url) as (one, other):
        one.send(push(targetMsgkey=ids), invocation=within())
        (second,) = other.send(push(targetMsgkey=ids, title="Another"), invocation=within())

        assert len(server.requests) == 1
    assert (second.kind, second.result_code, second.attempts) == (REFUSED, "IdReused", 0)
    text = str(second.result_message)
    assert re.search(
        r"message id us…\(9\) at 9 \(and 1 more\) at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", text
    )
    moment = datetime.fromisoformat(re.findall(r"\d{4}-\S+00:00", text)[0])
    assert abs(moment.timestamp() - time.time()) < 60


@pytest.mark.parametrize("as_text", [False, True])
def test_key_order_and_white_space_of_json_do_not_change_the_content(url: str, as_text: bool) -> None:
    one: Any = {"a": 1, "b": {"c": 2, "d": 3}}
    other: Any = {"b": {"d": 3, "c": 2}, "a": 1}
    if as_text:
        one, other = json.dumps(one), json.dumps(other, indent=1)
    with Server(reply(OK)) as server, instances(2, server, url) as clients:
        clients[0].send(push(extendedParams=one), invocation=within())
        (second,) = clients[1].send(push(extendedParams=other), invocation=within())

        assert second.kind is ACCEPTED
        assert len(server.requests) == 1


def test_order_of_message_ids_does_not_change_the_requests(url: str) -> None:
    ids = {f"user-{number:02}": f"id-{number:02}" for number in range(11)}
    with Server(reply(OK)) as server, instances(2, server, url) as (one, other):
        first = one.send(push(targetMsgkey=ids), invocation=within())
        second = other.send(push(targetMsgkey=dict(reversed(ids.items()))), invocation=within())

        assert [outcome.kind for outcome in first + second] == [ACCEPTED] * 4
        assert len(server.requests) == 2


def test_remaining_validity_does_not_change_the_content(url: str) -> None:
    def task_of(age: float) -> PushTask:
        return PushTask(scope="s", original="", message=push(), first_moment=time.time() - age)

    with Server(reply(OK)) as server, instances(2, server, url) as (one, other):
        one.send_tasks([task_of(age=60)], within())
        ((second,),) = other.send_tasks([task_of(age=120)], within())

        assert second.kind is ACCEPTED
        assert len(server.requests) == 1


def test_unknown_push_stays_unknown(url: str) -> None:
    first, second, requests = send_twice(reset, url)

    assert first.kind is UNKNOWN
    assert second == first
    assert requests == 1


def test_unknown_push_is_sent_again_if_the_setting_says_so(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, requests = send_twice(reset, url, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="1")

    assert first.kind is second.kind is UNKNOWN
    assert requests == 2
    (line,) = [record for record in caplog.records if record.message == "sent again after an unknown outcome"]
    assert line.__dict__["message_ids"] == ["order-4711-1"]


@pytest.mark.parametrize("last", [business("3012"), gateway("Throttling.User", 400)])
def test_unknown_push_that_is_not_accepted_on_a_retry_stays_unknown(url: str, last: Responder) -> None:
    retry: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_MAX_ATTEMPTS": "1"}
    with Server(reset, last, reply(OK)) as server:
        with instances(2, server, url, **retry) as (one, other):
            one.send(push(), invocation=within())
            (second,) = other.send(push(), invocation=within())
        with instances(1, server, url) as (third,):
            (repeated,) = third.send(push(), invocation=within())
            (changed,) = third.send(push(title="Other"), invocation=within())
            requests = len(server.requests)

    assert second.kind is repeated.kind is UNKNOWN
    assert second.result_message
    assert second.result_message.startswith("an earlier attempt may have arrived; the last one: ")
    assert changed.result_code == "IdReused"
    assert requests == 2


def test_unknown_push_stays_unknown_when_no_time_was_left_to_retry_it(
    url: str, abandoned: PushRequest
) -> None:
    ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry"}))
    claims = ledger.claims(within())
    (claim,) = claims.claim([abandoned])
    assert isinstance(claim, Claim)
    assert claim.may_have_arrived

    claims.settle([(claim, Outcome(kind=THROTTLED, targets=abandoned.targets, result_code="NotSent"))])
    ledger.close()

    with closing(Ledger(Settings(ledger_url=url))) as other:
        outcome = claim_of(other, abandoned, within())
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.result_code) == (UNKNOWN, "Interrupted")


def test_late_unknown_push_is_sent_again_if_both_settings_say_so(url: str, abandoned: PushRequest) -> None:
    env = {"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry", "PUSH_LATE": "send"}
    with closing(Ledger(Settings.from_env(env))) as ledger:
        late = replace(abandoned, expires=time.time() - 1)

        assert isinstance(claim_of(ledger, late, within()), Claim)


def test_each_retry_within_an_invocation_after_an_unknown_outcome_is_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(reset, reply(OK)) as server, instances(1, server, url, PUSH_ON_UNKNOWN="retry") as (client,):
        client.send(push(), invocation=within())

    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "sent again after an unknown outcome"
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"appId": "B"},
        {"workspaceId": "V"},
        {"tenantId": "T"},
        {"targetMsgkey": {"user-4711": "order-4711-2"}},
        {"targetMsgkey": {"user-4712": "order-4711-1"}},
    ],
)
def test_another_app_workspace_tenant_target_or_message_id_is_another_push(
    url: str, other: dict[str, Any]
) -> None:
    with Server(reply(OK), reply(OK)) as server, instances(1, server, url) as (client,):
        client.send(push(), invocation=within())
        client.send(push(**other), invocation=within())

        assert len(server.requests) == 2


def test_each_tenant_gets_a_push_once(url: str) -> None:
    with Server(reply(OK)) as server, instances(2, server, url) as clients:
        for client in clients:
            for tenant in ("T1", "T2"):
                (outcome,) = client.send(push(tenantId=tenant), invocation=within())
                assert outcome.kind is ACCEPTED

        assert len(server.requests) == 2


def test_record_of_the_version_without_tenants_is_honoured(url: str) -> None:
    # Written by release 0.1.0 for this app, workspace, target and message id.
    key = "mpaas-push:request:a6899abb61d3f8dc360bcbe31a1bbde7"
    record = "1 accepted 1764300000000 a73e5bdc06a606fa466452747dd11ed3 {}"
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        with redis.Redis.from_url(url) as records:
            records.set(key, record)
        (outcome,) = client.send(push(), invocation=within())

        assert outcome.kind is ACCEPTED
        assert server.requests == []


def test_each_request_of_a_message_has_its_own_record(url: str) -> None:
    many = push(targetMsgkey={f"user-{number}": f"id-{number}" for number in range(25)})
    with Server(*[reply(OK)] * 3) as server, instances(2, server, url) as (one, other):
        first = one.send(many, invocation=within())
        second = other.send(many, invocation=within())

        assert [len(outcome.targets) for outcome in second] == [10, 10, 5]
        assert second == first
        assert len(server.requests) == 3


# --- Between clients and Redis -----------------------------------------------------------------------


@contextmanager
def relay(
    port: int,
    before: Callable[[bytes], object] = lambda _: None,
    after: Callable[[bytes], object] = lambda _: None,
) -> Iterator[str]:
    """Relay between clients and Redis; call `before` with each request and `after` before its response.

    Bytes that `after` returns are sent before the response.
    """

    def serve(front: socket.socket) -> None:
        with socket.create_connection((LOOPBACK, port)) as back:
            requests = deque[bytes]()
            threading.Thread(target=return_responses, args=(back, front, requests), daemon=True).start()
            while request := front.recv(65536):
                before(request)
                requests.append(request)
                back.sendall(request)

    def return_responses(back: socket.socket, front: socket.socket, requests: deque[bytes]) -> None:
        with suppress(OSError):
            try:
                while data := back.recv(65536):  # a response may arrive in several pieces
                    prefix = after(requests.popleft()) if requests else None
                    front.sendall((prefix if isinstance(prefix, bytes) else b"") + data)
            finally:
                front.shutdown(socket.SHUT_RDWR)

    with socket.create_server((LOOPBACK, 0)) as listener:

        def accept() -> None:
            with suppress(OSError):  # closed: the test is over
                while True:
                    threading.Thread(target=quietly, args=(listener.accept()[0],), daemon=True).start()

        def quietly(front: socket.socket) -> None:
            with front, suppress(OSError):
                serve(front)

        threading.Thread(target=accept, daemon=True).start()
        yield f"redis://{LOOPBACK}:{listener.getsockname()[1]}/0"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def is_claim(request: bytes) -> bool:
    return b"\r\nclaim\r\n" in request


@pytest.mark.usefixtures("url")  # empties Redis
def test_many_requests_are_claimed_in_one_trip_and_settled_in_another(redis_server: RedisServer) -> None:
    trips: list[bytes] = []
    requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(5)]
    with relay(redis_server.port, trips.append) as relayed:
        ledger = Ledger(Settings(ledger_url=relayed))
        claim_of(ledger, request_of(), within())  # connects and loads the script
        trips.clear()
        claims = [claim for claim in ledger.claims(within()).claim(requests) if isinstance(claim, Claim)]
        ledger.claims(within()).settle(
            [(claim, Outcome(kind=ACCEPTED, targets=claim.request.targets)) for claim in claims]
        )
        ledger.close()

    assert len(claims) == 5
    assert [trip.count(b"EVALSHA") for trip in trips] == [5, 5]


def test_script_is_loaded_again_when_the_server_has_lost_it(url: str) -> None:
    requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(3)]
    ledger = Ledger(Settings(ledger_url=url))
    claim_of(ledger, request_of(), within())
    with redis.Redis.from_url(url) as client:
        client.script_flush()

    claims = ledger.claims(within()).claim(requests)

    assert all(isinstance(claim, Claim) for claim in claims)
    ledger.close()


@pytest.mark.usefixtures("url")
def test_threads_wait_for_a_bounded_number_of_shared_connections(
    redis_server: RedisServer,
) -> None:
    connections = set[int]()

    def slow(_: bytes) -> None:
        connections.add(threading.get_ident())
        time.sleep(0.01)

    with relay(redis_server.port, slow) as relayed:
        ledger = Ledger(Settings(ledger_url=relayed))
        requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(60)]
        with ThreadPoolExecutor(60) as pool:
            claims = list(pool.map(lambda request: claim_of(ledger, request, within()), requests))
        ledger.close()

    assert all(isinstance(claim, Claim) and not claim.unconfirmed for claim in claims)
    assert len(connections) <= 16


@pytest.mark.usefixtures("url")
def test_timeout_waiting_for_a_free_connection_is_not_an_outage(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger.redis_client.CONNECTIONS", 1)
    monkeypatch.setattr("mpaas_push.ledger.redis_client.WAIT_SECONDS", 0.05)
    monkeypatch.setattr("mpaas_push.ledger.redis_client.PAUSE_SECONDS", 60.0)
    held, released = threading.Event(), threading.Event()

    def hold(command: bytes) -> None:
        if is_claim(command) and not held.is_set():
            held.set()
            released.wait(PATIENCE)

    requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(5)]
    with relay(redis_server.port, hold) as slow, ThreadPoolExecutor(1) as pool:
        ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": slow, "PUSH_LEDGER_IF_DOWN": "fail"}))
        first = pool.submit(claim_of, ledger, requests[0], within())
        held.wait()
        waited = [claim_of(ledger, request, within()) for request in requests[1:4]]
        released.set()
        claims = [first.result(), claim_of(ledger, requests[4], within())]
        ledger.close()

    assert {type(result) for result in waited} == {Outcome}
    assert {type(result) for result in claims} == {Claim}


@pytest.mark.parametrize("if_down", ["send", "fail"])
def test_claim_with_a_lost_response_is_recognised_as_the_clients_own(
    url: str, redis_server: RedisServer, if_down: str
) -> None:
    lost: list[bytes] = []

    def lose(command: bytes) -> None:
        if is_claim(command) and not lost:
            lost.append(command)
            raise ConnectionResetError

    with ExitStack() as opened:
        lossy = opened.enter_context(relay(redis_server.port, after=lose))
        server = opened.enter_context(Server(reply(OK)))
        (client,) = opened.enter_context(instances(1, server, lossy, PUSH_LEDGER_IF_DOWN=if_down))
        (outcome,) = client.send(push(), invocation=within())

    assert lost
    assert outcome.kind is ACCEPTED
    assert [text.split()[1] for text, _ in records_in(url).values()] == ["accepted"]


def test_ledger_that_was_used_before_a_fork_works_in_the_child(url: str) -> None:
    ledger = Ledger(Settings(ledger_url=url))
    assert isinstance(claim_of(ledger, request_of(), within()), Claim)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forking a process that has threads
        child = os.fork()
    if child == 0:
        claim = claim_of(ledger, request_of(targetMsgkey={"user": "child"}), within())
        os._exit(0 if isinstance(claim, Claim) else 1)

    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert isinstance(claim_of(ledger, request_of(targetMsgkey={"user": "parent"}), within()), Claim)
    ledger.close()


# --- Concurrent instances ----------------------------------------------------------------------------


def test_two_instances_with_the_same_batch_send_each_request_once(url: str) -> None:
    batch = [
        push(targetMsgkey={f"user-{number}-{i}": f"id-{number}-{i}" for i in range(10)})
        for number in range(60)
    ]
    with Server(*[reply(OK)] * 120) as server, instances(2, server, url) as clients:
        start = threading.Barrier(2)

        def run(client: PushClient) -> list[list[Outcome]]:
            start.wait()
            return client.send_all(batch, scope="s", invocation=within())

        with ThreadPoolExecutor(2) as pool:
            results = [[o for part in result for o in part] for result in pool.map(run, clients)]

        seen = [tuple(request.form["TargetMsgkey"]) for request in server.requests]
        assert len(seen) == len(set(seen)) == 60
    for one, other in zip(*results, strict=True):
        kinds = {one.kind, other.kind}
        assert kinds <= {ACCEPTED, THROTTLED}
        assert ACCEPTED in kinds
        for outcome in (one, other):
            assert outcome.kind is ACCEPTED or outcome.result_code == "InProgress"


def test_push_in_flight_is_in_progress_for_other_instances(url: str) -> None:
    ledger, other = Ledger(Settings(ledger_url=url)), Ledger(Settings(ledger_url=url))
    request = request_of()

    assert isinstance(claim_of(ledger, request, within()), Claim)
    outcome = claim_of(other, request, within())

    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "InProgress", 0)
    ledger.close()
    other.close()


@pytest.mark.usefixtures("url")  # empties Redis
def test_client_does_not_require_the_resp3_protocol(redis_server: RedisServer) -> None:
    seen: list[bytes] = []
    with relay(redis_server.port, seen.append) as relayed:
        ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": relayed}))

        assert isinstance(claim_of(ledger, request_of(), within()), Claim)

    assert b"HELLO" not in b"".join(seen)


def test_claims_expire_by_the_servers_clock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Ledger(Settings(ledger_url=url)), Ledger(Settings(ledger_url=url))
    assert isinstance(claim_of(one, request_of(), within()), Claim)
    wall_time = time.time
    monkeypatch.setattr(time, "time", lambda: wall_time() + 3600)

    outcome = claim_of(other, request_of(), within())

    assert isinstance(outcome, Outcome)
    assert outcome.result_code == "InProgress"
    one.close()
    other.close()


def test_expired_request_does_not_take_over_an_unknown_claim(url: str, abandoned: PushRequest) -> None:
    ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry"}))

    outcome = claim_of(ledger, replace(abandoned, expires=time.time() - 1), within())

    assert isinstance(outcome, Outcome)
    assert outcome.kind is UNKNOWN
    ledger.close()


@pytest.fixture
def abandoned(url: str, monkeypatch: pytest.MonkeyPatch) -> PushRequest:
    """A request whose invocation ended before an outcome was recorded."""
    request = request_of()
    ledger = Ledger(Settings(ledger_url=url))
    monkeypatch.setattr("mpaas_push.ledger.claims.MARGIN_SECONDS", 0.0)
    assert isinstance(claim_of(ledger, request, within(0.05)), Claim)
    ledger.close()
    time.sleep(0.06)
    return request


def test_abandoned_claim_is_unknown(url: str, abandoned: PushRequest) -> None:
    ledger = Ledger(Settings(ledger_url=url))

    outcome = claim_of(ledger, abandoned, within())

    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.result_code) == (UNKNOWN, "Interrupted")
    ledger.close()


def test_only_one_of_many_concurrent_retries_sends_an_unknown_push(url: str, abandoned: PushRequest) -> None:
    settings = Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry"})
    ledgers = [Ledger(settings) for _ in range(8)]
    start = threading.Barrier(8)

    def claim(ledger: Ledger) -> Any:
        start.wait()
        return claim_of(ledger, abandoned, within())

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, ledgers))
    for ledger in ledgers:
        ledger.close()

    assert sum(isinstance(result, Claim) for result in claims) == 1
    assert {result.result_code for result in claims if isinstance(result, Outcome)} == {"InProgress"}


@pytest.fixture
def overrun(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Claim, Claim, Ledger]]:
    """A claim that expired too early, the claim that replaced it, and a third ledger."""
    settings = Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry"})
    ledgers = [Ledger(settings) for _ in range(3)]
    monkeypatch.setattr("mpaas_push.ledger.claims.MARGIN_SECONDS", 0.0)
    late = claim_of(ledgers[0], request_of(), within(0.05))
    time.sleep(0.06)
    fresh = claim_of(ledgers[1], request_of(), within())
    assert isinstance(late, Claim)
    assert isinstance(fresh, Claim)
    yield late, fresh, ledgers[2]
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize("kind", [THROTTLED, REFUSED, UNKNOWN])
def test_late_settlement_does_not_change_the_claim_of_another(
    overrun: tuple[Claim, Claim, Ledger], kind: OutcomeKind
) -> None:
    late, fresh, third = overrun

    third.claims(within()).settle([(late, Outcome(kind=kind, targets={"user-4711": "1"}))])
    meanwhile = claim_of(third, request_of(), within())
    third.claims(within()).settle([(fresh, Outcome(kind=ACCEPTED, targets={"user-4711": "1"}))])
    afterwards = claim_of(third, request_of(), within())

    assert isinstance(meanwhile, Outcome)
    assert meanwhile.result_code == "InProgress"
    assert isinstance(afterwards, Outcome)
    assert afterwards.kind is ACCEPTED


@pytest.mark.parametrize("kind", [THROTTLED, REFUSED, UNKNOWN])
def test_late_acceptance_is_kept(overrun: tuple[Claim, Claim, Ledger], kind: OutcomeKind) -> None:
    late, fresh, third = overrun

    third.claims(within()).settle([(late, Outcome(kind=ACCEPTED, targets={"user-4711": "1"}))])
    third.claims(within()).settle([(fresh, Outcome(kind=kind, targets={"user-4711": "1"}))])
    afterwards = claim_of(third, request_of(), within())

    assert isinstance(afterwards, Outcome)
    assert afterwards.kind is ACCEPTED


# --- Many in one call --------------------------------------------------------------------------------


def numbered(count: int) -> list[PushMessage]:
    return [push(targetMsgkey={f"user-{index}": f"id-{index}"}) for index in range(count)]


def counting_claims(url: str, claimed: list[int]) -> Responder:
    """Accept a push; first append the number of claims in the ledger to `claimed`."""

    def respond(exchange: Exchange) -> bool:
        claimed.append(sum(text.startswith("1 claimed") for text, _ in records_in(url).values()))
        return reply(OK)(exchange)

    return respond


def test_killed_worker_leaves_at_most_one_block_of_claims(url: str) -> None:
    claimed: list[int] = []
    with (
        Server(counting_claims(url, claimed)) as server,
        instances(1, server, url, PUSH_CONCURRENCY="2") as (client,),
    ):
        outcomes = client.send_all(numbered(90), invocation=within())

        assert [outcome.kind for (outcome,) in outcomes] == [ACCEPTED] * 90
        assert len(server.requests) == 90
    assert 2 <= max(claimed) <= MIN_BLOCK
    assert [text.split()[1] for text, _ in records_in(url).values()] == ["accepted"] * 90


def test_requests_of_consecutive_blocks_are_concurrent(url: str) -> None:
    arrived = deque[Exchange]()

    def respond(exchange: Exchange) -> bool:
        # Hold the first request until so many others have arrived that they cannot all be in its block.
        arrived.append(exchange)
        if exchange is arrived[0]:
            deadline = time.monotonic() + PATIENCE
            while len(arrived) < 60 and time.monotonic() < deadline:
                time.sleep(0.01)
        return reply(OK)(exchange)

    with Server(respond) as server, instances(1, server, url, PUSH_CONCURRENCY="4") as (client,):
        outcomes = client.send_all(numbered(60), invocation=within())

    assert [outcome.kind for (outcome,) in outcomes] == [ACCEPTED] * 60


def test_requests_without_time_left_are_not_claimed_and_logged_in_one_line(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch may have a hundred thousand of them; the time after the deadline is for handing them over."""
    clock = AdvancedMonotonic()
    monkeypatch.setattr(time, "monotonic", clock)

    def advance_clock(exchange: Exchange) -> bool:
        clock.advance(1000.0)
        return reset(exchange)

    late = together(2, advance_clock)
    with Server(late) as server, instances(1, server, url, PUSH_CONCURRENCY="2") as (client,):
        outcomes = client.send_all(numbered(200), invocation=within(300))

    codes = Counter(outcome.result_code for (outcome,) in outcomes)
    assert codes["NotSent"] >= 200 - MIN_BLOCK
    # One of the two may still be reading when the other advances the clock.
    assert len(records_in(url)) == codes["AnswerLost"] + codes["ReadTimeout"] == 2
    (line,) = [message for message in caplog.messages if "no time was left" in message]
    unsent = int(line.split()[5])
    assert unsent >= 200 - MIN_BLOCK
    assert sum(outcome.unconfirmed for (outcome,) in outcomes) == unsent


def test_finished_requests_are_settled_while_others_are_in_flight(url: str) -> None:
    """A killed worker then leaves few requests with an unknown outcome, even in its last block."""
    claimed: list[int] = []
    with (
        Server(counting_claims(url, claimed)) as server,
        instances(1, server, url, PUSH_CONCURRENCY="1") as (client,),
    ):
        client.send_all(numbered(MIN_BLOCK // 2), invocation=within())
    assert claimed[0] == MIN_BLOCK // 2
    assert claimed[-1] <= MIN_BLOCK // 4


def test_batch_needs_few_round_trips_to_the_ledger(url: str, redis_server: RedisServer) -> None:
    pieces: list[bytes] = []  # as sent to Redis; a long command is split into several
    with (
        Server(reply(OK)) as server,
        relay(redis_server.port, pieces.append) as counted,
        instances(1, server, counted) as (client,),
    ):
        client.send_all(numbered(100), invocation=within())

    assert len(pieces) < 25
    assert len(records_in(url)) == 100


# --- Records -----------------------------------------------------------------------------------------


def records_in(url: str) -> dict[str, tuple[str, int]]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {key: (str(client.get(key)), client.ttl(key)) for key in client.scan_iter()}


def test_records_hold_no_target_no_text_and_no_secret(url: str) -> None:
    respond = reply({**OK, "ResultMessage": "sent to user-4711 by LTAI-test-id"})
    with Server(respond) as server, instances(1, server, url) as (client,):
        client.send(push(title="A private title"), invocation=within())

    text = str(records_in(url))
    for private in ("user-4711", "order-4711-1", "private", "LTAI-test-id", "test-secret"):
        assert private not in text
    assert "sent to us…(9) by …" in text


@pytest.mark.parametrize(("validity", "seconds"), [(60, 86_400), (7 * 86_400, 7 * 86_400)])
def test_record_is_kept_as_long_as_the_push_is_valid_and_at_least_a_day(
    url: str, validity: int, seconds: int
) -> None:
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        client.send(push(expiredSeconds=validity), invocation=within())

    ((_, lifetime),) = records_in(url).values()
    assert seconds - 60 <= lifetime <= seconds


def midnight_in_china(days: float) -> int:
    """Return midnight in China so many days from now, in milliseconds."""
    return (int(time.time() / 86_400 + days) * 24 - 8) * 3_600_000


LOOP = {"circleType": 1, "circleValue": [], "time": "09:45:11"}


@pytest.mark.parametrize(
    ("timing", "days"),
    [
        ({"strategyType": 1, "strategyContent": {"fixedTime": midnight_in_china(10)}}, 10),
        (
            {
                "strategyType": 2,
                "strategyContent": LOOP
                | {"startTime": midnight_in_china(2), "endTime": midnight_in_china(9)},
            },
            10,
        ),
    ],
    ids=["timed", "loop"],
)
def test_record_is_kept_until_the_last_push_of_a_task_expires(
    url: str, timing: dict[str, Any], days: int
) -> None:
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        (outcome,) = client.send(push(expiredSeconds=5 * 86_400, **timing), invocation=within())

    assert outcome.kind is ACCEPTED
    ((_, lifetime),) = records_in(url).values()
    until = midnight_in_china(days) / 1000 - time.time() + 5 * 86_400
    assert until - 60 <= lifetime <= until + 60


def test_record_of_a_task_is_kept_for_at_most_400_days(url: str) -> None:
    ledger = Ledger(Settings(ledger_url=url))
    timing = {"strategyType": 1, "strategyContent": {"fixedTime": midnight_in_china(4000)}}

    assert isinstance(claim_of(ledger, request_of(**timing), within()), Claim)

    ((_, lifetime),) = records_in(url).values()
    assert lifetime <= 400 * 86_400
    ledger.close()


def test_record_of_a_push_that_never_expires_is_kept_for_400_days(url: str) -> None:
    endless = PushMessage.parse(
        {**minimal(), "appId": "A", "workspaceId": "W", "expiredSeconds": 1764000000000},
        levels={"expired-seconds-max": Level.WARNING},
    )
    with Server(reply(OK)) as server, instances(2, server, url) as (one, other):
        (first,) = one.send(endless, invocation=within())
        (second,) = other.send(endless, invocation=within())

        assert first.kind is ACCEPTED
        assert second == first
        assert len(server.requests) == 1
    ((_, lifetime),) = records_in(url).values()
    assert 400 * 86_400 - 60 <= lifetime <= 400 * 86_400


# --- Eviction policies ---------------------------------------------------------------------------------


@contextmanager
def configured(redis_server: RedisServer, **options: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        before = {name: client.config_get(name)[name] for name in options}
        for name, value in options.items():
            client.config_set(name, value)
        try:
            yield client
        finally:
            for name, value in before.items():
                client.config_set(name, value)


@pytest.mark.parametrize(("policy", "lines"), [("noeviction", 0), ("volatile-lru", 1), ("allkeys-lfu", 1)])
def test_policy_that_may_evict_records_is_warned_about_once(
    url: str, redis_server: RedisServer, policy: str, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    with configured(redis_server, **{"maxmemory-policy": policy}):
        ledger = Ledger(Settings(ledger_url=url))
        for _ in range(3):
            claim_of(ledger, request_of(), within())
        ledger.close()

    texts = [record.getMessage() for record in caplog.records if "noeviction" in record.getMessage()]
    assert len(texts) == lines
    assert all(policy in text for text in texts)


def test_missing_right_to_read_the_policy_is_not_an_error(
    url: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with user(redis_server, "+@all", "-info") as allowed:
        ledger = Ledger(Settings(ledger_url=allowed))

        assert isinstance(claim_of(ledger, request_of(), within()), Claim)

    assert url
    assert caplog.records == []
    ledger.close()


# --- Records that this version cannot read -------------------------------------------------------------

UNREADABLE = {
    "another version": b"2 accepted 1764300000000 hash {}",
    "no version": b'{"status": "COMPLETED"}',
    "empty": b"",
    "another state": b"1 postponed 1764300000000 hash {}",
    "truncated before the time": b"1 accepted 17643",
    "truncated in the claim": b"1 claimed 1764300000000 hash 99",
    "truncated in the outcome": b'1 accepted 1764300000000 %(fingerprint)s {"request_id":"1',
    "truncated in a character": b'1 accepted 1764300000000 %(fingerprint)s {"result_message":"\xe6\x8e',
    "an outcome with wrong types": b'1 accepted 1764300000000 %(fingerprint)s {"attempts":[]}',
    "a time out of range": b"1 accepted 99999999999999999999 another {}",
    "a list": [b"1"],
    "a hash": {b"1": b"2"},
}


@pytest.mark.parametrize("if_down", ["send", "fail"])
@pytest.mark.parametrize("record", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_record_is_left_unchanged_and_affects_no_other_request(
    url: str, record: Any, if_down: str, caplog: pytest.LogCaptureFixture
) -> None:
    batch = [push(targetMsgkey={"user": str(number)}) for number in range(3)]
    with (
        Server(*[reply(OK)] * 4) as server,
        instances(2, server, url, PUSH_LEDGER_IF_DOWN=if_down) as clients,
    ):
        clients[0].send(batch[1], invocation=within())
        with redis.Redis.from_url(url) as client:
            (key,) = client.keys()
            fingerprint = bytes(client.get(key) or b"").split()[3]
            client.delete(key)
            if isinstance(record, list):
                client.rpush(key, *record)
            elif isinstance(record, dict):
                client.hset(key, mapping=record)
            else:
                client.set(key, record.replace(b"%(fingerprint)s", fingerprint))
            before = client.dump(key)
            outcomes = [outcome for (outcome,) in clients[1].send_all(batch, invocation=within())]
            assert client.dump(key) == before

    assert [outcomes[0].kind, outcomes[2].kind] == [ACCEPTED] * 2
    if if_down == "send":
        assert outcomes[1].kind is ACCEPTED
    else:
        assert (outcomes[1].kind, outcomes[1].result_code) == (THROTTLED, "LedgerUnreadable")
    (line,) = [line for line in caplog.records if line.levelno == logging.ERROR]
    assert "this version cannot read" in line.getMessage()


def test_fields_that_a_later_version_adds_to_an_outcome_are_ignored(url: str) -> None:
    with Server(reply(OK)) as server, instances(2, server, url) as (one, other):
        (first,) = one.send(push(), invocation=within())
        with redis.Redis.from_url(url, decode_responses=True) as client:
            (key,) = client.keys()
            client.set(key, str(client.get(key)).removesuffix("}") + ',"receipt":{"a":[1]}}')
        (second,) = other.send(push(), invocation=within())

        assert second == first
        assert len(server.requests) == 1


# --- Several versions of the layer at once -------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "kind", "code"),
    [
        ('1 accepted 1764300000000 {} {{"request_id":"B1","result_code":"OK"}}', ACCEPTED, "OK"),
        ('1 unknown 1764300000000 {} {{"result_code":"9000"}}', UNKNOWN, "9000"),
        ("1 unknown 1764300000000 {} {{}}", UNKNOWN, None),
        ("1 claimed 1764300000000 {} 99999999999999 0a1b-0", THROTTLED, "InProgress"),
        ("1 claimed 1764300000000 {} 99999999999999 0a1b-0/unknown", THROTTLED, "InProgress"),
        ("1 claimed 1764300000000 {} 1764300000001 0a1b-0", UNKNOWN, "Interrupted"),
        ("1 claimed 1764300000000 {} 1764300000001 0a1b-0/unknown", UNKNOWN, "Interrupted"),
    ],
)
def test_every_form_of_version_1_records_is_read(
    url: str, record: str, kind: OutcomeKind, code: str | None
) -> None:
    request = request_of()
    identity = json.dumps(["A", "W", sorted(request.targets.items())])
    with redis.Redis.from_url(url) as client, closing(Ledger(Settings(ledger_url=url))) as ledger:
        client.set(record_key("request", identity), record.format(request.fingerprint))
        outcome = claim_of(ledger, request, within())

    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.result_code) == (kind, code)


OLDER, LATER = "0", "2"


@contextmanager
def layer(version: str) -> Iterator[None]:
    """Act as a layer with another record version; a later one also reads this version's records."""
    reads = "[12]" if version == LATER else version
    script = redis_client.SCRIPT.replace("'^1 (", f"'^{reads} (").replace("'1 %s", f"'{version} %s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_client, "SCRIPT", script)
        patch.setattr(redis_client, "SHA", hashlib.sha1(script.encode()).hexdigest())
        yield


@pytest.fixture
def pair(url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """The ledgers of two functions that send nothing while the ledger is unavailable."""
    settings = Settings.from_env(
        {"PUSH_LEDGER_URL": url, "PUSH_LEDGER_IF_DOWN": "fail", "PUSH_ON_UNKNOWN": "retry"}
    )
    with closing(Ledger(settings)) as one, closing(Ledger(settings)) as other:
        yield one, other


def accept(ledger: Ledger, claim: Claim | Outcome) -> None:
    assert isinstance(claim, Claim)
    ledger.claims(within()).settle([(claim, Outcome(kind=ACCEPTED, targets=claim.request.targets))])


def code_of(result: Claim | Outcome) -> str | None:
    assert isinstance(result, Outcome)
    return "accepted" if result.accepted else result.result_code


@pytest.mark.parametrize("version", [OLDER, LATER])
def test_push_claimed_by_another_version_is_left_to_it(
    url: str, pair: tuple[Ledger, Ledger], version: str
) -> None:
    this, other = pair
    with layer(version):
        claim = claim_of(other, request_of(), within())
    before = records_in(url)

    assert code_of(claim_of(this, request_of(), within())) == "LedgerUnreadable"
    assert [text for text, _ in records_in(url).values()] == [text for text, _ in before.values()]
    with layer(version):
        accept(other, claim)
        assert code_of(claim_of(other, request_of(), within())) == "accepted"
    assert code_of(claim_of(this, request_of(), within())) == "LedgerUnreadable"


@pytest.mark.parametrize(
    ("version", "meanwhile", "afterwards"),
    [(OLDER, "LedgerUnreadable", "LedgerUnreadable"), (LATER, "InProgress", "accepted")],
)
def test_push_claimed_by_this_version_is_left_to_it_by_another(
    pair: tuple[Ledger, Ledger], version: str, meanwhile: str, afterwards: str
) -> None:
    this, other = pair
    claim = claim_of(this, request_of(), within())

    with layer(version):
        assert code_of(claim_of(other, request_of(), within())) == meanwhile
    accept(this, claim)
    with layer(version):
        assert code_of(claim_of(other, request_of(), within())) == afterwards
    assert code_of(claim_of(this, request_of(), within())) == "accepted"


def test_claim_taken_over_by_a_later_version_is_left_to_it(
    url: str, pair: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request may have arrived, so the push stays unknown unless the later version's is accepted."""
    this, later = pair
    monkeypatch.setattr("mpaas_push.ledger.claims.MARGIN_SECONDS", 0.0)
    first = claim_of(this, request_of(), within(0.02))
    time.sleep(0.03)
    with layer(LATER):
        second = claim_of(later, request_of(), within())
    assert isinstance(second, Claim)
    assert second.may_have_arrived

    accept(this, first)
    ((text, _),) = records_in(url).values()
    assert text.startswith("2 claimed ")
    with layer(LATER):
        throttled = Outcome(kind=THROTTLED, targets=second.request.targets)
        later.claims(within()).settle([(second, throttled)])
    ((text, _),) = records_in(url).values()
    assert text.startswith("2 unknown ")


# --- A misconfigured ledger ----------------------------------------------------------------------------


@contextmanager
def user(redis_server: RedisServer, *rights: str, keys: str = "*") -> Iterator[str]:
    """Yield the URL for a user with these rights."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{SECRET}", f"~{keys}", *rights)
        try:
            yield redis_server.url.replace("//", f"//{USER}:{SECRET}@")
        finally:
            client.execute_command("ACL", "DELUSER", USER)


@contextmanager
def replying(line: str) -> Iterator[str]:
    """Yield the URL of a server with the same reply to every command."""

    def respond(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            connection.sendall(f"{line}\r\n".encode() * len(re.findall(rb"\*\d+\r\n\$", data)))

    with listening(respond) as port:
        yield f"redis://{LOOPBACK}:{port}/0"


NEEDED_RIGHTS = ("+evalsha", "+eval", "+time", "+get", "+set", "+del")


def wrong_password(redis_server: RedisServer, opened: ExitStack) -> str:
    return opened.enter_context(user(redis_server, "+@all")).replace(SECRET, f"not-{SECRET}")


def missing_right(right: str) -> Callable[[RedisServer, ExitStack], str]:
    def url(redis_server: RedisServer, opened: ExitStack) -> str:
        return opened.enter_context(user(redis_server, *NEEDED_RIGHTS, right.replace("+", "-")))

    return url


def other_keys(redis_server: RedisServer, opened: ExitStack) -> str:
    return opened.enter_context(user(redis_server, *NEEDED_RIGHTS, keys="other:*"))


def missing_database(redis_server: RedisServer, _: ExitStack) -> str:
    return redis_server.url.removesuffix("0") + "99"


def server_replying(line: str) -> Callable[[RedisServer, ExitStack], str]:
    return lambda _, opened: opened.enter_context(replying(line))


PERMANENT: dict[str, tuple[Callable[[RedisServer, ExitStack], str], str]] = {
    "wrong password": (wrong_password, "password"),
    "no EVALSHA": (missing_right("+evalsha"), "may not use"),
    "no GET": (missing_right("+get"), "may not use"),
    "no SET": (missing_right("+set"), "may not use"),
    "no TIME": (missing_right("+time"), "may not use"),
    "other keys": (other_keys, "may not use"),
    "no such database": (missing_database, "database"),
    "no password": (server_replying("-NOAUTH Authentication required."), "password"),
    "an older server's text": (server_replying("-ERR invalid password"), "password"),
    "a right within the script": (
        server_replying("-ERR Error running script (call to f_1): @user_script:9: NOPERM no permissions"),
        "may not use",
    ),
    "a node": (server_replying("-MOVED 3999 10.0.0.1:6379"), "node of a cluster"),
    "a node that moves": (server_replying("-ASK 3999 10.0.0.1:6379"), "node of a cluster"),
    "slots": (server_replying("-CROSSSLOT Keys in request don't hash to the same slot"), "node of a cluster"),
    "a whitelist": (server_replying("-ERR illegal address"), "whitelist"),
    "no scripts": (server_replying("-ERR unknown command 'EVALSHA'"), "commands"),
    "a proxy without scripts": (
        server_replying("-ERR command evalsha not support for normal user"),
        "commands",
    ),
}


@pytest.mark.parametrize("if_down", ["send", "fail"])
@pytest.mark.parametrize(("server_of", "reason"), PERMANENT.values(), ids=PERMANENT)
@pytest.mark.usefixtures("url")
def test_nothing_is_sent_with_a_misconfigured_ledger(
    redis_server: RedisServer,
    server_of: Callable[[RedisServer, ExitStack], str],
    reason: str,
    if_down: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = [push(targetMsgkey={"user": str(number)}) for number in range(3)]
    with ExitStack() as opened, Server() as server:
        url = server_of(redis_server, opened)
        one_connection = {"PUSH_CONCURRENCY": "1"}  # some of these servers serve only one
        with instances(1, server, url, PUSH_LEDGER_IF_DOWN=if_down, **one_connection) as (client,):
            outcomes = [outcome for (outcome,) in client.send_all(batch, invocation=within())]
            assert client.ledger
            health = client.ledger.health()

        assert server.requests == []
    for outcome in outcomes:
        assert (outcome.kind, outcome.result_code) == (MISCONFIGURED, "LedgerMisconfigured")
        assert reason in str(outcome.result_message)
    assert health
    assert health.is_permanent
    assert any(record.levelno == logging.ERROR and reason in record.getMessage() for record in caplog.records)
    for secret in (SECRET, USER, "10.0.0.1"):
        assert secret not in caplog.text + str(health) + str([outcome.as_json() for outcome in outcomes])


def test_nothing_is_sent_with_a_ledger_that_cannot_keep_some_records(
    redis_server: RedisServer, url: str
) -> None:
    """A node of a cluster keeps only some of the keys, so it seems to work while it forgets others."""
    with (
        Server() as server,
        user(redis_server, "+@all", keys="mpaas-push:request:[0-7]*") as partial,
        instances(1, server, partial) as (client,),
    ):
        outcomes = client.send_all(numbered(MIN_BLOCK // 2), invocation=within())

        assert server.requests == []
    assert {outcome.result_code for (outcome,) in outcomes} == {"LedgerMisconfigured"}
    assert records_in(url) == {}


@pytest.mark.parametrize(
    "server_of", [wrong_password, missing_right("+set"), server_replying("-MOVED 1 10.0.0.1:6")]
)
@pytest.mark.usefixtures("url")
def test_permanent_failure_is_logged_once_per_invocation(
    redis_server: RedisServer,
    server_of: Callable[[RedisServer, ExitStack], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as opened, Server() as server:
        url = server_of(redis_server, opened)
        with instances(1, server, url, PUSH_CONCURRENCY="1") as (client,):
            for invocation in (1, 2):
                client.send_all(numbered(60), invocation=within())

                assert len(errors(caplog)) == invocation


@pytest.mark.usefixtures("url")
def test_health_detects_the_missing_right_to_release_a_claim(redis_server: RedisServer) -> None:
    with user(redis_server, *NEEDED_RIGHTS, "-del") as url:
        ledger = Ledger(Settings(ledger_url=url))
        failure = ledger.health()

    assert failure
    assert failure.is_permanent
    ledger.close()


@pytest.mark.usefixtures("url")
def test_documented_rights_are_sufficient(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with user(redis_server, *NEEDED_RIGHTS, keys="mpaas-push:*") as url:
        ledger = Ledger(Settings(ledger_url=url))
        claim = claim_of(ledger, request_of(), within())
        assert isinstance(claim, Claim)
        ledger.claims(within()).settle([(claim, Outcome(kind=ACCEPTED, targets=claim.request.targets))])

        assert ledger.health() is None
    assert caplog.records == []
    ledger.close()


OUTAGES = {
    "loading": "-LOADING Redis is loading the dataset in memory",
    "busy": "-BUSY Redis is busy running a script",
    "out of memory": "-OOM command not allowed when used memory > 'maxmemory'.",
    "read-only": "-READONLY You can't write against a read only replica.",
    "no master": "-MASTERDOWN Link with MASTER is down",
    "too many clients": "-ERR max number of clients reached",
    "a cluster that is down": "-CLUSTERDOWN The cluster is down",
    "not Redis": "HTTP/1.1 400 Bad Request",
}


@pytest.mark.parametrize("line", OUTAGES.values(), ids=OUTAGES)
def test_outage_is_handled_as_the_setting_says(line: str) -> None:
    with replying(line) as url, Server(reply(OK)) as server:
        with instances(1, server, url) as (client,):
            (sent,) = client.send(push(), invocation=within())
            assert client.ledger
            health = client.ledger.health()
        with instances(1, server, url, PUSH_LEDGER_IF_DOWN="fail") as (client,):
            (unsent,) = client.send(push(), invocation=within())

    assert sent.kind is ACCEPTED
    assert (unsent.kind, unsent.result_code) == (THROTTLED, "LedgerDown")
    assert health
    assert not health.is_permanent


@pytest.mark.parametrize("line", OUTAGES.values(), ids=OUTAGES)
def test_outage_while_connecting_is_not_permanent(line: str) -> None:
    with replying(line) as url:
        ledger = Ledger(Settings(ledger_url=url.removesuffix("0") + "1"))  # selects its database first
        health = ledger.health()
        ledger.close()

    assert health
    assert not health.is_permanent


def test_ledger_is_used_again_as_soon_as_the_server_has_memory(url: str, redis_server: RedisServer) -> None:
    with Server(reply(OK)) as server, instances(1, server, url, PUSH_LEDGER_IF_DOWN="fail") as (client,):
        with configured(redis_server, maxmemory="1"):
            (first,) = client.send(push(), invocation=within())
        (second,) = client.send(push(), invocation=within())

    assert (first.kind, first.result_code) == (THROTTLED, "LedgerDown")
    assert second.kind is ACCEPTED


# --- A ledger that cannot be reached -----------------------------------------------------------------


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detect a silent server quickly and do not contact it again during the test."""
    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(redis_client, "PAUSE_SECONDS", 600.0)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time out on a delayed response but not on one that is merely slow."""
    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", 2.0)


def unreachable(kind: str, opened: ExitStack) -> str:
    port = closed_port() if kind == "closed" else opened.enter_context(listening(silent))
    return f"redis://:{SECRET}@{LOOPBACK}:{port}/0"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("kind", ["closed", "silent"])
@pytest.mark.usefixtures("impatient")
def test_pushes_are_sent_without_the_ledger_and_counted_in_an_error(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(Server(reply(OK)))
        (client,) = opened.enter_context(instances(1, server, unreachable(kind, opened)))
        results = client.send_all(numbered(45), invocation=within())

    assert {outcome.kind for (outcome,) in results} == {ACCEPTED}
    sent, unrecorded = errors(caplog)
    assert "failed for 45 requests" in sent
    assert "may be sent twice" in sent
    assert "45 outcomes are not recorded" in unrecorded
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("url")
def test_partial_outage_does_not_prevent_recording_of_other_outcomes(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(claims_module, "CALLS_PER_TRIP", 20)
    call_counts: list[int] = []
    ask = RedisClient.ask

    def count(self: RedisClient, calls: Any, **options: Any) -> Any:
        call_counts.append(len(calls))
        return ask(self, calls, **options)

    monkeypatch.setattr(RedisClient, "ask", count)
    requests = [requests_of(message, Settings(), "s")[0] for message in numbered(200)]
    with user(redis_server, "+@all") as url, redis.Redis.from_url(redis_server.url) as client:
        claims = Ledger(Settings(ledger_url=url)).claims(within())
        results = claims.claim(requests)
        # From now on, the server works only for keys that begin with 8 to f.
        client.execute_command("ACL", "SETUSER", USER, "resetkeys", "~mpaas-push:request:[89a-f]*")
        call_counts.clear()
        settled = [
            (claim, Outcome(kind=ACCEPTED, targets=claim.request.targets))
            for claim in results
            if isinstance(claim, Claim)
        ]
        for start in range(0, len(settled), 10):
            claims.settle(settled[start : start + 10])
        claims.conclude()
        records = records_in(redis_server.url)

    states = {key: text.split()[1] for key, (text, _) in records.items()}
    healthy = [key for key in states if key.split(":")[2][0] in "89abcdef"]
    assert len(settled) == len(states) == 200
    assert 20 < len(healthy) < 180
    assert {states[key] for key in healthy} == {"accepted"}
    assert f"{200 - len(healthy)} outcomes are not recorded" in caplog.text
    assert sum(call_counts) < 2 * 200


@pytest.mark.usefixtures("url", "impatient")
def test_pushes_not_sent_without_the_ledger_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(Server())
        url = unreachable("closed", opened)
        (client,) = opened.enter_context(instances(1, server, url, PUSH_LEDGER_IF_DOWN="fail"))
        client.send_all(numbered(45), invocation=within())

        assert server.requests == []
    (line,) = errors(caplog)
    assert "failed for 45 requests" in line
    assert "they wait" in line


def test_nothing_is_sent_without_the_ledger_if_the_setting_says_so() -> None:
    with ExitStack() as opened, Server(reply(OK)) as server:
        url = unreachable("closed", opened)
        with instances(1, server, url, PUSH_LEDGER_IF_DOWN="fail") as (client,):
            (outcome,) = client.send(push(), invocation=within())

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "LedgerDown", 0)
        assert server.requests == []


@pytest.mark.usefixtures("impatient")
def test_batch_does_not_wait_for_a_silent_ledger_at_every_block() -> None:
    trips = deque[None]()

    def count(connection: socket.socket) -> None:
        trips.append(None)
        silent(connection)

    with listening(count) as port, Server(reply(OK)) as server:
        url = f"redis://{LOOPBACK}:{port}/0"
        with instances(1, server, url, PUSH_CONCURRENCY="1") as (client,):
            results = client.send_all(numbered(200), invocation=within())

    assert {outcome.kind for (outcome,) in results} == {ACCEPTED}
    assert len(trips) <= 4  # a claim, its retry, another claim and the last settlement


def test_ledger_that_goes_down_before_the_settlement_raises_no_error(
    url: str, redis_server: RedisServer
) -> None:
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        ledger = client.ledger
        assert ledger
        claim = claim_of(ledger, request_of(), within())
        redis_server.stop()
        try:
            assert isinstance(claim, Claim)
            ledger.claims(within()).settle([(claim, Outcome(kind=ACCEPTED, targets={"user-4711": "1"}))])
        finally:
            redis_server.start()


def spoiling(count: int, how: str) -> Callable[[bytes], bytes | None]:
    """Return an `after` that delays or corrupts the response to a claim on the first `count` connections."""
    permits, local = deque(range(count)), threading.local()  # the relay has a thread for each connection

    def after(command: bytes) -> bytes | None:
        if is_claim(command) and permits and not hasattr(local, "is_spoiled"):
            permits.pop()
            local.is_spoiled = True
            if how == "late":
                time.sleep(3.0)
            elif how == "reset":
                raise ConnectionResetError
            elif how == "of a replica":
                return b"-READONLY You can't write against a read only replica.\r\n" * 10
            else:
                return b"@bogus\r\n"
        return None

    return after


def send_batch_twice(url: str, redis_server: RedisServer, spoil: Callable[[bytes], bytes | None]) -> int:
    """Send 60 messages while ledger responses are spoiled, then again; return the number of requests."""
    batch, concurrency = numbered(60), {"PUSH_CONCURRENCY": "10"}
    with Server(reply(OK)) as server, relay(redis_server.port, after=spoil) as spoiled:
        with instances(1, server, spoiled, **concurrency) as (client,), instances(1, server, url) as (other,):
            client.send_all(batch, invocation=within())
            other.send_all(batch, invocation=within())

        return len(server.requests)


SPOILED = pytest.mark.parametrize("how", ["late", "reset", "not Redis", "of a replica"])


@SPOILED
@pytest.mark.usefixtures("hasty")
def test_one_late_or_invalid_response_loses_no_claim(
    url: str, redis_server: RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert send_batch_twice(url, redis_server, spoiling(1, how)) == 60
    assert errors(caplog) == []


@SPOILED
@pytest.mark.usefixtures("hasty")
def test_two_late_or_invalid_responses_affect_only_the_requests_of_that_trip(
    url: str, redis_server: RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Requests without a response are recorded too.
    assert send_batch_twice(url, redis_server, spoiling(2, how)) == 60
    (line,) = errors(caplog)
    assert "failed for 10 requests" in line


@pytest.mark.usefixtures("url")
def test_one_invalid_response_while_connecting_is_not_an_outage(redis_server: RedisServer) -> None:
    spoiled = deque[bytes]()  # the first claim and the next selection of a database

    def spoil(command: bytes) -> bytes | None:
        if not spoiled and is_claim(command):
            spoiled.append(command)
            raise ConnectionResetError  # so that a new connection is needed
        if len(spoiled) == 1 and b"SELECT" in command:
            spoiled.append(command)
            return b"@bogus\r\n"
        return None

    requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(2)]
    with relay(redis_server.port, after=spoil) as lossy, ExitStack() as opened:
        ledger = opened.enter_context(ledger_of(lossy.removesuffix("0") + "1", PUSH_LEDGER_IF_DOWN="fail"))
        results = [claim_of(ledger, request, within()) for request in requests]

    assert [type(result) for result in results] == [Outcome, Claim]


@pytest.mark.usefixtures("hasty")
def test_concurrent_trips_are_retried_after_one_slow_moment(url: str, redis_server: RedisServer) -> None:
    requests = [request_of(targetMsgkey={"user": str(number)}) for number in range(8)]
    start = threading.Barrier(8)

    def claim(request: PushRequest) -> Claim | Outcome:
        start.wait()
        return claim_of(ledger, request, within())

    with relay(redis_server.port, after=spoiling(8, "late")) as slow:
        ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": slow, "PUSH_LEDGER_IF_DOWN": "fail"}))
        with ThreadPoolExecutor(8) as pool:
            claims = list(pool.map(claim, requests))
        ledger.close()

    assert all(isinstance(claim, Claim) for claim in claims)
    assert len(records_in(url)) == 8


def test_pushes_sent_without_the_ledger_are_recorded_once_it_responds(
    url: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    batch = numbered(60)

    def respond(exchange: Exchange) -> bool:
        if "user-59" in exchange.request.targets:
            redis_server.start()
        return reply(OK)(exchange)

    with Server(respond) as server, instances(2, server, url, PUSH_CONCURRENCY="1") as (one, other):
        redis_server.stop()
        one.send_all(batch, invocation=within())
        other.send_all(batch, invocation=within())

        assert len(server.requests) == 60
    assert [text.split()[1] for text, _ in records_in(url).values()] == ["accepted"] * 60
    (line,) = errors(caplog)
    assert "failed for 60 requests (ConnectionError): they were sent without it" in line


def test_server_that_responds_again_is_used_immediately(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger.redis_client.PAUSE_SECONDS", 60.0)
    ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_LEDGER_IF_DOWN": "fail"}))
    redis_server.stop()
    down = claim_of(ledger, request_of(), within())
    redis_server.start()
    paused = claim_of(ledger, request_of(), within())

    assert ledger.health() is None
    assert [type(down), type(paused)] == [Outcome, Outcome]
    assert isinstance(claim_of(ledger, request_of(), within()), Claim)
    ledger.close()


@pytest.mark.usefixtures("hasty")
def test_push_that_was_not_sent_leaves_no_claim(url: str, redis_server: RedisServer) -> None:
    with Server(reply(OK)) as server, relay(redis_server.port, after=spoiling(2, "late")) as lossy:
        with instances(1, server, lossy, PUSH_LEDGER_IF_DOWN="fail") as (client,):
            (first,) = client.send(push(), invocation=within())
            records = records_in(url)
            (second,) = client.send(push(), invocation=within())

        assert (first.kind, first.result_code) == (THROTTLED, "LedgerDown")
        assert records == {}
        assert second.kind is ACCEPTED
        assert len(server.requests) == 1


# --- Idempotency-Keys --------------------------------------------------------------------------------


@contextmanager
def ledger_of(url: str, **env: str) -> Iterator[Ledger]:
    ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": url, **env}))
    yield ledger
    ledger.close()


@pytest.mark.parametrize(("if_down", "comparison"), [("send", "same"), ("fail", "unknown")])
def test_idempotency_key_with_an_unreadable_record_is_handled_as_the_setting_says(
    url: str, if_down: str, comparison: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger_of(url, PUSH_LEDGER_IF_DOWN=if_down) as ledger:
        assert ledger.compare("key", "body") == "new"
        with redis.Redis.from_url(url) as client:
            (record,) = client.keys()
            client.set(record, "2 claimed by a later version")

        assert ledger.compare("key", "another body") == comparison
        ledger.forget("key")
        with redis.Redis.from_url(url) as client:
            assert client.get(record) == b"2 claimed by a later version"

    (line,) = errors(caplog)
    assert "this version cannot read" in line


@pytest.mark.parametrize(("if_down", "comparison"), [("send", "same"), ("fail", "unknown")])
def test_idempotency_key_during_an_outage_is_handled_as_the_setting_says(
    if_down: str, comparison: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger_of(f"redis://{LOOPBACK}:{closed_port()}/0", PUSH_LEDGER_IF_DOWN=if_down) as ledger:
        assert ledger.compare("key", "body") == comparison

    (line,) = errors(caplog)
    assert "ConnectionError" in line


def test_idempotency_key_is_an_error_with_a_misconfigured_ledger(caplog: pytest.LogCaptureFixture) -> None:
    with (
        replying("-WRONGPASS invalid username-password pair") as url,
        ledger_of(url) as ledger,
        pytest.raises(Misconfigured, match="password") as error,
    ):
        ledger.compare("key", "body")

    assert error.value.setting == "PUSH_LEDGER_URL"
    assert len(errors(caplog)) == 1


def test_idempotency_key_is_forgotten_right_after_an_outage(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger.redis_client.PAUSE_SECONDS", 60.0)
    broken = threading.Event()

    def fail(_: bytes) -> None:
        if broken.is_set():
            raise ConnectionResetError

    with relay(redis_server.port, fail) as relayed, ledger_of(relayed) as ledger:
        assert ledger.compare("key", "body") == "new"
        broken.set()
        for _ in range(3):
            claim_of(ledger, request_of(), within())
        broken.clear()
        ledger.forget("key")

    with ledger_of(url) as other:
        assert other.compare("key", "another body") == "new"


def test_idempotency_key_that_could_not_be_forgotten_is_logged(
    url: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger_of(url) as ledger:
        ledger.compare("key", "body")
        redis_server.stop()
        ledger.forget("key")
        redis_server.start()

    (line,) = errors(caplog)
    assert "stays in use for a day" in line


# --- Idle connections ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("concurrency", [1, 2])
def test_connections_idle_for_too_long_are_replaced(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    monkeypatch.setattr("mpaas_push.ledger.redis_client.IDLE_LIMIT_SECONDS", 5000.0)
    later, wall_time = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: wall_time() + sum(later))
    local = threading.local()  # the relay has a thread for each connection
    reused: list[bytes] = []  # commands on connections that were idle for too long

    def check(command: bytes) -> None:
        if time.time() - getattr(local, "used", math.inf) > 8000.0:
            reused.append(command)
        local.used = time.time()

    batch = [push(targetMsgkey={f"user-{number}": f"id-{number}"}) for number in range(concurrency)]
    with Server(together(concurrency)) as server, relay(redis_server.port, check) as relayed:
        with instances(1, server, relayed) as (client,):
            client.send_all(batch, invocation=within())
            for _ in range(3):  # one connection stays in use
                later.append(3000.0)
                client.send(batch[0], invocation=within())
            later.append(9000.0 if concurrency == 1 else 0)
            results = client.send_all(batch, invocation=within())

        assert reused == []
        assert {outcome.kind for (outcome,) in results} == {ACCEPTED}
        assert len(server.requests) == concurrency


def test_ledger_is_used_again_after_an_outage(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger.redis_client.PAUSE_SECONDS", 0.0)
    with Server(reply(OK), reply(OK)) as server, instances(1, server, url) as (client,):
        redis_server.stop()
        client.send(push(), invocation=within())
        redis_server.start()
        client.send(push(), invocation=within())
        client.send(push(), invocation=within())

        assert len(server.requests) == 2


def test_request_that_hangs_does_not_outlive_its_claim(url: str) -> None:
    with Server(hang) as server, instances(2, server, url) as (one, other):
        (first,) = one.send(push(), invocation=within(3))
        (second,) = other.send(push(), invocation=within())

    assert first.kind is UNKNOWN
    assert second == first


def test_request_without_deadline_does_not_outlive_its_claim_either(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mpaas_push.ledger.claims.LONGEST_CLAIM_SECONDS", 3.0
    )  # one second of it is for recording the outcome
    timeout = {"PUSH_READ_TIMEOUT_SECONDS": "300"}
    with Server(hang) as server, instances(1, server, url, **timeout) as (client,):
        began = time.monotonic()
        (outcome,) = client.send(push(), invocation=Invocation(request_id="1-2", credentials=KEY))

    assert outcome.kind is UNKNOWN
    assert time.monotonic() - began < PATIENCE / 2


# --- Settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://",
        "rediss://host?ssl_cert_reqs=none",
        "redis://host/0/1",
        "redis://host/x",
        "redis://host#x",
        "unix:///tmp/x",
        "redis://a..b:6379/0",
        f"redis://:{SECRET}@{'x' * 64}.example.com/0",
        f"redis://:{SECRET}@höst/0",
        f"redis://:{SECRET}@[::1].example.com/0",
        f"redis://:{SECRET}@host:0",
    ],
)
def test_wrong_url_is_refused_by_name_and_not_shown(url: str) -> None:
    with pytest.raises(Misconfigured, match="PUSH_LEDGER_URL") as error:
        Settings.from_env({"PUSH_LEDGER_URL": url})

    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "url", ["redis://:p%40ss@r-1.redis.rds.aliyuncs.com:6379/0", "rediss://u:p@[::1]:6380"]
)
def test_valid_url_is_accepted_unchanged(url: str) -> None:
    assert Settings.from_env({"PUSH_LEDGER_URL": url}).ledger_url == url


def test_url_is_not_shown_by_the_settings() -> None:
    assert SECRET not in repr(Settings.from_env({"PUSH_LEDGER_URL": f"redis://:{SECRET}@host:6379/1"}))


# --- TLS ---------------------------------------------------------------------------------------------


@contextmanager
def tls_before(port: int, certificate: trustme.LeafCert) -> Iterator[int]:
    """Terminate TLS in front of a plain server, like a managed Redis."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def relay(plain: socket.socket) -> None:
        with suppress(OSError):
            front = context.wrap_socket(plain, server_side=True)
            with front, socket.create_connection((LOOPBACK, port)) as back:
                while True:  # one thread: two must not use a TLS socket at once
                    sources = [front] if front.pending() else select.select([front, back], [], [])[0]
                    for source in sources:
                        data = source.recv(65536)
                        if not data:
                            return
                        (back if source is front else front).sendall(data)

    with listening(relay) as front_port:
        yield front_port


@pytest.mark.parametrize(
    ("name", "trusted", "requests"),
    [("localhost", True, 1), ("other.example", True, 0), ("localhost", False, 0)],
)
@pytest.mark.usefixtures("url")
def test_rediss_checks_certificate_and_name(
    redis_server: RedisServer, tmp_path: Path, name: str, trusted: bool, requests: int
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(bundle)
    with ExitStack() as opened:
        port = opened.enter_context(tls_before(redis_server.port, authority.issue_cert(name)))
        server = opened.enter_context(Server(reply(OK), reply(OK)))
        tls_url = f"rediss://localhost:{port}/0"
        for _ in range(2):  # one after the other: the relay serves one connection at a time
            with instances(1, server, tls_url, ALIBABA_CLOUD_CA_BUNDLE=str(bundle)) as (client,):
                client.send(push(), invocation=within())

        assert len(server.requests) == requests
