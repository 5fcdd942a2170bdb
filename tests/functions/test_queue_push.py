from __future__ import annotations

import base64
import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.host import Account, Function, FunctionHost
from local.mns import MnsServer
from local.mpaas import AccessKey, Sandbox
from tests.functions.http_stack import ROLE, message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]


def opened(body: str) -> Any:
    """What the SDK put into a queue: Base64 is its default."""
    return json.loads(base64.b64decode(body))


class QueueStack:
    """The queue function before the sandbox, with a retry and a dead-letter queue."""

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def __enter__(self) -> Self:
        keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
        with ExitStack() as started:
            self.sandbox = started.enter_context(Sandbox(access_keys=keys))
            self.mns = started.enter_context(MnsServer(access_keys=keys))
            for name in ("retry", "dead"):
                self.mns.store.create_queue(name)
            environment = {
                "MPAAS_ENDPOINT": self.sandbox.url,
                "MPAAS_APP_ID": "ONEX1",
                "MPAAS_WORKSPACE_ID": "default",
                "PUSH_MAX_ATTEMPTS": "1",
                "PUSH_MNS_ENDPOINT": self.mns.endpoint,
                "PUSH_RETRY_QUEUE": "retry",
                "PUSH_DEAD_LETTER_QUEUE": "dead",
            } | self.environment
            function = Function(
                name="queue_push",
                folder=ROOT / "functions" / "queue_push",
                layers=(ROOT / "shared",),
                environment={name: value for name, value in environment.items() if value},
                timeout=20,
            )
            self.lines: list[str] = []
            self.host = started.enter_context(
                FunctionHost(
                    function,
                    account=Account(credentials=ROLE),
                    on_log=lambda _, __, line: self.lines.append(line),
                )
            )
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def deliver(self, *bodies: Any, first: int = 0) -> dict[str, Any]:
        """Deliver a batch as an event stream of an MNS queue does."""
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        event = [
            {"requestId": "r", "messageId": f"M{first + place}", "messageBody": text}
            for place, text in enumerate(texts)
        ]
        answer: dict[str, Any] = json.loads(self.host.invoke(json.dumps(event).encode()).payload)
        return answer

    def parcels(self, queue: str) -> list[Any]:
        return [opened(parcel.body) for parcel in self.mns.store.messages(queue)]

    def clear(self) -> None:
        self.sandbox.clear()
        for name in ("retry", "dead"):
            self.mns.store.delete_queue(name)
            self.mns.store.create_queue(name)

    @property
    def accepted(self) -> list[str]:
        """Targets of accepted requests, with repetitions."""
        entries = self.sandbox.inbox(outcome="accepted")
        return sorted(target["target"] for entry in entries for target in entry["targets"])


@pytest.fixture(scope="module")
def running() -> Iterator[QueueStack]:
    with QueueStack() as stack:
        yield stack


@pytest.fixture
def stack(running: QueueStack) -> QueueStack:
    running.clear()
    return running


def to(*targets: str, **changes: Any) -> dict[str, Any]:
    return message(targets=list(targets), **changes)


def test_a_batch_is_sent(stack: QueueStack) -> None:
    answer = stack.deliver(*(to(f"user-{number}") for number in range(100)))

    assert answer == {"outcomes": {"accepted": 100}, "retried": 0, "given_up": 0, "unsettled": 0}
    assert stack.accepted == sorted(f"user-{number}" for number in range(100))


def test_a_redelivered_message_has_the_same_ids_whatever_its_place(stack: QueueStack) -> None:
    stack.deliver(to("user-1"), to("user-2"))
    stack.deliver(to("user-2"), first=1)

    repeated = [
        target for entry in stack.sandbox.inbox() for target in entry["targets"] if target["repeated"]
    ]
    assert [target["target"] for target in repeated] == ["user-2"]


@pytest.mark.parametrize(
    "bad",
    ["not json", "", "[]", "null", '{"a": 1, "a": 2}', {"titel": "x"}, message(deliveryType=4), "\ud800"],
)
def test_a_bad_message_goes_to_the_dead_letters_and_harms_no_neighbour(stack: QueueStack, bad: Any) -> None:
    answer = stack.deliver(to("user-1"), bad, to("user-2"))

    assert answer["outcomes"] == {"accepted": 2, "refused": 1}
    assert answer["given_up"] == 1
    assert stack.accepted == ["user-1", "user-2"]
    (letter,) = stack.parcels("dead")
    assert letter["reason"] == "refused"
    assert letter["detail"]
    if letter["scope"] == "mns:M1" and bad != "\ud800":
        assert letter["body"] == (bad if isinstance(bad, str) else json.dumps(bad))


def test_an_element_that_is_no_message_goes_to_the_dead_letters(stack: QueueStack) -> None:
    good = {"requestId": "r", "messageId": "M1", "messageBody": json.dumps(to("user-1"))}
    result = stack.host.invoke(json.dumps([{"what": "ever"}, good]).encode())

    assert json.loads(result.payload)["given_up"] == 1
    assert stack.accepted == ["user-1"]
    assert json.loads(stack.parcels("dead")[0]["body"]) == {"what": "ever"}


