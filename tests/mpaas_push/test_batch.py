from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.mns import MnsServer
from mpaas_local.mns.model import QueueAttributes
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_push import BatchIncomplete, Credentials, Invocation, PushClient, PushMessage, Settings
from mpaas_push.batch import BatchReport, send_batch, settle_event
from mpaas_push.ledger import Ledger
from mpaas_push.outcome import THROTTLED, Outcome, verdict_of
from mpaas_push.queues.message import BODY_BYTES, LONGEST_DELAY_SECONDS
from mpaas_push.queues.mns import MnsQueues
from mpaas_push.retries import delay_seconds
from mpaas_push.task import tasks_of_record
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.queue import records_of
from mpaas_push.triggers.record import QueueRecord
from tests.effort import peak_bytes
from tests.functions.queue_stack import environment_of, read_letter, to
from tests.mns_responses import accepting, bodies, error
from tests.mpaas_push.planning import requests_of
from tests.servers import OK, Server, business, close, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_local.mns.model import Message
    from mpaas_push.task import PushTask
    from tests.redis_server import RedisServer

KEYS = Credentials("ak", "sk")


class Batches:
    """Batches of queue messages, sent to the sandbox and handed over to MNS, in this process."""

    def __init__(self, sandbox: Sandbox, mns: MnsServer) -> None:
        self.sandbox = sandbox
        self.mns = mns
        self.sender = ""

    def settings(self, **env: str) -> Settings:
        defaults = environment_of(self.sandbox, self.mns)
        return Settings.from_env({name: value for name, value in (defaults | env).items() if value})

    def send(self, *payloads: Any, seconds: float = 120.0, first: int = 0, **env: str) -> BatchReport:
        settings = self.settings(**env)
        tasks = [
            task
            for number, payload in enumerate(payloads, first)
            for task in tasks_of_record(
                QueueRecord(f"M{number}", payload, json.dumps(payload)), settings, self.sender
            )
        ]
        return self.settle(tasks, seconds, **env)

    def settle(self, tasks: list[PushTask], seconds: float = 120.0, **env: str) -> BatchReport:
        invocation = Invocation(request_id="1-2", credentials=KEYS, deadline=time.monotonic() + seconds)
        with PushClient(self.settings(**env)) as client:
            return settle_event(tasks, client, invocation)

    def queued(self) -> list[Message]:
        return list(self.mns.store.messages("retry"))

    def entries(self) -> list[Any]:
        return [read_letter(entry.body) for entry in self.queued()]

    def letters(self) -> list[Any]:
        return [read_letter(letter.body) for letter in self.mns.store.messages("dead", limit=1000)]

    def drain(self) -> list[Any]:
        """Return all entries of the retry queue and empty it."""
        entries = self.entries()
        self.mns.store.delete_queue("retry")
        self.mns.store.create_queue("retry")
        return entries

    @property
    def accepted(self) -> list[str]:
        entries = self.sandbox.inbox(outcome="accepted", limit=2000)
        return sorted(target["target"] for entry in entries for target in entry["targets"])


@pytest.fixture(scope="module")
def running() -> Iterator[Batches]:
    with ExitStack() as started:
        keys = {KEYS.access_key_id: AccessKey(KEYS.access_key_secret, None)}
        sandbox = started.enter_context(Sandbox(access_keys=keys))
        mns = started.enter_context(MnsServer(access_keys=keys))
        yield Batches(sandbox, mns)


@pytest.fixture
def batches(running: Batches, monkeypatch: pytest.MonkeyPatch) -> Batches:
    for name in ("ledger.redis_client", "queues.mns"):
        monkeypatch.setattr(f"mpaas_push.{name}.TIMEOUT_SECONDS", 60.0)  # a busy machine is not an outage
    running.sandbox.clear()
    running.sender = uuid.uuid4().hex  # the ledger remembers what other tests sent
    for name in ("retry", "dead"):
        running.mns.store.delete_queue(name)
        running.mns.store.create_queue(name)
    return running


def users(count: int, length: int = 0) -> list[str]:
    return [f"user-{number:0{length or 4}}" for number in range(count)]


def hand_over_unsent(tasks: list[PushTask], settings: Settings) -> BatchReport:
    """Hand over a batch with no time left to send it and a minute for the queues."""
    invocation = Invocation(request_id="1-2", credentials=KEYS, deadline=time.monotonic())
    with PushClient(settings) as client, MnsQueues(settings, invocation.ending_earlier(-60)) as queues:
        return send_batch(tasks, client, invocation, queues=queues)


# --- Handing over ------------------------------------------------------------------------------------


