"""What `s.yaml` and `template.yml` may say of a function and what belongs to it: models for both.

The keys are those of component fc3; ROS writes them with a capital letter (deploy.md: Function properties,
Triggers, ROS resource types). Keys that are unknown here are faults, as the cloud's tools let a misspelt one
through (deploy.md: Serverless Devs offline). Where the project is stricter than the cloud, such as no trigger
that answers everybody, the text says so.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel, to_pascal

from mpaas_push.errors import Fault
from project.cron import next_tick
from project.patterns import pattern_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails
    from typing_extensions import Self

__all__ = [
    "OSS_EVENTS",
    "DeployedFunction",
    "Frame",
    "FunctionProperties",
    "Layer",
    "Queue",
    "Role",
    "StackAsyncSettings",
    "StackConcurrency",
    "StackFrame",
    "StackFunction",
    "StackTrigger",
    "Topic",
    "faults_of",
]


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel
    )


class _Pascal(_Strict):
    """The parameters of event sources begin with capitals."""

    model_config = ConfigDict(alias_generator=to_pascal)


def _like(pattern: str, example: str) -> AfterValidator:
    """Let a text through that matches; any other is told what one looks like."""

    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            shown = f"is {text!r}; " if len(text) < _LONGEST_SHOWN else ""
            raise ValueError(f"{shown}must be {example}")
        return text

    return AfterValidator(checked)


_LONGEST_SHOWN = 100

OSS_EVENTS: Mapping[str, frozenset[str]] = {
    "ObjectCreated": frozenset(
        {
            "PutObject",
            "PutSymlink",
            "PostObject",
            "CopyObject",
            "InitiateMultipartUpload",
            "UploadPart",
            "UploadPartCopy",
            "CompleteMultipartUpload",
            "AppendObject",
        }
    ),
    "ObjectRemoved": frozenset({"DeleteObject", "DeleteObjects", "AbortMultipartUpload"}),
    "ObjectModified": frozenset({"UpdateObjectMeta"}),
    "ObjectReplication": frozenset({"ObjectCreated", "ObjectModified", "ObjectRemoved"}),
}
"""What happens to objects, by group (fc-runtime.md: OSS trigger)."""

_REGIONS = {
    f"{area}-{place}"
    for area, places in {
        "cn": "hangzhou shanghai qingdao beijing zhangjiakou huhehaote wulanchabu shenzhen chengdu hongkong"
        " shanghai-finance-1 shanghai-cloudspe heyuan-acdr-1",
        "ap": "northeast-1 northeast-2 south-1 southeast-1 southeast-2 southeast-3 southeast-5 southeast-7",
        "eu": "central-1 west-1",
        "us": "east-1 west-1",
        "me": "central-1",
    }.items()
    for place in places.split()
}
"""Those that component fc3 takes (deploy.md: Function properties)."""


def _one_of(known: Collection[str], what: str) -> AfterValidator:
    """Let a text through that is known; any other is told the nearest."""

    def checked(text: str) -> str:
        if text not in known:
            near = get_close_matches(text, known, 1)
            raise ValueError(f"{text!r} is no {what}{f'; did you mean {near[0]}?' if near else ''}")
        return text

    return AfterValidator(checked)


_Event = Annotated[
    str,
    _one_of(
        {f"oss:{group}:{name}" for group in OSS_EVENTS for name in (*OSS_EVENTS[group], "*")}, "event of OSS"
    ),
]
_QueueArn = Annotated[
    str, _like(r"acs:mns:[\w-]+:\w+:/queues/[\w-]+", "a queue: acs:mns:REGION:ACCOUNT:/queues/NAME")
]
_TriggerName = Annotated[
    str, _like("[A-Za-z_][A-Za-z0-9_-]{0,127}", "1 to 128 letters, digits, _ and -, a letter first")
]
_RoleArn = Annotated[
    str, _like(r"acs:ram::\w+:role/[a-z0-9.-]+", "a role in small letters: acs:ram::ACCOUNT:role/NAME")
]
_TopicArn = Annotated[
    str, _like(r"acs:mns:[\w-]+:\w+:/topics/[\w-]+", "a topic: acs:mns:REGION:ACCOUNT:/topics/NAME")
]
_LogArn = Annotated[
    str, _like(r"acs:log:[\w-]+:\w+:project/[\w-]+", "a log project: acs:log:REGION:ACCOUNT:project/NAME")
]
_CdnArn = Annotated[str, _like(r"acs:cdn:\*:\w+", "the account: acs:cdn:*:ACCOUNT")]
_BucketArn = Annotated[
    str, _like(r"acs:oss:[\w-]+:\w+:[a-z0-9-]+", "a bucket: acs:oss:REGION:ACCOUNT:BUCKET")
]
_FunctionName = Annotated[
    str, _like("[A-Za-z_][A-Za-z0-9_-]{0,63}", "1 to 64 letters, digits, _ and -, a letter first")
]
_Handler = Annotated[str, _like(r"[\w./-]+\.\w+", "module.function, such as index.handler")]
_LayerArn = Annotated[
    str,
    _like(
        r"acs:fc:[\w-]+:\w+:layers/[\w-]+/versions/[0-9]+",
        "a version of a layer: acs:fc:REGION:ACCOUNT:layers/NAME/versions/1",
    ),
]
_Region = Annotated[
    str,
    _one_of(_REGIONS, "region of Function Compute"),
]
_Component = Annotated[str, _like(r"fc3(@[\w.]+)?", "fc3")]
_Edition = Annotated[str, _like(r"3\.[0-9]+\.[0-9]+", "3.0.0, in which component fc3 is written")]

# --- Triggers


def _cron(expression: str) -> str:
    next_tick(expression, datetime(2025, 1, 1, tzinfo=timezone.utc))
    return expression


def _pattern(text: str) -> str:
    pattern_of(text)
    return text


_PAYLOAD_BYTES = 128 * 1024


class _HttpConfig(_Strict):
    auth_type: str
    methods: Annotated[
        list[Literal["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]], Field(min_length=1)
    ]
    disable_url_internet: Annotated[bool, Field(alias="disableURLInternet")] = False
    auth_config: dict[str, Any] | None = None

    @field_validator("auth_type")
    @classmethod
    def _not_everybody(cls, value: str) -> str:
        if value not in {"function", "jwt"}:
            raise ValueError(f"is {value!r}; must be function or jwt: anonymous lets everybody push")
        return value

    @model_validator(mode="after")
    def _keys_of_jwt(self) -> Self:
        if self.auth_type == "jwt" and not self.auth_config:
            raise ValueError("authConfig is missing: jwt needs the keys to check with")
        return self


class _TimerConfig(_Strict):
    cron_expression: Annotated[str, AfterValidator(_cron)]
    enable: bool = True
    payload: str = ""

    @field_validator("payload")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value.encode()) > _PAYLOAD_BYTES:
            raise ValueError(f"is {len(value.encode()):,} bytes long; at most {_PAYLOAD_BYTES:,} are allowed")
        return value


_Retries = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]


class _TopicConfig(_Strict):
    notify_content_format: Literal["STREAM", "JSON"]
    notify_strategy: _Retries
    filter_tag: Annotated[str, Field(max_length=16)] = ""


class _OssKey(_Strict):
    prefix: str = ""
    suffix: str = ""


class _OssFilter(_Strict):
    key: _OssKey


class _OssConfig(_Strict):
    events: Annotated[
        list[_Event],
        Field(min_length=1),
    ]
    filter: _OssFilter


class _LogSource(_Strict):
    logstore: str


class _LogJob(_Strict):
    max_retry_time: Annotated[int, Field(ge=0)]
    trigger_interval: Annotated[int, Field(ge=1)]


class _LogPlace(_Strict):
    project: str
    logstore: str


class _LogTriggerConfig(_Strict):
    source_config: _LogSource
    job_config: _LogJob
    log_config: _LogPlace
    function_parameter: dict[str, Any] = {}
    enable: bool


class _CdnFilter(_Strict):
    domain: Annotated[list[str], Field(min_length=1)]


class _CdnConfig(_Strict):
    event_name: str
    event_version: str
    notes: str
    filter: _CdnFilter


class _Mns(_Pascal):
    region_id: _Region
    queue_name: str
    is_base64_decode: Annotated[bool, Field(alias="IsBase64Decode")]


class _Instance(_Pascal):
    region_id: _Region
    instance_id: str


class _RocketMq(_Instance):
    model_config = ConfigDict(extra="allow")  # keys by kind of instance, which no page lists in full

    topic: str
    group_id: Annotated[str, Field(alias="GroupID")]


class _RabbitMq(_Instance):
    virtual_host_name: str
    queue_name: str


class _Kafka(_Instance):
    topic: str
    consumer_group: str
    offset_reset: Literal["latest", "earliest"] = "latest"
    network: str = ""
    vpc_id: str = ""
    v_switch_ids: str = ""
    security_group_id: str = ""


class _SourceParameters(_Strict):
    mns: Annotated[_Mns | None, Field(alias="sourceMNSParameters")] = None
    rocketmq: Annotated[_RocketMq | None, Field(alias="sourceRocketMQParameters")] = None
    rabbitmq: Annotated[_RabbitMq | None, Field(alias="sourceRabbitMQParameters")] = None
    kafka: Annotated[_Kafka | None, Field(alias="sourceKafkaParameters")] = None
    mqtt: Annotated[dict[str, Any] | None, Field(alias="sourceMQTTParameters")] = None
    dts: Annotated[dict[str, Any] | None, Field(alias="sourceDTSParameters")] = None


class _Source(_Strict):
    event_source_type: Literal["Default", "MNS", "RocketMQ", "RabbitMQ", "Kafka", "MQTT", "DTS"]
    event_source_parameters: _SourceParameters = _SourceParameters()

    @model_validator(mode="after")
    def _parameters_of_the_type(self) -> Self:
        kind = self.event_source_type
        if kind != "Default" and getattr(self.event_source_parameters, kind.lower()) is None:
            raise ValueError(f"eventSourceParameters.source{kind}Parameters is missing")
        return self

    @property
    def instance(self) -> str:
        """The product's instance; empty where it needs none."""
        parameters = getattr(self.event_source_parameters, self.event_source_type.lower(), None)
        return str(getattr(parameters, "instance_id", ""))


