from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.functions.http_stack import ROLE, message
from tests.functions.queue_stack import APP, ROOT, QueueStack, read_letter, to
from tests.servers import Server, reply, reset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def running() -> Iterator[QueueStack]:
    with QueueStack() as stack:
        yield stack


@pytest.fixture
def stack(running: QueueStack) -> QueueStack:
    running.clear()
    return running


def test_batch_is_sent(stack: QueueStack) -> None:
    result = stack.deliver(*(to(f"user-{number}") for number in range(100)))

    assert result == {
        "outcomes": {"accepted": 100},
        "retried": 0,
        "given_up": 0,
        "unsettled": 0,
        "stranded": 0,
        "left": [],
    }
    assert stack.accepted == sorted(f"user-{number}" for number in range(100))


def test_redelivered_message_has_the_same_ids_at_any_index(stack: QueueStack) -> None:
    stack.deliver(to("user-1"), to("user-2"))
    stack.deliver(to("user-2"), first=1)

    repeated = [
        target for entry in stack.sandbox.inbox() for target in entry["targets"] if target["repeated"]
    ]
    assert [target["target"] for target in repeated] == ["user-2"]


@pytest.mark.parametrize(
    "invalid",
    ["not json", "", "[]", "null", '{"a": 1, "a": 2}', {"titel": "x"}, message(deliveryType=4), "\ud800"],
)
def test_invalid_message_becomes_a_dead_letter_and_affects_no_other(stack: QueueStack, invalid: Any) -> None:
    result = stack.deliver(to("user-1"), invalid, to("user-2"))

    assert result["outcomes"] == {"accepted": 2, "refused": 1}
    assert result["given_up"] == 1
    assert stack.accepted == ["user-1", "user-2"]
    (letter,) = stack.bodies("dead")
    assert letter["reason"] == "refused"
    assert letter["detail"]
    if letter["scope"].endswith(":mns:M1") and invalid != "\ud800":
        assert letter["body"] == (invalid if isinstance(invalid, str) else json.dumps(invalid))


def test_element_that_is_not_a_queue_message_becomes_a_dead_letter(stack: QueueStack) -> None:
    good = {"requestId": "r", "messageId": "M1", "messageBody": json.dumps(to("user-1"))}
    result = stack.host.invoke(json.dumps([{"what": "ever"}, good]).encode())

    assert json.loads(result.payload)["given_up"] == 1
    assert stack.accepted == ["user-1"]
    assert json.loads(stack.bodies("dead")[0]["body"]) == {"what": "ever"}


