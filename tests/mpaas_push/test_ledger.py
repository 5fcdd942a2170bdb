from __future__ import annotations

import logging
import math
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import redis
import tenacity.nap
import trustme

from mpaas_push import Credentials, Invocation, Misconfigured, Outcome, PushClient, PushMessage, Settings
from mpaas_push.ledger import Claim, Ledger
from mpaas_push.message.constraints import Level
from mpaas_push.outcome import ACCEPTED, MISCONFIGURED, REFUSED, THROTTLED, UNKNOWN, OutcomeKind
from mpaas_push.request import PushRequest, requests_of
from tests.mpaas_push.message.examples import minimal
from tests.servers import (
    LOOPBACK,
    OK,
    Answer,
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

    from tests.redis_server import RedisServer

SECRET = "ledger-password"
KEY = Credentials("LTAI-test-id", "test-secret")


def within(seconds: float = 30) -> Invocation:
    return Invocation("1-2", KEY, time.monotonic() + seconds)


def push(**more: Any) -> PushMessage:
    return PushMessage.parse({**minimal(), "appId": "A", "workspaceId": "W"} | more)


def the_request(**more: Any) -> PushRequest:
    (request,) = requests_of(push(**more), Settings(), "scope")
    return request


def claim_of(ledger: Ledger, request: PushRequest, invocation: Invocation) -> Claim | Outcome | None:
    """Ask for the right to send a single request."""
    (result,) = ledger.claim([request], invocation)
    return result


@pytest.fixture(autouse=True)
def no_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@contextmanager
def instances(number: int, server: Server, url: str, **env: str) -> Iterator[list[PushClient]]:
    """Clients that know nothing of each other, as instances of a function do not."""
    with ExitStack() as opened:
        yield [
            opened.enter_context(PushClient.from_env({**server.env, "PUSH_LEDGER_URL": url} | env))
            for _ in range(number)
        ]


def sent_twice(answer: Answer, url: str, **env: str) -> tuple[Outcome, Outcome, int]:
    """Send the same push from two instances, one after the other; return outcomes and requests seen."""
    with Server(answer) as server, instances(2, server, url, **env) as (one, other):
        (first,) = one.send(push(), scope="s", invocation=within())
        (second,) = other.send(push(), scope="s", invocation=within())
        return first, second, len(server.requests)


# --- What was sent is not sent again -----------------------------------------------------------------


def test_a_push_that_comes_again_gets_the_first_outcome_and_is_not_sent(url: str) -> None:
    first, second, requests = sent_twice(reply(OK), url)

    assert first.kind is ACCEPTED
    assert second == first
    assert requests == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (business("3028"), REFUSED),  # the message or its template may have been corrected
        (business("8011"), THROTTLED),
        (gateway("Forbidden.RAM", 403), MISCONFIGURED),
    ],
)
def test_what_was_not_taken_may_be_sent_again(url: str, answer: Answer, kind: Any) -> None:
    first, second, requests = sent_twice(answer, url, PUSH_MAX_ATTEMPTS="1")

    assert first.kind is second.kind is kind
    assert requests == 2


def test_an_unknown_push_stays_unknown(url: str) -> None:
    first, second, requests = sent_twice(reset, url)

    assert first.kind is UNKNOWN
    assert second == first
    assert requests == 1


def test_an_unknown_push_is_sent_again_where_the_setting_says_so(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, requests = sent_twice(reset, url, PUSH_ON_UNKNOWN="retry", PUSH_MAX_ATTEMPTS="1")

    assert first.kind is second.kind is UNKNOWN
    assert requests == 2
    (line,) = [record for record in caplog.records if record.message == "sent again after an unknown outcome"]
    assert line.__dict__["message_ids"] == ["order-4711-1"]


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
        {"targetMsgkey": {"user-4711": "order-4711-2"}},
        {"targetMsgkey": {"user-4712": "order-4711-1"}},
    ],
)
def test_another_app_workspace_target_or_message_id_is_another_push(url: str, other: dict[str, Any]) -> None:
    with Server(reply(OK), reply(OK)) as server, instances(1, server, url) as (client,):
        client.send(push(), invocation=within())
        client.send(push(**other), invocation=within())

        assert len(server.requests) == 2


def test_each_request_of_a_message_has_a_record_of_its_own(url: str) -> None:
    many = push(targetMsgkey={f"user-{number}": f"id-{number}" for number in range(25)})
    with Server(*[reply(OK)] * 3) as server, instances(2, server, url) as (one, other):
        first = one.send(many, invocation=within())
        second = other.send(many, invocation=within())

        assert [len(outcome.targets) for outcome in second] == [10, 10, 5]
        assert second == first
        assert len(server.requests) == 3


# --- On the way to Redis -----------------------------------------------------------------------------


