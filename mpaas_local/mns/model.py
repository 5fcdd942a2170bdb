"""Queues, messages, topics and subscriptions, as frozen data that validates itself.

Times are in milliseconds since 1970 in messages, and in seconds everywhere else, as on the wire.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from mpaas_local.mns.errors import MnsError, out_of_range

__all__ = [
    "BATCH_BYTES",
    "BATCH_LIMIT",
    "DEFAULT_PRIORITY",
    "MAX_DELAY_SECONDS",
    "MAX_VISIBILITY_SECONDS",
    "MAX_WAIT_SECONDS",
    "ContentFormat",
    "Message",
    "OutgoingMessage",
    "Property",
    "Publication",
    "Queue",
    "QueueAttributes",
    "State",
    "Strategy",
    "Subscription",
    "SubscriptionAttributes",
    "Topic",
    "TopicAttributes",
    "check_name",
    "decode_body",
]

State = Literal["active", "inactive", "delayed"]
"""`active`: can be received; `inactive`: received and hidden; `delayed`: not visible yet."""
Strategy = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]
"""`NotifyStrategy`: how to retry when a subscription's endpoint fails."""
ContentFormat = Literal["XML", "JSON", "SIMPLIFIED", "STREAM"]
"""`NotifyContentFormat`. Function Compute calls the bare message STREAM."""

BATCH_LIMIT = 16
"""Maximum number of messages or handles in one request."""
BATCH_BYTES = 65536
"""Maximum total size of the message bodies in one request."""
MAX_DELAY_SECONDS = 604_800
"""Longest delay of a message: 7 days."""
MAX_VISIBILITY_SECONDS = 43_200
"""Longest time for which a received message is hidden: 12 hours."""
MAX_WAIT_SECONDS = 30
"""Longest wait of a long poll."""
DEFAULT_PRIORITY = 8
"""From 1, the highest, to 16."""

