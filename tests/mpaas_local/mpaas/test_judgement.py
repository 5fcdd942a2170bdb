from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpaas_local.mpaas import Behaviour
from mpaas_local.mpaas.judgement.parameters import ENUMERATIONS, PARAMETERS
from mpaas_local.mpaas.judgement.verdict import Verdict, judge, read_targets
from mpaas_local.mpaas.result_codes import RESULT_NAMES
from tests.mpaas_local.mpaas.calls import push

NOW = 1_764_000_000.0  # 2025-11-24 16:00:00Z is 2025-11-25 00:00 in China
DAY = 24 * 3600 * 1000
TODAY = int(NOW) * 1000
VERSION = "2020-10-28"


def loop(**changes: Any) -> dict[str, str]:
    content = {
        "startTime": TODAY,
        "endTime": TODAY + 30 * DAY,
        "circleType": 3,
        "circleValue": [1, 3],
        "time": "09:45:11",
        **changes,
    }
    content = {name: value for name, value in content.items() if value is not None}
    return {"StrategyType": "2", "StrategyContent": json.dumps(content)}


def timed(value: Any) -> dict[str, str]:
    return {"StrategyType": "1", "StrategyContent": json.dumps({"fixedTime": value})}


SMS = {"SmsStrategy": "2", "SmsSignName": "s", "SmsTemplateCode": "SMS_1", "SmsTemplateParam": '{"code":1}'}
ACTIVITY = {"DeliveryType": "6", "ActivityEvent": "update", "ActivityContentState": '{"score":"1:0"}'}

