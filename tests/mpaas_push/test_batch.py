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
from mpaas_push.request import requests_of
from mpaas_push.retries import delay_seconds
from mpaas_push.task import tasks_of_record
from mpaas_push.triggers.destination import unwrap_failed_invocation
from mpaas_push.triggers.queue import records_of
from mpaas_push.triggers.record import QueueRecord
from tests.effort import peak_bytes
from tests.functions.queue_stack import environment_of, read_letter, to
from tests.mns_responses import bodies, error, taking
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

    def waiting(self) -> list[Message]:
        return list(self.mns.store.messages("retry"))

    def entries(self) -> list[Any]:
        return [read_letter(entry.body) for entry in self.waiting()]

    def letters(self) -> list[Any]:
        return [read_letter(letter.body) for letter in self.mns.store.messages("dead", limit=1000)]

    def take(self) -> list[Any]:
        """Take what is in the retry queue out of it."""
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
        monkeypatch.setattr(f"mpaas_push.{name}.TIMEOUT_SECONDS", 60.0)  # a busy machine is no outage
    running.sandbox.clear()
    running.sender = uuid.uuid4().hex  # the ledger remembers what other tests have sent
    for name in ("retry", "dead"):
        running.mns.store.delete_queue(name)
        running.mns.store.create_queue(name)
    return running


def everybody(count: int, length: int = 0) -> list[str]:
    return [f"user-{number:0{length or 4}}" for number in range(count)]


def hand_over_unsent(tasks: list[PushTask], settings: Settings) -> BatchReport:
    """Send a batch in no time, with a minute to hand it over."""
    now = Invocation(request_id="1-2", credentials=KEYS, deadline=time.monotonic())
    with PushClient(settings) as client, MnsQueues(settings, now.ending_earlier(-60)) as queues:
        return send_batch(tasks, client, now, queues=queues)


# --- Handing over ------------------------------------------------------------------------------------


