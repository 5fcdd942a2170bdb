"""Checks the policies: they allow exactly the actions that functions or deployments need
(deploy.md: CI and permissions).
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from mpaas_push.errors import Fault
from project.faults import faults_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from project.function import FunctionProperties

__all__ = [
    "CALLS",
    "CAMPAIGN_CALLS",
    "DEPLOYS",
    "FUNCTION_COMPUTE",
    "TRUST",
    "deployer_faults",
    "function_faults",
    "substituted",
    "unreached_faults",
]

CALLS = {"mpaas:PushSimple", "mns:SendMessage", "fc:InvokeFunction", "log:PostLogStoreLogs"}
"""The actions of the functions, and of Function Compute on their behalf."""
CAMPAIGN_CALLS: Mapping[str, str] = {
    "oss:GetObject": "/audiences/*",
    "oss:PutObject": "/campaign-results/*",
    "oss:DeleteObject": "/campaign-results/*",
    "oss:ListObjects": "",
}
"""The actions of campaigns beside these, and the end of the resource of each."""

FUNCTION_COMPUTE = "fc.aliyuncs.com"
"""Function Compute, as RAM names it."""
TRUST: Mapping[str, Any] = {
    "Version": "1",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [FUNCTION_COMPUTE]}}
    ],
}
"""The trust policy of the functions' role: only Function Compute may assume it."""

_DEFAULTS = {"ALIYUN::Region": "cn-hangzhou", "ALIYUN::AccountId": "000000000000", "Stage": "dev"}
"""The values of `s.yaml` when nothing is set."""

_ROLE_CHECK = "ram:CheckServiceLinkedRoleExistence"
_OF_ROLES = {"ram:PassRole", "ram:GetRole", "ram:ListPoliciesForRole", "ram:GetPolicy", _ROLE_CHECK}
"""What a deployer may do about roles: give them to functions, and look at them."""

DEPLOYS: Mapping[str, frozenset[str]] = {
    ":functions/": frozenset(
        {
            "fc:CreateFunction",
            "fc:UpdateFunction",
            "fc:GetFunction",
            "fc:DeleteFunction",
            "fc:PutConcurrencyConfig",
            "fc:GetConcurrencyConfig",
            "fc:DeleteConcurrencyConfig",
            "fc:PutProvisionConfig",
            "fc:GetProvisionConfig",
            "fc:DeleteProvisionConfig",
            "fc:PutFunctionAsyncInvokeConfig",
            "fc:GetFunctionAsyncInvokeConfig",
            "fc:DeleteFunctionAsyncInvokeConfig",
            "fc:ListFunctionAsyncInvokeConfigs",
            "fc:GetFunctionCode",
            "fc:ListFunctionVersions",
            "fc:ListAliases",
            "fc:GetScalingConfig",
            "fc:ListScalingConfigs",
            "fc:DeleteScalingConfig",
            "fc:ListVpcBindings",
            "fc:DeleteVpcBinding",
            "fc:InvokeFunction",
            "fc:PublishFunctionVersion",
            "fc:DeleteFunctionVersion",
            "fc:CreateAlias",
            "fc:GetAlias",
            "fc:UpdateAlias",
            "fc:DeleteAlias",
        }
    ),
    "/triggers/": frozenset(
        {"fc:CreateTrigger", "fc:UpdateTrigger", "fc:GetTrigger", "fc:DeleteTrigger", "fc:ListTriggers"}
    ),
    ":layers/": frozenset(
        {"fc:CreateLayerVersion", "fc:ListLayerVersions", "fc:GetLayerVersion", "fc:DeleteLayerVersion"}
    ),
    ":role/aliyun": frozenset({"ram:PassRole", "ram:GetRole"}),
    ":role/mpaas-": frozenset({"ram:PassRole", "ram:GetRole", "ram:ListPoliciesForRole"}),
    ":policy/": frozenset({"ram:GetPolicy"}),
    "/logstore/": frozenset({"log:GetLogStore", "log:GetLogStoreLogs"}),
    ":project/": frozenset({"log:GetProject"}),
    ":/queues/": frozenset({"mns:GetQueueAttributes"}),
    ":/topics/": frozenset({"mns:GetTopicAttributes"}),
    r":\$\{UploadsBucket\}$": frozenset({"oss:GetBucketLocation"}),
    r"^\*$": frozenset(
        # One page grants the configurations of calls on functions, another on all resources only.
        {
            _ROLE_CHECK,
            "fc:ListFunctions",
            "fc:ListTriggers",
            "fc:PutFunctionAsyncInvokeConfig",
            "fc:GetFunctionAsyncInvokeConfig",
            # The names of rules and streams are Function Compute's own.
            "eventbridge:GetEventBus",
            "eventbridge:GetRule",
            "eventbridge:GetEventStreaming",
        }
    ),
}
"""The actions of deploying, following logs, removing and `smoke`, by a pattern of their resources."""

