"""The page in a real browser."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest
import urllib3
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from mpaas_push.message.constraints.clock import CHINA
from tests.mpaas_local.inbox.conftest import MESSAGE
from tests.waiting import eventually

if TYPE_CHECKING:
    from mpaas_local.stack import Stack

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&lt;{{7*7}}${7*7}'
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PAGES = [
    *("#/", "#/compose", "#/campaigns", "#/faults", "#/overview", "#/queues"),
    *("push", "dead letters", "campaign", "new campaign"),
]


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


WATCH_PROGRESS = """() => {
    window.progress = [];
    const look = () => document.querySelectorAll("progress").forEach((bar) => window.progress.push(bar.getAttribute("aria-label")));
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""
"""Records the label of every progress bar of the page, however briefly it is shown."""


def rows(page: Page) -> Any:
    return page.locator("a.push")


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


# --- The list


def test_push_appears_with_its_cause_without_reloading(page: Page, stack: Stack) -> None:
    page.goto("/")
    expect(page.get_by_text("No pushes yet")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()

    push(stack, targets=["user-1", "user-2", "user-3"])

    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text("Good day")
    expect(rows(page)).to_contain_text("user: user-1 and 2 more")
    expect(rows(page)).to_contain_text("accepted")
    expect(rows(page)).to_contain_text("http")


def test_list_is_searched_filtered_and_cleared(page: Page, stack: Stack) -> None:
    push(stack, title="Breakfast", targets=["anna"])
    push(stack, title="Lunch", targets=["bert"], deliveryType=1)
    stack.sandbox.order(kind="result", code="3007")
    urllib3.request(
        "POST",
        f"{stack.urls['http_push']}/v1/pushes",
        json=MESSAGE | {"title": "Dinner"},
        retries=False,
        timeout=60,
    )
    page.goto("/")
    expect(rows(page)).to_have_count(3)

    page.get_by_label("Search").fill("lUNCH")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Search").fill("")
    page.get_by_label("Target").fill("anna")
    expect(rows(page)).to_contain_text("Breakfast")
    page.get_by_label("Target").fill("")
    page.get_by_label("Outcome").select_option("refused")
    expect(rows(page)).to_contain_text("Dinner")
    page.get_by_label("Outcome").select_option("")
    page.get_by_label("Delivery").select_option("1")
    expect(rows(page)).to_contain_text("Lunch")
    page.get_by_label("Delivery").select_option("")
    page.get_by_label("Trigger").select_option("timer")
    expect(page.get_by_text("No push matches the filter")).to_be_visible()
    page.get_by_role("button", name="Reset the filter").click()
    expect(rows(page)).to_have_count(3)

    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Delete all").click()
    expect(rows(page)).to_have_count(3)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all").click()
    expect(page.get_by_text("No pushes yet")).to_be_visible()


def test_escape_keeps_the_search_text(page: Page, stack: Stack) -> None:
    push(stack, title="Breakfast")
    page.goto("/")
    page.get_by_label("Search").fill("supper")
    expect(page.get_by_text("No push matches the filter")).to_be_visible()

    page.keyboard.press("Escape")

    expect(page.get_by_label("Search")).to_have_value("supper")
    expect(page.get_by_text("No push matches the filter")).to_be_visible()


def test_focus_returns_to_the_push_that_was_opened(page: Page, stack: Stack) -> None:
    for number in range(4):
        push(stack, title=f"Push {number}")
    page.goto("/")
    expect(rows(page)).to_have_count(4)
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Push 1")).to_be_visible()

    page.keyboard.press("Escape")

    expect(rows(page).nth(2)).to_be_focused()
    page.keyboard.press("j")
    expect(rows(page).nth(3)).to_be_focused()


def test_older_pushes_are_loaded_on_scrolling(page: Page, stack: Stack) -> None:
    push(stack, targets=[f"user-{number}" for number in range(1000)])
    push(stack, targets=[f"user-{number}" for number in range(1000)], title="Later")
    page.goto("/")
    expect(page.get_by_text("200 pushes")).to_be_visible()
    expect(rows(page)).to_have_count(50)

    page.get_by_role("button", name="150 older").scroll_into_view_if_needed()

    expect(rows(page)).to_have_count(100)
    first, last = rows(page).first, rows(page).nth(99)
    assert int(first.get_attribute("data-seq") or 0) - int(last.get_attribute("data-seq") or 0) == 99


# --- One push


def test_push_is_shown_in_each_channel_and_on_the_wire(page: Page, stack: Stack) -> None:
    push(
        stack,
        title="A title that is far longer than any vendor but a few lets through, I fear",
        content="x" * 120,
    )
    page.goto("/")
    rows(page).click()

    for channel in (
        "MPS own channel",
        "Xiaomi",
        "Huawei",
        "OPPO",
        "vivo",
        "Honor",
        "FCM",
        "HarmonyOS",
        "APNs",
    ):
        expect(page.get_by_role("figure", name=channel)).to_be_visible()
    oppo = page.get_by_role("figure", name="OPPO")
    expect(oppo.locator(".title del")).to_have_text("any vendor but a few lets through, I fear")
    expect(oppo).to_contain_text("refused")
    expect(page.get_by_role("figure", name="MPS own channel").locator("del")).to_have_count(0)
    expect(page.get_by_role("figure", name="APNs")).not_to_contain_text("refused")
    expect(page.locator(".wire")).to_contain_text("Action=PushSimple")
    expect(page.locator(".wire")).to_contain_text("TargetMsgkey=%7B%22user-1%22")
    expect(page.locator(".wire")).not_to_contain_text("local-security-token")
    expect(page.locator(".log")).to_contain_text("push accepted")
    page.get_by_text("Trigger payload").click()
    expect(page.get_by_text('"rawPath": "/v1/pushes"')).to_be_visible()


def test_timeline_lists_every_attempt(page: Page, stack: Stack) -> None:
    stack.sandbox.order(kind="throttling", next=2)
    push(stack)
    page.goto("/")
    expect(rows(page)).to_have_count(3)
    rows(page).first.click()

    attempts = page.locator("ol.timeline li")
    expect(attempts).to_have_count(3)
    expect(attempts.nth(0)).to_contain_text("rejected Throttling.User")
    expect(attempts.nth(2)).to_contain_text("accepted")
    expect(attempts.nth(2)).to_contain_text(re.compile(r"\+\d+ ms"))


def test_push_is_sent_again_and_copied(page: Page, stack: Stack) -> None:
    push(stack, title='It\'s "quoted" $HOME `x`')
    page.goto("/")
    rows(page).click()
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".answer")).to_contain_text("HTTP 200: 1 accepted")
    first, second = stack.sandbox.inbox()
    assert first["parameters"]["Title"] == second["parameters"]["Title"]
    assert first["targets"][0]["messageId"] != second["targets"][0]["messageId"]

    copied = {}
    for what in ("curl", "Python", "test payload"):
        page.get_by_role("button", name=f"Copy as {what}").click()
        expect(page.get_by_role("button", name="Copied").first).to_be_visible()
        copied[what] = page.evaluate("navigator.clipboard.readText()")
        expect(page.get_by_role("button", name=f"Copy as {what}")).to_be_visible()
    assert copied["curl"].startswith(f"curl -sS -X POST {stack.urls['http_push']}/v1/pushes")
    assert "PushMessage.parse({" in copied["Python"]
    assert json.loads(copied["test payload"])["targets"] == ["user-1"]


