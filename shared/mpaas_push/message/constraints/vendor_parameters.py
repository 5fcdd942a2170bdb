"""Parameters for vendors: pictures, categories, levels, transparent messages, templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.constraint import Constraint, documented, unconfirmed
from mpaas_push.message.vocabulary import (
    IMAGE_KEYS,
    TRANSPARENT_VENDORS,
    URGENT_VENDORS,
    VENDOR_CATEGORIES,
    VENDOR_LEVELS,
    VENDORS,
)
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mpaas_push.message.fields import MessageFields

__all__ = ["VENDOR_PARAMETERS"]


@unconfirmed(
    "image-keys-known",
    source='UNSURE: message template API ends its list with "etc."; pushsimple.md: Image keys',
    reads=("imageUrls", "iconUrls"),
)
def image_keys(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for field, urls in (("imageUrls", message.image_urls), ("iconUrls", message.icon_urls)):
        for key in urls or ():
            if key not in IMAGE_KEYS:
                yield Fault(
                    format_path((field, key)),
                    f"is not a documented key; documented are {', '.join(sorted(IMAGE_KEYS))}",
                )


@unconfirmed(
    "image-addresses",
    source="UNSURE: template console, pictures must be publicly reachable; pushsimple.md: Image keys",
    reads=("imageUrls", "iconUrls"),
)
def image_addresses(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for field, urls in (("imageUrls", message.image_urls), ("iconUrls", message.icon_urls)):
        for key, url in (urls or {}).items():
            if not url.lower().startswith(("http://", "https://")):
                yield Fault(
                    format_path((field, key)),
                    "is not a web address; a picture must be publicly reachable by http or https",
                )


@unconfirmed(
    "category-published",
    source="Pages Vendor message classification and HarmonyOS message classification; no "
    "rejection stated; pushsimple.md: Vendor categories",
    reads=("thirdChannelCategory",),
)
def documented_categories(message: MessageFields, _: datetime) -> Iterator[Fault]:
    categories = message.third_channel_category or {}
    for vendor in ("hms", "harmonyos"):
        known = VENDOR_CATEGORIES[vendor]
        if vendor in categories and categories[vendor] not in known:
            yield Fault(
                f"thirdChannelCategory.{vendor}",
                f"is not a documented class; documented are {_format_meanings(known)}",
            )


@unconfirmed(
    "category-unpublished",
    source="UNSURE: classes of vivo, oppo, honor, miui and fcm were not found; "
    "pushsimple.md: Vendor categories",
    reads=("thirdChannelCategory",),
)
def other_categories(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for vendor, value in (message.third_channel_category or {}).items():
        if vendor in ("hms", "harmonyos"):
            continue
        known = VENDOR_CATEGORIES.get(vendor)
        if vendor not in VENDORS:
            yield Fault(
                format_path(("thirdChannelCategory", vendor)),
                f"is not a known vendor; vendors are {', '.join(sorted(VENDORS))}",
            )
        elif known is None:
            yield Fault(
                f"thirdChannelCategory.{vendor}",
                "cannot be checked: this vendor's classes are not documented",
            )
        elif value not in known:
            yield Fault(
                f"thirdChannelCategory.{vendor}",
                f"cannot be checked; documented are only {_format_meanings(known)}",
            )


@unconfirmed(
    "category-play-voice",
    source="Page Vendor message classification: transparent messages only; no rejection stated; "
    "pushsimple.md: Vendor categories",
    reads=("thirdChannelCategory", "transparentMessagePayload"),
)
def play_voice(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if (message.third_channel_category or {}).get("hms") == "13" and (
        "hms" not in (message.transparent_message_payload or {})
    ):
        yield Fault(
            "thirdChannelCategory.hms",
            "13 (PLAY_VOICE) is for transparent messages only: it needs `transparentMessagePayload.hms`",
        )


@unconfirmed(
    "notify-level-known",
    source="UNSURE: OPPO's own numbers; hms by page Vendor message classification; "
    "pushsimple.md: Notify levels",
    reads=("notifyLevel",),
)
def notify_levels(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for vendor, value in (message.notify_level or {}).items():
        known = VENDOR_LEVELS.get(vendor)
        if vendor not in VENDORS:
            yield Fault(
                format_path(("notifyLevel", vendor)),
                f"is not a known vendor; vendors are {', '.join(sorted(VENDORS))}",
            )
        elif known is None:
            yield Fault(f"notifyLevel.{vendor}", "cannot be checked: this vendor's levels are not documented")
        elif value not in known:
            yield Fault(f"notifyLevel.{vendor}", f"is not a known level; known are {_format_meanings(known)}")


@unconfirmed(
    "transparent-payload-vendors",
    source="UNSURE: list of the Broadcast page; pushsimple.md: Appearance",
    reads=("transparentMessagePayload",),
)
def transparent_vendors(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for vendor in message.transparent_message_payload or ():
        if vendor not in TRANSPARENT_VENDORS:
            yield Fault(
                format_path(("transparentMessagePayload", vendor)),
                f"is not a vendor with transparent messages; these are {', '.join(TRANSPARENT_VENDORS)}",
            )


@documented(
    "urgency-needs-payload",
    source="Broadcast page: effective only together with transparentMessagePayload; "
    "pushsimple.md: Other rules",
    reads=("transparentMessageUrgency",),
    presence_of=("transparentMessagePayload",),
)
def urgency_payload(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.transparent_message_urgency is not None and message.transparent_message_payload is None:
        yield Fault(
            "transparentMessagePayload",
            "is required with `transparentMessageUrgency`, which has no effect without it",
        )


@unconfirmed(
    "urgency-vendors",
    source="Broadcast page: only Huawei, Honor and HarmonyOS; no rejection stated; pushsimple.md: Appearance",
    reads=("transparentMessageUrgency", "transparentMessagePayload"),
)
def urgency_vendors(message: MessageFields, _: datetime) -> Iterator[Fault]:
    payload = message.transparent_message_payload
    if (
        message.transparent_message_urgency is not None
        and payload is not None
        and not any(vendor in payload for vendor in URGENT_VENDORS)
    ):
        yield Fault(
            "transparentMessageUrgency",
            "has an effect only on hms, honor and harmonyos; `transparentMessagePayload` has none of them",
        )


@unconfirmed(
    "vendor-template-channel",
    source="UNSURE: Xiaomi's own documents, not mPaaS; pushsimple.md: Other rules",
    reads=("vendorTemplate",),
    presence_of=("miChannelId",),
)
def vendor_template(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.vendor_template is not None and message.mi_channel_id is None:
        yield Fault(
            "miChannelId", "is required by Xiaomi together with a private template (`vendorTemplate`)"
        )


VENDOR_PARAMETERS: tuple[Constraint, ...] = (
    image_keys,
    image_addresses,
    documented_categories,
    other_categories,
    play_voice,
    notify_levels,
    transparent_vendors,
    urgency_payload,
    urgency_vendors,
    vendor_template,
)


def _format_meanings(values: Mapping[str, str]) -> str:
    return ", ".join(f'"{value}" {meaning}' for value, meaning in values.items())
