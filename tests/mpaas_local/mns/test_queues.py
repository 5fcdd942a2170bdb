"""Operations on queues and messages, with the official SDK as the client."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_local.mns import LOCAL_ACCESS_KEYS, AccessKey, MnsServer
from tests.mpaas_local.mns.sdk import Message, QueueMeta, ServerError, connected, property_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clocks import ManualClock

pytestmark = pytest.mark.filterwarnings(
    # The SDK calls its own deprecated setters when it reads a queue's attributes.
    r"ignore:Call to deprecated .*_messages\.:DeprecationWarning"
)


@pytest.fixture(scope="module")
def plain_queue() -> Iterator[Any]:
    with MnsServer() as server, connected(server.endpoint) as account:
        queue = account.get_queue("texts")
        queue.create(QueueMeta())
        yield queue


def refusal(call: Any, *arguments: Any) -> Any:
    with pytest.raises(ServerError) as raised:
        call(*arguments)
    return raised.value


# Queues


def test_created_queue_has_the_documented_defaults(account: Any) -> None:
    queue = account.get_queue("orders")
    assert queue.create(QueueMeta()).endswith("/queues/orders")
    meta = queue.get_attributes()
    assert (meta.visibility_timeout, meta.maximum_message_size) == (30, 65536)
    assert (meta.message_retention_period, meta.delay_seconds, meta.polling_wait_seconds) == (345600, 0, 0)
    assert (meta.queue_name, meta.logging_enabled) == ("orders", False)
    assert meta.create_time == meta.last_modify_time == 1_700_000_000


def test_queue_is_created_with_the_requested_attributes(account: Any) -> None:
    queue = account.get_queue("orders")
    queue.create(
        QueueMeta(
            vis_timeout=60,
            max_msg_size=2048,
            msg_ttl=120,
            delay_sec=5,
            polling_wait_sec=3,
            logging_enabled=True,
        )
    )
    meta = queue.get_attributes()
    assert (meta.visibility_timeout, meta.maximum_message_size, meta.message_retention_period) == (
        60,
        2048,
        120,
    )
    assert (meta.delay_seconds, meta.polling_wait_seconds, meta.logging_enabled) == (5, 3, True)


def test_queue_can_be_created_again_only_with_the_same_attributes(account: Any, queue: Any) -> None:
    queue.create(QueueMeta())
    error = refusal(account.get_queue("orders").create, QueueMeta(vis_timeout=7))
    assert error.type == "QueueAlreadyExist"


def test_attributes_can_be_changed_individually(queue: Any, clock: ManualClock) -> None:
    clock.advance(10)
    meta = QueueMeta()
    meta.visibility_timeout = 90
    queue.set_attributes(meta)
    changed = queue.get_attributes()
    assert (changed.visibility_timeout, changed.maximum_message_size) == (90, 65536)
    assert changed.last_modify_time == changed.create_time + 10


@pytest.mark.parametrize(
    ("wrong", "element"),
    [
        ({"vis_timeout": 43201}, "VisibilityTimeout"),
        ({"max_msg_size": 65537}, "MaximumMessageSize"),
        ({"msg_ttl": 59}, "MessageRetentionPeriod"),
        ({"delay_sec": 604801}, "DelaySeconds"),
        ({"polling_wait_sec": 31}, "PollingWaitSeconds"),
    ],
)
def test_attribute_out_of_range_is_refused_by_name(account: Any, wrong: dict[str, int], element: str) -> None:
    error = refusal(account.get_queue("orders").create, QueueMeta(**wrong))
    assert error.type == "InvalidArgument"
    assert element in error.message


def test_queues_are_listed_by_prefix_and_page(account: Any) -> None:
    for name in ("a-1", "a-2", "a-3", "b-1"):
        account.get_queue(name).create(QueueMeta())
    urls, marker = account.list_queue("a-", 2)
    assert [url.rpartition("/")[2] for url in urls] == ["a-1", "a-2"]
    urls, marker = account.list_queue("a-", 2, marker)
    assert [url.rpartition("/")[2] for url in urls] == ["a-3"]
    assert marker == ""
    assert account.list_queue("none") == ([], "")


def test_queue_is_deleted_with_its_messages(queue: Any) -> None:
    queue.send_message(Message("lost"))
    queue.delete()
    queue.delete()
    assert refusal(queue.get_attributes).type == "QueueNotExist"
    assert refusal(queue.send_message, Message("late")).type == "QueueNotExist"
    assert refusal(queue.receive_message).type == "QueueNotExist"
    assert refusal(queue.set_attributes, QueueMeta(vis_timeout=7)).type == "QueueNotExist"
    queue.create(QueueMeta())
    assert refusal(queue.receive_message).type == "MessageNotExist"


@pytest.mark.parametrize(
    ("name", "code"),
    [("-a", "InvalidQueueName"), ("a_b", "InvalidQueueName"), ("a" * 121, "QueueNameLengthError")],
)
def test_wrong_queue_name_is_refused(account: Any, name: str, code: str) -> None:
    assert refusal(account.get_queue(name).create, QueueMeta()).type == code


# Messages


def test_message_is_received_with_its_metadata(queue: Any, clock: ManualClock) -> None:
    sent = queue.send_message(Message("hello 你好", priority=3, message_group_id="g"))
    clock.advance(2)
    message = queue.receive_message_with_str_body()
    assert message.message_body == "hello 你好"
    assert message.message_id == sent.message_id
    body = base64.b64encode("hello 你好".encode())
    assert message.message_body_md5 == sent.message_body_md5
    assert message.message_body_md5 == hashlib.md5(body).hexdigest().upper()
    assert (message.enqueue_time, message.first_dequeue_time) == (1_700_000_000_000, 1_700_000_002_000)
    assert message.next_visible_time == 1_700_000_032_000
    assert (message.dequeue_count, message.priority) == (1, 3)
    assert message.message_group_id == "g"


def test_properties_are_returned_unchanged(queue: Any) -> None:
    message = Message("x")
    values = property_module.MessagePropertyValue
    message.add_user_property("name", values.create_string("你好 <&>"))
    message.add_user_property("count", values.create_number(7))
    message.add_user_property("raw", values.create_binary(b"\x00\xff"))
    trace = property_module.MessageSystemPropertyValue.create_string("00-1-2-01")
    message.add_system_property("traceparent", trace)
    queue.send_message(message)
    received = queue.receive_message()
    properties = {name: value.get_raw_value() for name, value in received.get_user_properties().items()}
    assert properties == {"name": "你好 <&>", "count": "7", "raw": b"\x00\xff"}
    assert received.get_system_properties()["traceparent"].get_raw_value() == "00-1-2-01"


def test_messages_are_received_by_priority_number_then_age(queue: Any) -> None:
    for body, priority in (("c", 8), ("a", 1), ("d", 16), ("b", 1)):
        queue.send_message(Message(body, priority=priority))
    messages = queue.batch_receive_message_with_str_body(16)
    assert [message.message_body for message in messages] == ["a", "b", "c", "d"]


def test_received_message_is_hidden_until_its_visibility_timeout(queue: Any, clock: ManualClock) -> None:
    queue.send_message(Message("once"))
    first = queue.receive_message()
    assert refusal(queue.receive_message).type == "MessageNotExist"
    clock.advance(29.5)
    assert refusal(queue.receive_message).type == "MessageNotExist"
    clock.advance(0.5)
    second = queue.receive_message()
    assert (second.message_id, second.dequeue_count) == (first.message_id, 2)
    assert second.first_dequeue_time == first.first_dequeue_time
    assert second.receipt_handle != first.receipt_handle


def test_deleted_message_is_not_redelivered(queue: Any, clock: ManualClock) -> None:
    queue.send_message(Message("once"))
    queue.delete_message(queue.receive_message().receipt_handle)
    clock.advance(60)
    assert refusal(queue.receive_message).type == "MessageNotExist"


def test_handle_expires_at_the_visibility_timeout(queue: Any, clock: ManualClock) -> None:
    queue.send_message(Message("x"))
    old = queue.receive_message().receipt_handle
    clock.advance(30)
    assert refusal(queue.delete_message, old).type == "MessageNotExist"
    assert refusal(queue.change_message_visibility, old, 5).type == "MessageNotExist"
    new = queue.receive_message().receipt_handle
    assert refusal(queue.delete_message, old).type == "MessageNotExist"
    queue.delete_message(new)
    assert refusal(queue.delete_message, new).type == "MessageNotExist"


@pytest.mark.parametrize("handle", ["nonsense", "1-", "1-AAAA", "2-MS0xMjM0YWJjZA==", "1-MS0xMjM0YWJjZA==x"])
def test_malformed_handle_is_a_receipt_handle_error(queue: Any, handle: str) -> None:
    assert refusal(queue.delete_message, handle).type == "ReceiptHandleError"
    assert refusal(queue.change_message_visibility, handle, 5).type == "ReceiptHandleError"


def test_handle_of_another_queue_is_refused(account: Any, queue: Any) -> None:
    other = account.get_queue("other")
    other.create(QueueMeta())
    queue.send_message(Message("x"))
    handle = queue.receive_message().receipt_handle
    assert refusal(other.delete_message, handle).type == "MessageNotExist"
    queue.delete_message(handle)


def test_changing_visibility_restarts_the_timeout_and_changes_the_handle(
    queue: Any, clock: ManualClock
) -> None:
    queue.send_message(Message("x"))
    old = queue.receive_message().receipt_handle
    clock.advance(20)
    changed = queue.change_message_visibility(old, 100)
    assert int(changed.next_visible_time) == 1_700_000_120_000
    assert refusal(queue.delete_message, old).type == "MessageNotExist"
    clock.advance(99)
    assert refusal(queue.receive_message).type == "MessageNotExist"
    queue.delete_message(changed.receipt_handle)


def test_visibility_of_zero_seconds_is_refused(queue: Any) -> None:
    queue.send_message(Message("x"))
    handle = queue.receive_message().receipt_handle
    assert refusal(queue.change_message_visibility, handle, 0).type == "InvalidArgument"


def test_delayed_message_is_received_after_its_delay(queue: Any, clock: ManualClock) -> None:
    queue.send_message(Message("later", delay_seconds=10))
    assert refusal(queue.receive_message).type == "MessageNotExist"
    assert queue.get_attributes().delay_messages == 1
    clock.advance(10)
    assert queue.receive_message_with_str_body().message_body == "later"


def test_delay_of_the_queue_applies_to_messages_without_one(account: Any, clock: ManualClock) -> None:
    queue = account.get_queue("slow")
    queue.create(QueueMeta(delay_sec=5))
    queue.send_message(Message("queue"))
    queue.send_message(Message("own", delay_seconds=0))
    assert queue.receive_message_with_str_body().message_body == "own"
    assert refusal(queue.receive_message).type == "MessageNotExist"
    clock.advance(5)
    assert queue.receive_message_with_str_body().message_body == "queue"


def test_message_older_than_the_retention_is_dropped(account: Any, clock: ManualClock) -> None:
    queue = account.get_queue("short")
    queue.create(QueueMeta(msg_ttl=60, vis_timeout=3600))
    queue.send_message(Message("a"))
    queue.send_message(Message("b"))
    handle = queue.receive_message().receipt_handle
    clock.advance(60)
    assert queue.get_attributes().active_messages == 0
    assert queue.get_attributes().inactive_messages == 0
    assert refusal(queue.change_message_visibility, handle, 5).type == "MessageNotExist"


def test_peek_changes_nothing(queue: Any) -> None:
    assert refusal(queue.peek_message).type == "MessageNotExist"
    queue.send_message(Message("a"))
    queue.send_message(Message("b"))
    peeked = queue.peek_message_with_str_body()
    assert (peeked.message_body, peeked.dequeue_count, peeked.first_dequeue_time) == ("a", 0, 0)
    assert [message.message_body for message in queue.batch_peek_message_with_str_body(16)] == ["a", "b"]
    assert queue.receive_message_with_str_body().dequeue_count == 1
    assert [message.message_body for message in queue.batch_peek_message_with_str_body(16)] == ["b"]


def test_messages_are_counted_by_state(queue: Any, clock: ManualClock) -> None:
    queue.batch_send_message([Message("a"), Message("b"), Message("c"), Message("d", delay_seconds=9)])
    queue.receive_message()
    meta = queue.get_attributes()
    assert (meta.active_messages, meta.inactive_messages, meta.delay_messages) == (2, 1, 1)
    clock.advance(30)
    meta = queue.get_attributes()
    assert (meta.active_messages, meta.inactive_messages, meta.delay_messages) == (4, 0, 0)


def test_batch_is_sent_received_and_deleted(queue: Any) -> None:
    sent = queue.batch_send_message([Message(f"message {number}") for number in range(16)])
    assert len({message.message_id for message in sent}) == 16
    messages = queue.batch_receive_message_with_str_body(16)
    assert [message.message_id for message in messages] == [message.message_id for message in sent]
    queue.batch_delete_message([message.receipt_handle for message in messages])
    assert refusal(queue.batch_receive_message, 16).type == "MessageNotExist"


def test_batch_delete_reports_messages_that_were_not_deleted(queue: Any, clock: ManualClock) -> None:
    queue.batch_send_message([Message("a"), Message("b")])
    expired = queue.receive_message().receipt_handle
    clock.advance(10)
    current = queue.receive_message().receipt_handle
    clock.advance(20)
    error = refusal(queue.batch_delete_message, [current, expired, "nonsense"])
    assert error.type == "MessageNotExist"
    assert [(failure["ReceiptHandle"], failure["ErrorCode"]) for failure in error.sub_errors] == [
        (expired, "MessageNotExist"),
        ("nonsense", "ReceiptHandleError"),
    ]
    assert queue.get_attributes().active_messages == 1
    assert queue.get_attributes().inactive_messages == 0


def test_batch_of_more_than_16_messages_is_refused(queue: Any) -> None:
    assert refusal(queue.batch_send_message, [Message("x")] * 17).type == "InvalidArgument"
    assert refusal(queue.batch_receive_message, 17).type == "InvalidArgument"
    assert refusal(queue.batch_receive_message, 0).type == "InvalidArgument"
    assert refusal(queue.batch_delete_message, ["1-x"] * 17).type == "InvalidArgument"
    assert queue.get_attributes().active_messages == 0


def test_batch_of_more_than_64_kb_is_refused(queue: Any) -> None:
    queue.set_encoding(False)
    assert refusal(queue.batch_send_message, [Message("x" * 32769)] * 2).type == "InvalidArgument"
    assert queue.get_attributes().active_messages == 0
    queue.batch_send_message([Message("x" * 32768)] * 2)


def test_body_may_have_the_maximum_size_and_no_more(account: Any, queue: Any) -> None:
    queue.set_encoding(False)
    queue.send_message(Message("é" * 32768))
    assert refusal(queue.send_message, Message("é" * 32768 + "x")).type == "InvalidArgument"
    small = account.get_queue("small")
    small.create(QueueMeta(max_msg_size=1024))
    small.set_encoding(False)
    small.send_message(Message("x" * 1024))
    error = refusal(small.batch_send_message, [Message("ok"), Message("x" * 1025)])
    assert error.type == "InvalidArgument"
    assert small.get_attributes().active_messages == 1


@pytest.mark.parametrize("wrong", [{"delay_seconds": 604801}, {"priority": 0}, {"priority": 17}])
def test_wrong_delay_or_priority_is_refused(queue: Any, wrong: dict[str, int]) -> None:
    assert refusal(queue.send_message, Message("x", **wrong)).type == "InvalidArgument"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_any_text_is_returned_unchanged_with_base64(plain_queue: Any, body: str) -> None:
    plain_queue.set_encoding(True)
    sent = plain_queue.send_message(Message(body))
    message = plain_queue.receive_message_with_str_body()
    plain_queue.delete_message(message.receipt_handle)
    assert (message.message_id, message.message_body) == (sent.message_id, body)


# The SDK does not escape a carriage return, and every XML parser reads it as a line feed.
@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
        | st.sampled_from("\t\n"),
        min_size=1,
    )
)
@settings(max_examples=60, deadline=None)
def test_text_of_xml_characters_is_returned_unchanged_without_base64(plain_queue: Any, body: str) -> None:
    plain_queue.set_encoding(False)
    plain_queue.batch_send_message([Message(body), Message(body)])
    messages = plain_queue.batch_receive_message_with_str_body(2)
    plain_queue.batch_delete_message([message.receipt_handle for message in messages])
    assert [message.message_body for message in messages] == [body, body]


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ufffe"])
def test_character_outside_xml_is_refused_without_base64(plain_queue: Any, character: str) -> None:
    plain_queue.set_encoding(False)
    assert refusal(plain_queue.send_message, Message(f"a{character}b")).type == "MalformedXML"


def test_carriage_return_from_the_store_is_returned_unchanged(server: MnsServer, queue: Any) -> None:
    server.store.send("orders", "a\r\nb\rc")
    queue.set_encoding(False)
    assert queue.receive_message().message_body == "a\r\nb\rc"


# Long polls


@pytest.fixture
def real_time() -> Iterator[Any]:
    """An account on a server that follows the machine's clock."""
    with MnsServer() as server, connected(server.endpoint) as account:
        account.get_queue("orders").create(QueueMeta(vis_timeout=1))
        account.server = server
        yield account


