"""Reads the account of the deployer's key, and roles and policies, from RAM, STS and ResourceManager.

All functions raise `ReadFailed` if the state cannot be read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_pascal

from deploy.rpc import ReadFailed, call_rpc

if TYPE_CHECKING:
    from deploy.stage import Stage

__all__ = ["account_of_key", "has_service_role", "policies_of_role", "policy_document", "trusted_principals"]


class _Response(BaseModel):
    """Part of a response; other keys are ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, coerce_numbers_to_str=True)


_R = TypeVar("_R", bound=_Response)


class _Identity(_Response):
    account_id: str


class _Existence(_Response):
    exists: bool


def _parse_json(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _TrustStatement(_Response):
    effect: str
    principal: dict[str, Annotated[tuple[str, ...], BeforeValidator(_as_list)]] = {}


class _Trust(_Response):
    statement: tuple[_TrustStatement, ...]

    @property
    def principals(self) -> frozenset[str]:
        allowed = [statement.principal for statement in self.statement if statement.effect == "Allow"]
        return frozenset(name for principal in allowed for names in principal.values() for name in names)


class _Role(_Response):
    assume_role_policy_document: Annotated[_Trust | None, BeforeValidator(_parse_json)] = None


class _RoleResponse(_Response):
    role: _Role


class _Attached(_Response):
    policy_name: str


class _AttachedList(_Response):
    policy: tuple[_Attached, ...] = ()


class _AttachedResponse(_Response):
    policies: _AttachedList = _AttachedList()


class _PolicyVersion(_Response):
    policy_document: Annotated[dict[str, Any], BeforeValidator(_parse_json)]


class _PolicyResponse(_Response):
    default_policy_version: _PolicyVersion


def account_of_key(stage: Stage) -> str | None:
    """Return the account that the deployer's key belongs to; None if the key does not exist."""
    identity = _call(_Identity, stage, "sts.aliyuncs.com", "2015-04-01", "GetCallerIdentity")
    return identity.account_id if identity else None


def has_service_role(stage: Stage, service: str) -> bool:
    """Return whether the account has the service-linked role of a service."""
    host, action = "resourcemanager.aliyuncs.com", "CheckServiceLinkedRoleExistence"
    response = _call(_Existence, stage, host, "2020-03-31", action, ServiceName=service)
    return response is not None and response.exists


def trusted_principals(stage: Stage, role: str) -> frozenset[str] | None:
    """Return the principals that may assume a role: services, accounts, identity providers.

    None if the role does not exist; empty if RAM does not report them.
    """
    response = _call(_RoleResponse, stage, *_RAM, "GetRole", RoleName=role)
    if response is None:
        return None
    trust = response.role.assume_role_policy_document
    return trust.principals if trust else frozenset()


def policies_of_role(stage: Stage, role: str) -> list[str]:
    """Return the names of the policies that are attached to a role."""
    attached = _call(_AttachedResponse, stage, *_RAM, "ListPoliciesForRole", RoleName=role)
    return [policy.policy_name for policy in attached.policies.policy] if attached else []


def policy_document(stage: Stage, policy: str) -> dict[str, Any] | None:
    """Return the document of a custom policy; None if there is no such policy."""
    response = _call(_PolicyResponse, stage, *_RAM, "GetPolicy", PolicyName=policy, PolicyType="Custom")
    return response.default_policy_version.policy_document if response else None


_RAM = ("ram.aliyuncs.com", "2015-05-01")


def _call(model: type[_R], stage: Stage, host: str, version: str, action: str, **query: str) -> _R | None:
    response = call_rpc(stage, host, version, action, query)
    try:
        return None if response is None else model.model_validate(response)
    except ValidationError:
        raise ReadFailed from None
