"""The inbox: every received request, in SQLite.

Stores each `InboxEntry` and returns entries as JSON objects. They survive a restart if the store is a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mpaas_local.clock import utc_text
from mpaas_local.database import Database
from mpaas_local.mpaas.call import printable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

SandboxOutcome = Literal["accepted", "refused", "rejected", "dropped"]
"""What became of a push, regardless of what the client received.

`accepted`: accepted by the server. `refused`: a failing result code, judged or ordered. `rejected`: a gateway
error, never judged. `dropped`: the connection or the response failed before the server accepted the push.
"""

OUTCOMES: tuple[SandboxOutcome, ...] = ("accepted", "refused", "rejected", "dropped")

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    outcome TEXT NOT NULL,
    text TEXT NOT NULL,
    document TEXT NOT NULL,
    at REAL NOT NULL DEFAULT 0,
    delivery TEXT,
    trigger TEXT,
    call TEXT
);
CREATE TABLE call (
    id TEXT PRIMARY KEY,
    document TEXT NOT NULL
);
CREATE TABLE target (
    seq INTEGER NOT NULL REFERENCES entry (seq),
    target TEXT NOT NULL,
    message_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    accepted INTEGER NOT NULL
);
CREATE INDEX target_by_name ON target (target, seq);
CREATE INDEX accepted_message_id ON target (message_id, scope) WHERE accepted;
CREATE INDEX target_by_message_id ON target (message_id);
"""
_ADDED_INDEXES = (  # missing from older files of this version
    "CREATE INDEX IF NOT EXISTS target_by_seq ON target (seq)",
    "CREATE INDEX IF NOT EXISTS entry_by_call ON entry (call)",
)


@dataclass(frozen=True)
class Target:
    """One pair of TargetMsgkey; `repeated` if its message id was accepted before in this workspace."""

    target: str
    message_id: str
    repeated: bool


@dataclass(frozen=True)
class ClientResponse:
    """The response to the client: status, result or gateway code, text, and how the connection ended.

    `http_status` is None if nothing was sent. `connection` is `kept`, `reset` (TCP RST), `cut` (closed in the
    body) or `left` (the client disconnected first).
    """

    http_status: int | None
    code: str | None
    message: str | None
    connection: Literal["kept", "reset", "cut", "left"] = "kept"


