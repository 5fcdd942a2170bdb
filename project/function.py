"""The properties of a function in `s.yaml` (deploy.md: Function properties)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from project.fields import FunctionName, Handler, LayerArn, Region, RoleArn, Strict, like
from project.triggers import Trigger

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncInvokeConfig",
    "ConcurrencyConfig",
    "FunctionProperties",
    "LifecycleConfig",
    "ProvisionConfig",
    "Runtime",
    "SharedProperties",
]

Runtime = Literal["python3.10", "python3.12"]


class LogConfig(Strict):
    """The logstore of a function."""

    project: str
    logstore: str
    enable_request_metrics: bool = False
    enable_instance_metrics: bool = False
    enable_llm_metrics: bool = False
    log_begin_rule: Literal["DefaultRegex", "None"] = "None"


class VpcConfig(Strict):
    """The VPC of a function."""

    vpc_id: str
    v_switch_ids: Annotated[list[str], Field(min_length=1)]
    security_group_id: str


class Hook(Strict):
    """A function that is called when an instance starts or ends (fc-runtime.md: Lifecycle hooks)."""

    handler: Handler | None = None
    timeout: Annotated[int, Field(ge=1, le=300)] | None = None
    command: list[str] | None = None


class LifecycleConfig(Strict):
    """`instanceLifecycleConfig`."""

    initializer: Hook = Hook()
    pre_stop: Hook = Hook()


class SharedProperties(Strict):
    """The properties of a function in both descriptors."""

    function_name: FunctionName
    description: str = ""
    runtime: Runtime
    handler: Handler
    cpu: Annotated[float, Field(ge=0.05, le=16)] = 0.35
    memory_size: Annotated[int, Field(ge=128, le=32768, multiple_of=64)]
    disk_size: Literal[512, 10240] = 512
    timeout: Annotated[int, Field(ge=1, le=86400)]
    internet_access: bool = True
    instance_concurrency: Literal[1] = 1
    environment_variables: dict[str, str] = {}
    layers: Annotated[list[LayerArn], Field(min_length=1, max_length=5)]
    role: RoleArn
    log_config: LogConfig
    vpc_config: VpcConfig | None = None
    instance_lifecycle_config: LifecycleConfig = LifecycleConfig()
    # Not used by the project; the cloud validates them.
    nas_config: Any = None
    oss_mount_config: Any = None
    tracing_config: Any = None
    custom_dns: Annotated[Any, Field(alias="customDNS")] = None
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
    def _fits_the_limit(cls, value: dict[str, str]) -> dict[str, str]:
        if (size := sum(len(f"{name}{text}".encode()) for name, text in value.items())) > _ENVIRONMENT_BYTES:
            raise ValueError(f"have {size:,} bytes; at most {_ENVIRONMENT_BYTES:,} are allowed")
        return value

    @model_validator(mode="after")
    def _memory_fits_cpu(self) -> Self:
        if not 1 <= self.memory_size / 1024 / self.cpu <= _MAX_GB_PER_CPU:
            raise ValueError(
                f"memorySize {self.memory_size} does not match cpu {self.cpu:g}: use 1 to 4 GB per vCPU"
            )
        return self


_ENVIRONMENT_BYTES = 4096
_MAX_GB_PER_CPU = 4


class Destination(Strict):
    """The destination of records of asynchronous calls."""

    destination: Annotated[
        str,
        like(
            r"acs:(mns:[\w-]+:\w*:/(queues|topics)/[\w-]+/messages|fc:[\w-]+:\w+:functions/.+|(eventbridge|mq):.+)",
            "an ARN such as acs:mns:REGION:ACCOUNT:/queues/NAME/messages",
        ),
    ]


class Destinations(Strict):
    """The destinations of a function; without `onFailure`, calls that are given up are lost."""

    on_success: Destination | None = None
    on_failure: Destination


class AsyncInvokeConfig(Strict):
    """Configuration of asynchronous calls (fc-runtime.md: Asynchronous invocation)."""

    max_async_retry_attempts: Annotated[int, Field(ge=0, le=8)] = 3
    max_async_event_age_in_seconds: Annotated[int, Field(ge=1, le=2592000)] = 18000
    async_task: bool = False
    qualifier: str = "LATEST"
    destination_config: Destinations

    @property
    def on_success(self) -> str | None:
        """ARN that receives the records of successful calls."""
        on_success = self.destination_config.on_success
        return on_success.destination if on_success else None

    @property
    def on_failure(self) -> str:
        """ARN that receives the records of calls that were given up."""
        return self.destination_config.on_failure.destination


class ConcurrencyConfig(Strict):
    """The maximum number of instances of a function."""

    reserved_concurrency: Annotated[int, Field(ge=1, le=300)]


class ProvisionConfig(Strict):
    """Instances that are kept warm, and billed while idle (deploy.md: Function properties)."""

    default_target: Annotated[int, Field(ge=0, le=10000)]
    always_allocate_cpu: Annotated[bool, Field(alias="alwaysAllocateCPU")] = True
    always_allocate_gpu: Annotated[bool, Field(alias="alwaysAllocateGPU")] = True
    # The cloud validates these.
    scheduled_actions: list[dict[str, Any]] = []
    target_tracking_policies: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _keeps_an_instance(self) -> Self:
        if not (self.default_target or self.scheduled_actions or self.target_tracking_policies):
            raise ValueError("keeps no instance: remove it, or set defaultTarget to 1 or more")
        return self


class FunctionProperties(SharedProperties):
    """The properties of a function; missing ones have the cloud's defaults."""

    region: Region
    code: Annotated[
        str,
        like(r"(?!/)(?!(.*/)?\.\.(/|$)).*\w.*", "a folder of the project, such as ./functions/queue_push"),
    ]
    async_invoke_config: AsyncInvokeConfig
    concurrency_config: ConcurrencyConfig | None = None
    triggers: list[Trigger] = []
    provision_config: ProvisionConfig | None = None
    scaling_config: Any = None
    vpc_binding: Any = None
    custom_domain: Any = None

    @field_validator("scaling_config", "vpc_binding", "custom_domain")
    @classmethod
    def _not_read_back(cls, _: Any) -> None:
        raise ValueError("is not supported, since make deploy cannot read it back: remove it")

    @field_validator("triggers")
    @classmethod
    def _unique_names(cls, value: list[Trigger]) -> list[Trigger]:
        names = [trigger.trigger_name for trigger in value]
        if duplicates := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"duplicate triggerName: {', '.join(duplicates)}")
        return value
