"""The prerequisites of a deployment, all checked before anything is changed.

`preflight` takes a `Stage` and returns what is missing, each with the step of docs/deploy.md that creates it,
and a note for what the deployer's key may not check: the deployment may work anyway.
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
from deploy.eventbridge import BUS, is_bus
from deploy.ram import account_of_key, has_service_role, trusted_by_role
from deploy.rpc import TIMEOUT_SECONDS, NotAllowed, ask, sdk_config, sdk_options
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
        lacking: What is missing, each with what to do.
        unasked: What could not be checked: the key is not allowed to, or there was no response.
    """

    lacking: list[str]
    unasked: list[str]


@dataclass(frozen=True, kw_only=True)
class _Question:
    """A check that something exists.

    Attributes:
        what: Its name.
        step: What creates it.
        is_there: Does the check; raises `NotAllowed` if there is no answer.
    """

    what: str
    step: str
    is_there: Callable[[], bool]


def preflight(stage: Stage) -> Findings:
    """Check everything that a deployment of a stage requires, without changing anything."""
    lacking = stage.lacking()
    if lack := missing_command(stage.env):
        lacking.append(lack)
    if lacking:
        return Findings(lacking=lacking, unasked=[])
    unasked: list[str] = []
    questions = list(_questions(stage))
    with ThreadPoolExecutor(len(questions)) as pool:
        for question, answer in zip(questions, pool.map(_asked, questions), strict=True):
            if answer is None:
                unasked.append(question.what)
            elif not answer:
                lacking.append(f"{question.what} is missing: {question.step}")
    lacking += _without_instance(stage)
    for other in stages(stage.folder):
        try:
            lacking += _wanted_by(other, stage) if other != stage.name else ()
        except (CloudRefused, DescriptorError, Misconfigured):
            unasked.append(f"a trigger of the stage {other} for the same uploads")
    return Findings(lacking=lacking, unasked=unasked)


def _asked(question: _Question) -> bool | None:
    try:
        return question.is_there()
    except NotAllowed:
        return None


def _questions(stage: Stage) -> Iterator[_Question]:
    functions = stage.functions.values()
    account = stage.env["ALIBABA_CLOUD_ACCOUNT_ID"]
    yield _Question(
        what=f"a key of the account {account}",
        step="the key in the environment belongs to another account, or the account in the settings is wrong",
        is_there=partial(_is_account, stage, account),
    )
    for role in sorted({function.role.rpartition("/")[2] for function in functions}):
        step = "docs/deploy.md, step 5"
        yield _Question(what=f"the role {role}", step=step, is_there=partial(_is_role, stage, role))
        yield _Question(
            what=f"the trust of the role {role} in {FUNCTION_COMPUTE}",
            step=f"{step}: build/policies/{stage.name}-trust.json",
            is_there=partial(_is_trusting, stage, role),
        )
    yield from _log_questions(stage)
    triggers = [trigger for function in functions for trigger in function.triggers]
    invoking = [trigger for trigger in triggers if isinstance(trigger, Topic | Oss | Log | Cdn)]
    for role in sorted({trigger.invocation_role.rpartition("/")[2] for trigger in invoking}):
        yield _Question(
            what=f"the triggers' role {role}",
            step="docs/deploy.md, step 3",
            is_there=partial(_is_role, stage, role),
        )
    for bucket in sorted({trigger.bucket for trigger in stage.uploads}):
        yield _Question(
            what=f"the bucket {bucket}",
            step="docs/deploy.md, step 3",
            is_there=partial(_is_bucket, stage, bucket),
        )
    for service in sorted(_service_roles(triggers)):
        yield _Question(
            what=f"the service-linked role of {service}.eventbridge.aliyuncs.com",
            step="docs/deploy.md, step 5",
            is_there=partial(has_service_role, stage, f"{service}.eventbridge.aliyuncs.com"),
        )
    if any(isinstance(trigger, EventBridge) and not trigger.is_stream for trigger in triggers):
        yield _Question(
            what=f"the event bus {BUS}",
            step="EventBridge creates it when it is activated: docs/deploy.md, step 1",
            is_there=partial(is_bus, stage, BUS),
        )
    for queue in sorted(mns_queues(functions)):
        yield _Question(
            what=f"the queue {queue}",
            step=f"make prepare STAGE={stage.name}",
            is_there=partial(_is_queue, stage, queue),
        )
    for topic in sorted(mns_topics(functions)):
        yield _Question(
            what=f"the topic {topic}",
            step=f"make prepare STAGE={stage.name}",
            is_there=partial(_is_topic, stage, topic),
        )


