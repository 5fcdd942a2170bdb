"""Topics and subscriptions, in the same file as the queues.

Publishing forwards a `Publication` at once: to the queue that a subscription's endpoint names and, once for
each matching subscription, to the listeners of `on_publish`. A topic does not store messages; a listener that
delivers to a function stores and retries them.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, cast

from mpaas_local.mns.errors import MnsError, out_of_range
from mpaas_local.mns.model import (
    Publication,
    Subscription,
    SubscriptionAttributes,
    Topic,
    TopicAttributes,
    check_name,
)
from mpaas_local.mns.responses import notification, serialize

if TYPE_CHECKING:
    import sqlite3

    from mpaas_local.clock import TimeSource
    from mpaas_local.database import Database
    from mpaas_local.mns.model import Message, Strategy

__all__ = ["PublicationListener", "Topics"]

PublicationListener = Callable[[Subscription, Publication], None]
"""Receives a message for one subscription; must not block."""

_QUEUE_ENDPOINT = re.compile(r"acs:mns:[^:]*:[^:]*:/?queues/(?P<queue>[^/]+)(?:/messages)?")

_logger = logging.getLogger(__name__)


class Topics:
    """The topics of one account, created by `MnsStore`. Thread-safe.

    Args:
        database: Holds the tables.
        clock: Seconds since 1970.
        account_id: The owner in notifications.
        send: Sends a body to a queue.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: TimeSource,
        account_id: str,
        send: Callable[[str, str], Message],
    ) -> None:
        self.account_id = account_id
        self._database = database
        self._clock = clock
        self._send = send
        self._listeners: list[PublicationListener] = []

    def create(self, name: str, attributes: TopicAttributes | None = None) -> bool:
        """Create a topic; False if it exists with the same attributes.

        Raises:
            MnsError: `TopicAlreadyExist` with other attributes, `InvalidTopicName`, `TopicNameLengthError`.
        """
        check_name("Topic", name)
        attributes = attributes or TopicAttributes()
        with self._database.transaction() as connection:
            row = connection.execute("SELECT * FROM topic WHERE name = ?", (name,)).fetchone()
            if row:
                if _topic(row).attributes != attributes:
                    raise MnsError("TopicAlreadyExist")
                return False
            connection.execute(
                "INSERT INTO topic VALUES (:name, :now, :now, :maximum_message_size, :logging_enabled)",
                {"name": name, "now": int(self._clock()), **asdict(attributes)},
            )
        return True

    def set_attributes(self, name: str, **changes: int | bool) -> None:
        """Change some attributes, by the names of `TopicAttributes`.

        Raises:
            MnsError: `TopicNotExist`; `InvalidArgument` for a value out of range.
        """
        with self._database.transaction() as connection:
            attributes = replace(_topic(_topic_row(connection, name)).attributes, **changes)  # type: ignore[arg-type]  # validated by the constructor
            connection.execute(
                "UPDATE topic SET last_modify_time = :now, maximum_message_size = :maximum_message_size,"
                " logging_enabled = :logging_enabled WHERE name = :name",
                {"name": name, "now": int(self._clock()), **asdict(attributes)},
            )

    def delete(self, name: str) -> None:
        """Delete a topic and its subscriptions, if it exists."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM topic WHERE name = ?", (name,))

    def all(self, prefix: str = "") -> list[Topic]:
        """The topics whose names start with a prefix, sorted by name."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM topic ORDER BY name").fetchall()
        return [_topic(row) for row in rows if row["name"].startswith(prefix)]

    def get(self, name: str) -> Topic:
        """One topic by name.

        Raises:
            MnsError: `TopicNotExist`.
        """
        with self._database.transaction() as connection:
            return _topic(_topic_row(connection, name))

    def subscribe(self, topic: str, name: str, attributes: SubscriptionAttributes) -> bool:
        """Create a subscription; False if it exists with the same attributes.

        Raises:
            MnsError: `TopicNotExist`, `SubscriptionAlreadyExist` with other attributes,
                `InvalidSubscriptionName`, `SubscriptionNameLengthError`.
        """
        check_name("Subscription", name)
        with self._database.transaction() as connection:
            _topic_row(connection, topic)
            row = _find_subscription(connection, topic, name)
            if row:
                if _subscription(row).attributes != attributes:
                    raise MnsError("SubscriptionAlreadyExist")
                return False
            connection.execute(
                "INSERT INTO subscription VALUES (:topic, :name, :now, :now, :endpoint, :notify_strategy,"
                " :notify_content_format, :filter_tag)",
                {"topic": topic, "name": name, "now": int(self._clock()), **asdict(attributes)},
            )
        return True

    def set_strategy(self, topic: str, name: str, strategy: Strategy) -> None:
        """Change `notify_strategy`, the only attribute of a subscription that can change.

        Raises:
            MnsError: `SubscriptionNotExist` or `InvalidArgument`.
        """
        with self._database.transaction() as connection:
            row = _subscription_row(connection, topic, name)
            replace(_subscription(row).attributes, notify_strategy=strategy)  # validates the strategy
            connection.execute(
                "UPDATE subscription SET last_modify_time = ?, notify_strategy = ?"
                " WHERE topic = ? AND name = ?",
                (int(self._clock()), strategy, topic, name),
            )

    def unsubscribe(self, topic: str, name: str) -> None:
        """Delete a subscription, if it exists."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM subscription WHERE topic = ? AND name = ?", (topic, name))

    def subscriptions(self, topic: str, prefix: str = "") -> list[Subscription]:
        """The subscriptions of a topic whose names start with a prefix, sorted by name.

        Raises:
            MnsError: `TopicNotExist`.
        """
        with self._database.transaction() as connection:
            _topic_row(connection, topic)
            rows = connection.execute(
                "SELECT * FROM subscription WHERE topic = ? ORDER BY name", (topic,)
            ).fetchall()
        return [_subscription(row) for row in rows if row["name"].startswith(prefix)]

    def subscription(self, topic: str, name: str) -> Subscription:
        """One subscription by name.

        Raises:
            MnsError: `SubscriptionNotExist`.
        """
        with self._database.transaction() as connection:
            return _subscription(_subscription_row(connection, topic, name))

    def on_publish(self, listener: PublicationListener) -> Callable[[], None]:
        """Call a listener with each matching subscription and the message.

        The call runs on the publishing thread. Its exceptions are logged and do not reach the publisher.

        Returns:
            A function that removes the listener.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, topic: str, publication: Publication | str) -> Publication:
        """Publish a message; returns it with its id and time.

        Args:
            topic: Name of the topic.
            publication: The message, or just its body.

        Raises:
            MnsError: `TopicNotExist`; `InvalidArgument` if it is larger than the topic allows.
        """
        if isinstance(publication, str):
            publication = Publication(body=publication)
        limit = self.get(topic).attributes.maximum_message_size
        if len(publication.body.encode()) > limit:
            raise out_of_range("MessageBody", 1, limit, "bytes")
        publication = replace(
            publication, id=uuid.uuid4().hex.upper(), publish_time=int(self._clock() * 1000)
        )
        for subscription in self.subscriptions(topic):
            tag = subscription.attributes.filter_tag
            if not tag or tag == publication.tag:
                self._forward(subscription, publication)
        return publication

    def _forward(self, subscription: Subscription, publication: Publication) -> None:
        label = f"subscription {subscription.name} of topic {subscription.topic}"
        endpoint = _QUEUE_ENDPOINT.fullmatch(subscription.attributes.endpoint)
        if endpoint:
            try:
                self._send(endpoint["queue"], self._notification(subscription, publication))
            except MnsError as error:
                _logger.warning("%s: message %s lost: %s", label, publication.id, error)
        for listener in tuple(self._listeners):
            try:
                listener(subscription, publication)
            except Exception:  # a failing listener must not affect the publisher
                _logger.exception("%s: message %s not delivered", label, publication.id)

    def _notification(self, subscription: Subscription, publication: Publication) -> str:
        content_format = subscription.attributes.notify_content_format
        if content_format in {"SIMPLIFIED", "STREAM"}:
            return publication.body
        tag = [("MessageTag", publication.tag)] if publication.tag else []
        pairs = [
            ("TopicOwner", self.account_id),
            ("TopicName", subscription.topic),
            ("Subscriber", self.account_id),
            ("SubscriptionName", subscription.name),
            ("MessageId", publication.id),
            ("Message", publication.body),
            ("MessageMD5", publication.body_md5),
            *tag,
            ("PublishTime", str(publication.publish_time)),
        ]
        if content_format == "JSON":
            return json.dumps(dict(pairs), ensure_ascii=False)
        return serialize(notification(pairs)).decode()


