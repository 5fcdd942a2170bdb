from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from mpaas_push.errors import Fault, InvalidMessage
from mpaas_push.message import PARAMETERS, PushMessage, StrategyContent
from mpaas_push.message.constraints import (
    CONSTRAINTS,
    Constraint,
    Level,
    epoch_milliseconds,
    parse_levels,
    system_clock,
)
from tests.mpaas_push.message.examples import CHINA, NOW, TODAY, clock, everything, loop, minimal, ms

RULES = {rule.name: rule for rule in CONSTRAINTS}
ALL_OFF = {rule.name: Level.OFF for rule in CONSTRAINTS if not rule.certain}

# Unconfirmed rules that reject unless their level is changed.
REJECTING = {
    "expired-seconds-max",
    "fixed-time-in-future",
    "replacement-character",
    "targets-not-blank",
    "texts-not-blank",
}

TIMED = {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW) + 1000}}
LOOP = {"strategyType": 2, "strategyContent": loop()}
SMS = {"smsSignName": "sign", "smsTemplateCode": "SMS_1", "smsTemplateParam": {}}
DAY = timedelta(days=1)


def looping(**fields: Any) -> dict[str, Any]:
    return {"strategyType": 2, "strategyContent": loop() | fields}


# For each rule: changes to the minimal message that violate it, with the fields that are reported; and changes
# that come close without violating it.
VIOLATIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("one-kind-of-target", {"targetMsgkey": None}, ["targetMsgkey"]),
    ("one-kind-of-target", {"targets": ["user-1"]}, ["targets"]),
    (
        "targets-distinct",
        {"targetMsgkey": None, "targets": ["user-1", "user-2", "user-1", "user-1"]},
        ["targets.2", "targets.3"],
    ),
    ("message-ids-distinct", {"targetMsgkey": {"user-4711": "a", "user-4712": "a"}}, ["targetMsgkey.us…(9)"]),
    (
        "extended-params-max",
        {"extendedParams": {f"k{number}": "" for number in range(21)}},
        ["extendedParams"],
    ),
    *(
        ("extended-params-reserved", {"extendedParams": {key: "x"}}, [f"extendedParams.{key}"])
        for key in ("notifyType", "action", "silent", "pushType", "templateCode", "channel", "taskId")
    ),
    ("strategy-content-fields", {"strategyType": 1}, ["strategyContent"]),
    ("strategy-content-fields", {"strategyType": 2}, ["strategyContent"]),
    (
        "strategy-content-fields",
        {"strategyType": 1, "strategyContent": loop()},
        ["strategyContent.fixedTime"],
    ),
    *(
        ("strategy-content-fields", looping(**{name: None}), [f"strategyContent.{name}"])
        for name in ("startTime", "endTime", "circleType", "circleValue", "time")
    ),
    ("loop-start-today-or-later", looping(startTime=ms(TODAY) - 1), ["strategyContent.startTime"]),
    ("loop-end-within-180-days", looping(endTime=ms(TODAY + 181 * DAY)), ["strategyContent.endTime"]),
    (
        "loop-end-within-180-days",
        looping(startTime=ms(TODAY) - 2, endTime=ms(TODAY) - 1),
        ["strategyContent.endTime"],
    ),
    (
        "loop-end-after-start",
        looping(startTime=ms(TODAY + DAY), endTime=ms(TODAY + DAY) - 1),
        ["strategyContent.endTime"],
    ),
    ("sms-parameters-together", {"smsStrategy": 1}, list(SMS)),
    *(("sms-parameters-together", {"smsStrategy": 2, **SMS, name: None}, [name]) for name in SMS),
    ("urgency-needs-payload", {"transparentMessageUrgency": "HIGH"}, ["transparentMessagePayload"]),
    *(("texts-not-blank", {name: " \t\u3000"}, [name]) for name in ("taskName", "title", "content")),
    ("texts-not-blank", {"appId": " ", "workspaceId": "\n"}, ["appId", "workspaceId"]),
    (
        "targets-not-blank",
        {"targetMsgkey": None, "targets": ["user-1", " ", "user 2", "\u00a0"]},
        ["targets.1", "targets.3"],
    ),
    (
        "targets-not-blank",
        {"targetMsgkey": {" ": "a", "user-4711": " "}},
        ["targetMsgkey.…(1)", "targetMsgkey.us…(9)"],
    ),
    *(
        ("replacement-character", {name: value}, [name])
        for name, value in {
            "taskName": "\ufffd",
            "title": "caf\ufffd",
            "content": "\ufffd\ufffd",
            "uri": "https://a/\ufffd",
            "smsSignName": "\ufffd",
            "appId": "A\ufffd",
            "tenantId": "T\ufffd",
            "channelId": "\ufffd",
            "miChannelId": "1\ufffd",
            "vendorTemplate": "P\ufffd",
            "imageUrls": {"defaultUrl": "https://a/\ufffd"},
            "transparentMessagePayload": {"hms": {"caf\ufffd": 1}},
            "extendedParams": {"name": "caf\ufffd"},
            "smsTemplateParam": {"caf\ufffd": {}},
        }.items()
    ),
    (
        "replacement-character",
        {
            "deliveryType": 5,
            "activityEvent": "update",
            "activityContentState": {"stops": [{"name": "caf\ufffd"}]},
        },
        ["activityContentState"],
    ),
    ("replacement-character", {"targetMsgkey": None, "targets": ["user-1", "us\ufffdr"]}, ["targets.1"]),
    ("replacement-character", {"targetMsgkey": {"user-4711": "id-\ufffd"}}, ["targetMsgkey.us…(9)"]),
    *(
        ("targets-meant", {"targetMsgkey": None, "targets": ["user-1", target]}, ["targets.1"])
        for target in (
            "null",
            "(null)",
            "None",
            "undefined",
            "NaN",
            "nil",
            "[object Object]",
            " user-2",
            "user-2\n",
            "\u200b",
            "\ufeff\u200d",
            "user\x002",
            "user\t2",
            "<nil>",
            "${userId}",
            "user-${id}",
            "{{user}}",
            "{0}",
            "{userId}",
            "<userId>",
            "%(user)s",
            "%s",
            "#user#",
            "%USER%",
            "$user",
            "<%= user %>",
            "\u200buser",
            "us\u200ber",
            "\ufeffuser",
            "us\u00ader",
            "\u202euser",
            "us\u3164er",
            "us\u2800er",
            "\u3164",
            "us\u00a0er",
            "us\ufe0fer",
            "\U000e0041user",
        )
    ),
    (
        "targets-unicode-form",
        {"targetMsgkey": None, "targets": ["caf\u00e9", "caf\u0065\u0301", "user-1"]},
        ["targets.1"],
    ),
    (
        "targets-unicode-form",
        {"targetMsgkey": {"user-1": "a", "\uff55\uff53\uff45\uff52-1": "b"}},
        ["targetMsgkey.\uff55\uff53…(6)"],
    ),
    ("expired-seconds-max", {"expiredSeconds": 604_801}, ["expiredSeconds"]),
    ("circle-type-known", looping(circleType=4), ["strategyContent.circleType"]),
    ("circle-type-known", looping(circleType=0), ["strategyContent.circleType"]),
    (
        "circle-value-range",
        looping(circleType=2, circleValue=[0, 1, 8]),
        ["strategyContent.circleValue.0", "strategyContent.circleValue.2"],
    ),
    ("circle-value-range", looping(circleType=3, circleValue=[32]), ["strategyContent.circleValue.0"]),
    ("circle-value-range", looping(circleType=3, circleValue=[]), ["strategyContent.circleValue"]),
    (
        "fixed-time-in-future",
        {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW) - 1}},
        ["strategyContent.fixedTime"],
    ),
    (
        "fixed-time-in-future",
        {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW) // 1000 + 3600}},
        ["strategyContent.fixedTime"],
    ),
    ("strategy-content-unused", {"strategyContent": {"fixedTime": 1}}, ["strategyContent"]),
    ("strategy-content-unused", {"strategyContent": {}, "strategyType": 0}, ["strategyContent"]),
    ("sms-strategy-known", {"smsStrategy": 3, **SMS}, ["smsStrategy"]),
    ("sms-parameters-unused", SMS, list(SMS)),
    ("image-keys-known", {"imageUrls": {"vivoUrl": "https://a"}}, ["imageUrls.vivoUrl"]),
    ("image-keys-known", {"imageUrls": {"user-4711": "https://a"}}, ["imageUrls.us…(9)"]),
    ("image-keys-known", {"iconUrls": {"default": "https://a"}}, ["iconUrls.de…(7)"]),
    ("image-addresses", {"imageUrls": {"defaultUrl": "/big.png"}}, ["imageUrls.defaultUrl"]),
    ("category-published", {"thirdChannelCategory": {"hms": "15"}}, ["thirdChannelCategory.hms"]),
    ("category-published", {"thirdChannelCategory": {"harmonyos": "14"}}, ["thirdChannelCategory.harmonyos"]),
    ("category-unpublished", {"thirdChannelCategory": {"vivo": "2"}}, ["thirdChannelCategory.vivo"]),
    ("category-unpublished", {"thirdChannelCategory": {"oppo": "1"}}, ["thirdChannelCategory.oppo"]),
    ("category-unpublished", {"thirdChannelCategory": {"huawei": "1"}}, ["thirdChannelCategory.hu…(6)"]),
    ("category-play-voice", {"thirdChannelCategory": {"hms": "13"}}, ["thirdChannelCategory.hms"]),
    (
        "notify-level-known",
        {"notifyLevel": {"oppo": "3", "hms": "3"}},
        ["notifyLevel.oppo", "notifyLevel.hms"],
    ),
    ("notify-level-known", {"notifyLevel": {"vivo": "1"}}, ["notifyLevel.vivo"]),
    ("notify-level-known", {"notifyLevel": {"huawei": "1"}}, ["notifyLevel.hu…(6)"]),
    ("extended-params-text", {"extendedParams": {"badge": 1}}, ["extendedParams.b…(5)"]),
    (
        "transparent-payload-vendors",
        {"transparentMessagePayload": {"oppo": {}}},
        ["transparentMessagePayload.oppo"],
    ),
    (
        "urgency-vendors",
        {"transparentMessagePayload": {"fcm": {}}, "transparentMessageUrgency": "HIGH"},
        ["transparentMessageUrgency"],
    ),
    ("live-activity-parameters", {"deliveryType": 5}, ["activityEvent", "activityContentState"]),
    (
        "live-activity-parameters",
        {"activityEvent": "end", "activityContentState": {}, "dismissalDate": 1},
        ["activityEvent", "activityContentState", "dismissalDate"],
    ),
    ("dismissal-date-needs-end", {"activityEvent": "update", "dismissalDate": 1}, ["dismissalDate"]),
    ("dismissal-date-seconds", {"dismissalDate": ms(NOW)}, ["dismissalDate"]),
    ("uri-form", {"uri": "www.example.com"}, ["uri"]),
    ("vendor-template-channel", {"vendorTemplate": "P1"}, ["miChannelId"]),
]