def test_long_poll_returns_as_soon_as_a_message_arrives(real_time: Any) -> None:
    queue = real_time.get_queue("orders")
    started = time.monotonic()
    timer = threading.Timer(0.3, lambda: real_time.server.store.send("orders", "now"))
    timer.start()
    queue.set_encoding(False)
    assert queue.receive_message(30).message_body == "now"
    assert time.monotonic() - started > 0.25
    timer.join()


def test_long_poll_returns_when_a_delayed_message_is_due(real_time: Any) -> None:
    queue = real_time.get_queue("orders")
    queue.send_message(Message("soon", delay_seconds=1))
    assert queue.receive_message_with_str_body(30).message_body == "soon"


def test_long_poll_ends_after_its_seconds(real_time: Any) -> None:
    queue = real_time.get_queue("orders")
    started = time.monotonic()
    assert refusal(queue.batch_receive_message, 16, 1).type == "MessageNotExist"
    assert time.monotonic() - started > 0.95


def test_wait_of_the_queue_applies_to_receives_without_one(real_time: Any) -> None:
    queue = real_time.get_queue("patient")
    queue.create(QueueMeta(polling_wait_sec=1))
    started = time.monotonic()
    assert refusal(queue.receive_message).type == "MessageNotExist"
    assert time.monotonic() - started > 0.95


