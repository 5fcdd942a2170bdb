"""Event streams: messages of a queue become batches, batches become calls of a function
(fc-runtime.md: Event streams to Batches and retries).

A `StreamConfig` is read from a trigger of type `eventbridge`; an `EventStream` takes messages from a source,
calls the function with them on a thread of its own, and deletes them from the source only when the call
succeeded, so that what this process held when it ended comes again. What the reference leaves open is decided
like this:

* `asyncInvocationType: true` is asynchronous, as its name says. What the asynchronous queue has accepted is
  acknowledged, as on FC; that queue is in memory.
* Without `batchWindow` every message is a batch. A time window counts from the first message.
* The size limit is that of the messages, without the brackets and commas between them: 128 KB are 64 of 2 KB
  (fc-runtime.md: Batches and retries). A message that is too large by itself is not tried again.
* With `errorsTolerance: NONE`, a stream that has used up its retries shows the messages again, stands still,
  and goes on with `resume` or a new start.
* A dead letter is one message: its element of the array. A dead-letter queue that refuses one blocks the
  stream.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from mpaas_local.clock import Clock
from mpaas_local.counts import Counts
from mpaas_local.eventbridge.payloads import (
    Arrived,
    Origin,
    SourceKind,
    ValueFormat,
    dumped,
    element,
)
from mpaas_local.fc.asynchronous import PAYLOAD_LIMIT, Deliver, PayloadTooLarge, QueueClosed
from mpaas_local.fc.destinations import Undeliverable
from mpaas_local.fc.host import Account, HostClosed, Throttled
from mpaas_local.fc.http_trigger import REQUEST_BODY_LIMIT
from project.patterns import EVERYTHING, Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

    from mpaas_local.eventbridge.sources import Source
    from mpaas_local.fc.asynchronous import Accept, Invoke
    from project import triggers
    from project.triggers import RetryStrategy, Schema

__all__ = [
    "EventStream",
    "Shape",
    "StreamConfig",
    "retry_delays",
    "stream_of",
]

Shape = Literal["objects", "strings", "bare"]
"""An array of objects, an array of JSON texts, or one object without an array
(fc-runtime.md: Event streams)."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamConfig:
    """A trigger of type `eventbridge` whose source is a queue (fc-runtime.md: Event stream configuration).

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        origin: `eventSourceConfig`, and how the messages name it.
        enabled: `triggerEnable`.
        asynchronous: `asyncInvocationType`.
        pattern: `eventRuleFilterPattern`; messages that it does not want are deleted.
        schema: `eventSchema`.
        shape: How messages are put together; a setting, FC's documents disagree
            (fc-runtime.md: Event streams).
        count: `CountBasedWindow`, 1 to 10000 messages.
        seconds: `TimeBasedWindow`, 0 to 15.
        strategy: `PushRetryStrategy`.
        tolerant: `errorsTolerance` is ALL.
        dead_letters: `deadLetterQueue.Arn`.
        consumers: Calls at a time: `concurrency` with Kafka and synchronous calls, else 1.
    """

    function: str
    name: str
    origin: Origin
    enabled: bool = True
    asynchronous: bool = False
    pattern: Pattern = EVERYTHING
    schema: Schema = "CloudEvents"
    shape: Shape = "objects"
    count: int = 1
    seconds: int = 0
    strategy: RetryStrategy = "EXPONENTIAL_DECAY_RETRY"
    tolerant: bool = False
    dead_letters: str | None = None
    consumers: int = 1

    @property
    def body_limit(self) -> int:
        """Bytes of the messages of a call (fc-runtime.md: Batches and retries)."""
        return PAYLOAD_LIMIT if self.asynchronous else REQUEST_BODY_LIMIT


