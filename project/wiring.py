"""Checks how the functions of a descriptor work together: which reads which queue, and where failures go.

A push can be lost although each function is correct: in a retry queue without a reader, in the queue of
another stage, or in a batch that exceeds the time limit of a stream
(fc-runtime.md: Batches and retries, OSS trigger).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mpaas_push.errors import Fault
from mpaas_push.settings import is_loopback
from project.triggers import EventBridge, Http, Oss, Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from project.function import FunctionProperties
    from project.triggers import EventBridgeConfig, OssConfig

    _Functions = Mapping[str, FunctionProperties]

__all__ = ["WEEK_SECONDS", "mns_queues", "mns_topics", "overlap", "visibility_seconds", "wiring_faults"]

STREAM_SECONDS = 300
"""Longest timeout of a function that a stream calls (fc-runtime.md: Batches and retries)."""
TRIGGERS_PER_BUCKET = 10
SPARE_SECONDS = 30
"""How long a message stays hidden after the timeout of its function."""
LONGEST_VISIBILITY_SECONDS = 43200
WEEK_SECONDS = 7 * 24 * 3600
"""How long queues keep messages, the longest that MNS allows."""
_WORKERS = ("PUSH_WORKER_FUNCTION", "PUSH_CAMPAIGN_FUNCTION")
_RETRIES, _DEAD_LETTERS = "PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"


def mns_queues(functions: Iterable[FunctionProperties]) -> set[str]:
    """Return the MNS queues that functions and their triggers read or write."""
    names: set[str] = set()
    for function in functions:
        variables = function.environment_variables
        names |= {variables.get(_RETRIES, ""), variables.get(_DEAD_LETTERS, "")}
        arns = [function.async_invoke_config.on_success or "", function.async_invoke_config.on_failure]
        for stream in _streams("", function):
            names.add(stream.queue)
            arns.append(stream.dead_letter_arn)
        names |= {match[1] for match in map(_QUEUE.search, arns) if match}
    return names - {""}


def mns_topics(functions: Iterable[FunctionProperties]) -> set[str]:
    """Return the MNS topics that triggers read or that receive records."""
    names: set[str] = set()
    for function in functions:
        names |= {trigger.topic for trigger in function.triggers if isinstance(trigger, Topic)}
        arns = [function.async_invoke_config.on_success or "", function.async_invoke_config.on_failure]
        names |= {match[1] for match in map(_TOPIC.search, arns) if match}
    return names


def visibility_seconds(functions: Iterable[FunctionProperties]) -> int:
    """Return the visibility timeout of the queues: longer than any function that reads one may run."""
    longest = max((function.timeout for function in functions if any(_streams("", function))), default=0)
    return min(longest + SPARE_SECONDS, LONGEST_VISIBILITY_SECONDS)


_QUEUE = re.compile(r"^acs:mns:.*:/queues/([\w-]+)")
_TOPIC = re.compile(r"^acs:mns:.*:/topics/([\w-]+)")


@dataclass(frozen=True)
class _Stream:
    """A trigger that reads a queue in batches.

    Attributes:
        trigger: Name of the trigger.
        path: Path of its configuration.
        config: The configuration.
    """

    trigger: str
    path: str
    config: EventBridgeConfig

    @property
    def queue(self) -> str:
        """The MNS queue that it reads; empty for another product."""
        return self.config.event_source_config.queue

    @property
    def dead_letter_arn(self) -> str:
        """ARN of its dead-letter queue; empty if there is none."""
        return self.config.run_options.dead_letters if self.config.run_options else ""

    @property
    def dead_letters(self) -> str:
        """Name of its dead-letter queue; empty if there is none."""
        return self.dead_letter_arn.rpartition(":/queues/")[2]


def wiring_faults(functions: _Functions, other_stages: Collection[str]) -> Iterator[Fault]:
    """Find faults between functions.

    Args:
        functions: The functions by resource.
        other_stages: The stages of the other descriptors.
    """
    streams = {name: list(_streams(name, props)) for name, props in functions.items()}
    for name, props in functions.items():
        path = f"resources.{name}.props"
        yield from _function_faults(path, props)
        yield from _stream_faults(path, props, streams[name])
        yield from _other_stage_faults(path, props, other_stages)
        yield from _worker_faults(path, props, functions)
    yield from _runtime_faults(functions)
    yield from _queue_faults(functions, [stream for group in streams.values() for stream in group])
    yield from _bucket_faults(functions)


def _streams(name: str, props: FunctionProperties) -> Iterator[_Stream]:
    for trigger in props.triggers:
        if isinstance(trigger, EventBridge) and trigger.is_stream:
            path = f"resources.{name}.props.triggers.{trigger.trigger_name}.triggerConfig"
            yield _Stream(trigger.trigger_name, path, trigger.trigger_config)


def _function_faults(path: str, props: FunctionProperties) -> Iterator[Fault]:
    if not props.internet_access and not props.vpc_config:
        yield Fault(
            f"{path}.internetAccess", "must be true, or vpcConfig set: the function could not reach mPaaS"
        )
    for name, value in props.environment_variables.items():
        if _is_on_this_machine(value):
            yield Fault(f"{path}.environmentVariables.{name}", "is an address of the function's own instance")
    for trigger in props.triggers:
        if isinstance(trigger, Http) and "POST" not in trigger.trigger_config.methods:
            at = f"{path}.triggers.{trigger.trigger_name}.triggerConfig.methods"
            yield Fault(at, "POST is missing: no push could be sent")


def _is_on_this_machine(value: str) -> bool:
    try:
        url = urlsplit(value)
    except ValueError:
        return False
    return is_loopback(url.hostname or "")


def _stream_faults(path: str, props: FunctionProperties, streams: Collection[_Stream]) -> Iterator[Fault]:
    if streams and props.timeout > STREAM_SECONDS:
        text = f"is {props.timeout} s; a function that a stream calls may run at most {STREAM_SECONDS} s"
        yield Fault(f"{path}.timeout", text)
    for stream in streams:
        run, source = stream.config.run_options, stream.config.event_source_config
        if run and run.mode == "event-streaming" and stream.config.pattern.fields:
            at = f"{stream.path}.eventRuleFilterPattern"
            yield Fault(at, "must be '{}' in a stream: messages that do not match are lost")
        if run and run.errors_tolerance == "ALL" and not stream.dead_letters:
            yield Fault(
                f"{stream.path}.runOptions", "deadLetterQueue is missing: failed messages are dropped"
            )
        if (region := source.parameters.get("RegionId", props.region)) != props.region:
            at = f"eventSourceParameters.source{source.event_source_type}Parameters.RegionId"
            text = f"is {region}; the function is in {props.region}"
            yield Fault(f"{stream.path}.eventSourceConfig.{at}", text)


def _other_stage_faults(path: str, props: FunctionProperties, others: Collection[str]) -> Iterator[Fault]:
    """Find names of another stage, except in the layer, whose version the deployment sets."""
    for at, text in _texts(props.model_dump(by_alias=True, exclude_unset=True, exclude={"layers"}), path):
        for other in others:
            if re.search(rf"\bmpaas-[\w-]*\b{re.escape(other)}(?![\w-])", text):
                yield Fault(at, f"names a resource of the stage {other}")


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("triggerName", index) if isinstance(item, dict) else index
            yield from _texts(item, f"{path}.{name}")
    elif isinstance(value, str):
        yield path, value


def _worker_faults(path: str, props: FunctionProperties, functions: _Functions) -> Iterator[Fault]:
    deployed = [function.function_name for function in functions.values()]
    for variable in _WORKERS:
        name = props.environment_variables.get(variable)
        if not name:
            continue
        worker = next((function for function in functions.values() if function.function_name == name), None)
        at = f"{path}.environmentVariables.{variable}"
        if worker is None:
            yield Fault(at, f"{name} is not a function of this file")
        elif not worker.async_invoke_config.async_task:
            yield Fault(at, f"asyncInvokeConfig.asyncTask of {name} must be true, or a task may run twice")
        elif deployed.index(name) > deployed.index(props.function_name) and any(
            isinstance(trigger, Http) for trigger in props.triggers
        ):
            yield Fault(at, f"{name} is deployed after this function: move it up, so that requests find it")


def _runtime_faults(functions: _Functions) -> Iterator[Fault]:
    first = next(iter(functions.values()))
    for name, props in functions.items():
        if props.runtime != first.runtime:
            text = f"is {props.runtime}, but {first.function_name} has {first.runtime}: they share a layer"
            yield Fault(f"resources.{name}.props.runtime", text)


def _queue_faults(functions: _Functions, streams: Collection[_Stream]) -> Iterator[Fault]:
    """Find queues with two uses, and retry queues without a reader."""
    readers: dict[str, _Stream] = {}
    for stream in streams:
        if stream.queue and readers.setdefault(stream.queue, stream) is not stream:
            yield Fault(stream.path, f"{stream.queue} is also read by {readers[stream.queue].trigger}")
    for stream in streams:
        if stream.dead_letters in readers:
            at = f"{stream.path}.runOptions.deadLetterQueue.Arn"
            text = f"{stream.dead_letters} is read by a trigger: failed messages would loop"
            yield Fault(at, text)
    read = {stream.queue for stream in streams if stream.config.trigger_enable}
    for name, props in functions.items():
        path = f"resources.{name}.props.environmentVariables"
        variables = props.environment_variables
        retries, dead_letters = variables.get(_RETRIES), variables.get(_DEAD_LETTERS)
        if retries and retries not in read:
            yield Fault(f"{path}.{_RETRIES}", f"no enabled trigger reads {retries}")
        if dead_letters and dead_letters in {retries, *readers}:
            text = f"{dead_letters} is read by a trigger or is also the retry queue"
            yield Fault(f"{path}.{_DEAD_LETTERS}", text)


def _bucket_faults(functions: _Functions) -> Iterator[Fault]:
    """Find OSS triggers that OSS would refuse together (fc-runtime.md: OSS trigger)."""
    by_bucket: defaultdict[str, list[tuple[str, Oss]]] = defaultdict(list)
    for name, props in functions.items():
        for trigger in props.triggers:
            if isinstance(trigger, Oss):
                path = f"resources.{name}.props.triggers.{trigger.trigger_name}"
                by_bucket[trigger.source_arn].append((path, trigger))
    for triggers in by_bucket.values():
        for path, _ in triggers[TRIGGERS_PER_BUCKET:]:
            yield Fault(path, f"is one too many: a bucket may have at most {TRIGGERS_PER_BUCKET} triggers")
        for (_, ours), (path, theirs) in combinations(triggers, 2):
            if overlap(ours.trigger_config, theirs.trigger_config):
                text = f"{ours.trigger_name} matches the same events: OSS would refuse this trigger"
                yield Fault(f"{path}.triggerConfig", text)


def overlap(first: OssConfig, second: OssConfig) -> bool:
    """Return whether OSS would refuse two triggers of one bucket (fc-runtime.md: OSS trigger)."""
    ours, theirs = first.filter.key, second.filter.key
    prefixes = sorted((ours.prefix, theirs.prefix), key=len)
    suffixes = sorted((ours.suffix, theirs.suffix), key=len)
    return (
        prefixes[1].startswith(prefixes[0])
        and suffixes[1].endswith(suffixes[0])
        and any(_same_event(one, other) for one in first.events for other in second.events)
    )


def _same_event(one: str, other: str) -> bool:
    both_of = one.rpartition(":")[0] == other.rpartition(":")[0]
    return one == other or (both_of and "*" in {one.rpartition(":")[2], other.rpartition(":")[2]})