def test_throttled_message_is_queued_and_accepted_later(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-1"})

    result = stack.deliver(to("user-1"), to("user-2"))

    assert result["outcomes"] == {"throttled": 1, "accepted": 1}
    assert result["retried"] == 1
    (envelope,) = stack.bodies("retry")
    assert envelope["pushRetry"]["attempt"] == 2
    (queued,) = stack.mns.store.messages("retry")
    assert queued.next_visible_time > queued.enqueue_time

    assert stack.deliver(envelope, first=7)["outcomes"] == {"accepted": 1}
    assert stack.accepted == ["user-1", "user-2"]
    ids = {entry["targets"][0]["messageId"] for entry in stack.sandbox.inbox(target="user-1")}
    assert len(ids) == 1


def test_only_the_targets_of_failed_requests_are_retried(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-11"})

    stack.deliver(to(*(f"user-{number}" for number in range(15))))
    (envelope,) = stack.bodies("retry")
    stack.deliver(envelope)

    assert envelope["message"]["targets"] == [f"user-{number}" for number in range(10, 15)]
    assert stack.accepted == sorted(f"user-{number}" for number in range(15))
    attempts = [
        {target["target"]: target["messageId"] for target in entry["targets"]}
        for entry in stack.sandbox.inbox(target="user-11")
    ]
    assert len(attempts) == 2
    assert attempts[0] == attempts[1]


def test_given_message_ids_are_kept_in_a_retry(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling")
    given = {f"user-{number}": f"order-{number}" for number in range(3)}

    stack.deliver(message(targets=None, targetMsgkey=given))

    (envelope,) = stack.bodies("retry")
    assert envelope["message"]["targetMsgkey"] == given


def test_resent_dead_letter_reaches_only_the_targets_that_were_given_up(stack: QueueStack) -> None:
    everyone = [f"user-{number:02}" for number in range(15)]
    stack.sandbox.order(kind="result", code="3028", match={"target": "user-11"})

    stack.deliver(to(*everyone))
    (letter,) = stack.bodies("dead")

    assert json.loads(letter["body"]) == to(*everyone)
    assert letter["message"] == to(*everyone[10:], tenantId="", **APP)
    assert stack.deliver(letter["message"], first=7)["outcomes"] == {"accepted": 1}
    assert stack.accepted == everyone


@pytest.mark.parametrize(
    "invalid",
    [
        json.dumps({"title": "坏", "content": "订" * 9000}, ensure_ascii=False),
        "[" * 100_000,
        "\x01" * 60_000,
        json.dumps(to("user-1", content="订" * 30_000, expiredSeconds=0)),
    ],
    ids=["Chinese", "brackets", "control characters", "invalid"],
)
def test_invalid_message_of_any_length_becomes_a_dead_letter(stack: QueueStack, invalid: str) -> None:
    result = stack.deliver(to("user-1"), invalid, to("user-2"))

    assert (result["given_up"], result["left"]) == (1, [])
    assert stack.accepted == ["user-1", "user-2"]
    (letter,) = stack.bodies("dead")
    assert invalid.startswith(letter["body"])
    if letter["body"] != invalid:
        assert letter["cut"]["bytes"] == len(invalid.encode(errors="replace"))
        assert "holds only the beginning of a message" in "\n".join(stack.lines)


def test_message_too_long_for_one_queue_entry_is_retried_in_several(stack: QueueStack) -> None:
    everyone = [f"user-{number:040}" for number in range(1200)]
    stack.sandbox.order(kind="throttling", next=120)

    result = stack.deliver(to(*everyone))

    assert (result["retried"], result["left"]) == (1, [])
    envelopes = stack.bodies("retry")
    assert len(envelopes) == 2
    assert stack.deliver(*envelopes, first=7)["outcomes"] == {"accepted": 120}
    assert stack.accepted == everyone


def test_warnings_are_logged_at_the_first_attempt_only(
    stack: QueueStack,
) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "undefined"})
    stack.deliver(to("user-1"), to("undefined", "user\u200b-2"))
    lines = [json.loads(line) for line in stack.lines if '"warnings"' in line]
    stack.lines.clear()

    assert stack.deliver(*stack.bodies("retry"))["outcomes"] == {"accepted": 1}
    assert [(line["message"], line["level"]) for line in lines] == [
        ("warnings about the messages of this event: 2", "WARNING")
    ]
    warnings = lines[0]["warnings"]
    assert [(warning["index"], warning["rule"], warning["field"]) for warning in warnings] == [
        (1, "targets-meant", "targets.0"),
        (1, "targets-meant", "targets.1"),
    ]
    assert "user\u200b-2" not in str(lines)
    assert not any('"warnings"' in line for line in stack.lines)


def test_warning_has_the_index_of_its_message_in_a_batch_with_retries(
    stack: QueueStack,
) -> None:
    stack.sandbox.order(kind="throttling", next=1)
    stack.deliver(to("user-1"))
    (envelope,) = stack.bodies("retry")
    stack.lines.clear()

    stack.deliver(envelope, to("undefined"))

    (line,) = [json.loads(line) for line in stack.lines if '"warnings"' in line]
    assert [warning["index"] for warning in line["warnings"]] == [1]


def test_message_too_long_for_the_queue_is_given_up(stack: QueueStack) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-1"})

    result = stack.deliver(to("user-1", extendedParams={"a": "订" * 20_000}), to("user-2"))

    assert (result["given_up"], result["retried"], result["left"]) == (1, 0, [])
    assert stack.bodies("dead")[0]["reason"] == "throttled"
    assert stack.bodies("dead")[0]["targets"] == ["user-1"]


def test_dead_letter_is_sent_again_after_a_lost_response() -> None:
    accepted = reply(
        b'<?xml version="1.0"?><Messages xmlns="http://mns.aliyuncs.com/doc/v1/"><Message>'
        b"<MessageId>1</MessageId><MessageBodyMD5>2</MessageBodyMD5></Message></Messages>",
        201,
    )
    with Server(reset, accepted) as mns, QueueStack(PUSH_MNS_ENDPOINT=mns.url) as stack:
        result = stack.deliver(to("user-1"), "not json")

        assert (result["given_up"], result["left"]) == (1, [])
        assert len(mns.requests) == 2


def handed_over(*targets: str) -> dict[str, Any]:
    """A message as `http_push` hands it over, with ids that it derived."""
    ids = {target: f"id-of-{target}" for target in targets}
    fields = {name: value for name, value in message().items() if name != "targets"}
    return {
        "pushRetry": {"attempt": 1, "scope": "http:key", "derived": True},
        "message": {**fields, "targetMsgkey": ids},
    }


def test_dead_letters_of_a_long_message_name_every_target(stack: QueueStack) -> None:
    everyone = [f"user-{number:040}" for number in range(1000)]
    stack.sandbox.order(kind="result", code="3028", next=100)

    result = stack.deliver(handed_over(*everyone))

    assert (result["given_up"], result["left"]) == (1, [])
    letters = stack.bodies("dead")
    assert len(letters) > 1
    assert stack.deliver(*(letter["message"] for letter in letters), first=7)["outcomes"] == {"accepted": 100}
    assert stack.accepted == everyone


def test_derived_ids_are_kept_in_a_retry_and_dropped_in_a_dead_letter(redis_server: RedisServer) -> None:
    with QueueStack(PUSH_LEDGER_URL=redis_server.url) as stack:
        stack.sandbox.order(kind="throttling", match={"target": "user-1"}, next=1)
        stack.deliver(handed_over("user-1"))
        (envelope,) = stack.bodies("retry")
        del envelope["pushRetry"]["firstMoment"]
        assert envelope["pushRetry"] == {"attempt": 2, "scope": "http:key", "derived": True, "noTenant": True}
        assert envelope["message"] == handed_over("user-1")["message"] | APP

        stack.sandbox.order(kind="resetAfterRead", match={"target": "user-1"}, next=1)
        stack.deliver(envelope)
        (letter,) = stack.bodies("dead")
        assert letter["message"] == to("user-1", tenantId="", **APP)
        assert stack.deliver(letter["message"], first=7)["outcomes"] == {"accepted": 1}


@pytest.mark.parametrize("attempt", [-(10**20), 0, 10**20, True, 1.5, "2", None])
def test_forged_envelope_does_not_affect_the_batch(stack: QueueStack, attempt: Any) -> None:
    stack.sandbox.order(kind="throttling", match={"target": "user-1"})
    forged = {"pushRetry": {"attempt": attempt, "scope": "s"}, "message": to("user-1")}

    result = stack.deliver(forged, to("user-2"))

    assert result["outcomes"] == {"throttled": 1, "accepted": 1}
    assert result["retried"] + result["given_up"] == 1
    if result["retried"]:
        assert stack.bodies("retry")[0]["pushRetry"]["attempt"] == 2


def test_delay_grows_until_the_message_is_given_up() -> None:
    with QueueStack(PUSH_RETRY_LIMIT="3") as stack:
        stack.sandbox.order(kind="throttling", next=10)
        delays = []
        body: Any = to("user-1")
        while True:
            result = stack.deliver(body)
            if not result["retried"]:
                break
            (queued,) = stack.mns.store.messages("retry")
            delays.append(queued.next_visible_time - queued.enqueue_time)
            body = read_letter(queued.body)
            stack.mns.store.delete_queue("retry")
            stack.mns.store.create_queue("retry")

        assert result["given_up"] == 1
        assert len(delays) == 3
        assert delays == sorted(delays)
        assert stack.bodies("dead")[0]["reason"] == "throttled"
        assert stack.bodies("dead")[0]["attempt"] == 4


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "result", "code": "3028"}, "refused"),
        ({"kind": "resetAfterRead"}, "unknown"),
        ({"kind": "internalError"}, "unknown"),
    ],
)
def test_permanently_failed_message_becomes_a_dead_letter_with_its_outcome(
    stack: QueueStack, fault: dict[str, Any], reason: str
) -> None:
    stack.sandbox.order(**fault)

    result = stack.deliver(to("user-1"))

    assert result["given_up"] == 1
    (letter,) = stack.bodies("dead")
    assert letter["reason"] == reason
    assert letter["outcomes"][0]["targets"].keys() == {"user-1"}
    assert json.loads(letter["body"]) == to("user-1")


