from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mpaas_push.errors import Fault, InvalidMessage, mask_id
from mpaas_push.json_text import read_json
from mpaas_push.message import PARAMETERS, PARAMETERS_2019, PushMessage, StrategyContent
from tests.mpaas_push.message.examples import (
    JSON_FIELDS,
    NOW,
    TODAY,
    as_texts,
    clock,
    everything,
    loop,
    minimal,
    ms,
    with_targets,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LONG = 2**63 - 1
DEFAULTS = {"appId": "ONEX1", "workspaceId": "default", "tenantId": "T1"}


def parse(**change: Any) -> PushMessage:
    return PushMessage.parse(minimal() | change, clock=clock)


def faults(data: Any, defaults: Mapping[str, str] | None = None) -> tuple[Fault, ...]:
    with pytest.raises(InvalidMessage) as caught:
        PushMessage.parse(data, clock=clock, defaults=defaults)
    return caught.value.faults


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def only_fault(**change: Any) -> Fault:
    """The only fault of the minimal message with a change."""
    [fault] = faults(minimal() | change)
    return fault


# --- Accepted messages ---------------------------------------------------------------------------------


def test_minimal_message_adds_only_push_style_zero() -> None:
    message = PushMessage.parse(minimal())
    assert message.model_dump(by_alias=True, exclude_none=True) == minimal() | {"pushStyle": 0}


def test_every_parameter_is_read_and_dumped_by_the_pages_name() -> None:
    message = PushMessage.parse(everything(), clock=clock)
    dumped = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped == everything()
    assert set(dumped) == set(PARAMETERS)


def test_json_parameters_are_accepted_as_objects_and_as_text() -> None:
    assert PushMessage.parse(as_texts(everything()), clock=clock) == PushMessage.parse(
        everything(), clock=clock
    )
    assert set(JSON_FIELDS) < set(PARAMETERS)


def test_34_parameters_include_those_of_the_old_versions_sdk() -> None:
    setters = {name.removeprefix("set_") for name in vars(PushSimpleRequest) if name.startswith("set_")}
    assert len(PARAMETERS) == 34
    assert {name[0].lower() + name[1:] for name in setters} == PARAMETERS_2019
    assert set(PARAMETERS) > PARAMETERS_2019


def test_targets_replace_target_msgkey_in_any_number() -> None:
    ids = [f"user-{number}" for number in range(25)]
    assert PushMessage.parse(with_targets(*ids)).targets == tuple(ids)
    pairs = {target: f"{target}-id" for target in ids}
    assert parse(targetMsgkey=pairs).target_msgkey == pairs


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - set(minimal())))
def test_null_is_the_same_as_absent(name: str) -> None:
    assert parse(**{name: None}) == parse()


def test_strategy_content_is_accepted_in_either_spelling_but_not_in_both() -> None:
    content = {"fixedTime": ms(NOW) + 1}
    message = parse(strategyType=1, StrategyContent=content)
    assert message == parse(strategyType=1, strategyContent=content)
    assert message == parse(strategyType=1, StrategyContent=json.dumps(content), strategyContent=None)
    assert (
        only_fault(strategyType=1, StrategyContent=content, strategyContent=content).field
        == "StrategyContent"
    )


def test_strategy_uses_only_the_fields_of_its_type() -> None:
    content = StrategyContent(
        fixed_time=5, start_time=1, end_time=2, circle_type=3, circle_value=(1, 3), time="09:45:11"
    )
    assert content.used_fields(0) == content.used_fields(None) == {}
    assert content.used_fields(1) == {"fixedTime": 5}
    assert content.used_fields(2) == {
        "startTime": 1,
        "endTime": 2,
        "circleType": 3,
        "circleValue": [1, 3],
        "time": "09:45:11",
    }


def test_official_sample_with_all_six_strategy_fields_is_accepted() -> None:
    content = loop() | {"fixedTime": 1_630_303_126_000, "circleType": 1, "circleValue": [1, 7]}
    assert parse(strategyType=2, strategyContent=content).advice(clock=clock) == ()