def _log_questions(stage: Stage) -> Iterator[_Question]:
    configs = [function.log_config for function in stage.functions.values()]
    step = "docs/deploy.md, step 3"
    for project in sorted({config.project for config in configs}):
        yield _Question(
            what=f"the Log Service project {project}",
            step=step,
            is_there=partial(_is_log_project, stage, project),
        )
    for project, logstore in sorted({(config.project, config.logstore) for config in configs}):
        yield _Question(
            what=f"the logstore {logstore} of {project}",
            step=step,
            is_there=partial(_is_logstore, stage, project, logstore),
        )


def _without_instance(stage: Stage) -> Iterator[str]:
    """Name the triggers without an instance to read: EventBridge may refuse one that is off as well."""
    for function in stage.functions.values():
        for trigger in function.triggers:
            if isinstance(trigger, EventBridge) and trigger.trigger_config.lacks_instance:
                source = trigger.trigger_config.event_source_config
                yield (
                    f"the {source.event_source_type} instance of {function.function_name}, trigger"
                    f" {trigger.trigger_name}, is missing: set the variable that s.yaml reads for it in .env,"
                    " or take the trigger out of s.yaml"
                )


def _wanted_by(other: str, stage: Stage) -> Iterator[str]:
    """Name the OSS triggers of a stage that OSS would refuse beside those that another one has in the cloud.

    Raises:
        CloudRefused: the key may not look at the triggers of the other stage.
        DescriptorError: the descriptor of the other stage is invalid, or settings that it needs are missing.
        Misconfigured: the settings of the other stage cannot be read.
    """
    if not stage.uploads:
        return
    cloud = stage.cloud()
    theirs = replace(stage, name=other, env={**stage.env, **read_settings(stage.folder, other, {})})
    for name in [function.function_name for function in theirs.functions.values()]:
        for there in cloud.triggers(name).values():
            for trigger in stage.uploads:
                if there["triggerType"] == "oss" and _collide(trigger, there):
                    both = f"the trigger {trigger.trigger_name} and one of {name} match the same uploads"
                    yield f"{both} to {trigger.bucket}, which OSS refuses. {SEPARATE_UPLOADS}"


def _collide(trigger: Oss, there: dict[str, Any]) -> bool:
    if there.get("sourceArn") != trigger.source_arn:
        return False
    config = there["triggerConfig"]
    # Other tools may leave out what the descriptor requires: it means every object then.
    given = (config.get("filter") or {}).get("key") or {}
    key = OssKey(prefix=given.get("prefix") or "", suffix=given.get("suffix") or "")
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


def _is_account(stage: Stage, account: str) -> bool:
    return account_of_key(stage) == account


def _is_role(stage: Stage, role: str) -> bool:
    return trusted_by_role(stage, role) is not None


def _is_trusting(stage: Stage, role: str) -> bool:
    """Ask whether Function Compute may assume a role; one that is missing is named by itself."""
    trusted = trusted_by_role(stage, role)
    return not trusted or FUNCTION_COMPUTE in trusted


def _is_log_project(stage: Stage, project: str) -> bool:
    client, request = _logs(stage), GetProjectRequest()
    return ask(partial(client.get_project_with_options, project, request, {}, sdk_options())) is not None


def _is_logstore(stage: Stage, project: str, logstore: str) -> bool:
    client = _logs(stage)
    return ask(partial(client.get_log_store_with_options, project, logstore, {}, sdk_options())) is not None


def _logs(stage: Stage) -> LogClient:
    config = sdk_config(stage, f"{stage.region}.log.aliyuncs.com")
    if stand_in := stage.stand_in:  # the project is part of the host name
        config.endpoint, config.http_proxy = f"{stage.region}.log.aliyuncs.com", stand_in
    return LogClient(config)


def _is_bucket(stage: Stage, bucket: str) -> bool:
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
        raise NotAllowed from None
    return True


def _is_queue(stage: Stage, queue: str) -> bool:
    request = GetQueueAttributesRequest(queue)
    client = stage.queue_service().mns_client
    return _is_in_mns(
        partial(client.get_queue_attributes, request, GetQueueAttributesResponse()), "QueueNotExist"
    )


def _is_topic(stage: Stage, topic: str) -> bool:
    request = GetTopicAttributesRequest(topic)
    client = stage.queue_service().mns_client
    return _is_in_mns(
        partial(client.get_topic_attributes, request, GetTopicAttributesResponse()), "TopicNotExist"
    )


def _is_in_mns(read: Callable[[], object], absent: str) -> bool:
    try:
        read()
    except MNSExceptionBase as error:
        if error.type == absent:
            return False
        raise NotAllowed from None
    return True