@contextmanager
def relay(
    port: int,
    before: Callable[[bytes], object] = lambda _: None,
    after: Callable[[bytes], object] = lambda _: None,
) -> Iterator[str]:
    """Stand between clients and Redis: see each request before it goes on, and before its answer does."""

    def serve(front: socket.socket) -> None:
        with socket.create_connection((LOOPBACK, port)) as back:
            while request := front.recv(65536):
                before(request)
                back.sendall(request)
                answer = back.recv(65536)
                after(request)
                front.sendall(answer)

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


# --- Two at the same moment --------------------------------------------------------------------------


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


def test_while_a_push_is_on_its_way_another_instance_waits(url: str) -> None:
    ledger, other = Ledger(Settings(ledger_url=url)), Ledger(Settings(ledger_url=url))
    request = the_request()

    assert isinstance(claim_of(ledger, request, within()), Claim)
    waiting = claim_of(other, request, within())

    assert isinstance(waiting, Outcome)
    assert (waiting.kind, waiting.result_code, waiting.attempts) == (THROTTLED, "InProgress", 0)
    ledger.close()
    other.close()


@pytest.mark.usefixtures("url")  # empties it
def test_no_server_needs_to_know_a_newer_protocol(redis_server: RedisServer) -> None:
    seen: list[bytes] = []
    with relay(redis_server.port, seen.append) as watched:
        ledger = Ledger(Settings.from_env({"PUSH_LEDGER_URL": watched}))

        assert isinstance(claim_of(ledger, the_request(), within()), Claim)

    assert b"HELLO" not in b"".join(seen)


@pytest.fixture
def abandoned(url: str, monkeypatch: pytest.MonkeyPatch) -> PushRequest:
    """A request whose sender ended with its invocation, before an outcome was recorded."""
    request = the_request()
    ledger = Ledger(Settings(ledger_url=url))
    monkeypatch.setattr("mpaas_push.ledger.MARGIN_SECONDS", 0.0)
    assert isinstance(claim_of(ledger, request, within(0.05)), Claim)
    ledger.close()
    time.sleep(0.06)
    return request


def test_a_claim_whose_sender_is_gone_is_unknown(url: str, abandoned: PushRequest) -> None:
    ledger = Ledger(Settings(ledger_url=url))

    outcome = claim_of(ledger, abandoned, within())

    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.result_code) == (UNKNOWN, "Interrupted")
    ledger.close()


def test_of_many_that_retry_an_unknown_push_one_sends_it(url: str, abandoned: PushRequest) -> None:
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

    assert sum(isinstance(each, Claim) for each in claims) == 1
    assert {each.result_code for each in claims if isinstance(each, Outcome)} == {"InProgress"}


@pytest.fixture
def overrun(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Claim, Claim, Ledger]]:
    """A claim that lasted too short, the claim that followed it, and the ledger of whoever comes third."""
    settings = Settings.from_env({"PUSH_LEDGER_URL": url, "PUSH_ON_UNKNOWN": "retry"})
    ledgers = [Ledger(settings) for _ in range(3)]
    monkeypatch.setattr("mpaas_push.ledger.MARGIN_SECONDS", 0.0)
    late = claim_of(ledgers[0], the_request(), within(0.05))
    time.sleep(0.06)
    fresh = claim_of(ledgers[1], the_request(), within())
    assert isinstance(late, Claim)
    assert isinstance(fresh, Claim)
    yield late, fresh, ledgers[2]
    for ledger in ledgers:
        ledger.close()


@pytest.mark.parametrize("kind", [THROTTLED, REFUSED, UNKNOWN])
def test_who_comes_late_does_not_touch_the_claim_of_another(
    overrun: tuple[Claim, Claim, Ledger], kind: OutcomeKind
) -> None:
    late, fresh, third = overrun

    third.settle([(late, Outcome(kind, {"user-4711": "1"}))])
    meanwhile = claim_of(third, the_request(), within())
    third.settle([(fresh, Outcome(ACCEPTED, {"user-4711": "1"}))])
    afterwards = claim_of(third, the_request(), within())

    assert isinstance(meanwhile, Outcome)
    assert meanwhile.result_code == "InProgress"
    assert isinstance(afterwards, Outcome)
    assert afterwards.kind is ACCEPTED


@pytest.mark.parametrize("kind", [THROTTLED, REFUSED, UNKNOWN])
def test_what_was_accepted_late_stays_accepted(
    overrun: tuple[Claim, Claim, Ledger], kind: OutcomeKind
) -> None:
    late, fresh, third = overrun

    third.settle([(late, Outcome(ACCEPTED, {"user-4711": "1"}))])
    third.settle([(fresh, Outcome(kind, {"user-4711": "1"}))])
    afterwards = claim_of(third, the_request(), within())

    assert isinstance(afterwards, Outcome)
    assert afterwards.kind is ACCEPTED


