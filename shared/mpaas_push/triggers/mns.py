"""The MNS topic trigger: one message in STREAM or JSON form, with or without attributes
(fc-runtime.md: MNS topic trigger).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.errors import UnreadablePayload
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.triggers.record import (
    Identifier,
    QueueRecord,
    UnreadableElement,
    WireModel,
    digest,
    shaped,
    undone_base64,
)

if TYPE_CHECKING:
    from mpaas_push.triggers.record import RecordOrError

__all__ = ["Notification", "StreamNotification", "items_of"]

_NOTIFICATION = {"Message", "MessageId", "TopicName"}
_STREAM = {"body", "attrs"}


class Notification(WireModel):
    """A message in JSON form; attributes of the message stand beside these keys
    (fc-runtime.md: MNS topic trigger).
    """

    Message: str
    MessageId: Identifier
    TopicName: Identifier


class StreamNotification(WireModel):
    """A message with attributes in STREAM form (fc-runtime.md: MNS topic trigger)."""

    body: str
    attrs: dict[str, Any]


def items_of(event: bytes) -> list[RecordOrError]:
    """Read the message that a topic delivers; a list of one, as the other readers return lists.

    In STREAM form there is no message id: a hash of the event stands for it, so equal messages of one topic
    cannot be told apart. Without attributes the event is the message's body itself, whatever that may be.

    Raises:
        UnreadablePayload: The event is empty or not UTF-8, so that no form fits.
    """
    try:
        text = event.decode()
    except UnicodeDecodeError as error:
        raise UnreadablePayload(
            f"not an MNS topic's message: expected UTF-8 text, byte {error.start} of {len(event)} is none"
        ) from None
    if not text.strip():
        raise UnreadablePayload("not an MNS topic's message: expected text, came an empty event")
    try:
        value = read_json(event)
    except UnreadableJson:
        value = None
    try:
        return [_item(value, text, digest(event))]
    except UnreadableElement as error:
        return [error]


def _item(value: Any, text: str, scope: str) -> QueueRecord:
    body = text
    if isinstance(value, dict):
        if value.keys() >= _NOTIFICATION:
            notification = shaped(value, Notification, "an MNS topic's message in JSON form")
            scope, body = f"mns:{notification.MessageId}", notification.Message
        elif value.keys() == _STREAM:
            body = shaped(value, StreamNotification, "an MNS topic's message in STREAM form").body
    # Publishers may encode bodies as they do for queues.
    return QueueRecord(scope, undone_base64(body), body)
