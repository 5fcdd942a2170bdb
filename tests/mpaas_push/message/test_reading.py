from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.message.constraints import Level
from mpaas_push.message.reading import message_of, messages_of
from mpaas_push.request import requests_of
from tests.mpaas_push.message.examples import minimal, with_targets

SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test"})


def the_invalid(found: list[PushMessage | InvalidMessage]) -> InvalidMessage:
    (only,) = found
    assert isinstance(only, InvalidMessage)
    return only


def fields(message: PushMessage | InvalidMessage) -> list[str]:
    assert isinstance(message, InvalidMessage)
    return [fault.field for fault in message.faults]


def test_a_payload_may_be_one_message() -> None:
    (message,) = messages_of(minimal(), SETTINGS)

    assert isinstance(message, PushMessage)
    assert message.title == "Your order is on its way"
    assert message.app_id == "ONEX1"


def test_a_payload_may_be_a_list_of_messages() -> None:
    found = messages_of({"messages": [minimal() | {"title": str(number)} for number in range(30)]}, SETTINGS)

    assert [message.title for message in found if isinstance(message, PushMessage)] == [
        str(number) for number in range(30)
    ]


@pytest.mark.parametrize("payload", [None, True, 7, 1.5, "text", [], [minimal()], [[]]])
def test_what_is_no_object_is_no_message(payload: object) -> None:
    assert "JSON object" in str(the_invalid(messages_of(payload, SETTINGS)))


@pytest.mark.parametrize("messages", [None, [], {}, "text", 7, minimal()])
def test_messages_must_be_a_list_of_one_or_more(messages: object) -> None:
    assert fields(the_invalid(messages_of({"messages": messages}, SETTINGS))) == ["messages"]


def test_messages_stands_alone() -> None:
    invalid = the_invalid(messages_of({"messages": [minimal()], "title": "x", "appId": "y"}, SETTINGS))

    assert "`title`, `appId`" in str(invalid)


def test_faults_of_a_single_message_have_the_pages_names() -> None:
    assert fields(message_of(minimal() | {"silent": 7, "expiredSeconds": 0}, SETTINGS)) == [
        "expiredSeconds",
        "silent",
    ]


def test_a_wrong_message_harms_no_neighbour_and_is_named_by_its_place() -> None:
    wrong: list[Any] = [minimal() | {"silent": 7}, "text", minimal() | {"expiredSeconds": 0, "titel": "x"}]

    found = messages_of({"messages": [minimal(), wrong[0], minimal(), wrong[1], wrong[2]]}, SETTINGS)

    assert [isinstance(message, PushMessage) for message in found] == [True, False, True, False, False]
    assert fields(found[1]) == ["messages.1.silent"]
    assert fields(found[3]) == ["messages.3"]
    assert fields(found[4]) == ["messages.4.expiredSeconds", "messages.4.titel"]


def test_the_targets_of_a_wrong_message_are_kept_for_the_answer() -> None:
    by_id = message_of(minimal() | {"silent": 7}, SETTINGS)
    by_text = message_of(minimal() | {"silent": 7, "targetMsgkey": '{"user-4711": "1"}'}, SETTINGS)
    by_name = message_of(with_targets("user-1", "user-2") | {"silent": 7}, SETTINGS)

    assert isinstance(by_id, InvalidMessage)
    assert isinstance(by_text, InvalidMessage)
    assert isinstance(by_name, InvalidMessage)
    assert by_id.targets == by_text.targets == ("user-4711",)
    assert by_name.targets == ("user-1", "user-2")


@pytest.mark.parametrize("named", [7, "user-1", [7, None], {"targets": []}, [["user-1"]]])
def test_targets_that_cannot_be_read_are_left_out(named: object) -> None:
    invalid = message_of({"targets": named}, SETTINGS)

    assert isinstance(invalid, InvalidMessage)
    assert all(isinstance(target, str) for target in invalid.targets)


def test_the_rules_of_the_settings_apply() -> None:
    long = minimal() | {"expiredSeconds": 700_000}
    lenient = SETTINGS.model_copy(update={"constraint_levels": {"expired-seconds-max": Level.OFF}})

    assert fields(message_of(long, SETTINGS)) == ["expiredSeconds"]
    assert isinstance(message_of(long, lenient), PushMessage)


def test_a_message_without_app_names_the_variable() -> None:
    assert "MPAAS_APP_ID" in str(message_of(minimal(), Settings()))


BROKEN = "\ud800"
surrogates = [
    {"title": BROKEN},
    {"uri": BROKEN},
    {"extendedParams": {"key": BROKEN}},
    {"extendedParams": {BROKEN: "text"}},
    {"activityContentState": {"a": [{"b": BROKEN}]}},
    {"targetMsgkey": {BROKEN: "id"}},
    {"targetMsgkey": {"user": BROKEN}},
    {"targets": ["user", BROKEN], "targetMsgkey": None},
    {BROKEN: 1},
    {"messages": 1, BROKEN: 1},
    {"classification": BROKEN},
    {"strategyType": 2, "strategyContent": {"time": BROKEN}},
    {"strategyContent": {BROKEN: 1}},
]


@pytest.mark.parametrize("broken", surrogates)
def test_half_a_surrogate_pair_is_a_fault_that_can_be_written_down(broken: dict[str, Any]) -> None:
    invalid = the_invalid(messages_of(minimal() | broken, SETTINGS))

    for fault in invalid.faults:
        str(fault.as_json()).encode()


@pytest.mark.parametrize(
    "broken",
    [
        {"imageUrls": {"defaultUrl": BROKEN}},
        {"thirdChannelCategory": {"hms": BROKEN}},
        {"notifyLevel": {BROKEN: "1"}},
    ],
)
def test_half_a_surrogate_pair_in_a_map_is_a_fault_before_a_request_is_made(broken: dict[str, Any]) -> None:
    message = message_of(minimal() | broken, SETTINGS)
    if isinstance(message, PushMessage):
        with pytest.raises(InvalidMessage, match="half a surrogate pair"):
            requests_of(message, SETTINGS, "scope")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values | st.dictionaries(st.sampled_from([*minimal(), "targets", "messages"]), json_values))
def test_no_json_raises(payload: Any) -> None:
    for shape in (payload, {"messages": payload}, {"messages": [payload, minimal()]}):
        found = messages_of(shape, SETTINGS)

        assert found
        for message in found:
            assert isinstance(message, (PushMessage, InvalidMessage))
            str(message).encode()


@settings(deadline=None)
@given(st.sampled_from(sorted(minimal())), json_values)
def test_no_value_of_a_field_raises(name: str, value: Any) -> None:
    (message,) = messages_of(minimal() | {name: value}, SETTINGS)

    assert isinstance(message, (PushMessage, InvalidMessage))