@pytest.mark.parametrize("delivery_type", [1, 2, 3, 5, 6, 7])
def test_every_delivery_type_of_the_page_is_accepted(delivery_type: int) -> None:
    assert parse(deliveryType=delivery_type).delivery_type == delivery_type


def test_defaults_fill_missing_fields() -> None:
    message = PushMessage.parse(minimal() | {"workspaceId": "test", "appId": None}, defaults=DEFAULTS)
    assert (message.app_id, message.workspace_id, message.tenant_id) == ("ONEX1", "test", "T1")


def test_error_about_missing_app_and_workspace_names_the_settings() -> None:
    app, workspace = faults(minimal(), defaults={"appId": ""})
    assert (app.field, workspace.field) == ("appId", "workspaceId")
    assert "MPAAS_APP_ID" in app.message
    assert "MPAAS_WORKSPACE_ID" in workspace.message
    assert parse().app_id is None


def test_input_data_is_neither_changed_nor_shared() -> None:
    data = everything() | {"StrategyContent": None, "uri": None}
    before = json.dumps(data)
    message = PushMessage.parse(data, clock=clock, defaults=DEFAULTS)
    assert json.dumps(data) == before
    data["activityContentState"]["eta"]["minutes"] = 0
    data["targetMsgkey"].clear()
    assert message.activity_content_state == everything()["activityContentState"]
    assert message.target_msgkey == everything()["targetMsgkey"]


def test_message_is_frozen() -> None:
    with pytest.raises(ValidationError):
        parse().title = "other"  # type: ignore[misc]  # frozen


# --- Rejected messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind"),
    [(None, "null"), ([], "a list"), ("{}", "text"), (5, "a number"), (True, "true or false")],
)
def test_non_object_is_reported_with_its_type(data: Any, kind: str) -> None:
    assert faults(data) == (Fault("", f"a message must be a JSON object, not {kind}"),)


def test_empty_message_reports_every_required_field() -> None:
    assert [fault.field for fault in faults({}, defaults={})] == [
        "taskName",
        "title",
        "content",
        "appId",
        "workspaceId",
        "deliveryType",
        "targetMsgkey",
        "expiredSeconds",
    ]


@pytest.mark.parametrize("name", ["taskName", "title", "content", "deliveryType", "expiredSeconds"])
def test_required_field_must_not_be_null(name: str) -> None:
    assert only_fault(**{name: None}) == Fault(name, "is required")


@pytest.mark.parametrize(
    "name",
    [
        "taskName", "title", "content", "appId", "workspaceId", "uri", "smsSignName",
        "smsTemplateCode", "miChannelId", "channelId", "vendorTemplate",
    ],
)  # fmt: skip
def test_text_fields_accept_only_non_empty_text(name: str) -> None:
    assert only_fault(**{name: ""}).message.startswith("must not be empty")
    wrong: tuple[Any, ...] = (5, True, ["x"], {})
    for value in wrong:
        assert only_fault(**{name: value}).message.startswith("must be text")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("expiredSeconds", 1, 604_800), ("smsStrategy", 0, None), ("dismissalDate", 0, LONG)],
)
def test_numbers_must_be_whole_and_within_bounds(name: str, low: int, high: int | None) -> None:
    parse(**{name: low})
    assert only_fault(**{name: low - 1}) == Fault(name, f"must be at least {low}", low - 1)
    if high is not None:
        parse(**{name: high})
        assert only_fault(**{name: high + 1}).message.startswith(f"must be at most {high}")
    assert parse(**{name: float(low)}) == parse(**{name: low})
    others: tuple[Any, ...] = (True, "3", 3.5, 1e-9, float("inf"), float("nan"), [3], {})
    for wrong in others:
        assert only_fault(**{name: wrong}).message.startswith("must be a whole number without quotes")


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("deliveryType", [1, 2, 3, 5, 6, 7], [0, 4, 8, -1]),
        ("pushStyle", [0, 1, 2], [3, -1]),
        ("pushAction", [0, 1], [2, -1]),
        ("silent", [0, 1], [2, -1]),
        ("strategyType", [0], [3, -1]),
    ],
)
def test_invalid_enumerated_number_is_reported_with_the_allowed_values(
    name: str, allowed: list[int], refused: list[int]
) -> None:
    for value in allowed:
        assert getattr(parse(**{name: value}), snake(name)) == value
    assert type(getattr(parse(**{name: float(allowed[-1])}), snake(name))) is int
    for wrong in (*refused, True, False, 1.5, "1", [1]):
        fault = only_fault(**{name: wrong})
        assert fault.field == name
        assert fault.message.startswith("must be one of ")
        assert all(f"{value} (" in fault.message for value in allowed)
        assert fault.value in (wrong, None)


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("classification", ["0", "1"], ["2", ""]),
        ("notifyType", ["transparent", "notify"], ["Notify", ""]),
        ("activityEvent", ["update", "end"], ["start", "END"]),
        ("transparentMessageUrgency", ["HIGH", "NORMAL"], ["high", "LOW"]),
    ],
)
def test_invalid_enumerated_word_is_reported_with_the_allowed_values(
    name: str, allowed: list[str], refused: list[str]
) -> None:
    for value in allowed:
        assert getattr(parse(**{name: value, "transparentMessagePayload": {"hms": {}}}), snake(name)) == value
    for wrong in (*refused, True, 1.0, [allowed[0]]):
        fault = only_fault(**{name: wrong, "transparentMessagePayload": {"hms": {}}})
        assert fault.field == name
        assert all(f'"{value}"' in fault.message for value in allowed)


