"""What the channels behind mPaaS take and what the styles show: limits of text, with their sources."""

from typing import NamedTuple

__all__ = ["APNS_BANNER_CONTENT", "CHANNELS", "MAX_PAYLOAD_BYTES", "STYLES", "SYSTEMS", "Channel", "Style"]


class Channel(NamedTuple):
    """Text limits of one channel.

    Attributes:
        name: The vendor name as the API family writes it (``miui``, ``hms``, …); ``mps`` is mPaaS's own.
        label: The name to show to people.
        system: Kind of device: ``android``, ``ios`` or ``harmonyos``.
        title: Longest title, in the unit below; None if there is no limit.
        content: Longest content, in the same unit.
        wide: What a Chinese character counts: 2 where the page gives a Chinese and a Latin number (the
            limits here are the Latin ones), else 1.
        cuts: The channel cuts longer texts; otherwise it refuses the push.
        source: Where the numbers come from.
    """

    name: str
    label: str
    system: str
    title: int | None
    content: int | None
    wide: int
    cuts: bool
    source: str


_LIMITS = "Page Content limits of vendor channels (311229); pushsimple.md: Text lengths"

CHANNELS: tuple[Channel, ...] = (
    Channel("mps", "MPS own channel", "android", None, None, 1, cuts=False, source=f"{_LIMITS}: none"),
    Channel("miui", "Xiaomi", "android", 50, 128, 1, cuts=False, source=_LIMITS),
    Channel("hms", "Huawei", "android", 40, 1024, 1, cuts=False, source=_LIMITS),
    Channel("oppo", "OPPO", "android", 32, 200, 1, cuts=False, source=_LIMITS),
    Channel("vivo", "vivo", "android", 40, 100, 2, cuts=False, source=f"{_LIMITS}: 20 and 50 Chinese"),
    Channel("honor", "Honor", "android", 60, 4096, 2, cuts=False, source=f"{_LIMITS}: 30 and 2048 Chinese"),
    Channel(
        "fcm",
        "FCM",
        "android",
        None,
        None,
        1,
        cuts=False,
        source="No limit published; pushsimple.md: Text lengths",
    ),
    Channel(
        "harmonyos",
        "HarmonyOS",
        "harmonyos",
        60,
        4096,
        2,
        cuts=False,
        source=f"{_LIMITS}: 30 and 2048 Chinese",
    ),
    Channel(
        "ios", "APNs", "ios", 40, 110, 2, cuts=True, source=f"{_LIMITS}: 20 and 55 Chinese; banner 31 (62)"
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
        name: The name to show to people.
        characters: Longest content it shows, or None.
        lines: Most lines of content it shows, or None.
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
have devices of every kind."""
