"""Reads `template.yml`, a stack of Resource Orchestration Service, and compares it with `s.yaml`.

Its functions are resolved with the parameters' defaults, as far as the project uses them: `Ref`, `Fn::Sub`
and `Fn::GetAtt`. What another function of ROS would compute is not judged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mpaas_push.errors import Fault
from project.descriptor import DescriptorError, read_yaml
from project.faults import faults_of
from project.function import SharedProperties
from project.ros_resources import (
    Layer,
    Queue,
    Role,
    StackAsyncSettings,
    StackConcurrency,
    StackFrame,
    StackFunction,
    StackTrigger,
    Topic,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from project.function import FunctionProperties

__all__ = ["PSEUDO", "RosTemplate", "substituted"]

PSEUDO = {"ALIYUN::Region": "cn-hangzhou", "ALIYUN::AccountId": "000000000000"}
"""What `s.yaml` too takes for the region and the account when nothing is set."""

MODELS: dict[str, type[BaseModel]] = {
    "ALIYUN::FC3::Function": StackFunction,
    "ALIYUN::FC3::Trigger": StackTrigger,
    "ALIYUN::FC3::AsyncInvokeConfig": StackAsyncSettings,
    "ALIYUN::FC3::ConcurrencyConfig": StackConcurrency,
    "ALIYUN::FC3::LayerVersion": Layer,
    "ALIYUN::MNS::Queue": Queue,
    "ALIYUN::MNS::Topic": Topic,
    "ALIYUN::RAM::Role": Role,
}
_ATTRIBUTES = {
    "ALIYUN::FC3::Function": {"ARN", "FunctionId", "FunctionName"},
    "ALIYUN::FC3::Trigger": {"TriggerId", "TriggerName", "UrlInternet", "UrlIntranet", "FunctionName"},
    "ALIYUN::RAM::Role": {"Arn", "RoleName", "RoleId"},
}
_AS_WRITTEN = {"EnvironmentVariables", "TriggerConfig", "AssumeRolePolicyDocument", "PolicyDocument", "Tags"}


class RosTemplate:
    """A template.

    Args:
        path: The file.

    Attributes:
        file: Its name.
        document: All that it says.

    Raises:
        DescriptorError: it cannot be read, or names what is not there.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.name
        self.document = read_yaml(path)
        try:
            StackFrame.model_validate(self.document)
        except ValidationError as error:
            raise DescriptorError(self.file, list(faults_of(error, ""))) from None
        parameters = self.document.get("Parameters") or {}
        resources = self.document["Resources"]
        faults = [
            *_unknown_names(self.document, parameters, resources),
            *(_late_names(resources)),
        ]
        if faults:
            raise DescriptorError(self.file, faults)
        values = PSEUDO | {name: each.get("Default", "") for name, each in parameters.items()}
        self._values = values
        self._resources = {name: _resolved(each, values, resources) for name, each in resources.items()}

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resolved properties of the resources of a kind, such as ``FC3::Function``."""
        return {
            name: each.get("Properties") or {}
            for name, each in self._resources.items()
            if each["Type"] == f"ALIYUN::{kind}"
        }

    def resolved(self, value: Any) -> Any:
        """Return a value with every `${Name}` in its texts filled by the parameters' defaults."""
        return substituted(value, self._values)

    def faults(self) -> Iterator[Fault]:
        """Find what may not stand in the properties of a resource."""
        for name, each in self._resources.items():
            model = MODELS.get(each["Type"])
            if model is None:
                continue
            place = f"Resources.{name}.Properties"
            value = _lowered(each.get("Properties") or {})
            if model is StackTrigger:
                trigger = {key: each for key, each in value.items() if key != "functionName"}
                value = {"functionName": value.get("functionName"), "trigger": trigger}
            try:
                model.model_validate(value)
            except ValidationError as error:
                for fault in faults_of(error, "", computed=True):
                    yield Fault(f"{place}.{_raised(fault.field)}".rstrip("."), fault.message)

    def hasty_queues(self) -> Iterator[Fault]:
        """Find queues that hand a message out again while a function may still be at work on it."""
        timeouts = {
            each.get("FunctionName"): each.get("Timeout") for each in self.of("FC3::Function").values()
        }
        for trigger in self.of("FC3::Trigger").values():
            source = (trigger.get("TriggerConfig") or {}).get("eventSourceConfig") or {}
            parameters = (source.get("eventSourceParameters") or {}).get("sourceMNSParameters") or {}
            function, timeout = trigger.get("FunctionName"), timeouts.get(trigger.get("FunctionName"))
            for name, queue in self.of("MNS::Queue").items():
                visibility = queue.get("VisibilityTimeout", _VISIBILITY_SECONDS)
                if queue.get("QueueName") == parameters.get("QueueName") and _exceeds(timeout, visibility):
                    yield Fault(
                        f"Resources.{name}.Properties.VisibilityTimeout",
                        f"is {visibility} s, but {function} may run {timeout} s: the message would come again"
                        " meanwhile",
                    )

    def unmade(self) -> Iterator[Fault]:
        """Find queues and topics of MNS that something of the stack names and nothing of it makes."""
        made = {f"queues/{each.get('QueueName')}" for each in self.of("MNS::Queue").values()}
        made |= {f"topics/{each.get('TopicName')}" for each in self.of("MNS::Topic").values()}
        for name, resource in self._resources.items():
            if resource["Type"].startswith("ALIYUN::FC3::"):
                for place, text in _named(resource.get("Properties"), f"Resources.{name}.Properties"):
                    if text not in made:
                        yield Fault(place, f"no resource here makes {text}")

    def differences(self, functions: Mapping[str, FunctionProperties]) -> Iterator[Fault]:
        """Find where the stack deploys other functions than `s.yaml`.

        Args:
            functions: Those of `s.yaml`, expressions at their defaults.
        """
        written = {
            each.function_name: each.model_dump(by_alias=True, exclude_unset=True)
            for each in functions.values()
        }
        described = {str(each.get("FunctionName")): name for name, each in self.of("FC3::Function").items()}
        for name in sorted(
            described.keys() ^ written.keys(),
        ):
            where = "here" if name in written else "in s.yaml"
            place = (
                f"Resources.{described[name]}.Properties.FunctionName" if name in described else "Resources"
            )
            yield Fault(place, f"there is no function {name} {where}")
        for name in sorted(described.keys() & written.keys()):
            theirs, places = self._function(name)
            ours = written[name]
            for key in _COMPARED:
                place = places.get(key, f"Resources.{described[name]}.Properties.{key[0].upper()}{key[1:]}")
                yield from _differences(theirs.get(key), ours.get(key), place)
            yield from self._trigger_differences(name, described[name], ours)

    def _function(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return a function as `s.yaml` would write it, and where what stands elsewhere stands."""
        (found,) = [each for each in self.of("FC3::Function").values() if each.get("FunctionName") == name]
        function = _lowered(found)
        places = {}
        for kind, key in _APART.items():
            for resource, each in self.of(kind).items():
                if each.get("FunctionName") == name:
                    lowered = _lowered(each)
                    function[key] = {part: lowered[part] for part in lowered if part != "functionName"}
                    places[key] = f"Resources.{resource}.Properties"
        return function, places

    def _trigger_differences(self, name: str, resource: str, ours: Mapping[str, Any]) -> Iterator[Fault]:
        theirs = {
            str(each.get("TriggerName")): (place, _lowered(each))
            for place, each in self.of("FC3::Trigger").items()
            if each.get("FunctionName") == name
        }
        written = {str(each.get("triggerName")): each for each in ours.get("triggers") or ()}
        for trigger in sorted(theirs.keys() ^ written.keys(), key=str):
            place = theirs[trigger][0] if trigger in theirs else resource
            where = "in s.yaml" if trigger in theirs else "here"
            yield Fault(f"Resources.{place}", f"there is no trigger {trigger} of {name} {where}")
        for trigger in sorted(theirs.keys() & written.keys(), key=str):
            place, found = theirs[trigger]
            for key in ("triggerType", "sourceArn", "invocationRole", "triggerConfig"):
                at = f"Resources.{place}.Properties.{key[0].upper()}{key[1:]}"
                yield from _differences(found.get(key), written[trigger].get(key), at)


def _named(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the queues and topics of MNS that a value names: place, and name as it ends an ARN."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "sourceMNSParameters" and isinstance(each, dict):
                yield f"{place}.{key}.QueueName", f"queues/{each.get('QueueName')}"
            elif key in {"PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"} and each:
                yield f"{place}.{key}", f"queues/{each}"
            else:
                yield from _named(each, f"{place}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _named(each, f"{place}.{index}")
    elif isinstance(value, str) and (found := _OF_MNS.search(value)):
        yield place, found[1]


_OF_MNS = re.compile(r"^acs:mns:.*:/((?:queues|topics)/[\w-]+)")
_VISIBILITY_SECONDS = 30
"""Of a queue that says nothing."""


def _exceeds(timeout: Any, visibility: Any) -> bool:
    return isinstance(timeout, int) and isinstance(visibility, int) and timeout >= visibility


_APART = {"FC3::AsyncInvokeConfig": "asyncInvokeConfig", "FC3::ConcurrencyConfig": "concurrencyConfig"}
_COMPARED = [str(field.alias) for field in SharedProperties.model_fields.values()] + list(_APART.values())


def substituted(value: Any, values: Mapping[str, Any]) -> Any:
    """Fill `${Name}` in every text of a value; names without a value stay."""
    if isinstance(value, dict):
        return {key: substituted(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [substituted(each, values) for each in value]
    if isinstance(value, str):
        return _NAME.sub(lambda found: str(values.get(found[1], found[0])), value)
    return value


_NAME = re.compile(r"\$\{([^}!]+)\}")


def _differences(theirs: Any, ours: Any, place: str) -> Iterator[Fault]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys(), key=str):
            yield from _differences(theirs.get(key), ours.get(key), f"{place}.{key}")
    elif theirs != ours and not _computed(theirs):
        # A key that stands in a variable by mistake must not stand in a log too.
        hidden = "environmentvariables." in place.lower()
        here, there = (_is_set(each) if hidden else _shown(each) for each in (theirs, ours))
        yield Fault(place, f"is {here}; in s.yaml it is {there if here != there else 'another value'}")


def _is_set(value: Any) -> str:
    return "missing" if value is None else "set"


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) < _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_LONGEST_SHOWN = 80


def _computed(value: Any) -> bool:
    return isinstance(value, dict) and any(str(key).startswith("Fn::") for key in value)


def _lowered(value: Any) -> Any:
    """Write keys as `s.yaml` does: without the capital letter."""
    if isinstance(value, dict):
        return {
            str(key)[:1].lower() + str(key)[1:]: each
            if key in _AS_WRITTEN or _computed(value)
            else _lowered(each)
            for key, each in value.items()
        }
    return [_lowered(each) for each in value] if isinstance(value, list) else value


def _raised(field: str) -> str:
    steps = field.removeprefix("trigger.").split(".")
    for index, step in enumerate(steps):
        steps[index] = step[:1].upper() + step[1:]
        if steps[index] in _AS_WRITTEN:
            break
    return ".".join(steps)


def _resolved(value: Any, values: Mapping[str, Any], resources: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(each, values, resources) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"} and isinstance(value["Ref"], str):
        return values.get(value["Ref"], value["Ref"])
    if value.keys() == {"Fn::Sub"} and isinstance(value["Fn::Sub"], str):
        return substituted(value["Fn::Sub"], values)
    if value.keys() == {"Fn::GetAtt"} and _is_pair(value["Fn::GetAtt"]):
        resource, attribute = value["Fn::GetAtt"]
        return _attribute(resource, attribute, values, resources)
    return {key: _resolved(each, values, resources) for key, each in value.items()}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and [type(each) for each in value] == [str, str]


def _attribute(resource: str, attribute: str, values: Mapping[str, Any], resources: Mapping[str, Any]) -> Any:
    """Return what a resource will be known as; ARNs as the cloud makes them from names."""
    properties = resources[resource].get("Properties") or {}
    if attribute in properties:
        return _resolved(properties[attribute], values, resources)
    if attribute == "Arn":
        name = _resolved(properties.get("RoleName"), values, resources)
        return f"acs:ram::{values['ALIYUN::AccountId']}:role/{name}"
    if attribute == "LayerVersionArn":
        name = _resolved(properties.get("LayerName"), values, resources)
        where = f"{values['ALIYUN::Region']}:{values['ALIYUN::AccountId']}"
        return f"acs:fc:{where}:layers/{name}/versions/1"
    return f"{resource}.{attribute}"


def _unknown_names(
    document: Mapping[str, Any], parameters: Mapping[str, Any], resources: Mapping[str, Any]
) -> Iterator[Fault]:
    for place, name, attribute in _references(document, ""):
        if name not in parameters and name not in resources and not name.startswith("ALIYUN::"):
            yield Fault(place, f"{name} is neither a parameter nor a resource")
        elif attribute and name in resources:
            allowed = _ATTRIBUTES.get(resources[name]["Type"])
            if allowed and attribute not in allowed:
                yield Fault(
                    place, f"{name} has no attribute {attribute}; it has {', '.join(sorted(allowed))}"
                )


def _references(value: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield every name that `Ref`, `Fn::GetAtt` and `Fn::Sub` speak of: place, name, attribute."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _references(each, f"{place}.{index}")
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "Ref":
                yield place, str(each), ""
            elif key == "Fn::GetAtt":
                named, attribute = each if _is_pair(each) else (each, "")
                yield place, str(named), str(attribute)
            elif key == "Fn::Sub" and isinstance(each, str):
                yield from ((place, *name.partition(".")[::2]) for name in _NAME.findall(each))
            else:
                yield from _references(each, f"{place}.{key}".lstrip("."))


def _late_names(resources: Mapping[str, Any]) -> Iterator[Fault]:
    for name, each in resources.items():
        needed = each.get("DependsOn") or []
        for other in [needed] if isinstance(needed, str) else needed:
            if other not in resources:
                yield Fault(f"Resources.{name}.DependsOn", f"there is no resource {other}")