def test_special_kinds_of_pushes_are_shown(page: Page, stack: Stack) -> None:
    push(stack, title="Quiet", silent=1)
    page.goto("/")
    rows(page).first.click()
    expect(page.get_by_text("silent", exact=True)).to_be_visible()

    push(stack, title="Data", transparentMessagePayload={"hms": {"sync": "<b>orders</b>"}})
    page.goto("/#/")
    rows(page).filter(has_text="Data").click()
    expect(page.get_by_text("data message, the app decides what to show")).to_have_count(1)
    expect(page.get_by_label("Huawei")).to_contain_text('{"sync":"<b>orders</b>"}')

    images = {"defaultUrl": "https://example.com/a.png", "miuiUrl": "https://example.com/mi.png"}
    push(stack, title="Picture", pushStyle=2, imageUrls=images)
    page.goto("/#/")
    rows(page).filter(has_text="Picture").click()
    expect(page.get_by_role("figure", name="Xiaomi")).to_contain_text("picture: https://example.com/mi.png")
    expect(page.get_by_role("figure", name="Huawei")).to_contain_text("picture: https://example.com/a.png")

    push(stack, title="Tram", deliveryType=6, activityEvent="update", activityContentState={"stops": 3})
    page.goto("/#/")
    rows(page).filter(has_text="Tram").click()
    expect(page.get_by_role("figure", name="Live Activity")).to_contain_text("stops3")

    sms = {
        "smsStrategy": 1,
        "smsSignName": "Shop",
        "smsTemplateCode": "SMS_1",
        "smsTemplateParam": {"code": 7},
    }
    push(stack, title="With SMS", **sms)
    page.goto("/#/")
    rows(page).filter(has_text="With SMS").click()
    expect(page.get_by_text("[Shop] template SMS_1")).to_be_visible()