class _Delivery(_Strict):
    event_schema: Literal["CloudEvents", "RawData"]
    concurrency: Annotated[int, Field(ge=1, le=300)] | None = None
    mode: str | None = None


class _Sink(_Strict):
    delivery_option: _Delivery


class _RetryStrategy(_Pascal):
    push_retry_strategy: _Retries
    maximum_retry_attempts: int | None = None
    maximum_event_age_in_seconds: int | None = None


class _DeadLetters(_Pascal):
    arn: _QueueArn


class _Window(_Pascal):
    count_based_window: Annotated[int, Field(ge=1, le=10000)]
    time_based_window: Annotated[int, Field(ge=0, le=15)]


class _RunOptions(_Strict):
    mode: Literal["event-streaming", "event-driven"]
    errors_tolerance: Literal["ALL", "NONE"]
    retry_strategy: _RetryStrategy
    dead_letter_queue: _DeadLetters | None = None
    batch_window: _Window
    maximum_tasks: int | None = None

    @model_validator(mode="after")
    def _dead_letters_need_tolerance(self) -> Self:
        if self.dead_letter_queue and self.errors_tolerance != "ALL":
            raise ValueError("errorsTolerance must be ALL, or nothing reaches the deadLetterQueue")
        return self


class _EventConfig(_Strict):
    trigger_enable: bool
    async_invocation_type: bool
    event_rule_filter_pattern: Annotated[str, AfterValidator(_pattern)]
    event_source_config: _Source
    event_sink_config: _Sink | None = None
    run_options: _RunOptions | None = None

    @model_validator(mode="after")
    def _off_without_an_instance(self) -> Self:
        if self.trigger_enable and self.event_source_config.instance.endswith("-unset"):
            raise ValueError("triggerEnable must be false until the instance is named in .env")
        return self


