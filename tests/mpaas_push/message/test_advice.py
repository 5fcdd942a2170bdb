from __future__ import annotations

from typing import Any

import pytest

from mpaas_push.message import PushMessage
from mpaas_push.message.advice import Advice, payload_bytes, reachable_channels, text_length
from mpaas_push.message.vendors import CHANNELS, Channel
from tests.mpaas_push.message.examples import clock, minimal

# Page Content limits of vendor channels: name, label, a deliveryType that reaches it, title, content, and what a
# Chinese character counts.
LIMITS = [
    ("miui", "Xiaomi", 1, 50, 128, 1),
    ("hms", "Huawei", 1, 40, 1024, 1),
    ("oppo", "OPPO", 1, 32, 200, 1),
    ("vivo", "vivo", 1, 40, 100, 2),
    ("honor", "Honor", 1, 60, 4096, 2),
    ("harmonyos", "HarmonyOS", 7, 60, 4096, 2),
    ("ios", "APNs", 2, 40, 110, 2),
]
EVERY_CHANNEL = {"mps", "miui", "hms", "oppo", "vivo", "honor", "fcm", "harmonyos", "ios"}


def message(**change: Any) -> PushMessage:
    return PushMessage.parse(minimal() | change, clock=clock)


def advice(**change: Any) -> list[Advice]:
    return list(message(**change).advice(clock=clock))


def about(rule: str, channel: str | None = None, **change: Any) -> list[Advice]:
    return [warning for warning in advice(**change) if warning.rule == rule and warning.channel == channel]


@pytest.mark.parametrize(("name", "label", "delivery_type", "title", "content", "wide"), LIMITS)
def test_text_over_a_channels_limit_is_reported_with_limit_and_length(
    name: str, label: str, delivery_type: int, title: int, content: int, wide: int
) -> None:
    for field, limit in (("title", title), ("content", content)):
        rule = f"channel-{field}-length"
        for text in ("x" * limit, "\u63a8" * (limit // wide)):
            assert about(rule, name, deliveryType=delivery_type, **{field: text}) == []
            [warning] = about(rule, name, deliveryType=delivery_type, **{field: f"{text}\u63a8"})
            assert (warning.field, warning.limit, warning.actual) == (field, limit, limit + wide)
            assert label in warning.message


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"deliveryType": 1}, {"mps", "miui", "hms", "oppo", "vivo", "honor", "fcm"}),
        ({"deliveryType": 1, "notifyType": "notify"}, {"mps", "miui", "hms", "oppo", "vivo", "honor", "fcm"}),
        ({"deliveryType": 1, "notifyType": "transparent"}, {"mps"}),
        ({"deliveryType": 2}, {"ios"}),
        ({"deliveryType": 3}, EVERY_CHANNEL),
        ({"deliveryType": 3, "notifyType": "transparent"}, {"mps", "ios", "harmonyos"}),
        ({"deliveryType": 5}, {"ios"}),
        ({"deliveryType": 6}, {"ios"}),
        ({"deliveryType": 7}, {"harmonyos"}),
    ],
)
def test_delivery_and_notify_type_determine_the_reachable_channels(
    change: dict[str, Any], names: set[str]
) -> None:
    assert {channel.name for channel in reachable_channels(message(**change))} == names


def test_push_to_a_user_is_checked_for_every_channel() -> None:
    warnings = advice(title="x" * 61)
    channels = {warning.channel for warning in warnings if warning.rule == "channel-title-length"}
    assert channels == {name for name, *_ in LIMITS}


def test_ios_banner_shows_less_than_the_channel_accepts() -> None:
    assert about("channel-banner-length", "ios", content="推" * 31) == []
    [warning] = about("channel-banner-length", "ios", content="推" * 32)
    assert (warning.limit, warning.actual) == (62, 64)
    assert about("channel-banner-length", "ios", content="推" * 56) == []
    assert about("channel-content-length", "ios", content="推" * 56)


def test_message_size_is_counted_in_utf8_bytes() -> None:
    rest = payload_bytes(message(content="x")) - 1
    assert about("payload-size", content="x" * (2048 - rest)) == []
    [warning] = about("payload-size", content="x" * (2048 - rest + 1))
    assert (warning.limit, warning.actual) == (2048, 2048 + 1)
    assert payload_bytes(message(content="推")) == rest + 3
    assert payload_bytes(message(content="x", extendedParams={"k": "推"})) == rest + 1 + len(
        '{"k":"推"}'.encode()
    )
    assert payload_bytes(message(content="x", uri="a:b", imageUrls={})) == rest + 1 + 3


def test_size_limit_of_android_and_ios_does_not_apply_to_harmonyos() -> None:
    assert about("payload-size", content="x" * 3000, deliveryType=7) == []


@pytest.mark.parametrize(("push_style", "limit"), [(0, 100), (1, 256)])
def test_text_longer_than_its_style_shows_is_reported(push_style: int, limit: int) -> None:
    assert about("style-content-length", pushStyle=push_style, content="x" * limit) == []
    [warning] = about("style-content-length", pushStyle=push_style, content="x" * (limit + 1))
    assert (warning.field, warning.limit, warning.actual) == ("content", limit, limit + 1)


def test_picture_style_shows_two_lines() -> None:
    assert about("style-content-lines", pushStyle=2, content="a\nb") == []
    [warning] = about("style-content-lines", pushStyle=2, content="a\nb\nc")
    assert (warning.limit, warning.actual) == (2, 3)


def test_picture_style_and_pictures_require_each_other() -> None:
    pictures = {"defaultUrl": "https://www.example.com/big.png"}
    assert about("style-without-picture", pushStyle=2)
    assert about("style-without-picture", pushStyle=2, imageUrls={})
    assert about("picture-without-style", imageUrls=pictures)
    assert advice(pushStyle=2, imageUrls=pictures) == []


def test_short_plain_message_gets_no_advice() -> None:
    assert advice() == []


def test_advice_as_json_omits_empty_fields() -> None:
    [warning] = about("channel-title-length", "vivo", deliveryType=1, title="推" * 21)
    assert warning.as_json() == {
        "rule": "channel-title-length",
        "field": "title",
        "message": warning.message,
        "channel": "vivo",
        "limit": 40,
        "actual": 42,
    }
    assert Advice(rule="r", field="f", message="m").as_json() == {"rule": "r", "field": "f", "message": "m"}


def test_wide_characters_count_double_only_on_request() -> None:
    assert text_length("ab推送。é") == 6
    assert text_length("ab推送。é", 2) == 9


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_channel_states_its_source(channel: Channel) -> None:
    assert "pushsimple.md: Text lengths" in channel.source