REFUSED: list[tuple[str, str, dict[str, str | None]]] = [
    ("3003", "AppId", {"AppId": None}),
    ("3003", "AppId", {"AppId": " "}),
    ("3003", "WorkspaceId", {"WorkspaceId": ""}),
    ("3019", "TaskName", {"TaskName": None}),
    ("3024", "Title", {"Title": ""}),
    ("3024", "Content", {"Content": None}),
    ("3009", "DeliveryType", {"DeliveryType": None}),
    ("3009", "DeliveryType", {"DeliveryType": "4"}),
    ("3009", "DeliveryType", {"DeliveryType": "03"}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": None}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": "user1"}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": '["user1"]'}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": "{}"}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": '{"":"m"}'}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": '{"user1":""}'}),
    ("3021", "TargetMsgkey", {"TargetMsgkey": "[" * 100_000}),
    ("3010", "TargetMsgkey", {"TargetMsgkey": '{"user1":1}'}),
    ("3010", "TargetMsgkey", {"TargetMsgkey": '{"user1":"m","user2":"m"}'}),
    ("3028", "TargetMsgkey", {"TargetMsgkey": '{"user1":"m","user1":"n"}'}),
    ("3029", "TargetMsgkey", {"TargetMsgkey": json.dumps({f"u{n}": f"m{n}" for n in range(11)})}),
    ("3020", "ExpiredSeconds", {"ExpiredSeconds": None}),
    ("3020", "ExpiredSeconds", {"ExpiredSeconds": "0"}),
    ("3020", "ExpiredSeconds", {"ExpiredSeconds": "600.0"}),
    ("3020", "ExpiredSeconds", {"ExpiredSeconds": "٦"}),
    ("3026", "ExpiredSeconds", {"ExpiredSeconds": "604801"}),
    ("3044", "ExtendedParams", {"ExtendedParams": "a=b"}),
    ("3044", "ExtendedParams", {"ExtendedParams": '["a"]'}),
    ("3044", "ExtendedParams", {"ExtendedParams": '{"a":"1","a":"2"}'}),
    ("3044", "ExtendedParams", {"ExtendedParams": '{"a":NaN}'}),
    ("3035", "ExtendedParams", {"ExtendedParams": json.dumps({f"k{n}": "v" for n in range(21)})}),
    ("3028", "ExtendedParams", {"ExtendedParams": '{"taskId":"1"}'}),
    ("3028", "ImageUrls", {"ImageUrls": "https://example.com/a.png"}),
    ("3028", "IconUrls.defaultUrl", {"IconUrls": '{"defaultUrl":1}'}),
    ("3028", "ThirdChannelCategory.hms", {"ThirdChannelCategory": '{"hms":9}'}),
    ("3028", "NotifyLevel", {"NotifyLevel": '{"oppo":"2","oppo":"1"}'}),
    ("3028", "StrategyContent", {"StrategyType": "1"}),
    ("3028", "StrategyContent", {"StrategyType": "0", "StrategyContent": "not JSON"}),
    ("3028", "StrategyContent.time", {"StrategyContent": '{"time":"noon"}'}),
    ("3028", "StrategyContent.circleType", {**loop(circleType=-1)}),
    ("3028", "StrategyContent.circleValue", {**loop(circleType=1, circleValue=None)}),
    ("3028", "StrategyContent.fixedTime", {**timed(2**63)}),
    ("3028", "SmsTemplateParam", {"SmsStrategy": "0", "SmsTemplateParam": "not JSON"}),
    ("3028", "SmsStrategy", {**SMS, "SmsStrategy": str(2**31)}),
    ("3028", "StrategyContent", {"StrategyType": "1", "StrategyContent": "[]"}),
    ("3028", "StrategyContent", {"StrategyType": "1", "StrategyContent": '{"fixedTime":1,"fixedTime":2}'}),
    ("3028", "StrategyContent.fixedTime", {"StrategyType": "1", "StrategyContent": "{}"}),
    ("3028", "StrategyContent.fixedTime", {**timed("1764000000000")}),
    ("3028", "StrategyContent.fixedTime", {**timed(True)}),
    ("3028", "StrategyContent.fixedTime", {**timed(TODAY - 1000)}),
    ("3028", "StrategyContent.startTime", {**loop(startTime=None)}),
    ("3028", "StrategyContent.startTime", {**loop(startTime=TODAY - 1)}),
    ("3028", "StrategyContent.endTime", {**loop(endTime=None)}),
    ("3028", "StrategyContent.endTime", {**loop(startTime=TODAY + DAY, endTime=TODAY)}),
    ("3028", "StrategyContent.endTime", {**loop(endTime=TODAY + 181 * DAY)}),
    ("3028", "StrategyContent.circleType", {**loop(circleType=None)}),
    ("3028", "StrategyContent.circleType", {**loop(circleType="3")}),
    ("3028", "StrategyContent.circleValue", {**loop(circleValue=None)}),
    ("3028", "StrategyContent.circleValue", {**loop(circleValue={"1": 1})}),
    ("3028", "StrategyContent.circleValue", {**loop(circleValue=["1"])}),
    ("3028", "StrategyContent.time", {**loop(time=None)}),
    ("3028", "StrategyContent.time", {**loop(time="24:00:00")}),
    ("3028", "SmsStrategy", {"SmsStrategy": "-1"}),
    ("3028", "SmsStrategy", {"SmsStrategy": "yes"}),
    ("3028", "SmsSignName", {**SMS, "SmsSignName": None}),
    ("3028", "SmsTemplateCode", {**SMS, "SmsTemplateCode": None}),
    ("3028", "SmsTemplateParam", {**SMS, "SmsTemplateParam": None}),
    ("3028", "SmsTemplateParam", {**SMS, "SmsTemplateParam": "code"}),
    ("3028", "ActivityContentState", {**ACTIVITY, "ActivityContentState": "[]"}),
    ("3028", "DismissalDate", {"DismissalDate": "tomorrow"}),
    ("3028", "DismissalDate", {"DismissalDate": "-1"}),
    ("3028", "TransparentMessagePayload.hms", {"TransparentMessagePayload": '{"hms":"text"}'}),
    ("3028", "TransparentMessagePayload", {"TransparentMessagePayload": "text"}),
    ("3028", "TransparentMessageUrgency", {"TransparentMessageUrgency": "HIGH"}),
    ("3031", "Title", {"Title": "\udcff"}),
    *(("3028", name, dict[str, str | None]({name: "3"})) for name, _ in ENUMERATIONS),
]

