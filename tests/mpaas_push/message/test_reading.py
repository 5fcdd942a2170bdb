from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message.constraints import Level
from mpaas_push.message.reading import MAX_PAYLOAD_FAULTS, message_of, messages_of
from tests.effort import peak_bytes, steps
from tests.mpaas_push.message.examples import everything, minimal, with_targets
from tests.mpaas_push.planning import requests_of

SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX1", "MPAAS_WORKSPACE_ID": "test"})


def only_invalid(messages: list[PushMessage | InvalidMessage]) -> InvalidMessage:
    (message,) = messages
    assert isinstance(message, InvalidMessage)
    return message


def fields(message: PushMessage | InvalidMessage) -> list[str]:
    assert isinstance(message, InvalidMessage)
    return [fault.field for fault in message.faults]


def test_payload_may_be_one_message() -> None:
    (message,) = messages_of(minimal(), SETTINGS)

    assert isinstance(message, PushMessage)
    assert message.title == "Your order is on its way"
    assert message.app_id == "ONEX1"


def test_payload_may_be_a_list_of_messages() -> None:
    messages = messages_of(
        {"messages": [minimal() | {"title": str(number)} for number in range(30)]}, SETTINGS
    )

    assert [message.title for message in messages if isinstance(message, PushMessage)] == [
        str(number) for number in range(30)
    ]


@pytest.mark.parametrize("payload", [None, True, 7, 1.5, "text", [], [minimal()], [[]]])
def test_payload_must_be_an_object(payload: object) -> None:
    assert "JSON object" in str(only_invalid(messages_of(payload, SETTINGS)))


@pytest.mark.parametrize("messages", [None, [], {}, "text", 7, minimal()])
def test_messages_must_be_a_list_of_one_or_more(messages: object) -> None:
    assert fields(only_invalid(messages_of({"messages": messages}, SETTINGS))) == ["messages"]


def test_messages_must_be_the_only_key() -> None:
    invalid = only_invalid(messages_of({"messages": [minimal()], "title": "x", "appId": "y"}, SETTINGS))

    assert "`title`, `appId`" in str(invalid)


def test_key_that_python_cannot_write_is_a_fault() -> None:
    long = 10**5000
    alone = only_invalid(messages_of({"messages": [minimal()], long: 1}, SETTINGS))
    inside = only_invalid(messages_of(minimal() | {"extendedParams": {long: "a"}}, SETTINGS))

    assert str(alone) == "`messages` must be the only key: move `<number>` into it"
    assert str(inside) == "extendedParams: a key must be text: `<n…(8)`"


def test_faults_of_a_single_message_use_the_pages_names() -> None:
    assert fields(message_of(minimal() | {"silent": 7, "expiredSeconds": 0}, SETTINGS)) == [
        "expiredSeconds",
        "silent",
    ]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"strategyContent": {"x": 1}, "strategy_content": 5}, "messages.1.strategyContent.…(1)"),
        ({"strategyContent": {"x": 1}, "strategy_content": "x"}, "messages.1.strategyContent.…(1)"),
        ({"[key]": 1}, "messages.1.[…(5)"),
        ({"title.": 1}, "messages.1.title."),
    ],
)
def test_message_with_an_odd_name_does_not_affect_others(wrong: dict[str, Any], path: str) -> None:
    messages = messages_of({"messages": [minimal(), minimal() | wrong, minimal()]}, SETTINGS)

    assert [isinstance(message, PushMessage) for message in messages] == [True, False, True]
    assert path in fields(messages[1])


def test_invalid_message_does_not_affect_others_and_is_named_by_its_index() -> None:
    wrong: list[Any] = [minimal() | {"silent": 7}, "text", minimal() | {"expiredSeconds": 0, "titel": "x"}]

    messages = messages_of({"messages": [minimal(), wrong[0], minimal(), wrong[1], wrong[2]]}, SETTINGS)

    assert [isinstance(message, PushMessage) for message in messages] == [True, False, True, False, False]
    assert fields(messages[1]) == ["messages.1.silent"]
    assert fields(messages[3]) == ["messages.3"]
    assert fields(messages[4]) == ["messages.4.expiredSeconds", "messages.4.titel"]


