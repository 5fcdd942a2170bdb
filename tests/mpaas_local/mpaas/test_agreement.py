"""The layer and the sandbox implement the rules separately and must reach the same verdict on every message.

Messages are random combinations of valid, invalid and edge values. The sandbox judges a message that the layer
accepts as the layer would send it, and a message that the layer refuses as another sender would send it.
"""

from __future__ import annotations

import json
import os
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mpaas_local.mpaas import Behaviour
from mpaas_local.mpaas.judgement.verdict import judge
from mpaas_push import InvalidMessage, PushMessage, Settings
from mpaas_push.message.constraints import parse_levels
from tests.mpaas_push.message.examples import NOW, TODAY, clock, everything, loop, minimal, ms
from tests.mpaas_push.planning import requests_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = int(os.environ.get("AGREEMENT_MESSAGES", "1500"))
"""Number of messages to try; `AGREEMENT_MESSAGES=20000` takes half a minute."""

SETTINGS = Settings.from_env({"MPAAS_APP_ID": "ONEX570DA89211721", "MPAAS_WORKSPACE_ID": "default"})
VERSION = "2020-10-28"
DAY = timedelta(days=1)
HUGE = [2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**30]
TEXTS = ["x", "", " ", "\u3000", "\u63a8\u9001", "a" * 300, "0", "null"]
OBJECTS: list[Any] = [
    {},
    {"k": "v"},
    {"k": 1},
    {"k": {"a": [None]}},
    [],
    "{}",
    "[]",
    "x",
    '{"k": "v"}',
    "null",
    5,
]
TARGETS: list[Any] = [
    {"user-1": "id-1"},
    {f"user-{number}": f"id-{number}" for number in range(10)},
    {"user-1": "id", "user-2": "id"},
    {"user-1": "id", "user-2": "ID"},
    {},
    {"": "id"},
    {"user-1": ""},
    {" ": "id"},
    {"user-1": "\t"},
    {"user-1": 5},
    {"user-1": None},
    {"user 1": "id", "(null)": "other", "\u63a8": "third"},
    '{"user-1": "id"}',
    '{"user-1": "id", "user-1": "other"}',
    "user-1",
    '["user-1"]',
    [],
    5,
]
VENDOR_MAPS: list[Any] = [
    *OBJECTS,
    {"hms": "9", "vivo": "1"},
    {"hms": "0"},
    {"hms": "15", "harmonyos": "13"},
    {"harmonyos": "14"},
    {"hms": 9},
    {"oppo": "16", "huawei": "1"},
    {"hms": "13"},
]
STRATEGY: dict[str, list[Any]] = {
    "fixedTime": [
        0,
        -1,
        ms(NOW) - 1,
        ms(NOW) - 1000,
        ms(NOW),
        ms(NOW) + 1,
        ms(NOW) // 1000,
        *HUGE,
        "1",
        1.5,
        None,
    ],
    "startTime": [
        0,
        -1,
        ms(TODAY) - 1,
        ms(TODAY),
        ms(TODAY + DAY),
        ms(TODAY) // 1000,
        *HUGE,
        "1",
        True,
        None,
    ],
    "endTime": [
        *(ms(TODAY + DAY * days) + offset for days in (0, 1, 180, 181) for offset in (-1, 0, 1)),
        *(0, ms(TODAY) // 1000, *HUGE, "1", 0.5, None),
    ],
    "circleType": [0, 1, 2, 3, 4, -1, *HUGE, "1", True, None],
    "circleValue": [[], [1], [0, 8, 32], [True], [1, "2"], [1.5], {"a": 1}, 1, "[]", None],
    "time": ["00:00:00", "23:59:59", "24:00:00", "9:45:11", "09:45", "09:45:60", "09:45:11\n", "", 5, None],
}
VALUES: dict[str, list[Any]] = {
    **{
        name: [*TEXTS, None]
        for name in (
            *("taskName", "title", "content", "appId", "workspaceId", "tenantId", "uri"),
            *("miChannelId", "channelId", "vendorTemplate", "smsSignName", "smsTemplateCode"),
        )
    },
    "deliveryType": [0, 1, 2, 3, 4, 5, 6, 7, 8, -1, *HUGE, 3.5, True, None],
    "targetMsgkey": [*TARGETS, None],
    "expiredSeconds": [0, 1, 604_800, 604_801, -1, *HUGE, 600.0, 600.5, True, None],
    "pushStyle": [0, 1, 2, 3, -1, *HUGE, 1.5, True, None],
    "pushAction": [0, 1, 2, -1, True, None],
    "silent": [0, 1, 2, -1, False, None],
    "notifyType": ["transparent", "notify", "Notify", "x", None],
    "classification": ["0", "1", "2", "-1", None],
    "extendedParams": [
        *OBJECTS,
        {f"k{number}": "" for number in range(20)},
        {f"k{number}": "" for number in range(21)},
        *({key: "x"} for key in ("notifyType", "action", "silent", "taskId", "Action", "sound", "badge")),
        '{"k": "v", "k": "w"}',
    ],
    "imageUrls": [*OBJECTS, {"defaultUrl": "https://a"}, {"vivoUrl": "/a"}, {"x": None}],
    "iconUrls": [*OBJECTS, {"miuiUrl": "https://a"}, {"x": 5}],
    "smsStrategy": [0, 1, 2, 3, -1, *HUGE, 1.5, True, None],
    "smsTemplateParam": [*OBJECTS, {"code": 123456}, None],
    "thirdChannelCategory": VENDOR_MAPS,
    "notifyLevel": VENDOR_MAPS,
    "activityEvent": ["update", "end", "start", "END", None],
    "activityContentState": [*OBJECTS, {"stops": 3}, None],
    "dismissalDate": [0, 1_893_456_000, ms(NOW), -1, *HUGE, 1.5, None],
    "transparentMessagePayload": [*OBJECTS, {"hms": {}}, {"hms": "x"}, {"oppo": {}}, {"honor": []}, None],
    "transparentMessageUrgency": ["HIGH", "NORMAL", "LOW", "high", None],
}
LAYER_ONLY = (
    "must not be empty; leave it out",  # mPaaS treats an empty parameter as a missing one
    "contains U+FFFD",  # mPaaS cannot know what was lost
    "is required: set it in the message",  # another sender may have other settings
)
"""Prefixes of faults that only the layer can detect, because the value never reaches mPaaS in this form."""


def messages(count: int) -> Iterator[dict[str, Any]]:
    generator = random.Random(20_201_028)
    for _ in range(count):
        message = generator.choice((minimal, minimal, everything))()
        for name in generator.sample(sorted(VALUES), generator.choice((1, 1, 2, 3, 5))):
            message[name] = generator.choice(VALUES[name])
        if generator.random() < 0.3:
            message["strategyType"] = generator.choice((0, 1, 1, 2, 2, 2, 3, -1, True, None))
            content: Any = loop() | {"fixedTime": ms(NOW) + 1000}
            for name in generator.sample(sorted(STRATEGY), generator.choice((0, 1, 1, 2))):
                content[name] = generator.choice(STRATEGY[name])
            content = {name: value for name, value in content.items() if value is not None}
            message["strategyContent"] = generator.choice((content, content, json.dumps(content), None))
        yield message


def wire_parameters(message: dict[str, Any]) -> dict[str, str]:
    """The request parameters that another sender would send for a message, valid or not."""
    return {
        name[0].upper() + name[1:]: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in ({"pushStyle": 0} | message).items()
        if value is not None
    }


def refusal(parameters: dict[str, str]) -> str | None:
    verdict = judge(parameters, VERSION, Behaviour(), NOW.timestamp())
    return None if verdict.code is None else f"{verdict.code} {verdict.message}"


def disagreement(message: dict[str, Any]) -> str | None:
    """Both verdicts on a message that only one of the two accepts; None if they agree."""
    try:
        parsed = PushMessage.parse(message, defaults=SETTINGS.defaults, clock=clock, levels=parse_levels(""))
    except InvalidMessage as error:
        if all(fault.message.startswith(LAYER_ONLY) for fault in error.faults):
            return None
        parameters = wire_parameters({"appId": "ONEX1", "workspaceId": "default"} | message)
        return None if refusal(parameters) else f"layer: {error}; sandbox: accepted"
    for request in requests_of(parsed, SETTINGS, "scope"):
        if verdict := refusal(dict(request.parameters)):
            return f"layer: valid; sandbox: {verdict}"
    return None


def test_layer_and_sandbox_agree_on_every_message() -> None:
    tried = 0
    accepted = 0
    disagreements = []
    for message in messages(MESSAGES):
        tried += 1
        if verdicts := disagreement(message):
            disagreements.append(f"{verdicts}: {message}")
        accepted += refusal(wire_parameters({"appId": "ONEX1", "workspaceId": "default"} | message)) is None

    assert disagreements[:10] == []
    assert 0.2 < accepted / tried < 0.8  # both valid and invalid messages are tried