_LOWEST_PRIORITY = 16
_TAG_LIMIT = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_NAME_LIMITS = {"Queue": 120, "Topic": 255, "Subscription": 255}
# Everything outside https://www.w3.org/TR/xml/#charsets: an XML response cannot contain it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class QueueAttributes:
    """The attributes of a queue.

    Attributes:
        delay_seconds: Delay before a message can be received, 0 to 604800; a message may override it.
        maximum_message_size: Maximum size of a body in bytes, 1024 to 65536.
        message_retention_period: Seconds after which a message is dropped, received or not, 60 to 604800.
        visibility_timeout: Seconds for which a received message is hidden, 1 to 43200.
        polling_wait_seconds: Long-poll seconds of a receive that does not set its own, 0 to 30.
        logging_enabled: Stored, without effect.

    Raises:
        MnsError: `InvalidArgument` for a value out of range.
    """

    delay_seconds: int = 0
    maximum_message_size: int = 65_536
    message_retention_period: int = 345_600
    visibility_timeout: int = 30
    polling_wait_seconds: int = 0
    logging_enabled: bool = False

    def __post_init__(self) -> None:
        _check_range(self.delay_seconds, "DelaySeconds", 0, MAX_DELAY_SECONDS)
        _check_range(self.maximum_message_size, "MaximumMessageSize", 1024, 65_536)
        _check_range(self.message_retention_period, "MessageRetentionPeriod", 60, 604_800)
        _check_range(self.visibility_timeout, "VisibilityTimeout", 1, MAX_VISIBILITY_SECONDS)
        _check_range(self.polling_wait_seconds, "PollingWaitSeconds", 0, MAX_WAIT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The current state of a queue; times in seconds since 1970."""

    name: str
    attributes: QueueAttributes
    create_time: int
    last_modify_time: int
    active_messages: int
    inactive_messages: int
    delay_messages: int


@dataclass(frozen=True)
class Property:
    """A user or system property of a message; a BINARY value is base64."""

    name: str
    value: str
    type: str = "STRING"


@dataclass(frozen=True, kw_only=True)
class OutgoingMessage:
    """A message to send.

    Attributes:
        body: Not empty, XML characters only; at most the queue's `maximum_message_size`.
        delay_seconds: 0 to 604800; None for the queue's delay.
        priority: From 1, the highest, to 16.
        group_id: Stored and returned; order within a group is not guaranteed.
        user_properties: Stored and returned.
        system_properties: Stored and returned.

    Raises:
        MnsError: `InvalidArgument` or `MalformedXML`.
    """

    body: str
    delay_seconds: int | None = None
    priority: int = DEFAULT_PRIORITY
    group_id: str = ""
    user_properties: tuple[Property, ...] = ()
    system_properties: tuple[Property, ...] = ()

    def __post_init__(self) -> None:
        _check_body(self.body)
        if self.delay_seconds is not None:
            _check_range(self.delay_seconds, "DelaySeconds", 0, MAX_DELAY_SECONDS)
        _check_range(self.priority, "Priority", 1, _LOWEST_PRIORITY)
        _check_metadata(self.group_id, self.user_properties, self.system_properties)

    @property
    def size(self) -> int:
        """Length of the body in bytes."""
        return len(self.body.encode())


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of a queue; times in milliseconds since 1970.

    Attributes:
        id: `MessageId`.
        queue: Name of its queue.
        body: As sent.
        priority: From 1, the highest, to 16.
        state: Its state when it was read from the store.
        enqueue_time: When it was sent.
        first_dequeue_time: 0 if it was never received.
        next_visible_time: When it becomes, or became, visible.
        dequeue_count: How often it was received.
        receipt_handle: Deletes the message or hides it again, until `next_visible_time`. Set only when the
            message was just received, hidden again, or sent with a delay; otherwise empty.
        group_id: As sent.
        user_properties: As sent.
        system_properties: As sent.
    """

    id: str
    queue: str
    body: str
    priority: int
    state: State
    enqueue_time: int
    first_dequeue_time: int
    next_visible_time: int
    dequeue_count: int
    receipt_handle: str = field(default="", repr=False)
    group_id: str = ""
    user_properties: tuple[Property, ...] = ()
    system_properties: tuple[Property, ...] = ()

    @property
    def body_md5(self) -> str:
        """MD5 of the body in UTF-8, in upper-case hexadecimal."""
        return _md5(self.body)


@dataclass(frozen=True)
class TopicAttributes:
    """The attributes of a topic.

    Attributes:
        maximum_message_size: Maximum size of a body in bytes, 1024 to 65536.
        logging_enabled: Stored, without effect.

    Raises:
        MnsError: `InvalidArgument` for a value out of range.
    """

    maximum_message_size: int = 65_536
    logging_enabled: bool = False

    def __post_init__(self) -> None:
        _check_range(self.maximum_message_size, "MaximumMessageSize", 1024, 65_536)


@dataclass(frozen=True)
class Topic:
    """A topic; times in seconds since 1970."""

    name: str
    attributes: TopicAttributes
    create_time: int
    last_modify_time: int


@dataclass(frozen=True)
class SubscriptionAttributes:
    """The attributes of a subscription.

    Attributes:
        endpoint: `acs:mns:<region>:<account>:queues/<queue>`, another `acs:` name, `http://…`, `https://…`,
            `mail:…` or `sms:…`.
        notify_strategy: For the listeners of `Topics.on_publish`.
        notify_content_format: For queue endpoints and the listeners of `Topics.on_publish`.
        filter_tag: Only messages with this tag; empty for all. At most 16 characters.

    Raises:
        MnsError: `InvalidArgument`.
    """

    endpoint: str
    notify_strategy: Strategy = "BACKOFF_RETRY"
    notify_content_format: ContentFormat = "XML"
    filter_tag: str = ""

    def __post_init__(self) -> None:
        if not self.endpoint.startswith(("acs:", "http://", "https://", "mail:", "sms:")):
            raise MnsError(
                "InvalidArgument", "Endpoint must start with acs:, http://, https://, mail: or sms:."
            )
        if self.notify_strategy not in get_args(Strategy):
            raise MnsError(
                "InvalidArgument", f"NotifyStrategy must be one of {', '.join(get_args(Strategy))}."
            )
        if self.notify_content_format not in get_args(ContentFormat):
            allowed = ", ".join(get_args(ContentFormat))
            raise MnsError("InvalidArgument", f"NotifyContentFormat must be one of {allowed}.")
        _check_tag("FilterTag", self.filter_tag)
        for attribute in fields(self):
            _check_characters(getattr(self, attribute.name))


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription of a topic; times in seconds since 1970."""

    topic: str
    name: str
    attributes: SubscriptionAttributes
    create_time: int
    last_modify_time: int


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A message of a topic.

    Attributes:
        body: Not empty, XML characters only.
        tag: Compared with `filter_tag`; at most 16 characters.
        attributes: `MessageAttributes`, such as `DirectMail`, by name.
        group_id: Stored, without effect.
        user_properties: Stored, without effect.
        system_properties: Stored, without effect.
        id: `MessageId`, set by publishing.
        publish_time: In milliseconds since 1970, set by publishing.

    Raises:
        MnsError: `InvalidArgument` or `MalformedXML`.
    """

    body: str
    tag: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    group_id: str = ""
    user_properties: tuple[Property, ...] = ()
    system_properties: tuple[Property, ...] = ()
    id: str = ""
    publish_time: int = 0

    def __post_init__(self) -> None:
        _check_body(self.body)
        _check_tag("MessageTag", self.tag)
        _check_characters(self.tag)
        _check_metadata(self.group_id, self.user_properties, self.system_properties)

    @property
    def body_md5(self) -> str:
        """MD5 of the body in UTF-8, in upper-case hexadecimal."""
        return _md5(self.body)


def check_name(kind: Literal["Queue", "Topic", "Subscription"], name: str) -> None:
    """Check a name: letters, digits and hyphens, no leading hyphen; at most 120 characters for a queue, 255
    for a topic or subscription.

    Raises:
        MnsError: `<kind>NameLengthError` or `Invalid<kind>Name`, such as `InvalidQueueName`.
    """
    if not 1 <= len(name) <= _NAME_LIMITS[kind]:
        raise MnsError(f"{kind}NameLengthError")
    if not _NAME.fullmatch(name):
        raise MnsError(f"Invalid{kind}Name")


def _check_range(value: int, element: str, low: int, high: int) -> None:
    if not low <= value <= high:
        raise out_of_range(element, low, high)


def _check_body(body: str) -> None:
    if not body:
        raise MnsError("InvalidArgument", "MessageBody should not be empty.")
    _check_characters(body)


def _check_characters(text: str) -> None:
    if forbidden := _NOT_XML.search(text):
        raise MnsError(
            "MalformedXML", f"XML cannot contain the character U+{ord(forbidden[0]):04X}; use base64."
        )


def _check_metadata(group_id: str, *properties: tuple[Property, ...]) -> None:
    _check_characters(group_id)
    for group in properties:
        for item in group:
            _check_characters(item.name + item.value + item.type)


def _check_tag(element: str, tag: str) -> None:
    if len(tag) > _TAG_LIMIT:
        raise out_of_range(element, 0, _TAG_LIMIT, "characters")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def decode_body(body: str) -> str:
    """Decode the base64 that the SDKs apply to a body; anything else is returned unchanged."""
    try:
        return base64.b64decode(body, validate=True).decode()
    except ValueError:
        return body