def test_wait_of_a_receive_overrides_that_of_its_queue(real_time: Any) -> None:
    queue = real_time.get_queue("patient")
    queue.create(QueueMeta(polling_wait_sec=30))
    started = time.monotonic()
    assert refusal(queue.receive_message, 0).type == "MessageNotExist"
    assert time.monotonic() - started < 30


def test_long_poll_of_more_than_30_seconds_is_refused(queue: Any) -> None:
    assert refusal(queue.receive_message, 31).type == "InvalidArgument"


def test_long_poll_ends_when_its_queue_is_deleted(real_time: Any) -> None:
    timer = threading.Timer(0.2, lambda: real_time.server.store.delete_queue("orders"))
    timer.start()
    assert refusal(real_time.get_queue("orders").receive_message, 30).type == "QueueNotExist"
    timer.join()


def test_stopping_the_server_ends_long_polls(tmp_path: Path) -> None:
    started = time.monotonic()
    with MnsServer(tmp_path / "queues.db") as server, connected(server.endpoint) as account:
        queue = account.get_queue("orders")
        queue.create(QueueMeta())
        timer = threading.Timer(0.3, server.stop)
        timer.start()
        assert refusal(queue.receive_message, 30).type == "MessageNotExist"
        timer.join()
    assert time.monotonic() - started < 30


