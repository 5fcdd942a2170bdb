"""Judges how the functions of a descriptor hang together: who reads which queue, and where the rest goes.

Each function may be right by itself, and a push still be lost: in a retry queue that nobody reads, in another
stage's queue, in a batch that takes longer than a stream lets a function run
(fc-runtime.md: Batches and retries, OSS trigger).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    _Functions = Mapping[str, Mapping[str, Any]]

__all__ = ["wiring_faults"]

STREAM_SECONDS = 300
"""Longest run of a function that a stream calls (fc-runtime.md: Batches and retries)."""
TRIGGERS_OF_A_BUCKET = 10
_THIS_MACHINE = re.compile(r"\w+://([^/@]*@)?(localhost|127\.[0-9.]+|\[::1\])([:/]|$)")
_WORKER, _RETRIES, _LETTERS = "PUSH_WORKER_FUNCTION", "PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"


@dataclass(frozen=True)
class _Stream:
    """A trigger that reads a queue in batches.

    Attributes:
        trigger: Its name.
        place: Of its configuration.
        config: The configuration.
    """

    trigger: str
    place: str
    config: Mapping[str, Any]

    @property
    def queue(self) -> str:
        """The queue of MNS that it reads; empty for another product's."""
        parameters = self.config["eventSourceConfig"].get("eventSourceParameters") or {}
        return str((parameters.get("sourceMNSParameters") or {}).get("QueueName", ""))

    @property
    def letters(self) -> str:
        """The queue that takes failed batches; empty where there is none."""
        named = (self.config.get("runOptions") or {}).get("deadLetterQueue") or {}
        return str(named.get("Arn", "")).rpartition(":/queues/")[2]


def wiring_faults(functions: _Functions, other_stages: Collection[str]) -> Iterator[Fault]:
    """Find what fits each function and not the others.

    Args:
        functions: The resolved properties by resource, each one checked by its model.
        other_stages: Names of the stages of the other descriptors.
    """
    streams = {name: list(_streams(name, props)) for name, props in functions.items()}
    for name, props in functions.items():
        place = f"resources.{name}.props"
        yield from _of_function(place, props)
        yield from _of_streams(place, props, streams[name])
        yield from _of_other_stages(place, props, other_stages)
        yield from _of_worker(place, props, functions)
    everything = [each for found in streams.values() for each in found]
    yield from _of_queues(functions, everything)
    yield from _of_buckets(functions)


def _streams(name: str, props: Mapping[str, Any]) -> Iterator[_Stream]:
    for trigger in props.get("triggers") or ():
        source = trigger["triggerConfig"].get("eventSourceConfig") or {}
        if source.get("eventSourceType", "Default") != "Default":
            place = f"resources.{name}.props.triggers.{trigger['triggerName']}.triggerConfig"
            yield _Stream(trigger["triggerName"], place, trigger["triggerConfig"])


def _of_function(place: str, props: Mapping[str, Any]) -> Iterator[Fault]:
    if props.get("internetAccess") is False and not props.get("vpcConfig"):
        yield Fault(f"{place}.internetAccess", "without it and without vpcConfig, nothing leads to mPaaS")
    for name, value in (props.get("environmentVariables") or {}).items():
        if _THIS_MACHINE.match(value):
            yield Fault(f"{place}.environmentVariables.{name}", "leads to the function's own instance")
    for trigger in props.get("triggers") or ():
        if trigger["triggerType"] == "http" and "POST" not in trigger["triggerConfig"]["methods"]:
            at = f"{place}.triggers.{trigger['triggerName']}.triggerConfig.methods"
            yield Fault(at, "POST is missing: nobody could push")


def _of_streams(place: str, props: Mapping[str, Any], streams: Collection[_Stream]) -> Iterator[Fault]:
    if streams and props["timeout"] > STREAM_SECONDS:
        text = f"is {props['timeout']} s; a function that a stream calls runs {STREAM_SECONDS} s at the most"
        yield Fault(f"{place}.timeout", text)
    for stream in streams:
        run = stream.config.get("runOptions") or {}
        if run.get("mode") == "event-streaming" and json.loads(stream.config["eventRuleFilterPattern"]):
            at = f"{stream.place}.eventRuleFilterPattern"
            yield Fault(at, "must be '{}' in a stream: what it does not want is lost")
        if run.get("errorsTolerance") == "ALL" and not stream.letters:
            yield Fault(f"{stream.place}.runOptions", "deadLetterQueue is missing: what fails is dropped")
        parameters = stream.config["eventSourceConfig"].get("eventSourceParameters") or {}
        for key, each in parameters.items():
            if each and each.get("RegionId", props["region"]) != props["region"]:
                at = f"{stream.place}.eventSourceConfig.eventSourceParameters.{key}.RegionId"
                yield Fault(at, f"is {each['RegionId']}; the function is in {props['region']}")