# --- What is kept ------------------------------------------------------------------------------------


def kept(url: str) -> dict[str, tuple[str, int]]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {key: (str(client.get(key)), client.ttl(key)) for key in client.scan_iter()}


def test_no_target_no_text_and_no_secret_is_kept(url: str) -> None:
    answer = reply({**OK, "ResultMessage": "sent to user-4711 by LTAI-test-id"})
    with Server(answer) as server, instances(1, server, url) as (client,):
        client.send(push(title="A private title"), invocation=within())

    text = str(kept(url))
    for private in ("user-4711", "order-4711-1", "private", "LTAI-test-id", "test-secret"):
        assert private not in text
    assert "sent to us…(9) by …" in text


@pytest.mark.parametrize(("validity", "seconds"), [(60, 86_400), (7 * 86_400, 7 * 86_400)])
def test_a_record_is_kept_as_long_as_the_push_is_valid_and_at_least_a_day(
    url: str, validity: int, seconds: int
) -> None:
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        client.send(push(expiredSeconds=validity), invocation=within())

    ((_, left),) = kept(url).values()
    assert seconds - 60 <= left <= seconds


def test_a_validity_without_end_is_remembered_for_400_days(url: str) -> None:
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
    ((_, left),) = kept(url).values()
    assert 400 * 86_400 - 60 <= left <= 400 * 86_400


# --- A ledger that cannot be reached -----------------------------------------------------------------


def silent(connection: socket.socket) -> None:
    connection.recv(1)
    time.sleep(3)


