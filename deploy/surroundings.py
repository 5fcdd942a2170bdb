"""What a stage needs beside its functions, compared with the cloud: its queues and its role.

`make prepare` and an administrator make them (docs/deploy.md, step 5): what differs is only shown.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from mns.mns_exception import MNSExceptionBase
from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse

from deploy.plan import Difference
from deploy.preflight import NotAllowed, call_rpc
from deploy.prepare import WEEK_SECONDS, filled_policies
from project.policies import TRUST
from project.wiring import mns_queues, visibility_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.stage import Stage

__all__ = ["surroundings"]


def surroundings(stage: Stage) -> tuple[list[Difference], list[str]]:
    """Compare queues and role; return what differs, and what the key may not look at.

    What is missing altogether is left out: `preflight` names it.
    """
    found: list[Difference] = []
    unasked: list[str] = []
    functions = stage.functions.values()
    questions = [
        *((f"the queue {name}", partial(_of_queue, stage, name)) for name in sorted(mns_queues(functions))),
        *(
            (f"the role {role} and its policy", partial(_of_role, stage, role))
            for role in sorted({function.role.rpartition("/")[2] for function in functions})
        ),
    ]
    for what, ask in questions:
        try:
            found += ask()
        except (NotAllowed, MNSExceptionBase):
            unasked.append(what)
    return found, unasked


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


def _of_role(stage: Stage, role: str) -> Iterator[Difference]:
    answer = call_rpc(stage, "ram", "2015-05-01", "GetRole", {"RoleName": role})
    if answer is None:
        return
    trust = answer.get("Role", {}).get("AssumeRolePolicyDocument")
    if trust and json.loads(trust) != TRUST:
        yield Difference(function=role, what="trust policy", change="change", after=_step(stage, "trust"))
    attached = call_rpc(stage, "ram", "2015-05-01", "ListPoliciesForRole", {"RoleName": role}) or {}
    names = [each["PolicyName"] for each in attached.get("Policies", {}).get("Policy", [])]
    policy = f"mpaas-push-{stage.name}"
    if policy not in names:
        yield Difference(
            function=role,
            what=f"policy {policy}",
            change="add",
            before=", ".join(names) or None,
            after=_step(stage, "function"),
        )
        return
    query = {"PolicyName": policy, "PolicyType": "Custom"}
    version: dict[str, Any] = (call_rpc(stage, "ram", "2015-05-01", "GetPolicy", query) or {}).get(
        "DefaultPolicyVersion", {}
    )
    wanted = filled_policies(stage.name, stage.env, stage.folder)["function"]
    if json.loads(version.get("PolicyDocument") or "null") != wanted:
        yield Difference(
            function=role, what=f"policy {policy}", change="change", after=_step(stage, "function")
        )


def _step(stage: Stage, file: str) -> str:
    return f"build/policies/{stage.name}-{file}.json of make prepare: docs/deploy.md, step 5"
