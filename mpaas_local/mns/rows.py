"""Conversion between table rows and queues or messages; receipt handles."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING

from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.model import Message, Property, QueueAttributes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from mpaas_local.mns.model import OutgoingMessage, State

__all__ = [
    "attributes_of",
    "held_rows",
    "insert_message",
    "message_of",
    "queue_row",
    "receipt_handle",
    "state_of",
]

_HANDLE = re.compile(r"1-([A-Za-z0-9_-]+=*)")
_RECEIPT = re.compile(r"([0-9]{1,18})-([0-9a-f]{8})")


def insert_message(
    connection: sqlite3.Connection,
    queue: str,
    attributes: QueueAttributes,
    message: OutgoingMessage,
    now: int,
) -> Message:
    """Insert a message into a queue with these attributes; `now` in milliseconds.

    Raises:
        MnsError: `InvalidArgument` for a body larger than the queue allows.
    """
    if message.size > attributes.maximum_message_size:
        raise out_of_range("MessageBody", 1, attributes.maximum_message_size, "bytes")
    delay = attributes.delay_seconds if message.delay_seconds is None else message.delay_seconds
    receipt = secrets.token_hex(4) if delay else ""
    message_id = uuid.uuid4().hex.upper()
    properties = json.dumps(
        [[asdict(item) for item in group] for group in (message.user_properties, message.system_properties)]
    )
    cursor = connection.execute(
        "INSERT INTO message (id, queue, body, priority, enqueue_time, first_dequeue_time, visible_at, held,"
        " dequeue_count, receipt, group_id, properties) VALUES (?, ?, ?, ?, ?, 0, ?, ?, 0, ?, ?, ?)",
        (
            message_id,
            queue,
            message.body,
            message.priority,
            now,
            now + 1000 * delay,
            delay > 0,
            receipt,
            message.group_id,
            properties,
        ),
    )
    return Message(
        id=message_id,
        queue=queue,
        body=message.body,
        priority=message.priority,
        state="delayed" if delay else "active",
        enqueue_time=now,
        first_dequeue_time=0,
        next_visible_time=now + 1000 * delay,
        dequeue_count=0,
        receipt_handle=receipt_handle(cursor.lastrowid or 0, receipt) if delay else "",
        group_id=message.group_id,
        user_properties=message.user_properties,
        system_properties=message.system_properties,
    )


def queue_row(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    """Return the row of a queue.

    Raises:
        MnsError: `QueueNotExist`.
    """
    row: sqlite3.Row | None = connection.execute("SELECT * FROM queue WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise MnsError("QueueNotExist")
    return row


def held_rows(
    connection: sqlite3.Connection, queue: str, handles: Iterable[str], now: int
) -> tuple[dict[str, sqlite3.Row], dict[str, MnsError]]:
    """Return the rows of the messages with these handles, and the errors of the other handles, by handle.

    An error is `ReceiptHandleError` for text that is not a handle; `MessageNotExist` if the handle has
    expired or the message was deleted.

    Args:
        connection: The store's connection, in a transaction.
        queue: Name of the queue.
        handles: Duplicates are ignored.
        now: Unix time in milliseconds.

    Raises:
        MnsError: `QueueNotExist`.
    """
    queue_row(connection, queue)
    rows: dict[str, sqlite3.Row] = {}
    failures: dict[str, MnsError] = {}
    for handle in dict.fromkeys(handles):
        try:
            rows[handle] = _held_row(connection, queue, handle, now)
        except MnsError as error:
            failures[handle] = error
    return rows, failures


def _held_row(connection: sqlite3.Connection, queue: str, handle: str, now: int) -> sqlite3.Row:
    seq, receipt = _read_handle(handle)
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM message WHERE seq = ? AND queue = ? AND receipt = ? AND held = 1 AND visible_at > ?",
        (seq, queue, receipt, now),
    ).fetchone()
    if row is None:
        raise MnsError("MessageNotExist")
    return row


def receipt_handle(seq: int, receipt: str) -> str:
    """Return a receipt handle, in characters that are safe in a URL: the SDK does not encode it."""
    return "1-" + base64.urlsafe_b64encode(f"{seq}-{receipt}".encode()).decode("ascii")


def _read_handle(handle: str) -> tuple[int, str]:
    match = _HANDLE.fullmatch(handle)
    try:
        text = base64.urlsafe_b64decode(match[1]).decode("ascii") if match else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    parts = _RECEIPT.fullmatch(text)
    if not parts:
        raise MnsError("ReceiptHandleError")
    return int(parts[1]), parts[2]


def message_of(row: sqlite3.Row) -> Message:
    """Return the message of a row, without a receipt handle."""
    user, system = json.loads(row["properties"])
    return Message(
        id=row["id"],
        queue=row["queue"],
        body=row["body"],
        priority=row["priority"],
        state=state_of(row["held"], row["dequeue_count"] > 0),
        enqueue_time=row["enqueue_time"],
        first_dequeue_time=row["first_dequeue_time"],
        next_visible_time=row["visible_at"],
        dequeue_count=row["dequeue_count"],
        group_id=row["group_id"],
        user_properties=tuple(Property(**item) for item in user),
        system_properties=tuple(Property(**item) for item in system),
    )


def state_of(held: int, received: bool) -> State:
    """Return the state of a message."""
    if not held:
        return "active"
    return "inactive" if received else "delayed"


def attributes_of(row: sqlite3.Row) -> QueueAttributes:
    """Return the attributes of a queue's row."""
    return QueueAttributes(
        delay_seconds=row["delay_seconds"],
        maximum_message_size=row["maximum_message_size"],
        message_retention_period=row["message_retention_period"],
        visibility_timeout=row["visibility_timeout"],
        polling_wait_seconds=row["polling_wait_seconds"],
        logging_enabled=bool(row["logging_enabled"]),
    )
