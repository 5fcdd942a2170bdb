"""Text limits of the channels behind mPaaS and of the notification styles, with their sources."""

from typing import NamedTuple

__all__ = ["APNS_BANNER_CONTENT", "CHANNELS", "MAX_PAYLOAD_BYTES", "STYLES", "SYSTEMS", "Channel", "Style"]


class Channel(NamedTuple):
    """Text limits of one channel.

    Attributes:
        name: The vendor name as the API family writes it (``miui``, ``hms``, …); ``mps`` is mPaaS's own.
        label: Display name.
        system: Kind of device: ``android``, ``ios`` or ``harmonyos``.
        source: Where the numbers come from.
        title: Longest title, in characters as `wide` counts them; None if there is no limit.
        content: Longest content, likewise.
        wide: How much a Chinese character counts: 2 where the page gives a Chinese and a Latin number (the
            limits here are the Latin ones), else 1.
        truncates: The channel truncates longer texts; otherwise it refuses the push.
    """

    name: str
    label: str
    system: str
    source: str
    title: int | None = None
    content: int | None = None
    wide: int = 1
    truncates: bool = False


_LIMITS = "Page Content limits of vendor channels (311229); pushsimple.md: Text lengths"

CHANNELS: tuple[Channel, ...] = (
    Channel(name="mps", label="MPS own channel", system="android", source=f"{_LIMITS}: none"),
    Channel(name="miui", label="Xiaomi", system="android", title=50, content=128, source=_LIMITS),
    Channel(name="hms", label="Huawei", system="android", title=40, content=1024, source=_LIMITS),
    Channel(name="oppo", label="OPPO", system="android", title=32, content=200, source=_LIMITS),
    Channel(
        name="vivo",
        label="vivo",
        system="android",
        title=40,
        content=100,
        wide=2,
        source=f"{_LIMITS}: 20 and 50 Chinese",
    ),
    Channel(
        name="honor",
        label="Honor",
        system="android",
        title=60,
        content=4096,
        wide=2,
        source=f"{_LIMITS}: 30 and 2048 Chinese",
    ),
    Channel(
        name="fcm", label="FCM", system="android", source="No limit published; pushsimple.md: Text lengths"
    ),
    Channel(
        name="harmonyos",
        label="HarmonyOS",
        system="harmonyos",
        title=60,
        content=4096,
        wide=2,
        source=f"{_LIMITS}: 30 and 2048 Chinese",
    ),
    Channel(
        name="ios",
        label="APNs",
        system="ios",
        title=40,
        content=110,
        wide=2,
        truncates=True,
        source=f"{_LIMITS}: 20 and 55 Chinese; banner 31 (62)",
    ),
)
"""Every channel with its limits."""

APNS_BANNER_CONTENT = 62
"""Latin characters of content that an iOS banner shows (31 Chinese): page Content limits; pushsimple.md: Text
lengths."""

MAX_PAYLOAD_BYTES = 2048
"""The whole message on Android and iOS: page Content limits; pushsimple.md: Text lengths."""


class Style(NamedTuple):
    """What a ``pushStyle`` shows.

    Attributes:
        name: Display name.
        characters: Maximum number of characters of content that it shows, or None.
        lines: Maximum number of lines of content that it shows, or None.
        source: Where the numbers come from.
    """

    name: str
    characters: int | None
    lines: int | None
    source: str


_TEMPLATE_CONSOLE = "Page Template console (134424); pushsimple.md: Text lengths"

STYLES: dict[int, Style] = {
    0: Style("default style", 100, None, _TEMPLATE_CONSOLE),
    1: Style("big text style", 256, None, _TEMPLATE_CONSOLE),
    2: Style("picture style", None, 2, _TEMPLATE_CONSOLE),
}
"""What each value of ``pushStyle`` shows."""

SYSTEMS: dict[int, tuple[str, ...]] = {
    1: ("android",),
    2: ("ios",),
    3: ("android", "ios", "harmonyos"),
    5: ("ios",),
    6: ("ios",),
    7: ("harmonyos",),
}
"""Kinds of devices that a ``deliveryType`` addresses (pushsimple.md: Core parameters). 3 is a user, who may
have every kind of device."""