def stream_of(
    trigger: triggers.EventBridge, function: str, *, strings: bool = False, value_format: ValueFormat = "Text"
) -> StreamConfig:
    """Return the stream of a trigger whose source is a queue or topic.

    Args:
        trigger: As `s.yaml` has it; its source is one of `mpaas_local.eventbridge.payloads.SOURCES`.
        function: Name of the function.
        strings: Elements of the array are JSON texts, as a real Kafka trigger sent them in 2022
            (fc-runtime.md: Event streams).
        value_format: What becomes of a Kafka record's value.
    """
    config, name = trigger.trigger_config, trigger.trigger_name
    kind = cast("SourceKind", config.event_source_config.event_source_type)
    run = config.run_options
    driven = run is not None and run.mode == "event-driven"
    stream = StreamConfig(
        function=function,
        name=name,
        origin=Origin(
            kind,
            config.event_source_config.parameters,
            bus=f"{kind}-{function if driven else 'Function'}-{name}",
            datacontenttype="application/json;charset=utf-8" if driven else None,
            value_format=value_format,
        ),
        enabled=config.trigger_enable,
        asynchronous=config.async_invocation_type,
        pattern=config.pattern,
        schema=config.schema_of_events,
        shape="bare" if driven else "strings" if strings else "objects",
        consumers=config.concurrency if kind == "Kafka" and not config.async_invocation_type else 1,
    )
    if run is None:
        return stream
    return replace(
        stream,
        count=1 if driven else run.batch_window.count_based_window,
        seconds=0 if driven else run.batch_window.time_based_window,
        strategy=run.retry_strategy.push_retry_strategy,
        tolerant=run.errors_tolerance == "ALL",
        dead_letters=run.dead_letters or None,
    )


def retry_delays(strategy: RetryStrategy, chance: random.Random) -> Iterator[float]:
    """Seconds before each retry (fc-runtime.md: MNS topic trigger, Batches and retries): 3 random ones of 10
    to 20, or 1, 2, 4 … 512, in all 176.
    """
    if strategy == "BACKOFF_RETRY":
        return (chance.uniform(10, 20) for _ in range(3))
    return (min(2.0**number, 512.0) for number in range(176))


