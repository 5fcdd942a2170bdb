"""What the fields of a message may hold: enumerations, limits and the vendors' tables.

Only data, each with its source. Fields, JSON schema, constraints and errors use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "IMAGE_KEYS",
    "MAX_EXPIRED_SECONDS",
    "MAX_EXTENDED_PARAMS",
    "MAX_INT",
    "MAX_LONG",
    "MAX_LOOP_DAYS",
    "MEANINGS",
    "OTHER_SPELLING",
    "PARAMETERS_2019",
    "RESERVED_EXTENDED_PARAMS",
    "SETTINGS",
    "TIME_OF_DAY",
    "TRANSPARENT_VENDORS",
    "URGENT_VENDORS",
    "VENDORS",
    "VENDOR_CATEGORIES",
    "VENDOR_LEVELS",
    "page_name",
]

MEANINGS: Final[Mapping[str, str]] = {
    "deliveryType": "1 (Android device), 2 (iOS device), 3 (user), 5 (Live Activity push token), "
    "6 (Live Activity activityId), 7 (HarmonyOS device)",
    "pushStyle": "0 (default), 1 (big text), 2 (big picture and text)",
    "pushAction": "0 (open a web address), 1 (open a native page)",
    "silent": "1 (silent), 0 (not silent)",
    "notifyType": '"transparent" (MPS own channel), "notify" (vendor channel if there is one)',
    "classification": '"0" (operational), "1" (system)',
    "strategyType": "0 (immediate), 1 (timed), 2 (loop)",
    "activityEvent": '"update", "end"',
    "transparentMessageUrgency": '"HIGH", "NORMAL"',
}
"""Values of the enumerated fields with their meanings, as shown in schema and errors."""

MAX_LONG = 2**63 - 1
"""Upper bound of the page's type Long."""

MAX_INT = 2**31 - 1
"""Upper bound of the page's type Integer."""

MAX_EXPIRED_SECONDS = 604_800
"""Seven days. Stated only by the official server demo of 2014-2018 (pushsimple.md: Core parameters)."""

MAX_EXTENDED_PARAMS = 20
"""Entries of ``extendedParams``: result code 3035 (pushsimple.md: Extended parameters)."""

MAX_LOOP_DAYS = 180
"""A loop may end at most this many days after today (pushsimple.md: Strategy content)."""

TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
"""``time`` of a strategy, HH:mm:ss (pushsimple.md: Strategy content)."""

OTHER_SPELLING = "StrategyContent"
"""Second spelling of ``strategyContent``, used in some official samples."""


def page_name(name: str) -> str:
    """Return the name that faults give a parameter: ``strategyContent`` in either spelling."""
    return "strategyContent" if name == OTHER_SPELLING else name


RESERVED_EXTENDED_PARAMS = frozenset(
    {"notifyType", "action", "silent", "pushType", "templateCode", "channel", "taskId"}
)
"""Keys of ``extendedParams`` that the platform uses itself: page "Extension parameters"
(pushsimple.md: Extended parameters)."""

IMAGE_KEYS = frozenset(
    {
        "defaultUrl", "oppoUrl", "hmsUrl", "miuiUrl", "fcmUrl", "iosUrl",  # sample of the Simple push page
        "honorUrl", "harmonyosUrl",  # message template API, which ends its list with "etc."
    }
)  # fmt: skip
"""Documented keys of ``imageUrls`` and ``iconUrls`` (pushsimple.md: Image keys)."""

VENDORS = frozenset({"android", "ios", "miui", "hms", "fcm", "oppo", "vivo", "honor", "harmonyos"})
"""Vendor names of the API family: page "Device information" (pushsimple.md: Vendor categories)."""

TRANSPARENT_VENDORS = ("hms", "honor", "fcm", "harmonyos")
"""Vendors that accept a transparent message: Broadcast page (pushsimple.md: Appearance)."""

URGENT_VENDORS = ("hms", "honor", "harmonyos")
"""Vendors that support ``transparentMessageUrgency``: Broadcast page (pushsimple.md: Appearance)."""

_COMMON_CATEGORIES = {
    "1": "IM", "2": "VOIP", "3": "SUBSCRIPTION", "4": "TRAVEL", "5": "HEALTH", "6": "WORK",
    "7": "ACCOUNT", "8": "EXPRESS", "9": "FINANCE", "10": "DEVICE_REMINDER",
}  # fmt: skip

VENDOR_CATEGORIES: Final[Mapping[str, Mapping[str, str]]] = {
    # Page "Vendor message classification" (pushsimple.md: Vendor categories).
    "hms": _COMMON_CATEGORIES
    | {"11": "SYSTEM_REMINDER", "12": "MAIL", "13": "PLAY_VOICE", "14": "MARKETING"},
    # Page "HarmonyOS message classification" (pushsimple.md: Vendor categories); differs from hms after 10.
    "harmonyos": _COMMON_CATEGORIES | {"11": "MAIL", "12": "CUSTOMER_SERVICE", "13": "MARKETING"},
    # Example of the Simple push page (pushsimple.md: Vendor categories); vivo's other numbers are not
    # published.
    "vivo": {"1": "IM"},
}
"""Documented values of ``thirdChannelCategory``, by vendor."""

VENDOR_LEVELS: Final[Mapping[str, Mapping[str, str]]] = {
    # 2 is the example of the Simple push page, 1 and 16 are OPPO's own numbers
    # (pushsimple.md: Notify levels).
    "oppo": {"1": "bar", "2": "bar and lock screen", "16": "bar, lock screen, banner, vibration and sound"},
    # Page "Vendor message classification" (pushsimple.md: Notify levels).
    "hms": {"1": "LOW", "2": "NORMAL"},
}
"""Known values of ``notifyLevel``, by vendor."""

PARAMETERS_2019: Final[frozenset[str]] = frozenset(
    {
        "taskName", "title", "content", "pushAction", "deliveryType", "notifyType", "targetMsgkey",
        "extendedParams", "silent", "uri", "expiredSeconds", "appId", "workspaceId",
    }
)  # fmt: skip
"""The 13 parameters that version 2019-08-21 knows (pushsimple.md: History of parameters)."""

SETTINGS: Final[Mapping[str, str]] = {
    "appId": "MPAAS_APP_ID",
    "workspaceId": "MPAAS_WORKSPACE_ID",
    "tenantId": "MPAAS_TENANT_ID",
}
"""Environment variables that hold the default of a field."""
