"""The store without HTTP, as triggers use it."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.mns import MnsError, MnsStore, OutgoingMessage, Property, QueueAttributes, StoreUnusable
from tests.clocks import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Iterator[MnsStore]:
    with MnsStore(clock=clock.time) as store:
        store.create_queue("orders")
        yield store


def bodies(messages: Any) -> list[str]:
    return [message.body for message in messages]


def test_queue_shows_its_messages_by_state(store: MnsStore, clock: ManualClock) -> None:
    store.send_batch(
        "orders",
        [
            OutgoingMessage(body="a"),
            OutgoingMessage(body="b"),
            OutgoingMessage(body="late", delay_seconds=60),
        ],
    )
    store.receive("orders")
    assert bodies(store.messages("orders", "active")) == ["b"]
    assert bodies(store.messages("orders", "inactive")) == ["a"]
    assert bodies(store.messages("orders", "delayed")) == ["late"]
    assert bodies(store.messages("orders")) == ["b", "a", "late"]
    assert bodies(store.messages("orders", limit=1, offset=1)) == ["a"]
    (queue,) = store.queues()
    assert (queue.active_messages, queue.inactive_messages, queue.delay_messages) == (1, 1, 1)
    clock.advance(60)
    assert bodies(store.messages("orders", "active")) == ["a", "b", "late"]


def test_batch_of_any_size_is_received_hidden_and_deleted_in_one_call(
    store: MnsStore, clock: ManualClock
) -> None:
    sent = store.send_batch("orders", [OutgoingMessage(body=str(number)) for number in range(2000)])
    received = store.receive("orders", 5000)
    assert [message.id for message in received] == [message.id for message in sent]
    hidden = store.change_visibility_batch("orders", [message.receipt_handle for message in received], 3600)
    clock.advance(3599)
    assert store.receive("orders") == []
    assert store.delete_batch("orders", [message.receipt_handle for message in hidden.values()]) == {}
    assert store.messages("orders") == []


def test_message_can_be_made_visible_at_once(store: MnsStore) -> None:
    store.send("orders", "x")
    (received,) = store.receive("orders", visibility_timeout=600)
    assert store.change_visibility("orders", received.receipt_handle, 0).state == "active"
    (again,) = store.receive("orders")
    assert (again.id, again.dequeue_count) == (received.id, 2)


def test_invalid_handles_are_skipped_in_a_batch(store: MnsStore, clock: ManualClock) -> None:
    store.send_batch("orders", [OutgoingMessage(body="a"), OutgoingMessage(body="b")])
    (expired,) = store.receive("orders")
    clock.advance(30)
    (current,) = store.receive("orders")
    assert current.id == expired.id
    handles = [expired.receipt_handle, current.receipt_handle, "nonsense"]
    assert list(store.change_visibility_batch("orders", handles, 60)) == [current.receipt_handle]
    failures = store.delete_batch("orders", handles)
    assert [error.code for error in failures.values()] == [
        "MessageNotExist",
        "MessageNotExist",
        "ReceiptHandleError",
    ]


def test_delayed_message_can_be_deleted_by_its_handle(store: MnsStore) -> None:
    message = store.send("orders", "x", delay_seconds=60)
    store.delete("orders", message.receipt_handle)
    assert store.messages("orders") == []
    assert store.send("orders", "x").receipt_handle == ""


def test_refused_batch_sends_no_message(store: MnsStore) -> None:
    store.set_queue_attributes("orders", maximum_message_size=1024)
    with pytest.raises(MnsError, match="InvalidArgument"):
        store.send_batch("orders", [OutgoingMessage(body="a"), OutgoingMessage(body="x" * 1025)])
    assert store.messages("orders") == []


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda store: store.send("nothing", "x"), "QueueNotExist"),
        (lambda store: store.receive("nothing"), "QueueNotExist"),
        (lambda store: store.messages("nothing"), "QueueNotExist"),
        (lambda store: store.delete("nothing", "1-x"), "QueueNotExist"),
        (lambda store: store.change_visibility("nothing", "1-x", 1), "QueueNotExist"),
        (lambda store: store.set_queue_attributes("nothing", delay_seconds=1), "QueueNotExist"),
        (lambda store: store.queue("nothing"), "QueueNotExist"),
        (lambda store: store.send("orders", ""), "InvalidArgument"),
        (lambda store: store.send("orders", "\ud800"), "MalformedXML"),
        (
            lambda store: store.send_batch("orders", [OutgoingMessage(body="x", group_id="\x00")]),
            "MalformedXML",
        ),
        (lambda store: store.receive("orders", 0), "InvalidArgument"),
        (lambda store: store.receive("orders", visibility_timeout=0), "InvalidArgument"),
        (lambda store: store.change_visibility("orders", "1-x", 43201), "InvalidArgument"),
        (lambda store: store.set_queue_attributes("orders", visibility_timeout=0), "InvalidArgument"),
        (lambda store: store.create_queue("orders", QueueAttributes(delay_seconds=1)), "QueueAlreadyExist"),
        (lambda store: store.create_queue(""), "QueueNameLengthError"),
    ],
)
def test_refused_call_raises_an_error_with_its_code(store: MnsStore, call: Any, code: str) -> None:
    with pytest.raises(MnsError) as raised:
        call(store)
    assert raised.value.code == code


@contextmanager
def shortly(action: Callable[..., object], *args: object) -> Iterator[None]:
    """Call `action` shortly after the block begins; the block must end within 5 seconds."""
    timer = threading.Timer(0.2, action, args)
    timer.start()
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 5
    timer.join()


def test_waiting_receive_wakes_up_for_a_sent_message(store: MnsStore) -> None:
    with shortly(store.send, "orders", "now"):
        assert bodies(store.receive("orders", wait_seconds=20)) == ["now"]


def test_waiting_receive_wakes_up_when_a_message_becomes_visible(store: MnsStore) -> None:
    store.send("orders", "x")
    (received,) = store.receive("orders", visibility_timeout=600)
    with shortly(store.change_visibility, "orders", received.receipt_handle, 0):
        assert bodies(store.receive("orders", wait_seconds=20)) == ["x"]


def test_waiting_receive_notices_that_the_clock_was_moved(store: MnsStore, clock: ManualClock) -> None:
    store.send("orders", "x", delay_seconds=600)
    with shortly(clock.advance, 600):
        assert bodies(store.receive("orders", wait_seconds=20)) == ["x"]


def test_waiting_receive_ends_when_the_store_is_closed(store: MnsStore) -> None:
    with shortly(store.close):
        assert store.receive("orders", wait_seconds=20) == []


def test_listeners_receive_the_name_of_the_changed_queue(store: MnsStore) -> None:
    changed: list[str] = []
    store.listen(changed.append)
    store.send("orders", "x")
    assert changed == ["orders"]


def test_threads_receive_every_message_once_from_a_shared_store(tmp_path: Path) -> None:
    with MnsStore(tmp_path / "queues.db") as store, ThreadPoolExecutor(8) as pool:
        store.create_queue("orders", QueueAttributes(visibility_timeout=600))

        def send(worker: int) -> None:
            for number in range(100):
                store.send("orders", f"{worker}-{number}")

        def drain(_: int) -> list[str]:
            drained: list[str] = []
            while messages := store.receive("orders", 7, wait_seconds=1):
                assert not store.delete_batch("orders", [message.receipt_handle for message in messages])
                drained += bodies(messages)
            return drained

        receivers = [pool.submit(drain, worker) for worker in range(4)]
        senders = [pool.submit(send, worker) for worker in range(4)]
        for sender in senders:
            sender.result()
        received = [body for receiver in receivers for body in receiver.result()]
    assert sorted(received) == sorted(f"{worker}-{number}" for worker in range(4) for number in range(100))


def test_unclosed_store_can_be_reopened_intact(tmp_path: Path, clock: ManualClock) -> None:
    crashed = MnsStore(tmp_path / "queues.db", clock=clock.time)
    crashed.create_queue("orders")
    properties = (Property("n", "v"),)
    crashed.send_batch(
        "orders",
        [OutgoingMessage(body="a", group_id="g", user_properties=properties), OutgoingMessage(body="b")],
    )
    (received,) = crashed.receive("orders")
    with MnsStore(tmp_path / "queues.db", clock=clock.time) as store:
        store.delete("orders", received.receipt_handle)
        assert bodies(store.messages("orders")) == ["b"]
    crashed.close()


def test_handles_of_deleted_messages_are_never_reused(tmp_path: Path) -> None:
    with MnsStore(tmp_path / "queues.db") as store:
        store.create_queue("orders")
        store.send("orders", "a")
        (old,) = store.receive("orders")
        store.delete("orders", old.receipt_handle)
    with MnsStore(tmp_path / "queues.db") as store:
        store.send("orders", "b")
        store.receive("orders")
        with pytest.raises(MnsError, match="MessageNotExist"):
            store.delete("orders", old.receipt_handle)


def test_foreign_file_is_refused_and_unchanged(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be checked " * 50)
    with pytest.raises(StoreUnusable, match="file is not a database"):
        MnsStore(text)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(StoreUnusable, match="schema version 0"):
        MnsStore(other)
    assert other.read_bytes() == before


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable) as raised:
        MnsStore(tmp_path)
    assert raised.value.path == tmp_path


def test_cost_of_receiving_does_not_depend_on_hidden_messages() -> None:
    with MnsStore() as store:
        store.create_queue("orders", QueueAttributes(visibility_timeout=600))
        store.send_batch("orders", [OutgoingMessage(body=str(number)) for number in range(2_000)])
        first = _receive_cost(store)
        store.receive("orders", 1_900)
        assert _receive_cost(store) < 2 * first


def _receive_cost(store: MnsStore) -> int:
    """Database instructions, in hundreds, to receive twenty messages one by one."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    with store._database.reading() as connection:
        connection.set_progress_handler(count, 100)
    for _ in range(20):
        assert store.receive("orders")
    return steps
