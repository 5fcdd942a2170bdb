"""What a stage needs beside its functions, compared with the cloud: queues, role, EventBridge's deliveries.

`make prepare` and an administrator make queues and role (docs/deploy.md, step 5), Function Compute makes the
rules and streams of EventBridge: differences are reported, not corrected.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mns.mns_exception import MNSExceptionBase
from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse

from deploy.eventbridge import delivery_fault
from deploy.plan import Difference
from deploy.prepare import filled_policies
from deploy.ram import policies_of_role, policy_document, trusted_by_role
from deploy.rpc import NotAllowed
from project.policies import FUNCTION_COMPUTE
from project.triggers import EventBridge
from project.wiring import WEEK_SECONDS, mns_queues, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.stage import Stage
    from project.function import FunctionProperties

__all__ = ["surroundings"]


def surroundings(stage: Stage) -> tuple[list[Difference], list[str]]:
    """Compare queues, role, rules and streams; return what differs, and what the key may not look at.

    What is missing altogether is left out: `preflight` names it.
    """
    differences: list[Difference] = []
    unasked: list[str] = []
    functions = stage.functions.values()
    questions = [
        *((f"the queue {name}", partial(_of_queue, stage, name)) for name in sorted(mns_queues(functions))),
        *(
            (f"the role {role} and its policy", partial(_of_role, stage, role))
            for role in sorted({function.role.rpartition("/")[2] for function in functions})
        ),
        *(
            (
                f"what EventBridge delivers to {function.function_name}",
                partial(_of_deliveries, stage, function),
            )
            for function in functions
        ),
    ]
    for what, ask in questions:
        try:
            differences += ask()
        except (NotAllowed, MNSExceptionBase):
            unasked.append(what)
    return differences, unasked


def _of_queue(stage: Stage, name: str) -> Iterator[Difference]:
    attributes = GetQueueAttributesResponse()
    try:
        stage.queue_service().mns_client.get_queue_attributes(GetQueueAttributesRequest(name), attributes)
    except MNSExceptionBase as error:
        if error.type == "QueueNotExist":
            return
        raise
    for what, before, least in (
        (
            "VisibilityTimeout",
            int(attributes.visibility_timeout),
            visibility_seconds(stage.functions.values()),
        ),
        ("MessageRetentionPeriod", int(attributes.message_retention_period), WEEK_SECONDS),
    ):
        if before < least:
            yield Difference(
                function=name, what=what, change="change", before=f"{before} s", after=f"at least {least} s"
            )


def _of_deliveries(stage: Stage, function: FunctionProperties) -> Iterator[Difference]:
    """Find enabled triggers whose rule or stream was switched off in EventBridge."""
    on = {
        trigger.trigger_name
        for trigger in function.triggers
        if isinstance(trigger, EventBridge) and trigger.trigger_config.trigger_enable
    }
    there = stage.cloud().triggers(function.function_name) if on else {}
    for name in sorted(on & there.keys()):
        arn = str(there[name].get("sourceArn") or "")
        if status := delivery_fault(stage, arn):
            yield Difference(
                function=function.function_name,
                what=f"{arn.rpartition(':')[2]}, trigger {name}",
                change="change",
                before=status,
                after="on: start it in the console of EventBridge",
            )


def _of_role(stage: Stage, role: str) -> Iterator[Difference]:
    trusted = trusted_by_role(stage, role)
    if trusted is None:
        return
    if trusted and trusted != {FUNCTION_COMPUTE}:
        yield Difference(
            function=role,
            what="trust policy",
            change="change",
            before=", ".join(sorted(trusted)),
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
