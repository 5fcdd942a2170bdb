"""The pages of campaigns, in a real browser."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING

import urllib3
from playwright.sync_api import Page, expect

from tests.mpaas_local.inbox.page.actions import drop, rows

if TYPE_CHECKING:
    from mpaas_local.stack import Stack

WATCH_PROGRESS = """() => {
    window.progress = [];
    const look = () => document.querySelectorAll("progress").forEach((bar) => window.progress.push(bar.getAttribute("aria-label")));
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""
"""Records the label of every progress bar of the page, however briefly it is shown."""


def test_dropped_csv_is_rendered_checked_started_paced_and_reported(page: Page) -> None:
    page.goto("/#/campaigns")
    drop(page, "user_id,name\n" + "".join(f"user-{n},{'Ada' if n else ''}\n" for n in range(1500)))
    expect(page.get_by_role("columnheader", name="user_id target")).to_be_visible()
    expect(page.get_by_role("button", name="line 3: us…(6)")).to_be_visible()
    expect(page.get_by_role("button", name="line 1,501: us…(9)")).to_be_visible()
    expect(page.get_by_text("line 2: column `name` is empty")).to_be_visible()  # one of the rendered rows
    page.get_by_role("spinbutton", name="Targets a second").fill("20")
    expect(page.get_by_role("figure", name="Xiaomi")).to_contain_text("Hello Ada")

    page.get_by_label("Title", exact=True).fill("It starts, ")
    page.get_by_role("button", name="{name}").click()
    expect(page.get_by_role("figure", name="Xiaomi")).to_contain_text("It starts, Ada")
    page.get_by_label("Content", exact=True).fill("{nick}")
    expect(page.get_by_role("alert")).to_contain_text("the audience has no column `nick`")
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_label("Content", exact=True).fill("Come in.")
    page.reload()
    expect(page.get_by_label("Title", exact=True)).to_have_value("It starts, {name}")
    expect(page.get_by_role("columnheader", name="user_id target")).to_be_visible()
    page.evaluate(WATCH_PROGRESS)
    page.get_by_role("button", name="Check all rows").click()
    expect(page.get_by_text("line 2: column `name` is empty")).to_have_count(2)
    assert "Checked rows" in page.evaluate("window.progress")
    expect(page.get_by_text("1,500 rows, 1,499 targets, 150 requests, 1 invalid")).to_be_visible()
    page.get_by_role("button", name="Start").click()

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    page.get_by_role("slider", name="Pace").fill("66")
    page.get_by_role("button", name="Resume at 2,000 targets a second").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("spinbutton", name="Targets a second")).to_have_value("2000")
    page.get_by_label("no limit").check()
    expect(page.get_by_text("done", exact=True)).to_be_visible()
    expect(page.get_by_text("100%, 1,500 rows")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("rows: accepted 1,499, invalid 1"))).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download report").click()
    assert "user-0,invalid,MissingValue" in download.value.path().read_text("utf-8")
    page.get_by_role("link", name="all campaigns").click()
    page.get_by_role("button", name="New campaign").click()
    expect(page.get_by_text("Choose a file")).to_be_visible()
    expect(page.get_by_role("form", name="Campaign")).to_have_count(0)  # the dropped file is not read again