_DEPLOYED = frozenset[str]().union(*DEPLOYS.values())

_OF_THE_STAGE = re.compile(
    r"acs:\w+:[^*]*[:/]mpaas-(\*-)?([a-z]+-)*\$\{Stage\}(/[^*]+)?(/\*)?|acs:ram:(\*:)?[^*]*:role/aliyun\w+role"
    r"|acs:ram:\*:[^*]+:(role|policy)/mpaas-push-\$\{Stage\}|acs:oss:\*:[^*]+:\$\{UploadsBucket\}"
)
"""Names of one stage, so that a deployer of staging cannot touch production; its bucket; and the triggers'
service roles."""

_ANONYMOUS = {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}
_NOT_ANONYMOUS = ("fc:CreateTrigger", "fc:UpdateTrigger")


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

    def located(self) -> Iterator[tuple[str, _Statement]]:
        """Yield each statement with its path."""
        return ((f"Statement.{index}", statement) for index, statement in enumerate(self.statement))


def function_faults(document: Any) -> Iterator[Fault]:
    """Find actions that the functions' role has but does not need, and actions that it lacks."""
    policy = _read(document)
    if not isinstance(policy, _Policy):
        yield from policy
        return
    allowed: set[str] = set()
    for at, statement in policy.located():
        if statement.effect == "Deny":
            yield from _denials(statement, at, CALLS, "the functions call")
        else:
            allowed.update(statement.action)
            for index, action in enumerate(statement.action):
                if action not in CALLS and action not in CAMPAIGN_CALLS:
                    yield Fault(f"{at}.Action.{index}", f"{action} is not needed by the functions: remove it")
            yield from _width_faults(statement, at)
    if lacking := sorted(CALLS - allowed):
        yield Fault("Statement", f"the functions need {', '.join(lacking)}")


def _width_faults(statement: _Statement, at: str) -> Iterator[Fault]:
    if "mpaas:PushSimple" not in statement.action:
        for index, resource in enumerate(statement.resource):
            if "*" in resource and not _PREFIX.fullmatch(resource):
                yield Fault(f"{at}.Resource.{index}", f"{resource} is too wide: name the resource")
        return
    if not statement.condition.get("StringEquals", {}).get("mpaas:AppId"):
        yield Fault(f"{at}.Condition", "StringEquals mpaas:AppId is missing: allows pushes of every app")
    if len(statement.action) > 1:
        yield Fault(f"{at}.Action", "mpaas:PushSimple must be in a separate statement: it has no resource")


_PREFIX = re.compile(r"acs:oss:\*:[^*]+:[^*/]+(/[^*]+/\*)?")
"""A bucket, or what is below one of its folders; the region of an OSS resource is `*`."""


def unreached_faults(document: Any, functions: Iterable[FunctionProperties]) -> Iterator[Fault]:
    """Find queues and functions in `s.yaml` that the role cannot use.

    Args:
        document: The policy of the functions; `${Stage}` in it is `dev`, as in `s.yaml` with nothing set.
        functions: The functions of `s.yaml`.
    """
    policy = _read(substituted(document, _DEFAULTS))
    if not isinstance(policy, _Policy):
        return
    allowed: dict[str, set[str]] = {}
    for statement in policy.statement:
        if statement.effect == "Allow":
            for action in statement.action:
                allowed.setdefault(action, set()).update(statement.resource)

    def may(action: str, ending: str) -> bool:
        return any(resource.endswith(ending) for resource in allowed.get(action, ()))

    for props in functions:
        for action, ending, target in _reaches(props):
            if not may(action, ending):
                yield Fault("Statement", f"does not allow {action} on {target} of s.yaml")