def test_number_in_place_of_text_is_reported_with_the_text_to_write() -> None:
    assert only_fault(classification=1).message.endswith('as text: write "1"')
    assert only_fault(thirdChannelCategory={"hms": 9}) == Fault(
        "thirdChannelCategory.hms", 'must be text: write "9", not a number'
    )
    assert only_fault(notifyLevel={"oppo": 2}).message.startswith('must be text: write "2"')


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        ("titel", "title"),
        ("task_name", "taskName"),
        ("TargetMsgKey", "targetMsgkey"),
        ("targetMsgKeys", "targetMsgkey"),
        ("expireSeconds", "expiredSeconds"),
        ("strategycontent", "strategyContent"),
    ],
)
def test_unknown_field_suggests_the_nearest_known_one(wrong: str, known: str) -> None:
    assert only_fault(**{wrong: None}) == Fault(wrong, f"unknown field `{wrong}`; did you mean `{known}`?")


def test_unknown_field_unlike_any_other_suggests_extended_params() -> None:
    assert "extendedParams" in only_fault(zzz=1).message
    assert faults(minimal() | {4711: 1})[0].field == "4…(4)"


def test_unknown_field_of_a_strategy_suggests_the_nearest_known_one() -> None:
    content = {"fixedTime": ms(NOW) + 1, "starttime": 1}
    fault = only_fault(strategyType=1, strategyContent=content)
    assert fault.field == "strategyContent.starttime"
    assert fault.message == "unknown field `starttime`; did you mean `startTime`?"


@pytest.mark.parametrize("name", JSON_FIELDS)
def test_json_parameters_require_an_object_or_its_text(name: str) -> None:
    others: tuple[Any, ...] = (5, True, [], "[]", '"x"', "5")
    for wrong in others:
        fault = only_fault(**{name: wrong})
        assert fault.field == name
        assert fault.message.startswith("must be an object, or the JSON text of one")
    assert only_fault(**{name: "{"}).message.startswith("not JSON")
    assert "NaN" in only_fault(**{name: '{"a": NaN}'}).message


@pytest.mark.parametrize(
    "name", ["extendedParams", "smsTemplateParam", "activityContentState", "transparentMessagePayload"]
)
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1, 2}, b"x", {5: 1}, "\ud800"])
def test_free_form_json_rejects_values_that_json_cannot_represent(name: str, value: Any) -> None:
    assert only_fault(**{name: {"hms": {"k": value}}}).field == name


def test_duplicate_key_in_json_text_is_named() -> None:
    assert only_fault(extendedParams='{"k": "a", "k": "b"}').message.endswith(
        "duplicate keys: `extendedParams.…(1)`"
    )
    fault = only_fault(targetMsgkey='{"user-4711": "a", "user-4711": "b"}')
    assert fault.message.endswith("duplicate keys: `targetMsgkey.us…(9)`")


