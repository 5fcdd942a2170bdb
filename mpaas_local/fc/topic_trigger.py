"""MNS topic triggers: a message of a topic becomes an asynchronous call of a function
(fc-runtime.md: MNS topic trigger).

Choices where the reference is silent: a delivery fails if the function's asynchronous queue does not accept
the event; retries wait in memory; a message that is given up is counted and lost, as on MNS. A trigger with a
`filterTag` receives only messages with this tag. The subscription is named after the trigger, with characters
that MNS allows.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mpaas_local.account import Account
from mpaas_local.clock import Clock
from mpaas_local.compact_json import compact_json
from mpaas_local.counts import Counts
from mpaas_local.fc.retries import retry_delays
from mpaas_local.fc.schedule import Schedule
from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.model import SubscriptionAttributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Self

    from mpaas_local.fc.call import Accept
    from mpaas_local.mns.model import Publication, Subscription
    from mpaas_local.mns.topics import Topics
    from project import triggers
    from project.triggers import RetryStrategy

__all__ = ["NotifyContentFormat", "TopicTrigger", "TopicTriggerConfig", "topic_of"]

NotifyContentFormat = Literal["STREAM", "JSON"]
"""`notifyContentFormat` (fc-runtime.md: MNS topic trigger)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TopicTriggerConfig:
    """A trigger of type `mns_topic`.

    Attributes:
        name: `triggerName`.
        topic: Last part of `sourceArn`.
        content_format: `notifyContentFormat`.
        strategy: `notifyStrategy`.
        filter_tag: `filterTag`; empty for every message.
    """

    name: str
    topic: str
    content_format: NotifyContentFormat = "STREAM"
    strategy: RetryStrategy = "BACKOFF_RETRY"
    filter_tag: str = ""

    @property
    def subscription(self) -> str:
        """Name of the subscription: that of the trigger, without characters that MNS does not allow."""
        name = re.sub("[^A-Za-z0-9-]", "-", self.name).lstrip("-")
        if name == self.name:
            return name
        # The suffix distinguishes `a_b` from `a-b`.
        return f"{name}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}".lstrip("-")

    def event(self, message: Publication, account: Account) -> bytes:
        """Return the event of a message (fc-runtime.md: MNS topic trigger)."""
        if self.content_format == "STREAM":
            if not message.attributes:
                return message.body.encode()
            return compact_json({"body": message.body, "attrs": message.attributes})
        return compact_json(
            {
                **_extended(message.attributes),
                "TopicOwner": account.account_id,
                "Message": message.body,
                "Subscriber": account.account_id,
                "PublishTime": message.publish_time,
                "SubscriptionName": self.subscription,
                "MessageMD5": message.body_md5,
                "TopicName": self.topic,
                "MessageId": message.id,
            }
        )


def _extended(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return the attributes in `Extend`, which is JSON text."""
    try:
        extended = json.loads(attributes.get("Extend", "{}"))
    except ValueError:
        return {}
    return extended if isinstance(extended, dict) else {}


def topic_of(trigger: triggers.Topic) -> TopicTriggerConfig:
    """Return the configuration of a topic trigger from `s.yaml`."""
    config = trigger.trigger_config
    return TopicTriggerConfig(
        name=trigger.trigger_name,
        topic=trigger.topic,
        content_format=config.notify_content_format,
        strategy=config.notify_strategy,
        filter_tag=config.filter_tag,
    )


class TopicTrigger:
    """Delivers the messages of a topic to one function; a context manager. Thread-safe.

    Args:
        config: The trigger.
        accept: Accepts events for the function, as `AsyncQueue.accept` does.
        account: Account and region in the events.
        clock: None for that of the machine.
    """

    def __init__(
        self,
        config: TopicTriggerConfig,
        accept: Accept,
        *,
        account: Account | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self._accept = accept
        self._account = account or Account()
        self._clock = clock or Clock()
        self._rng = random.Random()  # for a simulation, not for secrets
        self._detach: Callable[[], None] | None = None
        self._counts = Counts("published", "filtered", "delivered", "retries", "given_up")
        self._schedule = Schedule(f"topic-{config.name}", clock=self._clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attach(self, topics: Topics) -> Self:
        """Subscribe to the topic, created if missing, until this trigger is closed."""
        config = self.config
        with contextlib.suppress(MnsError):  # it exists, with other attributes
            topics.create(config.topic)
        topics.unsubscribe(config.topic, config.subscription)
        attributes = SubscriptionAttributes(
            f"acs:fc:{self._account.region}:{self._account.account_id}:triggers/{config.name}",
            config.strategy,
            config.content_format,
            config.filter_tag,
        )
        topics.subscribe(config.topic, config.subscription, attributes)
        self._detach = topics.on_publish(self._on_publish)
        return self

    def publish(self, message: Publication) -> None:
        """Deliver a message of the topic now, on another thread."""
        self._counts.add("published")
        if self.config.filter_tag and self.config.filter_tag != message.tag:
            self._counts.add("filtered")
            return
        event = self.config.event(message, self._account)
        delays = retry_delays(self.config.strategy, self._rng)
        self._schedule.at(self._clock.time(), lambda: self._deliver(message.id, event, delays))

    @property
    def counts(self) -> dict[str, int]:
        """Messages `published`, `filtered`, `delivered`, `given_up`; `retries` of deliveries."""
        return self._counts.read()

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait, in real seconds, until no delivery is running or due."""
        return self._schedule.settle(timeout)

    def close(self) -> None:
        """Stop at once; deliveries that wait for a retry are lost."""
        if self._detach:
            self._detach()
            self._detach = None
        self._schedule.close()

    def _on_publish(self, subscription: Subscription, message: Publication) -> None:
        if (subscription.topic, subscription.name) == (self.config.topic, self.config.subscription):
            self.publish(message)

    def _deliver(self, message_id: str, event: bytes, delays: Iterator[float]) -> float | None:
        try:
            self._accept(event)
        except Exception as error:  # any exception means that the event was not accepted
            for delay in itertools.islice(delays, 1):
                self._counts.add("retries")
                return self._clock.time() + delay
            _logger.warning("%s: message %s given up: %s", self.config.name, message_id, error)
            self._counts.add("given_up")
        else:
            self._counts.add("delivered")
        return None
