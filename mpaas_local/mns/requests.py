"""Request bodies: XML becomes an `Element` of local names, which each `read_…` turns into the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from mpaas_local.mns.elements import PROPERTY_ELEMENTS, QUEUE_ELEMENTS, TOPIC_ELEMENTS
from mpaas_local.mns.errors import MnsError, schema_violation
from mpaas_local.mns.model import (
    DEFAULT_PRIORITY,
    OutgoingMessage,
    Property,
    Publication,
    SubscriptionAttributes,
)
from mpaas_local.xml_text import UnreadableXml, read_xml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from mpaas_local.mns.model import ContentFormat, Strategy

__all__ = [
    "parse",
    "read_account",
    "read_handles",
    "read_messages",
    "read_publication",
    "read_queue",
    "read_strategy",
    "read_subscription",
    "read_topic",
]

_NUMBER = re.compile(r"-?[0-9]{1,18}")
_SUBSCRIPTION_ELEMENTS = {"Endpoint", "NotifyStrategy", "NotifyContentFormat", "FilterTag"}


def parse(body: bytes) -> Element:
    """Parse a document, without its namespaces and attributes.

    Raises:
        MnsError: `MalformedXML` if `read_xml` refuses the body.
    """
    try:
        return read_xml(body)
    except UnreadableXml as error:
        raise MnsError("MalformedXML", str(error)) from error


def read_queue(root: Element) -> dict[str, int | bool]:
    """Read the attributes that `<Queue>` sets."""
    return _settings(root, "Queue", QUEUE_ELEMENTS)


def read_topic(root: Element) -> dict[str, int | bool]:
    """Read the attributes that `<Topic>` sets."""
    return _settings(root, "Topic", TOPIC_ELEMENTS)


def read_messages(root: Element) -> tuple[list[OutgoingMessage], bool]:
    """Read `<Message>` or `<Messages>`; True for a batch."""
    if root.tag == "Messages":
        return [_outgoing(child) for child in _children(root, "Messages", {"Message"})], True
    return [_outgoing(root)], False


def read_publication(root: Element) -> Publication:
    """Read the `<Message>` of a topic."""
    allowed = {"MessageBody", "MessageTag", "MessageAttributes", "MessageGroupId", *PROPERTY_ELEMENTS}
    children = {child.tag: child for child in _children(root, "Message", allowed)}
    return Publication(
        body=_text(children, "MessageBody"),
        tag=_text(children, "MessageTag", ""),
        attributes={child.tag: child.text or "" for child in children.get("MessageAttributes", ())},
        group_id=_text(children, "MessageGroupId", ""),
        user_properties=_properties(children, "UserProperties"),
        system_properties=_properties(children, "SystemProperties"),
    )


def read_subscription(root: Element) -> SubscriptionAttributes:
    """Read `<Subscription>`."""
    children = {child.tag: child for child in _children(root, "Subscription", _SUBSCRIPTION_ELEMENTS)}
    return SubscriptionAttributes(
        endpoint=_text(children, "Endpoint"),
        notify_strategy=cast("Strategy", _text(children, "NotifyStrategy", "BACKOFF_RETRY")),
        notify_content_format=cast("ContentFormat", _text(children, "NotifyContentFormat", "XML")),
        filter_tag=_text(children, "FilterTag", ""),
    )


def read_strategy(root: Element) -> Strategy | None:
    """Read the one attribute of `<Subscription>` that can change; None if it is missing."""
    children = {child.tag: child for child in _children(root, "Subscription", {"NotifyStrategy"})}
    return cast("Strategy", _text(children, "NotifyStrategy")) if children else None


def read_handles(root: Element) -> list[str]:
    """Read `<ReceiptHandles>`."""
    return [child.text or "" for child in _children(root, "ReceiptHandles", {"ReceiptHandle"})]


def read_account(root: Element) -> str | None:
    """Read the logging bucket of `<Account>`; None if it is missing."""
    children = {child.tag: child for child in _children(root, "Account", {"LoggingBucket"})}
    return _text(children, "LoggingBucket", "") if children else None


def _outgoing(root: Element) -> OutgoingMessage:
    allowed = {"MessageBody", "DelaySeconds", "Priority", "MessageGroupId", *PROPERTY_ELEMENTS}
    children = {child.tag: child for child in _children(root, "Message", allowed)}
    return OutgoingMessage(
        body=_text(children, "MessageBody"),
        delay_seconds=_number(children["DelaySeconds"]) if "DelaySeconds" in children else None,
        priority=_number(children["Priority"]) if "Priority" in children else DEFAULT_PRIORITY,
        group_id=_text(children, "MessageGroupId", ""),
        user_properties=_properties(children, "UserProperties"),
        system_properties=_properties(children, "SystemProperties"),
    )


def _properties(children: Mapping[str, Element], tag: str) -> tuple[Property, ...]:
    if tag not in children:
        return ()
    properties = []
    for element in _children(children[tag], tag, {PROPERTY_ELEMENTS[tag]}):
        parts = {
            child.tag: child
            for child in _children(element, PROPERTY_ELEMENTS[tag], {"Name", "Value", "Type"})
        }
        properties.append(
            Property(_text(parts, "Name"), _text(parts, "Value"), _text(parts, "Type", "STRING"))
        )
    return tuple(properties)


def _settings(root: Element, tag: str, names: Mapping[str, str]) -> dict[str, int | bool]:
    settings: dict[str, int | bool] = {}
    for child in _children(root, tag, set(names)):
        settings[names[child.tag]] = _flag(child) if child.tag == "LoggingEnabled" else _number(child)
    return settings


def _children(root: Element, tag: str, allowed: set[str]) -> list[Element]:
    if root.tag != tag:
        raise schema_violation(root.tag)
    children = list(root)
    for child in children:
        if child.tag not in allowed:
            raise schema_violation(child.tag)
    return children


def _text(children: Mapping[str, Element], tag: str, default: str | None = None) -> str:
    if tag in children:
        return children[tag].text or ""
    if default is None:
        raise schema_violation(tag)
    return default


def _number(element: Element) -> int:
    text = (element.text or "").strip()
    if not _NUMBER.fullmatch(text):
        raise schema_violation(element.tag)
    return int(text)


def _flag(element: Element) -> bool:
    text = (element.text or "").strip().lower()
    if text not in {"true", "false"}:
        raise schema_violation(element.tag)
    return text == "true"