def test_faults_of_targets_locate_them_without_showing_their_ids() -> None:
    reported = faults(minimal() | {"targetMsgkey": {"user-4711": 5, "user-4712": "", "": "x"}})
    assert [fault.field for fault in reported] == [
        "targetMsgkey.us…(9)",
        "targetMsgkey.us…(9)",
        "targetMsgkey.…(0)",
    ]
    reported = faults(with_targets() | {"targets": ["user-1", "", 4711]})
    assert reported == (
        Fault("targets.1", "must not be empty"),
        Fault("targets.2", "must be text, not a number"),
    )


@pytest.mark.parametrize("name", ["targets", "targetMsgkey"])
def test_at_least_one_target_is_required(name: str) -> None:
    empty: Any = [] if name == "targets" else {}
    assert only_fault(**{"targetMsgkey": None, name: empty}) == Fault(name, "must name at least one target")


@pytest.mark.parametrize("wrong", ["user-1", {"user-1": "x"}, {"user-1"}, 5])
def test_targets_must_be_a_list(wrong: Any) -> None:
    assert only_fault(targetMsgkey=None, targets=wrong).message.startswith("must be a list")


@pytest.mark.parametrize("time", ["9:45:11", "24:00:00", "09:60:00", "09:45", "09:45:11\n", "०९:४५:११", ""])
def test_time_of_day_requires_two_digits_each(time: str) -> None:
    fault = only_fault(strategyType=2, strategyContent=loop() | {"time": time})
    assert (fault.field, fault.message) == (
        "strategyContent.time",
        "must be a time of day as HH:mm:ss, such as 09:45:11",
    )


def test_numbers_of_a_strategy_must_be_whole() -> None:
    content = {"startTime": "1", "endTime": True, "circleType": 1.5, "circleValue": [1, 2.0, "2"], "time": 5}
    assert [fault.field for fault in faults(minimal() | {"strategyType": 2, "strategyContent": content})] == [
        "strategyContent.startTime",
        "strategyContent.endTime",
        "strategyContent.circleType",
        "strategyContent.circleValue.2",
        "strategyContent.time",
    ]


def test_all_faults_are_reported_at_once_in_field_order() -> None:
    data = minimal() | {
        "titel": "x",
        "title": 5,
        "deliveryType": 4,
        "targets": ["user-1"],
        "expiredSeconds": 604_801,
        "extendedParams": {"taskId": "x", **{str(number): "" for number in range(20)}},
        "strategyType": 2,
        "strategyContent": {"startTime": ms(TODAY) - 1, "endTime": "tomorrow", "circleTipe": 1},
        "smsStrategy": 1,
        "smsSignName": 5,
        "transparentMessageUrgency": "HIGH",
    }
    fields = [fault.field for fault in faults(data, defaults={"appId": "a"})]
    assert fields == [
        "title",
        "workspaceId",
        "deliveryType",
        "targets",
        "expiredSeconds",
        "extendedParams",
        "extendedParams.taskId",
        "strategyContent.startTime",
        "strategyContent.endTime",
        "strategyContent.circleType",
        "strategyContent.circleValue",
        "strategyContent.time",
        "strategyContent.circleTipe",
        "smsSignName",
        "smsTemplateCode",
        "smsTemplateParam",
        "transparentMessagePayload",
        "titel",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {f"field-{number}": 1 for number in range(1000)},
        {"targetMsgkey": None, "targets": [""] * 1000},
        {"targetMsgkey": None, "targets": ["user-4711"] * 1000},
    ],
    ids=["unknown", "empty", "repeated"],
)
def test_only_the_first_hundred_faults_are_reported(change: dict[str, Any]) -> None:
    reported = faults(minimal() | change)
    assert len(reported) == 101
    assert Fault("", "more than 100 faults; correct these first") in reported