class _Trigger(_Strict):
    trigger_name: _TriggerName
    qualifier: str = "LATEST"
    description: str = ""


class _Http(_Trigger):
    trigger_type: Literal["http"]
    trigger_config: _HttpConfig


class _Timer(_Trigger):
    trigger_type: Literal["timer"]
    trigger_config: _TimerConfig


class _Topic(_Trigger):
    trigger_type: Literal["mns_topic"]
    source_arn: _TopicArn
    invocation_role: _RoleArn
    trigger_config: _TopicConfig


class _Oss(_Trigger):
    trigger_type: Literal["oss"]
    source_arn: _BucketArn
    invocation_role: _RoleArn
    trigger_config: _OssConfig


class _Log(_Trigger):
    trigger_type: Literal["log"]
    source_arn: _LogArn
    invocation_role: _RoleArn
    trigger_config: _LogTriggerConfig


class _Cdn(_Trigger):
    trigger_type: Literal["cdn_events"]
    source_arn: _CdnArn
    invocation_role: _RoleArn
    trigger_config: _CdnConfig


class _EventBridge(_Trigger):
    trigger_type: Literal["eventbridge"]
    trigger_config: _EventConfig


TriggerProperties = Annotated[
    _Http | _Timer | _Topic | _Oss | _Log | _Cdn | _EventBridge, Field(discriminator="trigger_type")
]
"""A trigger of a kind that the functions serve."""


