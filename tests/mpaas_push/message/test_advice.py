from __future__ import annotations

from typing import Any

import pytest

from mpaas_push.message import PushMessage
from mpaas_push.message.advice import Advice, payload_bytes, reachable_channels, text_length
from mpaas_push.message.vendors import CHANNELS, MAX_PAYLOAD_BYTES, STYLES, Channel
from tests.mpaas_push.message.examples import clock, minimal

LIMITED = [channel for channel in CHANNELS if channel.title is not None]
DELIVERY = {"android": 1, "ios": 2, "harmonyos": 7}


def message(**change: Any) -> PushMessage:
    return PushMessage.parse(minimal() | change, clock=clock)


def advice(**change: Any) -> list[Advice]:
    return list(message(**change).advice(clock=clock))


def about(rule: str, channel: str | None = None, **change: Any) -> list[Advice]:
    return [found for found in advice(**change) if found.rule == rule and found.channel == channel]


@pytest.mark.parametrize("channel", LIMITED, ids=lambda channel: channel.name)
@pytest.mark.parametrize("field", ["title", "content"])
def test_text_over_a_channels_limit_is_reported_with_limit_and_length(channel: Channel, field: str) -> None:
    limit = getattr(channel, field)
    rule, delivery_type = f"channel-{field}-length", DELIVERY[channel.system]
    assert about(rule, channel.name, deliveryType=delivery_type, **{field: "x" * limit}) == []
    [found] = about(rule, channel.name, deliveryType=delivery_type, **{field: "x" * (limit + 1)})
    assert (found.field, found.limit, found.actual) == (field, limit, limit + 1)
    assert channel.label in found.message


@pytest.mark.parametrize("channel", LIMITED, ids=lambda channel: channel.name)
def test_a_chinese_character_counts_as_the_page_says(channel: Channel) -> None:
    assert channel.title is not None
    fits = channel.title // channel.wide
    rule, delivery_type = "channel-title-length", DELIVERY[channel.system]
    assert about(rule, channel.name, deliveryType=delivery_type, title="推" * fits) == []
    [found] = about(rule, channel.name, deliveryType=delivery_type, title="推" * (fits + 1))
    assert found.actual == (fits + 1) * channel.wide


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"deliveryType": 1}, {"mps", "miui", "hms", "oppo", "vivo", "honor", "fcm"}),
        ({"deliveryType": 1, "notifyType": "notify"}, {"mps", "miui", "hms", "oppo", "vivo", "honor", "fcm"}),
        ({"deliveryType": 1, "notifyType": "transparent"}, {"mps"}),
        ({"deliveryType": 2}, {"ios"}),
        ({"deliveryType": 3}, {channel.name for channel in CHANNELS}),
        ({"deliveryType": 3, "notifyType": "transparent"}, {"mps", "ios", "harmonyos"}),
        ({"deliveryType": 5}, {"ios"}),
        ({"deliveryType": 6}, {"ios"}),
        ({"deliveryType": 7}, {"harmonyos"}),
    ],
)
def test_delivery_and_notify_type_say_which_channels_are_reachable(
    change: dict[str, Any], names: set[str]
) -> None:
    assert {channel.name for channel in reachable_channels(message(**change))} == names


def test_a_push_to_a_user_is_judged_for_every_channel() -> None:
    found = {one.channel for one in advice(title="x" * 61) if one.rule == "channel-title-length"}
    assert found == {channel.name for channel in LIMITED}


def test_an_ios_banner_shows_less_than_the_channel_takes() -> None:
    assert about("channel-banner-length", "ios", content="推" * 31) == []
    [found] = about("channel-banner-length", "ios", content="推" * 32)
    assert (found.limit, found.actual) == (62, 64)
    assert about("channel-banner-length", "ios", content="推" * 56) == []
    assert about("channel-content-length", "ios", content="推" * 56)


def test_the_size_of_a_message_is_counted_in_bytes_of_utf8() -> None:
    rest = payload_bytes(message(content="x")) - 1
    assert about("payload-size", content="x" * (MAX_PAYLOAD_BYTES - rest)) == []
    [found] = about("payload-size", content="x" * (MAX_PAYLOAD_BYTES - rest + 1))
    assert (found.limit, found.actual) == (MAX_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES + 1)
    assert payload_bytes(message(content="推")) == rest + 3
    assert payload_bytes(message(content="x", extendedParams={"k": "推"})) == rest + 1 + len(
        '{"k":"推"}'.encode()
    )
    assert payload_bytes(message(content="x", uri="a:b", imageUrls={})) == rest + 1 + 3


def test_the_size_limit_of_android_and_ios_is_not_applied_to_harmonyos() -> None:
    assert about("payload-size", content="x" * 3000, deliveryType=7) == []


@pytest.mark.parametrize("push_style", [0, 1])
def test_text_longer_than_its_style_shows_is_reported(push_style: int) -> None:
    limit = STYLES[push_style].characters
    assert limit is not None
    assert about("style-content-length", pushStyle=push_style, content="x" * limit) == []
    [found] = about("style-content-length", pushStyle=push_style, content="x" * (limit + 1))
    assert (found.field, found.limit, found.actual) == ("content", limit, limit + 1)


def test_picture_style_shows_two_lines() -> None:
    assert about("style-content-lines", pushStyle=2, content="a\nb") == []
    [found] = about("style-content-lines", pushStyle=2, content="a\nb\nc")
    assert (found.limit, found.actual) == (2, 3)


def test_picture_style_and_pictures_belong_together() -> None:
    pictures = {"defaultUrl": "https://www.example.com/big.png"}
    assert about("style-without-picture", pushStyle=2)
    assert about("style-without-picture", pushStyle=2, imageUrls={})
    assert about("picture-without-style", imageUrls=pictures)
    assert advice(pushStyle=2, imageUrls=pictures) == []


def test_a_short_plain_message_gets_no_advice() -> None:
    assert advice() == []


def test_advice_as_json_has_only_what_is_known() -> None:
    [found] = about("channel-title-length", "vivo", deliveryType=1, title="推" * 21)
    assert found.as_json() == {
        "rule": "channel-title-length",
        "field": "title",
        "message": found.message,
        "channel": "vivo",
        "limit": 40,
        "actual": 42,
    }
    assert Advice("r", "f", "m").as_json() == {"rule": "r", "field": "f", "message": "m"}


def test_wide_characters_count_double_only_where_asked() -> None:
    assert text_length("ab推送。é") == 6
    assert text_length("ab推送。é", 2) == 9


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_every_channel_states_its_source(channel: Channel) -> None:
    assert "pushsimple.md: Text lengths" in channel.source
