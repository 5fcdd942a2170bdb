"""Compares what a stage needs besides its functions with the cloud: queues, role, deliveries by EventBridge.

`make prepare` creates the queues, an administrator the role (docs/deploy.md, step 5), and Function Compute
the rules and streams of EventBridge. Differences are therefore reported, not corrected.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mns.mns_exception import MNSExceptionBase
from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse

from deploy.eventbridge import delivery_fault
from deploy.plan import Difference
from deploy.prepare import filled_policies
from deploy.ram import policies_of_role, policy_document, trusted_principals
from deploy.rpc import ReadFailed
from project.policies import FUNCTION_COMPUTE
from project.triggers import EventBridge
from project.wiring import WEEK_SECONDS, mns_queues, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.stage import Stage
    from project.function import FunctionProperties

__all__ = ["external_differences"]


def external_differences(stage: Stage) -> tuple[list[Difference], list[str]]:
    """Compare queues, role, rules and streams; return the differences, and what could not be compared.

    Missing queues and roles are left out: `preflight` reports them.
    """
    differences: list[Difference] = []
    uncompared: list[str] = []
    functions = stage.functions.values()
    comparisons = [
        *(
            (f"the queue {name}", partial(_queue_differences, stage, name))
            for name in sorted(mns_queues(functions))
        ),
        *(
            (f"the role {role} and its policy", partial(_role_differences, stage, role))
            for role in sorted({function.role.rpartition("/")[2] for function in functions})
        ),
        *(
            (
                f"the deliveries of EventBridge to {function.function_name}",
                partial(_delivery_differences, stage, function),
            )
            for function in functions
        ),
    ]
    for what, compare in comparisons:
        try:
            differences += compare()
        except (ReadFailed, MNSExceptionBase):
            uncompared.append(what)
    return differences, uncompared


def _queue_differences(stage: Stage, name: str) -> Iterator[Difference]:
    attributes = GetQueueAttributesResponse()
    try:
        stage.queue_service().mns_client.get_queue_attributes(GetQueueAttributesRequest(name), attributes)
    except MNSExceptionBase as error:
        if error.type == "QueueNotExist":
            return
        raise
    for what, before, minimum in (
        (
            "VisibilityTimeout",
            int(attributes.visibility_timeout),
            visibility_seconds(stage.functions.values()),
        ),
        ("MessageRetentionPeriod", int(attributes.message_retention_period), WEEK_SECONDS),
    ):
        if before < minimum:
            yield Difference(
                function=name, what=what, change="change", before=f"{before} s", after=f"at least {minimum} s"
            )


def _delivery_differences(stage: Stage, function: FunctionProperties) -> Iterator[Difference]:
    """Find enabled triggers whose rule or stream was disabled in EventBridge."""
    enabled = {
        trigger.trigger_name
        for trigger in function.triggers
        if isinstance(trigger, EventBridge) and trigger.trigger_config.trigger_enable
    }
    deployed = stage.cloud().triggers(function.function_name) if enabled else {}
    for name in sorted(enabled & deployed.keys()):
        arn = str(deployed[name].get("sourceArn") or "")
        if status := delivery_fault(stage, arn):
            yield Difference(
                function=function.function_name,
                what=f"{arn.rpartition(':')[2]}, trigger {name}",
                change="change",
                before=status,
                after="enabled: start it in the EventBridge console",
            )


def _role_differences(stage: Stage, role: str) -> Iterator[Difference]:
    principals = trusted_principals(stage, role)
    if principals is None:
        return
    if principals and principals != {FUNCTION_COMPUTE}:
        yield Difference(
            function=role,
            what="trust policy",
            change="change",
            before=", ".join(sorted(principals)),
            after=_step(stage, "trust"),
        )
    names, policy = policies_of_role(stage, role), f"mpaas-push-{stage.name}"
    if policy not in names:
        yield Difference(
            function=role,
            what=f"policy {policy}",
            change="add",
            before=", ".join(names) or None,
            after=_step(stage, "function"),
        )
    elif policy_document(stage, policy) != filled_policies(stage.name, stage.env, stage.folder)["function"]:
        yield Difference(
            function=role, what=f"policy {policy}", change="change", after=_step(stage, "function")
        )


def _step(stage: Stage, file: str) -> str:
    return f"build/policies/{stage.name}-{file}.json of make prepare: docs/deploy.md, step 5"
