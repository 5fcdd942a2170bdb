"""The prerequisites of a deployment, all checked before anything is changed.

`preflight` takes a `Stage` and returns the missing prerequisites, each with the step of docs/deploy.md that
creates it, and those that the deployer's key may not check; the deployment may work without these checks.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
from alibabacloud_oss_v2.exceptions import OperationError, ServiceError
from alibabacloud_sls20201230.client import Client as LogClient
from alibabacloud_sls20201230.models import GetProjectRequest
from mns.mns_exception import MNSExceptionBase
from mns.mns_request import (
    GetQueueAttributesRequest,
    GetQueueAttributesResponse,
    GetTopicAttributesRequest,
    GetTopicAttributesResponse,
)

from deploy.cloud import CloudRefused
from deploy.eventbridge import BUS, bus_exists
from deploy.ram import account_of_key, has_service_role, trusted_principals
from deploy.rpc import TIMEOUT_SECONDS, ReadFailed, call_sdk, sdk_config, sdk_options
from deploy.serverless import missing_command
from mpaas_push.errors import Misconfigured
from project.descriptor import DescriptorError
from project.env_file import deployer_key
from project.policies import FUNCTION_COMPUTE
from project.stages import SEPARATE_UPLOADS, read_settings, stages
from project.triggers import Cdn, EventBridge, Log, Oss, OssConfig, OssFilter, OssKey, Topic
from project.wiring import mns_queues, mns_topics, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploy.stage import Stage

__all__ = ["Findings", "preflight"]

SERVICES_BY_SOURCE = {
    "Default": ("source-cms", "source-actiontrail"),
    "MNS": ("sendevent-mns",),
    "RocketMQ": ("source-rocketmq",),
    "RabbitMQ": ("source-rabbitmq",),
    "Kafka": ("source-kafka", "connect-vpc"),
}
"""Services of EventBridge whose service-linked roles a source requires, besides ``sendevent-fc``, which calls
functions (docs/permissions.md)."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The result of the checks.

    Attributes:
        missing: The missing prerequisites, each with what to do.
        unverified: Those that could not be checked: the key lacks the permission, or there was no response.
    """

    missing: list[str]
    unverified: list[str]


@dataclass(frozen=True, kw_only=True)
class _Prerequisite:
    """Something that must exist.

    Attributes:
        what: Its name.
        step: What creates it.
        exists: Checks it; raises `ReadFailed` if it cannot be read.
    """

    what: str
    step: str
    exists: Callable[[], bool]


def preflight(stage: Stage) -> Findings:
    """Check everything that a deployment of a stage requires, without changing anything."""
    missing = stage.setting_faults()
    if text := missing_command(stage.env):
        missing.append(text)
    if missing:
        return Findings(missing=missing, unverified=[])
    unverified: list[str] = []
    prerequisites = list(_prerequisites(stage))
    with ThreadPoolExecutor(len(prerequisites)) as pool:
        for prerequisite, exists in zip(prerequisites, pool.map(_exists, prerequisites), strict=True):
            if exists is None:
                unverified.append(prerequisite.what)
            elif not exists:
                missing.append(f"{prerequisite.what} is missing: {prerequisite.step}")
    missing += _missing_instances(stage)
    for other in stages(stage.folder):
        try:
            missing += _upload_conflicts(other, stage) if other != stage.name else ()
        except (CloudRefused, DescriptorError, Misconfigured):
            unverified.append(f"a trigger of the stage {other} for the same uploads")
    return Findings(missing=missing, unverified=unverified)


def _exists(prerequisite: _Prerequisite) -> bool | None:
    try:
        return prerequisite.exists()
    except ReadFailed:
        return None


def _prerequisites(stage: Stage) -> Iterator[_Prerequisite]:
    functions = stage.functions.values()
    account = stage.env["ALIBABA_CLOUD_ACCOUNT_ID"]
    yield _Prerequisite(
        what=f"a key of the account {account}",
        step="the key in the environment belongs to another account, or the account in the settings is wrong",
        exists=partial(_is_key_of, stage, account),
    )
    for role in sorted({function.role.rpartition("/")[2] for function in functions}):
        step = "docs/deploy.md, step 5"
        yield _Prerequisite(what=f"the role {role}", step=step, exists=partial(_role_exists, stage, role))
        yield _Prerequisite(
            what=f"the trust of the role {role} in {FUNCTION_COMPUTE}",
            step=f"{step}: build/policies/{stage.name}-trust.json",
            exists=partial(_trusts_function_compute, stage, role),
        )
    yield from _log_prerequisites(stage)
    triggers = [trigger for function in functions for trigger in function.triggers]
    triggers_with_role = [trigger for trigger in triggers if isinstance(trigger, Topic | Oss | Log | Cdn)]
    for role in sorted({trigger.invocation_role.rpartition("/")[2] for trigger in triggers_with_role}):
        yield _Prerequisite(
            what=f"the triggers' role {role}",
            step="docs/deploy.md, step 3",
            exists=partial(_role_exists, stage, role),
        )
    for bucket in sorted({trigger.bucket for trigger in stage.uploads}):
        yield _Prerequisite(
            what=f"the bucket {bucket}",
            step="docs/deploy.md, step 3",
            exists=partial(_bucket_exists, stage, bucket),
        )
    for service in sorted(_service_roles(triggers)):
        yield _Prerequisite(
            what=f"the service-linked role of {service}.eventbridge.aliyuncs.com",
            step="docs/deploy.md, step 5",
            exists=partial(has_service_role, stage, f"{service}.eventbridge.aliyuncs.com"),
        )
    if any(isinstance(trigger, EventBridge) and not trigger.is_stream for trigger in triggers):
        yield _Prerequisite(
            what=f"the event bus {BUS}",
            step="EventBridge creates it when it is activated: docs/deploy.md, step 1",
            exists=partial(bus_exists, stage, BUS),
        )
    for queue in sorted(mns_queues(functions)):
        yield _Prerequisite(
            what=f"the queue {queue}",
            step=f"make prepare STAGE={stage.name}",
            exists=partial(_queue_exists, stage, queue),
        )
    for topic in sorted(mns_topics(functions)):
        yield _Prerequisite(
            what=f"the topic {topic}",
            step=f"make prepare STAGE={stage.name}",
            exists=partial(_topic_exists, stage, topic),
        )


def _log_prerequisites(stage: Stage) -> Iterator[_Prerequisite]:
    configs = [function.log_config for function in stage.functions.values()]
    step = "docs/deploy.md, step 3"
    for project in sorted({config.project for config in configs}):
        yield _Prerequisite(
            what=f"the Log Service project {project}",
            step=step,
            exists=partial(_log_project_exists, stage, project),
        )
    for project, logstore in sorted({(config.project, config.logstore) for config in configs}):
        yield _Prerequisite(
            what=f"the logstore {logstore} of {project}",
            step=step,
            exists=partial(_logstore_exists, stage, project, logstore),
        )


def _missing_instances(stage: Stage) -> Iterator[str]:
    """Describe the triggers without an instance to read; EventBridge may refuse them even if disabled."""
    for function in stage.functions.values():
        for trigger in function.triggers:
            if isinstance(trigger, EventBridge) and trigger.trigger_config.lacks_instance:
                source = trigger.trigger_config.event_source_config
                yield (
                    f"the {source.event_source_type} instance of {function.function_name}, trigger"
                    f" {trigger.trigger_name}, is missing: set the variable that s.yaml reads for it in .env,"
                    " or remove the trigger from s.yaml"
                )


def _upload_conflicts(other: str, stage: Stage) -> Iterator[str]:
    """Describe the OSS triggers of a stage that OSS would refuse because of deployed ones of another stage.

    Raises:
        CloudRefused: the key may not read the triggers of the other stage.
        DescriptorError: the descriptor of the other stage is invalid, or settings that it needs are missing.
        Misconfigured: the settings of the other stage cannot be read.
    """
    if not stage.uploads:
        return
    cloud = stage.cloud()
    theirs = replace(stage, name=other, env={**stage.env, **read_settings(stage.folder, other, {})})
    for name in [function.function_name for function in theirs.functions.values()]:
        for deployed in cloud.triggers(name).values():
            for trigger in stage.uploads:
                if deployed["triggerType"] == "oss" and _conflict(trigger, deployed):
                    both = f"the trigger {trigger.trigger_name} and one of {name} match the same uploads"
                    yield f"{both} to {trigger.bucket}, which OSS refuses. {SEPARATE_UPLOADS}"


def _conflict(trigger: Oss, deployed: dict[str, Any]) -> bool:
    if deployed.get("sourceArn") != trigger.source_arn:
        return False
    config = deployed["triggerConfig"]
    # Triggers of other tools may have no filter, and then match every object.
    deployed_key = (config.get("filter") or {}).get("key") or {}
    key = OssKey(prefix=deployed_key.get("prefix") or "", suffix=deployed_key.get("suffix") or "")
    theirs = OssConfig.model_construct(events=config.get("events") or [], filter=OssFilter(key=key))
    return overlap(trigger.trigger_config, theirs)


def _service_roles(triggers: list[Any]) -> set[str]:
    sources = {
        trigger.trigger_config.event_source_config.event_source_type
        for trigger in triggers
        if isinstance(trigger, EventBridge)
    }
    services = {service for source in sources for service in SERVICES_BY_SOURCE.get(source, ())}
    return services | {"sendevent-fc"} if sources else set()


def _is_key_of(stage: Stage, account: str) -> bool:
    return account_of_key(stage) == account


def _role_exists(stage: Stage, role: str) -> bool:
    return trusted_principals(stage, role) is not None


def _trusts_function_compute(stage: Stage, role: str) -> bool:
    """Return whether Function Compute may assume a role; true if it is missing, which is another check."""
    trusted = trusted_principals(stage, role)
    return not trusted or FUNCTION_COMPUTE in trusted


def _log_project_exists(stage: Stage, project: str) -> bool:
    client, request = _logs(stage), GetProjectRequest()
    return call_sdk(partial(client.get_project_with_options, project, request, {}, sdk_options())) is not None


def _logstore_exists(stage: Stage, project: str, logstore: str) -> bool:
    client = _logs(stage)
    return (
        call_sdk(partial(client.get_log_store_with_options, project, logstore, {}, sdk_options())) is not None
    )


def _logs(stage: Stage) -> LogClient:
    config = sdk_config(stage, f"{stage.region}.log.aliyuncs.com")
    if stand_in := stage.stand_in:  # the project is part of the host name
        config.endpoint, config.http_proxy = f"{stage.region}.log.aliyuncs.com", stand_in
    return LogClient(config)


def _bucket_exists(stage: Stage, bucket: str) -> bool:
    keys = deployer_key(stage.env)
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(
        keys.access_key_id, keys.access_key_secret, keys.security_token
    )
    config.region, config.retry_max_attempts = stage.region, 1
    config.connect_timeout = config.readwrite_timeout = TIMEOUT_SECONDS
    if stand_in := stage.stand_in:
        config.endpoint, config.use_path_style = stand_in, True
    try:
        oss.Client(config).get_bucket_location(oss.GetBucketLocationRequest(bucket=bucket))
    except OperationError as error:
        cause = error.unwrap()
        if isinstance(cause, ServiceError) and cause.status_code == 404:
            return False
        raise ReadFailed from None
    return True


def _queue_exists(stage: Stage, queue: str) -> bool:
    request = GetQueueAttributesRequest(queue)
    client = stage.queue_service().mns_client
    return _exists_in_mns(
        partial(client.get_queue_attributes, request, GetQueueAttributesResponse()), "QueueNotExist"
    )


def _topic_exists(stage: Stage, topic: str) -> bool:
    request = GetTopicAttributesRequest(topic)
    client = stage.queue_service().mns_client
    return _exists_in_mns(
        partial(client.get_topic_attributes, request, GetTopicAttributesResponse()), "TopicNotExist"
    )


def _exists_in_mns(read: Callable[[], object], absent: str) -> bool:
    try:
        read()
    except MNSExceptionBase as error:
        if error.type == absent:
            return False
        raise ReadFailed from None
    return True
