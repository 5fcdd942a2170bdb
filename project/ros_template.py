"""Generates `template.yml`, a stack of Resource Orchestration Service, from `s.yaml`
(deploy.md: ROS resource types).

Environment variables of `s.yaml` become parameters. A function of the example `s.sources.yaml` is created
only if the parameter with its instance is set. The stack also creates the role, layer, queues and topics,
which `s.yaml` only names.

To find where each setting is used, the functions are read with a marker as the value of each setting.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push.errors import Fault
from project.descriptor import Descriptor, DescriptorError, read_functions, read_yaml
from project.expressions import variables_of
from project.policies import TRUST_POLICY
from project.secret_settings import may_hold_password
from project.stages import EXAMPLE, stage_file, stages
from project.triggers import EventBridge, Http
from project.wiring import WEEK_SECONDS, mns_queues, mns_topics, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from project.function import FunctionProperties
    from project.triggers import Trigger

__all__ = ["make_template", "template_faults", "template_text"]

LONGEST_SHOWN = 80

_REGION = "me-central-1"
"""The marker of the region: a valid one, but unlikely to be in use."""
_LAYER = "acs:fc:zqregionqz:zqaccountqz:layers/zqlayerqz/versions/1"
_PSEUDO = {"ALIBABA_CLOUD_REGION_ID": "ALIYUN::Region", "ALIBABA_CLOUD_ACCOUNT_ID": "ALIYUN::AccountId"}
_NAMES = {
    "STAGE": "Stage",
    "MPAAS_APP_ID": "AppId",
    "MPAAS_WORKSPACE_ID": "WorkspaceId",
    "PUSH_LEDGER_URL": "LedgerUrl",
    "UPLOADS_BUCKET": "UploadsBucket",
}
"""Parameters of settings; the parameter of any other setting is its name in PascalCase."""
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "Stage": {
        "Description": "Part of every name, including the Log Service project with the logstore `functions`"
    },
    "CodeBucket": {
        "Default": "mpaas-push-code",
        "MinLength": 3,
        "MaxLength": 63,
        "Description": "OSS bucket that holds the packages of functions and layer, in this region",
    },
    "CodePrefix": {
        "Default": "mpaas-push",
        "MinLength": 1,
        "Description": "Folder in the bucket with a zip of each function and layer.zip",
    },
    "AppId": {"MinLength": 1, "Description": "mPaaS app id, the only one that the role may push to"},
    "WorkspaceId": {"MinLength": 1, "Description": "mPaaS workspace"},
    "LedgerUrl": {
        "NoEcho": True,
        "AllowedPattern": "^(rediss?://.+)?$",
        "Description": "Redis or Tair that remembers what was sent, or empty",
    },
    "UploadsBucket": {
        "MinLength": 3,
        "MaxLength": 63,
        "Description": "OSS bucket whose uploads become pushes",
    },
}
_SEPARATE = {"code", "region", "triggers", "asyncInvokeConfig", "concurrencyConfig", "provisionConfig"}
"""Properties that become separate resources, or that the stack itself determines."""


def make_template(folder: Path) -> dict[str, Any]:
    """Return the template of a project.

    Args:
        folder: The folder of `s.yaml`, its overlays, and `deploy/policies/function.json`.

    Raises:
        DescriptorError: a descriptor is invalid, or has properties that the template cannot express.
    """
    return _Template(folder).document()


def _read_policy(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DescriptorError(
            "s.yaml", [Fault("", f"{path.name} of the role cannot be read: {error}")]
        ) from None


class _Template:
    def __init__(self, folder: Path) -> None:
        base = Descriptor(folder / "s.yaml")
        self._defaults = variables_of(base.frame.model_dump())
        texts = {
            name: value for name, value in self._defaults.items() if value is None or isinstance(value, str)
        }
        self._markers = {name: f"zq{number}qz" for number, name in enumerate(texts)}
        self._markers |= {"ALIBABA_CLOUD_REGION_ID": _REGION, "MPAAS_LAYER_ARN": _LAYER}
        self._functions = read_functions(folder / "s.yaml", self._markers)
        self._optional = dict(_optional(folder, self._functions, self._markers))
        self._policy = _read_policy(folder / "deploy" / "policies" / "function.json")
        self._stages = [Descriptor(stage_file(folder, name)).stage({}) for name in stages(folder)]
        self._parameters: dict[str, dict[str, Any]] = {}
        self._conditions: dict[str, Any] = {}
        self._resources: dict[str, dict[str, Any]] = {}
        self._packages = {"layer": PurePosixPath("the layer")}

    def document(self) -> dict[str, Any]:
        functions = [*self._functions.values(), *self._optional.values()]
        self._identifiers = {
            **{f"queues/{name}": _id(self._unmark(name), "Queue") for name in sorted(mns_queues(functions))},
            **{f"topics/{name}": _id(self._unmark(name), "Topic") for name in sorted(mns_topics(functions))},
        }
        self._role = functions[0].role
        self._add_shared(functions)
        outputs: dict[str, Any] = {}
        for resource, function in self._functions.items():
            outputs |= self._add_function(resource, function)
        for resource, function in self._optional.items():
            self._add_function(resource, function, self._condition(resource, function))
        for name, identifier in self._identifiers.items():
            attribute = "QueueName" if name.startswith("queues/") else "TopicName"
            outputs[identifier] = {"Value": {"Fn::GetAtt": [identifier, attribute]}}
        return {
            "ROSTemplateFormatVersion": "2015-09-01",
            "Description": "mpaas-push as one stack: functions, layer, triggers, role, queues and topics",
            "Parameters": self._all_parameters(),
            **({"Conditions": self._conditions} if self._conditions else {}),
            "Resources": self._resources,
            "Outputs": outputs,
        }

    # --- Resources

    def _add(self, identifier: str, kind: str, properties: Mapping[str, Any], **extra: Any) -> None:
        parameters = _PARAMETERS.keys() | set(map(self._parameter, self._defaults))
        if identifier in self._resources or identifier in parameters:
            text = (
                f"two parts of the stack would be called {identifier}: rename the function, trigger or queue"
            )
            raise DescriptorError("s.yaml", [Fault("resources", text)])
        attributes = {key: value for key, value in extra.items() if value}
        self._resources[identifier] = {
            "Type": f"ALIYUN::{kind}",
            **attributes,
            "Properties": self._ros(properties),
        }

    def _add_shared(self, functions: Iterable[FunctionProperties]) -> None:
        name = self._role.rpartition("/")[2]
        networked = any(function.vpc_config for function in functions)
        attached = {"System": ["AliyunECSNetworkInterfaceManagementAccess"]}
        self._add(
            "Role",
            "RAM::Role",
            {
                "RoleName": name,
                # ROS cannot change it: a stack would have to replace the role, whose name is taken.
                "Description": "What the functions of mpaas-push may do",
                "AssumeRolePolicyDocument": TRUST_POLICY,
                "Policies": [{"PolicyName": name, "PolicyDocument": self._policy}],
                **({"PolicyAttachments": attached} if networked else {}),
            },
        )
        for path, identifier in self._identifiers.items():
            kind, _, resource = path.partition("/")
            if kind == "topics":
                self._add(identifier, "MNS::Topic", {"TopicName": resource})
                continue
            properties = {"QueueName": resource, "MessageRetentionPeriod": WEEK_SECONDS}
            seconds = visibility_seconds(functions)
            self._add(identifier, "MNS::Queue", properties | {"VisibilityTimeout": seconds})
        (runtime, *_) = {function.runtime for function in functions}
        self._add(
            "Layer",
            "FC3::LayerVersion",
            {
                "LayerName": "mpaas-push-${Stage}",
                "Description": "mpaas_push and its dependencies",
                "CompatibleRuntime": [runtime],
                "Code": _code("layer"),
            },
        )

    def _package(self, resource: str, code: str) -> str:
        """Return the name of a code folder's package, which is the name of the folder.

        Raises:
            DescriptorError: another folder has the same name.
        """
        folder = PurePosixPath(code)
        if self._packages.setdefault(folder.name, folder) != folder:
            text = f"has the same name as {self._packages[folder.name]}, and so has its package: rename one"
            raise DescriptorError("s.yaml", [Fault(f"resources.{resource}.props.code", text)])
        return folder.name

    def _add_function(
        self, resource: str, function: FunctionProperties, condition: str = ""
    ) -> dict[str, Any]:
        """Add a function with its dependent resources; return its outputs."""
        written = function.model_dump(by_alias=True, exclude_unset=True)
        identifier = _pascal(resource)
        named = {"FunctionName": {"Fn::GetAtt": [identifier, "FunctionName"]}}
        shared = {key: _capitalize(value, key) for key, value in written.items() if key not in _SEPARATE}
        code = _code(self._package(resource, function.code))
        properties = {_upper(key): value for key, value in shared.items()} | {"Code": code}
        self._add(identifier, "FC3::Function", properties, Condition=condition)
        settings = named | _capitalize(written["asyncInvokeConfig"])
        self._add(f"{identifier}Async", "FC3::AsyncInvokeConfig", settings, Condition=condition)
        if function.concurrency_config:
            parameter = f"{identifier}Instances"
            self._parameters[parameter] = {
                "Type": "Number",
                "Default": function.concurrency_config.reserved_concurrency,
                "MinValue": 1,
                "MaxValue": 300,
                "Description": f"Maximum number of instances of {resource}",
            }
            reserved = named | {"ReservedConcurrency": {"Ref": parameter}}
            self._add(f"{identifier}Concurrency", "FC3::ConcurrencyConfig", reserved, Condition=condition)
        if provision := written.get("provisionConfig"):
            kept = named | _capitalize(provision)
            self._add(f"{identifier}Provision", "FC3::ProvisionConfig", kept, Condition=condition)
        outputs = {}
        for trigger, document in zip(function.triggers, written.get("triggers", []), strict=True):
            at = f"{identifier}{_pascal(trigger.trigger_name)}Trigger"
            self._add_trigger(at, named, trigger, document, condition)
            if isinstance(trigger, Http):
                url = {"Fn::GetAtt": [at, "UrlInternet"]}
                outputs[f"{identifier}Url"] = {"Description": f"Endpoint of {resource}", "Value": url}
        return outputs

    def _add_trigger(
        self,
        identifier: str,
        named: dict[str, Any],
        trigger: Trigger,
        document: dict[str, Any],
        condition: str,
    ) -> None:
        if condition and isinstance(trigger, EventBridge):
            source = trigger.trigger_config.event_source_config
            document["triggerConfig"]["triggerEnable"] = True
            parameters = document["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]
            parameters[f"source{source.event_source_type}Parameters"]["InstanceId"] = {
                "Ref": _instance(trigger)
            }
        text = json.dumps(document)
        dependencies = [
            resource for path, resource in self._identifiers.items() if re.search(rf"/{path}(?![\w-])", text)
        ]
        if isinstance(trigger, EventBridge) and (queue := trigger.trigger_config.event_source_config.queue):
            dependencies.insert(0, self._identifiers[f"queues/{queue}"])
        properties = named | {_upper(key): value for key, value in document.items()}
        depends = dependencies[0] if len(dependencies) == 1 else dependencies
        self._add(identifier, "FC3::Trigger", properties, DependsOn=depends, Condition=condition)

    # --- Parameters and conditions

    def _condition(self, resource: str, function: FunctionProperties) -> str:
        """Return the condition of an optional function: that its instance is set."""
        name = f"With{_pascal(resource)}"
        for trigger in function.triggers:
            if isinstance(trigger, EventBridge) and trigger.trigger_config.event_source_config.instance:
                parameter = _instance(trigger)
                kind = trigger.trigger_config.event_source_config.event_source_type
                self._parameters[parameter] = {
                    "Type": "String",
                    "Default": "",
                    "Description": f"Instance of {kind} whose messages are pushed; empty for none",
                }
                self._conditions[name] = {"Fn::Not": {"Fn::Equals": [{"Ref": parameter}, ""]}}
        return name

    def _all_parameters(self) -> dict[str, dict[str, Any]]:
        used = set(re.findall(r'\$\{(\w+)\}|"Ref": "(\w+)"', json.dumps(self._resources)))
        names = {first or second for first, second in used} - self._resources.keys()
        parameters = {
            name: {"Type": "String", **known} for name, known in _PARAMETERS.items() if name in names
        }
        for setting, default in self._defaults.items():
            name = self._parameter(setting)
            if name in names:
                described = parameters.get(name, {"Type": "String", "Description": f"{setting} of .env"})
                hidden = {"NoEcho": True} if may_hold_password(setting, str(default or "")) else {}
                parameters[name] = {"Type": "String", "Default": default or ""} | hidden | described
        parameters["Stage"] |= {"AllowedValues": self._stages}
        if unknown := sorted(names - parameters.keys() - self._parameters.keys()):
            text = f"names {unknown[0]}, which is neither a parameter nor a setting of s.yaml"
            raise DescriptorError("deploy/policies/function.json", [Fault("Statement", text)])
        return parameters | self._parameters

    def _parameter(self, setting: str) -> str:
        return _PSEUDO.get(setting) or _NAMES.get(setting) or _pascal(setting.lower())

    # --- Values

    def _unmark(self, text: str) -> str:
        """Replace each marker with `${Parameter}`."""
        for setting, marker in self._markers.items():
            text = text.replace(marker, f"${{{self._parameter(setting)}}}")
        return text

    def _ros(self, value: Any) -> Any:
        """Replace markers with ROS functions."""
        if isinstance(value, dict):
            return {key: self._ros(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._ros(item) for item in value]
        return self._ros_text(value) if isinstance(value, str) else value

    def _ros_text(self, value: str) -> Any:
        if value in {_LAYER, self._role}:
            return {"Fn::GetAtt": ["Layer", "LayerVersionArn"] if value == _LAYER else ["Role", "Arn"]}
        text = self._unmark(value)
        if whole := re.fullmatch(r"\$\{([^}]+)\}", text):
            return {"Ref": whole[1]}
        return {"Fn::Sub": text} if "${" in text else text


def _optional(
    folder: Path, functions: Mapping[str, FunctionProperties], markers: Mapping[str, str]
) -> Iterator[tuple[str, FunctionProperties]]:
    """Yield the functions that only the example has, by resource.

    Their stage is that of the stack; the one in the file only keeps names distinct.
    """
    path = folder / EXAMPLE
    if not path.is_file():
        return
    descriptor = Descriptor(path)
    descriptor.frame.vars["stage"] = markers.get("STAGE", "")
    for resource in descriptor.frame.resources:
        if resource not in functions:
            yield resource, descriptor.function(resource, markers)


def _instance(trigger: EventBridge) -> str:
    return f"{trigger.trigger_config.event_source_config.event_source_type}InstanceId"


def _code(name: str) -> dict[str, Any]:
    return {"OssBucketName": "${CodeBucket}", "OssObjectName": f"${{CodePrefix}}/{name}.zip"}


def _id(name: str, kind: str) -> str:
    """Return the resource name of a queue or topic: `mpaas-push-retry-${Stage}` is RetryQueue."""
    words = name.replace("${Stage}", "").removeprefix("mpaas-push").strip("-")
    return f"{_pascal(words)}{kind}"


def _pascal(name: str) -> str:
    return "".join(_upper(word) for word in re.split(r"[\W_]+", name))


def _upper(key: str) -> str:
    return key[:1].upper() + key[1:]


def _capitalize(value: Any, key: str = "") -> Any:
    """Capitalize keys as ROS does, except in maps whose keys are data."""
    if isinstance(value, dict) and key not in {"environmentVariables", "tags"}:
        return {_upper(name): _capitalize(item) for name, item in value.items()}
    return [_capitalize(item) for item in value] if isinstance(value, list) else value


# --- The file


def template_text(document: Mapping[str, Any]) -> str:
    """Return a template as YAML."""
    head = "# Generated from s.yaml by `make template`: change s.yaml, not this file.\n"
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Multi-line strings as blocks, ROS functions in one line, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _represent_map(dumper: _Dumper, value: dict[str, Any]) -> yaml.Node:
    in_line = len(value) == 1 and (next(iter(value)) == "Ref" or next(iter(value)).startswith("Fn::"))
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=in_line)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_map)


def template_faults(path: Path) -> list[Fault]:
    """Find differences between a `template.yml` and the one generated from the `s.yaml` next to it.

    Raises:
        DescriptorError: one of them cannot be read.
    """
    return list(_differences(read_yaml(path), make_template(path.parent), ""))


def _differences(written: Any, generated: Any, path: str) -> Iterator[Fault]:
    if isinstance(written, dict) and isinstance(generated, dict):
        for key in sorted(written.keys() | generated.keys(), key=str):
            yield from _differences(written.get(key), generated.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(written, list) and isinstance(generated, list) and len(written) == len(generated):
        for index, items in enumerate(zip(written, generated, strict=True)):
            yield from _differences(*items, f"{path}.{index}")
    elif type(written) is not type(generated) or written != generated:
        # Keep a password that is in a descriptor by mistake out of logs.
        hidden = path.startswith("Parameters.") or ".EnvironmentVariables." in path
        actual, expected = (_show(value, hidden=hidden) for value in (written, generated))
        difference = "differs" if actual == expected else f"is {actual}, should be {expected}"
        yield Fault(path, f"{difference}: run make template")


def _show(value: Any, *, hidden: bool) -> str:
    if value is None:
        return "missing"
    if hidden or isinstance(value, dict | list):
        return "set"
    text = repr(value)
    return text if len(text) < LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
