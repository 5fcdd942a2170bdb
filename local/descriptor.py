"""Reads `s.yaml`: which functions there are, how they are configured, and what triggers them.

The file enters as it is deployed; expressions and templates are resolved as the `s` command does, as far as
the project uses them: `${env('NAME')}`, `${env('NAME', 'default')}`, `${vars.name}` and `extend: {name: …}`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DescribedFunction", "DescriptorError", "Trigger", "described_functions"]


class DescriptorError(Exception):
    """`s.yaml` cannot be read or resolved; the text says where and why."""


@dataclass(frozen=True)
class Trigger:
    """One trigger of a function.

    Attributes:
        name: `triggerName`.
        type: `triggerType`, such as ``http``, ``timer``, ``mns_topic``, ``oss`` or ``eventbridge``.
        config: `triggerConfig` as written.
        source_arn: `sourceArn`, where the trigger has one.
    """

    name: str
    type: str
    config: Mapping[str, Any]
    source_arn: str | None = None


@dataclass(frozen=True)
class DescribedFunction:
    """One function as it would be deployed.

    Attributes:
        resource: Key under `resources`.
        props: All of its properties, resolved.
        folder: Code package.
        triggers: Its triggers, in the order of the file.
    """

    resource: str
    props: Mapping[str, Any]
    folder: Path
    triggers: tuple[Trigger, ...]


def described_functions(path: Path, env: Mapping[str, str] | None = None) -> tuple[DescribedFunction, ...]:
    """Return the functions of an `s.yaml`, in the order of the file.

    Args:
        path: The file; code folders are found beside it.
        env: What `${env(…)}` reads; the process's environment by default.

    Raises:
        DescriptorError: the file is not such a descriptor, or an expression cannot be resolved.
    """
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DescriptorError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("resources"), dict):
        raise DescriptorError(f"{path.name}: `resources` must be a map of functions")
    names = _Names(document.get("vars") or {}, os.environ if env is None else env)
    functions = []
    for resource, described in document["resources"].items():
        if str(described.get("component", "")).partition("@")[0] != "fc3":
            continue
        props = _merged(_base(document, described), described.get("props") or {})
        props = names.resolved(props, f"{path.name}: resources.{resource}")
        triggers = tuple(
            Trigger(
                each["triggerName"],
                each["triggerType"],
                each.get("triggerConfig") or {},
                each.get("sourceArn"),
            )
            for each in props.get("triggers") or ()
        )
        functions.append(DescribedFunction(resource, props, path.parent / props["code"], triggers))
    return tuple(functions)


def _base(document: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    name = (described.get("extend") or {}).get("name")
    if name is None:
        return {}
    template = (document.get("template") or {}).get(name)
    if template is None:
        raise DescriptorError(f"`extend` names the template {name!r}, which is not there")
    base: Mapping[str, Any] = template
    return base


def _merged(base: Any, over: Any) -> Any:
    """Merge maps deeply; anything else is replaced, lists too."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}


_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
_ENV = re.compile(r"env\(\s*'([^']*)'\s*(?:,\s*'([^']*)'\s*)?\)")


class _Names:
    """What expressions can speak of."""

    def __init__(self, variables: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self._variables = variables
        self._env = env

    def resolved(self, value: Any, place: str) -> Any:
        if isinstance(value, dict):
            return {key: self.resolved(each, f"{place}.{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolved(each, f"{place}.{index}") for index, each in enumerate(value)]
        if isinstance(value, str):
            return _EXPRESSION.sub(lambda match: self._value(match[1].strip(), place), value)
        return value

    def _value(self, expression: str, place: str) -> str:
        if call := _ENV.fullmatch(expression):
            name, default = call.groups()
            value = self._env.get(name, default)
            if value is None:
                raise DescriptorError(f"{place}: the environment variable {name} is not set")
            return str(value)
        name = expression.removeprefix("vars.")
        if name == expression or name not in self._variables:
            raise DescriptorError(f"{place}: ${{{expression}}} cannot be resolved")
        return str(self.resolved(self._variables[name], f"vars.{name}"))