def test_loop_push_is_shown_on_a_calendar(page: Page, stack: Stack) -> None:
    today = datetime.now(CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    content = {
        "startTime": int(today.timestamp() * 1000),
        "endTime": int((today + timedelta(days=20)).timestamp() * 1000),
        "circleType": 2,
        "circleValue": [1, 5],
        "time": "23:59:59",
    }
    push(stack, strategyType=2, strategyContent=content)
    page.goto("/")
    rows(page).click()

    strip = page.get_by_label("Next occurrences").locator("li")
    expect(strip.first).to_contain_text(re.compile("(Mon|Fri).*23:59:59"))
    assert 5 <= strip.count() <= 7


def test_hostile_texts_are_shown_as_text(page: Page, stack: Stack) -> None:
    push(
        stack,
        title=HOSTILE,
        content=HOSTILE,
        taskName=HOSTILE,
        targets=[HOSTILE],
        extendedParams={HOSTILE: HOSTILE},
    )
    page.goto("/")
    expect(rows(page)).to_contain_text(HOSTILE)
    rows(page).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    page.get_by_text("1 target with message ids").click()
    name = dead_letter(stack, MESSAGE | {"title": HOSTILE, "deliveryType": HOSTILE})
    page.goto(f"/#/queues/{name}")
    expect(page.locator(".letters")).to_contain_text("<img src=x")
    page.goto("/#/new-campaign")
    field = '"{}"'.format(HOSTILE.replace('"', '""'))
    drop(page, f"user_id,{field}\nuser-1,{field}\n", f"{HOSTILE}.csv".replace("/", ""))
    expect(page.locator(".drop td").last).to_have_text(HOSTILE)

    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0


# --- Composing


def test_message_is_composed_validated_and_sent_through_every_trigger(page: Page, stack: Stack) -> None:
    page.goto("/#/compose")
    expect(page.get_by_text("valid: 1 request to mPaaS")).to_be_visible()

    page.get_by_label("title", exact=False).first.fill("From a form")
    expect(page.get_by_role("figure", name="Xiaomi")).to_contain_text("From a form")
    page.get_by_label("expiredSeconds", exact=False).fill("0")
    expect(page.locator("#expiredSeconds-help")).to_contain_text("must be at least 1")
    page.get_by_label("expiredSeconds", exact=False).fill("60")
    page.get_by_text("Other parameters").click()
    page.get_by_label("extendedParams").fill('{"order": "4711"}')
    page.get_by_label("silent").select_option("1")
    expect(page.get_by_text("valid: 1 request to mPaaS")).to_be_visible()
    assert stack.sandbox.inbox() == []

    page.get_by_role("button", name="Send through the HTTP function").click()
    expect(page.locator(".answer")).to_contain_text("HTTP 200")
    page.get_by_role("button", name="Send as a timer's payload").click()
    expect(page.get_by_text("The timer fired")).to_be_visible()
    page.get_by_role("button", name="Send to the queue").click()
    expect(page.get_by_text("Sent to the queue: message")).to_be_visible()

    page.get_by_role("link", name="Pushes").click()
    expect(rows(page)).to_have_count(3)
    for trigger in ("http", "timer", "queue"):
        expect(rows(page).filter(has_text=trigger)).to_have_count(1)
    (parameters,) = {json.dumps(entry["parameters"]["ExtendedParams"]) for entry in stack.sandbox.inbox()}
    assert json.loads(json.loads(parameters)) == {"order": "4711"}


def test_form_has_every_parameter_of_the_message(page: Page, stack: Stack) -> None:
    schema = urllib3.request("GET", f"{stack.inbox_url}/api/schema", timeout=60).json()
    page.goto("/#/compose")
    page.get_by_text("Other parameters").click()

    for name, described in schema["properties"].items():
        if name == "StrategyContent":  # a second spelling
            continue
        if name == "strategyContent":
            expect(page.get_by_role("group", name=name)).to_be_visible()
        else:
            expect(page.locator(f"#{name}")).to_be_visible()
            expect(page.locator(f"#{name}-help")).to_contain_text(described["description"][:40])


def test_push_is_scheduled_in_china_time(page: Page, stack: Stack) -> None:
    moment = (datetime.now(CHINA) + timedelta(days=2)).replace(microsecond=0)
    page.goto("/#/compose")
    page.locator("#strategyType").select_option("1")
    expect(page.get_by_text("fixedTime is required").or_(page.locator(".faults")).first).to_be_visible()
    page.locator("[id='strategyContent.fixedTime']").fill(moment.strftime("%Y-%m-%dT%H:%M:%S"))
    expect(page.get_by_label("Next occurrences")).to_contain_text(moment.strftime("%m-%d"))

    page.get_by_role("button", name="Send through the HTTP function").click()
    expect(page.locator(".answer")).to_contain_text("HTTP 200")

    (entry,) = stack.sandbox.inbox()
    assert json.loads(entry["parameters"]["StrategyContent"]) == {"fixedTime": int(moment.timestamp() * 1000)}


def test_daily_loop_is_scheduled(page: Page, stack: Stack) -> None:
    tomorrow = datetime.now(CHINA) + timedelta(days=1)
    page.goto("/#/compose")
    page.locator("#strategyType").select_option("2")
    for name, value in (
        ("startTime", tomorrow.strftime("%Y-%m-%dT00:00")),
        ("endTime", (tomorrow + timedelta(days=9)).strftime("%Y-%m-%dT00:00")),
        ("circleType", "1"),
        ("time", "09:00:00"),
    ):
        page.locator(f"[id='strategyContent.{name}']").fill(value)
    expect(page.get_by_label("Next occurrences").locator("li")).to_have_count(10)
    expect(page.get_by_text("valid: 1 request to mPaaS")).to_be_visible()

    page.get_by_role("button", name="Send through the HTTP function").click()

    expect(page.locator(".answer")).to_contain_text("HTTP 200")
    (entry,) = stack.sandbox.inbox()
    assert json.loads(entry["parameters"]["StrategyContent"])["circleValue"] == []


@pytest.mark.parametrize(
    "address", ["#/nowhere", "#/queues/nope%", "#/push/abc", "#/push/999999", "#/queues/none"]
)
def test_unknown_address_is_reported(page: Page, address: str) -> None:
    page.goto(f"/{address}")

    expect(
        page.get_by_text(re.compile("page not found|valid integer|not exist", re.IGNORECASE)).first
    ).to_be_visible()


# --- Faults, overview, queues


def test_fault_is_injected_and_its_retries_are_shown(page: Page, stack: Stack) -> None:
    page.goto("/#/faults")
    expect(page.get_by_text("None: the sandbox responds normally.")).to_be_visible()
    page.get_by_label("How many requests").fill("2")
    page.get_by_role("button", name="Inject").click()
    expect(page.locator(".standing")).to_contain_text("2 more")

    push(stack)

    expect(page.locator("ol.live li")).to_have_count(3)
    expect(page.locator("ol.live li", has_text="Throttling.User")).to_have_count(2)
    expect(page.get_by_text("None: the sandbox responds normally.")).to_be_visible()

    page.get_by_label("Kind", exact=True).select_option("delay")
    page.get_by_label("Milliseconds").fill("-1")
    page.get_by_role("button", name="Inject").click()
    expect(page.get_by_role("alert")).to_contain_text("milliseconds")
    page.get_by_label("Milliseconds").fill("10")
    page.get_by_text("at random").click()
    page.get_by_role("button", name="Inject").click()
    expect(page.locator(".standing")).to_contain_text("with probability 0.2")
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".standing")).to_have_count(0)
    assert stack.sandbox.faults() == []


