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
from project.fields import like

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from project.function import FunctionProperties

__all__ = [
    "CAMPAIGN_ACTIONS",
    "DEPLOYMENT_ACTIONS",
    "FUNCTION_ACTIONS",
    "FUNCTION_COMPUTE",
    "TRUST_POLICY",
    "access_faults",
    "deployer_faults",
    "function_faults",
    "substitute",
]

FUNCTION_ACTIONS = {"mpaas:PushSimple", "mns:SendMessage", "fc:InvokeFunction", "log:PostLogStoreLogs"}
"""The actions of the functions, and of Function Compute on their behalf."""
CAMPAIGN_ACTIONS: Mapping[str, str] = {
    "oss:GetObject": "/audiences/*",
    "oss:PutObject": "/campaign-results/*",
    "oss:DeleteObject": "/campaign-results/*",
    "oss:ListObjects": "",
}
"""The further actions of campaigns, each with the end of its resource."""

FUNCTION_COMPUTE = "fc.aliyuncs.com"
"""Function Compute, as RAM names it."""
TRUST_POLICY: Mapping[str, Any] = {
    "Version": "1",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": [FUNCTION_COMPUTE]}}
    ],
}
"""The trust policy of the functions' role: only Function Compute may assume it."""

_DEFAULTS = {"ALIYUN::Region": "cn-hangzhou", "ALIYUN::AccountId": "000000000000", "Stage": "dev"}
"""The default settings of `s.yaml`."""

_ROLE_CHECK = "ram:CheckServiceLinkedRoleExistence"
_ROLE_ACTIONS = {"ram:PassRole", "ram:GetRole", "ram:ListPoliciesForRole", "ram:GetPolicy", _ROLE_CHECK}
"""A deployer's actions on roles: passing them to functions, and reading them."""

DEPLOYMENT_ACTIONS: Mapping[str, frozenset[str]] = {
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
        # One page grants the two actions on asynchronous calls on functions, another only on all resources.
        {
            _ROLE_CHECK,
            "fc:ListFunctions",
            "fc:ListTriggers",
            "fc:PutFunctionAsyncInvokeConfig",
            "fc:GetFunctionAsyncInvokeConfig",
            # Function Compute chooses the names of rules and streams.
            "eventbridge:GetEventBus",
            "eventbridge:GetRule",
            "eventbridge:GetEventStreaming",
        }
    ),
}
"""The actions of deploying, following logs, removing and `smoke`, by the pattern of their resources."""

_ALL_DEPLOYMENT_ACTIONS = frozenset[str]().union(*DEPLOYMENT_ACTIONS.values())

_STAGE_RESOURCE = re.compile(
    r"acs:\w+:[^*]*[:/]mpaas-(\*-)?([a-z]+-)*\$\{Stage\}(/[^*]+)?(/\*)?|acs:ram:(\*:)?[^*]*:role/aliyun\w+role"
    r"|acs:ram:\*:[^*]+:(role|policy)/mpaas-push-\$\{Stage\}|acs:oss:\*:[^*]+:\$\{UploadsBucket\}"
)
"""The resources of a deployer: those of one stage, so that a deployer of staging cannot touch production; its
bucket; the triggers' service roles."""

_ANONYMOUS = {"StringEquals": {"fc:EnableHTTPTriggerAnonymous": ["true"]}}
_NOT_ANONYMOUS = ("fc:CreateTrigger", "fc:UpdateTrigger")


_Action = Annotated[str, like("[a-z]+:[A-Za-z*]+", "an action such as mns:SendMessage")]
_Resource = Annotated[str, like(r"\*|acs:.+", "* or a resource such as acs:mns:*:*:/queues/*")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_pascal)


class _Statement(_Strict):
    effect: Literal["Allow", "Deny"]
    action: Annotated[list[_Action], Field(min_length=1)]
    resource: Annotated[list[_Resource], Field(min_length=1)]
    condition: dict[str, dict[str, list[str]]] = {}