def _of_other_stages(place: str, props: Mapping[str, Any], others: Collection[str]) -> Iterator[Fault]:
    """Find names of another stage; the layer is left out, as its version comes with the deployment."""
    for at, text in _texts({key: each for key, each in props.items() if key != "layers"}, place):
        for other in others:
            if re.search(rf"\bmpaas-[\w-]*\b{re.escape(other)}\b", text):
                yield Fault(at, f"names what belongs to the stage {other}")


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, f"{place}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            name = each.get("triggerName", number) if isinstance(each, dict) else number
            yield from _texts(each, f"{place}.{name}")
    elif isinstance(value, str):
        yield place, value


def _of_worker(place: str, props: Mapping[str, Any], functions: _Functions) -> Iterator[Fault]:
    worker = (props.get("environmentVariables") or {}).get(_WORKER)
    if not worker:
        return
    found = next((each for each in functions.values() if each["functionName"] == worker), None)
    at = f"{place}.environmentVariables.{_WORKER}"
    if found is None:
        yield Fault(at, f"{worker} is no function of this file")
    elif not found["asyncInvokeConfig"].get("asyncTask"):
        yield Fault(at, f"asyncInvokeConfig.asyncTask of {worker} must be true, or tasks are taken twice")


def _of_queues(functions: _Functions, streams: Collection[_Stream]) -> Iterator[Fault]:
    """Find queues that have two uses, and retries that nobody would read."""
    readers: dict[str, _Stream] = {}
    for stream in streams:
        if stream.queue and readers.setdefault(stream.queue, stream) is not stream:
            yield Fault(stream.place, f"{stream.queue} is read by {readers[stream.queue].trigger} too")
    for stream in streams:
        if stream.letters in readers:
            at = f"{stream.place}.runOptions.deadLetterQueue.Arn"
            yield Fault(at, f"{stream.letters} is read by a trigger: what failed would come without end")
    read = {stream.queue for stream in streams if stream.config["triggerEnable"]}
    for name, props in functions.items():
        place = f"resources.{name}.props.environmentVariables"
        variables = props.get("environmentVariables") or {}
        retries, letters = variables.get(_RETRIES), variables.get(_LETTERS)
        if retries and retries not in read:
            yield Fault(f"{place}.{_RETRIES}", f"no trigger that is on reads {retries}")
        if letters and letters in {retries, *readers}:
            yield Fault(f"{place}.{_LETTERS}", f"{letters} is read by a trigger, or the retry queue too")


def _of_buckets(functions: _Functions) -> Iterator[Fault]:
    """Find OSS triggers that OSS would refuse beside each other (fc-runtime.md: OSS trigger)."""
    triggers: defaultdict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for name, props in functions.items():
        for trigger in props.get("triggers") or ():
            if trigger["triggerType"] == "oss":
                place = f"resources.{name}.props.triggers.{trigger['triggerName']}"
                triggers[trigger["sourceArn"]].append((place, trigger["triggerConfig"]))
    for found in triggers.values():
        for place, _ in found[TRIGGERS_OF_A_BUCKET:]:
            yield Fault(place, f"is one too many: a bucket has {TRIGGERS_OF_A_BUCKET} triggers at the most")
        for (first, ours), (second, theirs) in combinations(found, 2):
            if _overlap(ours, theirs):
                at = f"{second}.triggerConfig"
                yield Fault(at, f"wants what {first.split('.')[-1]} wants too: OSS refuses it")


def _overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    ours, theirs = (each["filter"]["key"] for each in (first, second))
    prefixes = sorted((ours.get("prefix", ""), theirs.get("prefix", "")), key=len)
    suffixes = sorted((ours.get("suffix", ""), theirs.get("suffix", "")), key=len)
    return (
        prefixes[1].startswith(prefixes[0])
        and suffixes[1].endswith(suffixes[0])
        and any(_same_event(one, other) for one in first["events"] for other in second["events"])
    )


def _same_event(one: str, other: str) -> bool:
    both_of = one.rpartition(":")[0] == other.rpartition(":")[0]
    return one == other or (both_of and "*" in {one.rpartition(":")[2], other.rpartition(":")[2]})
