"""The events and task ids of asynchronous queues, in a file: they survive a restart, as on FC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpaas_local.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["AsyncStore", "StoredEvent"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    function TEXT NOT NULL,
    payload BLOB NOT NULL,
    request_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    due REAL NOT NULL
);
CREATE TABLE tasks (
    function TEXT NOT NULL,
    task_id TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    PRIMARY KEY (function, task_id)
)
"""


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """An unfinished event.

    Attributes:
        id: Row id in the file.
        payload: The event.
        request_id: Request id of its calls.
        task_id: Task id, or the request id.
        due: Time of the first call, in seconds since 1970.
    """

    id: int
    payload: bytes
    request_id: str
    task_id: str
    due: float


class AsyncStore:
    """The queues of all functions in one file. Thread-safe."""

    def __init__(self, path: Path | str) -> None:
        """Open the file.

        Args:
            path: Created if missing.

        Raises:
            StoreUnusable: the file cannot be opened, or is not such a store.
        """
        self._database = Database(path, schema=_SCHEMA, version=_VERSION)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, function: str, payload: bytes, request_id: str, task_id: str, due: float) -> int:
        """Store an event; returns its id."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO events (function, payload, request_id, task_id, due) VALUES (?, ?, ?, ?, ?)",
                (function, payload, request_id, task_id, due),
            )
            return int(row.lastrowid or 0)

    def remove(self, event: int) -> None:
        """Delete an event that has ended."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM events WHERE id = ?", (event,))

    def events(self, function: str) -> list[StoredEvent]:
        """Return the unfinished events of a function, the earliest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, payload, request_id, task_id, due FROM events WHERE function = ? ORDER BY due",
                (function,),
            )
            return [StoredEvent(**row) for row in rows]

    def add_task(self, function: str, task_id: str, accepted_at: float) -> None:
        """Store the id of a task."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?)", (function, task_id, accepted_at)
            )

    def tasks(self, function: str, since: float) -> dict[str, float]:
        """Return the times at which tasks of a function were accepted, by task id.

        Args:
            function: Name of the function.
            since: Seconds since 1970; older tasks are deleted.
        """
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM tasks WHERE accepted_at < ?", (since,))
            rows = connection.execute(
                "SELECT task_id, accepted_at FROM tasks WHERE function = ?", (function,)
            )
            return {row[0]: row[1] for row in rows}

    def close(self) -> None:
        """Close the file."""
        self._database.close()
