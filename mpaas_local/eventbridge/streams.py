"""Event streams: messages of a queue become batches, batches become calls of a function
(fc-runtime.md: Event streams to Batches and retries).

A `StreamConfig` is read from a trigger of type `eventbridge`; an `EventStream` takes messages from a source,
calls the function with them on a thread of its own, and deletes them from the source only when the call
succeeded, so that what this process held when it ended comes again. What the reference leaves open is decided
like this:

* `asyncInvocationType: true` is asynchronous, as its name says, unless `stream_of` is told otherwise. What
  the asynchronous queue has accepted is acknowledged, as on FC; that queue is in memory.
* Without `batchWindow` every message is a batch. A time window counts from the first message.
* The size limit is that of the messages, without the brackets and commas between them: 128 KB are 64 of 2 KB
  (fc-runtime.md: Batches and retries). A message that is too large by itself is not tried again.
* With `errorsTolerance: NONE`, a stream that has used up its retries shows the messages again, stands still,
  and goes on with `resume` or a new start.
* A dead letter is one message: its element of the array. A dead-letter queue that refuses one blocks the
  stream.
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
    from mpaas_local.fc.destinations import Deliver

__all__ = ["EventStream"]

_COUNTS = (
    *("received", "delivered", "filtered", "dead_lettered", "dropped", "redelivered"),
    *("batches", "failures", "throttled", "retries"),
)


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
                poll_seconds=poll_seconds,
                redeliveries=redeliveries,
                chance=random.Random(seed + number),  # chance of a simulation
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
        if self._control.closed or not self._threads:
            return "stopped"
        return "blocked" if self._control.blocked else "running"

    @property
    def counts(self) -> dict[str, int]:
        """What has happened.

        Messages: `received`, `delivered`, `filtered`, `dead_lettered`, `dropped`, `redelivered` (on purpose).
        Calls: `batches` that succeeded, `failures`, `throttled`, `retries`.
        """
        return self._counts.read()

    def wake(self) -> None:
        """Look into the queue now."""
        self._control.wake()

    def resume(self) -> None:
        """Go on after `blocked`."""
        self._control.resume()

    def close(self, timeout: float = 1.0) -> None:
        """Stop at once; held messages are shown again. A call under way is left to end with its host.

        Args:
            timeout: Real seconds to wait for such a call.
        """
        self._control.close()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


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