NEAR_MISSES: list[tuple[str, dict[str, Any]]] = [
    ("one-kind-of-target", {}),
    ("one-kind-of-target", {"targetMsgkey": None, "targets": ["user-1"]}),
    ("targets-distinct", {"targetMsgkey": None, "targets": ["user-1", "user-2", "User-1"]}),
    ("message-ids-distinct", {"targetMsgkey": {"user-1": "a", "user-2": "A"}}),
    ("extended-params-max", {"extendedParams": {f"k{number}": "" for number in range(20)}}),
    ("extended-params-reserved", {"extendedParams": {"Action": "x"}}),
    ("strategy-content-fields", {"strategyType": 0}),
    ("strategy-content-fields", TIMED),
    ("strategy-content-fields", LOOP),
    ("strategy-content-fields", looping(circleType=1, circleValue=[])),
    ("loop-start-today-or-later", looping(startTime=ms(TODAY))),
    (
        "loop-start-today-or-later",
        {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW), "startTime": 1}},
    ),
    ("loop-end-within-180-days", looping(endTime=ms(TODAY + 181 * DAY) - 1)),
    ("loop-end-within-180-days", looping(endTime=ms(TODAY))),
    ("loop-end-after-start", looping(startTime=ms(TODAY + DAY), endTime=ms(TODAY + DAY))),
    ("sms-parameters-together", {"smsStrategy": 0}),
    ("sms-parameters-together", {"smsStrategy": 1, **SMS}),
    (
        "urgency-needs-payload",
        {"transparentMessageUrgency": "HIGH", "transparentMessagePayload": {"hms": {}}},
    ),
    ("texts-not-blank", {"title": " x", "content": "\u200b"}),
    ("targets-not-blank", {"targetMsgkey": {"user 1": " a"}}),
    ("replacement-character", {"title": "caf\u00e9", "targetMsgkey": {"us\u00e9r": "\u63a8"}}),
    (
        "targets-meant",
        {
            "targetMsgkey": None,
            "targets": ["nullify", "user-1", "\u63a8\u9001", "caf\u00e9", "a b", "50%", "a{b", "#7"],
        },
    ),
    ("targets-unicode-form", {"targetMsgkey": {"caf\u00e9": "a", "cafe": "b", "Caf\u00e9": "c"}}),
    ("expired-seconds-max", {"expiredSeconds": 604_800}),
    *(("circle-type-known", looping(circleType=number)) for number in (1, 2, 3)),
    ("circle-value-range", looping(circleType=1, circleValue=[1, 7])),
    ("circle-value-range", looping(circleType=2, circleValue=[1, 7])),
    ("circle-value-range", looping(circleType=3, circleValue=[1, 31])),
    ("fixed-time-in-future", {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW)}}),
    ("strategy-content-unused", TIMED),
    ("sms-strategy-known", {"smsStrategy": 2, **SMS}),
    ("sms-parameters-unused", {"smsStrategy": 1, **SMS}),
    ("image-keys-known", {"imageUrls": {"harmonyosUrl": "https://a"}}),
    ("image-addresses", {"imageUrls": {"defaultUrl": "HTTPS://a"}, "iconUrls": {"miuiUrl": "http://a"}}),
    ("category-published", {"thirdChannelCategory": {"hms": "14", "harmonyos": "13", "vivo": "99"}}),
    ("category-unpublished", {"thirdChannelCategory": {"vivo": "1", "hms": "99"}}),
    (
        "category-play-voice",
        {"thirdChannelCategory": {"hms": "13"}, "transparentMessagePayload": {"hms": {}}},
    ),
    ("notify-level-known", {"notifyLevel": {"oppo": "16", "hms": "1"}}),
    ("extended-params-text", {"extendedParams": {"badge": "1"}}),
    ("transparent-payload-vendors", {"transparentMessagePayload": {"hms": {}, "honor": {}, "fcm": {}}}),
    ("urgency-vendors", {"transparentMessagePayload": {"hms": {}}, "transparentMessageUrgency": "HIGH"}),
    ("live-activity-parameters", {}),
    (
        "live-activity-parameters",
        {"deliveryType": 6, "activityEvent": "update", "activityContentState": {}},
    ),
    ("dismissal-date-needs-end", {"activityEvent": "end", "dismissalDate": 1}),
    ("dismissal-date-seconds", {"dismissalDate": 1_893_456_000}),
    ("uri-form", {"uri": "mpaas://orders"}),
    ("uri-form", {"uri": "OrderActivity", "pushAction": 1}),
    ("vendor-template-channel", {"vendorTemplate": "P1", "miChannelId": "1"}),
]


