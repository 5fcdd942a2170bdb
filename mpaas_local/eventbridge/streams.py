"""Event streams: messages of a queue become batches, batches become calls of a function
(fc-runtime.md: Event streams to Batches and retries).

A `StreamConfig` comes from a trigger of type `eventbridge`. An `EventStream` receives messages from a source,
calls the function with them on its own thread, and deletes them only after the call has succeeded: if this
process ends first, they are redelivered. Choices where the reference is silent:

* `asyncInvocationType: true` is asynchronous, as its name says, unless `stream_of` is configured otherwise.
  Messages are acknowledged when the asynchronous queue has accepted them, as on FC.
* Without `batchWindow` every message is a batch. A time window counts from the first message.
* The size limit counts the messages, without brackets and commas: 128 KB hold 64 messages of 2 KB
  (fc-runtime.md: Batches and retries). A single message that exceeds the limit is not retried.
* With `errorsTolerance: NONE`, after the last retry the stream makes its messages visible again and blocks
  until `resume` or a restart.
* A dead letter is one message: its element of the array. If the dead-letter queue refuses one, the stream
  blocks.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Literal

from mpaas_local.account import Account
from mpaas_local.clock import Clock
from mpaas_local.counts import Counts
from mpaas_local.eventbridge.consumer import Consumer, StreamControl

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpaas_local.eventbridge.sources import Source
    from mpaas_local.eventbridge.stream_config import StreamConfig
    from mpaas_local.fc.call import Accept, Invoke
    from mpaas_local.fc.destinations import DeliverRecord

__all__ = ["EventStream"]

_COUNTS = (
    *("received", "delivered", "filtered", "dead_lettered", "dropped", "redelivered"),
    *("batches", "failures", "throttled", "retries"),
)


class EventStream:
    """Delivers the messages of one trigger to its function; a context manager.

    Args:
        config: The trigger.
        source: The queue of the messages.
        invoke: Calls the function, for synchronous triggers.
        accept: Accepts events for the function, for asynchronous triggers.
        dead_letters: Delivers a message to the ARN of the dead-letter queue.
        account: Account and region in the messages.
        clock: None for that of the machine.
        hold_seconds: How long messages are hidden for one call; longer than the function's timeout. If this
            process dies, they become visible after that.
        redeliveries: Probability that a successful batch is redelivered instead of deleted, 0 to 1.
        seed: Seed of that probability and of random delays.
    """

    def __init__(
        self,
        config: StreamConfig,
        source: Source,
        *,
        invoke: Invoke | None = None,
        accept: Accept | None = None,
        dead_letters: DeliverRecord | None = None,
        account: Account | None = None,
        clock: Clock | None = None,
        hold_seconds: float = 90.0,
        redeliveries: float = 0.0,
        seed: int = 0,
    ) -> None:
        push = accept if config.asynchronous else _synchronous(invoke)
        if push is None:
            raise ValueError(f"{config.name}: {'accept' if config.asynchronous else 'invoke'} is required")
        if config.dead_letters and dead_letters is None:
            raise ValueError(f"{config.name}: dead_letters is required for {config.dead_letters}")
        self.config = config
        self._clock = clock or Clock()
        self._control = StreamControl(self._clock)
        self._counts = Counts(*_COUNTS)
        self._consumers = [
            Consumer(
                control=self._control,
                config=config,
                source=source,
                push=push,
                dead_letters=dead_letters,
                account=account or Account(),
                clock=self._clock,
                counts=self._counts,
                hold_seconds=hold_seconds,
                redeliveries=redeliveries,
                rng=random.Random(seed + number),  # for a simulation, not for secrets
            )
            for number in range(config.consumers)
        ]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start consuming, if the trigger is enabled."""
        if self.config.enabled and not self._threads:
            for number, consumer in enumerate(self._consumers, 1):
                name = f"stream-{self.config.name}-{number}"
                self._threads.append(threading.Thread(target=consumer.run, name=name, daemon=True))
                self._threads[-1].start()
        return self

    @property
    def state(self) -> Literal["disabled", "running", "blocked", "stopped"]:
        """The state; `errorsTolerance: NONE` leads to `blocked` after the last retry
        (fc-runtime.md: Batches and retries).
        """
        if not self.config.enabled:
            return "disabled"
        if self._control.closed or not self._threads:
            return "stopped"
        return "blocked" if self._control.blocked else "running"

    @property
    def counts(self) -> dict[str, int]:
        """Counters.

        Messages: `received`, `delivered`, `filtered`, `dead_lettered`, `dropped`, `redelivered` (simulated).
        Calls: successful `batches`, `failures`, `throttled`, `retries`.
        """
        return self._counts.read()

    def wake(self) -> None:
        """Read the queue now."""
        self._control.wake()

    def resume(self) -> None:
        """Continue after `blocked`."""
        self._control.resume()

    def close(self, timeout: float = 1.0) -> None:
        """Stop at once and make held messages visible again. A running call ends with its host.

        Args:
            timeout: Real seconds to wait for a running call.
        """
        self._control.close()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class _FunctionFailed(Exception):
    """The function failed to process a batch."""


def _synchronous(invoke: Invoke | None) -> Accept | None:
    if invoke is None:
        return None

    def call(body: bytes, *, size: int | None = None) -> str:
        del size
        result = invoke(body)
        if result.error_type is not None:
            raise _FunctionFailed(f"{result.error_type}, request {result.request_id}")
        return result.request_id

    return call
