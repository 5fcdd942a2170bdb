"""Fixtures: a browser, and a page of the inbox in it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from mpaas_local.pictures import NO_CHROMIUM, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_local.stack import Stack

WINDOW: ViewportSize = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium()
    if executable is None:
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail(NO_CHROMIUM)
        pytest.skip(f"THE PAGE IS NOT TESTED: {NO_CHROMIUM}")
    expect.set_options(timeout=60_000)  # CI runs everything on two cores
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser: Browser, running: Stack) -> Iterator[tuple[Page, list[str]]]:
    """The page of all tests of a module, since a new one takes longer than most tests; and its errors."""
    context = browser.new_context(
        base_url=running.inbox_url,
        permissions=["clipboard-read", "clipboard-write"],
        viewport=WINDOW,
        reduced_motion="reduce",  # otherwise colours fade when the scheme changes
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # The browser logs the API's refusals, which the page shows.
    page.on(
        "console",
        lambda message: (
            errors.append(message.text)
            if message.type == "error" and not re.search("status of 4(04|09|22)", message.text)
            else None
        ),
    )
    yield page, errors
    context.close()


@pytest.fixture
def page(window: tuple[Page, list[str]]) -> Iterator[Page]:
    """A page without state of earlier tests; an error on its console fails the test."""
    shared_page, errors = window
    errors.clear()
    yield shared_page
    if shared_page.url.startswith("http"):
        shared_page.evaluate("sessionStorage.clear()")
    shared_page.goto("about:blank")
    shared_page.emulate_media(color_scheme="null")
    shared_page.set_viewport_size(WINDOW)
    assert not errors
