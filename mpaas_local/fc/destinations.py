"""Destinations of records about events, by ARN: MNS queues and topics, functions, event buses, others.

Used for asynchronous invocations (fc-runtime.md: Asynchronous invocation) and for the dead-letter queues of
event streams (fc-runtime.md: Batches and retries).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mpaas_local.mns.errors import MnsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.mns.store import MnsStore

__all__ = [
    "MNS_LIMIT",
    "DeliverRecord",
    "NamedResource",
    "RecordDelivery",
    "Undeliverable",
    "destination_of",
    "mns_destinations",
]

MNS_LIMIT = 64 * 1024
"""Maximum size, in bytes, of a record for MNS and EventBridge (fc-runtime.md: Asynchronous invocation)."""

_MNS = re.compile(r"acs:mns:[^:]*:[^:]*:/(queues|topics)/([^/]+)(?:/messages)?")
_BUS = re.compile(r"acs:eventbridge:[^:]*:[^:]*:/?eventbus/([^/]+)")
_FUNCTION = re.compile(r"acs:fc:[^:]*:[^:]*:functions/([^/]+)(?:/[^/]+)?")


DeliverRecord = Callable[[str, bytes], None]
"""Delivers a record to an ARN, as `RecordDelivery` does."""


class Undeliverable(Exception):
    """The record can never be delivered: the destination does not exist, or the record is too large
    (4xx, fc-runtime.md: Asynchronous invocation).
    """


@dataclass(frozen=True)
class NamedResource:
    """The resource that an ARN names."""

    kind: Literal["queue", "topic", "function", "bus", "other"]
    name: str


def destination_of(arn: str) -> NamedResource:
    """Parse an ARN.

    `acs:mns:<region>:<uid>:/queues/<q>`, optionally with `/messages`; `…:/topics/<t>/messages`;
    `acs:fc:<region>:<uid>:functions/<f>`, optionally with a qualifier;
    `acs:eventbridge:<region>:<uid>:eventbus/<b>`.
    """
    if match := _MNS.fullmatch(arn):
        return NamedResource("queue" if match[1] == "queues" else "topic", match[2])
    if match := _FUNCTION.fullmatch(arn):
        return NamedResource("function", match[1])
    if match := _BUS.fullmatch(arn):
        return NamedResource("bus", match[1])
    return NamedResource("other", arn)


@dataclass(frozen=True, kw_only=True)
class RecordDelivery:
    """Delivers records to ARNs.

    A callback raises `Undeliverable` to refuse a record permanently; after any other exception, delivery is
    retried.

    Attributes:
        queue: Sends a body to an MNS queue, by name.
        topic: Publishes a body to an MNS topic, by name.
        bus: Publishes a record on an event bus, by name.
        functions: Accept an event into a function's asynchronous queue; by function name.
        others: Receive a record; by the full ARN, for RocketMQ and tests.
    """

    queue: Callable[[str, bytes], object] | None = None
    topic: Callable[[str, bytes], object] | None = None
    bus: Callable[[str, bytes], object] | None = None
    functions: Mapping[str, Callable[[bytes], object]] = field(default_factory=dict)
    others: Mapping[str, Callable[[bytes], object]] = field(default_factory=dict)

    def __call__(self, arn: str, record: bytes) -> None:
        """Deliver a record.

        Raises:
            Undeliverable: the destination does not exist, or the record is too large.
            Exception: any that the callback raises.
        """
        if arn in self.others:
            self.others[arn](record)
            return
        destination = destination_of(arn)
        send = {"queue": self.queue, "topic": self.topic, "bus": self.bus}.get(destination.kind)
        if send is not None:
            if len(record) > MNS_LIMIT:
                raise Undeliverable(f"{arn}: {len(record)} bytes; at most {MNS_LIMIT} are allowed")
            send(destination.name, record)
        elif destination.kind == "function" and destination.name in self.functions:
            self.functions[destination.name](record)
        else:
            raise Undeliverable(f"{arn}: this destination does not exist on this machine")


def mns_destinations(
    store: MnsStore,
    functions: Mapping[str, Callable[[bytes], object]] | None = None,
    bus: Callable[[str, bytes], object] | None = None,
) -> RecordDelivery:
    """Return the destinations of this machine: its MNS server, its event bus and its functions.

    Args:
        store: The store of the MNS server. Bodies are sent without base64.
        functions: Accept an event into a function's asynchronous queue; by function name.
        bus: Publishes a record on an event bus, by name; None if there is none.
    """
    return RecordDelivery(
        queue=_raising_undeliverable(lambda name, body: store.send(name, body.decode())),
        topic=_raising_undeliverable(lambda name, body: store.topics.publish(name, body.decode())),
        bus=bus,
        functions=functions or {},
    )


def _raising_undeliverable(send: Callable[[str, bytes], object]) -> Callable[[str, bytes], object]:
    """Return a callback whose MNS errors are `Undeliverable`."""

    def deliver(name: str, body: bytes) -> None:
        try:
            send(name, body)
        except MnsError as error:
            raise Undeliverable(f"{name}: {error}") from error

    return deliver