def test_unknown_outcome_is_retried_if_the_setting_says_so() -> None:
    with QueueStack(PUSH_ON_UNKNOWN="retry") as stack:
        stack.sandbox.order(kind="resetAfterRead")

        assert stack.deliver(to("user-1"))["retried"] == 1


def test_batch_is_redelivered_without_a_retry_queue() -> None:
    with QueueStack("queue_push", folder=None, PUSH_RETRY_QUEUE="") as stack:
        stack.sandbox.order(kind="result", code="8011", match={"target": "user-1"})

        result = stack.deliver(to("user-0"), to("user-1"))

    assert result["errorType"] == "BatchIncomplete"
    assert "1 messages were accepted neither by mPaaS nor by a queue (indexes 1)" in result["errorMessage"]
    assert "1 accepted" in result["errorMessage"]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", ""])
def test_batch_is_redelivered_if_the_queue_cannot_be_reached(endpoint: str) -> None:
    with QueueStack(timeout=3, PUSH_MNS_ENDPOINT=endpoint, https_proxy="") as stack:
        stack.invoke([])  # starting an instance counts against the time of the first call
        stack.sandbox.order(kind="throttling")

        result = stack.deliver(to("user-1"))

    assert result["errorType"] == "BatchIncomplete"
    text = "\n".join(stack.lines)
    assert "did not accept 1 messages" in text
    for secret in (ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token):
        assert secret not in text