def unreachable(kind: str, opened: ExitStack) -> str:
    port = closed_port() if kind == "closed" else opened.enter_context(listening(silent))
    return f"redis://:{SECRET}@{LOOPBACK}:{port}/0"


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_without_the_ledger_a_push_goes_out_and_the_log_says_so_loudly(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as opened:
        server = opened.enter_context(Server(reply(OK), reply(OK)))
        (client,) = opened.enter_context(instances(1, server, unreachable(kind, opened)))
        outcomes = [client.send(push(), invocation=within())[0] for _ in range(2)]

    assert [outcome.kind for outcome in outcomes] == [ACCEPTED, ACCEPTED]
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "may be sent twice" in line.getMessage()
    assert SECRET not in caplog.text


def test_without_the_ledger_nothing_is_sent_where_the_setting_says_so() -> None:
    with ExitStack() as opened, Server(reply(OK)) as server:
        url = unreachable("closed", opened)
        with instances(1, server, url, PUSH_LEDGER_IF_DOWN="fail") as (client,):
            (outcome,) = client.send(push(), invocation=within())

        assert (outcome.kind, outcome.result_code, outcome.attempts) == (THROTTLED, "LedgerDown", 0)
        assert server.requests == []


def test_a_batch_waits_for_a_silent_ledger_only_once() -> None:
    with ExitStack() as opened, Server(*[reply(OK)] * 20) as server:
        url = unreachable("silent", opened)
        with instances(1, server, url, PUSH_CONCURRENCY="1") as (client,):
            batch = [push(targetMsgkey={"u": str(number)}) for number in range(20)]
            began = time.monotonic()
            results = client.send_all(batch, invocation=within())

    assert {outcome.kind for part in results for outcome in part} == {ACCEPTED}
    assert time.monotonic() - began < 10


def test_a_ledger_that_goes_down_meanwhile_changes_no_outcome(url: str, redis_server: RedisServer) -> None:
    with Server(reply(OK)) as server, instances(1, server, url) as (client,):
        ledger = client.ledger
        assert ledger
        claim = claim_of(ledger, the_request(), within())
        redis_server.stop()
        try:
            assert isinstance(claim, Claim)
            ledger.settle([(claim, Outcome(ACCEPTED, {"user-4711": "1"}))])
        finally:
            redis_server.start()


@contextmanager
def losing_the_answer_to_a_claim(port: int) -> Iterator[str]:
    """Let the first claim arrive at Redis and its answer come too late."""
    lost = threading.Event()

    def late(command: bytes) -> None:
        if is_claim(command) and not lost.is_set():
            lost.set()
            time.sleep(1.5)

    with relay(port, after=late) as url:
        yield url


def test_a_push_that_was_not_sent_leaves_no_claim_behind(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger_server.PAUSE_SECONDS", 0.0)
    with Server(reply(OK)) as server, losing_the_answer_to_a_claim(redis_server.port) as lossy:
        with instances(1, server, lossy, PUSH_LEDGER_IF_DOWN="fail") as (client,):
            (first,) = client.send(push(), invocation=within())
            left = kept(url)
            (second,) = client.send(push(), invocation=within())

        assert (first.kind, first.result_code) == (THROTTLED, "LedgerDown")
        assert left == {}
        assert second.kind is ACCEPTED
        assert len(server.requests) == 1


def test_a_push_that_was_sent_without_a_sure_claim_is_remembered(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger_server.PAUSE_SECONDS", 0.0)
    with Server(reply(OK)) as server, losing_the_answer_to_a_claim(redis_server.port) as lossy:
        with instances(1, server, lossy) as (client,), instances(1, server, url) as (other,):
            (first,) = client.send(push(), invocation=within())
            (second,) = other.send(push(), invocation=within())

        assert first.kind is ACCEPTED
        assert second == first
        assert len(server.requests) == 1


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_connection_that_something_on_its_way_forgot_does_not_pass_the_ledger_over(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, side_by_side: int
) -> None:
    monkeypatch.setattr("mpaas_push.ledger_server.IDLE_LIMIT_SECONDS", 0.5)
    flow = threading.local()  # the relay has a thread for each connection

    def forgetful(_: bytes) -> None:
        if time.monotonic() - getattr(flow, "used", math.inf) > 0.8:
            time.sleep(2)
        flow.used = time.monotonic()

    batch = [push(targetMsgkey={f"user-{number}": f"id-{number}"}) for number in range(side_by_side)]
    with Server(together(side_by_side)) as server, relay(redis_server.port, forgetful) as slow:
        with instances(1, server, slow) as (client,):
            client.send_all(batch, invocation=within())
            for _ in range(3):  # one connection stays in use
                time.sleep(0.3)
                client.send(batch[0], invocation=within())
            time.sleep(0.9 if side_by_side == 1 else 0)
            again = client.send_all(batch, invocation=within())

        assert {outcome.kind for (outcome,) in again} == {ACCEPTED}
        assert len(server.requests) == side_by_side


def test_a_ledger_that_is_back_is_used_again(
    url: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.ledger_server.PAUSE_SECONDS", 0.0)
    with Server(reply(OK), reply(OK)) as server, instances(1, server, url) as (client,):
        redis_server.stop()
        client.send(push(), invocation=within())
        redis_server.start()
        client.send(push(), invocation=within())
        client.send(push(), invocation=within())

        assert len(server.requests) == 2


def test_a_request_that_hangs_does_not_outlive_its_claim(url: str) -> None:
    with Server(hang) as server, instances(2, server, url) as (one, other):
        (first,) = one.send(push(), invocation=within(0.5))
        (second,) = other.send(push(), invocation=within())

    assert first.kind is UNKNOWN
    assert second == first


def test_a_request_without_deadline_does_not_outlive_its_claim_either(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mpaas_push.ledger.LONGEST_CLAIM_SECONDS", 1.5
    )  # a second of it to record the outcome
    with Server(hang) as server, instances(1, server, url) as (client,):
        began = time.monotonic()
        (outcome,) = client.send(push(), invocation=Invocation("1-2", KEY))

    assert outcome.kind is UNKNOWN
    assert time.monotonic() - began < 1.4


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
def test_a_wrong_url_is_refused_by_name_and_not_shown(url: str) -> None:
    with pytest.raises(Misconfigured, match="PUSH_LEDGER_URL") as error:
        Settings.from_env({"PUSH_LEDGER_URL": url})

    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "url", ["redis://:p%40ss@r-1.redis.rds.aliyuncs.com:6379/0", "rediss://u:p@[::1]:6380"]
)
def test_a_right_url_is_taken_as_it_is(url: str) -> None:
    assert Settings.from_env({"PUSH_LEDGER_URL": url}).ledger_url == url


def test_the_url_is_not_shown_by_the_settings() -> None:
    assert SECRET not in repr(Settings.from_env({"PUSH_LEDGER_URL": f"redis://:{SECRET}@host:6379/1"}))


# --- TLS ---------------------------------------------------------------------------------------------


@contextmanager
def tls_before(port: int, certificate: trustme.LeafCert) -> Iterator[int]:
    """Speak TLS before a plain server, as a managed Redis does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    def relay(plain: socket.socket) -> None:
        try:
            front = context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        with front, socket.create_connection((LOOPBACK, port)) as back:
            back_reader = threading.Thread(target=copy, args=(back, front))
            back_reader.start()
            copy(front, back)
            back.close()
            back_reader.join()

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

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
        safe = f"rediss://localhost:{port}/0"
        for _ in range(2):  # one after the other: the relay serves one connection at a time
            with instances(1, server, safe, ALIBABA_CLOUD_CA_BUNDLE=str(bundle)) as (client,):
                client.send(push(), invocation=within())

        assert len(server.requests) == requests
