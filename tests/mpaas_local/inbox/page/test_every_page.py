"""Accessibility, width, navigation and requests of every page, in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest
import urllib3
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.mpaas_local.inbox.conftest import MESSAGE
from tests.mpaas_local.inbox.page.actions import campaign, dead_letter, drop, push, rows

if TYPE_CHECKING:
    from mpaas_local.stack import Stack

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = [
    *("#/", "#/compose", "#/campaigns", "#/faults", "#/overview", "#/queues"),
    *("push", "dead letters", "campaign", "new campaign"),
]


@pytest.mark.parametrize("page_name", PAGES)
def test_axe_reports_no_violation(page: Page, stack: Stack, page_name: str) -> None:
    stack.sandbox.order(kind="result", code="8011")
    urllib3.request("POST", f"{stack.urls['http_push']}/v1/pushes", json=MESSAGE, retries=False, timeout=60)
    push(stack, silent=1, title="A title that is far longer than any vendor lets through, all of them")
    if page_name == "push":
        page_name = f"#/push/{stack.sandbox.inbox(limit=1)[0]['seq']}"
    elif page_name == "dead letters":
        page_name = f"#/queues/{dead_letter(stack, MESSAGE | {'expiredSeconds': 0})}"
    elif page_name == "campaign":
        page_name = f"#/campaigns/{campaign(stack)}"
    page.goto(f"/{page_name}" if page_name != "new campaign" else "/#/new-campaign")
    if page_name == "new campaign":
        drop(page, "user_id,name\nuser-1,Ada\nuser-2,\n")
        page.get_by_role("button", name="Check all rows").click()
        expect(page.get_by_text("1 invalid")).to_be_visible()
    expect(page.locator("main h1")).to_have_count(1)
    page.wait_for_timeout(500)
    for summary in page.locator("summary").all():
        summary.click()

    violations: dict[str, Any] = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        violations[scheme] = [
            (violation["id"], violation["nodes"][0]["html"], violation["nodes"][0]["failureSummary"])
            for violation in Axe().run(page).response["violations"]
        ]

    assert violations == {"light": [], "dark": []}


def test_colour_scheme_follows_the_system_and_the_button(page: Page) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    grounds: dict[str, str] = {}
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.goto("/")
        page.evaluate("localStorage.clear()")
        page.reload()
        expect(page.get_by_role("search")).to_be_visible()
        grounds[scheme] = ground()
        page.get_by_role("button", name="Light / dark").click()
        grounds[f"not {scheme}"] = ground()
        page.reload()
        assert ground() == grounds[f"not {scheme}"]
    page.evaluate("localStorage.clear()")

    assert grounds["light"] != grounds["dark"]
    assert grounds["not light"] == grounds["dark"]


def test_no_page_is_wider_than_a_phone(page: Page, stack: Stack) -> None:
    push(stack, title="W" * 60, content="x" * 500, targets=[f"{'t' * 80}-{number}" for number in range(10)])
    page.set_viewport_size({"width": 360, "height": 740})
    seq = stack.sandbox.inbox(limit=1)[0]["seq"]
    name = campaign(stack)
    wide = ",".join(f"column{number}" for number in range(20))
    for page_name in (
        *("#/", f"#/push/{seq}", "#/compose", "#/campaigns", f"#/campaigns/{name}", "#/new-campaign"),
        *("#/faults", "#/overview", "#/queues"),
    ):
        page.goto(f"/{page_name}")
        expect(page.locator("main h1")).to_have_count(1)
        if page_name == "#/new-campaign":
            drop(page, f"user_id,{wide}\nuser-1,{wide}\n")
            expect(page.get_by_role("figure", name="Xiaomi")).to_be_visible()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, page_name


def test_late_animation_frame_does_not_move_the_focus_from_the_search(page: Page, stack: Stack) -> None:
    push(stack, title="First")
    push(stack, title="Second")
    page.goto("/")
    page.evaluate(
        "() => { const frame = requestAnimationFrame; requestAnimationFrame = (f) => setTimeout(frame, 500, f) }"
    )
    page.locator("a.push").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("First")
    page.keyboard.press("Escape")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("/")
    page.wait_for_timeout(1000)
    page.keyboard.type("second")
    expect(rows(page)).to_have_count(1)


def test_pages_are_reachable_by_keyboard(page: Page, stack: Stack) -> None:
    push(stack, title="First")
    push(stack, title="Second")
    page.goto("/")
    expect(rows(page)).to_have_count(2)

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("First")
    page.keyboard.press("Escape")
    expect(rows(page)).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("second")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", level=1)).to_have_text("Compose")
    for key, heading in (("m", "Campaigns"), ("f", "Faults"), ("o", "Overview"), ("q", "Queues")):
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.keyboard.press("?")
    expect(page.get_by_label("Shortcuts", exact=True).first).to_be_visible()


def test_page_uses_only_the_documented_api(page: Page, stack: Stack) -> None:
    document = urllib3.request("GET", f"{stack.inbox_url}/openapi.json", timeout=60).json()
    documented = [
        (method.upper(), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))))
        for path, operations in document["paths"].items()
        for method in operations
    ]
    requests: list[tuple[str, str]] = []
    page.on("request", lambda request: requests.append((request.method, urlsplit(request.url).path)))
    push(stack)
    dead = dead_letter(stack, MESSAGE | {"expiredSeconds": 0})
    page.goto("/")
    rows(page).first.click()
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".answer")).to_be_visible()
    campaigns = ("campaigns", f"campaigns/{campaign(stack)}", "new-campaign")
    for page_name in ("compose", *campaigns, "faults", "overview", f"queues/{dead}"):
        page.goto(f"/#/{page_name}")
        expect(page.locator("main h1")).to_be_visible()
    page.get_by_role("button", name="Send back").first.click()
    page.wait_for_timeout(300)

    api = [request for request in requests if request[1].startswith("/api/")]
    assert len({path for _, path in api}) >= 8
    for method, path in api:
        assert any(known == method and pattern.fullmatch(path) for known, pattern in documented), (
            method,
            path,
        )


def test_page_loads_nothing_from_elsewhere(page: Page, stack: Stack) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    push(stack, iconUrls={"defaultUrl": "https://example.com/icon.png"}, uri="https://example.com/")
    page.goto("/")
    rows(page).click()
    expect(page.get_by_role("figure", name="Xiaomi")).to_be_visible()

    assert requests
    assert all(url.startswith(stack.inbox_url) for url in requests)


def test_hash_that_changes_during_the_first_render_is_followed(page: Page) -> None:
    opened = page.context.new_page()
    opened.add_init_script(
        """new MutationObserver((_, watch) => {
            if (!document.querySelector("header.top")) return;
            watch.disconnect();
            location.hash = "#/new-campaign"; // after the first render, before it is painted
        }).observe(document, { childList: true, subtree: true });"""
    )
    opened.goto("/#/")

    expect(opened.get_by_role("heading", name="New campaign")).to_be_visible()
    opened.close()