def test_shortened_dead_letter_keeps_body_and_reason(stack: QueueStack) -> None:
    long = message(
        content="x" * 12_000, targets=[f"user-{number:04}" for number in range(1200)], deliveryType=4
    )

    assert stack.deliver(long)["given_up"] == 1
    (letter,) = stack.bodies("dead")
    assert json.loads(letter["body"]) == long
    (outcome,) = letter["outcomes"]
    assert outcome == {"outcome": "refused", "requestId": None, "resultCode": "InvalidMessage", "attempts": 0}


def test_sending_stops_in_time_and_the_remaining_messages_are_handed_over() -> None:
    with QueueStack(timeout=5, PUSH_CONCURRENCY="1", PUSH_READ_TIMEOUT_SECONDS="60") as stack:
        stack.invoke([])  # starting an instance counts against the time of the first call
        stack.sandbox.order(kind="delay", milliseconds=700, rate=1.0)

        result = stack.deliver(*(to(f"user-{number}") for number in range(10)))

        assert "errorType" not in result
        assert result["outcomes"]["accepted"] >= 2
        assert sum(result["outcomes"].values()) == 10
        assert result["retried"] + result["given_up"] == 10 - result["outcomes"]["accepted"]


@pytest.mark.parametrize("event", [b"", b" "])
def test_empty_event_raises(stack: QueueStack, event: bytes) -> None:
    assert json.loads(stack.host.invoke(event).payload)["errorType"] == "UnreadablePayload"


