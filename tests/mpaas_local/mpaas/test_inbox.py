from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from mpaas_local.mpaas import Sandbox, StoreUnusable
from mpaas_local.mpaas.store import FunctionCall
from tests.mpaas_local.mpaas.calls import get, post, push, send

if TYPE_CHECKING:
    from pathlib import Path


def test_entries_are_listed_newest_first(sandbox: Sandbox) -> None:
    for title in ("one", "two", "three"):
        send(sandbox, push(Title=title))

    page = get(sandbox, "/inbox").json

    assert page["total"] == 3
    assert [entry["parameters"]["Title"] for entry in page["entries"]] == ["three", "two", "one"]


def test_a_page_is_limited_and_counts_all_matches(sandbox: Sandbox) -> None:
    for _ in range(5):
        send(sandbox)

    entries = get(sandbox, "/inbox").json["entries"]
    page = get(sandbox, "/inbox?limit=2&offset=1").json

    assert page == {"total": 5, "entries": entries[1:3]}


def test_entries_after_a_sequence_number_are_newer(sandbox: Sandbox) -> None:
    send(sandbox)
    seen = sandbox.inbox()[0]["seq"]
    assert get(sandbox, f"/inbox?after={seen}").json == {"total": 0, "entries": []}

    send(sandbox)
    assert [entry["seq"] for entry in get(sandbox, f"/inbox?after={seen}").json["entries"]] == [seen + 1]


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("outcome=refused", ["Late ORDER"]),
        ("outcome=accepted", ["order", "other"]),
        ("target=user2", ["order"]),
        ("target=user", []),
        ("text=order", ["Late ORDER", "order"]),
        ("text=CONTENT%20three", ["other"]),
        ("text=o%25r", []),
        ("text=order&outcome=accepted&target=user2", ["order"]),
    ],
)
def test_entries_are_filtered_by_outcome_target_and_text(
    sandbox: Sandbox, query: str, titles: list[str]
) -> None:
    send(sandbox, push(Title="other", TaskName="x", Content="content three"))
    send(sandbox, push(Title="order", TaskName="x", TargetMsgkey='{"user1":"m1","user2":"m2"}'))
    send(sandbox, push(Title="Late ORDER", TaskName="x", ExpiredSeconds="0"))

    assert [
        entry["parameters"]["Title"] for entry in get(sandbox, f"/inbox?{query}").json["entries"]
    ] == titles


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=1001", "1000"),
        ("limit=-1", "limit"),
        ("limit=%D9%A1", "limit"),
        ("offset=x", "offset"),
        (f"after={10**30}", "after"),
        ("outcome=lost", "accepted, refused, rejected, dropped"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_query_is_rejected_with_the_allowed_values(sandbox: Sandbox, query: str, named: str) -> None:
    reply = get(sandbox, f"/inbox?{query}")

    assert reply.status == 422
    assert named in reply.json["detail"]


def test_one_entry_is_shown_by_its_sequence_number(sandbox: Sandbox) -> None:
    send(sandbox)
    entry = sandbox.inbox()[0]

    assert get(sandbox, f"/inbox/{entry['seq']}").json == entry
    assert get(sandbox, f"/inbox/{entry['seq'] + 1}").status == 404
    assert get(sandbox, "/inbox/first").status == 422


def test_clearing_the_inbox_deletes_entries_and_message_ids(sandbox: Sandbox) -> None:
    body = push()
    send(sandbox, body)
    before = sandbox.inbox()[0]["seq"]

    assert post(sandbox, "/inbox", method="DELETE").json == {"deleted": 1}
    assert get(sandbox, "/inbox").json["total"] == 0
    send(sandbox, body)
    (entry,) = sandbox.inbox()
    assert entry["targets"][0]["repeated"] is False
    assert entry["seq"] > before


def test_the_inbox_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "inbox.db"
    body = push()
    with Sandbox(store=path) as sandbox:
        send(sandbox, body)
        kept = sandbox.inbox()
    with Sandbox(store=path) as sandbox:
        assert sandbox.inbox() == kept
        send(sandbox, body)
        assert sandbox.inbox()[0]["targets"][0]["repeated"] is True
        assert sandbox.inbox()[0]["seq"] == kept[0]["seq"] + 1


def test_an_inbox_keeps_only_the_newest_entries(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    oldest = push()
    with Sandbox(store=path) as sandbox:  # without a limit
        send(sandbox, oldest)
        for _ in range(4):
            send(sandbox)
        (message_id,) = json.loads(oldest["TargetMsgkey"]).values()
        sandbox.store.record_sender(FunctionCall("request-1", "http", {}), [message_id])

    with Sandbox(store=path, max_entries=3) as sandbox:
        assert [entry["seq"] for entry in sandbox.inbox()] == [5, 4, 3]
        send(sandbox, oldest)

        assert [entry["seq"] for entry in sandbox.inbox()] == [6, 5, 4]
        assert sandbox.inbox()[0]["targets"][0]["repeated"] is False
    with sqlite3.connect(path) as connection:
        for table, kept in (("entry", 3), ("target", 3), ("call", 0)):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (kept,)


def test_a_file_that_is_not_an_inbox_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    path.write_text("a letter, not a database, and long enough to look like one " * 20)

    with pytest.raises(StoreUnusable, match="not a database") as raised:
        Sandbox(store=path)

    assert raised.value.path == path
    assert "letter" in path.read_text()


def test_an_inbox_of_another_schema_version_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()

    with pytest.raises(StoreUnusable, match="schema version 9"):
        Sandbox(store=path)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnusable):
        Sandbox(store=tmp_path / "file" / "inbox.db")


def test_the_sandbox_accepts_its_own_host_names_and_origins(sandbox: Sandbox) -> None:
    for host in (f"127.0.0.1:{sandbox.port}", f"localhost:{sandbox.port}", f"[::1]:{sandbox.port}"):
        assert get(sandbox, "/health", Host=host, Origin=f"http://{host}").json["status"] == "ok"


def test_unknown_paths_and_methods_are_problems(sandbox: Sandbox) -> None:
    assert get(sandbox, "/nowhere").json["status"] == 404
    reply = post(sandbox, "/inbox", method="PUT")
    assert reply.json["status"] == 405
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD", "DELETE"}


def test_the_openapi_document_describes_the_responses(sandbox: Sandbox) -> None:
    document: Any = get(sandbox, "/openapi.json").json
    validate(document)
    sandbox.order(kind="resetAfterRead", accept=False, match={"target": "nobody"})
    send(sandbox)
    send(sandbox, secret="wrong")

    for path, schema in (
        ("/inbox", "InboxPage"),
        (f"/inbox/{sandbox.inbox()[0]['seq']}", "Entry"),
        ("/faults", "ActiveFaults"),
        ("/health", "Health"),
        ("/nowhere", "Problem"),
    ):
        reference = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
        Draft202012Validator(reference).validate(get(sandbox, path).json)
    order = {"$ref": "#/components/schemas/FaultOrder", "components": document["components"]}
    Draft202012Validator(order).validate({"kind": "throttling", "retryAfter": 1, "match": {"taskName": "x"}})
