"""Judges what a role may do: exactly what the functions call, and no more (deploy.md §6, RAM)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal

from mpaas_push.cli.resources import faults_of
from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CALLS", "deployer_faults", "function_faults", "trust_faults"]

CALLS = {"mpaas:PushSimple", "mns:SendMessage", "fc:InvokeFunction", "log:PostLogStoreLogs"}
"""What the functions call, and what Function Compute writes in their name."""

_OF_THE_PROJECT = re.compile(r".*[:/](mpaas-[^*]*\*?(/[^*]+(/\*)?|/\*)?|aliyun\w+role)")


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_pascal)


class _Statement(_Strict):
    effect: Literal["Allow", "Deny"]
    action: Annotated[list[Annotated[str, Field(pattern=r"^[a-z]+:[A-Za-z*]+$")]], Field(min_length=1)]
    resource: Annotated[list[Annotated[str, Field(pattern=r"^(\*|acs:.+)$")]], Field(min_length=1)]
    condition: dict[str, dict[str, list[str]]] = {}


class _Policy(_Strict):
    version: Literal["1"]
    statement: Annotated[list[_Statement], Field(min_length=1)]


class _Principal(_Strict):
    service: list[str]

    @field_validator("service")
    @classmethod
    def _function_compute(cls, value: list[str]) -> list[str]:
        if value != ["fc.aliyuncs.com"]:
            raise ValueError("must be [fc.aliyuncs.com]: nobody else takes this role")
        return value


class _TrustStatement(_Strict):
    effect: Literal["Allow"]
    action: Literal["sts:AssumeRole"]
    principal: _Principal


class _Trust(_Strict):
    version: Literal["1"]
    statement: Annotated[list[_TrustStatement], Field(min_length=1)]


def function_faults(document: Any, place: str = "") -> Iterator[Fault]:
    """Find what the role of the functions may do beyond their calls, and what it may not.

    Args:
        document: The policy.
        place: Its path in the file.
    """
    allowed: set[str] = set()
    for at, statement in _statements(document, place):
        if isinstance(statement, Fault):
            yield statement
            continue
        allowed.update(statement.action)
        for index, action in enumerate(statement.action):
            if statement.effect == "Allow" and action not in CALLS:
                yield Fault(f"{at}.Action.{index}", f"{action} is more than the functions call: remove it")
        yield from _width_faults(statement, at)
    if allowed and (lacking := sorted(CALLS - allowed)):
        yield Fault(_join(place, "Statement"), f"the functions need {', '.join(lacking)}")


def _width_faults(statement: _Statement, at: str) -> Iterator[Fault]:
    if "mpaas:PushSimple" not in statement.action:
        for index, resource in enumerate(statement.resource):
            if "*" in resource:
                yield Fault(f"{at}.Resource.{index}", f"{resource} is too wide: name the resource")
        return
    if not statement.condition.get("StringEquals", {}).get("mpaas:AppId"):
        yield Fault(f"{at}.Condition", "StringEquals mpaas:AppId is missing: pushes of every app")
    if len(statement.action) > 1:
        yield Fault(f"{at}.Action", "mpaas:PushSimple needs a statement of its own: it knows no resource")


def deployer_faults(document: Any) -> Iterator[Fault]:
    """Find what a deployer may do beside the project."""
    for at, statement in _statements(document, ""):
        if isinstance(statement, Fault):
            yield statement
            continue
        if statement.effect == "Deny":
            continue
        for index, action in enumerate(statement.action):
            if "*" in action:
                yield Fault(f"{at}.Action.{index}", f"{action} is too wide: name each action")
            elif action.startswith("ram:") and action != "ram:PassRole":
                yield Fault(f"{at}.Action.{index}", f"{action}: an administrator makes roles, not a deployer")
        for index, resource in enumerate(statement.resource):
            if not _OF_THE_PROJECT.fullmatch(resource):
                yield Fault(
                    f"{at}.Resource.{index}", f"{resource} is too wide: only mpaas-… is the project's"
                )
        if "ram:PassRole" in statement.action and statement.condition.get("StringEquals", {}).get(
            "acs:Service"
        ) != ["fc.aliyuncs.com"]:
            yield Fault(f"{at}.Condition", "StringEquals acs:Service must be fc.aliyuncs.com")


def trust_faults(document: Any, place: str) -> Iterator[Fault]:
    """Find who but Function Compute may take the role."""
    try:
        _Trust.model_validate(document)
    except ValidationError as error:
        yield from faults_of(error, place)


def _statements(document: Any, place: str) -> Iterator[tuple[str, _Statement | Fault]]:
    try:
        policy = _Policy.model_validate(document)
    except ValidationError as error:
        yield from ((fault.field, fault) for fault in faults_of(error, place))
        return
    for index, statement in enumerate(policy.statement):
        yield _join(place, f"Statement.{index}"), statement


def _join(place: str, step: str) -> str:
    return f"{place}.{step}" if place else step