def test_few_faults_among_many_entries_are_located() -> None:
    ids = [f"user-{number}" for number in range(500)]
    assert [fault.field for fault in faults(with_targets(*ids[:300], "", *ids[300:], ""))] == [
        "targets.300",
        "targets.501",
    ]
    pairs = {target: target for target in ids} | {"user-x": 5}
    assert [fault.field for fault in faults(minimal() | {"targetMsgkey": pairs})] == ["targetMsgkey.us…(6)"]


def test_many_valid_entries_are_all_accepted() -> None:
    days = [1 + number % 31 for number in range(500)]
    content = parse(strategyType=2, strategyContent=loop() | {"circleValue": days}).strategy_content
    assert content is not None
    assert content.circle_value == tuple(days)
    payload: dict[str, Any] = {f"vendor-{number}": {} for number in range(500)}
    assert parse(transparentMessagePayload=payload).transparent_message_payload == payload


def test_nested_data_is_not_copied_if_the_caller_says_so() -> None:
    state: dict[str, Any] = {"stops": [1]}
    kept = PushMessage.parse(minimal() | {"activityContentState": state}, copies=False).activity_content_state
    copied = parse(activityContentState=state).activity_content_state
    assert kept is not None
    assert copied is not None
    assert kept["stops"] is state["stops"]
    assert copied["stops"] is not state["stops"]


def test_rules_about_a_faulty_field_are_skipped() -> None:
    assert (
        only_fault(strategyType=2, strategyContent=loop() | {"endTime": "x"}).field
        == "strategyContent.endTime"
    )
    assert only_fault(strategyType="2").field == "strategyType"
    assert only_fault(targetMsgkey=5).field == "targetMsgkey"


def test_rules_check_the_valid_fields_of_a_strategy_given_as_text() -> None:
    content = json.dumps(loop() | {"startTime": 5, "time": "noon"})
    reported = faults(minimal() | {"strategyType": 2, "StrategyContent": content})
    assert {fault.field for fault in reported} == {"strategyContent.startTime", "strategyContent.time"}


# --- Constructed in code -------------------------------------------------------------------------------


def test_keyword_arguments_create_the_same_message_as_data() -> None:
    message = PushMessage(
        task_name="order-shipped",
        title="Your order is on its way",
        content="It will arrive tomorrow.",
        delivery_type=3,
        expired_seconds=600,
        target_msgkey={"user-4711": "order-4711-1"},
    )
    assert message == parse()
    assert PushMessage(**minimal()) == parse()


def test_invalid_keyword_arguments_are_worded_like_invalid_data_and_show_no_value() -> None:
    with pytest.raises(ValidationError) as caught:
        PushMessage(
            task_name="t",
            title="",
            content="c",
            delivery_type=3,
            expired_seconds=700_000,
            targets=("user-4711", "user-4711"),
            sms_template_param="secret-4712",  # type: ignore[arg-type]  # wrong on purpose
        )
    lines = [(line["loc"], line["msg"], line["input"]) for line in caught.value.errors()]
    assert lines == [
        (("title",), "must not be empty", None),
        (("targets", "1"), "is the same target as `targets.0`; remove one", None),
        (("expiredSeconds",), "must be at most 604800 seconds (7 days)", None),
        (("smsTemplateParam",), "not JSON: Expecting value at line 1, column 1: `smsTemplateParam`", None),
    ]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_python_names_of_a_strategy_are_validated_in_code() -> None:
    content: Any = {"fixed_time": "x", "start_time": 1}
    with pytest.raises(ValidationError) as caught:
        PushMessage(**with_targets(), strategy_type=1, strategy_content=content)
    assert [line["loc"] for line in caught.value.errors()] == [("strategyContent", "fixedTime")]


def test_repr_shows_no_target_and_no_text_meant_for_a_person() -> None:
    data = everything() | {
        "smsTemplateParam": {"code": "secret-1"},
        "title": "Dear secret-2",
        "content": "secret-3",
    }
    output = repr(PushMessage.parse(data, clock=clock)) + str(PushMessage.parse(with_targets()))
    assert "secret" not in output
    assert not any(target in output for target in [*data["targetMsgkey"], "user-4711", "user-4712"])
    assert mask_id("user-4711") in output
    assert "task_name='order-shipped'" in output