# --- Functions


class _Logs(_Strict):
    project: str
    logstore: str
    enable_request_metrics: bool = False
    enable_instance_metrics: bool = False
    enable_llm_metrics: bool = False
    log_begin_rule: Literal["DefaultRegex", "None"] = "None"


class _Vpc(_Strict):
    vpc_id: str
    v_switch_ids: Annotated[list[str], Field(min_length=1)]
    security_group_id: str


class FunctionProperties(_Strict):
    """What both descriptors say of a function."""

    function_name: _FunctionName
    description: str = ""
    runtime: Literal["python3.10", "python3.12"]
    handler: _Handler
    cpu: Annotated[float, Field(ge=0.05, le=16)] = 0.35
    memory_size: Annotated[int, Field(ge=128, le=32768, multiple_of=64)]
    disk_size: Literal[512, 10240] = 512
    timeout: Annotated[int, Field(ge=1, le=86400)]
    internet_access: bool = True
    instance_concurrency: Literal[1] = 1
    environment_variables: dict[str, str] = {}
    layers: Annotated[
        list[_LayerArn],
        Field(min_length=1, max_length=5),
    ]
    role: _RoleArn
    log_config: _Logs
    vpc_config: _Vpc | None = None
    # What a team may add and the project does not use is left to the cloud.
    nas_config: Any = None
    oss_mount_config: Any = None
    tracing_config: Any = None
    custom_dns: Annotated[Any, Field(alias="customDNS")] = None
    instance_lifecycle_config: Any = None
    instance_isolation_mode: Any = None
    session_affinity: Any = None
    session_affinity_config: Any = None
    resource_group_id: Any = None
    tags: Any = None

    @field_validator("cpu")
    @classmethod
    def _twentieths(cls, value: float) -> float:
        if round(value * 100) % 5:
            raise ValueError("must be a multiple of 0.05")
        return value

    @field_validator("environment_variables")
    @classmethod
    def _short(cls, value: dict[str, str]) -> dict[str, str]:
        if (size := sum(len(f"{name}{text}".encode()) for name, text in value.items())) > _ENVIRONMENT_BYTES:
            raise ValueError(f"hold {size:,} bytes; at most {_ENVIRONMENT_BYTES:,} are allowed")
        return value

    @model_validator(mode="after")
    def _memory_fits_cpu(self) -> Self:
        if not 1 <= self.memory_size / 1024 / self.cpu <= _MOST_MEMORY_PER_CPU:
            raise ValueError(
                f"memorySize {self.memory_size} does not fit cpu {self.cpu:g}: 1 to 4 GB for each vCPU"
            )
        return self


_ENVIRONMENT_BYTES = 4096
_MOST_MEMORY_PER_CPU = 4


class _Destination(_Strict):
    destination: Annotated[
        str,
        _like(
            r"acs:(mns:[\w-]+:\w*:/(queues|topics)/[\w-]+/messages|fc:[\w-]+:\w+:functions/.+|(eventbridge|mq):.+)",
            "a place such as acs:mns:REGION:ACCOUNT:/queues/NAME/messages",
        ),
    ]


class _Destinations(_Strict):
    on_success: _Destination | None = None
    on_failure: _Destination


class AsyncSettings(_Strict):
    """What becomes of asynchronous invocations; without `onFailure` those that fail for good are lost."""

    max_async_retry_attempts: Annotated[int, Field(ge=0, le=8)] = 3
    max_async_event_age_in_seconds: Annotated[int, Field(ge=1, le=2592000)] = 18000
    async_task: bool = False
    qualifier: str = "LATEST"
    destination_config: _Destinations


class Concurrency(_Strict):
    """How many instances a function has at the most."""

    reserved_concurrency: Annotated[int, Field(ge=1, le=300)]


class DeployedFunction(FunctionProperties):
    """All that `s.yaml` says of a function."""

    region: _Region
    code: str
    async_invoke_config: AsyncSettings
    concurrency_config: Concurrency | None = None
    triggers: list[TriggerProperties] = []
    provision_config: Any = None
    scaling_config: Any = None
    vpc_binding: Any = None
    custom_domain: Any = None