def test_what_was_refused_for_load_goes_to_the_retry_queue_and_is_accepted_later(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-1"})

    answer = stack.deliver(to("user-1"), to("user-2"))

    assert answer["outcomes"] == {"throttled": 1, "accepted": 1}
    assert answer["retried"] == 1
    (parcel,) = stack.parcels("retry")
    assert parcel["pushRetry"]["attempt"] == 2
    (again,) = stack.mns.store.messages("retry")
    assert again.next_visible_time > again.enqueue_time

    assert stack.deliver(parcel, first=7)["outcomes"] == {"accepted": 1}
    assert stack.accepted == ["user-1", "user-2"]
    ids = {entry["targets"][0]["messageId"] for entry in stack.sandbox.inbox(target="user-1")}
    assert len(ids) == 1


def test_only_the_targets_that_got_nothing_are_tried_again(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-11"})

    stack.deliver(to(*(f"user-{number}" for number in range(15))))
    (parcel,) = stack.parcels("retry")
    stack.deliver(parcel)

    assert list(parcel["message"]["targetMsgkey"]) == [f"user-{number}" for number in range(10, 15)]
    assert stack.accepted == sorted(f"user-{number}" for number in range(15))


def test_the_delay_grows_and_in_the_end_the_message_is_given_up() -> None:
    with QueueStack(PUSH_RETRY_LIMIT="3") as stack:
        stack.sandbox.order(kind="throttling", next=10)
        delays = []
        body: Any = to("user-1")
        while True:
            answer = stack.deliver(body)
            if not answer["retried"]:
                break
            (sent,) = stack.mns.store.messages("retry")
            delays.append(sent.next_visible_time - sent.enqueue_time)
            body = opened(sent.body)
            stack.mns.store.delete_queue("retry")
            stack.mns.store.create_queue("retry")

        assert answer["given_up"] == 1
        assert len(delays) == 3
        assert delays == sorted(delays)
        assert stack.parcels("dead")[0]["reason"] == "throttled"
        assert stack.parcels("dead")[0]["attempt"] == 4


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "result", "code": "3028"}, "refused"),
        ({"kind": "result", "code": "3007"}, "misconfigured"),
        ({"kind": "resetAfterRead"}, "unknown"),
        ({"kind": "internalError"}, "unknown"),
    ],
)
def test_hopeless_messages_become_dead_letters_with_their_outcome(
    stack: QueueStack, fault: dict[str, Any], reason: str
) -> None:
    stack.sandbox.order(**fault)

    answer = stack.deliver(to("user-1"))

    assert answer["given_up"] == 1
    (letter,) = stack.parcels("dead")
    assert letter["reason"] == reason
    assert letter["outcomes"][0]["targets"].keys() == {"user-1"}
    assert json.loads(letter["body"]) == to("user-1")


def test_an_unknown_outcome_is_tried_again_where_the_setting_says_so() -> None:
    with QueueStack(PUSH_ON_UNKNOWN="retry") as stack:
        stack.sandbox.order(kind="resetAfterRead")

        assert stack.deliver(to("user-1"))["retried"] == 1


@pytest.mark.parametrize("missing", ["PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"])
def test_without_a_queue_the_batch_comes_again(missing: str) -> None:
    with QueueStack(**{missing: ""}) as stack:
        fault = "8011" if missing == "PUSH_RETRY_QUEUE" else "3028"
        stack.sandbox.order(kind="result", code=fault)

        answer = stack.deliver(to("user-1"))

    assert answer["errorType"] == "BatchIncomplete"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", ""])
def test_with_a_queue_that_cannot_be_reached_the_batch_comes_again(endpoint: str) -> None:
    with QueueStack(PUSH_MNS_ENDPOINT=endpoint, https_proxy="") as stack:
        stack.sandbox.order(kind="throttling")

        answer = stack.deliver(to("user-1"))

    assert answer["errorType"] == "BatchIncomplete"
    text = "\n".join(stack.lines)
    assert "did not take 1 messages" in text
    for secret in (ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token):
        assert secret not in text


def test_a_letter_that_is_too_long_keeps_body_and_reason(stack: QueueStack) -> None:
    long = message(
        content="x" * 12_000, targets=[f"user-{number:04}" for number in range(1200)], deliveryType=4
    )

    assert stack.deliver(long)["given_up"] == 1
    (letter,) = stack.parcels("dead")
    assert json.loads(letter["body"]) == long
    assert "outcomes" not in letter


def test_work_stops_in_time_and_what_was_not_reached_is_handed_over() -> None:
    with QueueStack(PUSH_CONCURRENCY="1", PUSH_READ_TIMEOUT_SECONDS="60") as stack:
        stack.sandbox.order(kind="delay", milliseconds=4_000, rate=1.0)

        answer = stack.deliver(*(to(f"user-{number}") for number in range(10)))

        assert "errorType" not in answer
        assert answer["outcomes"]["accepted"] >= 2
        assert sum(answer["outcomes"].values()) == 10
        assert answer["retried"] + answer["given_up"] == 10 - answer["outcomes"]["accepted"]


@pytest.mark.parametrize("event", [b"", b"{}", b"1", b"\xff", b'{"requestContext": {}}'])
def test_an_event_that_is_no_batch_fails_loudly(stack: QueueStack, event: bytes) -> None:
    assert json.loads(stack.host.invoke(event).payload)["errorType"] == "UnreadablePayload"


def test_every_documented_queue_payload_ends_in_one_way_for_each_message(stack: QueueStack) -> None:
    for path in sorted((ROOT / "tests" / "payloads").glob("eventstream-*.json")):
        answer = json.loads(stack.host.invoke(path.read_bytes()).payload)

        assert answer["given_up"] == sum(answer["outcomes"].values()) > 0, path.name
