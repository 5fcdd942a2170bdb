"""From a payload's JSON to messages: one message, or `{"messages": [...]}`.

What a person or a program wrote enters, as text or already read; a list leaves that keeps every message at
its place, with an `InvalidMessage` where one is wrong.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, InvalidMessage
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message import PushMessage
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from mpaas_push.settings import Settings

__all__ = ["message_of", "messages_of", "payloads_of"]


def messages_of(payload: Any, settings: Settings) -> list[PushMessage | InvalidMessage]:
    """Read the messages of a payload; never raises, whatever it holds.

    Args:
        payload: JSON as Python holds it: one message, or an object whose only key is ``messages``.
        settings: Defaults of app, workspace and tenant, and levels of the open rules.

    Returns:
        At least one entry. Field paths of faults begin with ``messages.<place>`` when there is a list.
    """
    if not isinstance(payload, dict) or "messages" not in payload:
        return [message_of(payload, settings)]
    messages = payload["messages"]
    if len(payload) > 1:
        others = ", ".join(f"`{format_path((name,))}`" for name in payload if name != "messages")[:200]
        return [_invalid(Fault("", f"`messages` stands alone: move {others} into the messages"))]
    if not isinstance(messages, list) or not messages:
        return [_invalid(Fault("messages", "must be a list of one or more messages"))]
    return [message_of(message, settings, f"messages.{place}") for place, message in enumerate(messages)]


def payloads_of(payload: Any) -> list[Any]:
    """Return the JSON of each entry that `messages_of` makes of a payload, at the same places."""
    messages = payload.get("messages") if isinstance(payload, dict) and len(payload) == 1 else None
    return messages if isinstance(messages, list) and messages else [payload]


def message_of(payload: Any, settings: Settings, path: str = "") -> PushMessage | InvalidMessage:
    """Read one message; return what is wrong with it instead of raising.

    Args:
        payload: JSON as Python holds it.
        settings: As in `messages_of`.
        path: Where the message stands; put before the field paths of its faults.
    """
    try:
        return PushMessage.parse(payload, defaults=settings.defaults, levels=settings.constraint_levels)
    except InvalidMessage as error:
        faults = error.faults
        if path:
            faults = tuple(
                Fault(f"{path}.{fault.field}".rstrip("."), fault.message, fault.value) for fault in faults
            )
        return InvalidMessage(faults, _targets(payload))


def _invalid(fault: Fault) -> InvalidMessage:
    return InvalidMessage([fault])


def _targets(payload: Any) -> list[str]:
    """Return the targets of a message that is wrong, as far as they can be read."""
    if not isinstance(payload, dict):
        return []
    named = payload.get("targetMsgkey") or payload.get("targets")
    if isinstance(payload.get("targetMsgkey"), str):
        with suppress(UnreadableJson):
            named = read_json(payload["targetMsgkey"])
    return [target for target in named if isinstance(target, str)] if isinstance(named, (dict, list)) else []
