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
    decode_base64,
    digest,
    moment_of,
    parse_shape,
    scope_of,
)

if TYPE_CHECKING:
    from mpaas_push.triggers.record import RecordOrError

__all__ = ["Notification", "StreamNotification", "records_of"]

_NOTIFICATION = {"Message", "MessageId", "TopicName"}
_STREAM = {"body", "attrs"}


class Notification(WireModel):
    """A message in JSON form; its attributes are further keys of the same object
    (fc-runtime.md: MNS topic trigger).
    """

    Message: str
    MessageId: Identifier
    TopicName: Identifier
    TopicOwner: Any = None
    PublishTime: Any = None


class StreamNotification(WireModel):
    """A message with attributes in STREAM form (fc-runtime.md: MNS topic trigger)."""

    body: str
    attrs: dict[str, Any]


def records_of(event: bytes) -> list[RecordOrError]:
    """Read the message that a topic delivers; a list of one, as the other readers return lists.

    In STREAM form there is no message id: a hash of the event replaces it, so equal messages of one topic
    cannot be distinguished. Without attributes the event is the message's body itself, which may be any text;
    if it is not UTF-8, the message is unreadable.

    Raises:
        UnreadablePayload: The event is empty.
    """
    if not event.strip():
        raise UnreadablePayload("not an MNS topic's message: expected text; got an empty event")
    try:
        text = event.decode()
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text: byte {error.start} of {len(event)} cannot be read"
        return [UnreadableElement(reason, event.decode(errors="replace"))]
    try:
        value = read_json(event)
    except UnreadableJson:
        value = None
    try:
        return [_record(value, text)]
    except UnreadableElement as error:
        return [error.with_traceback(None)]


def _record(value: Any, text: str) -> QueueRecord:
    scope, body, moment = scope_of("mns-stream", digest(text)), text, None
    if isinstance(value, dict):
        if value.keys() >= _NOTIFICATION:
            notification = parse_shape(value, Notification, "an MNS topic's message in JSON form")
            owner = notification.TopicOwner if isinstance(notification.TopicOwner, str) else None
            scope = scope_of("mns-topic", owner, notification.TopicName, notification.MessageId)
            body, moment = notification.Message, moment_of(notification.PublishTime)
        elif value.keys() == _STREAM:
            body = parse_shape(value, StreamNotification, "an MNS topic's message in STREAM form").body
    # Publishers may encode bodies in base64, as they do for queues.
    return QueueRecord(scope, decode_base64(body), body, moment)
