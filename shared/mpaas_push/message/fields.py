"""The fields of a message, each with its type and limits: parameters of the page "Simple push".

`MessageFields` declares each field and checks it individually. Constraints and advice work on it;
`PushMessage` in `mpaas_push.message.model` adds the rules between fields.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from mpaas_push.message.json_fields import JsonList, JsonObject, WholeNumber
from mpaas_push.message.vocabulary import (
    MAX_EXPIRED_SECONDS,
    MAX_EXTENDED_PARAMS,
    MAX_INT,
    MAX_LONG,
    RESERVED_EXTENDED_PARAMS,
    TIME_OF_DAY,
)
from mpaas_push.strict_model import StrictModel, to_camel

__all__ = [
    "ALIASES",
    "PARAMETERS",
    "REQUIRED",
    "STRATEGY_ALIASES",
    "MessageFields",
    "StrategyContent",
    "simplify_schema",
]

_Text = Annotated[str, Field(min_length=1)]
_Flag = Annotated[Literal[0, 1], WholeNumber()]
_Int = Annotated[int, Field(ge=0, le=MAX_INT), WholeNumber()]
_Long = Annotated[int, Field(ge=0, le=MAX_LONG), WholeNumber()]


def simplify_schema(schema: dict[str, Any]) -> None:
    """Remove redundant entries from a JSON schema: titles derived from names, and null defaults."""
    for definition in schema["properties"].values():
        definition.pop("title", None)
        if definition.get("default", ...) is None:
            del definition["default"]


def _simplify_strategy(schema: dict[str, Any]) -> None:
    simplify_schema(schema)
    schema["description"] = (
        "When a timed or loop push is sent. Fields that the strategyType does not use are accepted, not sent."
    )


class StrategyContent(StrictModel):
    """When a timed or loop push is sent: parameter ``strategyContent`` of the page
    (pushsimple.md: Strategy content).

    Fields that the strategy type does not use are accepted, as in the official sample, but not sent: see
    `used_fields`. Which fields a type requires is a rule of the message.
    """

    model_config = ConfigDict(json_schema_extra=_simplify_strategy)

    fixed_time: _Long | None = Field(
        None,
        description="strategyType 1: when to push. Unix time in milliseconds, precise to the second.",
        examples=[1_893_456_000_000],
    )
    start_time: _Long | None = Field(
        None,
        description="strategyType 2: first day of the loop, from 00:00. Unix time in milliseconds, precise "
        "to the day in China time (+08:00); not before today 00:00.",
        examples=[1_893_427_200_000],
    )
    end_time: _Long | None = Field(
        None,
        description="strategyType 2: last day of the loop, until 24:00. Unix time in milliseconds, precise "
        "to the day in China time (+08:00); not before startTime, at most 180 days after today.",
        examples=[1_896_019_200_000],
    )
    circle_type: _Int | None = Field(
        None,
        description="strategyType 2: kind of loop. Believed to be 1 daily, 2 weekly, 3 monthly (not "
        "documented).",
        examples=[3],
    )
    circle_value: Annotated[tuple[Annotated[int, WholeNumber()], ...], JsonList("number")] | None = Field(
        None,
        description="strategyType 2: on which days. Believed to be weekdays 1 to 7 for weekly, days 1 to 31 "
        "for monthly, an empty list for daily (not documented).",
        examples=[[1, 3]],
    )
    time: Annotated[str, Field(pattern=TIME_OF_DAY)] | None = Field(
        None,
        description="strategyType 2: time of day in China time (+08:00), HH:mm:ss.",
        examples=["09:45:11"],
    )

    def used_fields(self, strategy_type: int | None) -> dict[str, Any]:
        """Return the fields that a strategy type uses, ready to be written as JSON.

        Args:
            strategy_type: 1 timed, 2 loop; 0 or None (immediate) uses none.

        Returns:
            Plain values (integers, texts, a list) by the page's names, in the order of the page.
        """
        if strategy_type == 1:
            return {"fixedTime": self.fixed_time}
        if strategy_type == 2:
            return {
                "startTime": self.start_time,
                "endTime": self.end_time,
                "circleType": self.circle_type,
                "circleValue": list(self.circle_value or ()),
                "time": self.time,
            }
        return {}


class MessageFields(StrictModel):
    """Every parameter of PushSimple 2020-10-28, named as on the page "Simple push" in snake_case.

    Each field is checked individually; whether the fields fit together is not.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    task_name: _Text = Field(
        description="Name of the push task; required (result code 3019).", examples=["order-shipped"]
    )
    title: _Text = Field(
        description="Title of the notification; required (result code 3024). Vendor channels show 20 Chinese "
        "or 32 Latin characters and more, depending on the channel.",
        examples=["Your order is on its way"],
    )
    content: _Text = Field(
        description="Text of the notification; required (result code 3024). Vendor channels show 50 Chinese "
        "or 100 Latin characters and more, depending on the channel.",
        examples=["It will arrive tomorrow."],
    )
    app_id: _Text | None = Field(
        None,
        description="mPaaS app id. Default: the setting MPAAS_APP_ID.",
        examples=["ONEX570DA89211721"],
    )
    workspace_id: _Text | None = Field(
        None, description="mPaaS workspace. Default: the setting MPAAS_WORKSPACE_ID.", examples=["default"]
    )
    tenant_id: str | None = Field(
        None,
        description="Tenant id; optional. Default: the setting MPAAS_TENANT_ID; an empty text means no "
        "tenant, regardless of the setting.",
        examples=["LZFPEFIM"],
    )
    delivery_type: Annotated[Literal[1, 2, 3, 5, 6, 7], WholeNumber()] = Field(
        description="Kind of target ids; required.", examples=[3]
    )
    target_msgkey: Annotated[dict[_Text, _Text], JsonObject()] | None = Field(
        None,
        description="Business message id by target id. deliveryType is the kind of target ids; message ids "
        "are yours and must be distinct. More than 10 targets become several requests.",
        examples=[{"user-1": "order-4711-1", "user-2": "order-4711-2"}],
    )
    targets: Annotated[tuple[_Text, ...], JsonList("text")] | None = Field(
        None,
        description="Only the target ids, instead of targetMsgkey; all distinct. Message ids are derived "
        "from the event, so a repeated event has the same ones.",
        examples=[["user-1", "user-2"]],
    )
    expired_seconds: Annotated[int, Field(ge=1, le=MAX_LONG), WholeNumber()] = Field(
        description=f"How long the message is kept for a device that is offline, in seconds; required. At "
        f"most {MAX_EXPIRED_SECONDS} (7 days), according to an old official source.",
        examples=[600],
    )
    push_style: Annotated[Literal[0, 1, 2], WholeNumber()] = Field(
        0, description="How the notification looks.", examples=[0]
    )
    push_action: _Flag | None = Field(None, description="What a click opens; 0 if absent.", examples=[0])
    uri: _Text | None = Field(
        None,
        description="Address that a click opens: a web address or the app's own scheme.",
        examples=["https://www.example.com/orders/4711", "mpaas://orders/4711"],
    )
    silent: _Flag | None = Field(
        None,
        description="Push without sound. On the MPS own channel the app must act on it.",
        examples=[0],
    )
    notify_type: Literal["transparent", "notify"] | None = Field(
        None, description="Channel of Android messages.", examples=["notify"]
    )
    classification: Literal["0", "1"] | None = Field(
        None, description='Message type on vivo, as text; "1" if absent.', examples=["1"]
    )
    extended_params: Annotated[dict[str, Any], JsonObject(of="json")] | None = Field(
        None,
        description=f"Texts for the app, by key; at most {MAX_EXTENDED_PARAMS} entries. Reserved keys: "
        f"{', '.join(sorted(RESERVED_EXTENDED_PARAMS))}.",
        examples=[{"orderId": "4711", "badge": "1"}],
    )
    image_urls: Annotated[dict[str, str], JsonObject()] | None = Field(
        None,
        description="Big pictures for pushStyle 2: addresses by vendor, with defaultUrl for all others. "
        "876x324 px, at most 1 MB.",
        examples=[{"defaultUrl": "https://www.example.com/big.png"}],
    )
    icon_urls: Annotated[dict[str, str], JsonObject()] | None = Field(
        None,
        description="Icons: addresses by vendor, with defaultUrl for all others. 140x140 px, at most 50 KB.",
        examples=[{"defaultUrl": "https://www.example.com/icon.png"}],
    )
    strategy_type: Annotated[Literal[0, 1, 2], WholeNumber()] | None = Field(
        None, description="When to push; 0 if absent. 1 and 2 need strategyContent.", examples=[1]
    )
    strategy_content: Annotated[StrategyContent, JsonObject()] | None = Field(
        None,
        description="When exactly: fixedTime for strategyType 1; startTime, endTime, circleType, circleValue "
        "and time for strategyType 2.",
        examples=[{"fixedTime": 1_893_456_000_000}],
    )
    sms_strategy: _Int | None = Field(
        None,
        description="SMS in addition to the push: 0 none, 1 believed to be supplement, 2 believed to be "
        "concurrent. Values other than 0 need smsSignName, smsTemplateCode and smsTemplateParam; SMS cost "
        "operator fees.",
        examples=[0],
    )
    sms_sign_name: _Text | None = Field(None, description="Approved SMS signature.", examples=["mPaaS test"])
    sms_template_code: _Text | None = Field(
        None, description="Approved SMS template.", examples=["SMS_216070269"]
    )
    sms_template_param: Annotated[dict[str, Any], JsonObject(of="json")] | None = Field(
        None, description="Values for the SMS template, by key.", examples=[{"code": 123456}]
    )
    third_channel_category: Annotated[dict[str, str], JsonObject()] | None = Field(
        None,
        description='Message class by vendor, both as text: hms "1" to "14", harmonyos "1" to "13", vivo '
        '"1" IM; see the page Vendor message classification.',
        examples=[{"hms": "9", "vivo": "1"}],
    )
    notify_level: Annotated[dict[str, str], JsonObject()] | None = Field(
        None,
        description='Notification level by vendor, both as text: oppo "1" bar, "2" bar and lock screen, '
        '"16" all; hms "1" LOW, "2" NORMAL.',
        examples=[{"oppo": "2", "hms": "2"}],
    )
    mi_channel_id: _Text | None = Field(None, description="Xiaomi channel id, as text.", examples=["123321"])
    channel_id: _Text | None = Field(
        None, description="Android notification channel id, for all Android channels.", examples=["orders"]
    )
    activity_event: Literal["update", "end"] | None = Field(
        None, description="Live Activity (deliveryType 5 or 6): what happens to it.", examples=["update"]
    )
    activity_content_state: Annotated[dict[str, Any], JsonObject(of="json")] | None = Field(
        None,
        description="Live Activity (deliveryType 5 or 6): new state; its keys are defined in the iOS app.",
        examples=[{"stops": 3}],
    )
    dismissal_date: _Long | None = Field(
        None,
        description="Live Activity with activityEvent end: when it disappears. Unix time in seconds, not "
        "milliseconds.",
        examples=[1_893_456_000],
    )
    transparent_message_payload: Annotated[dict[str, dict[str, Any]], JsonObject(of="object")] | None = Field(
        None,
        description="Transparent (data) message: JSON object by vendor; vendors are hms, honor, fcm, "
        "harmonyos.",
        examples=[{"hms": {"sync": "orders"}}],
    )
    transparent_message_urgency: Literal["HIGH", "NORMAL"] | None = Field(
        None,
        description="Urgency of transparentMessagePayload, which it needs; for Huawei, Honor and HarmonyOS.",
        examples=["NORMAL"],
    )
    vendor_template: _Text | None = Field(
        None,
        description="Vendor's private message template, passed on unchanged; its format is not published.",
        examples=["P10001"],
    )


ALIASES: Final[dict[str, str]] = {name: to_camel(name) for name in MessageFields.model_fields}
"""The page's name of each attribute of a message, in the order of the fields."""

REQUIRED: Final[frozenset[str]] = frozenset(
    ALIASES[name] for name, field in MessageFields.model_fields.items() if field.is_required()
)
"""The page's names of the fields that every message must have."""

STRATEGY_ALIASES: Final[tuple[str, ...]] = tuple(map(to_camel, StrategyContent.model_fields))
"""The page's names of the fields of ``strategyContent``, in order."""

PARAMETERS: Final[tuple[str, ...]] = tuple(alias for alias in ALIASES.values() if alias != "targets")
"""The 34 parameters of PushSimple 2020-10-28 by the page's names (pushsimple.md: Parameters). ``targets`` is
this project's shorthand, not a parameter."""
