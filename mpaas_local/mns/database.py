"""The SQLite file under the store: opened, given its tables, and changed in transactions, one at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mpaas_local.mns.errors import StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database"]

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 10
# `held` messages are those that cannot be received: delayed, or received and hidden. It ends when
# somebody looks after `visible_at`, so that a receive costs the same however many are hidden.
_SCHEMA = """
CREATE TABLE account (
    logging_bucket TEXT NOT NULL
);
INSERT INTO account VALUES ('');
CREATE TABLE queue (
    name TEXT PRIMARY KEY,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    delay_seconds INTEGER NOT NULL,
    maximum_message_size INTEGER NOT NULL,
    message_retention_period INTEGER NOT NULL,
    visibility_timeout INTEGER NOT NULL,
    polling_wait_seconds INTEGER NOT NULL,
    logging_enabled INTEGER NOT NULL
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    queue TEXT NOT NULL REFERENCES queue (name) ON DELETE CASCADE,
    body TEXT NOT NULL,
    priority INTEGER NOT NULL,
    enqueue_time INTEGER NOT NULL,
    first_dequeue_time INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    held INTEGER NOT NULL,
    dequeue_count INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    group_id TEXT NOT NULL,
    properties TEXT NOT NULL
);
CREATE INDEX message_to_receive ON message (queue, priority, seq) WHERE held = 0;
CREATE INDEX message_to_show ON message (queue, visible_at) WHERE held = 1;
CREATE INDEX message_by_age ON message (queue, enqueue_time);
CREATE TABLE topic (
    name TEXT PRIMARY KEY,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    maximum_message_size INTEGER NOT NULL,
    logging_enabled INTEGER NOT NULL
);
CREATE TABLE subscription (
    topic TEXT NOT NULL REFERENCES topic (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    last_modify_time INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    notify_strategy TEXT NOT NULL,
    notify_content_format TEXT NOT NULL,
    filter_tag TEXT NOT NULL,
    PRIMARY KEY (topic, name)
);
"""


class Database:
    """An SQLite file in WAL mode. Safe under threads.

    Args:
        path: Created with its folder if it is missing; ":memory:" keeps nothing.

    Raises:
        StoreUnusable: the file cannot be opened, or belongs to something else.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            if str(path) != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(path, str(error)) from error
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise StoreUnusable(path, str(error)) from error
            raise

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block, or, if it raises, nothing; one block at a time."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version != _SCHEMA_VERSION and (version or tables):
            raise StoreUnusable(self._path, f"it has schema {version}, this program has {_SCHEMA_VERSION}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A crash of the process loses nothing; only one of the machine may lose the last moments.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if version != _SCHEMA_VERSION:
            with self.transaction() as connection:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