@pytest.mark.parametrize("event", [b"{}", b"1", b"hello topic", b"\xff", b'{"requestContext": {}}'])
def test_topic_text_that_is_not_a_push_message_becomes_a_dead_letter(stack: QueueStack, event: bytes) -> None:
    assert json.loads(stack.host.invoke(event).payload)["given_up"] == 1
    assert stack.bodies("dead")[0]["body"] == event.decode(errors="replace")


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("form", ["stream", "stream with attributes", "json"])
def test_topic_message_is_sent_in_every_format(stack: QueueStack, form: str, encoded: bool) -> None:
    body = json.dumps(to("user-1"))
    if encoded:
        body = base64.b64encode(body.encode()).decode()
    event = {
        "stream": body,
        "stream with attributes": json.dumps({"body": body, "attrs": {"Extend": "{}"}}),
        "json": json.dumps({"TopicOwner": "1", "Message": body, "MessageId": "2F5B", "TopicName": "pushes"}),
    }[form]

    assert json.loads(stack.host.invoke(event.encode()).payload)["outcomes"] == {"accepted": 1}


def test_batch_in_the_record_of_a_failed_invocation_is_sent(stack: QueueStack) -> None:
    batch = json.dumps([{"requestId": "r", "messageId": "M1", "messageBody": json.dumps(to("user-1"))}])
    record = json.loads((ROOT / "tests" / "payloads" / "destination-failure.json").read_text())
    record |= {"requestPayload": batch, "timestamp": int(time.time() * 1000)}

    assert json.loads(stack.host.invoke(json.dumps(record).encode()).payload)["outcomes"] == {"accepted": 1}


def test_every_message_in_the_documented_queue_payloads_has_an_outcome(stack: QueueStack) -> None:
    for path in sorted((ROOT / "tests" / "payloads").glob("eventstream-*.json")):
        result = json.loads(stack.host.invoke(path.read_bytes()).payload)

        assert result["given_up"] == sum(result["outcomes"].values()) > 0, path.name


# --- With the ledger


def test_redelivered_batch_sends_nothing_again(redis_server: RedisServer) -> None:
    with QueueStack(PUSH_LEDGER_URL=redis_server.url) as stack:
        batch = [to(f"user-{number}") for number in range(20)]
        first = stack.deliver(*batch, first=1000)
        second = stack.deliver(*batch, first=1000)

        assert first["outcomes"] == second["outcomes"] == {"accepted": 20}
        assert len(stack.accepted) == 20


def test_two_instances_with_the_same_batch_send_each_request_once(redis_server: RedisServer) -> None:
    with QueueStack(PUSH_LEDGER_URL=redis_server.url) as stack, ThreadPoolExecutor(2) as pool:
        batch = [to(f"user-{number}") for number in range(40)]
        results = list(pool.map(lambda _: stack.deliver(*batch, first=2000), range(2)))

        assert len(stack.host.processes) == 2
        assert len(stack.accepted) == 40
        assert sum(result["outcomes"].get("accepted", 0) for result in results) >= 40
        for envelope in stack.bodies("retry"):  # requests that the other instance had in flight
            assert stack.deliver(envelope)["outcomes"].keys() == {"accepted"}
        assert len(stack.accepted) == 40


def test_redelivered_message_with_an_unknown_outcome_becomes_a_dead_letter(redis_server: RedisServer) -> None:
    with QueueStack(PUSH_LEDGER_URL=redis_server.url) as stack:
        stack.sandbox.order(kind="resetAfterRead")

        results = [stack.deliver(to("user-1"), first=3000) for _ in range(2)]

        assert [result["outcomes"] for result in results] == [{"unknown": 1}, {"unknown": 1}]
        assert stack.accepted == ["user-1"]
        assert len(stack.bodies("dead")) == 2
