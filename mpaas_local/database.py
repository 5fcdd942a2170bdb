"""An SQLite file with its tables, changed in transactions, one at a time."""

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
    """A file cannot be opened, or is not a store of this version.

    Attributes:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"cannot use {path}: {reason}; name another file or delete this one")
        self.path = path
        self.reason = reason


class Database:
    """An SQLite file in WAL mode with one connection. Thread-safe.

    A commit does not wait for the disk: it takes about 50 µs, little enough for an event loop. A crash of the
    process loses nothing; a power failure may lose the latest changes.

    Args:
        path: Created with its folder if missing; ":memory:" keeps nothing.
        schema: Statements that create the tables, separated by semicolons.
        version: Version of the schema, stored in the file.

    Raises:
        StoreUnusable: the file cannot be opened, is not a store, or has another version of the schema.
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
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit the changes of a block, or roll them back if it raises; one block at a time."""
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
        (actual,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if actual != version and (actual or tables):
            raise StoreUnusable(path, f"it has schema version {actual}, not {version}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if actual != version:
            with self.transaction() as connection:
                for statement in schema.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {version}")