def test_overview_counts_requests(page: Page, stack: Stack) -> None:
    page.goto("/#/overview")
    expect(page.get_by_text("Requests received")).to_be_visible()
    before = int(page.locator("dt", has_text="Requests received").locator("+ dd").inner_text())

    push(stack)

    expect(page.locator("dt", has_text="Requests received").locator("+ dd")).to_have_text(str(before + 1))
    expect(page.get_by_role("row", name=re.compile("mpaas-http-push-dev"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Requests per minute"))).to_be_visible()
    expect(page.locator(".scale")).to_contain_text(re.compile(r"maximum \d+ per minute"))
    expect(page.get_by_label("accepted")).to_be_visible()


def test_dead_letter_is_shown_and_sent_back(page: Page, stack: Stack) -> None:
    name = dead_letter(stack, MESSAGE | {"title": "Returned", "expiredSeconds": 0})
    page.goto("/#/queues")
    page.get_by_role("link", name=name).click()
    letter = page.locator(".letters li", has_text="Returned").last
    expect(letter).to_contain_text("refused")
    expect(letter).to_contain_text("expiredSeconds: must be at least 1")
    known = {letter.id for letter in stack.queues.store.messages(name)}

    letter.get_by_role("button", name="Send back").click()

    expect(page.locator(".letters li", has_text="Returned").last).to_be_visible()

    # Its message is still invalid: the letter is removed, and another one with the same message arrives.
    def letter_was_replaced() -> bool:
        current = {letter.id for letter in stack.queues.store.messages(name)}
        return len(current - known) == 1 and len(known - current) == 1

    eventually(letter_was_replaced)


# --- Campaigns


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


# --- Accessibility, security and the form


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


def test_json_is_sent_as_typed(page: Page, stack: Stack) -> None:
    typed = '{"order":12345678901234567890}'
    page.goto("/#/compose")
    page.get_by_text("Other parameters").click()
    page.locator("[id='extendedParams']").fill(typed)
    expect(page.get_by_text("valid: 1 request")).to_be_visible()

    page.get_by_role("button", name="Send through the HTTP function").click()

    expect(page.get_by_text("HTTP 200: 1 accepted")).to_be_visible()
    assert stack.sandbox.inbox()[0]["parameters"]["ExtendedParams"] == typed
    page.locator("[id='extendedParams']").fill('{"a": "1", "a": "2"}')
    expect(
        page.locator(".field", has=page.locator("[id='extendedParams']")).locator(".failure")
    ).to_be_visible()


def test_section_stays_open_while_typing(page: Page) -> None:
    page.goto("/#/compose")
    page.get_by_text("Other parameters").click()
    field = page.locator("[id='miChannelId']")
    field.fill("1")
    field.press("Backspace")
    field.press_sequentially("cq")

    expect(field).to_have_value("cq")


def test_errors_of_a_schedule_are_shown(page: Page) -> None:
    page.goto("/#/compose")
    page.locator("[id='strategyType']").select_option("1")
    group = page.get_by_role("group", name="strategyContent")
    expect(group.locator(".failure").first).to_be_visible()

    page.locator("[id='strategyContent.fixedTime']").fill("2026-01-01T00:00:00")

    expect(group.locator(".failure").first).to_contain_text("is in the past")
    expect(group).to_contain_text("In China time (+08:00)")
