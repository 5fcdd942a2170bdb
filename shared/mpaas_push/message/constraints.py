"""The rules of PushSimple that join fields or judge values, in one table.

A complete message and the present time enter a rule, faults leave it. `CONSTRAINTS` holds every rule with
its source. Documented rules always reject. Rules that no reachable page confirms only warn, until the
setting ``PUSH_RULES`` (read by `parse_levels`) makes them errors or turns them off. Types, enumerations and
limits of a single field stand at the field in `mpaas_push.message`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault, mask_id

if TYPE_CHECKING:
    from mpaas_push.message import PushMessage

__all__ = [
    "CHINA",
    "CONSTRAINTS",
    "IMAGE_KEYS",
    "MAX_EXPIRED_SECONDS",
    "MAX_EXTENDED_PARAMS",
    "MAX_LOOP_DAYS",
    "RESERVED_EXTENDED_PARAMS",
    "VENDORS",
    "VENDOR_CATEGORIES",
    "VENDOR_LEVELS",
    "Clock",
    "Constraint",
    "Level",
    "broken",
    "epoch_milliseconds",
    "parse_levels",
    "system_clock",
]

Clock = Callable[[], datetime]
"""Tells the present time as an aware datetime."""

CHINA = timezone(timedelta(hours=8))
"""China Standard Time: day boundaries and ``time`` of a strategy (inferred from the examples; pushsimple.md:
Strategy content)."""


def system_clock() -> datetime:
    """Return the machine's present time."""
    return datetime.now(timezone.utc)