@dataclass(frozen=True, kw_only=True)
class InboxEntry:
    """One received request, without signature, security token and secrets."""

    received_at: float
    request_id: str
    version: str | None
    signature: str | None
    access_key_id: str | None
    outcome: SandboxOutcome
    response: ClientResponse
    fault: dict[str, Any] | None = None
    task_id: str | None = None
    parameters: dict[str, str] | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    query: str = ""
    body: str = ""

    @property
    def scope(self) -> str:
        """App and workspace, within which message ids are unique."""
        return id_scope(self.parameters or {})

    @property
    def text(self) -> str:
        """What `?text=` searches: task name, title and content, case-folded."""
        parameters = self.parameters or {}
        return "\n".join(parameters.get(name, "") for name in ("TaskName", "Title", "Content")).casefold()

    def document(self) -> dict[str, Any]:
        """The entry as JSON, without its sequence number."""
        return {
            "receivedAt": utc_text(self.received_at),
            "requestId": self.request_id,
            "version": self.version,
            "signature": self.signature,
            "accessKeyId": self.access_key_id,
            "outcome": self.outcome,
            "answer": {
                "httpStatus": self.response.http_status,
                "code": self.response.code,
                "message": self.response.message,
                "connection": self.response.connection,
            },
            "fault": self.fault,
            "taskId": self.task_id,
            "parameters": self.parameters,
            "targets": [
                {"target": pair.target, "messageId": pair.message_id, "repeated": pair.repeated}
                for pair in self.targets
            ],
            "notes": list(self.notes),
            "query": self.query,
            "body": self.body,
        }


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries to show: at most `limit`, skipping `offset`, with a seq above `after` and below `before`.

    `text` is a part of the task name, title or content and ignores case. `delivery` is a DeliveryType;
    `trigger` is that of the entry's `FunctionCall`.
    """

    limit: int = 50
    offset: int = 0
    after: int | None = None
    outcome: str | None = None
    target: str | None = None
    text: str | None = None
    before: int | None = None
    delivery: str | None = None
    trigger: str | None = None


@dataclass(frozen=True)
class FunctionCall:
    """A call of a function that sent pushes; `document` is stored."""

    id: str
    trigger: str
    document: dict[str, Any]


class Store:
    """The SQLite file, or ":memory:". Thread-safe.

    Args:
        path: Created with its folder if missing.
        redact: Removes secrets from a document before it is stored.
        max_entries: Number of entries after which the oldest are deleted, with their message ids; None for no
            limit.

    Raises:
        StoreUnusable: the file cannot be opened, or is not a store of this version.
    """

    def __init__(
        self,
        path: Path | str,
        redact: Callable[[Any], Any] = lambda document: document,
        *,
        max_entries: int | None = None,
    ) -> None:
        self._redact = redact
        self._max_entries = max_entries
        self._listeners: list[Callable[[], None]] = []
        self._find_sender: Callable[[InboxEntry], FunctionCall | None] = lambda _: None
        self._database = Database(path, schema=_SCHEMA, version=_SCHEMA_VERSION)
        with self._database.transaction() as connection:
            for statement in _ADDED_INDEXES:
                connection.execute(statement)
            (newest,) = connection.execute("SELECT max(seq) FROM entry").fetchone()
            self._prune(connection, newest or 0)

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def append(self, entry: InboxEntry) -> int:
        """Add an entry; returns its sequence number, which is never reused."""
        document = dump_json(self._redact(entry.document())).decode()
        accepted = entry.outcome == "accepted"
        scope = printable(entry.scope)
        sender = self._find_sender(entry)
        with self._database.transaction() as connection:
            if sender:
                self._store_call(connection, sender)
            cursor = connection.execute(
                "INSERT INTO entry (outcome, text, document, at, delivery, trigger, call)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.outcome,
                    printable(self._redact(entry.text)),
                    document,
                    entry.received_at,
                    printable((entry.parameters or {}).get("DeliveryType", "")),
                    sender and sender.trigger,
                    sender and sender.id,
                ),
            )
            seq = cursor.lastrowid or 0
            connection.executemany(
                "INSERT INTO target VALUES (?, ?, ?, ?, ?)",
                [
                    (seq, printable(pair.target), printable(pair.message_id), scope, accepted)
                    for pair in entry.targets
                ],
            )
            self._prune(connection, seq)
        self._announce()
        return seq

    def _prune(self, connection: sqlite3.Connection, newest: int) -> None:
        """Delete all but the newest entries, with their targets and the calls that only they refer to."""
        if self._max_entries is None:
            return
        last = newest - self._max_entries  # sequence numbers have no gaps
        calls = connection.execute("SELECT DISTINCT call FROM entry WHERE seq <= ?", (last,)).fetchall()
        connection.execute("DELETE FROM target WHERE seq <= ?", (last,))
        connection.execute("DELETE FROM entry WHERE seq <= ?", (last,))
        connection.executemany(
            "DELETE FROM call WHERE id = :id AND NOT EXISTS (SELECT 1 FROM entry WHERE call = :id)",
            [{"id": call} for (call,) in calls],
        )

    def set_sender_lookup(self, find_sender: Callable[[InboxEntry], FunctionCall | None]) -> None:
        """Look up the sender of each new entry, for calls that are known before they end.

        Args:
            find_sender: Returns the call that sent an entry; None if it is unknown.
        """
        self._find_sender = find_sender

    def _store_call(self, connection: sqlite3.Connection, call: FunctionCall) -> None:
        document = dump_json(self._redact(call.document)).decode()
        connection.execute("INSERT OR REPLACE INTO call VALUES (?, ?)", (call.id, document))

    def record_sender(self, call: FunctionCall, message_ids: Iterable[str]) -> None:
        """Record a call as the sender of all entries with these message ids that have no sender yet."""
        with self._database.transaction() as connection:
            self._store_call(connection, call)
            connection.executemany(
                "UPDATE entry SET trigger = ?, call = ? WHERE call IS NULL"
                " AND seq IN (SELECT seq FROM target WHERE message_id = ?)",
                [(call.trigger, call.id, printable(message_id)) for message_id in message_ids],
            )
        self._announce()

    def call_of(self, seq: int) -> dict[str, Any] | None:
        """The call that sent an entry, if known."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT call.document FROM entry JOIN call ON call.id = entry.call WHERE entry.seq = ?",
                (seq,),
            ).fetchone()
        return json.loads(row[0]) if row else None

    def attempts_of(self, seq: int) -> list[dict[str, Any]]:
        """The first hundred entries that share a message id with this one, oldest first, including itself."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT entry.seq, entry.document, entry.trigger FROM entry WHERE entry.seq = ?"
                " OR entry.seq IN (SELECT other.seq FROM target AS mine JOIN target AS other"
                " ON other.message_id = mine.message_id AND other.scope = mine.scope WHERE mine.seq = ?)"
                " ORDER BY entry.seq LIMIT 100",
                (seq, seq),
            ).fetchall()
        return [_entry_json(*row) for row in rows]

    def counts(self, since: float) -> list[tuple[int, str, int]]:
        """Minute since 1970, outcome and number of entries, for each minute since a time and each outcome."""
        with self._database.reading() as connection:
            return connection.execute(
                "SELECT CAST(at / 60 AS INTEGER) AS minute, outcome, count(*) FROM entry WHERE at >= ?"
                " GROUP BY minute, outcome ORDER BY minute",
                (since,),
            ).fetchall()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call a listener after every change, on the changing thread; returns a function that removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _announce(self) -> None:
        for listener in list(self._listeners):
            listener()

    def accepted_before(self, scope: str, message_ids: Iterable[str]) -> set[str]:
        """Those of the message ids that were accepted before in this scope."""
        with self._database.reading() as connection:
            return {
                message_id
                for message_id in message_ids
                if connection.execute(
                    "SELECT 1 FROM target WHERE message_id = ? AND scope = ? AND accepted LIMIT 1",
                    (printable(message_id), printable(scope)),
                ).fetchone()
            }

    def find(self, criteria: Filter) -> tuple[int, list[dict[str, Any]]]:
        """The number of matching entries without limit and offset, and the requested page, newest first."""
        conditions, values = ["1"], []
        for condition, value in (
            ("seq > ?", criteria.after),
            ("seq < ?", criteria.before),
            ("outcome = ?", criteria.outcome),
            ("delivery = ?", criteria.delivery),
            ("trigger = ?", criteria.trigger),
            ("seq IN (SELECT seq FROM target WHERE target = ?)", criteria.target),
            ("instr(text, ?) > 0", criteria.text.casefold() if criteria.text else None),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(printable(value) if isinstance(value, str) else value)
        where = " AND ".join(conditions)
        with self._database.reading() as connection:
            total = connection.execute(
                f"SELECT count(*) FROM entry WHERE {where}",  # of constant conditions
                values,
            ).fetchone()[0]
            rows = connection.execute(
                f"SELECT seq, document, trigger FROM entry WHERE {where} "  # of constant conditions
                "ORDER BY seq DESC LIMIT ? OFFSET ?",
                [*values, criteria.limit, criteria.offset],
            ).fetchall()
        return total, [_entry_json(*row) for row in rows]

    def get(self, seq: int) -> dict[str, Any] | None:
        """One entry by its sequence number; None if there is none."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT seq, document, trigger FROM entry WHERE seq = ?", (seq,)
            ).fetchone()
        return _entry_json(*row) if row else None

    def clear(self) -> int:
        """Delete all entries and message ids; returns how many entries there were."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM target")
            connection.execute("DELETE FROM call")
            deleted = connection.execute("DELETE FROM entry").rowcount
        self._announce()
        return deleted


def id_scope(parameters: dict[str, str]) -> str:
    """App and workspace, within which message ids are unique."""
    return f"{parameters.get('AppId', '')}\n{parameters.get('WorkspaceId', '')}"


def dump_json(value: Any) -> bytes:
    """JSON in UTF-8, with lone surrogates as JSON escapes."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _entry_json(seq: int, document: str, trigger: str | None) -> dict[str, Any]:
    return {"seq": seq, "trigger": trigger, **json.loads(document)}
