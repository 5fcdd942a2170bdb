"""The XML elements that set or show attributes of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROPERTY_ELEMENTS", "QUEUE_ELEMENTS", "TOPIC_ELEMENTS"]

QUEUE_ELEMENTS: Mapping[str, str] = {
    "DelaySeconds": "delay_seconds",
    "MaximumMessageSize": "maximum_message_size",
    "MessageRetentionPeriod": "message_retention_period",
    "VisibilityTimeout": "visibility_timeout",
    "PollingWaitSeconds": "polling_wait_seconds",
    "LoggingEnabled": "logging_enabled",
}
"""Element of `<Queue>`: attribute of `QueueAttributes`."""
TOPIC_ELEMENTS: Mapping[str, str] = {
    "MaximumMessageSize": "maximum_message_size",
    "LoggingEnabled": "logging_enabled",
}
"""Element of `<Topic>`: attribute of `TopicAttributes`."""
PROPERTY_ELEMENTS: Mapping[str, str] = {
    "UserProperties": "PropertyValue",
    "SystemProperties": "SystemPropertyValue",
}
"""Element of `<Message>` that holds properties: element of one property."""