def epoch_milliseconds(moment: datetime) -> int:
    """Return a moment as the page wants it in ``strategyContent``: milliseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // _MILLISECOND


class Level(Enum):
    """What a broken rule does: reject the message, warn, or nothing."""

    ERROR = "error"
    WARNING = "warning"
    OFF = "off"


Check = Callable[["PushMessage", datetime], Iterator[Fault]]


@dataclass(frozen=True)
class Constraint:
    """One rule.

    Attributes:
        name: Stable name, as used in ``PUSH_RULES`` and in warnings.
        level: What a broken rule does unless a setting says otherwise.
        certain: The rule is documented: its level is error and cannot be switched.
        source: Where it is written: page, and section of the project's reference.
        reads: The fields whose values the verdict rests on, in the page's names. While one of them is faulty
            itself, the rule cannot be judged and is left out.
        demands: Fields of which the rule only asks that they are there. A faulty one is there.
        check: Yields what is wrong with a message whose fields are each valid, at a given moment.
    """

    name: str
    level: Level
    certain: bool
    source: str
    reads: tuple[str, ...]
    check: Check
    demands: tuple[str, ...] = ()


def broken(
    message: PushMessage, rules: Iterable[Constraint], now: datetime
) -> Iterator[tuple[Constraint, Fault]]:
    """Yield each fault that the given rules find in a message, with its rule."""
    for rule in rules:
        for fault in rule.check(message, now):
            yield rule, fault


def parse_levels(text: str) -> dict[str, Level]:
    """Read the setting ``PUSH_RULES``.

    Args:
        text: ``rule=level`` parts joined by commas, such as ``unsure=error,expired-seconds-max=warning``.
            A level is ``error``, ``warning`` or ``off``. ``unsure`` stands for every rule that is not
            documented; a rule named by itself wins over it. Spaces around the parts do not matter; an empty
            text changes nothing.

    Returns:
        Level by rule name, for the rules that the text speaks of. Fit for ``PushMessage.parse(levels=...)``.

    Raises:
        ValueError: A part is not ``rule=level``, names no switchable rule or no level, or stands twice.
    """
    groups: dict[str, Level] = {}
    single: dict[str, Level] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, word = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"`{part}` is not of the form rule=level, such as unsure=error")
        if word not in _LEVELS:
            raise ValueError(f"`{word}` is no level for rule `{name}`; allowed are error, warning, off")
        chosen = groups if name == _UNSURE else single
        if name in chosen:
            raise ValueError(f"rule `{name}` stands twice")
        if name != _UNSURE and name not in _SWITCHABLE:
            raise ValueError(_no_such_rule(name))
        chosen[name] = _LEVELS[word]
    if _UNSURE in groups:
        return {
            rule.name: groups[_UNSURE] for rule in _SWITCHABLE.values() if rule.level is not Level.ERROR
        } | single
    return single


def _no_such_rule(name: str) -> str:
    if any(rule.name == name for rule in CONSTRAINTS):
        reason = f"rule `{name}` is documented by mPaaS and cannot be switched"
    else:
        reason = f"there is no rule `{name}`"
    return f"{reason}; allowed are {_UNSURE} (all of the undocumented ones), {', '.join(_SWITCHABLE)}"


# --- What the rules know -------------------------------------------------------------------------------

MAX_EXPIRED_SECONDS = 604_800
"""Seven days. Written only in the official server demo of 2014-2018 (pushsimple.md: Core parameters)."""

MAX_EXTENDED_PARAMS = 20
"""Entries of ``extendedParams``: result code 3035 (pushsimple.md: Extended parameters)."""

MAX_LOOP_DAYS = 180
"""Days after the present one on which a loop may end (pushsimple.md: Strategy content)."""

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
"""Keys of ``imageUrls`` and ``iconUrls`` seen in the pages (pushsimple.md: Image keys)."""

VENDORS = frozenset({"android", "ios", "miui", "hms", "fcm", "oppo", "vivo", "honor", "harmonyos"})
"""Vendor names of the API family: page "Device information" (pushsimple.md: Vendor categories)."""

_COMMON_CATEGORIES = {
    "1": "IM", "2": "VOIP", "3": "SUBSCRIPTION", "4": "TRAVEL", "5": "HEALTH", "6": "WORK",
    "7": "ACCOUNT", "8": "EXPRESS", "9": "FINANCE", "10": "DEVICE_REMINDER",
}  # fmt: skip

VENDOR_CATEGORIES: Mapping[str, Mapping[str, str]] = {
    # Page "Vendor message classification" (pushsimple.md: Vendor categories).
    "hms": _COMMON_CATEGORIES
    | {"11": "SYSTEM_REMINDER", "12": "MAIL", "13": "PLAY_VOICE", "14": "MARKETING"},
    # Page "HarmonyOS message classification" (pushsimple.md: Vendor categories); differs from hms after 10.
    "harmonyos": _COMMON_CATEGORIES | {"11": "MAIL", "12": "CUSTOMER_SERVICE", "13": "MARKETING"},
    # Example of the Simple push page (pushsimple.md: Vendor categories); vivo's other numbers are not
    # published.
    "vivo": {"1": "IM"},
}
"""Values of ``thirdChannelCategory`` that a page states, by vendor."""

VENDOR_LEVELS: Mapping[str, Mapping[str, str]] = {
    # 2 is the example of the Simple push page, 1 and 16 are OPPO's own numbers
    # (pushsimple.md: Notify levels).
    "oppo": {"1": "bar", "2": "bar and lock screen", "16": "bar, lock screen, banner, vibration and sound"},
    # Page "Vendor message classification" (pushsimple.md: Notify levels).
    "hms": {"1": "LOW", "2": "NORMAL"},
}
"""Values of ``notifyLevel`` known so far, by vendor."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
# Seconds reach this number in the year 5138, milliseconds reached it in 1973.
_SURELY_MILLISECONDS = 100_000_000_000
_LIVE_ACTIVITY = (5, 6)
_TIMED, _LOOP = 1, 2
_DAILY, _WEEKLY, _MONTHLY = 1, 2, 3
_IMAGE_KEY = re.compile(r"[a-z]+Url")
_TRANSPARENT_VENDORS = ("hms", "honor", "fcm", "harmonyos")
_URGENT_VENDORS = ("hms", "honor", "harmonyos")
_FIXED_FIELDS = (("fixedTime", "fixed_time"),)
_LOOP_FIELDS = (
    ("startTime", "start_time"),
    ("endTime", "end_time"),
    ("circleType", "circle_type"),
    ("circleValue", "circle_value"),
    ("time", "time"),
)
_STRATEGIES = {_TIMED: ("timed push", _FIXED_FIELDS), _LOOP: ("loop push", _LOOP_FIELDS)}


# --- Documented rules ----------------------------------------------------------------------------------