# --- Properties of all messages ------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\ufffd")
ANY_TEXT = st.text(CHARACTERS, min_size=1, max_size=20).filter(lambda text: not text.isspace())
FREE = st.dictionaries(ANY_TEXT.map("k-".__add__), st.text(CHARACTERS, max_size=5), max_size=20)
TARGETS = st.lists(ANY_TEXT, min_size=1, max_size=12, unique=True)


@st.composite
def valid_messages(draw: st.DrawFn) -> dict[str, Any]:
    data: dict[str, Any] = {
        "taskName": draw(ANY_TEXT),
        "title": draw(ANY_TEXT),
        "content": draw(ANY_TEXT),
        "deliveryType": draw(st.sampled_from([1, 2, 3, 5, 6, 7])),
        "expiredSeconds": draw(st.integers(1, 604_800)),
    }
    targets = draw(TARGETS)
    if draw(st.booleans()):
        data["targets"] = targets
    else:
        data["targetMsgkey"] = {target: f"{index}-{target}" for index, target in enumerate(targets)}
    optional = everything()
    for name in draw(st.sets(st.sampled_from(sorted(set(optional) - set(data) - {"targetMsgkey"})))):
        data[name] = optional[name]
    if data.get("smsStrategy"):
        data |= {name: optional[name] for name in ("smsSignName", "smsTemplateCode", "smsTemplateParam")}
    if data.get("strategyType"):
        days = draw(st.integers(0, 180))
        start = ms(TODAY) + draw(st.integers(0, days)) * 86_400_000
        data["strategyContent"] = loop() | {"startTime": start, "endTime": ms(TODAY + timedelta(days=days))}
    if "transparentMessageUrgency" in data:
        data["transparentMessagePayload"] = {"honor": draw(FREE)}
    if "extendedParams" in data:
        data["extendedParams"] = draw(FREE)
    return data


@given(valid_messages())
def test_every_valid_message_passes_in_every_form(data: dict[str, Any]) -> None:
    message = PushMessage.parse(data, clock=clock)
    assert PushMessage.parse(as_texts(data), clock=clock) == message
    assert PushMessage.parse(read_json(json.dumps(data)), clock=clock) == message
    dumped = message.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert PushMessage.parse(dumped, clock=clock) == message
    for advice in message.advice(clock=clock):
        json.dumps(advice.as_json())


@given(JSON)
def test_no_json_value_raises_anything_but_invalid_message(data: Any) -> None:
    with pytest.raises(InvalidMessage) as caught:
        PushMessage.parse(data, defaults={})
    json.dumps([fault.as_json() for fault in caught.value.faults]).encode()
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"[key]": "x"}, "[…(5)", "unknown field `[…(5)`; remove it"),
        ({"strategyContent": {"[key]": 5}}, "strategyContent.[…(5)", "unknown field `[…(5)`; remove it"),
        ({"targetMsgkey": {"[key]": 5}}, "targetMsgkey.[…(5)", "must be text, not a number"),
        ({"targetMsgkey": {"[key]": ""}}, "targetMsgkey.[…(5)", "must not be empty"),
        ({"targetMsgkey": {"": "x"}}, "targetMsgkey.…(0)", "must not be empty"),
    ],
)
def test_name_that_pydantic_uses_as_a_mark_is_like_any_other(
    change: dict[str, Any], field: str, words: str
) -> None:
    fault = only_fault(**change)

    assert fault.field == field
    assert fault.message.startswith(words)


OTHER = st.one_of(JSON, st.sampled_from(['{"x": 1, "x": 2}', "{", [1], 5, {"fixedTime": 1}, {"x": 1}]))


@given(
    OTHER,
    OTHER,
    st.sampled_from(["strategy_content", "strategyContent.x", "StrategyContent", "expired_seconds"]),
)
def test_name_that_resembles_a_field_raises_only_invalid_message(first: Any, second: Any, name: str) -> None:
    for data in ({"strategyContent": first, name: second}, {name: second, "strategyContent": first}):
        faults_or_none(minimal() | data)
        with suppress(ValidationError):
            PushMessage(**minimal(), **data)