class EventStream:
    """Carries messages of one trigger to its function. Close it, or use it in a `with`.

    Args:
        config: The trigger.
        source: Where the messages are.
        invoke: Calls the function, for synchronous triggers.
        accept: Takes events for the function, for asynchronous triggers.
        dead_letters: Takes a message to the ARN of the dead-letter queue.
        account: In the messages.
        clock: The machine's if None.
        hold_seconds: How long messages are hidden for one call; longer than the function's timeout. If this
            process dies, they are seen again after that.
        poll_seconds: Between two looks into an empty queue.
        redeliveries: Probability that a batch that succeeded is not deleted but comes again, 0 up to 1.
        seed: Of that chance and of random delays.
    """

    def __init__(
        self,
        config: StreamConfig,
        source: Source,
        *,
        invoke: Invoke | None = None,
        accept: Accept | None = None,
        dead_letters: Deliver | None = None,
        account: Account | None = None,
        clock: Clock | None = None,
        hold_seconds: float = 90.0,
        poll_seconds: float = 0.2,
        redeliveries: float = 0.0,
        seed: int = 0,
    ) -> None:
        push = accept if config.asynchronous else _synchronous(invoke)
        if push is None:
            raise ValueError(f"{config.name}: {'accept' if config.asynchronous else 'invoke'} is needed")
        if config.dead_letters and dead_letters is None:
            raise ValueError(f"{config.name}: dead_letters is needed for {config.dead_letters}")
        self.config = config
        self._clock = clock or Clock()
        self._pace = _Pace(self._clock)
        self._counts = Counts(*_COUNTS)
        self._consumers = [
            _Consumer(
                self._pace,
                _Duty(
                    config,
                    source,
                    push,
                    dead_letters,
                    account or Account(),
                    self._clock,
                    self._counts,
                    hold_seconds,
                    poll_seconds,
                    redeliveries,
                    random.Random(seed + number),  # chance of a simulation
                ),
            )
            for number in range(config.consumers)
        ]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start to consume, if the trigger is enabled."""
        if self.config.enabled and not self._threads:
            for number, consumer in enumerate(self._consumers, 1):
                name = f"stream-{self.config.name}-{number}"
                self._threads.append(threading.Thread(target=consumer.run, name=name, daemon=True))
                self._threads[-1].start()
        return self

    @property
    def state(self) -> Literal["disabled", "running", "blocked", "stopped"]:
        """What it does; `blocked` is what `errorsTolerance: NONE` does after the last retry
        (fc-runtime.md: Batches and retries).
        """
        if not self.config.enabled:
            return "disabled"
        if self._pace.closed or not self._threads:
            return "stopped"
        return "blocked" if self._pace.blocked else "running"

    @property
    def counts(self) -> dict[str, int]:
        """What has happened.

        Messages: `received`, `delivered`, `filtered`, `dead_lettered`, `dropped`, `redelivered` (on purpose).
        Calls: `batches` that succeeded, `failures`, `throttled`, `retries`.
        """
        return self._counts.read()

    def wake(self) -> None:
        """Look into the queue now."""
        self._pace.wake()

    def resume(self) -> None:
        """Go on after `blocked`."""
        self._pace.resume()

    def close(self, timeout: float = 1.0) -> None:
        """Stop at once; held messages are shown again. A call under way is left to end with its host.

        Args:
            timeout: Real seconds to wait for such a call.
        """
        self._pace.close()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class _Pace:
    """When the consumers of a stream wait, stand still and stop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._resumed = 0
        self.closed = False
        self.blocked = 0

    def pause(self, until: float) -> None:
        """Wait until a moment, or until woken."""
        with self._changed:
            if not self.closed:
                self._clock.wait(self._changed, until)

    def wait(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            _Stopped: the stream has been closed.
        """
        until = self._clock.time() + seconds
        while not self.closed:
            if self._clock.time() >= until:
                return
            self.pause(until)
        raise _Stopped

    def stand_still(self) -> None:
        """Wait until told to go on or to stop."""
        with self._changed:
            before = self._resumed
            self.blocked += 1
            while not self.closed and self._resumed == before:
                self._clock.wait(self._changed, None)
            self.blocked -= 1

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def resume(self) -> None:
        with self._changed:
            self._resumed += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


_COUNTS = (
    *("received", "delivered", "filtered", "dead_lettered", "dropped", "redelivered"),
    *("batches", "failures", "throttled", "retries"),
)


class _Failed(Exception):
    """The function did not take a batch."""


def _synchronous(invoke: Invoke | None) -> Accept | None:
    if invoke is None:
        return None

    def call(body: bytes, *, size: int | None = None) -> str:
        del size
        result = invoke(body)
        if result.error_type is not None:
            raise _Failed(f"{result.error_type}, request {result.request_id}")
        return result.request_id

    return call


@dataclass(frozen=True)
class _Duty:
    """What a consumer works with; see `EventStream`."""

    config: StreamConfig
    source: Source
    push: Accept
    dead_letters: Deliver | None
    account: Account
    clock: Clock
    counts: Counts
    hold_seconds: float
    poll_seconds: float
    redeliveries: float
    chance: random.Random


@dataclass(frozen=True)
class _Held:
    """A message that has been received, and how the function will see it."""

    message: Arrived
    element: bytes


class _Stopped(Exception):
    """The stream has been closed, or its host has."""


class _Consumer:
    """Takes batches one after the other."""

    def __init__(self, pace: _Pace, duty: _Duty) -> None:
        self._pace = pace
        self._duty = duty

    def run(self) -> None:
        """Work until the stream is closed."""
        while not self._pace.closed:
            held: list[_Held] = []
            try:
                self._collect(held)
                while held:
                    self._deliver(held)
            except _Stopped:
                self._release(held)
                return
            except Exception:
                # The queue itself failed: what was held comes again when its time is over.
                _logger.exception("%s: the queue could not be read", self._duty.config.name)
                self._pace.pause(self._duty.clock.time() + 1)

    def _collect(self, held: list[_Held]) -> None:
        """Wait for messages until a window closes; the list holds them, even if this is interrupted."""
        duty, config = self._duty, self._duty.config
        size = 0
        closes = float("inf")
        while not self._pace.closed:
            received = duty.source.receive(config.count - len(held), config.seconds + duty.hold_seconds)
            duty.counts.add("received", len(received))
            for message in received:
                if (wanted := self._wanted(message)) is not None:
                    held.append(wanted)
                    size += len(wanted.element)
            now = duty.clock.time()
            if held and closes == float("inf"):
                closes = now + config.seconds
            if len(held) >= config.count or size >= config.body_limit:
                return
            if received and (now < closes or not config.seconds):
                continue
            if now >= closes:
                return
            self._pace.pause(min(closes, now + duty.poll_seconds))
        raise _Stopped

    def _wanted(self, message: Arrived) -> _Held | None:
        duty, config = self._duty, self._duty.config
        event = element(message, config.origin, duty.account, duty.clock.time())
        if not config.pattern.matches(event):
            duty.counts.add("filtered")
            duty.source.delete([message])
            return None
        shown = dumped(event["data"] if config.schema == "RawData" else event)
        return _Held(message, dumped(shown.decode()) if config.shape == "strings" else shown)

    def _deliver(self, held: list[_Held]) -> None:
        """Call the function with as many as a body takes, until it has them or they are given up.

        What is done with is taken off the list.
        """
        duty = self._duty
        number = self._fitting(held)
        body = _body(held[:number], duty.config.shape)
        size = sum(len(each.element) for each in held[:number])
        for delay in itertools.chain((0.0,), retry_delays(duty.config.strategy, duty.chance)):
            duty.counts.add("retries", 1 if delay else 0)
            self._hold(held, delay + duty.hold_seconds)
            self._pace.wait(delay)
            try:
                duty.push(body, size=size)
            except (HostClosed, QueueClosed) as error:
                raise _Stopped from error
            except PayloadTooLarge as error:
                reason = str(error)
                break
            except Exception as error:  # 429, 5xx and errors of the function alike
                duty.counts.add("throttled" if isinstance(error, Throttled) else "failures")
                reason = f"{type(error).__name__}: {error}"
            else:
                self._acknowledge(held[:number])
                del held[:number]
                return
        _logger.warning("%s: %d messages are given up: %s", duty.config.name, number, reason)
        self._give_up(held, number)

    def _fitting(self, held: Sequence[_Held]) -> int:
        """Return how many messages fit into one body, at least one."""
        if self._duty.config.shape == "bare":
            return 1
        size = 0
        for number, each in enumerate(held):
            size += len(each.element)
            if size > self._duty.config.body_limit:
                return max(number, 1)
        return len(held)

    def _acknowledge(self, done: Sequence[_Held]) -> None:
        duty = self._duty
        duty.counts.add("batches")
        messages = [each.message for each in done]
        if duty.chance.random() < duty.redeliveries:
            duty.source.release(messages)
            duty.counts.add("redelivered", len(done))
        else:
            duty.source.delete(messages)
            duty.counts.add("delivered", len(done))

    def _give_up(self, held: list[_Held], number: int) -> None:
        """Do with the first of the list what the trigger says after the last retry."""
        duty, config = self._duty, self._duty.config
        if not config.tolerant:
            self._block(held)
            return
        for _ in range(number):
            if config.dead_letters and duty.dead_letters:
                if not self._bury(duty.dead_letters, config.dead_letters, held):
                    self._block(held)
                    return
                duty.counts.add("dead_lettered")
            else:
                duty.counts.add("dropped")
            duty.source.delete([held.pop(0).message])

    def _bury(self, deliver: Deliver, arn: str, held: list[_Held]) -> bool:
        """Take the first message to the dead-letter queue, however long it takes; False if it is refused."""
        delay = 0.5
        while True:
            try:
                deliver(arn, held[0].element)
            except Undeliverable as error:
                _logger.warning("%s: a dead letter is refused: %s", self._duty.config.name, error)
                return False
            except Exception as error:  # whatever the queue raises is its 5xx
                _logger.warning("%s: no dead-letter queue now: %s", self._duty.config.name, error)
                self._hold(held, delay + self._duty.hold_seconds)
                self._pace.wait(delay)
                delay = min(2 * delay, 60.0)
            else:
                return True

    def _block(self, held: list[_Held]) -> None:
        self._release(held)
        held.clear()
        _logger.error("%s: blocked; nothing is consumed until it is resumed", self._duty.config.name)
        self._pace.stand_still()

    def _hold(self, held: list[_Held], seconds: float) -> None:
        messages = self._duty.source.hold([each.message for each in held], seconds)
        held[:] = [replace(each, message=message) for each, message in zip(held, messages, strict=True)]

    def _release(self, held: Sequence[_Held]) -> None:
        try:
            self._duty.source.release([each.message for each in held])
        except Exception:  # they are seen again when their time is over
            _logger.exception("%s: messages could not be shown again", self._duty.config.name)


def _body(held: Sequence[_Held], shape: Shape) -> bytes:
    if shape == "bare":
        return held[0].element
    return b"[" + b",".join(each.element for each in held) + b"]"
