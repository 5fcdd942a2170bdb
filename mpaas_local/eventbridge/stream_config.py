"""The configuration of a trigger whose source is a queue (fc-runtime.md: Event stream configuration)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

from mpaas_local.eventbridge.payloads import MessageOrigin, SourceKind
from mpaas_local.fc.errors import PAYLOAD_LIMIT
from mpaas_local.fc.http_trigger import REQUEST_BODY_LIMIT
from project.patterns import EVERYTHING, Pattern

if TYPE_CHECKING:
    from project import triggers
    from project.triggers import RetryStrategy, Schema

__all__ = ["Shape", "StreamConfig", "stream_of"]

Shape = Literal["objects", "strings", "bare"]
"""An array of objects, an array of JSON texts, or one object without an array
(fc-runtime.md: Event streams)."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """A trigger of type `eventbridge` whose source is a queue (fc-runtime.md: Event stream configuration).

    Attributes:
        function: Name of the function.
        name: `triggerName`.
        origin: `eventSourceConfig`, as the messages name it.
        enabled: `triggerEnable`.
        asynchronous: Whether calls are asynchronous: `asyncInvocationType`.
        pattern: `eventRuleFilterPattern`; messages that do not match are deleted.
        schema: `eventSchema`.
        shape: How messages form a batch.
        count: `CountBasedWindow`, 1 to 10000 messages.
        seconds: `TimeBasedWindow`, 0 to 15.
        strategy: `PushRetryStrategy`.
        tolerant: `errorsTolerance` is ALL.
        dead_letters: `deadLetterQueue.Arn`.
        consumers: Concurrent calls: `concurrency` for Kafka with synchronous calls, otherwise 1.
    """

    function: str
    name: str
    origin: MessageOrigin
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
        """Maximum size, in bytes, of messages in one call (fc-runtime.md: Batches and retries)."""
        return PAYLOAD_LIMIT if self.asynchronous else REQUEST_BODY_LIMIT


def stream_of(
    trigger: triggers.EventBridge,
    function: str,
    *,
    async_literal: bool = True,
) -> StreamConfig:
    """Return the stream of a trigger whose source is a queue or topic.

    Args:
        trigger: From `s.yaml`; its source is one of `mpaas_local.eventbridge.payloads.SOURCES`.
        function: Name of the function.
        async_literal: The `asyncInvocationType` that means asynchronous calls; a setting, since the sources
            contradict each other (fc-runtime.md: Event stream configuration).
    """
    config, name = trigger.trigger_config, trigger.trigger_name
    kind = cast("SourceKind", config.event_source_config.event_source_type)
    run = config.run_options
    event_driven = run is not None and run.mode == "event-driven"
    asynchronous = config.async_invocation_type is async_literal
    stream = StreamConfig(
        function=function,
        name=name,
        origin=MessageOrigin(
            kind=kind,
            parameters=config.event_source_config.parameters,
            bus=f"{kind}-{function if event_driven else 'Function'}-{name}",
            datacontenttype="application/json;charset=utf-8" if event_driven else None,
        ),
        enabled=config.trigger_enable,
        asynchronous=asynchronous,
        pattern=config.pattern,
        schema=config.schema_of_events,
        shape="bare" if event_driven else "objects",
        consumers=config.concurrency if kind == "Kafka" and not asynchronous else 1,
    )
    if run is None:
        return stream
    return replace(
        stream,
        count=1 if event_driven else run.batch_window.count_based_window,
        seconds=0 if event_driven else run.batch_window.time_based_window,
        strategy=run.retry_strategy.push_retry_strategy,
        tolerant=run.errors_tolerance == "ALL",
        dead_letters=run.dead_letters or None,
    )
