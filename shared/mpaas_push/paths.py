"""Paths of fields in messages and payloads, as text without target ids.

A key of untrusted data may be a misplaced target id, so errors and logs print only keys that the interfaces
define; every other key is masked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import mask_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["KNOWN_KEYS", "format_path", "is_plain_name", "text_of_key"]

_MESSAGE = """
    taskName title content appId workspaceId tenantId deliveryType targetMsgkey targets expiredSeconds
    pushStyle pushAction uri silent notifyType classification extendedParams imageUrls iconUrls strategyType
    strategyContent StrategyContent smsStrategy smsSignName smsTemplateCode smsTemplateParam
    thirdChannelCategory notifyLevel miChannelId channelId activityEvent activityContentState dismissalDate
    transparentMessagePayload transparentMessageUrgency vendorTemplate
    fixedTime startTime endTime circleType circleValue time
    defaultUrl androidUrl iosUrl miuiUrl hmsUrl fcmUrl oppoUrl vivoUrl honorUrl harmonyosUrl
    android ios miui hms fcm oppo vivo honor harmonyos
    action pushType templateCode channel taskId
"""
_PAYLOADS = """
    messages message payload body headers rules
    id source type specversion datacontenttype dataschema subject data
    triggerTime triggerName events Records
"""
_CAMPAIGNS = """
    campaign audience texts pace window endsAt report
    bucket key target format delimiter by from to zone
"""
KNOWN_KEYS = frozenset(f"{_MESSAGE} {_PAYLOADS} {_CAMPAIGNS}".split())
"""Keys that a path prints unmasked: of messages, their maps, the payloads around them, and campaigns."""

_LONGEST_SEGMENT = 64
_PLAIN_NAME = r"[^\W\d]{1,24}"


def format_path(path: Iterable[Any], *, declared: bool = False) -> str:
    """Return a path as text: ``("targetMsgkey", "user-4711")`` becomes ``targetMsgkey.us…(9)``.

    Args:
        path: Keys and indexes, outermost first.
        declared: The keys are names from code or an operator's file, not data: all are printed, long ones
            truncated. Otherwise keys outside `KNOWN_KEYS` are masked. A key directly below ``targetMsgkey``
            is a target id and always masked.
    """
    segments = []
    parent = ""
    for step in path:
        segment = text_of_key(step)
        if parent.lower() == "targetmsgkey" or not (declared or type(step) is int or step in KNOWN_KEYS):
            shown = mask_id(segment)
        elif len(segment) > _LONGEST_SEGMENT:
            shown = segment[:_LONGEST_SEGMENT] + "…"
        else:
            shown = segment
        # An unpaired surrogate could be neither printed nor logged.
        segments.append(shown.encode(errors="replace").decode())
        parent = segment
    return ".".join(segments)


def text_of_key(key: Any) -> str:
    """Return a key as text: Python code may pass other keys, even integers that Python refuses to write."""
    try:
        return str(key)
    except ValueError:
        return "<number>"


def is_plain_name(name: Any) -> bool:
    """Return whether a key is a name that is unlikely to be a target id: at most 24 letters and underscores.

    Ids have digits, dashes or an @, or are longer.
    """
    return isinstance(name, str) and re.fullmatch(_PLAIN_NAME, name) is not None
