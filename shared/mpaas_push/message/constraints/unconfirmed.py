"""Constraints that no reachable page confirms: most of them warn, and each can be switched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.message.constraints.clock import SURELY_MILLISECONDS, epoch_milliseconds, looks_like_seconds
from mpaas_push.message.constraints.constraint import Constraint, Level, unconfirmed
from mpaas_push.message.vocabulary import (
    IMAGE_KEYS,
    MAX_EXPIRED_SECONDS,
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

__all__ = ["UNCONFIRMED"]

_TIMED, _LOOP = 1, 2
_DAILY, _WEEKLY, _MONTHLY = 1, 2, 3
_LIVE_ACTIVITY = (5, 6)
_SMS = ("smsSignName", "smsTemplateCode", "smsTemplateParam")


@unconfirmed(
    "expired-seconds-max",
    source="OLD: comment in the official server demo 2014-2018; result code 3026 has no number; "
    "pushsimple.md: Core parameters",
    reads=("expiredSeconds",),
    level=Level.ERROR,
)
def expired_seconds(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.expired_seconds > MAX_EXPIRED_SECONDS:
        yield Fault(
            "expiredSeconds",
            f"must be at most {MAX_EXPIRED_SECONDS} seconds (7 days)",
            message.expired_seconds,
        )


@unconfirmed(
    "circle-type-known",
    source="UNSURE: from memory 1 daily, 2 weekly, 3 monthly; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.circleType"),
)
def circle_type(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.circle_type not in (
        None, _DAILY, _WEEKLY, _MONTHLY,
    ):  # fmt: skip
        yield Fault(
            "strategyContent.circleType",
            "should be 1 (daily), 2 (weekly) or 3 (monthly), as far as is known",
            content.circle_type,
        )


@unconfirmed(
    "circle-value-range",
    source="UNSURE: from memory weekdays 1-7, days 1-31; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.circleType", "strategyContent.circleValue"),
)
def circle_value(message: MessageFields, _: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type != _LOOP or content is None or content.circle_value is None:
        return
    if content.circle_type == _WEEKLY:
        last, unit = 7, "weekdays 1 to 7"
    elif content.circle_type == _MONTHLY:
        last, unit = 31, "days 1 to 31"
    else:
        # The official sample sends a value with the daily type, so it must be harmless there.
        return
    if not content.circle_value:
        yield Fault("strategyContent.circleValue", f"should hold {unit}, as far as is known; it is empty")
    for index, value in enumerate(content.circle_value):
        if not 1 <= value <= last:
            yield Fault(
                f"strategyContent.circleValue.{index}", f"should be one of {unit}, as far as is known", value
            )


@unconfirmed(
    "fixed-time-in-future",
    source="UNSURE: inferred, no minimum lead is stated; pushsimple.md: Strategy content",
    reads=("strategyType", "strategyContent.fixedTime"),
    level=Level.ERROR,
)
def fixed_time(message: MessageFields, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _TIMED and content is not None and content.fixed_time is not None:
        present = epoch_milliseconds(now)
        if content.fixed_time // 1000 < present // 1000:  # "precise to the second"
            yield Fault(
                "strategyContent.fixedTime",
                f"is in the past; now is {present} in milliseconds{looks_like_seconds(content.fixed_time)}",
                content.fixed_time,
            )


@unconfirmed(
    "strategy-content-unused",
    source="UNSURE: inferred from strategyType 0 immediate; "
    "pushsimple.md: Strategies and SMS and Live Activity",
    reads=("strategyType",),
    demands=("strategyContent",),
)
def strategy_unused(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.strategy_type and message.strategy_content is not None:
        yield Fault(
            "strategyContent", "is not used with strategyType 0 (immediate); set strategyType to 1 or 2"
        )


@unconfirmed(
    "sms-strategy-known",
    source="UNSURE: from memory 0 none, 1 supplement, 2 concurrent; "
    "pushsimple.md: Strategies and SMS and Live Activity",
    reads=("smsStrategy",),
)
def sms_strategy(message: MessageFields, _: datetime) -> Iterator[Fault]:
    known = 2
    if message.sms_strategy is not None and message.sms_strategy > known:
        yield Fault(
            "smsStrategy",
            "should be 0 (no SMS), 1 (supplement) or 2 (concurrent), as far as is known",
            message.sms_strategy,
        )


@unconfirmed(
    "sms-parameters-unused",
    source="UNSURE: inferred, ignored if smsStrategy is 0 or absent; pushsimple.md: SMS",
    reads=("smsStrategy",),
    demands=_SMS,
)
def sms_unused(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.sms_strategy:
        for name, value in (
            ("smsSignName", message.sms_sign_name),
            ("smsTemplateCode", message.sms_template_code),
            ("smsTemplateParam", message.sms_template_param),
        ):
            if value is not None:
                yield Fault(name, "is not used while smsStrategy is 0 or absent")


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
                f"is not a documented class; documented are {_listed(known)}",
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
                f"thirdChannelCategory.{vendor}", f"cannot be checked; documented are only {_listed(known)}"
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
            yield Fault(f"notifyLevel.{vendor}", f"is not a known level; known are {_listed(known)}")


@unconfirmed(
    "extended-params-text",
    source="UNSURE: the page Extension parameters shows texts only; pushsimple.md: Extended parameters",
    reads=("extendedParams",),
)
def extended_params_text(message: MessageFields, _: datetime) -> Iterator[Fault]:
    for key, value in (message.extended_params or {}).items():
        if type(value) is not str:
            yield Fault(
                format_path(("extendedParams", key)), "should be text, as every value of the examples is"
            )


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
                "is not a vendor with transparent messages; those are " + ", ".join(TRANSPARENT_VENDORS),
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
    "live-activity-parameters",
    source="UNSURE: no page says what is rejected; pushsimple.md: Live Activity",
    reads=("deliveryType",),
    demands=("activityEvent", "activityContentState", "dismissalDate"),
)
def live_activity(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.delivery_type in _LIVE_ACTIVITY:
        for name, value in (
            ("activityEvent", message.activity_event),
            ("activityContentState", message.activity_content_state),
        ):
            if value is None:
                yield Fault(
                    name,
                    f"is needed with deliveryType {message.delivery_type}, which addresses a Live Activity",
                )
        return
    for name, given in (
        ("activityEvent", message.activity_event),
        ("activityContentState", message.activity_content_state),
        ("dismissalDate", message.dismissal_date),
    ):
        if given is not None:
            yield Fault(name, "belongs to a Live Activity: deliveryType 5 (push token) or 6 (activityId)")


@unconfirmed(
    "dismissal-date-needs-end",
    source="Simple push page: no effect with activityEvent update; no rejection stated; "
    "pushsimple.md: Live Activity",
    reads=("activityEvent",),
    demands=("dismissalDate",),
)
def dismissal_without_end(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.activity_event == "update":
        yield Fault("dismissalDate", "has an effect only with activityEvent `end`")


@unconfirmed(
    "dismissal-date-seconds",
    source="UNSURE: inferred from the unit; "
    "pushsimple.md: Strategies and SMS and Live Activity, What users stumble over",
    reads=("dismissalDate",),
)
def dismissal_unit(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.dismissal_date >= SURELY_MILLISECONDS:
        yield Fault("dismissalDate", "is in seconds; this looks like milliseconds", message.dismissal_date)


@unconfirmed(
    "uri-form",
    source="UNSURE: inferred from the examples of uri and pushAction; pushsimple.md: Other rules",
    reads=("pushAction", "uri"),
)
def click_address(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if not message.push_action and message.uri is not None and ":" not in message.uri:
        yield Fault(
            "uri",
            "with pushAction 0 should start with http://, https:// or a scheme of the app, such as mpaas://; "
            "a native page needs pushAction 1",
        )


@unconfirmed(
    "vendor-template-channel",
    source="UNSURE: Xiaomi's own documents, not mPaaS; pushsimple.md: Other rules",
    reads=("vendorTemplate",),
    demands=("miChannelId",),
)
def vendor_template(message: MessageFields, _: datetime) -> Iterator[Fault]:
    if message.vendor_template is not None and message.mi_channel_id is None:
        yield Fault(
            "miChannelId", "is required by Xiaomi together with a private template (`vendorTemplate`)"
        )


UNCONFIRMED: tuple[Constraint, ...] = (
    expired_seconds,
    circle_type,
    circle_value,
    fixed_time,
    strategy_unused,
    sms_strategy,
    sms_unused,
    image_keys,
    image_addresses,
    documented_categories,
    other_categories,
    play_voice,
    notify_levels,
    extended_params_text,
    transparent_vendors,
    urgency_vendors,
    live_activity,
    dismissal_without_end,
    dismissal_unit,
    click_address,
    vendor_template,
)


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f'"{value}" {meaning}' for value, meaning in values.items())