def _one_kind_of_target(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.targets is None:
        if message.target_msgkey is None:
            yield Fault(
                "targetMsgkey",
                "whom to push to is missing: give `targetMsgkey` (target id to message id) or `targets` "
                "(target ids; message ids are then derived)",
            )
    elif message.target_msgkey is not None:
        yield Fault("targets", "give either `targets` or `targetMsgkey`, not both")
    if message.targets is not None and not message.targets:
        yield Fault("targets", "must name at least one target")
    if message.target_msgkey is not None and not message.target_msgkey:
        yield Fault("targetMsgkey", "must name at least one target")


def _distinct_targets(message: PushMessage, _: datetime) -> Iterator[Fault]:
    targets = message.targets
    if targets is not None and len(set(targets)) != len(targets):
        first: dict[str, int] = {}
        for index, target in enumerate(targets):
            if first.setdefault(target, index) != index:
                yield Fault(f"targets.{index}", f"is the same target as `targets.{first[target]}`; drop one")


def _distinct_message_ids(message: PushMessage, _: datetime) -> Iterator[Fault]:
    pairs = message.target_msgkey
    if pairs is not None and len(set(pairs.values())) != len(pairs):
        first: dict[str, str] = {}
        for target, message_id in pairs.items():
            if first.setdefault(message_id, target) != target:
                yield Fault(
                    f"targetMsgkey.{mask_id(target)}",
                    "has the same message id as another target; message ids must be distinct, "
                    "for example <event id>-1, <event id>-2",
                )


def _extended_params_count(message: PushMessage, _: datetime) -> Iterator[Fault]:
    params = message.extended_params
    if params is not None and len(params) > MAX_EXTENDED_PARAMS:
        yield Fault("extendedParams", f"has {len(params)} entries; at most {MAX_EXTENDED_PARAMS} are allowed")


def _extended_params_reserved(message: PushMessage, _: datetime) -> Iterator[Fault]:
    params = message.extended_params
    if params is not None and not RESERVED_EXTENDED_PARAMS.isdisjoint(params):
        for key in params:
            if key in RESERVED_EXTENDED_PARAMS:
                yield Fault(
                    f"extendedParams.{key}", "is a key that the platform uses itself; choose another name"
                )


def _strategy_content(message: PushMessage, _: datetime) -> Iterator[Fault]:
    strategy = _STRATEGIES.get(message.strategy_type or 0)
    if strategy is None:
        return
    kind, fields = strategy
    content = message.strategy_content
    if content is None:
        names = ", ".join(name for name, _ in fields)
        yield Fault(
            "strategyContent", f"is required with strategyType {message.strategy_type} ({kind}): {names}"
        )
        return
    for name, attribute in fields:
        if getattr(content, attribute) is None:
            yield Fault(
                f"strategyContent.{name}", f"is required with strategyType {message.strategy_type} ({kind})"
            )


def _loop_start(message: PushMessage, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.start_time is not None:
        earliest = _midnight(now)
        if content.start_time < earliest:
            yield Fault(
                "strategyContent.startTime",
                f"must not be before today 00:00 in China, {earliest} in milliseconds"
                f"{_seconds(content.start_time)}",
                content.start_time,
            )


def _loop_end(message: PushMessage, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.end_time is not None:
        # "Precise to the day" and "not later than 180 days after the current day": that whole day is allowed.
        latest = _midnight(now + timedelta(days=MAX_LOOP_DAYS + 1)) - 1
        if content.end_time > latest:
            yield Fault(
                "strategyContent.endTime",
                f"must not be later than {MAX_LOOP_DAYS} days after today in China, {latest} in milliseconds",
                content.end_time,
            )
        elif content.end_time < _midnight(now):
            yield Fault(
                "strategyContent.endTime",
                f"must not be before today 00:00 in China, {_midnight(now)} in milliseconds"
                f"{_seconds(content.end_time)}",
                content.end_time,
            )


def _loop_order(message: PushMessage, _: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if (
        message.strategy_type == _LOOP
        and content is not None
        and content.start_time is not None
        and content.end_time is not None
        and content.end_time < content.start_time
    ):
        yield Fault(
            "strategyContent.endTime", "must not be before `strategyContent.startTime`", content.end_time
        )


def _sms_parameters(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.sms_strategy:
        for name, value in (
            ("smsSignName", message.sms_sign_name),
            ("smsTemplateCode", message.sms_template_code),
            ("smsTemplateParam", message.sms_template_param),
        ):
            if value is None:
                yield Fault(name, f"is required with smsStrategy {message.sms_strategy}; 0 sends no SMS")


def _urgency_payload(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.transparent_message_urgency is not None and message.transparent_message_payload is None:
        yield Fault(
            "transparentMessageUrgency", "has a meaning only together with `transparentMessagePayload`"
        )


# --- Rules without a page behind them ------------------------------------------------------------------


def _expired_seconds(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.expired_seconds > MAX_EXPIRED_SECONDS:
        yield Fault(
            "expiredSeconds",
            f"must be at most {MAX_EXPIRED_SECONDS} seconds (7 days)",
            message.expired_seconds,
        )


def _circle_type(message: PushMessage, _: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _LOOP and content is not None and content.circle_type not in (
        None, _DAILY, _WEEKLY, _MONTHLY,
    ):  # fmt: skip
        yield Fault(
            "strategyContent.circleType",
            "is believed to be 1 (daily), 2 (weekly) or 3 (monthly)",
            content.circle_type,
        )


def _circle_value(message: PushMessage, _: datetime) -> Iterator[Fault]:
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
        yield Fault("strategyContent.circleValue", f"is believed to need {unit}; it is empty")
    for index, value in enumerate(content.circle_value):
        if not 1 <= value <= last:
            yield Fault(f"strategyContent.circleValue.{index}", f"is believed to hold {unit}", value)


def _fixed_time(message: PushMessage, now: datetime) -> Iterator[Fault]:
    content = message.strategy_content
    if message.strategy_type == _TIMED and content is not None and content.fixed_time is not None:
        present = epoch_milliseconds(now)
        if content.fixed_time < present:
            yield Fault(
                "strategyContent.fixedTime",
                f"lies in the past; now is {present} in milliseconds{_seconds(content.fixed_time)}",
                content.fixed_time,
            )


def _strategy_unused(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if not message.strategy_type and message.strategy_content is not None:
        yield Fault(
            "strategyContent", "is not used with strategyType 0 (immediate); set strategyType to 1 or 2"
        )


def _sms_strategy(message: PushMessage, _: datetime) -> Iterator[Fault]:
    known = 2
    if message.sms_strategy is not None and message.sms_strategy > known:
        yield Fault(
            "smsStrategy",
            "is believed to be 0 (no SMS), 1 (supplement) or 2 (concurrent)",
            message.sms_strategy,
        )


def _sms_unused(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if not message.sms_strategy:
        for name, value in (
            ("smsSignName", message.sms_sign_name),
            ("smsTemplateCode", message.sms_template_code),
            ("smsTemplateParam", message.sms_template_param),
        ):
            if value is not None:
                yield Fault(name, "is not used while smsStrategy is 0 or absent")


def _image_keys(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for field, urls in (("imageUrls", message.image_urls), ("iconUrls", message.icon_urls)):
        for key in urls or ():
            if key not in IMAGE_KEYS:
                known = ", ".join(sorted(IMAGE_KEYS))
                if _IMAGE_KEY.fullmatch(key):
                    yield Fault(f"{field}.{key}", f"is a key that no page shows; known are {known}")
                else:
                    yield Fault(field, f"has a key that is no vendor's name with Url; known are {known}")


def _image_addresses(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for field, urls in (("imageUrls", message.image_urls), ("iconUrls", message.icon_urls)):
        for key, url in (urls or {}).items():
            if not url.lower().startswith(("http://", "https://")):
                place = f"{field}.{key}" if _IMAGE_KEY.fullmatch(key) else field
                yield Fault(place, "is no web address; a picture must be publicly reachable by http or https")


def _documented_categories(message: PushMessage, _: datetime) -> Iterator[Fault]:
    categories = message.third_channel_category or {}
    for vendor in ("hms", "harmonyos"):
        known = VENDOR_CATEGORIES[vendor]
        if vendor in categories and categories[vendor] not in known:
            yield Fault(
                f"thirdChannelCategory.{vendor}", f"is none of the published classes: {_listed(known)}"
            )


def _other_categories(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for vendor, value in (message.third_channel_category or {}).items():
        if vendor in ("hms", "harmonyos"):
            continue
        known = VENDOR_CATEGORIES.get(vendor)
        if vendor not in VENDORS:
            yield Fault(
                "thirdChannelCategory",
                f"has a key that is no vendor; vendors are {', '.join(sorted(VENDORS))}",
            )
        elif known is None:
            yield Fault(f"thirdChannelCategory.{vendor}", "cannot be checked: no class of it is published")
        elif value not in known:
            yield Fault(
                f"thirdChannelCategory.{vendor}", f"cannot be checked: published is only {_listed(known)}"
            )


def _play_voice(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if (message.third_channel_category or {}).get("hms") == "13" and (
        "hms" not in (message.transparent_message_payload or {})
    ):
        yield Fault(
            "thirdChannelCategory.hms",
            "13 (PLAY_VOICE) is for transparent messages only: it needs `transparentMessagePayload.hms`",
        )


def _notify_levels(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for vendor, value in (message.notify_level or {}).items():
        known = VENDOR_LEVELS.get(vendor)
        if vendor not in VENDORS:
            yield Fault(
                "notifyLevel", f"has a key that is no vendor; vendors are {', '.join(sorted(VENDORS))}"
            )
        elif known is None:
            yield Fault(f"notifyLevel.{vendor}", "cannot be checked: no level of it is published")
        elif value not in known:
            yield Fault(f"notifyLevel.{vendor}", f"is none of the known levels: {_listed(known)}")


def _extended_params_text(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for key, value in (message.extended_params or {}).items():
        if type(value) is not str:
            yield Fault("extendedParams", f"values are texts in all examples; `{_short(key)}` is none")


def _transparent_vendors(message: PushMessage, _: datetime) -> Iterator[Fault]:
    for vendor in message.transparent_message_payload or ():
        if vendor not in _TRANSPARENT_VENDORS:
            yield Fault(
                "transparentMessagePayload",
                f"has the key `{_short(vendor)}`; vendors with transparent messages are "
                f"{', '.join(_TRANSPARENT_VENDORS)}",
            )


def _urgency_vendors(message: PushMessage, _: datetime) -> Iterator[Fault]:
    payload = message.transparent_message_payload
    if (
        message.transparent_message_urgency is not None
        and payload is not None
        and not any(vendor in payload for vendor in _URGENT_VENDORS)
    ):
        yield Fault(
            "transparentMessageUrgency",
            "has an effect only on hms, honor and harmonyos; `transparentMessagePayload` has none of them",
        )


def _live_activity(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.delivery_type in _LIVE_ACTIVITY:
        for name, value in (
            ("activityEvent", message.activity_event),
            ("activityContentState", message.activity_content_state),
        ):
            if value is None:
                yield Fault(
                    name,
                    f"is needed for a Live Activity, which deliveryType {message.delivery_type} addresses",
                )
        return
    for name, given in (
        ("activityEvent", message.activity_event),
        ("activityContentState", message.activity_content_state),
        ("dismissalDate", message.dismissal_date),
    ):
        if given is not None:
            yield Fault(name, "belongs to a Live Activity: deliveryType 5 (push token) or 6 (activityId)")


def _dismissal_without_end(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.activity_event == "update":
        yield Fault("dismissalDate", "has an effect only with activityEvent `end`")


def _dismissal_unit(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.dismissal_date is not None and message.dismissal_date >= _SURELY_MILLISECONDS:
        yield Fault("dismissalDate", "is in seconds; this looks like milliseconds", message.dismissal_date)


def _click_address(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if not message.push_action and message.uri is not None and ":" not in message.uri:
        yield Fault(
            "uri",
            "with pushAction 0 (web address) looks like http://…, https://… or the app's own scheme such as "
            "mpaas://…; a native page needs pushAction 1",
        )


def _vendor_template(message: PushMessage, _: datetime) -> Iterator[Fault]:
    if message.vendor_template is not None and message.mi_channel_id is None:
        yield Fault(
            "miChannelId", "is asked for by Xiaomi when a private template (`vendorTemplate`) is used"
        )


def _midnight(now: datetime) -> int:
    """Return 00:00 in China of the day of a moment, in epoch milliseconds."""
    return epoch_milliseconds(now.astimezone(CHINA).replace(hour=0, minute=0, second=0, microsecond=0))


def _seconds(moment: int) -> str:
    return "; this looks like seconds, not milliseconds" if 0 < moment < _SURELY_MILLISECONDS else ""


def _listed(values: Mapping[str, str]) -> str:
    return ", ".join(f'"{value}" {meaning}' for value, meaning in values.items())


def _short(key: str) -> str:
    return key if len(key) <= 32 else key[:32] + "…"  # enough to recognise a key


# --- The table -----------------------------------------------------------------------------------------


def _documented(
    name: str, source: str, reads: tuple[str, ...], check: Check, demands: tuple[str, ...] = ()
) -> Constraint:
    return Constraint(
        name, Level.ERROR, certain=True, source=source, reads=reads, check=check, demands=demands
    )


def _unsure(
    name: str,
    source: str,
    reads: tuple[str, ...],
    check: Check,
    demands: tuple[str, ...] = (),
    *,
    level: Level = Level.WARNING,
) -> Constraint:
    return Constraint(name, level, certain=False, source=source, reads=reads, check=check, demands=demands)


_SMS = ("smsSignName", "smsTemplateCode", "smsTemplateParam")

CONSTRAINTS: tuple[Constraint, ...] = (
    _documented(
        "one-kind-of-target",
        "Simple push page: targetMsgkey is required; `targets` is this project's shorthand for it; "
        "pushsimple.md: Core parameters",
        ("targets", "targetMsgkey"),
        _one_kind_of_target,
    ),
    _documented(
        "targets-distinct",
        "Simple push page: targetMsgkey is a map, a target stands in it once; pushsimple.md: Core parameters",
        ("targets",),
        _distinct_targets,
    ),
    _documented(
        "message-ids-distinct",
        'Simple push page: the business message id "must be unique"; '
        "pushsimple.md: Core parameters, The same message id twice",
        ("targetMsgkey",),
        _distinct_message_ids,
    ),
    _documented(
        "extended-params-max",
        "Result code 3035; pushsimple.md: Extended parameters",
        ("extendedParams",),
        _extended_params_count,
    ),
    _documented(
        "extended-params-reserved",
        "Page Extension parameters; pushsimple.md: Extended parameters",
        ("extendedParams",),
        _extended_params_reserved,
    ),
    _documented(
        "strategy-content-fields",
        "Simple push page, StrategyContent; pushsimple.md: Strategy content",
        ("strategyType",),
        _strategy_content,
        ("strategyContent", *(f"strategyContent.{name}" for name, _ in _FIXED_FIELDS + _LOOP_FIELDS)),
    ),
    _documented(
        "loop-start-today-or-later",
        "Simple push page, StrategyContent.startTime; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.startTime"),
        _loop_start,
    ),
    _documented(
        "loop-end-within-180-days",
        "Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.endTime"),
        _loop_end,
    ),
    _documented(
        "loop-end-after-start",
        "Simple push page, StrategyContent.endTime; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.startTime", "strategyContent.endTime"),
        _loop_order,
    ),
    _documented(
        "sms-parameters-together",
        "Simple push page: required if smsStrategy is not 0; pushsimple.md: SMS",
        ("smsStrategy",),
        _sms_parameters,
        _SMS,
    ),
    _documented(
        "urgency-needs-payload",
        "Broadcast page: effective only together with transparentMessagePayload; pushsimple.md: Other rules",
        ("transparentMessageUrgency",),
        _urgency_payload,
        ("transparentMessagePayload",),
    ),
    _unsure(
        "expired-seconds-max",
        "OLD: comment in the official server demo 2014-2018; result code 3026 has no number; "
        "pushsimple.md: Core parameters",
        ("expiredSeconds",),
        _expired_seconds,
        level=Level.ERROR,
    ),
    _unsure(
        "circle-type-known",
        "UNSURE: from memory 1 daily, 2 weekly, 3 monthly; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.circleType"),
        _circle_type,
    ),
    _unsure(
        "circle-value-range",
        "UNSURE: from memory weekdays 1-7, days 1-31; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.circleType", "strategyContent.circleValue"),
        _circle_value,
    ),
    _unsure(
        "fixed-time-in-future",
        "UNSURE: inferred, no minimum lead is stated; pushsimple.md: Strategy content",
        ("strategyType", "strategyContent.fixedTime"),
        _fixed_time,
    ),
    _unsure(
        "strategy-content-unused",
        "UNSURE: inferred from strategyType 0 immediate; pushsimple.md: Strategies and SMS and Live Activity",
        ("strategyType",),
        _strategy_unused,
        ("strategyContent",),
    ),
    _unsure(
        "sms-strategy-known",
        "UNSURE: from memory 0 none, 1 supplement, 2 concurrent; "
        "pushsimple.md: Strategies and SMS and Live Activity",
        ("smsStrategy",),
        _sms_strategy,
    ),
    _unsure(
        "sms-parameters-unused",
        "UNSURE: inferred, ignored if smsStrategy is 0 or absent; pushsimple.md: SMS",
        ("smsStrategy",),
        _sms_unused,
        _SMS,
    ),
    _unsure(
        "image-keys-known",
        'UNSURE: message template API ends its list with "etc."; pushsimple.md: Image keys',
        ("imageUrls", "iconUrls"),
        _image_keys,
    ),
    _unsure(
        "image-addresses",
        "UNSURE: template console, pictures must be publicly reachable; pushsimple.md: Image keys",
        ("imageUrls", "iconUrls"),
        _image_addresses,
    ),
    _unsure(
        "category-published",
        "Pages Vendor message classification and HarmonyOS message classification; no rejection stated; "
        "pushsimple.md: Vendor categories",
        ("thirdChannelCategory",),
        _documented_categories,
    ),
    _unsure(
        "category-unpublished",
        "UNSURE: classes of vivo, oppo, honor, miui and fcm were not found; pushsimple.md: Vendor categories",
        ("thirdChannelCategory",),
        _other_categories,
    ),
    _unsure(
        "category-play-voice",
        "Page Vendor message classification: transparent messages only; no rejection stated; "
        "pushsimple.md: Vendor categories",
        ("thirdChannelCategory", "transparentMessagePayload"),
        _play_voice,
    ),
    _unsure(
        "notify-level-known",
        "UNSURE: OPPO's own numbers; hms by page Vendor message classification; pushsimple.md: Notify levels",
        ("notifyLevel",),
        _notify_levels,
    ),
    _unsure(
        "extended-params-text",
        "UNSURE: the page Extension parameters shows texts only; pushsimple.md: Extended parameters",
        ("extendedParams",),
        _extended_params_text,
    ),
    _unsure(
        "transparent-payload-vendors",
        "UNSURE: list of the Broadcast page; pushsimple.md: Appearance",
        ("transparentMessagePayload",),
        _transparent_vendors,
    ),
    _unsure(
        "urgency-vendors",
        "Broadcast page: only Huawei, Honor and HarmonyOS; no rejection stated; pushsimple.md: Appearance",
        ("transparentMessageUrgency", "transparentMessagePayload"),
        _urgency_vendors,
    ),
    _unsure(
        "live-activity-parameters",
        "UNSURE: no page says what is rejected; pushsimple.md: Live Activity",
        ("deliveryType",),
        _live_activity,
        ("activityEvent", "activityContentState", "dismissalDate"),
    ),
    _unsure(
        "dismissal-date-needs-end",
        "Simple push page: no effect with activityEvent update; no rejection stated; "
        "pushsimple.md: Live Activity",
        ("activityEvent",),
        _dismissal_without_end,
        ("dismissalDate",),
    ),
    _unsure(
        "dismissal-date-seconds",
        "UNSURE: inferred from the unit; "
        "pushsimple.md: Strategies and SMS and Live Activity, What users stumble over",
        ("dismissalDate",),
        _dismissal_unit,
    ),
    _unsure(
        "uri-form",
        "UNSURE: inferred from the examples of uri and pushAction; pushsimple.md: Other rules",
        ("pushAction", "uri"),
        _click_address,
    ),
    _unsure(
        "vendor-template-channel",
        "UNSURE: Xiaomi's own documents, not mPaaS; pushsimple.md: Other rules",
        ("vendorTemplate",),
        _vendor_template,
        ("miChannelId",),
    ),
)
"""Every rule, documented ones first."""

_UNSURE = "unsure"
_LEVELS = {level.value: level for level in Level}
_SWITCHABLE = {rule.name: rule for rule in CONSTRAINTS if not rule.certain}