def faults_of(rule: Constraint, change: dict[str, Any]) -> list[Fault]:
    """Check the changed minimal message against this rule only."""
    message = PushMessage.model_construct(**fields_of(minimal() | change))
    return list(rule.check(message, NOW))


def fields_of(data: dict[str, Any]) -> dict[str, Any]:
    names = {alias: name for name, field in PushMessage.model_fields.items() if (alias := field.alias)}
    fields = {names[alias]: value for alias, value in data.items()}
    if fields.get("strategy_content") is not None:
        fields["strategy_content"] = StrategyContent(**fields["strategy_content"])
    if fields.get("targets") is not None:
        fields["targets"] = tuple(fields["targets"])
    return fields


@pytest.mark.parametrize(
    ("name", "change", "fields"), VIOLATIONS, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(VIOLATIONS)]
)
def test_violated_rule_names_the_faulty_fields(name: str, change: dict[str, Any], fields: list[str]) -> None:
    faults = faults_of(RULES[name], change)
    assert [fault.field for fault in faults] == fields
    assert all(fault.message for fault in faults)


@pytest.mark.parametrize(
    ("name", "change"), NEAR_MISSES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(NEAR_MISSES)]
)
def test_obeyed_rule_reports_nothing(name: str, change: dict[str, Any]) -> None:
    assert faults_of(RULES[name], change) == []