def test_messages_that_wait_share_entries_and_come_back_one_by_one(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", next=99)

    assert batches.send(*map(to, everybody(100))).retried == 99
    ids = {t["target"]: t["messageId"] for e in batches.sandbox.inbox(limit=1000) for t in e["targets"]}
    entries = batches.take()
    assert 5 <= len(entries) <= 10

    assert batches.send(*entries, first=500).outcomes == {"accepted": 99}
    assert batches.accepted == everybody(100)
    again = {t["target"]: t["messageId"] for e in batches.sandbox.inbox(limit=1000) for t in e["targets"]}
    assert again == ids


@pytest.mark.parametrize("failure", [close, reply(error("InternalError"), 500), taking({0, 2})])
def test_mns_failing_once_or_in_part_makes_nothing_accepted_come_again(
    batches: Batches, failure: Any
) -> None:
    batches.sandbox.order(kind="throttling", next=99)
    with Server(failure, taking()) as mns:
        report = batches.send(*map(to, everybody(100)), PUSH_MNS_ENDPOINT=mns.url)

        assert (report.retried, report.left) == (99, ())
        assert {t for request in mns.requests for b in bodies(request) for t in names(b)} | {
            *batches.accepted
        } == {*everybody(100)}


def test_where_a_queue_takes_no_entry_of_many_messages_each_waits_alone(batches: Batches) -> None:
    batches.mns.store.delete_queue("retry")
    batches.mns.store.create_queue("retry", QueueAttributes(maximum_message_size=2048))
    batches.sandbox.order(kind="throttling", next=99)

    report = batches.send(*map(to, everybody(6)), {**to("user-7"), "content": "long" * 500})

    assert (report.retried, report.given_up, report.left) == (6, 1, ())
    assert {target for entry in batches.entries() for target in names(json.dumps(entry))} == {*everybody(6)}
    (letter,) = batches.letters()
    assert letter["message"]["targets"] == ["user-7"]
    assert letter["reason"] == "throttled"


def test_what_may_be_sent_again_and_no_queue_ever_takes_makes_the_event_come_again(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-1"})
    refused = reply(error("InvalidArgument"), 400)
    with Server(refused) as mns, pytest.raises(BatchIncomplete) as failure:
        batches.send(to("user-0"), to("user-1"), to("user-2"), PUSH_MNS_ENDPOINT=mns.url)

    assert failure.value.left == (1,)


def test_what_may_be_sent_again_and_is_too_long_for_any_queue_makes_the_event_come_again(
    batches: Batches,
) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-1"})
    long = to("user-1", extendedParams={"key": "x" * BODY_BYTES})
    with pytest.raises(BatchIncomplete) as failure:
        batches.send(to("user-0"), long, PUSH_DEAD_LETTER_QUEUE="")

    assert failure.value.left == (1,)


@pytest.mark.parametrize("remembered", [False, True])
def test_a_letter_that_the_dead_letter_queue_never_takes_repeats_no_accepted_neighbour(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, *, remembered: bool
) -> None:
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if remembered else {}
    with (
        Server(taking({0}, code="InvalidArgument")) as mns,
        pytest.raises(BatchIncomplete) if remembered else contextlib.nullcontext(),
    ):
        batches.send(to("user-1"), {"title": "hopeless"}, PUSH_MNS_ENDPOINT=mns.url, **ledger)

    assert len(mns.requests) == 1
    assert "1 messages were given up, and no dead-letter queue took them" in caplog.text


def names(entry: str) -> list[str]:
    """The targets in an entry of the retry queue."""
    read = json.loads(entry)
    return [target for each in read.get("messages", [read]) for target in each["message"]["targets"]]


@pytest.mark.parametrize("remembered", [False, True])
def test_while_mns_is_down_the_batch_comes_again_and_the_log_tells_what_that_doubles(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, *, remembered: bool
) -> None:
    batches.sandbox.order(kind="throttling", match={"target": "user-0001"})
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if remembered else {}
    with (
        Server(reply(error("InternalError"), 500)) as mns,
        pytest.raises(BatchIncomplete) as failure,
    ):
        batches.send(*map(to, everybody(4)), seconds=4.0, PUSH_MNS_ENDPOINT=mns.url, **ledger)

    assert failure.value.left == (1,)
    assert len(mns.requests) > 1
    assert ("3 targets may get a push twice" in caplog.text) is not remembered


def test_of_a_batch_that_is_too_large_for_its_time_each_message_is_accepted_or_in_a_queue(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a second to send in, and ample time after it.
    monkeypatch.setattr("mpaas_push.batch.RESERVED_SHARE", 0.995)
    monkeypatch.setattr("mpaas_push.batch.RESERVED_SECONDS", 100.0)
    batches.sandbox.order(kind="delay", milliseconds=50, rate=1.0)

    report = batches.send(*map(to, everybody(600)), seconds=100)

    assert report.left == ()
    assert report.retried > 0
    waiting = [target for entry in batches.entries() for target in targets_of(entry)]
    assert sorted(batches.accepted + waiting) == everybody(600)


def test_what_is_under_way_when_the_time_to_send_ends_is_waited_for(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()

    def verdict(*arguments: Any) -> Any:
        is_over.set()
        return verdict_of(*arguments)

    monkeypatch.setattr("mpaas_push.transport.verdict_of", verdict)
    monkeypatch.setattr(Invocation, "time_to_begin", property(lambda _: 0.0 if is_over.is_set() else 1.0))
    monkeypatch.setattr(
        "mpaas_push.batch._reserved_seconds", lambda seconds, _: seconds
    )  # no time to send is left

    report = batches.send(to("user-1"), to("user-2"), PUSH_CONCURRENCY="1")

    assert report.outcomes == {"accepted": 1, "throttled": 1}
    assert batches.accepted == ["user-1"]
    assert [targets_of(entry) for entry in batches.entries()] == [["user-2"]]


def test_a_batch_takes_few_bytes_for_a_byte_however_many_targets_it_has(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 32 MB, the longest, it takes less than the 512 MB of an instance."""
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 500)
    queues = MnsQueues(batches.settings(), Invocation(request_id="1-2", credentials=KEYS, deadline=0.0))
    messages = [to(*(f"user-{number}-{index}" for index in range(124))) for number in range(60)]
    event = json.dumps(
        [{"messageId": f"M{index}", "messageBody": json.dumps(each)} for index, each in enumerate(messages)]
    ).encode()

    def send() -> None:
        tasks = [task for record in records_of(event) for task in tasks_of_record(record, client.settings)]
        now = Invocation(request_id="1-2", credentials=KEYS, deadline=time.monotonic())
        report = send_batch(tasks, client, now, queues=queues)
        assert (report.unsettled, report.duplicates_if_redelivered) == (60, 0)

    with PushClient(batches.settings(PUSH_RETRY_QUEUE="", PUSH_DEAD_LETTER_QUEUE="")) as client:
        send()
        assert peak_bytes(send, limit := 15 * len(event)) <= limit


@pytest.mark.parametrize("messages", [1, 2])
def test_where_the_last_message_fills_a_part_no_empty_part_follows(
    batches: Batches, monkeypatch: pytest.MonkeyPatch, messages: int
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 11 * messages)
    sizes: list[int] = []
    send_tasks = PushClient.send_tasks

    def recorded(client: PushClient, tasks: list[PushTask], invocation: Invocation) -> list[list[Outcome]]:
        sizes.append(len(tasks))
        return send_tasks(client, tasks, invocation)

    monkeypatch.setattr(PushClient, "send_tasks", recorded)
    batches.send(*[to(*everybody(12))] * messages)

    assert sizes == [messages]


def test_a_long_message_that_is_not_begun_waits_in_several_entries(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    bodies = {"M1": to(*everybody(1)), "M2": to(*everybody(9000))}
    records = [QueueRecord(name, body, json.dumps(body)) for name, body in bodies.items()]
    tasks = [task for record in records for task in tasks_of_record(record, settings)]
    report = hand_over_unsent(tasks, settings)

    assert (report.retried, report.given_up, report.left) == (2, 0, ())
    waiting = [target for entry in batches.entries() for target in targets_of(entry)]
    assert sorted(waiting) == sorted([*everybody(1), *everybody(9000)])


def test_what_is_not_begun_waits_in_the_requests_that_would_have_been_sent(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    first = to("user")
    ids = {target: f"id-{target}" for target in reversed(everybody(4000))}
    long = {name: value for name, value in to().items() if name != "targets"} | {"targetMsgkey": ids}
    tasks = [
        task
        for number, body in enumerate((first, long))
        for task in tasks_of_record(QueueRecord(f"M{number}", body, json.dumps(body)), settings)
    ]
    wanted = list(requests_made(tasks[1:], settings))
    hand_over_unsent(tasks, settings)

    entries = batches.take()
    waiting = [
        task
        for entry in entries
        for task in tasks_of_record(QueueRecord("", entry, ""), settings)
        if task.names_ids  # not of the first message, which may share an entry
    ]
    assert len(waiting) > 1
    assert sorted(requests_made(waiting, settings)) == sorted(wanted)


def requests_made(tasks: list[PushTask], settings: Settings) -> Iterator[list[str]]:
    """Yield the targets of each request for tasks."""
    for task in tasks:
        assert isinstance(task.message, PushMessage)
        yield from (sorted(request.targets) for request in requests_of(task.message, settings, task.scope))


def targets_of(entry: Any) -> list[str]:
    """The targets of an entry of the retry queue."""
    return [target for part in entry.get("messages", [entry]) for target in part["message"]["targets"]]


@pytest.mark.parametrize("code", ["8011", "3007"])
@pytest.mark.parametrize("ledger", [False, True])
def test_nothing_accepted_is_sent_again_because_a_neighbour_was_not(
    batches: Batches, redis_server: RedisServer, code: str, *, ledger: bool
) -> None:
    batches.sandbox.order(kind="result", code=code, match={"target": "user-0012"}, next=2)
    env: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    report = batches.send(to(*everybody(25)), to("other"), **env)
    rounds = 0
    while report.retried:
        rounds += 1
        report = batches.send(*batches.take(), first=80, **env)

    assert rounds == 2
    assert batches.accepted == ["other", *everybody(25)]
    assert batches.letters() == []


# --- Misconfiguration --------------------------------------------------------------------------------


def test_what_an_operator_must_mend_waits_and_the_log_cries_once(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="3007", next=30)

    assert batches.send(*map(to, everybody(30))).retried == 30

    cries = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(cries) == 1
    assert cries[0].startswith("30 requests failed because of the configuration (30 3007)")
    assert batches.letters() == []
    assert batches.send(*batches.take(), first=500).outcomes == {"accepted": 30}


def test_only_the_limit_of_retries_gives_up_what_stays_misconfigured(batches: Batches) -> None:
    batches.sandbox.order(kind="result", code="3007", next=3)
    batches.send(to("user-1"), PUSH_RETRY_LIMIT="2")
    for _ in range(2):
        assert batches.letters() == []
        batches.send(*batches.take(), PUSH_RETRY_LIMIT="2")

    (letter,) = batches.letters()
    assert (letter["reason"], letter["attempt"]) == ("misconfigured", 3)
    assert batches.entries() == []


# --- What travels ------------------------------------------------------------------------------------


def test_the_first_moment_travels_through_retries_into_the_dead_letter(batches: Batches) -> None:
    settings = batches.settings()
    first = time.time() - 100
    (task,) = tasks_of_record(QueueRecord("M1", to("user-1"), "", moment=first), settings, "f")
    batches.sandbox.order(kind="throttling", next=2)
    batches.settle([task], PUSH_RETRY_LIMIT="1")
    (entry,) = batches.take()
    assert entry["pushRetry"]["firstMoment"] == pytest.approx(first, abs=0.01)

    batches.send(entry, PUSH_RETRY_LIMIT="1")

    (letter,) = batches.letters()
    assert letter["firstMoment"] == entry["pushRetry"]["firstMoment"]


@pytest.mark.parametrize("age", [30, 600])
def test_the_failed_invocation_of_an_event_without_a_moment_tells_how_old_its_push_is_at_least(
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


def test_a_retry_goes_to_the_app_that_it_was_meant_for(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", next=1)
    batches.send(to("user-1"), MPAAS_TENANT_ID="TENANT1")
    other: dict[str, Any] = {
        "MPAAS_APP_ID": "ONEX2",
        "MPAAS_WORKSPACE_ID": "prod",
        "MPAAS_TENANT_ID": "TENANT2",
    }

    batches.send(*batches.take(), **other)

    for entry in batches.sandbox.inbox():
        sent = entry["parameters"]
        assert (sent["AppId"], sent["WorkspaceId"], sent["TenantId"]) == ("ONEX1", "default", "TENANT1")


@pytest.mark.parametrize(
    ("asked", "valid", "least", "most"),
    [
        (60, 600, 60, 60),
        (7_200, 600, 400, 450),
        (86_400, 60, 40, 45),
        (86_400, 10_000_000, 86_400, 86_400),
    ],
)
def test_a_server_is_obeyed_as_long_as_the_push_is_valid(
    batches: Batches, caplog: pytest.LogCaptureFixture, asked: int, valid: int, least: int, most: int
) -> None:
    batches.sandbox.order(kind="throttling", retryAfter=asked)

    batches.send(to("user-1", expiredSeconds=valid), PUSH_RULES="expired-seconds-max=warning")

    (entry,) = batches.waiting()
    assert least * 1000 <= entry.next_visible_time - entry.enqueue_time <= most * 1000
    assert any(f"asked to wait {asked} s" in text for text in caplog.messages) is (asked > most)


@pytest.mark.parametrize("late", ["expire", "send"])
@pytest.mark.parametrize(("asked", "valid"), [(3600, 600), (3600, 3), (3600, -9), (400_000, 600)])
def test_the_warning_of_a_wait_cut_short_names_what_was_asked_for_and_what_is_waited(
    batches: Batches, caplog: pytest.LogCaptureFixture, asked: int, valid: int, late: str
) -> None:
    settings = batches.settings(PUSH_LATE=late)
    record = QueueRecord("M1", to("user-1", expiredSeconds=600), "{}", moment=time.time() - 600 + valid)
    (task,) = tasks_of_record(record, settings)
    outcome = Outcome(kind=THROTTLED, targets={"user-1": "id"}, retry_after=asked)

    delay = delay_seconds(task, [outcome], settings)

    said = f"asked to wait {asked} s, longer than validity or queue allow: next attempt in {delay:.0f} s"
    assert (said in caplog.text) is (delay < asked)
    assert (delay < asked) is (late == "expire" or asked > LONGEST_DELAY_SECONDS)


def test_a_push_that_is_sent_however_late_waits_as_long_as_the_server_asks(batches: Batches) -> None:
    batches.sandbox.order(kind="throttling", retryAfter=300)

    batches.send(to("user-1", expiredSeconds=60), PUSH_LATE="send")

    (entry,) = batches.waiting()
    assert 300_000 <= entry.next_visible_time - entry.enqueue_time <= 400_000


def test_attempts_are_not_used_up_in_a_moment_when_no_validity_is_left(batches: Batches) -> None:
    late = QueueRecord("M1", to("user-1", expiredSeconds=60), "", moment=time.time() - 59)
    batches.sandbox.order(kind="throttling")

    batches.settle(tasks_of_record(late, batches.settings(), batches.sender))

    (entry,) = batches.waiting()
    assert entry.next_visible_time - entry.enqueue_time >= 3_000


# --- Dead letters ------------------------------------------------------------------------------------


def test_refused_and_unknown_targets_of_a_message_never_share_a_letter(batches: Batches) -> None:
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0001"})
    batches.sandbox.order(kind="resetAfterRead", match={"target": "user-0011"})
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0021"})

    batches.send(to(*everybody(35)))

    letters = {letter["reason"]: letter for letter in batches.letters()}
    assert len(batches.letters()) == 2
    refused = everybody(10) + everybody(30)[20:]
    assert letters["refused"]["message"]["targets"] == refused
    assert letters["unknown"]["message"]["targets"] == everybody(20)[10:]
    assert {outcome["outcome"] for outcome in letters["refused"]["outcomes"]} == {"refused"}
    assert {outcome["outcome"] for outcome in letters["unknown"]["outcomes"]} == {"unknown"}


@pytest.mark.parametrize("names_ids", [False, True])
def test_a_letter_that_is_corrected_and_sent_again_is_sent(
    batches: Batches, redis_server: RedisServer, *, names_ids: bool
) -> None:
    ledger: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url}
    payload = to(*everybody(20))
    if names_ids:
        del payload["targets"]
        payload["targetMsgkey"] = {target: f"{target} {batches.sender}" for target in everybody(20)}
    batches.sandbox.order(kind="result", code="3028", match={"target": "user-0001"}, next=1)
    batches.send(payload, **ledger)
    (letter,) = batches.letters()

    report = batches.send({**letter["message"], "title": "Corrected"}, first=1, **ledger)

    assert report.outcomes == {"accepted": 1}
    assert batches.accepted == everybody(20)


@pytest.mark.parametrize("extra", [{}, {"deliveryType": 4}], ids=["refused by mPaaS", "invalid"])
@pytest.mark.parametrize("length", [4, 60])
def test_no_target_is_lost_however_many_are_given_up(
    batches: Batches, extra: dict[str, Any], length: int
) -> None:
    batches.sandbox.order(kind="result", code="3028", next=300)
    targets = everybody(3000, length)

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


def test_a_target_that_no_letter_can_hold_is_cut_and_its_neighbours_are_not(batches: Batches) -> None:
    long = "\U0001f600" * BODY_BYTES

    batches.send(to(long, *everybody(20), deliveryType=4))

    named = [target for letter in batches.letters() for target in letter["targets"]]
    assert sorted(named, key=len)[:-1] == everybody(20)
    assert long.startswith(max(named, key=len))


# --- Who has to come again ---------------------------------------------------------------------------

NOTHING = BatchReport(outcomes={}, retried=0, given_up=0, unsettled=0, stranded=0, left=())


@pytest.mark.parametrize(
    ("report", "failing"),
    [
        (NOTHING, ""),
        (NOTHING._replace(unsettled=1), "remembered not"),
        (NOTHING._replace(stranded=1), "remembered not"),
        (NOTHING._replace(stranded=1, recoverable=1, retried=1), "remembered not"),
        (NOTHING._replace(stranded=1, retried=1), "remembered"),
        (NOTHING._replace(stranded=1, outcomes={"accepted": 1, "refused": 1}), "remembered"),
        (NOTHING._replace(stranded=1, outcomes={"unknown": 1, "refused": 1}), "remembered"),
    ],
)
def test_an_event_fails_where_its_repetition_is_needed_and_harms_nobody(
    report: BatchReport, failing: str
) -> None:
    found = {
        "remembered": report.should_fail_invocation(has_ledger=True),
        "not": report.should_fail_invocation(has_ledger=False),
    }
    assert " ".join(name for name, fails in found.items() if fails) == failing


def test_without_a_dead_letter_queue_a_hopeless_message_repeats_no_accepted_neighbour(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    report = batches.send(to("user-1"), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="")

    assert (report.outcomes, report.stranded) == ({"accepted": 1, "refused": 1}, 1)
    assert "1 messages were given up, and no dead-letter queue took them" in caplog.text


def test_the_line_on_what_a_redelivery_doubles_counts_targets(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BatchIncomplete):
        batches.send(to(*everybody(25)), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="missing")

    assert "25 targets may get a push twice" in caplog.text


def test_what_may_have_arrived_counts_as_doubled_too(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="cutBody", next=2)
    with Server(reply(error("InternalError"), 500)) as mns, pytest.raises(BatchIncomplete):
        batches.send(to("user-1"), to("user-2"), seconds=3.0, PUSH_MNS_ENDPOINT=mns.url)

    assert "2 targets may get a push twice" in caplog.text


def test_what_waits_for_a_retry_counts_as_doubled_too(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="8011", match={"target": "user-0001"})
    with pytest.raises(BatchIncomplete):
        batches.send(to(*everybody(12)), {"title": "hopeless"}, PUSH_DEAD_LETTER_QUEUE="missing")

    assert "12 targets may get a push twice" in caplog.text


# --- A claim that another invocation holds -------------------------------------------------------------


def test_what_another_invocation_was_sending_is_given_up_as_unknown(
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
        )  # then it is killed

    assert batches.send(payload, **env).retried == 1
    (entry,) = batches.take()
    assert batches.send(entry, first=1, **env).given_up == 1
    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "may have arrived" in letter["detail"]
    assert {outcome["outcome"] for outcome in letter["outcomes"]} == {"unknown"}


# --- What has come too late ----------------------------------------------------------------------------


def timed(batches: Batches, env: dict[str, Any]) -> list[PushTask]:
    """A push of an hour ago whose time passed half an hour ago."""
    now = time.time()
    strategy = {"strategyType": 1, "strategyContent": {"fixedTime": int((now - 1800) * 1000)}}
    record = QueueRecord("M1", to("user-1", **strategy), "{}", moment=now - 3600)
    return tasks_of_record(record, batches.settings(**env), batches.sender)


@pytest.mark.parametrize("came_before", [False, True])
def test_a_timed_push_that_comes_again_too_late_is_what_the_ledger_knows_of_it(
    batches: Batches, redis_server: RedisServer, *, came_before: bool
) -> None:
    env: dict[str, Any] = {"PUSH_LEDGER_URL": redis_server.url}
    (task,) = timed(batches, env)
    assert isinstance(task.message, PushMessage)
    assert task.too_late
    if came_before:
        with Server(reply(OK)) as mpaas:
            batches.settle([task._replace(too_late=())], MPAAS_ENDPOINT=mpaas.url, **env)

    report = batches.settle([task], **env)

    assert report.outcomes == ({"accepted": 1} if came_before else {"refused": 1})
    assert batches.sandbox.inbox() == []
    assert [letter["message"]["targets"] for letter in batches.letters()] == (
        [] if came_before else [["user-1"]]
    )


def test_a_timed_push_that_comes_too_late_says_what_is_wrong_like_an_invalid_one(batches: Batches) -> None:
    batches.settle(timed(batches, {}))

    (letter,) = batches.letters()
    ((fault,),) = [outcome["errors"] for outcome in letter["outcomes"]]
    assert fault["field"] == "strategyContent.fixedTime"


def test_a_new_push_whose_time_has_passed_is_refused(batches: Batches) -> None:
    strategy = {"strategyType": 1, "strategyContent": {"fixedTime": int((time.time() - 60) * 1000)}}

    assert batches.send(to("user-1", **strategy)).outcomes == {"refused": 1}
    assert "fixedTime" in batches.letters()[0]["detail"]


# --- What may have arrived -----------------------------------------------------------------------------

LAST: dict[str, Any] = {
    "throttled": {"kind": "throttling", "next": 2},
    "refused": {"kind": "result", "code": "3012", "next": 2},
    "expired": None,
}
"""What becomes of the second attempt, and of a third one."""


@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
@pytest.mark.parametrize("ledger", [False, True])
def test_what_may_have_arrived_is_a_dead_letter_as_unknown_whatever_came_last(
    batches: Batches, redis_server: RedisServer, last: Any, *, ledger: bool
) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_RETRY_LIMIT": "2"}
    env |= {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    batches.sandbox.order(kind="cutBody", next=1)
    report = batches.send(to("user-1"), **env)
    assert batches.accepted == ["user-1"]  # only the response was lost
    if last:
        batches.sandbox.order(**last)
    while report.retried:
        entries = batches.take()
        for entry in entries:
            assert entry["pushRetry"]["mayHaveArrived"] is True
            if not last:
                entry["pushRetry"]["firstMoment"] -= 600
        report = batches.send(*entries, first=9, **env)

    assert report.outcomes == {"unknown": 1}
    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert {outcome["outcome"] for outcome in letter["outcomes"]} == {"unknown"}
    assert batches.accepted == ["user-1"]


def arrived(**message: Any) -> dict[str, Any]:
    """An entry of the retry queue with a message that may have arrived."""
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
def test_what_may_have_arrived_and_is_refused_now_is_unknown_and_not_tried_again(
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
def test_what_the_ledger_knows_as_unknown_and_may_no_longer_be_sent_is_not_tried_again(
    batches: Batches, redis_server: RedisServer, last: str
) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_LEDGER_URL": redis_server.url}
    batches.sandbox.order(kind="cutBody", next=1)
    assert batches.send(to("user-1"), **env).retried == 1
    (entry,) = batches.take()
    if last == "refused":
        batches.sandbox.order(kind="result", code="3012")
    else:
        entry["pushRetry"]["firstMoment"] -= 600

    report = batches.send(entry, first=9, **env)

    assert (report.outcomes, report.retried, report.given_up) == ({"unknown": 1}, 0, 1)


def test_what_may_have_arrived_and_is_not_sent_for_lack_of_memory_is_unknown(
    batches: Batches, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a message that comes as the first time: what the ledger knows counts."""
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_LEDGER_URL": redis_server.url}
    batches.sandbox.order(kind="cutBody", next=2)
    batches.send(to("user-1"), to("user-2"), PUSH_RETRY_LIMIT="0", **env)
    assert {letter["reason"] for letter in batches.letters()} == {"unknown"}

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("mpaas_push.transport.Transport.exchange", exhausted)
    batches.send(to("user-1"), to("user-2"), PUSH_RETRY_LIMIT="0", PUSH_CONCURRENCY="1", **env)

    assert [letter["reason"] for letter in batches.letters()] == ["unknown"] * 4


def test_the_log_of_a_request_that_may_have_arrived_says_unknown(
    batches: Batches, caplog: pytest.LogCaptureFixture
) -> None:
    batches.sandbox.order(kind="result", code="3012")

    batches.send(arrived(**to("user-1")))

    assert "push unknown" in caplog.messages
    assert "push refused" not in caplog.messages


def test_what_may_have_arrived_and_is_not_begun_is_unknown(
    batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpaas_push.batch.TARGETS_PER_PART", 0)
    settings = batches.settings()
    payloads = [to("user-0"), arrived(**to("user-1"))]
    records = [QueueRecord(f"M{index}", payload, "{}") for index, payload in enumerate(payloads)]
    tasks = [task for record in records for task in tasks_of_record(record, settings)]
    report = hand_over_unsent(tasks, settings)

    assert report.outcomes == {"throttled": 1, "unknown": 1}


def test_only_the_targets_that_may_have_arrived_are_called_so(batches: Batches) -> None:
    env: dict[str, Any] = {"PUSH_ON_UNKNOWN": "retry", "PUSH_RETRY_LIMIT": "1"}
    batches.sandbox.order(kind="cutBody", match={"target": "user-0003"}, next=1)
    batches.sandbox.order(kind="throttling", match={"target": "user-0013"}, next=1)
    assert batches.send(to(*everybody(25)), **env).retried == 1
    envelopes = batches.take()[0]["messages"]
    batches.sandbox.order(kind="throttling", next=2)
    assert batches.send(*envelopes, first=9, **env).given_up == 2

    letters = {letter["reason"]: letter["message"]["targets"] for letter in batches.letters()}
    assert letters == {"unknown": everybody(10), "throttled": everybody(20)[10:]}


NOBODY = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"PUSH_LEDGER_URL": NOBODY, "PUSH_LEDGER_IF_DOWN": "fail"}, "LedgerDown"),
        ({"PUSH_LEDGER_URL": "{wrong password}"}, "LedgerMisconfigured"),
        ({"PUSH_LEDGER_URL": NOBODY, "PUSH_LEDGER_IF_DOWN": "send"}, "3028"),
    ],
)
def test_what_the_ledger_could_not_tell_of_is_given_up_as_unknown(
    batches: Batches, redis_server: RedisServer, env: dict[str, str], code: str
) -> None:
    more: dict[str, Any] = {
        name: value.replace("{wrong password}", redis_server.url.replace("redis://", "redis://pusher:wrong@"))
        for name, value in env.items()
    }
    with Server(business("3028")) as mpaas:
        report = batches.send(to("user-1"), MPAAS_ENDPOINT=mpaas.url, PUSH_RETRY_LIMIT="0", **more)
    assert report.given_up == 1

    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "may have arrived" in letter["detail"]
    assert [(each["outcome"], each["resultCode"]) for each in letter["outcomes"]] == [("unknown", code)]


def test_a_push_that_expired_while_the_ledger_was_down_is_given_up_as_unknown(batches: Batches) -> None:
    record = QueueRecord("M1", to("user-1", expiredSeconds=60), "{}", moment=time.time() - 3600)
    tasks = tasks_of_record(record, batches.settings(), batches.sender)
    assert batches.settle(tasks, PUSH_LEDGER_URL=NOBODY).given_up == 1

    (letter,) = batches.letters()
    assert letter["reason"] == "unknown"
    assert "validity" in letter["detail"]


def test_a_push_that_the_ledger_was_not_asked_about_is_given_up_as_unknown(
    batches: Batches, redis_server: RedisServer
) -> None:
    """No time was left for it, so an earlier delivery of its event may have been accepted."""
    settings = batches.settings(PUSH_LEDGER_URL=redis_server.url, PUSH_RETRY_LIMIT="0")
    (task,) = tasks_of_record(QueueRecord("M1", to("user-1"), "{}"), settings, batches.sender)
    hand_over_unsent([task], settings)

    (letter,) = batches.letters()
    assert (letter["reason"], letter["outcomes"][0]["resultCode"]) == ("unknown", "NotSent")


def test_what_the_ledger_vouches_for_is_given_up_with_its_own_reason(
    batches: Batches, redis_server: RedisServer
) -> None:
    with Server(business("3028")) as mpaas:
        batches.send(to("user-1"), MPAAS_ENDPOINT=mpaas.url, PUSH_LEDGER_URL=redis_server.url)

    (letter,) = batches.letters()
    assert letter["reason"] == "refused"


def test_a_ledger_that_can_never_work_is_one_error_that_says_so(
    batches: Batches, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = redis_server.url.replace("redis://", "redis://pusher:wrong@")
    assert batches.send(*map(to, everybody(3)), PUSH_LEDGER_URL=wrong).retried == 3

    (cry,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert cry.startswith("the ledger cannot work as it is configured")