@pytest.mark.parametrize("name", ["strategy_content", "strategyContent.x", "expired_seconds"])
@pytest.mark.parametrize("value", [5, "x", '{"a": 1, "a": 2}', [1], {}])
def test_unknown_name_beside_an_invalid_strategy_is_one_of_the_faults(name: str, value: Any) -> None:
    faults = faults_or_none(minimal() | {"strategyContent": {"x": 1}, name: value})

    assert {fault.field for fault in faults} >= {"strategyContent.…(1)", name}


def test_attribute_name_hides_no_fault_of_another_field() -> None:
    content = {"fixed_time": 1, "fixedTime": ms(NOW) - 1}
    faults = faults_or_none(minimal() | {"strategyType": 1, "strategyContent": content})

    assert [fault.field for fault in faults] == ["strategyContent.fixedTime", "strategyContent.fixed_time"]


def test_other_spelling_within_a_strategy_is_an_unknown_field() -> None:
    fault = only_fault(strategyType=1, strategyContent={"fixedTime": ms(NOW) + 1, "StrategyContent": 1})

    assert fault.field == "strategyContent.StrategyContent"
    assert fault.message.startswith("unknown field")


@pytest.mark.parametrize("name", ["deliveryType", "pushStyle", "pushAction", "silent", "strategyType"])
@pytest.mark.parametrize("number", [2**63, -(2**70), 10**30, 2.0**70])
def test_number_too_large_for_an_enumeration_is_not_one_of_its_values(name: str, number: float) -> None:
    faults = [fault for fault in faults_or_none(minimal() | {name: number}) if fault.field == name]

    assert faults[0].message.startswith("must be one of ")


MAPS = sorted({"strategyContent"} | {name for name, value in everything().items() if isinstance(value, dict)})
KEYS: list[Any] = ["[key]", "", 5, 1.5, True, None, (1,), b"x"]
VALUES: list[Any] = ["x", 5, None, {}]


@pytest.mark.parametrize("field", ["", *MAPS])
def test_no_key_raises_anything_but_invalid_message(field: str) -> None:
    for key, value in product(KEYS, VALUES):
        change: dict[Any, Any] = {field: {key: value}} if field else {key: value}
        for data in (everything() | change, minimal() | change):
            str(faults_or_none(data)).encode()


FIELDS = [*PARAMETERS, "targets", "StrategyContent", "titel"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_no_json_value_of_a_field_raises_anything_but_invalid_message(change: dict[str, Any]) -> None:
    for data in (everything() | change, minimal() | change):
        for fault in faults_or_none(data):
            assert fault.field.partition(".")[0] in FIELDS
            str(fault).encode()


def faults_or_none(data: Any) -> tuple[Fault, ...]:
    try:
        PushMessage.parse(data, clock=clock)
    except InvalidMessage as error:
        return error.faults
    return ()


SECRET = st.text("QXZ0123456789", min_size=3, max_size=12).map("Q7".__add__)


@settings(max_examples=60)
@given(
    st.lists(SECRET, min_size=2, max_size=4, unique=True),
    st.sampled_from([None, "", 5, "same", "twice"]),
    st.booleans(),
)
def test_no_error_and_no_repr_contains_a_complete_target_id(
    targets: list[str], value: Any, as_list: bool
) -> None:
    pairs: Any = dict.fromkeys(targets, value)
    if value == "twice":
        pairs = f'{{"{targets[0]}": "a", "{targets[0]}": "b"}}'
    change: dict[str, Any] = {"targetMsgkey": pairs}
    if as_list:
        change = {"targetMsgkey": None, "targets": [*targets, targets[0], value]}
    with pytest.raises(InvalidMessage) as caught:
        PushMessage.parse(minimal() | change)
    with pytest.raises(ValidationError) as constructed:
        PushMessage(**minimal() | change)
    rejected = constructed.value
    output = f"{caught.value}{caught.value!r}{rejected}{rejected!r}{rejected.errors()}{rejected.json()}"
    output += repr(PushMessage.parse(with_targets(*targets)))
    assert not any(target in output for target in targets)