@pytest.mark.parametrize("change", [change for _, change in NEAR_MISSES])
def test_faulty_field_causes_no_fault_of_another(change: dict[str, Any]) -> None:
    valid = {name: value for name, value in (minimal() | change).items() if value is not None}
    for name in valid:
        with pytest.raises(InvalidMessage) as caught:
            PushMessage.parse(valid | {name: [[]]}, clock=clock)
        assert {fault.field.partition(".")[0] for fault in caught.value.faults} == {name}


def test_every_rule_has_a_violation_and_a_near_miss() -> None:
    assert {name for name, *_ in VIOLATIONS} == set(RULES)
    assert {name for name, _ in NEAR_MISSES} == set(RULES)


@pytest.mark.parametrize("rule", CONSTRAINTS, ids=lambda rule: rule.name)
def test_every_rule_states_its_source_and_existing_fields(rule: Constraint) -> None:
    fields = {*PARAMETERS, "targets"}
    strategy = {f"strategyContent.{field.alias}" for field in StrategyContent.model_fields.values()}
    assert rule.source
    assert rule.reads
    assert {*rule.reads, *rule.presence_of} <= fields | strategy
    assert rule.certain <= (rule.level is Level.ERROR)


def test_by_default_documented_rules_and_a_few_others_reject() -> None:
    undocumented = {rule.name for rule in CONSTRAINTS if rule.level is Level.ERROR and not rule.certain}

    assert undocumented == REJECTING
    assert all(rule.level is Level.ERROR for rule in CONSTRAINTS if rule.certain)


