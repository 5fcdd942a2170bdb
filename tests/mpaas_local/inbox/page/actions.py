"""What the tests of the page do besides clicking: push, start a campaign, drop a file."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import urllib3

from tests.mpaas_local.inbox.conftest import MESSAGE
from tests.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from mpaas_local.stack import Stack

__all__ = ["campaign", "dead_letter", "drop", "push", "rows"]


def push(stack: Stack, **changes: Any) -> None:
    url = f"{stack.urls['http_push']}/v1/pushes"
    response = urllib3.request("POST", url, json=MESSAGE | changes, retries=False, timeout=60)
    assert response.status in {200, 502, 503}, response.data


def dead_letter(stack: Stack, body: dict[str, Any]) -> str:
    """Make the queue function give a message up; return the name of the dead-letter queue."""
    name = stack.hosts["queue_push"].function.environment["PUSH_DEAD_LETTER_QUEUE"]
    store = stack.queues.store
    before = store.queue(name).active_messages
    store.send(stack.source_queues["queue_push"], json.dumps(body))
    eventually(lambda: store.queue(name).active_messages != before)
    return name


def campaign(stack: Stack) -> str:
    """Start a campaign to one user and return its id."""
    name = f"campaign-{time.time_ns()}"
    api = f"{stack.inbox_url}/api"
    uploaded = urllib3.request(
        "POST",
        f"{api}/audiences?name=users.csv",
        body=b"user_id\nuser-1\nuser-1\n",
        retries=False,
        timeout=60,
    ).json()
    message = {key: value for key, value in MESSAGE.items() if key != "targets"}
    document = {"campaign": name, "message": message, "audience": uploaded["audience"]}
    response = urllib3.request("POST", f"{api}/campaigns", json=document, retries=False, timeout=60)
    assert response.status == 201, response.data
    return name


def drop(page: Page, text: str, name: str = "users.csv") -> None:
    """Drop a file on the page."""
    page.locator("main h1").wait_for()
    files = page.evaluate_handle(
        "([text, name]) => { const files = new DataTransfer(); files.items.add(new File([text], name)); return files }",
        [text, name],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": files})


def rows(page: Page) -> Any:
    return page.locator("a.push")