def _reaches(props: FunctionProperties) -> Iterator[tuple[str, str, str]]:
    """Yield what the settings of a function make it call: the action, the end of its resource, its name."""
    variables = props.environment_variables
    for name in ("PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"):
        if queue := variables.get(name):
            yield "mns:SendMessage", f":/queues/{queue}/messages", f"{queue}, {name}"
    failed = props.async_invoke_config.on_failure
    if ":/queues/" in failed:
        yield "mns:SendMessage", failed, f"{failed}, the failure destination"
    for name in ("PUSH_WORKER_FUNCTION", "PUSH_CAMPAIGN_FUNCTION"):
        if worker := variables.get(name):
            yield "fc:InvokeFunction", f":functions/{worker}", f"{worker}, {name}"
    if variables.get("PUSH_CAMPAIGN_FUNCTION") == props.function_name:
        for action, ending in CAMPAIGN_CALLS.items():
            yield action, ending, f"a bucket{ending and f', {ending}'}, which {props.function_name}"


def deployer_faults(document: Any) -> Iterator[Fault]:
    """Find actions that a deployer has beyond the stage, and actions of a deployment that it lacks."""
    policy = _read(document)
    if not isinstance(policy, _Policy):
        yield from policy
        return
    lacking = {(pattern, action) for pattern, actions in DEPLOYS.items() for action in actions}
    unguarded = set(_NOT_ANONYMOUS)
    for at, statement in policy.located():
        if statement.effect == "Allow":
            lacking -= _deployed(statement)
            yield from _breadth_faults(statement, at)
        else:
            if statement.condition == _ANONYMOUS and "*" in statement.resource:
                unguarded -= set(statement.action)
            yield from _denials(statement, at, _DEPLOYED, "a deployment calls")
    if lacking:
        names = sorted({action for _, action in lacking})
        yield Fault("Statement", f"a deployment needs {', '.join(names)}")
    if unguarded:
        yield Fault(
            "Statement",
            f"must deny {' and '.join(sorted(unguarded))} on * if StringEquals"
            " fc:EnableHTTPTriggerAnonymous is true: a trigger could accept anonymous requests",
        )


def _deployed(statement: _Statement) -> set[tuple[str, str]]:
    """Return the actions of a deployment that a statement allows, each with the pattern of its resource."""
    return {
        (pattern, action)
        for pattern, actions in DEPLOYS.items()
        for action in actions & set(statement.action)
        if any(re.search(pattern, resource) for resource in statement.resource)
    }


def _breadth_faults(statement: _Statement, at: str) -> Iterator[Fault]:
    for index, action in enumerate(statement.action):
        if "*" in action:
            yield Fault(f"{at}.Action.{index}", f"{action} is too wide: name each action")
        elif action.startswith("ram:") and action not in _OF_ROLES:
            yield Fault(
                f"{at}.Action.{index}", f"{action}: only an administrator may manage roles, not a deployer"
            )
    for index, resource in enumerate(statement.resource):
        if resource == "*" and set(statement.action) <= DEPLOYS[r"^\*$"]:
            continue  # these actions have no resource, or may have none
        if not _OF_THE_STAGE.fullmatch(resource):
            yield Fault(f"{at}.Resource.{index}", f"{resource} is too wide: must be mpaas-…-${{Stage}}")
    if "ram:PassRole" in statement.action and statement.condition.get("StringEquals", {}).get(
        "acs:Service"
    ) != [FUNCTION_COMPUTE]:
        yield Fault(f"{at}.Condition", f"StringEquals acs:Service must be {FUNCTION_COMPUTE}")


def _denials(statement: _Statement, at: str, needed: Collection[str], who: str) -> Iterator[Fault]:
    """Find needed actions that a statement denies; a denial overrides every other statement.

    A denial with a condition is not a fault: it may be intended, for requests from elsewhere for example.
    """
    if statement.condition:
        return
    for index, action in enumerate(statement.action):
        if denied := sorted(name for name in needed if fnmatchcase(name, action)):
            yield Fault(f"{at}.Action.{index}", f"denies {', '.join(denied)}, which {who}")


def substituted(value: Any, values: Mapping[str, Any]) -> Any:
    """Substitute `${Name}` in every string of a policy; names without a value stay."""
    if isinstance(value, dict):
        return {key: substituted(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, values) for item in value]
    if isinstance(value, str):
        return _NAME.sub(lambda match: str(values.get(match[1], match[0])), value)
    return value


_NAME = re.compile(r"\$\{([^}!]+)\}")


def _read(document: Any) -> _Policy | tuple[Fault, ...]:
    try:
        return _Policy.model_validate(document)
    except ValidationError as error:
        return tuple(faults_of(error, ""))
