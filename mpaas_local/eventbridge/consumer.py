"""A consumer of an event stream: it collects a batch, calls the function, and acknowledges the batch or gives
it up.
"""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mpaas_local.compact_json import compact_json
from mpaas_local.eventbridge.payloads import element
from mpaas_local.fc.destinations import Undeliverable
from mpaas_local.fc.errors import HostClosed, PayloadTooLarge, QueueClosed, Throttled
from mpaas_local.fc.retries import retry_delays

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from mpaas_local.account import Account
    from mpaas_local.clock import Clock
    from mpaas_local.counts import Counts
    from mpaas_local.eventbridge.payloads import ReceivedMessage
    from mpaas_local.eventbridge.sources import Source
    from mpaas_local.eventbridge.stream_config import Shape, StreamConfig
    from mpaas_local.fc.call import Accept
    from mpaas_local.fc.destinations import DeliverRecord

__all__ = ["Consumer", "StreamControl"]

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2  # between two reads of an empty queue


class StreamStopped(Exception):
    """The stream or its host is closed."""


class StreamControl:
    """Controls when the consumers of a stream wait, block and stop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._resumed = 0
        self.closed = False
        self.blocked = 0

    def pause(self, until: float) -> None:
        """Wait until a moment or a wake-up."""
        with self._changed:
            if not self.closed:
                self._clock.wait(self._changed, until)

    def wait(self, seconds: float) -> None:
        """Wait for some seconds.

        Raises:
            StreamStopped: the stream is closed.
        """
        until = self._clock.time() + seconds
        while not self.closed:
            if self._clock.time() >= until:
                return
            self.pause(until)
        raise StreamStopped

    def block(self) -> None:
        """Wait for `resume` or `close`."""
        with self._changed:
            resumed_before = self._resumed
            self.blocked += 1
            while not self.closed and self._resumed == resumed_before:
                self._clock.wait(self._changed, None)
            self.blocked -= 1

    def wake(self) -> None:
        """End all pauses."""
        with self._changed:
            self._changed.notify_all()

    def resume(self) -> None:
        """Let blocked consumers continue."""
        with self._changed:
            self._resumed += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the consumers and end all waits."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class HeldMessage:
    """A received message, and its element of the batch."""

    message: ReceivedMessage
    element: bytes


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """Delivers one batch after another; see `EventStream` for the attributes."""

    control: StreamControl
    config: StreamConfig
    source: Source
    push: Accept
    dead_letters: DeliverRecord | None
    account: Account
    clock: Clock
    counts: Counts
    hold_seconds: float
    redeliveries: float
    rng: random.Random

    def run(self) -> None:
        """Deliver batches until the stream is closed."""
        while not self.control.closed:
            held: list[HeldMessage] = []
            try:
                self._collect(held)
                while held:
                    self._deliver(held)
            except StreamStopped:
                self._release(held)
                return
            except Exception:
                # The queue failed; held messages become visible again after their timeout.
                _logger.exception("%s: the queue could not be read", self.config.name)
                self.control.pause(self.clock.time() + 1)

    def _collect(self, held: list[HeldMessage]) -> None:
        """Collect messages into the list until a window closes; the list is valid even if interrupted."""
        config = self.config
        size = 0
        window_end = float("inf")
        while not self.control.closed:
            received = self.source.receive(config.count - len(held), config.seconds + self.hold_seconds)
            self.counts.add("received", len(received))
            for message in received:
                if (matching := self._filter(message)) is not None:
                    held.append(matching)
                    size += len(matching.element)
            now = self.clock.time()
            if held and window_end == float("inf"):
                window_end = now + config.seconds
            if len(held) >= config.count or size >= config.body_limit:
                return
            if received and (now < window_end or not config.seconds):
                continue
            if now >= window_end:
                return
            self.control.pause(min(window_end, now + _POLL_SECONDS))
        raise StreamStopped

    def _filter(self, message: ReceivedMessage) -> HeldMessage | None:
        config = self.config
        event = element(message, config.origin, self.account, self.clock.time())
        if not config.pattern.matches(event):
            self.counts.add("filtered")
            self.source.delete([message])
            return None
        text = compact_json(event["data"] if config.schema == "RawData" else event)
        return HeldMessage(message, compact_json(text.decode()) if config.shape == "strings" else text)

    def _deliver(self, held: list[HeldMessage]) -> None:
        """Call the function with as many messages as fit into one body, until it succeeds or they are given
        up; then remove them from the list.
        """
        count = self._fitting_count(held)
        body = _body(held[:count], self.config.shape)
        size = sum(len(item.element) for item in held[:count])
        for delay in itertools.chain((0.0,), retry_delays(self.config.strategy, self.rng)):
            self.counts.add("retries", 1 if delay else 0)
            self._hold(held, delay + self.hold_seconds)
            self.control.wait(delay)
            try:
                self.push(body, size=size)
            except (HostClosed, QueueClosed) as error:
                raise StreamStopped from error
            except PayloadTooLarge as error:
                reason = str(error)
                break
            except Exception as error:  # 429, 5xx or an error of the function
                self.counts.add("throttled" if isinstance(error, Throttled) else "failures")
                reason = f"{type(error).__name__}: {error}"
            else:
                self._acknowledge(held[:count])
                del held[:count]
                return
        _logger.warning("%s: %d messages given up: %s", self.config.name, count, reason)
        self._give_up(held, count)

    def _fitting_count(self, held: Sequence[HeldMessage]) -> int:
        """Return the number of messages that fit into one body, at least one."""
        if self.config.shape == "bare":
            return 1
        size = 0
        for count, item in enumerate(held):
            size += len(item.element)
            if size > self.config.body_limit:
                return max(count, 1)
        return len(held)

    def _acknowledge(self, batch: Sequence[HeldMessage]) -> None:
        self.counts.add("batches")
        messages = [item.message for item in batch]
        if self.rng.random() < self.redeliveries:
            self.source.release(messages)
            self.counts.add("redelivered", len(messages))
        else:
            self.source.delete(messages)
            self.counts.add("delivered", len(messages))

    def _give_up(self, held: list[HeldMessage], count: int) -> None:
        """Handle the first messages of the list after the last retry, as the trigger is configured."""
        config = self.config
        if not config.tolerant:
            self._block(held)
            return
        for _ in range(count):
            if config.dead_letters and self.dead_letters:
                if not self._send_dead_letter(self.dead_letters, config.dead_letters, held):
                    self._block(held)
                    return
                self.counts.add("dead_lettered")
            else:
                self.counts.add("dropped")
            self.source.delete([held.pop(0).message])

    def _send_dead_letter(self, deliver: DeliverRecord, arn: str, held: list[HeldMessage]) -> bool:
        """Send the first message to the dead-letter queue, retrying indefinitely; False if it is refused."""
        delay = 0.5
        while True:
            try:
                deliver(arn, held[0].element)
            except Undeliverable as error:
                _logger.warning("%s: dead letter refused: %s", self.config.name, error)
                return False
            except Exception as error:  # any other exception counts as 5xx
                _logger.warning("%s: dead-letter queue unavailable: %s", self.config.name, error)
                self._hold(held, delay + self.hold_seconds)
                self.control.wait(delay)
                delay = min(2 * delay, 60.0)
            else:
                return True

    def _block(self, held: list[HeldMessage]) -> None:
        self._release(held)
        held.clear()
        _logger.error("%s: blocked until it is resumed", self.config.name)
        self.control.block()

    def _hold(self, held: list[HeldMessage], seconds: float) -> None:
        messages = self.source.hold([item.message for item in held], seconds)
        held[:] = [replace(item, message=message) for item, message in zip(held, messages, strict=True)]

    def _release(self, held: Sequence[HeldMessage]) -> None:
        try:
            self.source.release([item.message for item in held])
        except Exception:  # they become visible again after their timeout
            _logger.exception("%s: messages could not be released", self.config.name)


def _body(held: Sequence[HeldMessage], shape: Shape) -> bytes:
    if shape == "bare":
        return held[0].element
    return b"[" + b",".join(item.element for item in held) + b"]"