class _Policy(_Strict):
    version: Literal["1"]
    statement: Annotated[list[_Statement], Field(min_length=1)]

    def statements_by_path(self) -> Iterator[tuple[str, _Statement]]:
        """Yield each statement with its path."""
        return ((f"Statement.{index}", statement) for index, statement in enumerate(self.statement))


def function_faults(document: Any) -> Iterator[Fault]:
    """Find actions that the functions' role has but does not need, and actions that it lacks."""
    policy = _read(document)
    if not isinstance(policy, _Policy):
        yield from policy
        return
    allowed: set[str] = set()
    for at, statement in policy.statements_by_path():
        if statement.effect == "Deny":
            yield from _denials(statement, at, FUNCTION_ACTIONS, "the functions call")
        else:
            allowed.update(statement.action)
            for index, action in enumerate(statement.action):
                if action not in FUNCTION_ACTIONS and action not in CAMPAIGN_ACTIONS:
                    yield Fault(f"{at}.Action.{index}", f"{action} is not needed by the functions: remove it")
            yield from _width_faults(statement, at)
    if missing := sorted(FUNCTION_ACTIONS - allowed):
        yield Fault("Statement", f"the functions need {', '.join(missing)}")


def _width_faults(statement: _Statement, at: str) -> Iterator[Fault]:
    if "mpaas:PushSimple" not in statement.action:
        for index, resource in enumerate(statement.resource):
            if "*" in resource and not _PREFIX.fullmatch(resource):
                yield Fault(f"{at}.Resource.{index}", f"{resource} is too wide: name the resource")
        return
    if not statement.condition.get("StringEquals", {}).get("mpaas:AppId"):
        yield Fault(f"{at}.Condition", "StringEquals mpaas:AppId is missing: this allows pushes of every app")
    if len(statement.action) > 1:
        yield Fault(f"{at}.Action", "mpaas:PushSimple must be in a separate statement: it has no resource")


_PREFIX = re.compile(r"acs:oss:\*:[^*]+:[^*/]+(/[^*]+/\*)?")
"""A bucket, or everything in one of its folders; the region of an OSS resource is `*`."""


def access_faults(document: Any, functions: Iterable[FunctionProperties]) -> Iterator[Fault]:
    """Find queues, functions and objects that the functions of `s.yaml` use and their role may not use.

    Args:
        document: The policy of the functions, with the default settings of `s.yaml` for its variables.
        functions: The functions of `s.yaml`, with its default settings.
    """
    policy = _read(substitute(document, _DEFAULTS))
    if not isinstance(policy, _Policy):
        return
    allowed: dict[str, set[str]] = {}
    for statement in policy.statement:
        if statement.effect == "Allow":
            for action in statement.action:
                allowed.setdefault(action, set()).update(statement.resource)

    def is_allowed(action: str, ending: str) -> bool:
        return any(resource.endswith(ending) for resource in allowed.get(action, ()))

    for props in functions:
        for action, ending, target in _calls_of(props):
            if not is_allowed(action, ending):
                yield Fault("Statement", f"does not allow {action} on {target}")


def _calls_of(props: FunctionProperties) -> Iterator[tuple[str, str, str]]:
    """Yield the calls that a function's settings cause: action, end of the resource, description."""
    variables = props.environment_variables
    for name in ("PUSH_RETRY_QUEUE", "PUSH_DEAD_LETTER_QUEUE"):
        if queue := variables.get(name):
            yield "mns:SendMessage", f":/queues/{queue}/messages", f"{queue} ({name} in s.yaml)"
    failed = props.async_invoke_config.on_failure
    if ":/queues/" in failed:
        yield "mns:SendMessage", failed, f"{failed} (failure destination in s.yaml)"
    for name in ("PUSH_WORKER_FUNCTION", "PUSH_CAMPAIGN_FUNCTION"):
        if worker := variables.get(name):
            yield "fc:InvokeFunction", f":functions/{worker}", f"{worker} ({name} in s.yaml)"
    if variables.get("PUSH_CAMPAIGN_FUNCTION") == props.function_name:
        for action, ending in CAMPAIGN_ACTIONS.items():
            objects = f"{ending} of a bucket" if ending else "a bucket"
            yield action, ending, f"{objects} ({props.function_name} in s.yaml)"


