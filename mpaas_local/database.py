"""An SQLite file: opened, given its tables, and changed in transactions, one at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database", "StoreUnusable"]

_BUSY_SECONDS = 10


class StoreUnusable(Exception):
    """A file cannot be opened, or is not this program's.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}; name another file or remove this one")
        self.path = path
        self.reason = reason


class Database:
    """An SQLite file in WAL mode, of one connection. Safe under threads.

    A commit does not wait for the disk (about 50 µs), so that an event loop may do it. A crash of the process
    loses nothing; a power cut may lose the newest changes.

    Args:
        path: Created with its folder if it is missing; ":memory:" keeps nothing.
        schema: Statements that create the tables, each ended by a semicolon.
        version: Of the schema, kept in the file.

    Raises:
        StoreUnusable: the file cannot be opened, is something else, or has another version of the schema.
    """

    def __init__(self, path: Path | str, *, schema: str, version: int) -> None:
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
            self._prepare(path, schema, version)
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
        """Run a block whose changes are kept together, or, if it raises, not at all; one block at a time."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run a block that only reads; one block at a time."""
        with self._lock:
            yield self._connection

    def _prepare(self, path: Path | str, schema: str, version: int) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if found != version and (found or tables):
            raise StoreUnusable(path, f"it has schema {found}, this program has {version}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if found != version:
            with self.transaction() as connection:
                for statement in schema.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")
