"""The inbox with 10,000 stored pushes, in a real browser: opening the list, and scrolling down it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from benchmarks.report import Table, verdict
from mpaas_local.mpaas.store import ClientResponse, InboxEntry, Store, Target
from mpaas_local.pictures import NO_CHROMIUM, chromium
from mpaas_local.stack import Ports, Stack

if TYPE_CHECKING:
    from playwright.sync_api import Page

STORED, FEW, ROUNDS, PAGES = 10_000, 50, 9, 20


def inbox() -> Table:
    """Compare the time until rows are shown, with few and with many pushes stored, and while scrolling."""
    command = chromium()
    if command is None:
        raise RuntimeError(NO_CHROMIUM)
    with (
        tempfile.TemporaryDirectory() as few,
        tempfile.TemporaryDirectory() as many,
        sync_playwright() as playwright,
    ):
        _fill(Path(few), FEW)
        _fill(Path(many), STORED)
        with (
            Stack(ports=Ports.any(), store=Path(few)) as small,
            Stack(ports=Ports.any(), store=Path(many)) as large,
        ):
            browser = playwright.chromium.launch(executable_path=command, args=["--no-sandbox"])
            page = browser.new_page()
            times: dict[str, list[float]] = {small.inbox_url: [], large.inbox_url: []}
            for url in times:  # a warm-up
                _open(page, url)
            for _ in range(ROUNDS):
                for url, seconds in times.items():
                    seconds.append(_open(page, url))
            next_pages = _scroll(page)
            rows = page.locator("a.push").count()
            browser.close()
    with_many, with_few = median(times[large.inbox_url]), median(times[small.inbox_url])
    ratio = median(a / b for a, b in zip(times[large.inbox_url], times[small.inbox_url], strict=True))
    text = f"seconds {verdict(with_many, most=1)}"
    after = f"{rows:,} of {STORED:,} rows loaded"
    return Table(
        "The inbox with 10,000 stored pushes",
        "From requesting the page until its first 50 rows are shown, in headless Chromium, median of"
        f" {ROUNDS} rounds; then the time until the next 50 are shown, median of {PAGES} pages scrolled.",
        ["what", "ms", "of that with 50 stored", "target"],
        [
            [f"open, {FEW} stored", f"{with_few * 1000:.0f}", "1", ""],
            [f"open, {STORED:,} stored", f"{with_many * 1000:.0f}", f"{ratio:.2f}", text],
            ["the next 50 rows", f"{median(next_pages) * 1000:.0f}", "", after],
        ],
    )


def _fill(folder: Path, count: int) -> None:
    store = Store(folder / "inbox.sqlite3")
    now = time.time()
    for index in range(count):
        parameters = {
            "TaskName": f"task-{index % 40}",
            "Title": f"Order {index} is on its way",
            "Content": "It will arrive tomorrow. " * 3,
            "DeliveryType": "3",
            "AppId": "ONEX1",
            "WorkspaceId": "default",
        }
        targets = tuple(
            Target(f"user-{index}-{number}", f"id-{index}-{number}", repeated=False) for number in range(10)
        )
        store.append(
            InboxEntry(
                received_at=now - count + index,
                request_id=f"r-{index}",
                version="2020-10-28",
                signature="rpc-v1",
                access_key_id="key",
                outcome="accepted",
                response=ClientResponse(200, "OK", "SUCCESS"),
                parameters=parameters,
                targets=targets,
                body="x" * 1500,
            )
        )
    store.close()


def _open(page: Page, url: str) -> float:
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(f"{url}/")
    page.locator("a.push").nth(49).wait_for(state="attached")
    return time.perf_counter() - began


def _scroll(page: Page) -> list[float]:
    seconds = []
    for _ in range(PAGES):
        before = page.locator("a.push").count()
        began = time.perf_counter()
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.locator("a.push").nth(before).wait_for(state="attached")
        seconds.append(time.perf_counter() - began)
    return seconds
