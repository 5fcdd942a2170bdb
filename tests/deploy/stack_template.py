"""Resolves a ROS template as far as template.yml uses its functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PSEUDO", "Template", "substituted"]

PSEUDO = {"ALIYUN::Region": "cn-hangzhou", "ALIYUN::AccountId": "000000000000"}


@dataclass(frozen=True)
class Template:
    """The resources of a template with all parameters at their defaults."""

    resources: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Template:
        document = yaml.safe_load(path.read_text("utf-8"))
        values = PSEUDO | {name: each["Default"] for name, each in document["Parameters"].items()}
        resources = document["Resources"]
        return cls({name: _resolved(each, values, resources) for name, each in resources.items()})

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of the resources of a kind, such as `FC3::Function`."""
        return {
            name: each["Properties"]
            for name, each in self.resources.items()
            if each["Type"] == f"ALIYUN::{kind}"
        }


def substituted(value: Any, values: dict[str, Any]) -> Any:
    """Fill `${Name}` in every text of a value."""
    if isinstance(value, dict):
        return {key: substituted(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [substituted(each, values) for each in value]
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]+)\}", lambda found: str(values[found[1]]), value)
    return value


def _resolved(value: Any, values: dict[str, Any], resources: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_resolved(each, values, resources) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"}:
        return values[value["Ref"]]
    if value.keys() == {"Fn::Sub"}:
        return substituted(value["Fn::Sub"], values)
    if value.keys() == {"Fn::GetAtt"}:
        resource, attribute = value["Fn::GetAtt"]
        properties = resources[resource]["Properties"]
        return _resolved(properties.get(attribute, f"{resource}.{attribute}"), values, resources)
    return {key: _resolved(each, values, resources) for key, each in value.items()}