def test_setting_turns_a_past_time_into_a_warning() -> None:
    past = minimal() | {"strategyType": 1, "strategyContent": {"fixedTime": ms(NOW) - 60_000}}
    with pytest.raises(InvalidMessage, match="is in the past"):
        PushMessage.parse(past, clock=clock)
    levels = parse_levels("fixed-time-in-future=warning")
    message = PushMessage.parse(past, clock=clock, levels=levels)
    assert [advice.rule for advice in message.advice(clock=clock, levels=levels)] == ["fixed-time-in-future"]


def test_rule_names_are_distinct() -> None:
    assert len(RULES) == len(CONSTRAINTS)


@pytest.mark.parametrize(
    ("name", "change", "fields"), VIOLATIONS, ids=[f"{n}-{i}" for i, (n, *_) in enumerate(VIOLATIONS)]
)
def test_parse_always_applies_documented_rules_and_other_rules_by_level(
    name: str, change: dict[str, Any], fields: list[str]
) -> None:
    rule = RULES[name]
    if rule.certain:
        with pytest.raises(InvalidMessage) as caught:
            PushMessage.parse(minimal() | change, clock=clock, levels=dict.fromkeys(RULES, Level.OFF))
        assert set(fields) <= {fault.field for fault in caught.value.faults}
        return
    message = PushMessage.parse(minimal() | change, clock=clock, levels=ALL_OFF)
    levels = ALL_OFF | {name: Level.WARNING}
    warned = [advice.field for advice in message.advice(clock=clock, levels=levels) if advice.rule == name]
    assert warned == fields
    assert name not in [advice.rule for advice in message.advice(clock=clock, levels=ALL_OFF)]
    with pytest.raises(InvalidMessage) as caught:
        PushMessage.parse(minimal() | change, clock=clock, levels=ALL_OFF | {name: Level.ERROR})
    assert sorted(fault.field for fault in caught.value.faults) == sorted(fields)


