"""Queues and their messages, in SQLite. Thread-safe; used by the HTTP application and, without HTTP, by the
triggers of the local stack.

Methods accept names, bodies and receipt handles, return `Queue` and `Message`, and raise `MnsError` where the
service would refuse. Messages of the same priority are received in the order in which they were sent.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mpaas_local.database import Database
from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.model import (
    DEFAULT_PRIORITY,
    MAX_VISIBILITY_SECONDS,
    Message,
    OutgoingMessage,
    Queue,
    QueueAttributes,
    check_name,
)
from mpaas_local.mns.rows import (
    attributes_of,
    held_rows,
    insert_message,
    message_of,
    queue_row,
    receipt_handle,
    state_of,
)
from mpaas_local.mns.schema import SCHEMA, SCHEMA_VERSION
from mpaas_local.mns.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from mpaas_local.clock import TimeSource
    from mpaas_local.mns.model import State

__all__ = ["MnsStore"]

_MAX_POLLING_INTERVAL = 0.5  # real seconds after which a waiting receive notices that the clock was moved
_MIN_POLLING_INTERVAL = 0.001


class MnsStore:
    """The queues of one account; a context manager.

    Args:
        path: An SQLite file, created with its folder if missing; ":memory:" is not saved.
        clock: Governs delays, visibility and retention. Waiting takes real seconds.
        account_id: The owner in notifications.

    Attributes:
        topics: Topics and subscriptions of the same account.

    Raises:
        StoreUnusable: the file cannot be opened, or is not a store of this version.
    """

    def __init__(
        self,
        path: Path | str = ":memory:",
        *,
        clock: TimeSource = time.time,
        account_id: str = "1000000000000000",
    ) -> None:
        self._clock = clock
        self._database = Database(path, schema=SCHEMA, version=SCHEMA_VERSION)
        self._changed = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._listeners: list[Callable[[str], None]] = []
        self.topics = Topics(self._database, clock=clock, account_id=account_id, send=self.send)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Wake every waiting receive and close the file. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._database.close()

    def create_queue(self, name: str, attributes: QueueAttributes | None = None) -> bool:
        """Create a queue; False if it exists with the same attributes.

        Raises:
            MnsError: `QueueAlreadyExist` with other attributes, `InvalidQueueName`, `QueueNameLengthError`.
        """
        check_name("Queue", name)
        attributes = attributes or QueueAttributes()
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM queue WHERE name = ?", (name,)).fetchone()
            if row:
                if attributes_of(row) != attributes:
                    raise MnsError("QueueAlreadyExist")
                return False
            now = int(self._clock())
            connection.execute(
                "INSERT INTO queue VALUES (:name, :now, :now, :delay_seconds, :maximum_message_size,"
                " :message_retention_period, :visibility_timeout, :polling_wait_seconds, :logging_enabled)",
                {"name": name, "now": now, **asdict(attributes)},
            )
        return True

    def set_queue_attributes(self, name: str, **changes: int | bool) -> None:
        """Change some attributes, by the names of `QueueAttributes`.

        Raises:
            MnsError: `QueueNotExist`; `InvalidArgument` for a value out of range.
        """
        with self._database.transaction() as connection:
            attributes = replace(attributes_of(queue_row(connection, name)), **changes)  # type: ignore[arg-type]  # validated by the constructor
            connection.execute(
                "UPDATE queue SET last_modify_time = :now, delay_seconds = :delay_seconds,"
                " maximum_message_size = :maximum_message_size,"
                " message_retention_period = :message_retention_period,"
                " visibility_timeout = :visibility_timeout, polling_wait_seconds = :polling_wait_seconds,"
                " logging_enabled = :logging_enabled WHERE name = :name",
                {"name": name, "now": int(self._clock()), **asdict(attributes)},
            )

    def delete_queue(self, name: str) -> None:
        """Delete a queue and its messages, if it exists."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM queue WHERE name = ?", (name,))
        self._announce(name)

    def queues(self, prefix: str = "") -> list[Queue]:
        """The queues whose names start with a prefix, sorted by name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM queue ORDER BY name").fetchall()
            return [self._queue(connection, row) for row in rows if row["name"].startswith(prefix)]

    def queue(self, name: str) -> Queue:
        """One queue by name.

        Raises:
            MnsError: `QueueNotExist`.
        """
        with self._database.transaction() as connection:
            return self._queue(connection, queue_row(connection, name))

    def send(
        self, queue: str, body: str, *, delay_seconds: int | None = None, priority: int = DEFAULT_PRIORITY
    ) -> Message:
        """Send one message; see `OutgoingMessage` for the arguments.

        Raises:
            MnsError: `QueueNotExist`, `InvalidArgument` or `MalformedXML`.
        """
        (message,) = self.send_batch(
            queue, [OutgoingMessage(body=body, delay_seconds=delay_seconds, priority=priority)]
        )
        return message

    def send_batch(self, queue: str, messages: Sequence[OutgoingMessage]) -> list[Message]:
        """Send any number of messages: all of them or, if it raises, none.

        Raises:
            MnsError: `QueueNotExist`; `InvalidArgument` for a body larger than the queue allows.
        """
        with self._database.transaction() as connection:
            attributes = attributes_of(queue_row(connection, queue))
            now = self._now()
            sent = [insert_message(connection, queue, attributes, message, now) for message in messages]
        self._announce(queue)
        return sent

    def receive(
        self,
        queue: str,
        count: int = 1,
        *,
        wait_seconds: float = 0.0,
        visibility_timeout: int | None = None,
    ) -> list[Message]:
        """Receive active messages and hide them; an empty list if there are none.

        Args:
            queue: Name of the queue.
            count: Maximum number of messages, 1 or more; the limit of 16 applies to HTTP only.
            wait_seconds: Real seconds to block this thread until the first message.
            visibility_timeout: Seconds to hide them, 1 to 43200; None for the queue's timeout.

        Raises:
            MnsError: `QueueNotExist` or `InvalidArgument`.
        """
        if count < 1:
            raise MnsError("InvalidArgument", "The number of messages should be 1 or more.")
        if visibility_timeout is not None and not 1 <= visibility_timeout <= MAX_VISIBILITY_SECONDS:
            raise out_of_range("VisibilityTimeout", 1, MAX_VISIBILITY_SECONDS)
        deadline = time.monotonic() + wait_seconds
        while True:
            with self._changed:
                changes = self._changes
            messages = self._receive_now(queue, count, visibility_timeout)
            remaining = deadline - time.monotonic()
            if messages or remaining <= 0 or not self._wait(queue, changes, remaining):
                return messages

    def peek(self, queue: str, count: int = 1) -> list[Message]:
        """Active messages, without receiving them.

        Raises:
            MnsError: `QueueNotExist`.
        """
        return self.messages(queue, "active", limit=count)

    def messages(
        self, queue: str, state: State | None = None, *, limit: int = 1000, offset: int = 0
    ) -> list[Message]:
        """Messages of a queue in the order in which they would be received, without receiving them.

        Args:
            queue: Name of the queue.
            state: None for all; hidden messages are last.
            limit: Maximum number of messages.
            offset: Number of messages to skip.

        Raises:
            MnsError: `QueueNotExist`.
        """
        conditions = {
            None: "1",
            "active": "held = 0",
            "inactive": "held = 1 AND dequeue_count > 0",
            "delayed": "held = 1 AND dequeue_count = 0",
        }
        with self._database.transaction() as connection:
            self._refresh(connection, queue_row(connection, queue))
            rows = connection.execute(
                f"SELECT * FROM message WHERE queue = ? AND {conditions[state]}"  # a constant condition
                " ORDER BY held, priority, seq LIMIT ? OFFSET ?",
                (queue, limit, offset),
            )
            return [message_of(row) for row in rows]

    def find(self, queue: str, message_id: str) -> Message | None:
        """A message by id, without receiving it; None if there is none.

        Raises:
            MnsError: `QueueNotExist`.
        """
        with self._database.transaction() as connection:
            self._refresh(connection, queue_row(connection, queue))
            row = connection.execute(
                "SELECT * FROM message WHERE queue = ? AND id = ?", (queue, message_id)
            ).fetchone()
        return message_of(row) if row else None

    def remove(self, queue: str, message_id: str) -> bool:
        """Delete a message by id, in any state; False if there is none. Not part of MNS.

        Raises:
            MnsError: `QueueNotExist`.
        """
        with self._database.transaction() as connection:
            queue_row(connection, queue)
            deleted = connection.execute(
                "DELETE FROM message WHERE queue = ? AND id = ?", (queue, message_id)
            ).rowcount
        self._announce(queue)
        return deleted > 0

    def delete(self, queue: str, receipt_handle: str) -> None:
        """Delete a received message.

        Raises:
            MnsError: `QueueNotExist`; `ReceiptHandleError` for text that is not a handle; `MessageNotExist`
                if the handle has expired or the message was deleted.
        """
        for error in self.delete_batch(queue, [receipt_handle]).values():
            raise error

    def delete_batch(self, queue: str, receipt_handles: Iterable[str]) -> dict[str, MnsError]:
        """Delete received messages; returns the errors of those that could not be deleted, by handle.

        Raises:
            MnsError: `QueueNotExist`.
        """
        with self._database.transaction() as connection:
            held, failures = held_rows(connection, queue, receipt_handles, self._now())
            for row in held.values():
                connection.execute("DELETE FROM message WHERE seq = ?", (row["seq"],))
        return failures

    def change_visibility(self, queue: str, receipt_handle: str, seconds: int) -> Message:
        """Hide a received message for some time from now; returns it with its new handle.

        Args:
            queue: Name of the queue.
            receipt_handle: The current handle, which becomes invalid.
            seconds: 0 to 43200; 0 makes it visible at once, which HTTP does not offer.

        Raises:
            MnsError: as for `delete`; `InvalidArgument` for seconds out of range.
        """
        changed, failures = self._hide(queue, [receipt_handle], seconds)
        for error in failures.values():
            raise error
        return changed[receipt_handle]

    def change_visibility_batch(
        self, queue: str, receipt_handles: Iterable[str], seconds: int
    ) -> dict[str, Message]:
        """Like `change_visibility` for several messages; returns them by their old handles.

        Expired handles are skipped.

        Raises:
            MnsError: `QueueNotExist`; `InvalidArgument` for seconds out of range.
        """
        return self._hide(queue, receipt_handles, seconds)[0]

    @property
    def logging_bucket(self) -> str:
        """An attribute of the account; stored, without effect."""
        with self._database.transaction() as connection:
            (bucket,) = connection.execute("SELECT logging_bucket FROM account").fetchone()
        return str(bucket)

    @logging_bucket.setter
    def logging_bucket(self, bucket: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE account SET logging_bucket = ?", (bucket,))

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call a listener with the queue's name whenever a message may have become available.

        The call runs on the thread that changed the queue and must not block.

        Returns:
            A function that removes the listener.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def polling_interval(self, queue: str) -> float:
        """Real seconds until a hidden message may become visible, at most half a second; infinite if none is
        hidden.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT min(visible_at) FROM message WHERE queue = ? AND held = 1", (queue,)
            ).fetchone()
        at: int | None = row[0]
        if at is None:
            return math.inf
        return min(max(at / 1000 - self._clock(), _MIN_POLLING_INTERVAL), _MAX_POLLING_INTERVAL)

    def _receive_now(self, queue: str, count: int, visibility_timeout: int | None) -> list[Message]:
        with self._database.transaction() as connection:
            row = queue_row(connection, queue)
            now = self._refresh(connection, row)
            rows = connection.execute(
                "SELECT * FROM message WHERE queue = ? AND held = 0 ORDER BY priority, seq LIMIT ?",
                (queue, count),
            ).fetchall()
            until = now + 1000 * (visibility_timeout or row["visibility_timeout"])
            messages = []
            for message in rows:
                receipt = secrets.token_hex(4)
                connection.execute(
                    "UPDATE message SET held = 1, visible_at = ?, dequeue_count = dequeue_count + 1,"
                    " first_dequeue_time = ?, receipt = ? WHERE seq = ?",
                    (until, message["first_dequeue_time"] or now, receipt, message["seq"]),
                )
                messages.append(
                    replace(
                        message_of(message),
                        state="inactive",
                        dequeue_count=message["dequeue_count"] + 1,
                        first_dequeue_time=message["first_dequeue_time"] or now,
                        next_visible_time=until,
                        receipt_handle=receipt_handle(message["seq"], receipt),
                    )
                )
        return messages

    def _wait(self, queue: str, changes: int, seconds: float) -> bool:
        """Wait for another change, at most for some real seconds; False if the store is closing."""
        try:
            interval = min(seconds, self.polling_interval(queue))
        except sqlite3.ProgrammingError:  # closed
            return False
        with self._changed:
            self._changed.wait_for(lambda: self._changes != changes or self._stopping, interval)
            return not self._stopping

    def _hide(
        self, queue: str, handles: Iterable[str], seconds: int
    ) -> tuple[dict[str, Message], dict[str, MnsError]]:
        if not 0 <= seconds <= MAX_VISIBILITY_SECONDS:
            raise out_of_range("VisibilityTimeout", 0, MAX_VISIBILITY_SECONDS)
        changed: dict[str, Message] = {}
        with self._database.transaction() as connection:
            now = self._now()
            held, failures = held_rows(connection, queue, handles, now)
            for handle, row in held.items():
                receipt = secrets.token_hex(4)
                until = now + 1000 * seconds
                connection.execute(
                    "UPDATE message SET held = ?, visible_at = ?, receipt = ? WHERE seq = ?",
                    (seconds > 0, until, receipt, row["seq"]),
                )
                changed[handle] = replace(
                    message_of(row),
                    state=message_of(row).state if seconds else "active",
                    next_visible_time=until,
                    receipt_handle=receipt_handle(row["seq"], receipt) if seconds else "",
                )
        self._announce(queue)
        return changed, failures

    def _refresh(self, connection: sqlite3.Connection, queue: sqlite3.Row) -> int:
        """Drop expired messages and show those past their timeout; returns now in milliseconds."""
        now = self._now()
        connection.execute(
            "DELETE FROM message WHERE queue = ? AND enqueue_time <= ?",
            (queue["name"], now - 1000 * queue["message_retention_period"]),
        )
        connection.execute(
            "UPDATE message SET held = 0 WHERE queue = ? AND held = 1 AND visible_at <= ?",
            (queue["name"], now),
        )
        return now

    def _queue(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Queue:
        self._refresh(connection, row)
        counts = {"active": 0, "inactive": 0, "delayed": 0}
        for held, received, count in connection.execute(
            "SELECT held, dequeue_count > 0, count(*) FROM message WHERE queue = ? GROUP BY 1, 2",
            (row["name"],),
        ):
            counts[state_of(held, received)] += count
        return Queue(
            name=row["name"],
            attributes=attributes_of(row),
            create_time=row["create_time"],
            last_modify_time=row["last_modify_time"],
            active_messages=counts["active"],
            inactive_messages=counts["inactive"],
            delay_messages=counts["delayed"],
        )

    def _announce(self, queue: str) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener(queue)

    def _now(self) -> int:
        return int(self._clock() * 1000)
