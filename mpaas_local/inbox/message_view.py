"""The view of a message: how each channel displays it.

Text limits are those of `mpaas_push.message.vendors`. A text that a channel would refuse is truncated at the
limit and marked as refused (pushsimple.md: Text lengths). Times of scheduled pushes are in China time
(pushsimple.md: Strategy content).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from mpaas_push import PushMessage
from mpaas_push.errors import InvalidMessage
from mpaas_push.json_text import read_json
from mpaas_push.message.advice import channel_advice, reachable_channels, text_length
from mpaas_push.message.constraints.clock import CHINA
from mpaas_push.message.vendors import APNS_BANNER_CONTENT, STYLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mpaas_push.message import StrategyContent
    from mpaas_push.message.vendors import Channel

__all__ = ["message_of_parameters", "occurrences", "view_of", "warnings_of"]

MAX_OCCURRENCES = 60
_DELIVERY = {
    1: "Android device",
    2: "iOS device",
    3: "user",
    5: "Live Activity push token",
    6: "Live Activity",
    7: "HarmonyOS device",
}
_OBJECTS = {
    *("targetMsgkey", "extendedParams", "imageUrls", "iconUrls", "strategyContent", "smsTemplateParam"),
    *("thirdChannelCategory", "notifyLevel", "activityContentState", "transparentMessagePayload"),
}
_NUMBERS = {
    *("deliveryType", "expiredSeconds", "pushStyle", "pushAction", "silent", "strategyType", "smsStrategy"),
    "dismissalDate",
}


def message_of_parameters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the message in a request's parameters, with targets but without message ids."""
    message: dict[str, Any] = {}
    for name, text in parameters.items():
        key = name[:1].lower() + name[1:]
        message[key] = text
        try:
            if key in _OBJECTS:
                message[key] = read_json(text)
            elif key in _NUMBERS:
                message[key] = int(text)
        except Exception:  # noqa: S110 - not a value of the parameter's type: keep the text
            pass
    if isinstance(message.get("targetMsgkey"), dict):
        message["targets"] = list(message.pop("targetMsgkey"))
    return message


def view_of(data: Any, *, at: datetime | None = None) -> dict[str, Any]:
    """Return the view of a message.

    Args:
        data: The message as JSON, not validated.
        at: The time of sending, for rules about time and for occurrences; None for now.
    """
    moment = at or datetime.now(CHINA)
    try:
        message = PushMessage.parse(data, clock=lambda: moment)
    except InvalidMessage as error:
        return {"valid": False, "faults": [fault.as_json() for fault in error.faults]}
    style = STYLES[message.push_style]
    return {
        "valid": True,
        "faults": [],
        "delivery": _DELIVERY[message.delivery_type],
        "style": style.name,
        "silent": message.silent == 1,
        "ownChannelOnly": message.notify_type == "transparent",
        "channels": [_in_channel(message, channel) for channel in reachable_channels(message)],
        "advice": [advice.as_json() for advice in channel_advice(message)],
        "activity": _activity(message),
        "sms": _sms(message),
        "occurrences": [occurrence.isoformat() for occurrence in occurrences(message, moment)],
    }


def warnings_of(data: Any, *, at: datetime) -> int:
    """Count the texts that channels would truncate or refuse; 0 for an invalid message."""
    try:
        return sum(1 for _ in channel_advice(PushMessage.parse(data, clock=lambda: at)))
    except InvalidMessage:
        return 0


def _in_channel(message: PushMessage, channel: Channel) -> dict[str, Any]:
    title, content = (
        _split_at_limit(message.title, channel.title, channel),
        _split_at_limit(message.content, channel.content, channel),
    )
    is_too_long = bool(title[1] or content[1])
    pictures, icons = message.image_urls or {}, message.icon_urls or {}
    key = f"{channel.name}Url"
    return {
        "name": channel.name,
        "label": channel.label,
        "title": {"shown": title[0], "cut": title[1]},
        "content": {"shown": content[0], "cut": content[1]},
        "refused": is_too_long and not channel.truncates,
        "banner": _split_at_limit(message.content, APNS_BANNER_CONTENT, channel)[0]
        if channel.name == "ios"
        else None,
        "picture": pictures.get(key, pictures.get("defaultUrl")) if message.push_style == _PICTURE else None,
        "icon": icons.get(key, icons.get("defaultUrl")),
        "transparent": (message.transparent_message_payload or {}).get(channel.name),
    }


_PICTURE = 2


def _split_at_limit(text: str, limit: int | None, channel: Channel) -> tuple[str, str]:
    """Return the part of a text that a channel shows, and the rest."""
    if limit is None or text_length(text, channel.wide) <= limit:
        return text, ""
    remaining = limit
    for index, character in enumerate(text):
        remaining -= text_length(character, channel.wide)
        if remaining < 0:
            return text[:index], text[index:]
    return text, ""


def _activity(message: PushMessage) -> dict[str, Any] | None:
    if message.activity_event is None:
        return None
    dismissal = message.dismissal_date
    return {
        "event": message.activity_event,
        "state": message.activity_content_state or {},
        "dismissedAt": datetime.fromtimestamp(dismissal, CHINA).isoformat() if dismissal else None,
    }


def _sms(message: PushMessage) -> dict[str, Any] | None:
    if not message.sms_strategy:
        return None
    return {
        "strategy": message.sms_strategy,
        "signName": message.sms_sign_name,
        "template": message.sms_template_code,
        "parameters": message.sms_template_param or {},
    }


def occurrences(message: PushMessage, now: datetime) -> list[datetime]:
    """Return the next times of a scheduled push, in China time, at most 60.

    The values of `circleType` are not confirmed: 1 daily, 2 weekly (1 Monday … 7 Sunday), 3 monthly.
    """
    content = message.strategy_content
    if not message.strategy_type or content is None:
        return []
    future = (moment for moment in _moments(content, message.strategy_type, now) if moment >= now)
    return list(islice(future, MAX_OCCURRENCES))


def _moments(content: StrategyContent, strategy_type: int, now: datetime) -> Iterator[datetime]:
    if strategy_type == 1:
        if content.fixed_time is not None:
            yield datetime.fromtimestamp(content.fixed_time / 1000, CHINA)
        return
    if content.start_time is None or content.end_time is None or content.time is None:
        return
    day = max(datetime.fromtimestamp(content.start_time / 1000, CHINA), now.astimezone(CHINA)).date()
    last = datetime.fromtimestamp(content.end_time / 1000, CHINA).date()
    hour, minute, second = map(int, content.time.split(":"))
    values = set(content.circle_value or ())
    while day <= last:
        if (
            content.circle_type not in {2, 3}
            or (content.circle_type == _WEEKLY and day.isoweekday() in values)
            or (content.circle_type == _MONTHLY and day.day in values)
        ):
            yield datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=CHINA)
        day += timedelta(days=1)


_WEEKLY, _MONTHLY = 2, 3