def test_message_with_every_parameter_violates_only_the_rule_on_live_activities() -> None:
    message = PushMessage.parse(everything(), clock=clock)
    assert {advice.rule for advice in message.advice(clock=clock)} == {"live-activity-parameters"}


def test_day_begins_at_midnight_in_china_regardless_of_the_clocks_time_zone() -> None:
    def just_after_midnight_in_china() -> datetime:
        return datetime(2026, 11, 22, 16, 0, 1, tzinfo=timezone.utc)

    data = minimal() | looping(startTime=ms(datetime(2026, 11, 23, tzinfo=CHINA)))
    PushMessage.parse(data, clock=just_after_midnight_in_china)
    data = minimal() | looping(startTime=ms(datetime(2026, 11, 23, tzinfo=CHINA)) - 1)
    with pytest.raises(InvalidMessage, match="startTime"):
        PushMessage.parse(data, clock=just_after_midnight_in_china)


def test_time_in_seconds_is_recognised() -> None:
    with pytest.raises(InvalidMessage, match="looks like seconds, not milliseconds"):
        PushMessage.parse(minimal() | looping(startTime=int(TODAY.timestamp())), clock=clock)


def test_milliseconds_are_counted_from_the_epoch() -> None:
    # Example of the page: 2021-07-08 00:00 in China.
    assert epoch_milliseconds(datetime(2021, 7, 8, tzinfo=CHINA)) == 1_625_673_600_000
    assert system_clock().tzinfo is not None


def test_levels_are_read_from_the_setting() -> None:
    assert parse_levels("") == {}
    assert parse_levels(" expired-seconds-max = warning ,") == {"expired-seconds-max": Level.WARNING}


def test_unsure_means_every_rule_that_warns_and_a_named_rule_takes_precedence() -> None:
    levels = parse_levels("uri-form=off,unsure=error")
    assert levels.pop("uri-form") is Level.OFF
    assert set(levels.values()) == {Level.ERROR}
    assert levels.keys() == ALL_OFF.keys() - {"uri-form"} - REJECTING


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unsure", "`unsure` is not of the form rule=level"),
        ("unsure=maybe", "`maybe` is not a level for rule `unsure`; allowed are error, warning, off"),
        ("uri=off", "there is no rule `uri`; allowed are unsure .*, expired-seconds-max, "),
        ("message-ids-distinct=off", "documented by mPaaS and its level cannot be changed"),
        ("uri-form=off,uri-form=error", "rule `uri-form` is named twice"),
    ],
)
def test_invalid_setting_is_refused_with_the_allowed_values(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_levels(text)