def test_targets_of_an_invalid_message_are_kept_for_the_response() -> None:
    by_id = message_of(minimal() | {"silent": 7}, SETTINGS)
    by_text = message_of(minimal() | {"silent": 7, "targetMsgkey": '{"user-4711": "1"}'}, SETTINGS)
    by_name = message_of(with_targets("user-1", "user-2") | {"silent": 7}, SETTINGS)

    assert isinstance(by_id, InvalidMessage)
    assert isinstance(by_text, InvalidMessage)
    assert isinstance(by_name, InvalidMessage)
    assert by_id.targets == by_text.targets == ("user-4711",)
    assert by_name.targets == ("user-1", "user-2")


@pytest.mark.parametrize("targets", [7, "user-1", [7, None], {"targets": []}, [["user-1"]]])
def test_unreadable_targets_are_omitted(targets: object) -> None:
    invalid = message_of({"targets": targets}, SETTINGS)

    assert isinstance(invalid, InvalidMessage)
    assert all(isinstance(target, str) for target in invalid.targets)


def test_rule_levels_of_the_settings_apply() -> None:
    long = minimal() | {"expiredSeconds": 700_000}
    lenient = SETTINGS.model_copy(update={"constraint_levels": {"expired-seconds-max": Level.OFF}})

    assert fields(message_of(long, SETTINGS)) == ["expiredSeconds"]
    assert isinstance(message_of(long, lenient), PushMessage)


def test_message_without_app_names_the_variable() -> None:
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
def test_unpaired_surrogate_is_a_fault_that_can_be_encoded(broken: dict[str, Any]) -> None:
    invalid = only_invalid(messages_of(minimal() | broken, SETTINGS))

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
def test_unpaired_surrogate_in_a_map_is_a_fault_before_a_request_is_built(broken: dict[str, Any]) -> None:
    message = message_of(minimal() | broken, SETTINGS)
    if isinstance(message, PushMessage):
        with pytest.raises(InvalidMessage, match="an unpaired surrogate"):
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
        messages = messages_of(shape, SETTINGS)

        assert messages
        for message in messages:
            assert isinstance(message, (PushMessage, InvalidMessage))
            str(message).encode()


@settings(deadline=None)
@given(st.sampled_from(sorted(minimal())), json_values)
def test_no_value_of_a_field_raises(name: str, value: Any) -> None:
    (message,) = messages_of(minimal() | {name: value}, SETTINGS)

    assert isinstance(message, (PushMessage, InvalidMessage))


# --- What a payload costs ------------------------------------------------------------------------------

COSTLY_SIZE = 5_000
GARBAGE = 128 * 1024
"""Bytes of errors that wait for the garbage collector, regardless of the length of the text."""
HEAD = '"taskName":"a","title":"b","content":"c","deliveryType":1,"expiredSeconds":1'