class _Extended(_Strict):
    name: str
    ignore: list[str] = []


class _Resource(_Strict):
    component: _Component
    extend: _Extended | None = None
    actions: dict[str, Any] = {}
    props: dict[str, Any]


class Frame(_Strict):
    """The frame of an `s.yaml` (deploy.md: Frame of s.yaml); the properties of functions are judged by
    themselves.
    """

    edition: _Edition
    name: str
    access: str = "default"
    vars: dict[str, Any] = {}
    template: dict[str, dict[str, Any]] = {}
    flow: dict[str, Any] = {}
    actions: dict[str, Any] = {}
    resources: Annotated[dict[str, _Resource], Field(min_length=1)]


# --- What only a stack describes


class _CodeInOss(_Strict):
    oss_bucket_name: str
    oss_object_name: str
    checksum: str = ""


class StackFunction(FunctionProperties):
    """`ALIYUN::FC3::Function`."""

    code: _CodeInOss


class StackTrigger(_Strict):
    """`ALIYUN::FC3::Trigger`: a function's name, and a trigger as `s.yaml` writes it."""

    function_name: str
    trigger: TriggerProperties


class StackAsyncSettings(AsyncSettings):
    """`ALIYUN::FC3::AsyncInvokeConfig`."""

    function_name: str


class StackConcurrency(Concurrency):
    """`ALIYUN::FC3::ConcurrencyConfig`."""

    function_name: str


class Layer(_Strict):
    """`ALIYUN::FC3::LayerVersion`."""

    layer_name: str
    description: str = ""
    compatible_runtime: Annotated[
        list[Literal["python3.10", "python3.12"]], Field(min_length=1, max_length=20)
    ]
    code: _CodeInOss
    license: str = ""


class Queue(_Strict):
    """`ALIYUN::MNS::Queue`."""

    queue_name: Annotated[str, _like("[A-Za-z0-9][A-Za-z0-9-]{0,119}", "1 to 120 letters, digits and -")]
    message_retention_period: Annotated[int, Field(ge=60, le=604800)] = 345600
    visibility_timeout: Annotated[int, Field(ge=1, le=43200)] = 30
    delay_seconds: Annotated[int, Field(ge=0, le=604800)] = 0
    maximum_message_size: int = 65536
    polling_wait_seconds: Annotated[int, Field(ge=0, le=30)] = 0
    logging_enabled: bool = False
    dlq_policy: dict[str, Any] = {}
    tags: Any = None


class Topic(_Strict):
    """`ALIYUN::MNS::Topic`."""

    topic_name: Annotated[str, _like("[A-Za-z0-9][A-Za-z0-9-]{0,254}", "1 to 255 letters, digits and -")]
    maximum_message_size: int = 65536
    logging_enabled: bool = False
    tags: Any = None


class _RolePolicy(_Strict):
    policy_name: str
    policy_document: dict[str, Any]


class Role(_Strict):
    """`ALIYUN::RAM::Role`."""

    role_name: Annotated[str, _like("[a-z0-9.-]{1,64}", "1 to 64 small letters, digits, . and -")]
    description: str = ""
    assume_role_policy_document: dict[str, Any]
    policies: list[_RolePolicy] = []
    policy_attachments: Any = None  # such as that of a network (docs/deploy.md)
    max_session_duration: int = 3600
    deletion_force: bool = False
    tags: Any = None


