"""The pages of pushes, their composition, faults and queues, in a real browser."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import urllib3
from playwright.sync_api import Page, expect

from mpaas_push.message.constraints.clock import CHINA
from tests.mpaas_local.inbox.conftest import MESSAGE
from tests.mpaas_local.inbox.page.actions import dead_letter, drop, push, rows
from tests.waiting import eventually

if TYPE_CHECKING:
    from mpaas_local.stack import Stack

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"&lt;{{7*7}}${7*7}'


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
