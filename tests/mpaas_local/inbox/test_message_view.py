"""The view of a message in each channel."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_local.inbox.copies import copies_of
from mpaas_local.inbox.message_view import message_of_parameters, view_of
from mpaas_push import PushMessage
from mpaas_push.message.advice import text_length
from mpaas_push.message.constraints.clock import CHINA
from mpaas_push.message.vendors import CHANNELS

MESSAGE: dict[str, Any] = {
    "taskName": "t",
    "title": "Title",
    "content": "Content",
    "deliveryType": 3,
    "targets": ["user-1"],
    "expiredSeconds": 60,
}
MONDAY = datetime(2026, 3, 2, 12, 0, tzinfo=CHINA)
LIMITS = {channel.name: channel for channel in CHANNELS}


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@given(title=st.text(min_size=1, max_size=100), content=st.text(min_size=1, max_size=300))
def test_shown_and_truncated_part_are_the_complete_text_and_the_limit_is_used(
    title: str, content: str
) -> None:
    view = view_of(MESSAGE | {"title": title, "content": content})
    if not view["valid"]:  # such as an unpaired surrogate
        return
    for channel_view in view["channels"]:
        channel = LIMITS[channel_view["name"]]
        for field, text, limit in (("title", title, channel.title), ("content", content, channel.content)):
            part = channel_view[field]
            assert part["shown"] + part["cut"] == text
            if limit is not None:
                assert text_length(part["shown"], channel.wide) <= limit
                if part["cut"]:
                    assert text_length(part["shown"] + part["cut"][0], channel.wide) > limit
            else:
                assert part["cut"] == ""
        is_too_long = bool(channel_view["title"]["cut"] or channel_view["content"]["cut"])
        assert channel_view["refused"] == (is_too_long and not channel.truncates)


def test_data_message_is_shown_only_in_the_channel_of_its_vendor() -> None:
    view = view_of(MESSAGE | {"transparentMessagePayload": {"hms": {"sync": "orders"}, "fcm": {"n": 1}}})

    payloads = {channel["name"]: channel["transparent"] for channel in view["channels"]}
    assert {name: payload for name, payload in payloads.items() if payload} == {
        "hms": {"sync": "orders"},
        "fcm": {"n": 1},
    }


@pytest.mark.parametrize(
    ("channel", "text", "visible"),
    [
        ("oppo", "x" * 40, "x" * 32),
        ("vivo", "字" * 25, "字" * 20),
        ("ios", "字" * 25, "字" * 20),
        ("miui", "字" * 60, "字" * 50),
    ],
)
def test_titles_are_truncated_at_the_documented_limit(channel: str, text: str, visible: str) -> None:
    channels = view_of(MESSAGE | {"title": text})["channels"]

    assert [view["title"]["shown"] for view in channels if view["name"] == channel] == [visible]


@pytest.mark.parametrize(
    ("circle_type", "values", "days"),
    [(1, [], [2, 3, 4, 5]), (2, [1, 4], [2, 5]), (3, [3, 31], [3])],
)
def test_loop_push_occurs_on_its_days_in_china_time(
    circle_type: int, values: list[int], days: list[int]
) -> None:
    content = {
        "startTime": milliseconds(MONDAY.replace(hour=0)),
        "endTime": milliseconds(MONDAY.replace(day=5, hour=0)),
        "circleType": circle_type,
        "circleValue": values,
        "time": "13:30:00",
    }

    occurrences = view_of(MESSAGE | {"strategyType": 2, "strategyContent": content}, at=MONDAY)["occurrences"]

    assert occurrences == [f"2026-03-0{day}T13:30:00+08:00" for day in days]


def test_occurrence_earlier_today_is_omitted() -> None:
    content = {
        "startTime": milliseconds(MONDAY.replace(hour=0)),
        "endTime": milliseconds(MONDAY.replace(day=3, hour=0)),
        "circleType": 1,
        "circleValue": [],
        "time": "11:00:00",
    }

    occurrences = view_of(MESSAGE | {"strategyType": 2, "strategyContent": content}, at=MONDAY)["occurrences"]

    assert occurrences == ["2026-03-03T11:00:00+08:00"]


def test_timed_push_occurs_once() -> None:
    later = MONDAY + timedelta(hours=5)
    message = MESSAGE | {"strategyType": 1, "strategyContent": {"fixedTime": milliseconds(later)}}

    assert view_of(message, at=MONDAY)["occurrences"] == [later.isoformat()]


@pytest.mark.parametrize("data", [{}, {"title": 7}, MESSAGE | {"titel": "x"}, [], "x", None])
def test_invalid_message_has_faults(data: Any) -> None:
    view = view_of(data)

    assert view["valid"] is False
    assert view["faults"]


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=8))
def test_any_parameters_can_be_converted_to_a_message(parameters: dict[str, str]) -> None:
    message = message_of_parameters(parameters)

    assert isinstance(message, dict)
    view_of(message)
    copies_of(message, "http://127.0.0.1:1", "http://127.0.0.1:2")


def test_parameters_on_the_wire_are_converted_to_the_original_message() -> None:
    parameters = {
        "TaskName": "t",
        "Title": "Title",
        "Content": "Content",
        "DeliveryType": "3",
        "ExpiredSeconds": "60",
        "PushStyle": "0",
        "ExtendedParams": '{"a":"1"}',
        "TargetMsgkey": '{"user-1":"id-1"}',
    }

    assert PushMessage.parse(message_of_parameters(parameters)) == PushMessage.parse(
        MESSAGE | {"extendedParams": {"a": "1"}}
    )