def test_throttled_messages_share_queue_entries_and_are_retried_individually(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", next=99)

    assert batches.send(*map(to, users(100))).retried == 99
    ids = {t["target"]: t["messageId"] for e in batches.sandbox.inbox(limit=1000) for t in e["targets"]}
    entries = batches.drain()
    assert 5 <= len(entries) <= 10

    assert batches.send(*entries, first=500).outcomes == {"accepted": 99}
    assert batches.accepted == users(100)
    retried_ids = {
        t["target"]: t["messageId"] for e in batches.sandbox.inbox(limit=1000) for t in e["targets"]
    }
    assert retried_ids == ids


@pytest.mark.parametrize("failure", [close, reply(error("InternalError"), 500), accepting({0, 2})])
def test_transient_or_partial_mns_failure_resends_no_accepted_message(batches: Batches, failure: Any) -> None:
    batches.sandbox.order(kind="throttling", next=99)
    with Server(failure, accepting()) as mns:
        report = batches.send(*map(to, users(100)), PUSH_MNS_ENDPOINT=mns.url)

        assert (report.retried, report.left) == (99, ())
        assert {t for request in mns.requests for b in bodies(request) for t in targets_of(json.loads(b))} | {
            *batches.accepted
        } == {*users(100)}


def test_messages_are_queued_individually_when_a_shared_entry_is_too_large(batches: Batches) -> None:
    batches.mns.store.delete_queue("retry")
    batches.mns.store.create_queue("retry", QueueAttributes(maximum_message_size=2048))
    batches.sandbox.order(kind="throttling", next=99)

    report = batches.send(*map(to, users(6)), {**to("user-7"), "content": "long" * 500})

    assert (report.retried, report.given_up, report.left) == (6, 1, ())
    assert {target for entry in batches.entries() for target in targets_of(entry)} == {*users(6)}
    (letter,) = batches.letters()
    assert letter["message"]["targets"] == ["user-7"]
    assert letter["reason"] == "throttled"


def test_event_is_redelivered_when_no_queue_accepts_a_retryable_message(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-1"})
    refused = reply(error("InvalidArgument"), 400)
    with Server(refused) as mns, pytest.raises(BatchIncomplete) as failure:
        batches.send(to("user-0"), to("user-1"), to("user-2"), PUSH_MNS_ENDPOINT=mns.url)

    assert failure.value.left == (1,)


def test_event_is_redelivered_when_a_retryable_message_is_too_long_for_any_queue(
    batches: Batches,
) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-1"})
    long = to("user-1", extendedParams={"key": "x" * BODY_BYTES})
    with pytest.raises(BatchIncomplete) as failure:
        batches.send(to("user-0"), long, PUSH_DEAD_LETTER_QUEUE="")

    assert failure.value.left == (1,)


@pytest.mark.parametrize("has_ledger", [False, True])
def test_dead_letter_rejected_by_its_queue_resends_no_accepted_message(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, *, has_ledger: bool
) -> None:
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if has_ledger else {}
    with (
        Server(accepting({0}, code="InvalidArgument")) as mns,
        pytest.raises(BatchIncomplete) if has_ledger else contextlib.nullcontext(),
    ):
        batches.send(to("user-1"), {"title": "hopeless"}, PUSH_MNS_ENDPOINT=mns.url, **ledger)

    assert len(mns.requests) == 1
    assert "1 messages were given up, and no dead-letter queue accepted them" in caplog.text


def targets_of(entry: Any) -> list[str]:
    """Return the targets of an entry of the retry queue."""
    return [target for part in entry.get("messages", [entry]) for target in part["message"]["targets"]]


@pytest.mark.parametrize("has_ledger", [False, True])
def test_batch_is_redelivered_while_mns_is_down_and_the_log_counts_possible_duplicates(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, *, has_ledger: bool
) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-0001"})
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if has_ledger else {}
    with (
        Server(reply(error("InternalError"), 500)) as mns,
        pytest.raises(BatchIncomplete) as failure,
    ):
        batches.send(*map(to, users(4)), seconds=4.0, PUSH_MNS_ENDPOINT=mns.url, **ledger)

    assert failure.value.left == (1,)
    assert len(mns.requests) > 1
    assert ("3 targets may get a push twice" in caplog.text) is not has_ledger


def test_each_message_is_accepted_or_queued_when_the_batch_runs_out_of_time(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a second for sending and ample time for the queues.
    monkeypatch.setattr("mpaas_push.batch.RESERVED_SHARE", 0.995)
    monkeypatch.setattr("mpaas_push.batch.RESERVED_SECONDS", 100.0)
    batches.sandbox.order(kind="delay", milliseconds=50, rate=1.0)

    report = batches.send(*map(to, users(600)), seconds=100)

    assert report.left == ()
    assert report.retried > 0
    queued = [target for entry in batches.entries() for target in targets_of(entry)]
    assert sorted(batches.accepted + queued) == users(600)


def test_requests_in_flight_are_awaited_when_the_sending_time_ends(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    time_is_up = threading.Event()

    def verdict(*arguments: Any) -> Any:
        time_is_up.set()
        return verdict_of(*arguments)

    monkeypatch.setattr("mpaas_push.transport.verdict_of", verdict)
    monkeypatch.setattr(Invocation, "time_to_begin", property(lambda _: 0.0 if time_is_up.is_set() else 1.0))
    # No time is left to send.
    monkeypatch.setattr("mpaas_push.batch._reserved_seconds", lambda seconds, _: seconds)

    report = batches.send(to("user-1"), to("user-2"), PUSH_CONCURRENCY="1")

    assert report.outcomes == {"accepted": 1, "throttled": 1}
    assert batches.accepted == ["user-1"]
    assert [targets_of(entry) for entry in batches.entries()] == [["user-2"]]


def test_memory_use_is_proportional_to_the_batch_regardless_of_its_targets(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest event, 32 MB, needs less than the 512 MB of an instance."""
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 500)
    queues = MnsQueues(batches.settings(), Invocation(request_id="1-2", credentials=KEYS, deadline=0.0))
    messages = [to(*(f"user-{number}-{index}" for index in range(124))) for number in range(60)]
    event = json.dumps(
        [
            {"messageId": f"M{index}", "messageBody": json.dumps(message)}
            for index, message in enumerate(messages)
        ]
    ).encode()

    def send() -> None:
        tasks = [task for record in records_of(event) for task in tasks_of_record(record, client.settings)]
        invocation = Invocation(request_id="1-2", credentials=KEYS, deadline=time.monotonic())
        report = send_batch(tasks, client, invocation, queues=queues)
        assert (report.unsettled, report.duplicates_if_redelivered) == (60, 0)

    with PushClient(batches.settings(PUSH_RETRY_QUEUE="", PUSH_DEAD_LETTER_QUEUE="")) as client:
        send()
        assert peak_bytes(send, limit := 15 * len(event)) <= limit


@pytest.mark.parametrize("messages", [1, 2])
def test_no_empty_part_follows_when_the_last_message_fills_a_part(
    batches: Batches, monkeypatch: pytest.MonkeyPatch, messages: int
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 11 * messages)
    sizes: list[int] = []
    send_tasks = PushClient.send_tasks

    def record(client: PushClient, tasks: list[PushTask], invocation: Invocation) -> list[list[Outcome]]:
        sizes.append(len(tasks))
        return send_tasks(client, tasks, invocation)

    monkeypatch.setattr(PushClient, "send_tasks", record)
    batches.send(*[to(*users(12))] * messages)

    assert sizes == [messages]


def test_long_message_that_is_not_sent_is_queued_in_several_entries(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    bodies = {"M1": to(*users(1)), "M2": to(*users(9000))}
    records = [QueueRecord(name, body, json.dumps(body)) for name, body in bodies.items()]
    tasks = [task for record in records for task in tasks_of_record(record, settings)]
    report = hand_over_unsent(tasks, settings)

    assert (report.retried, report.given_up, report.left) == (2, 0, ())
    queued = [target for entry in batches.entries() for target in targets_of(entry)]
    assert sorted(queued) == sorted([*users(1), *users(9000)])


def test_message_that_is_not_sent_keeps_its_request_boundaries_in_the_queue(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    first = to("user")
    ids = {target: f"id-{target}" for target in reversed(users(4000))}
    long = {name: value for name, value in to().items() if name != "targets"} | {"targetMsgkey": ids}
    tasks = [
        task
        for number, body in enumerate((first, long))
        for task in tasks_of_record(QueueRecord(f"M{number}", body, json.dumps(body)), settings)
    ]
    expected = list(request_targets(tasks[1:], settings))
    hand_over_unsent(tasks, settings)

    entries = batches.drain()
    queued = [
        task
        for entry in entries
        for task in tasks_of_record(QueueRecord("", entry, ""), settings)
        if task.names_ids  # excludes the first message, which may share an entry
    ]
    assert len(queued) > 1
    assert sorted(request_targets(queued, settings)) == sorted(expected)


def request_targets(tasks: list[PushTask], settings: Settings) -> Iterator[list[str]]:
    """Yield the targets of each request for tasks."""
    for task in tasks:
        assert isinstance(task.message, PushMessage)
        yield from (sorted(request.targets) for request in requests_of(task.message, settings, task.scope))


@pytest.mark.parametrize("code", ["8011", "3007"])
@pytest.mark.parametrize("ledger", [False, True])
def test_accepted_messages_are_not_resent_when_others_fail(
    batches: Batches, redis_server: RedisServer, code: str, *, ledger: bool
) -> None:
    batches.sandbox.order(kind="result", code=code, match={"target": "user-0012"}, next=2)
    env: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    report = batches.send(to(*users(25)), to("other"), **env)
    rounds = 0
    while report.retried:
        rounds += 1
        report = batches.send(*batches.drain(), first=80, **env)

    assert rounds == 2
    assert batches.accepted == ["other", *users(25)]
    assert batches.letters() == []


# --- Misconfiguration --------------------------------------------------------------------------------


def test_misconfigured_messages_are_queued_and_logged_as_one_error(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="3007", next=30)

    assert batches.send(*map(to, users(30))).retried == 30

    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert errors[0].startswith("requests failed because of the configuration (30 with code 3007)")
    assert batches.letters() == []
    assert batches.send(*batches.drain(), first=500).outcomes == {"accepted": 30}


def test_misconfigured_message_is_given_up_only_at_the_retry_limit(batches: Batches) -> None:
    batches.sandbox.order(kind="result", code="3007", next=3)
    batches.send(to("user-1"), PUSH_RETRY_LIMIT="2")
    for _ in range(2):
        assert batches.letters() == []
        batches.send(*batches.drain(), PUSH_RETRY_LIMIT="2")

    (letter,) = batches.letters()
    assert (letter["reason"], letter["attempt"]) == ("misconfigured", 3)
    assert batches.entries() == []


# --- What a retry keeps ------------------------------------------------------------------------------


def test_first_moment_is_kept_through_retries_and_in_the_dead_letter(batches: Batches) -> None:
    settings = batches.settings()
    first = time.time() - 100
    (task,) = tasks_of_record(QueueRecord("M1", to("user-1"), "", moment=first), settings, "f")
    batches.sandbox.order(kind="throttling", next=2)
    batches.settle([task], PUSH_RETRY_LIMIT="1")
    (entry,) = batches.drain()
    assert entry["pushRetry"]["firstMoment"] == pytest.approx(first, abs=0.01)

    batches.send(entry, PUSH_RETRY_LIMIT="1")

    (letter,) = batches.letters()
    assert letter["firstMoment"] == entry["pushRetry"]["firstMoment"]


@pytest.mark.parametrize("age", [30, 600])
def test_failed_invocation_gives_the_minimum_age_of_a_push_without_a_first_moment(
    batches: Batches, age: int
) -> None:
    failed = {
        "timestamp": int((time.time() - age) * 1000),
        "requestContext": {"requestId": "1", "functionArn": "f", "condition": "UnhandledInvocationError"},
        "requestPayload": json.dumps(to("user-1", expiredSeconds=60)),  # a topic's message without attributes
    }
    own = Invocation(
        request_id="1-2", credentials=KEYS, deadline=time.monotonic() + 120, sender=batches.sender
    )
    event, invocation = unwrap_failed_invocation(json.dumps(failed).encode(), own)
    settings = batches.settings()
    tasks = [task for record in records_of(event) for task in tasks_of_record(record, settings, own.sender)]
    with PushClient(settings) as client:
        settle_event(tasks, client, invocation)

    if age == 30:
        (sent,) = batches.sandbox.inbox()
        assert sent["parameters"]["ExpiredSeconds"] in {"29", "30"}
    else:
        assert batches.letters()[0]["outcomes"][0]["resultCode"] == "Expired"
        assert batches.accepted == []


def test_retry_is_sent_to_the_app_of_the_first_attempt(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", next=1)
    batches.send(to("user-1"), MPAAS_TENANT_ID="TENANT1")
    other_app: dict[str, Any] = {
        "MPAAS_APP_ID": "ONEX2",
        "MPAAS_WORKSPACE_ID": "prod",
        "MPAAS_TENANT_ID": "TENANT2",
    }

    batches.send(*batches.drain(), **other_app)

    for entry in batches.sandbox.inbox():
        sent = entry["parameters"]
        assert (sent["AppId"], sent["WorkspaceId"], sent["TenantId"]) == ("ONEX1", "default", "TENANT1")


@pytest.mark.parametrize(
    ("retry_after", "validity", "minimum", "maximum"),
    [
        (60, 600, 60, 60),
        (7_200, 600, 400, 450),
        (86_400, 60, 40, 45),
        (86_400, 10_000_000, 86_400, 86_400),
    ],
)
def test_retry_after_is_honoured_within_the_validity_of_the_push(
    batches: Batches,
    caplog: pytest.LogCaptureFixture,
    retry_after: int,
    validity: int,
    minimum: int,
    maximum: int,
) -> None:
    batches.sandbox.order(kind="throttling", retryAfter=retry_after)

    batches.send(to("user-1", expiredSeconds=validity), PUSH_RULES="expired-seconds-max=warning")

    (entry,) = batches.queued()
    assert minimum * 1000 <= entry.next_visible_time - entry.enqueue_time <= maximum * 1000
    assert any(f"asked to wait {retry_after} s" in text for text in caplog.messages) is (
        retry_after > maximum
    )


@pytest.mark.parametrize("late", ["expire", "send"])
@pytest.mark.parametrize(("retry_after", "validity"), [(3600, 600), (3600, 3), (3600, -9), (400_000, 600)])
def test_warning_about_a_shortened_wait_names_the_requested_and_the_actual_delay(
    batches: Batches, caplog: pytest.LogCaptureFixture, retry_after: int, validity: int, late: str
) -> None:
    settings = batches.settings(PUSH_LATE=late)
    record = QueueRecord("M1", to("user-1", expiredSeconds=600), "{}", moment=time.time() - 600 + validity)
    (task,) = tasks_of_record(record, settings)
    outcome = Outcome(kind=THROTTLED, targets={"user-1": "id"}, retry_after=retry_after)

    delay = delay_seconds(task, [outcome], settings)

    warning = (
        f"asked to wait {retry_after} s, longer than validity or queue allow: next attempt in {delay:.0f} s"
    )
    assert (warning in caplog.text) is (delay < retry_after)
    assert (delay < retry_after) is (late == "expire" or retry_after > LONGEST_DELAY_SECONDS)


def test_retry_after_is_honoured_in_full_when_late_pushes_are_sent(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", retryAfter=300)

    batches.send(to("user-1", expiredSeconds=60), PUSH_LATE="send")

    (entry,) = batches.queued()
    assert 300_000 <= entry.next_visible_time - entry.enqueue_time <= 400_000


def test_attempts_are_spaced_out_when_no_validity_is_left(batches: Batches) -> None:
    late = QueueRecord("M1", to("user-1", expiredSeconds=60), "", moment=time.time() - 59)
    batches.sandbox.order(kind="throttling")

    batches.settle(tasks_of_record(late, batches.settings(), batches.sender))

    (entry,) = batches.queued()
    assert entry.next_visible_time - entry.enqueue_time >= 3_000


# --- Dead letters ------------------------------------------------------------------------------------


def test_refused_and_unknown_targets_of_a_message_never_share_a_dead_letter(batches: Batches) -> None:
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0001"})
    batches.sandbox.order(kind="resetAfterRead", match={"target": "user-0011"})
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0021"})

    batches.send(to(*users(35)))

    letters = {letter["reason"]: letter for letter in batches.letters()}
    assert len(batches.letters()) == 2
    refused = users(10) + users(30)[20:]
    assert letters["refused"]["message"]["targets"] == refused
    assert letters["unknown"]["message"]["targets"] == users(20)[10:]
    assert {outcome["outcome"] for outcome in letters["refused"]["outcomes"]} == {"refused"}
    assert {outcome["outcome"] for outcome in letters["unknown"]["outcomes"]} == {"unknown"}


@pytest.mark.parametrize("names_ids", [False, True])
def test_corrected_dead_letter_is_accepted(
    batches: Batches, redis_server: RedisServer, *, names_ids: bool
) -> None:
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url}
    payload = to(*users(20))
    if names_ids:
        del payload["targets"]
        payload["targetMsgkey"] = {target: f"{target} {batches.sender}" for target in users(20)}
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0001"}, next=1)
    batches.send(payload, **ledger)
    (letter,) = batches.letters()

    report = batches.send({**letter["message"], "title": "Corrected"}, first=1, **ledger)

    assert report.outcomes == {"accepted": 1}
    assert batches.accepted == users(20)


@pytest.mark.parametrize("extra", [{}, {"deliveryType": 4}], ids=["refused by mPaaS", "invalid"])
@pytest.mark.parametrize("length", [4, 60])
def test_no_target_is_lost_when_many_are_given_up(
    batches: Batches, extra: dict[str, Any], length: int
) -> None:
    batches.sandbox.order(kind="result", code="3028", next=300)
    targets = users(3000, length)

    batches.send(to(*targets, **extra))

    letters = batches.letters()
    named = [
        target
        for letter in letters
        for target in letter.get("targets")
        or letter.get("message", {}).get("targets")
        or json.loads(letter["body"])["targets"]
    ]
    assert sorted(named) == targets
    assert all(letter["outcomes"] for letter in letters)
    assert {outcome["outcome"] for letter in letters for outcome in letter["outcomes"]} == {"refused"}


def test_only_a_target_too_long_for_a_dead_letter_is_truncated(batches: Batches) -> None:
    long = "\U0001f600" * BODY_BYTES

    batches.send(to(long, *users(20), deliveryType=4))

    named = [target for letter in batches.letters() for target in letter["targets"]]
    assert sorted(named, key=len)[:-1] == users(20)
    assert long.startswith(max(named, key=len))


# --- Which events are redelivered --------------------------------------------------------------------

NOTHING = BatchReport(outcomes={}, retried=0, given_up=0, unsettled=0, stranded=0, left=())


@pytest.mark.parametrize(
    ("report", "fails_with_ledger", "fails_without_ledger"),
    [
        (NOTHING, False, False),
        (NOTHING._replace(unsettled=1), True, True),
        (NOTHING._replace(stranded=1), True, True),
        (NOTHING._replace(stranded=1, recoverable=1, retried=1), True, True),
        (NOTHING._replace(stranded=1, retried=1), True, False),
        (NOTHING._replace(stranded=1, outcomes={"accepted": 1, "refused": 1}), True, False),
        (NOTHING._replace(stranded=1, outcomes={"unknown": 1, "refused": 1}), True, False),
    ],
)
def test_event_fails_only_when_redelivery_is_needed_and_safe(
    report: BatchReport, *, fails_with_ledger: bool, fails_without_ledger: bool
) -> None:
    assert report.should_fail_invocation(has_ledger=True) is fails_with_ledger
    assert report.should_fail_invocation(has_ledger=False) is fails_without_ledger


def test_hopeless_message_without_dead_letter_queue_resends_no_accepted_message(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    report = batches.send(to("user-1"), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="")

    assert (report.outcomes, report.stranded) == ({"accepted": 1, "refused": 1}, 1)
    assert "1 messages were given up, and no dead-letter queue accepted them" in caplog.text


def test_log_counts_the_targets_that_a_redelivery_may_duplicate(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BatchIncomplete):
        batches.send(to(*users(25)), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="missing")

    assert "25 targets may get a push twice" in caplog.text


def test_unknown_targets_count_as_possible_duplicates(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="cutBody", next=2)
    with Server(reply(error("InternalError"), 500)) as mns, pytest.raises(BatchIncomplete):
        batches.send(to("user-1"), to("user-2"), seconds=3.0, PUSH_MNS_ENDPOINT=mns.url)

    assert "2 targets may get a push twice" in caplog.text


def test_targets_in_the_retry_queue_count_as_possible_duplicates(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="8011", match={"target": "user-0001"})
    with pytest.raises(BatchIncomplete):
        batches.send(to(*users(12)), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="missing")

    assert "12 targets may get a push twice" in caplog.text


# --- A claim that another invocation holds -------------------------------------------------------------


def test_message_that_another_invocation_was_sending_is_given_up_as_unknown(
    batches: Batches, redis_server: RedisServer
) -> None:
    env: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url, "PUSH_RETRY_LIMIT": "1"}
    payload = {**to("user-1"), "targetMsgkey": {"user-1": f"id-{batches.sender}"}}
    del payload["targets"]
    settings = batches.settings(**env)
    (request,) = requests_of(PushMessage.parse(payload, defaults=settings.defaults), settings, "")
    with contextlib.closing(Ledger(settings)) as ledger:
        ledger.claims(Invocation(request_id="0", credentials=KEYS, deadline=time.monotonic() + 600)).claim(
            [request]
        )  # and is then killed

    assert batches.send(payload, **env).retried == 1
    (entry,) = batches.drain()
    assert batches.send(entry, first=1, **env).given_up == 1
    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "may have arrived" in letter["detail"]
    assert {outcome["outcome"] for outcome in letter["outcomes"]} == {"unknown"}


# --- Overdue pushes ------------------------------------------------------------------------------------


def overdue(batches: Batches, env: dict[str, Any]) -> list[PushTask]:
    """Return a push created an hour ago and due half an hour ago."""
    now = time.time()
    strategy = {"strategyType": 1, "strategyContent": {"fixedTime": int((now - 1800) * 1000)}}
    record = QueueRecord("M1", to("user-1", **strategy), "{}", moment=now - 3600)
    return tasks_of_record(record, batches.settings(**env), batches.sender)


@pytest.mark.parametrize("was_accepted", [False, True])
def test_overdue_push_has_the_outcome_that_the_ledger_recorded(
    batches: Batches, redis_server: RedisServer, *, was_accepted: bool
) -> None:
    env: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url}
    (task,) = overdue(batches, env)
    assert isinstance(task.message, PushMessage)
    assert task.too_late
    if was_accepted:
        with Server(reply(OK)) as mpaas:
            batches.settle([task._replace(too_late=())], MPAAS_ENDPOINT=mpaas.url, **env)

    report = batches.settle([task], **env)

    assert report.outcomes == ({"accepted": 1} if was_accepted else {"refused": 1})
    assert batches.sandbox.inbox() == []
    assert [letter["message"]["targets"] for letter in batches.letters()] == (
        [] if was_accepted else [["user-1"]]
    )


def test_overdue_push_names_the_invalid_field(batches: Batches) -> None:
    batches.settle(overdue(batches, {}))

    (letter,) = batches.letters()
    ((fault,),) = [outcome["errors"] for outcome in letter["outcomes"]]
    assert fault["field"] == "strategyContent.fixedTime"


def test_new_push_with_a_fixed_time_in_the_past_is_refused(batches: Batches) -> None:
    strategy = {"strategyType": 1, "strategyContent": {"fixedTime": int((time.time() - 60) * 1000)}}

    assert batches.send(to("user-1", **strategy)).outcomes == {"refused": 1}
    assert "fixedTime" in batches.letters()[0]["detail"]


# --- Pushes that may have arrived ----------------------------------------------------------------------

LATER_FAULTS: dict[str, Any] = {
    "throttled": {"kind": "throttling", "next": 2},
    "refused": {"kind": "result", "code": "3012", "next": 2},
    "expired": None,
}
"""What happens to the second attempt and to a third one."""


@pytest.mark.parametrize("fault", LATER_FAULTS.values(), ids=LATER_FAULTS)
@pytest.mark.parametrize("ledger", [False, True])
def test_push_that_may_have_arrived_becomes_an_unknown_dead_letter_after_any_later_fault(
    batches: Batches, redis_server: RedisServer, fault: Any, *, ledger: bool
) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_RETRY_LIMIT": "2"}
    env |= {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    batches.sandbox.order(kind="cutBody", next=1)
    report = batches.send(to("user-1"), **env)
    assert batches.accepted == ["user-1"]  # only the response was lost
    if fault:
        batches.sandbox.order(**fault)
    while report.retried:
        entries = batches.drain()
        for entry in entries:
            assert entry["pushRetry"]["mayHaveArrived"] is True
            if not fault:
                entry["pushRetry"]["firstMoment"] -= 600
        report = batches.send(*entries, first=9, **env)

    assert report.outcomes == {"unknown": 1}
    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert {outcome["outcome"] for outcome in letter["outcomes"]} == {"unknown"}
    assert batches.accepted == ["user-1"]


def arrived(**message: Any) -> dict[str, Any]:
    """Return a retry queue entry whose message may have arrived."""
    return {"pushRetry": {"attempt": 2, "scope": "s", "mayHaveArrived": True}, "message": message}


@pytest.mark.parametrize(
    ("last", "env"),
    [
        ("refused", {}),
        ("expired", {}),
        ("invalid", {}),
        ("unsendable", {"MPAAS_API_VERSION": "2019-08-21"}),
    ],
)
def test_push_that_may_have_arrived_and_is_then_refused_is_unknown_and_not_retried(
    batches: Batches, last: str, env: dict[str, Any]
) -> None:
    entry = arrived(**to("user-1"))
    if last == "refused":
        batches.sandbox.order(kind="result", code="3012")
    elif last == "expired":
        entry["pushRetry"]["firstMoment"] = 1
    else:
        entry["message"] |= {"title": ""} if last == "invalid" else {"channelId": "c"}

    report = batches.send(entry, PUSH_ON_UNKNOWN="retry", **env)

    assert (report.outcomes, report.retried, report.given_up) == ({"unknown": 1}, 0, 1)
    assert report.duplicates_if_redelivered == 1
    assert [letter["reason"] for letter in batches.letters()] == ["unknown"]


@pytest.mark.parametrize("last", ["refused", "expired"])
def test_push_recorded_as_unknown_is_not_retried_after_refusal_or_expiry(
    batches: Batches, redis_server: RedisServer, last: str
) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_LEDGER_URL": redis_server.url}
    batches.sandbox.order(kind="cutBody", next=1)
    assert batches.send(to("user-1"), **env).retried == 1
    (entry,) = batches.drain()
    if last == "refused":
        batches.sandbox.order(kind="result", code="3012")
    else:
        entry["pushRetry"]["firstMoment"] -= 600

    report = batches.send(entry, first=9, **env)

    assert (report.outcomes, report.retried, report.given_up) == ({"unknown": 1}, 0, 1)


def test_push_that_may_have_arrived_is_unknown_when_memory_runs_out(
    batches: Batches, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's record counts even if the event does not say that it is a retry."""
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_LEDGER_URL": redis_server.url}
    batches.sandbox.order(kind="cutBody", next=2)
    batches.send(to("user-1"), to("user-2"), PUSH_RETRY_LIMIT="0", **env)
    assert {letter["reason"] for letter in batches.letters()} == {"unknown"}

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mpaas_push.transport.Transport.exchange", exhausted)
    batches.send(to("user-1"), to("user-2"), PUSH_RETRY_LIMIT="0", PUSH_CONCURRENCY="1", **env)

    assert [letter["reason"] for letter in batches.letters()] == ["unknown"] * 4


def test_request_that_may_have_arrived_is_logged_as_unknown(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="3012")

    batches.send(arrived(**to("user-1")))

    assert "push unknown" in caplog.messages
    assert "push refused" not in caplog.messages


def test_push_that_may_have_arrived_is_unknown_when_it_is_not_sent(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    payloads = [to("user-0"), arrived(**to("user-1"))]
    records = [QueueRecord(f"M{index}", payload, "{}") for index, payload in enumerate(payloads)]
    tasks = [task for record in records for task in tasks_of_record(record, settings)]
    report = hand_over_unsent(tasks, settings)

    assert report.outcomes == {"throttled": 1, "unknown": 1}


def test_only_the_targets_that_may_have_arrived_are_unknown(batches: Batches) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_RETRY_LIMIT": "1"}
    batches.sandbox.order(kind="cutBody", match={"target": "user-0003"}, next=1)
    batches.sandbox.order(kind="throttling", match={"target": "user-0013"}, next=1)
    assert batches.send(to(*users(25)), **env).retried == 1
    envelopes = batches.drain()[0]["messages"]
    batches.sandbox.order(kind="throttling", next=2)
    assert batches.send(*envelopes, first=9, **env).given_up == 2

    letters = {letter["reason"]: letter["message"]["targets"] for letter in batches.letters()}
    assert letters == {"unknown": users(10), "throttled": users(20)[10:]}


UNREACHABLE_LEDGER = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"PUSH_LEDGER_URL": UNREACHABLE_LEDGER, "PUSH_LEDGER_IF_DOWN": "fail"}, "LedgerDown"),
        ({"PUSH_LEDGER_URL": "{wrong password}"}, "LedgerMisconfigured"),
        ({"PUSH_LEDGER_URL": UNREACHABLE_LEDGER, "PUSH_LEDGER_IF_DOWN": "send"}, "3028"),
    ],
)
def test_push_is_given_up_as_unknown_when_the_ledger_cannot_be_read(
    batches: Batches, redis_server: RedisServer, env: dict[str, str], code: str
) -> None:
    ledger: dict[str, Any] = {
        name: value.replace("{wrong password}", redis_server.url.replace("redis://", "redis://pusher:wrong@"))
        for name, value in env.items()
    }
    with Server(business("3028")) as mpaas:
        report = batches.send(to("user-1"), MPAAS_ENDPOINT=mpaas.url, PUSH_RETRY_LIMIT="0", **ledger)
    assert report.given_up == 1

    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "may have arrived" in letter["detail"]
    assert [(outcome["outcome"], outcome["resultCode"]) for outcome in letter["outcomes"]] == [
        ("unknown", code)
    ]


def test_push_that_expired_while_the_ledger_was_down_is_given_up_as_unknown(batches: Batches) -> None:
    record = QueueRecord("M1", to("user-1", expiredSeconds=60), "{}", moment=time.time() - 3600)
    tasks = tasks_of_record(record, batches.settings(), batches.sender)
    assert batches.settle(tasks, PUSH_LEDGER_URL=UNREACHABLE_LEDGER).given_up == 1

    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "validity" in letter["detail"]


def test_push_that_was_not_looked_up_in_the_ledger_is_given_up_as_unknown(
    batches: Batches, redis_server: RedisServer
) -> None:
    """No time was left for the lookup, so an earlier delivery of the event may have been accepted."""
    settings = batches.settings(PUSH_LEDGER_URL=redis_server.url, PUSH_RETRY_LIMIT="0")
    (task,) = tasks_of_record(QueueRecord("M1", to("user-1"), "{}"), settings, batches.sender)
    hand_over_unsent([task], settings)

    (letter,) = batches.letters()
    assert (letter["reason"], letter["outcomes"][0]["resultCode"]) == ("unknown", "NotSent")


def test_push_that_the_ledger_never_saw_is_given_up_with_its_own_reason(
    batches: Batches, redis_server: RedisServer
) -> None:
    with Server(business("3028")) as mpaas:
        batches.send(to("user-1"), MPAAS_ENDPOINT=mpaas.url, PUSH_LEDGER_URL=redis_server.url)

    (letter,) = batches.letters()
    assert letter["reason"] == "refused"


def test_misconfigured_ledger_is_logged_as_one_error(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = redis_server.url.replace("redis://", "redis://pusher:wrong@")
    assert batches.send(*map(to, users(3)), PUSH_LEDGER_URL=wrong).retried == 3

    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert message.startswith("the ledger cannot work as it is configured")