def deployer_faults(document: Any) -> Iterator[Fault]:
    """Find actions that a deployer has beyond the stage, and actions of a deployment that it lacks."""
    policy = _read(document)
    if not isinstance(policy, _Policy):
        yield from policy
        return
    missing = {(pattern, action) for pattern, actions in DEPLOYMENT_ACTIONS.items() for action in actions}
    unguarded = set(_NOT_ANONYMOUS)
    for at, statement in policy.statements_by_path():
        if statement.effect == "Allow":
            missing -= _allowed_deployment_actions(statement)
            yield from _breadth_faults(statement, at)
        else:
            if statement.condition == _ANONYMOUS and "*" in statement.resource:
                unguarded -= set(statement.action)
            yield from _denials(statement, at, _ALL_DEPLOYMENT_ACTIONS, "a deployment calls")
    if missing:
        names = sorted({action for _, action in missing})
        yield Fault("Statement", f"a deployment needs {', '.join(names)}")
    if unguarded:
        yield Fault(
            "Statement",
            f"must deny {' and '.join(sorted(unguarded))} on * if StringEquals"
            " fc:EnableHTTPTriggerAnonymous is true: a trigger could accept anonymous requests",
        )


def _allowed_deployment_actions(statement: _Statement) -> set[tuple[str, str]]:
    """Return the actions of a deployment that a statement allows, each with the pattern of its resource."""
    return {
        (pattern, action)
        for pattern, actions in DEPLOYMENT_ACTIONS.items()
        for action in actions & set(statement.action)
        if any(re.search(pattern, resource) for resource in statement.resource)
    }


def _breadth_faults(statement: _Statement, at: str) -> Iterator[Fault]:
    for index, action in enumerate(statement.action):
        if "*" in action:
            yield Fault(f"{at}.Action.{index}", f"{action} is too wide: name each action")
        elif action.startswith("ram:") and action not in _ROLE_ACTIONS:
            yield Fault(
                f"{at}.Action.{index}", f"{action}: only an administrator may manage roles, not a deployer"
            )
    for index, resource in enumerate(statement.resource):
        if resource == "*" and set(statement.action) <= DEPLOYMENT_ACTIONS[r"^\*$"]:
            continue  # these actions may or must have no resource
        if not _STAGE_RESOURCE.fullmatch(resource):
            yield Fault(f"{at}.Resource.{index}", f"{resource} is too wide: must be mpaas-…-${{Stage}}")
    if "ram:PassRole" in statement.action and statement.condition.get("StringEquals", {}).get(
        "acs:Service"
    ) != [FUNCTION_COMPUTE]:
        yield Fault(f"{at}.Condition", f"StringEquals acs:Service must be {FUNCTION_COMPUTE}")


def _denials(statement: _Statement, at: str, needed: Collection[str], who: str) -> Iterator[Fault]:
    """Find needed actions that a statement denies; a denial overrides every other statement.

    A denial with a condition is not a fault: it may be intended, such as for requests from elsewhere.
    """
    if statement.condition:
        return
    for index, action in enumerate(statement.action):
        if denied := sorted(name for name in needed if fnmatchcase(name, action)):
            yield Fault(f"{at}.Action.{index}", f"denies {', '.join(denied)}, which {who}")


def substitute(value: Any, values: Mapping[str, Any]) -> Any:
    """Substitute `${Name}` in every string of a policy; leave names without a value unchanged."""
    if isinstance(value, dict):
        return {key: substitute(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values) for item in value]
    if isinstance(value, str):
        return _NAME.sub(lambda match: str(values.get(match[1], match[0])), value)
    return value


_NAME = re.compile(r"\$\{([^}!]+)\}")


def _read(document: Any) -> _Policy | tuple[Fault, ...]:
    try:
        return _Policy.model_validate(document)
    except ValidationError as error:
        return tuple(faults_of(error, ""))