ACCEPTED: list[dict[str, str | None]] = [
    {},
    {"DeliveryType": "7"},
    {"ExpiredSeconds": "1"},
    {"ExpiredSeconds": "604800"},
    {"TargetMsgkey": json.dumps({f"u{n}": f"m{n}" for n in range(10)})},
    {"ExtendedParams": json.dumps({f"k{n}": "v" for n in range(20)})},
    {"ImageUrls": '{"defaultUrl":"https://example.com/a.png"}', "PushStyle": "2"},
    {"ThirdChannelCategory": '{"hms":"14","harmonyos":"13","vivo":"1"}', "NotifyLevel": '{"oppo":"2"}'},
    {**timed(TODAY)},
    {**timed(TODAY + 1)},
    {**loop()},
    {**loop(fixedTime=1, circleType=1, circleValue=[1, 7])},
    {**loop(circleType=1, circleValue=[])},
    {**loop(endTime=TODAY + 181 * DAY - 1)},
    {**loop(startTime=TODAY, endTime=TODAY)},
    {"StrategyType": "0", "StrategyContent": '{"fixedTime":1}'},
    {**SMS},
    {"SmsStrategy": "0", "SmsTemplateParam": "{}"},
    {"DismissalDate": str(10**11 - 1)},
    {**ACTIVITY},
    {"TransparentMessagePayload": '{"hms":{"k":"v"}}', "TransparentMessageUrgency": "HIGH"},
    {"TransparentMessagePayload.hms.k": "v", "TransparentMessageUrgency": "NORMAL"},
    {"VendorTemplate": "opaque", "MiChannelId": "1", "ChannelId": "2", "TenantId": "3"},
    *(dict[str, str | None]({name: value}) for name, values in ENUMERATIONS[:5] for value in sorted(values)),
]


def verdict(changes: dict[str, str | None], behaviour: Behaviour | None = None) -> Verdict:
    return judge(push(**changes), VERSION, behaviour or Behaviour(), NOW)


@pytest.mark.parametrize(("code", "field", "changes"), REFUSED)
def test_a_wrong_push_is_refused_with_its_code_and_field(
    code: str, field: str, changes: dict[str, str | None]
) -> None:
    judged = verdict(changes)

    assert (judged.code, judged.field) == (code, field)
    assert judged.message.startswith(f"{RESULT_NAMES[code]}: {field} ")


@pytest.mark.parametrize("changes", ACCEPTED)
def test_a_valid_push_is_accepted_without_a_note(changes: dict[str, str | None]) -> None:
    assert verdict(changes) == Verdict(None, "SUCCESS", None, ())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ImageUrls": '{"vivoUrl":"https://example.com/a.png"}'}, "vivoUrl"),
        ({"ThirdChannelCategory": '{"nokia":"1"}'}, "nokia"),
        ({"ThirdChannelCategory": '{"hms":"15"}'}, "ThirdChannelCategory.hms"),
        ({"ThirdChannelCategory": '{"harmonyos":"14"}'}, "ThirdChannelCategory.harmonyos"),
        ({"TransparentMessagePayload": '{"miui":{}}'}, "miui"),
        ({**loop(circleType=9)}, "circleType 9"),
        ({**SMS, "SmsStrategy": "3"}, "SmsStrategy 3"),
        ({"DismissalDate": "1764000000000"}, "milliseconds"),
        ({"Colour": "red"}, "Colour"),
    ],
)
def test_a_doubtful_value_is_accepted_with_a_note(changes: dict[str, str | None], named: str) -> None:
    judged = verdict(changes)

    assert judged.code is None
    assert len(judged.notes) == 1
    assert named in judged.notes[0]


