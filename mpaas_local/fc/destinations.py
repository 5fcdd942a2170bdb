"""Where failed or finished events go: MNS queues and topics, functions, event buses, or anything by ARN.

Used for the destinations of asynchronous invocations (fc-runtime.md: Asynchronous invocation) and the
dead-letter queues of event streams (fc-runtime.md: Batches and retries).
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
    "Deliver",
    "Destination",
    "Destinations",
    "Undeliverable",
    "destination_of",
    "mns_destinations",
]

MNS_LIMIT = 64 * 1024
"""Bytes of a record that MNS and EventBridge take (fc-runtime.md: Asynchronous invocation)."""

_MNS = re.compile(r"acs:mns:[^:]*:[^:]*:/(queues|topics)/([^/]+)(?:/messages)?")
_BUS = re.compile(r"acs:eventbridge:[^:]*:[^:]*:/?eventbus/([^/]+)")
_FUNCTION = re.compile(r"acs:fc:[^:]*:[^:]*:functions/([^/]+)(?:/[^/]+)?")


Deliver = Callable[[str, bytes], None]
"""Takes a record to the destination of an ARN; `Destinations` is one."""


class Undeliverable(Exception):
    """It will never be taken: there is no such destination, or it is too large
    (4xx, fc-runtime.md: Asynchronous invocation).
    """


@dataclass(frozen=True)
class Destination:
    """What an ARN names."""

    kind: Literal["queue", "topic", "function", "bus", "other"]
    name: str


def destination_of(arn: str) -> Destination:
    """Read an ARN.

    `acs:mns:<region>:<uid>:/queues/<q>`, with `/messages` or without; `…:/topics/<t>/messages`;
    `acs:fc:<region>:<uid>:functions/<f>`, with a qualifier or without;
    `acs:eventbridge:<region>:<uid>:eventbus/<b>`.
    """
    if match := _MNS.fullmatch(arn):
        return Destination("queue" if match[1] == "queues" else "topic", match[2])
    if match := _FUNCTION.fullmatch(arn):
        return Destination("function", match[1])
    if match := _BUS.fullmatch(arn):
        return Destination("bus", match[1])
    return Destination("other", arn)


@dataclass(frozen=True)
class Destinations:
    """Delivers a record to an ARN; calling it is delivering.

    A callback that raises `Undeliverable` has refused the record for good; after any other error, delivery is
    tried again.

    Attributes:
        queue: Sends a body to the MNS queue of a name.
        topic: Publishes a body to the MNS topic of a name.
        bus: Publishes a record on the event bus of a name.
        functions: Takes an event into a function's asynchronous queue, by function name.
        others: Takes a record, by the whole ARN: RocketMQ, or a destination of a test.
    """

    queue: Callable[[str, bytes], object] | None = None
    topic: Callable[[str, bytes], object] | None = None
    bus: Callable[[str, bytes], object] | None = None
    functions: Mapping[str, Callable[[bytes], object]] = field(default_factory=dict)
    others: Mapping[str, Callable[[bytes], object]] = field(default_factory=dict)

    def __call__(self, arn: str, record: bytes) -> None:
        """Deliver.

        Raises:
            Undeliverable: nothing here is called so, or the record is too large.
            Exception: what the callback raises.
        """
        if arn in self.others:
            self.others[arn](record)
            return
        destination = destination_of(arn)
        send = {"queue": self.queue, "topic": self.topic, "bus": self.bus}.get(destination.kind)
        if send is not None:
            if len(record) > MNS_LIMIT:
                raise Undeliverable(f"{arn}: {len(record)} bytes, at most {MNS_LIMIT}")
            send(destination.name, record)
        elif destination.kind == "function" and destination.name in self.functions:
            self.functions[destination.name](record)
        else:
            raise Undeliverable(f"{arn}: nothing on this machine has this name")


def mns_destinations(
    store: MnsStore,
    functions: Mapping[str, Callable[[bytes], object]] | None = None,
    bus: Callable[[str, bytes], object] | None = None,
) -> Destinations:
    """Return the destinations of this machine: its MNS-compatible server, its event bus and its functions.

    Args:
        store: Of the server. Bodies are sent as they are, without base64.
        functions: Takes an event into a function's asynchronous queue, by function name.
        bus: Publishes a record on the event bus of a name; None: there is none.
    """
    return Destinations(
        queue=_refusing(lambda name, body: store.send(name, body.decode())),
        topic=_refusing(lambda name, body: store.topics.publish(name, body.decode())),
        bus=bus,
        functions=functions or {},
    )


def _refusing(send: Callable[[str, bytes], object]) -> Callable[[str, bytes], object]:
    def sending(name: str, body: bytes) -> None:
        try:
            send(name, body)
        except MnsError as error:
            raise Undeliverable(f"{name}: {error}") from error

    return sending
