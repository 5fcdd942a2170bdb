"""Who deploys, and what the functions may do: account, roles and policies, as RAM, STS and ResourceManager
report them.

All functions raise `NotAllowed` if there is no answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_pascal

from deploy.rpc import NotAllowed, call_rpc

if TYPE_CHECKING:
    from deploy.stage import Stage

__all__ = ["account_of_key", "has_service_role", "policies_of_role", "policy_document", "trusted_by_role"]


class _Answer(BaseModel):
    """A part of an answer; what is not read is ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_pascal, coerce_numbers_to_str=True)


_A = TypeVar("_A", bound=_Answer)


class _Identity(_Answer):
    account_id: str


class _Existence(_Answer):
    exists: bool


def _parsed(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _TrustStatement(_Answer):
    effect: str
    principal: dict[str, Annotated[tuple[str, ...], BeforeValidator(_listed)]] = {}


class _Trust(_Answer):
    statement: tuple[_TrustStatement, ...]

    @property
    def principals(self) -> frozenset[str]:
        allowed = [statement.principal for statement in self.statement if statement.effect == "Allow"]
        return frozenset(name for principal in allowed for names in principal.values() for name in names)


class _Role(_Answer):
    assume_role_policy_document: Annotated[_Trust | None, BeforeValidator(_parsed)] = None


class _OfRole(_Answer):
    role: _Role


class _Attached(_Answer):
    policy_name: str


class _AttachedList(_Answer):
    policy: tuple[_Attached, ...] = ()


class _OfAttached(_Answer):
    policies: _AttachedList = _AttachedList()


class _PolicyVersion(_Answer):
    policy_document: Annotated[dict[str, Any], BeforeValidator(_parsed)]


class _OfPolicy(_Answer):
    default_policy_version: _PolicyVersion


def account_of_key(stage: Stage) -> str | None:
    """Return the account that the deployer's key belongs to; None if the key does not exist."""
    identity = _ask(_Identity, stage, "sts.aliyuncs.com", "2015-04-01", "GetCallerIdentity")
    return identity.account_id if identity else None


def has_service_role(stage: Stage, service: str) -> bool:
    """Ask whether the account has the service-linked role of a service."""
    host, action = "resourcemanager.aliyuncs.com", "CheckServiceLinkedRoleExistence"
    answer = _ask(_Existence, stage, host, "2020-03-31", action, ServiceName=service)
    return answer is not None and answer.exists


def trusted_by_role(stage: Stage, role: str) -> frozenset[str] | None:
    """Return who may assume a role: services, accounts, identity providers; None if there is no such role.

    Empty if RAM does not say.
    """
    answer = _ask(_OfRole, stage, *_RAM, "GetRole", RoleName=role)
    if answer is None:
        return None
    trust = answer.role.assume_role_policy_document
    return trust.principals if trust else frozenset()


def policies_of_role(stage: Stage, role: str) -> list[str]:
    """Return the names of the policies that are attached to a role."""
    attached = _ask(_OfAttached, stage, *_RAM, "ListPoliciesForRole", RoleName=role)
    return [policy.policy_name for policy in attached.policies.policy] if attached else []


def policy_document(stage: Stage, policy: str) -> dict[str, Any] | None:
    """Return what a custom policy says; None if there is no such policy."""
    answer = _ask(_OfPolicy, stage, *_RAM, "GetPolicy", PolicyName=policy, PolicyType="Custom")
    return answer.default_policy_version.policy_document if answer else None


_RAM = ("ram.aliyuncs.com", "2015-05-01")


def _ask(model: type[_A], stage: Stage, host: str, version: str, action: str, **query: str) -> _A | None:
    answer = call_rpc(stage, host, version, action, query)
    try:
        return None if answer is None else model.model_validate(answer)
    except ValidationError:
        raise NotAllowed from None
