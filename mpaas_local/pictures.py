"""Screenshots of the inbox for README and docs/.

`python -m mpaas_local.pictures` starts a stack, follows docs/guide.md in a browser and takes a screenshot at
each step. It requires Chromium on PATH (Debian's package `chromium-headless-shell` or `chromium`).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from mpaas_local.demo import run_demo
from mpaas_local.stack import ROOT, Ports, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import FilePayload, Page

__all__ = ["NO_CHROMIUM", "chromium", "take_inbox"]

NO_CHROMIUM = "no Chromium on PATH: install Debian's package chromium-headless-shell"

FOLDER = ROOT / "docs" / "pictures"
SETTLE_MILLISECONDS = 600


def chromium() -> str | None:
    """Return the path of a Chromium on PATH; None if there is none.

    The headless shell is the same engine without the parts that show windows, which cost CPU time.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def take_inbox(url: str, path: Path) -> bool:
    """Take a screenshot of the inbox; False if there is no browser."""
    command = chromium()
    if command is None:
        return False
    with _browser_page(command, url) as page:
        _take(page, "/#/", path)
    return True


@contextmanager
def _browser_page(command: str, url: str) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright  # not needed by `make run`

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=command, args=["--no-sandbox"])
        page = browser.new_page(base_url=url, viewport={"width": 1200, "height": 720})
        yield page
        browser.close()


def _take(page: Page, address: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    page.goto(address)
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    page.screenshot(path=path)


def _follow_guide(stack: Stack, page: Page) -> None:
    """Follow docs/guide.md."""
    _take(page, "/#/", FOLDER / "inbox.png")
    page.goto("/#/compose")
    page.locator("#title").fill("Your table is ready")
    page.locator("#content").fill("Come in, we have kept the one by the window for you.")
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    page.screenshot(path=FOLDER / "compose.png")
    page.get_by_role("button", name="Send through the HTTP function").click()
    page.locator(".answer").wait_for()
    _take(page, f"/#/push/{stack.sandbox.inbox(limit=1)[0]['seq']}", FOLDER / "push.png")
    stack.sandbox.order(kind="throttling", next=2)
    _take(page, "/#/faults", FOLDER / "faults.png")
    urllib3.request("POST", f"{stack.inbox_url}/api/send", json={"body": _MESSAGE}, retries=False, timeout=60)
    _take(page, f"/#/push/{stack.sandbox.inbox(limit=1)[0]['seq']}", FOLDER / "retried.png")
    stack.queues.store.send(stack.source_queues["queue_push"], json.dumps(_MESSAGE | {"expiredSeconds": 0}))
    dead_letters = stack.hosts["queue_push"].function.environment["PUSH_DEAD_LETTER_QUEUE"]
    while not stack.queues.store.queue(dead_letters).active_messages:
        time.sleep(0.1)
    _take(page, f"/#/queues/{dead_letters}", FOLDER / "dead-letter.png")
    _take(page, "/#/overview", FOLDER / "overview.png")
    _run_campaign(page)


def _run_campaign(page: Page) -> None:
    """Follow "The inbox" of docs/local.md: drop a CSV, check, start, pause, resume at another pace."""
    rows = [f"user-{number},{'Ada' if number % 999 else ''}" for number in range(9000)]
    content = "\n".join(["user_id,name", *rows]).encode()
    file: FilePayload = {"name": "users.csv", "mimeType": "text/csv", "buffer": content}
    page.goto("/#/new-campaign")
    page.locator("#audience-file").set_input_files(file)
    page.get_by_role("button", name="Check all rows").click()
    page.get_by_role("button", name="Start").click()
    page.wait_for_timeout(4000)
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(3000)
    page.get_by_role("slider", name="Pace").fill("62")
    page.get_by_role("button", name="Resume at").click()
    page.wait_for_timeout(3000)
    page.screenshot(path=FOLDER / "campaign.png", full_page=True)


_MESSAGE = {
    "taskName": "greeting",
    "title": "Good day",
    "content": "All is well.",
    "deliveryType": 3,
    "targets": ["user-1"],
    "expiredSeconds": 600,
}


def main() -> int:
    """Take all screenshots; returns 0, or 1 without a browser."""
    command = chromium()
    if command is None:
        print(NO_CHROMIUM, file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as store,
        Stack(ports=Ports.any(), store=Path(store)) as stack,
        _browser_page(command, stack.inbox_url) as page,
    ):
        run_demo(stack)
        _follow_guide(stack, page)
    print("\n".join(f"  {path.relative_to(ROOT)}" for path in sorted(FOLDER.glob("*.png"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
