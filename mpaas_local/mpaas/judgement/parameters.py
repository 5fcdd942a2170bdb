"""The parameters of PushSimple by version, and the values of each enumeration, as data."""

from __future__ import annotations

__all__ = ["DELIVERY_TYPES", "ENUMERATIONS", "FLATTENED", "LEGACY_PARAMETERS", "LEGACY_VERSION", "PARAMETERS"]

LEGACY_VERSION = "2019-08-21"

LEGACY_PARAMETERS = frozenset(
    {
        # pushsimple.md: History of parameters.
        "TaskName",
        "Title",
        "Content",
        "PushAction",
        "DeliveryType",
        "NotifyType",
        "TargetMsgkey",
        "ExtendedParams",
        "Silent",
        "Uri",
        "ExpiredSeconds",
        "AppId",
        "WorkspaceId",
    }
)
"""The 13 parameters of version 2019-08-21."""

PARAMETERS = LEGACY_PARAMETERS | {
    # pushsimple.md: Core parameters.
    "TenantId",
    "PushStyle",
    # pushsimple.md: Appearance.
    "Classification",
    "ImageUrls",
    "IconUrls",
    "MiChannelId",
    "ChannelId",
    "ThirdChannelCategory",
    "NotifyLevel",
    "TransparentMessagePayload",
    "TransparentMessageUrgency",
    "VendorTemplate",
    # pushsimple.md: Strategies and SMS and Live Activity.
    "StrategyType",
    "StrategyContent",
    "SmsStrategy",
    "SmsSignName",
    "SmsTemplateCode",
    "SmsTemplateParam",
    "ActivityEvent",
    "ActivityContentState",
    "DismissalDate",
}
"""The 34 parameters of version 2020-10-28."""

FLATTENED = ("ActivityContentState", "TransparentMessagePayload")
"""Objects that the official SDK sends as `Name.key=value` fields (pushsimple.md: Version 2020-10-28)."""

ENUMERATIONS: tuple[tuple[str, frozenset[str]], ...] = (
    ("PushStyle", frozenset({"0", "1", "2"})),
    ("PushAction", frozenset({"0", "1"})),
    ("Silent", frozenset({"0", "1"})),
    ("NotifyType", frozenset({"transparent", "notify"})),
    ("Classification", frozenset({"0", "1"})),
    ("TransparentMessageUrgency", frozenset({"HIGH", "NORMAL"})),
    ("StrategyType", frozenset({"0", "1", "2"})),
    ("ActivityEvent", frozenset({"update", "end"})),
)
"""Optional parameters with a closed list of values; any other value is 3028 (pushsimple.md: Core parameters,
Appearance, Strategies and SMS and Live Activity)."""

DELIVERY_TYPES = frozenset({"1", "2", "3", "5", "6", "7"})
"""pushsimple.md: Core parameters; 4 is not documented."""
