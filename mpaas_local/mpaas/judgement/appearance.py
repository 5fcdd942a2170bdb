"""Rules for what a device displays or passes on: extended parameters, images, vendor maps, transparent
messages (pushsimple.md: Appearance).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_local.mpaas.judgement.push import Pairs, Push, refuse, refuse_duplicate_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "IMAGE_KEYS",
    "MAX_EXTENDED_PARAMS",
    "RESERVED_EXTENDED_PARAMS",
    "TRANSPARENT_VENDORS",
    "VENDORS",
    "VENDOR_CATEGORIES",
    "check_extended_params",
    "check_transparent",
    "check_vendor_maps",
]


MAX_EXTENDED_PARAMS = 20
"""Maximum number of entries in ExtendedParams (pushsimple.md: Extended parameters)."""

RESERVED_EXTENDED_PARAMS = frozenset(
    {"notifyType", "action", "silent", "pushType", "templateCode", "channel", "taskId"}
)
"""Keys that the service reserves (pushsimple.md: Extended parameters)."""

VENDOR_CATEGORIES: Mapping[str, frozenset[str]] = {
    "hms": frozenset(str(number) for number in range(1, 15)),
    "harmonyos": frozenset(str(number) for number in range(1, 14)),
}
"""Message classes of the two vendors with a documented list (pushsimple.md: Vendor categories)."""

VENDORS = frozenset({"android", "ios", "miui", "hms", "fcm", "oppo", "vivo", "honor", "harmonyos"})
"""Vendor ids of this API family (pushsimple.md: Vendor categories)."""

TRANSPARENT_VENDORS = frozenset({"hms", "honor", "fcm", "harmonyos"})
"""Vendors that support transparent messages (pushsimple.md: Appearance)."""

IMAGE_KEYS = frozenset(
    {
        "defaultUrl",
        "oppoUrl",
        "hmsUrl",
        "miuiUrl",
        "fcmUrl",
        "iosUrl",
        "honorUrl",
        "harmonyosUrl",
    }
)
"""Documented keys of ImageUrls and IconUrls (pushsimple.md: Image keys); the list ends in "etc."."""


def check_extended_params(push: Push) -> None:
    """Refuse too many, duplicate or reserved keys."""
    name = "ExtendedParams"
    if not push.has(name):
        return
    pairs = push.json_object(name, "3044")
    if len(pairs.items) > MAX_EXTENDED_PARAMS:
        refuse("3035", name, f"has {len(pairs.items)} entries; at most {MAX_EXTENDED_PARAMS} are allowed")
    refuse_duplicate_key(pairs, name, "3044")
    for key, _ in pairs.items:
        if key in RESERVED_EXTENDED_PARAMS:
            refuse("3028", name, f"has the reserved key {key!r}")


def check_vendor_maps(push: Push) -> None:
    """Refuse maps that are not of strings; note undocumented keys and classes."""
    for name in ("ImageUrls", "IconUrls"):
        for key in push.string_map(name):
            if key not in IMAGE_KEYS:
                push.notes.append(f"{name} has the undocumented key {key!r}")
    for name in ("ThirdChannelCategory", "NotifyLevel"):
        for vendor, value in push.string_map(name).items():
            if vendor not in VENDORS:
                push.notes.append(f"{name} names the undocumented vendor {vendor!r}")
            known = VENDOR_CATEGORIES.get(vendor)
            if name == "ThirdChannelCategory" and known is not None and value not in known:
                # The service is not documented to refuse other classes.
                push.notes.append(f"{name}.{vendor} is {value!r}; documented: 1 to {len(known)}")


def check_transparent(push: Push) -> None:
    """Refuse a payload that is not an object, and an urgency without payload."""
    name = "TransparentMessagePayload"
    if push.has(name):
        for vendor, body in push.json_object(name, "3028").items:
            if vendor not in TRANSPARENT_VENDORS:
                documented = ", ".join(sorted(TRANSPARENT_VENDORS))
                push.notes.append(f"{name} names the vendor {vendor!r}; documented: {documented}")
            if not isinstance(body, Pairs):
                refuse("3028", f"{name}.{vendor}", "is not a JSON object")
    if push.has("TransparentMessageUrgency") and not push.has_object(name):
        refuse("3028", "TransparentMessageUrgency", f"requires {name}")