def many(element: str, size: int) -> str:
    return ",".join([element] * (size // (len(element) + 1)))


def entries(value: str, size: int) -> str:
    """As many entries of an object as fit, each with a different short key."""
    return ",".join(f'"{number:x}":{value}' for number in range(size // (len(value) + 7)))


def deep(size: int) -> str:
    return many('{"":' * 60 + "0" + "}" * 60, size)


# The most expensive payloads for their length. Each function takes a size and returns about as many bytes.
COSTLY = {
    "valid messages": lambda size: (
        f'{{"messages":[{many(f"{{{HEAD},{chr(34)}targets{chr(34)}:[{chr(34)}a{chr(34)}]}}", size)}]}}'
    ),
    "empty messages": lambda size: f'{{"messages":[{many("{}", size)}]}}',
    "numbers for messages": lambda size: f'{{"messages":[{many("1", size)}]}}',
    "wrong messages": lambda size: '{"messages":[' + many('{"targets":["a"]}', size) + "]}",
    "misspelt messages": lambda size: '{"messages":[' + many('{"titel":1}', size) + "]}",
    "unknown fields": lambda size: f"{{{entries('1', size)}}}",
    "unknown fields of a strategy": lambda size: f'{{{HEAD},"strategyContent":{{{entries("1", size)}}}}}',
    "empty targets": lambda size: f'{{{HEAD},"targets":[{many(chr(34) * 2, size)}]}}',
    "numbers for targets": lambda size: f'{{{HEAD},"targets":[{many("1", size)}]}}',
    "one target": lambda size: f'{{{HEAD},"targets":[{many(chr(34) + "a" + chr(34), size)}]}}',
    "targets": lambda size: f'{{{HEAD},"targetMsgkey":{{{entries(chr(34) + "a" + chr(34), size)}}}}}',
    "blank message ids": lambda size: (
        f'{{{HEAD},"targetMsgkey":{{{entries(chr(34) + " " + chr(34), size)}}}}}'
    ),
    "numbers for message ids": lambda size: f'{{{HEAD},"targetMsgkey":{{{entries("1", size)}}}}}',
    "pictures": lambda size: f'{{{HEAD},"imageUrls":{{{entries("1", size)}}}}}',
    "vendors": lambda size: f'{{{HEAD},"transparentMessagePayload":{{{entries("1", size)}}}}}',
    "days": lambda size: (
        f'{{{HEAD},"strategyType":2,"strategyContent":{{"circleValue":[{many("9", size)}]}}}}'
    ),
    "wrong days": lambda size: f'{{{HEAD},"strategyContent":{{"circleValue":[{many("1.5", size)}]}}}}',
    "deep state": lambda size: f'{{{HEAD},"targets":["a"],"activityContentState":{{"a":[{deep(size)}]}}}}',
    "deep state as text": lambda size: json.dumps({"activityContentState": f'{{"a":[{deep(size)}]}}'}),
}


@pytest.mark.parametrize("payload", COSTLY.values(), ids=COSTLY)
def test_reading_a_payload_takes_at_most_sixty_bytes_per_byte(payload: Any) -> None:
    text = payload(COSTLY_SIZE).encode()
    messages_of(read_json(payload(400)), SETTINGS)  # imports stay in memory

    assert (
        peak_bytes(lambda: messages_of(read_json(text), SETTINGS), limit := 60 * len(text) + GARBAGE) <= limit
    )


@pytest.mark.parametrize("payload", COSTLY.values(), ids=COSTLY)
def test_reading_twice_the_payload_takes_at_most_twice_the_steps(payload: Any) -> None:
    def reading(size: int) -> int:
        text = payload(size)
        return steps(lambda: messages_of(read_json(text), SETTINGS))

    reading(400)
    assert reading(COSTLY_SIZE) <= 2.2 * reading(COSTLY_SIZE // 2) + 1000


def test_only_the_first_of_many_invalid_messages_are_described_and_every_target_is_kept() -> None:
    wrong = [{"targets": [f"user-{number}"]} for number in range(MAX_PAYLOAD_FAULTS)]

    messages = messages_of({"messages": [*wrong, minimal(), 7, {}]}, SETTINGS)

    assert fields(messages[0]) == [f"messages.0.{name}" for name in fields(message_of(wrong[0], SETTINGS))]
    assert [invalid.targets for invalid in messages[:-3] if isinstance(invalid, InvalidMessage)] == [
        (f"user-{number}",) for number in range(MAX_PAYLOAD_FAULTS)
    ]
    assert isinstance(messages[-3], PushMessage)
    assert "correct the ones before it first" in str(messages[-4])
    assert str(messages[-1]) == str(messages[-2]) == str(messages[-4])
    described = sum(len(message.faults) for message in messages if isinstance(message, InvalidMessage))
    assert described <= 2 * MAX_PAYLOAD_FAULTS + 10


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=80), st.integers(0, 1_000_000), st.sampled_from(["replace", "insert", "cut"]))
def test_no_damaged_payload_raises(junk: bytes, position: int, damage: str) -> None:
    text = json.dumps({"messages": [everything(), with_targets()]}).encode()
    start = position % len(text)
    end = {"replace": start + len(junk), "insert": start, "cut": len(text)}[damage]
    try:
        payload = read_json(text[:start] + junk + text[end:])
    except UnreadableJson:
        return
    for message in messages_of(payload, SETTINGS):
        assert isinstance(message, (PushMessage, InvalidMessage))