def test_many_long_polls_do_not_block_other_requests(real_time: Any) -> None:
    def poll() -> str:
        with connected(real_time.server.endpoint) as account:
            return str(refusal(account.get_queue("orders").receive_message, 30).type)

    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(poll) for _ in range(60)]
        time.sleep(0.5)  # until most of them have arrived
        real_time.get_queue("other").create(QueueMeta())
        assert not any(poll.done() for poll in waiting)
        real_time.server.store.delete_queue("orders")
        assert {poll.result() for poll in waiting} == {"QueueNotExist"}


def test_message_is_not_delivered_to_a_disconnected_client(real_time: Any) -> None:
    with connected(real_time.server.endpoint) as impatient:
        impatient.get_client().set_connection_timeout(0.2)
        with pytest.raises(Exception, match="timed out"):
            impatient.get_queue("orders").receive_message(20)
    real_time.server.store.send("orders", "for another client")
    assert real_time.server.store.receive("orders", wait_seconds=30)[0].dequeue_count == 1


# Concurrency and restarts


def test_four_threads_receive_each_of_400_messages_once() -> None:
    received: list[str] = []
    with MnsServer() as server:
        with connected(server.endpoint) as account:
            queue = account.get_queue("orders")
            queue.create(QueueMeta(vis_timeout=600))
            for start in range(0, 400, 16):
                queue.batch_send_message([Message(str(n)) for n in range(start, min(start + 16, 400))])

        def drain(size: int) -> list[str]:
            bodies: list[str] = []
            with connected(server.endpoint) as account:
                queue = account.get_queue("orders")
                while True:
                    try:
                        messages = queue.batch_receive_message_with_str_body(size)
                    except ServerError as error:
                        assert error.type == "MessageNotExist"  # noqa: PT017 - the way out of the loop
                        return bodies
                    queue.batch_delete_message([message.receipt_handle for message in messages])
                    bodies += [message.message_body for message in messages]

        with ThreadPoolExecutor(4) as pool:
            for bodies in pool.map(drain, (1, 3, 7, 16)):
                received += bodies
        assert server.store.messages("orders") == []
    assert sorted(received, key=int) == [str(number) for number in range(400)]