class _StackModel(BaseModel):
    """What belongs to ROS itself begins with capitals."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_pascal
    )


class _Parameter(_StackModel):
    type: Annotated[str, _like("String|Number|Boolean|CommaDelimitedList|Json|ALIYUN::.+", "a type of ROS")]
    default: Any = None
    description: Any = None
    label: Any = None
    allowed_values: list[Any] | None = None
    allowed_pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_value: float | None = None
    max_value: float | None = None
    no_echo: bool = False
    confirm: bool = False
    text_area: bool = False
    constraint_description: Any = None
    association_property: str | None = None
    association_property_metadata: Any = None

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        value = self.default
        if value is None:
            return self
        number = value if isinstance(value, (int, float)) else 0
        if (
            (self.allowed_values is not None and value not in self.allowed_values)
            or (self.allowed_pattern is not None and not re.search(self.allowed_pattern, str(value)))
            or (self.min_length is not None and len(str(value)) < self.min_length)
            or (self.max_length is not None and len(str(value)) > self.max_length)
            or (self.min_value is not None and number < self.min_value)
            or (self.max_value is not None and number > self.max_value)
            or (self.type == "Number" and not isinstance(value, (int, float)))
        ):
            raise ValueError("the Default is not among what the parameter allows")
        return self


class _StackResource(_StackModel):
    type: Annotated[str, _like(r"\w+::\w+(::\w+)*", "a type such as ALIYUN::FC3::Function")]
    properties: dict[str, Any] = {}
    depends_on: str | list[str] = []
    condition: str | None = None
    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    update_policy: Any = None
    metadata: Any = None
    count: Any = None

    @field_validator("type")
    @classmethod
    def _spelt_well(cls, value: str) -> str:
        near = get_close_matches(value, _OF_FUNCTION_COMPUTE, 1, cutoff=0.9)
        if near and value != near[0]:
            raise ValueError(f"is {value}; did you mean {near[0]}?")
        return value


_OF_FUNCTION_COMPUTE = [
    *(f"ALIYUN::FC3::{name}" for name in ("Function", "Trigger", "LayerVersion", "AsyncInvokeConfig")),
    *(f"ALIYUN::FC3::{name}" for name in ("ConcurrencyConfig", "ProvisionConfig", "CustomDomain", "Alias")),
    *("ALIYUN::FC3::FunctionVersion", "ALIYUN::FC3::VpcBinding", "ALIYUN::FC3::FunctionInvoker"),
    *("ALIYUN::MNS::Queue", "ALIYUN::MNS::Topic", "ALIYUN::MNS::Subscription", "ALIYUN::RAM::Role"),
]


class _Output(_StackModel):
    value: Any
    description: Any = None
    label: Any = None
    condition: str | None = None


class StackFrame(_StackModel):
    """The frame of a `template.yml`; the properties of resources are judged by themselves."""

    version: Annotated[Literal["2015-09-01"], Field(alias="ROSTemplateFormatVersion")]
    description: Any = None
    parameters: dict[str, _Parameter] = {}
    mappings: Any = None
    conditions: Any = None
    metadata: Any = None
    rules: Any = None
    resources: Annotated[dict[str, _StackResource], Field(min_length=1)]
    outputs: dict[str, _Output] = {}


# --- Faults


def faults_of(
    error: ValidationError, place: str, names: Sequence[str] = (), *, computed: bool = False
) -> Iterator[Fault]:
    """Tell what a model refused, in words that say what to do.

    Args:
        error: What pydantic raised.
        place: Path of what was checked.
        names: Names of its triggers, to be shown instead of their numbers.
        computed: Whether functions of ROS, which are not computed here, may stand for a value.
    """
    for each in error.errors(include_url=False, include_context=False):
        value = each["input"]
        if computed and isinstance(value, dict) and any(str(key).startswith("Fn::") for key in value):
            continue
        path = _path(each["loc"], names)
        yield Fault(".".join(filter(None, [place, path])), _text(each))


def _path(loc: Sequence[str | int], names: Sequence[str]) -> str:
    steps: list[str] = []
    for index, step in enumerate(loc):
        before = loc[index - 1] if index else ""
        if isinstance(step, int) and before == "triggers" and step < len(names):
            steps.append(names[step])
        elif step in _TAGS and (isinstance(before, int) or before == "trigger"):
            continue  # pydantic's own: which of the models it tried
        else:
            steps.append(str(step))
    return ".".join(steps)


_TAGS = ("http", "timer", "mns_topic", "oss", "log", "cdn_events", "eventbridge")


def _text(each: ErrorDetails) -> str:
    kind, text = each["type"], each["msg"]
    if kind == "extra_forbidden":
        near = get_close_matches(str(each["loc"][-1]), _known(_Strict) | _known(_StackModel), 1)
        return f"is not known here{f'; did you mean {near[0]}?' if near else ''}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        return f"triggerType: the functions serve {', '.join(_TAGS)}"
    if kind == "union_tag_not_found":
        return "triggerType is missing"
    text = re.sub("^Value error, ", "", text)
    return text[0].lower() + text[1:]


def _known(model: type[BaseModel]) -> set[str]:
    """Return the keys of all models."""
    found = {field.alias for field in model.model_fields.values() if field.alias}
    return found.union(*map(_known, model.__subclasses__()))
