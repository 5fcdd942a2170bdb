"""Reads `s.yaml` and its overlays: the functions of a deployment, each as a validated model.

Templates (`extend: {name: …, ignore: […]}` of a function), overlays (`extend: s.yaml` of a file) and
expressions are resolved as the `s` command does (deploy.md: Frame of s.yaml).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError

from mpaas_push import yaml_text
from mpaas_push.errors import Fault, PushError
from project.expressions import Expressions
from project.faults import faults_of
from project.fields import Strict, like
from project.function import FunctionProperties

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Descriptor", "DescriptorError", "descriptor_files", "read_functions", "read_yaml"]


class DescriptorError(PushError):
    """A descriptor cannot be read or resolved, or is invalid.

    Attributes:
        file: Name of the file.
        faults: All faults, by path such as ``resources.http_push.props.timeout``.
    """

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        self.file = file
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{file}: {fault}" for fault in self.faults))


def descriptor_files(folder: Path) -> Sequence[Path]:
    """Return `s.yaml` and its overlays."""
    paths = sorted(folder.glob("s.yaml")) + sorted(folder.glob("s.*.yaml"))
    return [path for path in paths if path.is_file()]


def read_functions(path: Path, env: Mapping[str, str]) -> dict[str, FunctionProperties]:
    """Return the functions of a descriptor by resource, in the order of the file.

    Args:
        path: The file.
        env: The environment of `${env(…)}`.

    Raises:
        DescriptorError: the file cannot be read or resolved, or is invalid.
    """
    descriptor = Descriptor(path)
    functions: dict[str, FunctionProperties] = {}
    faults: list[Fault] = []
    for resource in descriptor.frame.resources:
        try:
            functions[resource] = descriptor.function(resource, env)
        except DescriptorError as error:
            faults += error.faults
    if faults:
        # Each function repeats the faults of its template.
        raise DescriptorError(path.name, list(dict.fromkeys(faults)))
    return functions


class _Extended(Strict):
    name: str
    ignore: list[str] = []


class _Resource(Strict):
    component: Annotated[
        str,
        like(r"fc3@[0-9]+\.[0-9]+\.[0-9]+", "a version of fc3, such as fc3@0.1.22: plain fc3 is the latest"),
    ]
    extend: _Extended | None = None
    actions: dict[str, Any] = {}
    props: dict[str, Any]


class Frame(Strict):
    """A descriptor, with the properties of its functions as plain data (deploy.md: Frame of s.yaml)."""

    edition: Annotated[str, like(r"3\.[0-9]+\.[0-9]+", "3.0.0, in which component fc3 is written")]
    name: str
    access: str = "default"
    vars: dict[str, Any] = {}
    template: dict[str, dict[str, Any]] = {}
    flow: dict[str, Any] = {}
    actions: dict[str, Any] = {}
    resources: Annotated[dict[str, _Resource], Field(min_length=1)]


class Descriptor:
    """One file, merged with the file that it extends.

    Args:
        path: The file; the one that an overlay extends is in the same folder.

    Attributes:
        file: Name of the file.
        frame: Its content, with unresolved expressions.

    Raises:
        DescriptorError: it cannot be read, or is not a frame with functions.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.name
        document = dict(_read_mapping(path))
        if base := document.pop("extend", None):
            base_path = path.parent / str(base)
            if base_path not in path.parent.iterdir():
                raise DescriptorError(self.file, [Fault("extend", f"{base} does not exist")])
            extended = _read_mapping(base_path)
            if "extend" in extended:
                raise DescriptorError(
                    self.file, [Fault("extend", f"{base} itself extends a file: extend that one instead")]
                )
            document = _merge(extended, document)
        try:
            self.frame = Frame.model_validate(document)
        except ValidationError as error:
            raise DescriptorError(self.file, list(faults_of(error, ""))) from None

    def stage(self, env: Mapping[str, str]) -> str:
        """Return `vars.stage`, resolved; empty if there is none."""
        variables = self.frame.vars
        return str(Expressions({"vars": variables}, env).resolve(variables.get("stage", ""), "vars.stage"))

    def function(self, resource: str, env: Mapping[str, str]) -> FunctionProperties:
        """Return a function.

        Raises:
            DescriptorError: its properties cannot be resolved, or are invalid.
        """
        props = self.resolved_props(resource, env)
        try:
            return FunctionProperties.model_validate(props)
        except ValidationError as error:
            faults = faults_of(error, f"resources.{resource}.props", _trigger_names(props))
            raise DescriptorError(self.file, [self.at_origin(fault) for fault in faults]) from None

    def resolved_props(self, resource: str, env: Mapping[str, str]) -> dict[str, Any]:
        """Return the properties of a function with its template merged in and expressions resolved, but not
        validated.

        Raises:
            DescriptorError: an expression cannot be resolved, or the template does not exist.
        """
        props = self._merged_props(resource)
        expressions = Expressions({"vars": self.frame.vars, "this": {"props": props}}, env)
        resolved: dict[str, Any] = expressions.resolve(props, f"resources.{resource}.props")
        if expressions.faults:
            raise DescriptorError(self.file, expressions.faults)
        return resolved

    def written_name(self, resource: str) -> str:
        """Return the `functionName` of a function as written, with its expressions."""
        return str(self._merged_props(resource).get("functionName"))

    def _merged_props(self, resource: str) -> dict[str, Any]:
        described = self.frame.resources[resource]
        if described.extend is None:
            return described.props
        template = self.frame.template.get(described.extend.name)
        if template is None:
            path = f"resources.{resource}.extend.name"
            raise DescriptorError(
                self.file, [Fault(path, f"the template {described.extend.name!r} does not exist")]
            )
        kept = {key: value for key, value in template.items() if key not in described.extend.ignore}
        merged: dict[str, Any] = _merge(kept, described.props)
        return merged

    def at_origin(self, fault: Fault) -> Fault:
        """Move the fault of an inherited property to the template, so that it is reported once.

        Args:
            fault: A fault at a path below ``resources.NAME.props``.
        """
        _, resource, _, *steps = fault.field.split(".")
        described = self.frame.resources[resource]
        own: Any = described.props
        for step in steps:
            if not isinstance(own, dict) or step not in own:
                break
            own = own[step]
        else:
            return fault
        name = described.extend.name if described.extend else ""
        if steps[0] not in self.frame.template.get(name, {}):
            return fault
        return Fault(".".join(["template", name, *steps]), fault.message)


def _trigger_names(props: Mapping[str, Any]) -> list[str]:
    triggers = props.get("triggers")
    return [
        str(trigger.get("triggerName")) if isinstance(trigger, dict) else str(index)
        for index, trigger in enumerate(triggers if isinstance(triggers, list) else ())
    ]


def read_yaml(path: Path) -> Any:
    """Read a YAML file. The returned objects are cached and shared: do not change them.

    Raises:
        DescriptorError: the file cannot be read.
    """
    try:
        return _parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = f"cannot be read: {' '.join(str(error).split())}"
        raise DescriptorError(path.name, [Fault("", reason)]) from None


# Overlays share their base, and PyYAML is slow. Its fast loader is not used: deep nesting crashes Python.
_parse = lru_cache(maxsize=8)(yaml_text.read_yaml)


def _read_mapping(path: Path) -> dict[str, Any]:
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise DescriptorError(path.name, [Fault("", "must be a map with `resources`")])
    return document


def _merge(base: Any, over: Any) -> Any:
    """Merge maps deeply; replace anything else, including lists."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merge(base.get(key), value) for key, value in over.items()}