def test_queues_and_messages_survive_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "deep" / "queues.db"
    with MnsServer(path, clock=clock.time) as server, connected(server.endpoint) as account:
        queue = account.get_queue("orders")
        queue.create(QueueMeta(vis_timeout=77))
        queue.batch_send_message([Message("a"), Message("b"), Message("later", delay_seconds=100)])
        handle = queue.receive_message().receipt_handle
    with MnsServer(path, clock=clock.time) as server, connected(server.endpoint) as account:
        queue = account.get_queue("orders")
        meta = queue.get_attributes()
        assert (meta.active_messages, meta.inactive_messages, meta.delay_messages) == (1, 1, 1)
        assert meta.visibility_timeout == 77
        assert queue.receive_message_with_str_body().message_body == "b"
        queue.delete_message(handle)
        clock.advance(100)
        bodies = {message.message_body for message in queue.batch_receive_message_with_str_body(16)}
        assert bodies == {"b", "later"}


# The account


def test_account_attributes_are_stored(account: Any) -> None:
    assert account.get_attributes().logging_bucket == ""
    meta = account.get_attributes()
    meta.logging_bucket = "bucket"
    account.set_attributes(meta)
    assert account.get_attributes().logging_bucket == "bucket"
    account.open_service()


# Authentication


def test_wrong_secret_is_refused(server: MnsServer) -> None:
    with connected(server.endpoint, secret="wrong") as account:
        error = refusal(account.list_queue)
    assert error.type == "SignatureDoesNotMatch"
    assert error.host_id == server.endpoint
    assert error.request_id


