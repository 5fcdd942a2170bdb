"""Valid sample messages, as plain dicts with the names of the official page.

Each call returns a new dict, which a test may change. All are valid at the moment `NOW`.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

CHINA = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 23, 15, 30, tzinfo=CHINA)
TODAY = datetime(2026, 11, 23, tzinfo=CHINA)

JSON_FIELDS = (
    "targetMsgkey",
    "extendedParams",
    "imageUrls",
    "iconUrls",
    "strategyContent",
    "smsTemplateParam",
    "thirdChannelCategory",
    "notifyLevel",
    "activityContentState",
    "transparentMessagePayload",
)

MESSAGE: dict[str, Any] = {
    "taskName": "t",
    "title": "t",
    "content": "c",
    "deliveryType": 3,
    "targets": ["u"],
    "expiredSeconds": 60,
}
"""A message with one target, for tests in which its content does not matter; not to be changed."""


def clock() -> datetime:
    return NOW


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def minimal() -> dict[str, Any]:
    """Only the required fields."""
    return {
        "taskName": "order-shipped",
        "title": "Your order is on its way",
        "content": "It will arrive tomorrow.",
        "deliveryType": 3,
        "expiredSeconds": 600,
        "targetMsgkey": {"user-4711": "order-4711-1"},
    }


def with_targets(*targets: str) -> dict[str, Any]:
    """The minimal message, addressed only by target ids."""
    message = minimal()
    del message["targetMsgkey"]
    return message | {"targets": list(targets or ("user-4711", "user-4712"))}


def loop() -> dict[str, Any]:
    return {
        "startTime": ms(TODAY),
        "endTime": ms(TODAY + timedelta(days=30)),
        "circleType": 3,
        "circleValue": [1, 3],
        "time": "09:45:11",
    }


def everything() -> dict[str, Any]:
    """All 34 parameters; JSON parameters as objects."""
    return minimal() | {
        "appId": "ONEX570DA89211721",
        "workspaceId": "default",
        "tenantId": "LZFPEFIM",
        "targetMsgkey": {f"user-{number}": f"order-{number}-1" for number in range(4711, 4721)},
        "pushStyle": 2,
        "pushAction": 0,
        "uri": "https://www.example.com/orders/4711",
        "silent": 0,
        "notifyType": "notify",
        "classification": "1",
        "extendedParams": {"orderId": "4711", "badge": "1", "sound": "default"},
        "imageUrls": {
            "defaultUrl": "https://www.example.com/big.png",
            "oppoUrl": "https://www.example.com/oppo.png",
        },
        "iconUrls": {
            "defaultUrl": "https://www.example.com/icon.png",
            "hmsUrl": "https://www.example.com/hms.png",
        },
        "strategyType": 2,
        "strategyContent": loop(),
        "smsStrategy": 2,
        "smsSignName": "mPaaS test",
        "smsTemplateCode": "SMS_216070269",
        "smsTemplateParam": {"code": 123456},
        "thirdChannelCategory": {"hms": "9", "vivo": "1"},
        "notifyLevel": {"oppo": "2", "hms": "2"},
        "miChannelId": "123321",
        "channelId": "orders",
        "activityEvent": "end",
        "activityContentState": {"stops": 3, "eta": {"minutes": 12.5, "late": False}},
        "dismissalDate": 1_893_456_000,
        "transparentMessagePayload": {"hms": {"sync": "orders"}, "honor": {"sync": "orders"}},
        "transparentMessageUrgency": "HIGH",
        "vendorTemplate": "P10001",
    }


def as_texts(message: dict[str, Any]) -> dict[str, Any]:
    """The same message with its JSON parameters as JSON text."""
    return {
        name: json.dumps(value, ensure_ascii=False) if name in JSON_FIELDS else value
        for name, value in message.items()
    }
