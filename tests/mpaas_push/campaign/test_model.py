"""The document of a campaign."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.model import (
    Campaign,
    PaceChange,
    Window,
    campaign_schema,
    read_document,
    with_date,
)
from mpaas_push.settings import Settings

SETTINGS = Settings(app_id="ONEX1", workspace_id="default")
DOCUMENT: dict[str, Any] = {
    "campaign": "double11-2026",
    "message": {
        "taskName": "double11",
        "title": "{name}, it starts at eight",
        "content": "Half price.",
        "deliveryType": 3,
        "expiredSeconds": 14400,
    },
    "audience": {"bucket": "marketing", "key": "double11/users.csv", "target": "user_id"},
    "texts": {"by": "lang", "default": "zh", "zh": {"title": "八点"}, "en": {"title": "{city}"}},
    "pace": 500,
    "window": {"from": "08:00", "to": "21:00", "zone": "Asia/Shanghai"},
    "endsAt": "2026-11-11T23:00:00+08:00",
}


def faults(document: Any) -> list[str]:
    with pytest.raises(InvalidCampaign) as error:
        Campaign.parse(document, SETTINGS)
    return [str(fault) for fault in error.value.faults]


def test_campaign_knows_its_columns_and_its_end() -> None:
    campaign = Campaign.parse(DOCUMENT, SETTINGS)

    assert campaign.columns == {"user_id", "lang", "name", "city"}
    assert campaign.ends == 1794409200
    assert campaign.template_of({"lang": "en"})["title"] == "{city}"
    assert campaign.template_of({"lang": "fr"})["title"] == "八点"
    assert Campaign.parse(campaign.as_json(), SETTINGS) == campaign


def test_all_faults_are_reported_together() -> None:
    document = {
        "campaign": "a/b",
        "message": {**DOCUMENT["message"], "titel": "x", "deliveryType": 9},
        "audience": {"bucket": "marketing", "key": "users.csv.gz", "target": "user_id"},
        "pce": 500,
        "window": {"from": "8", "to": "21:00"},
        "endsAt": "tomorrow",
    }

    texts = faults(document)
    assert texts.pop(1).startswith("message.deliveryType: must be one of 1 (")
    assert texts == [
        "campaign: must be 1 to 64 letters, digits, _ and -, the first one a letter or digit",
        "message.titel: unknown field `titel`; did you mean `title`?",
        "audience.key: .gz cannot be cut into pieces that are read concurrently: upload it uncompressed",
        "window.from: must be a time of day as HH:mm, such as 08:00",
        "endsAt: must be a moment such as 2026-11-11T23:00:00+08:00",
        "pce: unknown field `pce`; did you mean `pace`?",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"message": {**DOCUMENT["message"], "targets": ["u"]}}, "message.targets: must be left out"),
        ({"texts": {"by": "lang", "default": "zh"}}, "texts: must hold a variant"),
        ({"texts": []}, "texts: must be an object, not a list"),
        ({"texts": {"by": "lang", "en": {}}}, "texts.default: is required"),
        ({"texts": {"by": "lang", "default": "em", "en": {}}}, "texts.default: must be one of the variants"),
        ({"campaign": 20261111}, "campaign: must be text, not a number: put it in quotes"),
        ({"extra": 1}, "extra: unknown field `extra`; known fields: `campaign`"),
        (
            {"texts": {"by": "lang", "default": "en", "en": {}, "zh": {"colour": "red"}}},
            "texts.zh.colour: unknown field `colour`",
        ),
        ({"texts": {"by": "l", "default": "en", "en": {"title": ""}}}, "texts.en.title: must not be empty"),
        ({"texts": {"by": "l", "default": "en", "en": {"user1": ""}}}, "texts.en.u…(5): unknown field"),
        ({"texts": {"by": "l", "default": "en", "en": {"title.": ""}}}, "texts.en.title.: unknown field"),
        (
            {"texts": {"by": "l", "default": "en", "en": {"strategyType": 1, "StrategyContent": {"x": 1}}}},
            "texts.en.strategyContent.…(1): unknown field",
        ),
        ({"audience": {"bucket": "marketing", "key": "a.csv"}}, "audience.target: is required"),
        (
            {"audience": {"bucket": "marketing", "key": "a.txt", "target": "x"}},
            "audience.target: must be left",
        ),
        ({"audience": {"bucket": "marketing", "key": "a"}}, "audience.key: must end with .csv"),
        (
            {"audience": {"bucket": "marketing", "key": "a\0.csv", "target": "id"}},
            "audience.key: must not contain control characters",
        ),
        (
            {"audience": {"bucket": "marketing", "key": "a.csv", "target": "i\x7fd"}},
            "audience.target: must not contain control characters",
        ),
        (
            {"texts": {"by": "l\ng", "default": "en", "en": {}}},
            "texts.by: must not contain control characters",
        ),
        (
            {"texts": {"by": "l", "default": "e\0n", "e\0n": {}}},
            "texts: the name of a variant must not contain control characters",
        ),
        ({"pace": 0}, "pace: "),
        ({"window": {"from": "08:00", "to": "08:00"}}, "window.to: must differ"),
        ({"window": {"from": "08:00", "to": "9:00", "zone": "x"}}, "window.to: must be a time of day"),
        ({"endsAt": "2026-11-11T23:00:00"}, "endsAt: must name its offset"),
    ],
)
def test_fault_names_the_field_and_what_is_allowed(changes: dict[str, Any], text: str) -> None:
    assert any(fault.startswith(text) for fault in faults(DOCUMENT | changes)), faults(DOCUMENT | changes)


def test_unknown_field_is_reported_together_with_other_faults() -> None:
    wrong = {
        "message": "Hello",
        "audience": {"bucket": "marketing", "key": "users.csv", "tarket": "user_id"},
        "texts": {"by": "lang", "default": "en", "en": {"titel": "x"}},
        "window": {"from": "08:00", "to": "08:00", "zome": "Asia/Shanghai"},
    }

    assert [fault.partition(";")[0] for fault in faults(DOCUMENT | wrong)] == [
        "message: must be an object, not text",
        "audience.tarket: unknown field `tarket`",
        "audience.target: is required: the column with the target id",
        "texts.en.titel: unknown field `titel`",
        "window.zome: unknown field `zome`",
        "window.to: must differ from `from`",
    ]


def test_faults_of_message_and_texts_are_reported_together() -> None:
    message = {**DOCUMENT["message"], "content": "", "deliveryType": 9, "expiredSeconds": -1, "colour": "red"}
    texts: dict[str, Any] = {"by": "lang", "en": {"targets": ["u"]}, "zh": {"titel": "x"}}

    assert {fault.partition(":")[0] for fault in faults(DOCUMENT | {"message": message, "texts": texts})} == {
        "message.content",
        "message.deliveryType",
        "message.expiredSeconds",
        "message.colour",
        "texts.default",
        "texts.en.targets",
        "texts.zh.titel",
    }


def test_unknown_names_that_look_alike_when_masked_are_all_reported() -> None:
    message = {**DOCUMENT["message"], "user-4711": 1, "user-4712": 2, "colour_a": 3, "colour_b": 4}
    texts = {"by": "lang", "default": "en", "en": {"user-4713": 5}, "zh": {"user-4713": 6, "user-4714": 7}}

    assert [fault.partition(":")[0] for fault in faults(DOCUMENT | {"message": message, "texts": texts})] == [
        "message.us…(9)",
        "message.us…(9)",
        "message.colour_a",
        "message.colour_b",
        "texts.en.us…(9)",
        "texts.zh.us…(9)",
        "texts.zh.us…(9)",
    ]


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"texts": {"by": "l", "default": "en", "en": {}, "\ud800": {}}}, "texts.…(1): a key must be text"),
        ({"texts": {5: {}}}, "texts.…(1): a key must be text"),
        (
            {"texts": {"by": "l", "default": "en", "en": {10**5000: 1}}},
            "texts.…(2).<n…(8): a key must be text",
        ),
        ({10**5000: 1}, "<n…(8): a key must be text"),
        ({"audience": {"key": "\ud800"}}, "audience.key: an unpaired surrogate is not a character"),
        ({"pace": nested(5000)}, "pace.0"),
        ({"message": {"title": nested(5000)}}, "message.title.0"),
    ],
)
def test_document_that_is_not_json_is_refused_with_the_path(changes: dict[Any, Any], fault: str) -> None:
    (text,) = faults(DOCUMENT | changes)

    assert text.startswith(fault)
    assert Campaign.outline(DOCUMENT | changes) is None


def test_pace_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidCampaign, match="more than 64 levels"):
        PaceChange.parse({"pace": nested(5000)})


def test_schema_accepts_what_the_model_accepts() -> None:
    schema = campaign_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    assert list(validator.iter_errors(DOCUMENT)) == []
    assert list(validator.iter_errors(DOCUMENT | {"pace": "fast"}))
    assert list(validator.iter_errors(DOCUMENT | {"message": {"targets": ["u"]}}))


def test_document_is_json_or_yaml_and_its_id_may_contain_the_date() -> None:
    yaml = "campaign: daily-{date}\nwindow: {from: '08:00', to: '21:00'}\n"

    assert read_document(json.dumps(DOCUMENT)) == DOCUMENT
    assert read_document("\ufeff" + json.dumps(DOCUMENT).replace("\n", "")) == DOCUMENT
    assert re.fullmatch(r"daily-\d{8}", read_document(yaml)["campaign"])
    assert with_date({"campaign": "daily-{date}"}, "20261111") == {"campaign": "daily-20261111"}
    with pytest.raises(InvalidCampaign, match="neither JSON nor YAML"):
        read_document("a: [")


def test_pace_is_not_part_of_a_campaigns_fingerprint() -> None:
    assert fingerprint(DOCUMENT | {"pace": 7}) == fingerprint(DOCUMENT)
    assert fingerprint(DOCUMENT | {"report": "all"}) != fingerprint(DOCUMENT)


def fingerprint(document: Any, **settings: Any) -> str:
    changed = Settings(**{"app_id": "ONEX1", "workspace_id": "default"} | settings)
    return Campaign.parse(document, changed).fingerprint(changed)


def message(**changes: Any) -> dict[str, Any]:
    return DOCUMENT | {"message": DOCUMENT["message"] | changes}


PARAMS: dict[str, Any] = {"name": "{name}", "size": 1, "sizes": [2]}


@pytest.mark.parametrize(
    ("document", "equivalent"),
    [
        (DOCUMENT, message(expiredSeconds=14400.0)),
        (DOCUMENT, message(pushStyle=0)),
        (DOCUMENT, message(appId="ONEX1", workspaceId="default", uri=None)),
        (DOCUMENT, DOCUMENT | {"audience": {**DOCUMENT["audience"], "format": "csv", "delimiter": ","}}),
        (DOCUMENT, DOCUMENT | {"pace": 500.0}),
        (message(extendedParams=PARAMS), message(extendedParams=PARAMS | {"size": 1.0, "sizes": [2.0]})),
    ],
)
def test_equivalent_document_is_the_same_campaign(
    document: dict[str, Any], equivalent: dict[str, Any]
) -> None:
    assert fingerprint(equivalent) == fingerprint(document)


@pytest.mark.parametrize(
    "other",
    [
        message(content="Full price."),
        message(expiredSeconds=14401),
        message(appId="ONEX2"),
        DOCUMENT | {"texts": DOCUMENT["texts"] | {"default": "en"}},
        DOCUMENT | {"texts": DOCUMENT["texts"] | {"by": "language"}},
        DOCUMENT | {"texts": DOCUMENT["texts"] | {"en": {"title": "{town}"}}},
        DOCUMENT | {"texts": None},
    ],
)
def test_document_with_other_content_is_another_campaign(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint(DOCUMENT)


def test_another_placeholder_is_other_content() -> None:
    contents = ("{name}", "{city}", "{{name}}", "1")

    assert len({fingerprint(message(content=content)) for content in contents}) == len(contents)


@pytest.mark.parametrize("other", [{"app_id": "ONEX2"}, {"workspace_id": "prod"}, {"tenant_id": "T1"}])
def test_another_app_workspace_or_tenant_is_another_campaign(other: dict[str, str]) -> None:
    assert fingerprint(DOCUMENT, **other) != fingerprint(DOCUMENT)


@pytest.mark.parametrize("pace", [500.5, True, "500", 1e300, float("inf")])
def test_pace_must_be_a_whole_number(pace: Any) -> None:
    assert [fault.partition(":")[0] for fault in faults(DOCUMENT | {"pace": pace})] == ["pace"]


@pytest.mark.parametrize(
    ("window", "at", "seconds"),
    [
        (("08:00", "21:00"), "07:59:30", 30),
        (("08:00", "21:00"), "08:00:00", 0),
        (("08:00", "21:00"), "20:59:59", 0),
        (("08:00", "21:00"), "21:00:00", 11 * 3600),
        (("22:00", "06:00"), "23:00:00", 0),
        (("22:00", "06:00"), "05:59:00", 0),
        (("22:00", "06:00"), "12:00:00", 10 * 3600),
        (("00:00", "24:00"), "12:00:00", 0),
    ],
)
def test_window_opens_at_its_hour(window: tuple[str, str], at: str, seconds: float) -> None:
    now = datetime.fromisoformat(f"2026-11-11T{at}+08:00").timestamp()

    assert Window(start=window[0], end=window[1]).seconds_until_open(now) == seconds


@pytest.mark.parametrize(
    ("window", "at", "seconds"),
    [
        (("08:00", "21:00"), "20:59:59", 1),
        (("08:00", "21:00"), "21:00:00", 0),
        (("22:00", "06:00"), "23:00:00", 7 * 3600),
        (("22:00", "06:00"), "05:59:00", 60),
        (("00:00", "24:00"), "12:00:00", 12 * 3600),
    ],
)
def test_window_closes_at_its_hour(window: tuple[str, str], at: str, seconds: float) -> None:
    now = datetime.fromisoformat(f"2026-11-11T{at}+08:00").timestamp()

    assert Window(start=window[0], end=window[1]).seconds_until_closed(now) == seconds