def test_unknown_key_is_refused(server: MnsServer) -> None:
    with connected(server.endpoint, key_id="nobody") as account:
        assert refusal(account.list_queue).type == "InvalidAccessKeyId"


def test_temporary_key_requires_its_token() -> None:
    keys = {**LOCAL_ACCESS_KEYS, "STS.1": AccessKey("s", security_token="t0ken")}
    with MnsServer(access_keys=keys) as server:
        with connected(server.endpoint, "STS.1", "s", "t0ken") as account:
            account.get_queue("orders").create(QueueMeta())
            assert len(account.list_queue()[0]) == 1
        for token in ("", "other"):
            with connected(server.endpoint, "STS.1", "s", token) as account:
                assert refusal(account.list_queue).type == "AccessDenied"
        with connected(server.endpoint, "STS.1", "wrong", "t0ken") as account:
            assert refusal(account.list_queue).type == "SignatureDoesNotMatch"


def test_keys_may_be_plain_secrets() -> None:
    with MnsServer(access_keys={"id": AccessKey("secret")}) as server:
        with connected(server.endpoint, "id", "secret") as account:
            assert account.list_queue() == ([], "")
        with connected(server.endpoint, "id", "secret", "a token that is not needed") as account:
            assert account.list_queue() == ([], "")