def test_campaign_in_yaml_fills_in_the_form(page: Page) -> None:
    page.goto("/#/new-campaign")
    drop(page, "name,uid\nAda,1\n")
    expect(page.get_by_label("Target column")).to_have_value("uid")

    drop(page, "campaign: own\nmessage:\n  title: Hi {name}\n  uri: app://x\npace: 70\n", "own.yaml")

    expect(page.get_by_label("Campaign id")).to_have_value("own")
    expect(page.get_by_label("Title", exact=True)).to_have_value("Hi {name}")
    expect(page.get_by_role("spinbutton", name="Targets a second")).to_have_value("70")
    expect(page.get_by_label("Target column")).to_have_value("uid")
    expect(page.get_by_text("Also in the campaign: uri.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("message.taskName is required")


def test_typed_pace_is_used_at_start_resume_and_change(page: Page, stack: Stack) -> None:
    name = f"typed-{time.time_ns()}"
    url = f"{stack.urls['http_push']}/v1/campaigns/{name}"
    field = page.get_by_role("spinbutton", name="Targets a second")

    def type_pace(pace: int) -> None:
        field.press("Control+A")
        field.press_sequentially(str(pace), delay=100)

    page.goto("/#/new-campaign")
    drop(page, "user_id\n" + "".join(f"user-{n}\n" for n in range(2000)))
    page.get_by_label("Campaign id").fill(name)
    page.once("dialog", lambda dialog: dialog.accept())  # started without a check
    type_pace(50)
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Pause").click()
    started = urllib3.request("GET", url, retries=False, timeout=60).json()["pace"]
    expect(page.get_by_role("button", name="Resume")).to_be_enabled()
    type_pace(30)
    page.get_by_role("button", name="Resume at 30 targets a second").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    resumed = urllib3.request("GET", url, retries=False, timeout=60).json()["pace"]
    type_pace(41)
    while (changed := urllib3.request("GET", url, retries=False, timeout=60).json()["pace"]) == resumed:
        page.wait_for_timeout(50)
    urllib3.request("POST", f"{url}/cancel", retries=False, timeout=60)

    assert (started, resumed, changed) == (50, 30, 41)


def test_campaign_is_cancelled_only_after_confirmation(page: Page, stack: Stack) -> None:
    name = f"slow-{time.time_ns()}"
    page.goto("/#/new-campaign")
    drop(page, "user_id\n" + "".join(f"user-{n}\n" for n in range(900)))
    page.get_by_label("Campaign id").fill(name)
    page.get_by_role("spinbutton", name="Targets a second").fill("10")
    page.once("dialog", lambda dialog: dialog.accept())  # started without a check
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("running", exact=True)).to_be_visible()

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("running", exact=True)).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()

    expect(page.locator(".marks", has_text=re.compile("cancelled.*ended"))).to_be_visible()
    url = f"{stack.urls['http_push']}/v1/campaigns/{name}"
    cancelled = urllib3.request("GET", url, retries=False, timeout=60).json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["counts"]["cancelled"] > 0
    moments = [
        datetime.fromisoformat(cancelled[key].replace("Z", "+00:00")) for key in ("startedAt", "finishedAt")
    ]
    rate = cancelled["counts"]["accepted"] / max((moments[1] - moments[0]).total_seconds(), 1)
    expect(page.locator(".figures > div", has_text="average rate")).to_contain_text(f"{int(rate + 0.5)}/s")
    history = [{"at": 0, "counts": {"rows": 0}}, {"at": 10, "counts": cancelled["counts"] | {"accepted": 20}}]
    sent = "(history) => import(document.scripts[0].src.replace('main', 'curves')).then(({ rateNow }) => rateNow(history))"
    assert page.evaluate(sent, history) == 2  # excludes the cancelled rows

    # The same id with other content
    page.goto("/#/campaigns")
    drop(page, "user_id\nuser-1\n")
    page.get_by_label("Campaign id").fill(name)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start").click()
    refused = page.locator(".verdict").get_by_role("alert")
    expect(refused).to_contain_text(
        f"campaign {name} was started with other content: give this one another id"
    )
    expect(page.get_by_label("Campaign id")).to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Use the id").click()
    expect(page.get_by_label("Campaign id")).to_have_value(f"{name}-2")
    expect(refused).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("done", exact=True)).to_be_visible()
    page.get_by_role("link", name="Pushes").click()
    rows(page).first.click()
    page.get_by_role("link", name=f"{name}-2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{name}-2")


def test_unusable_audience_and_missing_header_are_reported_on_the_page(page: Page) -> None:
    page.goto("/#/new-campaign")

    drop(page, "x", "users.xlsx")
    expect(page.get_by_role("alert")).to_contain_text("the name of an audience must end with .csv")

    drop(page, "user-1\nuser-2\n")
    expect(page.get_by_role("alert")).to_contain_text("The first line, user-1, looks like an id")
    expect(page.get_by_text("about 1 row,")).to_be_visible()
    page.get_by_role("button", name="Read the file as plain ids").click()
    expect(page.get_by_text("about 2 rows,")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    drop(page, "\ufeffuser-1;2\nuser-2;3\n")
    expect(page.get_by_role("alert")).to_contain_text("looks like the id below it")
    first_line = page.get_by_role("button", name="The first line is a row, not a header")
    first_line.click()
    expect(page.get_by_text("about 2 rows,")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(first_line).to_have_count(0)
    expect(page.get_by_role("columnheader", name="column_1 target")).to_be_visible()
    expect(page.get_by_role("cell", name="user-1", exact=True)).to_be_visible()
