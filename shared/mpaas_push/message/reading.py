"""Reads the messages of a payload's JSON: one message, or `{"messages": [...]}`.

Every message keeps its index in the result; an `InvalidMessage` replaces an invalid one.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, InvalidMessage
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.message import PushMessage
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpaas_push.settings import Settings

__all__ = ["MAX_PAYLOAD_FAULTS", "message_of", "messages_of", "payloads_of", "warnings_of"]


def messages_of(payload: Any, settings: Settings) -> list[PushMessage | InvalidMessage]:
    """Read the messages of a payload; never raises.

    Args:
        payload: JSON as `read_json` returns it: one message, or an object whose only key is ``messages``. Its
            nested data becomes part of the messages, without a copy.
        settings: Defaults of app, workspace and tenant, and levels of the unconfirmed rules.

    Returns:
        At least one entry. Field paths of faults begin with ``messages.<index>`` if there is a list. After
        `MAX_PAYLOAD_FAULTS` faults, the faults of further invalid messages are not described.
    """
    if not isinstance(payload, dict) or "messages" not in payload:
        return [message_of(payload, settings)]
    messages = payload["messages"]
    if len(payload) > 1:
        others = ", ".join(f"`{format_path((name,))}`" for name in islice(payload, 20) if name != "messages")
        return [_invalid(Fault("", f"`messages` must be the only key: move {others[:200]} into it"))]
    if not isinstance(messages, list) or not messages:
        return [_invalid(Fault("messages", "must be a list of one or more messages"))]
    return list(_read_list(messages, settings))


def payloads_of(payload: Any) -> list[Any]:
    """Return the JSON of each entry that `messages_of` returns for a payload, at the same index."""
    messages = payload.get("messages") if isinstance(payload, dict) and len(payload) == 1 else None
    return messages if isinstance(messages, list) and messages else [payload]


def message_of(payload: Any, settings: Settings, path: str = "") -> PushMessage | InvalidMessage:
    """Read one message; return an `InvalidMessage` instead of raising it.

    Args:
        payload: JSON as in `messages_of`.
        settings: As in `messages_of`.
        path: The message's path in its payload; prefixes the field paths of its faults.
    """
    try:
        return PushMessage.parse(
            payload, defaults=settings.defaults, levels=settings.constraint_levels, copies=False
        )
    except InvalidMessage as error:
        faults = error.faults
        if path:
            faults = tuple(fault.below(path) for fault in faults)
        return InvalidMessage(faults, _targets(payload))


def warnings_of(
    messages: Iterable[PushMessage | InvalidMessage | None], settings: Settings
) -> list[dict[str, Any]]:
    """Return the first `MAX_WARNINGS` warnings of messages as JSON, each with the index of its message.

    Args:
        messages: As from `messages_of`. Invalid messages have no warnings; None is a placeholder that keeps
            the indexes of the others.
        settings: Levels of the unconfirmed rules; a rule that is off does not warn.
    """
    levels = settings.constraint_levels
    warnings = (
        {"index": index, **advice.as_json()}
        for index, message in enumerate(messages)
        if isinstance(message, PushMessage)
        for advice in message.advice(levels=levels)
    )
    return list(islice(warnings, MAX_WARNINGS))


MAX_WARNINGS = 100
"""Maximum number of listed warnings of one payload."""
MAX_PAYLOAD_FAULTS = 200
"""Maximum number of described faults of one payload: each takes a hundred times the memory of its text."""


def _read_list(messages: list[Any], settings: Settings) -> Iterator[PushMessage | InvalidMessage]:
    described = 0
    for index, payload in enumerate(messages):
        message = message_of(payload, settings, f"messages.{index}")
        if isinstance(message, InvalidMessage):
            described += len(message.faults)
            if described > MAX_PAYLOAD_FAULTS:
                message = InvalidMessage(_TOO_MANY.faults, message.targets) if message.targets else _TOO_MANY
        yield message


def _invalid(fault: Fault) -> InvalidMessage:
    return InvalidMessage([fault])


_TOO_MANY = _invalid(Fault("", "this message is invalid as well; correct the ones before it first"))


def _targets(payload: Any) -> list[str]:
    """Return the targets of an invalid message, as far as they can be read."""
    if not isinstance(payload, dict):
        return []
    targets = payload.get("targetMsgkey") or payload.get("targets")
    if isinstance(payload.get("targetMsgkey"), str):
        with suppress(UnreadableJson):
            targets = read_json(payload["targetMsgkey"])
    return (
        [target for target in targets if isinstance(target, str)] if isinstance(targets, (dict, list)) else []
    )
