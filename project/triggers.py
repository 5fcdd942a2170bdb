"""The supported kinds of triggers in `s.yaml` (deploy.md: Triggers).

Where the project is stricter than the cloud, for example about anonymous HTTP triggers, the error says why.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from project.cron import next_tick
from project.fields import OssEvent, Pascal, QueueArn, Region, RoleArn, Strict, TriggerName, like
from project.patterns import Pattern, pattern_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "TYPES",
    "Cdn",
    "EventBridge",
    "EventBridgeConfig",
    "EventSource",
    "EventSourceType",
    "Http",
    "Log",
    "Oss",
    "RetryStrategy",
    "Schema",
    "Timer",
    "Topic",
    "Trigger",
]

PAYLOAD_BYTES = 128 * 1024
"""Maximum size of a timer's `payload` (fc-runtime.md: Timer trigger)."""

RetryStrategy = Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"]
"""`PushRetryStrategy` and `notifyStrategy` (fc-runtime.md: MNS topic trigger, Batches and retries)."""


class _Trigger(Strict):
    trigger_name: TriggerName
    qualifier: str = "LATEST"
    description: str = ""


# --- http


class HttpConfig(Strict):
    """Authentication and methods."""

    auth_type: str
    methods: Annotated[
        list[Literal["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]], Field(min_length=1)
    ]
    disable_url_internet: Annotated[bool, Field(alias="disableURLInternet")] = False
    auth_config: dict[str, Any] | None = None

    @field_validator("auth_type")
    @classmethod
    def _not_anonymous(cls, value: str) -> str:
        if value not in {"function", "jwt"}:
            raise ValueError(f"is {value!r}; must be function or jwt: anonymous would let anyone push")
        return value

    @model_validator(mode="after")
    def _keys_of_jwt(self) -> Self:
        if self.auth_type == "jwt" and not self.auth_config:
            raise ValueError("authConfig is missing: jwt requires the keys for verification")
        return self


class Http(_Trigger):
    """HTTP requests."""

    trigger_type: Literal["http"]
    trigger_config: HttpConfig


# --- timer


def _validate_cron(expression: str) -> str:
    next_tick(expression, datetime(2025, 1, 1, tzinfo=timezone.utc))
    return expression


class TimerConfig(Strict):
    """The schedule, and the payload of each event (fc-runtime.md: Timer trigger)."""

    cron_expression: Annotated[str, AfterValidator(_validate_cron)]
    enable: bool = True
    payload: str = ""

    @field_validator("payload")
    @classmethod
    def _fits_the_limit(cls, value: str) -> str:
        if len(value.encode()) > PAYLOAD_BYTES:
            raise ValueError(f"has {len(value.encode()):,} bytes; at most {PAYLOAD_BYTES:,} are allowed")
        return value


class Timer(_Trigger):
    """A schedule."""

    trigger_type: Literal["timer"]
    trigger_config: TimerConfig


# --- mns_topic


class TopicConfig(Strict):
    """How messages are delivered (fc-runtime.md: MNS topic trigger)."""

    notify_content_format: Literal["STREAM", "JSON"]
    notify_strategy: RetryStrategy
    filter_tag: Annotated[str, Field(max_length=16)] = ""


class Topic(_Trigger):
    """Messages of an MNS topic."""

    trigger_type: Literal["mns_topic"]
    source_arn: Annotated[
        str, like(r"acs:mns:[\w-]+:\w+:/topics/[\w-]+", "a topic: acs:mns:REGION:ACCOUNT:/topics/NAME")
    ]
    invocation_role: RoleArn
    trigger_config: TopicConfig

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self.source_arn.rpartition("/")[2]


# --- oss


class OssKey(Strict):
    """Prefix and suffix of object names."""

    prefix: str = ""
    suffix: str = ""


class OssFilter(Strict):
    """Selects objects by name."""

    key: OssKey


class OssConfig(Strict):
    """Which events of which objects (fc-runtime.md: OSS trigger)."""

    events: Annotated[list[OssEvent], Field(min_length=1)]
    filter: OssFilter


class Oss(_Trigger):
    """Events of objects in a bucket."""

    trigger_type: Literal["oss"]
    source_arn: Annotated[
        str, like(r"acs:oss:[\w-]+:\w+:[a-z0-9-]+", "a bucket: acs:oss:REGION:ACCOUNT:BUCKET")
    ]
    invocation_role: RoleArn
    trigger_config: OssConfig

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.source_arn.rpartition(":")[2]


# --- log, cdn_events


class _LogSource(Strict):
    logstore: str


class _LogJob(Strict):
    max_retry_time: Annotated[int, Field(ge=0)]
    trigger_interval: Annotated[int, Field(ge=1)]


class _Logstore(Strict):
    project: str
    logstore: str


class _LogConfig(Strict):
    source_config: _LogSource
    job_config: _LogJob
    log_config: _Logstore
    function_parameter: dict[str, Any] = {}
    enable: bool


class Log(_Trigger):
    """Lines of a logstore."""

    trigger_type: Literal["log"]
    source_arn: Annotated[
        str, like(r"acs:log:[\w-]+:\w+:project/[\w-]+", "a log project: acs:log:REGION:ACCOUNT:project/NAME")
    ]
    invocation_role: RoleArn
    trigger_config: _LogConfig


class _CdnFilter(Strict):
    domain: Annotated[list[str], Field(min_length=1)]


class _CdnConfig(Strict):
    event_name: str
    event_version: str
    notes: str
    filter: _CdnFilter


class Cdn(_Trigger):
    """Events of the CDN."""

    trigger_type: Literal["cdn_events"]
    source_arn: Annotated[str, like(r"acs:cdn:\*:\w+", "the account: acs:cdn:*:ACCOUNT")]
    invocation_role: RoleArn
    trigger_config: _CdnConfig


# --- eventbridge

EventSourceType = Literal["Default", "MNS", "RocketMQ", "RabbitMQ", "Kafka", "MQTT", "DTS", "ApacheRocketMQ"]
Schema = Literal["CloudEvents", "RawData"]


class Mns(Pascal):
    """An MNS queue."""

    region_id: Region
    queue_name: str
    is_base64_decode: Annotated[bool, Field(alias="IsBase64Decode")]


class _Instance(Pascal):
    region_id: Region
    instance_id: str


class RocketMq(_Instance):
    """A RocketMQ topic; other keys depend on the kind of instance and are not fully documented."""

    model_config = ConfigDict(extra="allow")

    topic: str
    group_id: Annotated[str, Field(alias="GroupID")]


class RabbitMq(_Instance):
    """A RabbitMQ queue."""

    virtual_host_name: str
    queue_name: str


class Kafka(_Instance):
    """A Kafka topic."""

    topic: str
    consumer_group: str
    offset_reset: Literal["latest", "earliest"] = "latest"
    network: str = ""
    vpc_id: str = ""
    v_switch_ids: str = ""
    security_group_id: str = ""


class EventSourceParameters(Strict):
    """Parameters by product; the cloud validates those of products that the project does not use."""

    mns: Annotated[Mns | None, Field(alias="sourceMNSParameters")] = None
    rocketmq: Annotated[RocketMq | None, Field(alias="sourceRocketMQParameters")] = None
    rabbitmq: Annotated[RabbitMq | None, Field(alias="sourceRabbitMQParameters")] = None
    kafka: Annotated[Kafka | None, Field(alias="sourceKafkaParameters")] = None
    mqtt: Annotated[dict[str, Any] | None, Field(alias="sourceMQTTParameters")] = None
    dts: Annotated[dict[str, Any] | None, Field(alias="sourceDTSParameters")] = None
    apacherocketmq: Annotated[dict[str, Any] | None, Field(alias="sourceApacheRocketMQParameters")] = None


class EventSource(Strict):
    """An event bus (`Default`), or the product whose messages are streamed."""

    event_source_type: EventSourceType
    event_source_parameters: EventSourceParameters = EventSourceParameters()

    @model_validator(mode="after")
    def _parameters_of_the_type(self) -> Self:
        kind = self.event_source_type
        if kind != "Default" and self._of_the_type is None:
            raise ValueError(f"eventSourceParameters.source{kind}Parameters is missing")
        return self

    @property
    def _of_the_type(self) -> Any:
        return getattr(self.event_source_parameters, self.event_source_type.lower(), None)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the source, as written; empty for an event bus."""
        source = self._of_the_type
        if isinstance(source, Pascal):
            return source.model_dump(by_alias=True, exclude_unset=True)
        return dict(source) if source else {}

    @property
    def instance(self) -> str:
        """The instance of the product; empty if it has none."""
        return str(getattr(self._of_the_type, "instance_id", ""))

    @property
    def queue(self) -> str:
        """The MNS queue that it reads; empty for an event bus or another product."""
        mns = self.event_source_parameters.mns
        return mns.queue_name if mns and self.event_source_type == "MNS" else ""


class DeliveryOptions(Strict):
    """How events are delivered, and the number of concurrent calls."""

    event_schema: Schema
    concurrency: Annotated[int, Field(ge=1, le=300)] = 1
    mode: str | None = None


class _Sink(Strict):
    delivery_option: DeliveryOptions


class Retries(Pascal):
    """How failed batches are retried."""

    push_retry_strategy: RetryStrategy
    maximum_retry_attempts: int | None = None
    maximum_event_age_in_seconds: int | None = None


class _DeadLetterQueue(Pascal):
    arn: QueueArn


class BatchWindow(Pascal):
    """When a batch is complete: number of messages, or seconds after the first."""

    count_based_window: Annotated[int, Field(ge=1, le=10000)]
    time_based_window: Annotated[int, Field(ge=0, le=15)]


class RunOptions(Strict):
    """Configuration of an event stream (fc-runtime.md: Batches and retries)."""

    mode: Literal["event-streaming", "event-driven"]
    errors_tolerance: Literal["ALL", "NONE"]
    retry_strategy: Retries
    dead_letter_queue: _DeadLetterQueue | None = None
    batch_window: BatchWindow
    maximum_tasks: int | None = None

    @model_validator(mode="after")
    def _dead_letters_need_tolerance(self) -> Self:
        if self.dead_letter_queue and self.errors_tolerance != "ALL":
            raise ValueError("errorsTolerance must be ALL: otherwise deadLetterQueue has no effect")
        return self

    @property
    def dead_letters(self) -> str:
        """ARN of the dead-letter queue; empty if there is none."""
        return self.dead_letter_queue.arn if self.dead_letter_queue else ""


class EventBridgeConfig(Strict):
    """Which events are delivered, and how (fc-runtime.md: Event stream configuration)."""

    trigger_enable: bool
    async_invocation_type: bool
    event_rule_filter_pattern: Annotated[str, AfterValidator(lambda text: pattern_of(text) and text)]
    event_source_config: EventSource
    event_sink_config: _Sink | None = None
    run_options: RunOptions | None = None

    @property
    def lacks_instance(self) -> bool:
        """Whether the instance that it reads is not set."""
        return self.event_source_config.instance.endswith("-unset")

    @model_validator(mode="after")
    def _off_without_an_instance(self) -> Self:
        if self.trigger_enable and self.lacks_instance:
            raise ValueError("triggerEnable must be false until .env or the environment names the instance")
        return self

    @model_validator(mode="after")
    def _mode_of_the_source(self) -> Self:
        kind = self.event_source_config.event_source_type
        if self.run_options and self.run_options.mode == "event-driven" and kind not in _EVENT_DRIVEN:
            raise ValueError(f"runOptions.mode must be event-streaming for {kind}")
        return self

    @property
    def pattern(self) -> Pattern:
        """The pattern of matching events."""
        return pattern_of(self.event_rule_filter_pattern)

    @property
    def schema_of_events(self) -> Schema:
        """Complete events, or only their data."""
        if self.event_sink_config:
            return self.event_sink_config.delivery_option.event_schema
        return "RawData" if self.event_source_config.event_source_type in _RAW_ONLY else "CloudEvents"

    @property
    def concurrency(self) -> int:
        """The number of concurrent calls."""
        return self.event_sink_config.delivery_option.concurrency if self.event_sink_config else 1


_RAW_ONLY = {"MQTT", "ApacheRocketMQ"}
_EVENT_DRIVEN = {"Default", "MNS", "RocketMQ", "RabbitMQ"}


class EventBridge(_Trigger):
    """Events of a bus, or messages of a queue or topic."""

    trigger_type: Literal["eventbridge"]
    trigger_config: EventBridgeConfig

    @property
    def is_stream(self) -> bool:
        """Whether it reads messages of a queue or topic instead of an event bus."""
        return self.trigger_config.event_source_config.event_source_type != "Default"


Trigger = Annotated[Http | Timer | Topic | Oss | Log | Cdn | EventBridge, Field(discriminator="trigger_type")]
"""A trigger of a supported kind."""

TYPES = ("http", "timer", "mns_topic", "oss", "log", "cdn_events", "eventbridge")
"""Supported values of `triggerType`."""
