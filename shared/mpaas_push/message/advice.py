"""Warnings about a valid message that a channel behind mPaaS would truncate or refuse; never a rejection.

mPaaS hands a message to a vendor's channel (Xiaomi, Huawei, APNs, …), which has its own limits. Beyond them
the vendor refuses the push or truncates its text after mPaaS has accepted it. Which channel a device uses is
not known when a message is sent, so every channel that the message can reach is checked.
"""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.message.vendors import APNS_BANNER_CONTENT, CHANNELS, MAX_PAYLOAD_BYTES, STYLES, SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_push.message.fields import MessageFields
    from mpaas_push.message.vendors import Channel

__all__ = [
    "Advice",
    "channel_advice",
    "payload_bytes",
    "reachable_channels",
    "text_length",
]


class Advice(NamedTuple):
    """One warning about a message; it does not prevent sending.

    Attributes:
        rule: Stable name of the rule, such as ``channel-title-length``.
        field: Path of the field in the page's names; empty for the message as a whole.
        message: What is wrong, its effect, and what to do.
        channel: The channel that it concerns (a name of `vendors.CHANNELS`), or None for all.
        limit: The limit, if the rule is about a length.
        actual: The actual length, in the same unit.
    """

    rule: str
    field: str
    message: str
    channel: str | None = None
    limit: int | None = None
    actual: int | None = None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the warning as it appears in a response; fields that are None are omitted."""
        warning: dict[str, Any] = {"rule": self.rule, "field": self.field, "message": self.message}
        for name in ("channel", "limit", "actual"):
            value = getattr(self, name)
            if value is not None:
                warning[name] = value
        return warning


_PICTURE_STYLE = 2


def channel_advice(message: MessageFields) -> Iterator[Advice]:
    """Yield what the message's style or a channel that it can reach would truncate or refuse."""
    title, content = len(message.title), len(message.content)
    for channel in reachable_channels(message):
        short_title, short_content = _SHORT[channel.name]
        if title > short_title or content > short_content:
            yield from _text_advice(message, channel)
    yield from _style_advice(message)
    size = payload_bytes(message)
    if size > MAX_PAYLOAD_BYTES and SYSTEMS[message.delivery_type] != ("harmonyos",):
        yield Advice(
            rule="payload-size",
            field="",
            message=f"title, content, uri, extendedParams, imageUrls and iconUrls take {size} bytes of "
            f"UTF-8; a message may have at most {MAX_PAYLOAD_BYTES} on Android and iOS; shorten them",
            limit=MAX_PAYLOAD_BYTES,
            actual=size,
        )


def reachable_channels(message: MessageFields) -> tuple[Channel, ...]:
    """Return the channels by which a message can arrive, by its ``deliveryType`` and ``notifyType``.

    ``notifyType`` ``transparent`` keeps a message for Android on mPaaS's own channel. iOS and HarmonyOS
    devices have no such channel, so their vendor channels remain.
    """
    return _channels(message.delivery_type, own_only=message.notify_type == "transparent")


@cache
def _channels(delivery_type: int, *, own_only: bool) -> tuple[Channel, ...]:
    systems = SYSTEMS[delivery_type]
    return tuple(
        channel
        for channel in CHANNELS
        if channel.system in systems
        and not (own_only and channel.system == "android" and channel.name != "mps")
    )


def text_length(text: str, wide: int = 1) -> int:
    """Return the length of a text in characters; a Chinese (East Asian wide) one counts `wide`."""
    if wide == 1 or text.isascii():
        return len(text)
    from unicodedata import east_asian_width  # only advice needs the character database

    return sum(wide if east_asian_width(character) in "WF" else 1 for character in text)


def payload_bytes(message: MessageFields) -> int:
    """Return the size of a message's payload in UTF-8 bytes.

    It includes title, content, uri, and extendedParams, imageUrls and iconUrls as compact JSON. The vendor's
    envelope is not included; its size is not published.
    """
    size = len(message.title.encode()) + len(message.content.encode()) + len((message.uri or "").encode())
    for part in (message.extended_params, message.image_urls, message.icon_urls):
        if part:
            size += len(json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode())
    return size


def _short(channel: Channel) -> tuple[float, float]:
    """Return how many characters of title and content fit even if each of them counts `wide`."""
    content = APNS_BANNER_CONTENT if channel.name == "ios" else channel.content
    return _characters(channel.title, channel.wide), _characters(content, channel.wide)


def _characters(limit: int | None, wide: int) -> float:
    return math.inf if limit is None else limit // wide


_SHORT = {channel.name: _short(channel) for channel in CHANNELS}


def _text_advice(message: MessageFields, channel: Channel) -> Iterator[Advice]:
    consequence = "truncates the rest" if channel.truncates else "refuses the push"
    unit = "characters (a Chinese one counts as 2)" if channel.wide > 1 else "characters"
    for field, text, limit in (
        ("title", message.title, channel.title),
        ("content", message.content, channel.content),
    ):
        if limit is None or len(text) * channel.wide <= limit:
            continue
        length = text_length(text, channel.wide)
        if length > limit:
            yield Advice(
                rule=f"channel-{field}-length",
                field=field,
                message=f"{channel.label} allows {limit} {unit} and {consequence}; the {field} has {length}",
                channel=channel.name,
                limit=limit,
                actual=length,
            )
    if channel.name == "ios":
        yield from _banner_advice(message, channel)


def _banner_advice(message: MessageFields, channel: Channel) -> Iterator[Advice]:
    length = text_length(message.content, channel.wide)
    if channel.content is not None and APNS_BANNER_CONTENT < length <= channel.content:
        yield Advice(
            rule="channel-banner-length",
            field="content",
            message=f"an iOS banner shows {APNS_BANNER_CONTENT} characters (a Chinese one counts as 2); the "
            f"content has {length}",
            channel=channel.name,
            limit=APNS_BANNER_CONTENT,
            actual=length,
        )


def _style_advice(message: MessageFields) -> Iterator[Advice]:
    style = STYLES[message.push_style]
    length = len(message.content)
    lines = message.content.count("\n") + 1
    if style.characters is not None and length > style.characters:
        yield Advice(
            rule="style-content-length",
            field="content",
            message=f"the {style.name} shows {style.characters} characters; the content has {length}",
            limit=style.characters,
            actual=length,
        )
    if style.lines is not None and lines > style.lines:
        yield Advice(
            rule="style-content-lines",
            field="content",
            message=f"the {style.name} shows {style.lines} lines; the content has {lines}",
            limit=style.lines,
            actual=lines,
        )
    if message.push_style == _PICTURE_STYLE and not message.image_urls:
        yield Advice(
            rule="style-without-picture",
            field="imageUrls",
            message="pushStyle 2 (big picture) has no picture; give imageUrls, at least defaultUrl",
        )
    elif message.push_style != _PICTURE_STYLE and message.image_urls:
        yield Advice(
            rule="picture-without-style",
            field="pushStyle",
            message=f"imageUrls belong to pushStyle 2 (big picture); pushStyle is {message.push_style}",
        )