def _topic_row(connection: sqlite3.Connection, name: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute("SELECT * FROM topic WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise MnsError("TopicNotExist")
    return row


def _find_subscription(connection: sqlite3.Connection, topic: str, name: str) -> sqlite3.Row | None:
    rows = connection.execute("SELECT * FROM subscription WHERE topic = ? AND name = ?", (topic, name))
    return cast("sqlite3.Row | None", rows.fetchone())


def _subscription_row(connection: sqlite3.Connection, topic: str, name: str) -> sqlite3.Row:
    row = _find_subscription(connection, topic, name)
    if row is None:
        raise MnsError("SubscriptionNotExist")
    return row


def _topic(row: sqlite3.Row) -> Topic:
    return Topic(
        row["name"],
        TopicAttributes(row["maximum_message_size"], bool(row["logging_enabled"])),
        create_time=row["create_time"],
        last_modify_time=row["last_modify_time"],
    )


def _subscription(row: sqlite3.Row) -> Subscription:
    return Subscription(
        topic=row["topic"],
        name=row["name"],
        attributes=SubscriptionAttributes(
            row["endpoint"], row["notify_strategy"], row["notify_content_format"], row["filter_tag"]
        ),
        create_time=row["create_time"],
        last_modify_time=row["last_modify_time"],
    )