@pytest.mark.parametrize(
    ("code", "behaviour", "changes"),
    [
        ("3007", Behaviour(app_ids=frozenset({"other"})), {}),
        ("8012", Behaviour(workspace_ids=frozenset({"other"})), {}),
        ("8013", Behaviour(tenant_ids=frozenset({"other"})), {"TenantId": "mine"}),
        ("3050", Behaviour(payload_bytes=20), {}),
        ("3026", Behaviour(longest_expiry=300), {"ExpiredSeconds": "301"}),
        ("3028", Behaviour(live_activity_rules=True), {"DeliveryType": "5"}),
        ("3028", Behaviour(live_activity_rules=True), {**ACTIVITY, "ActivityContentState": None}),
    ],
)
def test_an_enabled_rule_refuses(code: str, behaviour: Behaviour, changes: dict[str, str | None]) -> None:
    assert verdict(changes).code is None
    assert verdict(changes, behaviour).code == code


@pytest.mark.parametrize(
    ("behaviour", "changes"),
    [
        (Behaviour(app_ids=frozenset({"ONEX570DA89211721"}), workspace_ids=frozenset({"test"})), {}),
        (Behaviour(tenant_ids=frozenset({"mine"})), {"TenantId": "mine"}),
        (Behaviour(payload_bytes=2048), {}),
        (Behaviour(longest_expiry=300), {"ExpiredSeconds": "300"}),
        (Behaviour(live_activity_rules=True), ACTIVITY),
        (Behaviour(live_activity_rules=True), {"DeliveryType": "5", "ActivityEvent": "end"}),
    ],
)
def test_an_enabled_rule_accepts_a_valid_push(behaviour: Behaviour, changes: dict[str, str | None]) -> None:
    assert verdict(changes, behaviour).code is None


@pytest.mark.parametrize(
    ("behaviour", "changes", "notes"),
    [
        (Behaviour(longest_expiry=None), {"ExpiredSeconds": "604801"}, ()),
        (
            Behaviour(same_ids="accept"),
            {"TargetMsgkey": '{"user1":"m","user2":"m"}'},
            ("TargetMsgkey uses the message id 'm' for more than one target",),
        ),
        (Behaviour(past_times="accept"), timed(TODAY - 1000), ("StrategyContent.fixedTime is in the past",)),
    ],
)
def test_a_rule_with_weak_evidence_can_be_disabled(
    behaviour: Behaviour, changes: dict[str, str | None], notes: tuple[str, ...]
) -> None:
    assert verdict(changes).code is not None
    assert verdict(changes, behaviour) == Verdict(None, "SUCCESS", None, notes)


def test_the_legacy_version_ignores_newer_parameters_with_a_note() -> None:
    judged = judge(push(PushStyle="9"), "2019-08-21", Behaviour(), NOW)

    assert judged.code is None
    assert "PushStyle" in judged.notes[0]


def test_the_legacy_version_can_refuse_newer_parameters() -> None:
    judged = judge(push(PushStyle="1"), "2019-08-21", Behaviour(newer_parameters="refuse"), NOW)

    assert (judged.code, judged.field) == ("3028", "PushStyle")


def test_the_day_begins_at_midnight_in_china() -> None:
    late_in_the_day = NOW + 24 * 3600 - 1

    assert judge(push(**loop()), VERSION, Behaviour(), late_in_the_day).code is None
    assert (
        judge(push(**loop()), VERSION, Behaviour(), late_in_the_day + 1).field == "StrategyContent.startTime"
    )


def test_the_current_version_knows_34_parameters() -> None:
    assert len(PARAMETERS) == 34


def test_targets_of_a_wrong_push_are_read_for_the_inbox() -> None:
    assert read_targets('{"a":1,"a":"m"}') == (("a", "1"), ("a", "m"))
    assert read_targets("[]") == read_targets("{") == ()


@given(st.dictionaries(st.sampled_from(sorted(PARAMETERS)), st.text() | st.just("{}") | st.just("1")))
def test_any_text_in_any_parameter_gets_a_verdict(changes: dict[str, str]) -> None:
    assert judge({**push(), **changes}, VERSION, Behaviour(), NOW).message
