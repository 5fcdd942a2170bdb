"""Reads `s.yaml` and its overlays: which functions there are, how they are configured, what triggers them.

A file enters as it is deployed; expressions and templates are resolved as the `s` command does:
`${env('NAME')}`, `${env('NAME', 'default')}`, `${vars.name}`, `${this.props.name}`,
`extend: {name: …, ignore: […]}` of a function and `extend: s.yaml` of an overlay (deploy.md: Frame of
s.yaml). What `s` takes from files, from other resources or from its access is not resolved. The local stack
and `validate` read with it.
"""

from __future__ import annotations

import copy
import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import yaml

from mpaas_push import yaml_text
from mpaas_push.errors import Fault, PushError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "DescribedFunction",
    "Descriptor",
    "DescriptorError",
    "Trigger",
    "described_functions",
    "descriptor_files",
    "read_yaml",
]


def descriptor_files(folder: Path) -> Sequence[Path]:
    """Return `s.yaml` and its overlays."""
    return sorted(folder.glob("s.yaml")) + sorted(folder.glob("s.*.yaml"))


class DescriptorError(PushError):
    """A descriptor cannot be read or resolved, or holds what would not work.

    Attributes:
        file: Its name.
        faults: Everything that is wrong, by path such as ``resources.http_push.props.timeout``.
    """

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.file = file
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{file}: {fault}" for fault in self.faults))


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


class Descriptor:
    """One file, with what it extends.

    Args:
        path: The file; what an overlay extends is found beside it.

    Attributes:
        file: Its name.
        document: All that it says, expressions unresolved.

    Raises:
        DescriptorError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.name
        self.document = _mapping(path)
        if base := self.document.pop("extend", None):
            beside = path.parent / str(base)
            if beside not in path.parent.iterdir():
                raise DescriptorError(self.file, [Fault("extend", f"there is no file {base}")])
            self.document = _merged(_mapping(beside), self.document)

    def stage(self, env: Mapping[str, str]) -> str:
        """Return `vars.stage`, resolved; empty where there is none."""
        variables = self.document.get("vars") or {}
        return str(_Names({"vars": variables}, env).resolved(variables.get("stage", ""), "vars.stage"))

    def props(self, resource: str, env: Mapping[str, str]) -> dict[str, Any]:
        """Return the properties of a function, its template merged in and expressions resolved.

        Raises:
            DescriptorError: an expression cannot be resolved, or the template is not there.
        """
        props = self._merged_props(resource)
        names = _Names({"vars": self.document.get("vars") or {}, "this": {"props": props}}, env)
        resolved: dict[str, Any] = names.resolved(props, f"resources.{resource}.props")
        if names.faults:
            raise DescriptorError(self.file, names.faults)
        return resolved

    def _merged_props(self, resource: str) -> dict[str, Any]:
        described = self.document["resources"][resource]
        extended = described.get("extend") or {}
        base: Any = {}
        if template := extended.get("name"):
            base = (self.document.get("template") or {}).get(template)
            if base is None:
                place = f"resources.{resource}.extend.name"
                raise DescriptorError(self.file, [Fault(place, f"there is no template {template!r}")])
        ignored = extended.get("ignore") or ()
        kept = {key: each for key, each in base.items() if key not in ignored}
        props: dict[str, Any] = _merged(kept, described.get("props") or {})
        return props


def described_functions(path: Path, env: Mapping[str, str] | None = None) -> tuple[DescribedFunction, ...]:
    """Return the functions of an `s.yaml`, in the order of the file.

    Args:
        path: The file; code folders are found beside it.
        env: What `${env(…)}` reads; the process's environment by default.

    Raises:
        DescriptorError: the file is not such a descriptor, or an expression cannot be resolved.
    """
    descriptor = Descriptor(path)
    resources = descriptor.document.get("resources")
    if not isinstance(resources, dict):
        raise DescriptorError(path.name, [Fault("resources", "must be a map of functions")])
    functions = []
    for resource, described in resources.items():
        if str(described.get("component", "")).partition("@")[0] != "fc3":
            continue
        props = descriptor.props(resource, os.environ if env is None else env)
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


def read_yaml(path: Path) -> Any:
    """Read a file of YAML.

    Raises:
        DescriptorError: it cannot be read.
    """
    try:
        return copy.deepcopy(_parsed(path.read_text("utf-8")))
    except RecursionError:
        raise DescriptorError(path.name, [Fault("", "cannot be read: it is nested too deeply")]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = f"cannot be read: {' '.join(str(error).split())}"
        raise DescriptorError(path.name, [Fault("", reason)]) from None


# Overlays share their base, and PyYAML is slow. Its fast loader is not used: deep nesting crashes Python.
_parsed = lru_cache(maxsize=8)(yaml_text.read_yaml)


def _mapping(path: Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise DescriptorError(path.name, [Fault("", "must be a map with `resources`")])
    return document


def _merged(base: Any, over: Any) -> Any:
    """Merge maps deeply; anything else is replaced, lists too."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}


_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
_ENV = re.compile(
    r"""env\(\s*(['"])(?P<name>[^'"]*)\1\s*(?:,\s*(?P<default>'[^']*'|"[^"]*"|[\w.-]+)\s*)?\)"""
)


class _Names:
    """What expressions can speak of; collects what cannot be resolved in `faults`."""

    def __init__(self, roots: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self._roots = roots
        self._env = env
        self.faults: list[Fault] = []

    def resolved(self, value: Any, place: str, within: frozenset[str] = frozenset()) -> Any:
        """Return a value without expressions; `within` are the names that it is a part of."""
        if isinstance(value, dict):
            return {key: self.resolved(each, f"{place}.{key}", within) for key, each in value.items()}
        if isinstance(value, list):
            return [self.resolved(each, f"{place}.{index}", within) for index, each in enumerate(value)]
        if not isinstance(value, str):
            return value
        if "${" in _EXPRESSION.sub("", value):
            self.faults.append(Fault(place, f"{value!r} holds ${{ that is not closed"))
        if whole := _EXPRESSION.fullmatch(value):  # keeps its type; in a longer text everything is text
            return self._value(whole[1].strip(), place, within)
        return _EXPRESSION.sub(lambda match: _text(self._value(match[1].strip(), place, within)), value)

    def _value(self, expression: str, place: str, within: frozenset[str]) -> Any:
        if call := _ENV.fullmatch(expression):
            return self._variable(call["name"], call["default"], place)
        found: Any = self._roots
        for step in expression.split("."):
            try:
                found = found[int(step) if isinstance(found, list) else step]
            except (LookupError, TypeError, ValueError):
                found = None
        if found is None or expression in within or "." not in expression:
            self.faults.append(
                Fault(
                    place,
                    f"${{{expression}}} cannot be resolved; ${{vars.name}} with a name under `vars`, "
                    "${this.props.name}, ${env('NAME')} and ${env('NAME', 'default')} can",
                )
            )
            return ""
        return self.resolved(found, expression, within | {expression})

    def _variable(self, name: str, default: str | None, place: str) -> Any:
        if name in self._env:
            return self._env[name]
        if default is None:
            self.faults.append(Fault(place, f"the environment variable {name} is not set"))
            return ""
        return default[1:-1] if default[0] in "'\"" else yaml.safe_load(default)


def _text(value: Any) -> str:
    """Write a value as a part of a text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | dict | list) else str(value)
