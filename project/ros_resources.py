"""What `template.yml` may say of resources and of itself: models of Resource Orchestration Service
(deploy.md: ROS resource types).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from project.fields import Pascal, Strict, like
from project.function import AsyncInvokeConfig, ConcurrencyConfig, Runtime, SharedProperties
from project.triggers import Trigger

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Layer",
    "Queue",
    "Role",
    "StackAsyncSettings",
    "StackConcurrency",
    "StackFrame",
    "StackFunction",
    "StackTrigger",
    "Topic",
]


class _CodeInOss(Strict):
    oss_bucket_name: str
    oss_object_name: str
    checksum: str = ""


class StackFunction(SharedProperties):
    """`ALIYUN::FC3::Function`."""

    code: _CodeInOss


class StackTrigger(Strict):
    """`ALIYUN::FC3::Trigger`: a function's name, and a trigger as `s.yaml` writes it."""

    function_name: str
    trigger: Trigger


class StackAsyncSettings(AsyncInvokeConfig):
    """`ALIYUN::FC3::AsyncInvokeConfig`."""

    function_name: str


class StackConcurrency(ConcurrencyConfig):
    """`ALIYUN::FC3::ConcurrencyConfig`."""

    function_name: str


class Layer(Strict):
    """`ALIYUN::FC3::LayerVersion`."""

    layer_name: str
    description: str = ""
    compatible_runtime: Annotated[list[Runtime], Field(min_length=1, max_length=20)]
    code: _CodeInOss
    license: str = ""


class Queue(Strict):
    """`ALIYUN::MNS::Queue`."""

    queue_name: Annotated[str, like("[A-Za-z0-9][A-Za-z0-9-]{0,119}", "1 to 120 letters, digits and -")]
    message_retention_period: Annotated[int, Field(ge=60, le=604800)] = 345600
    visibility_timeout: Annotated[int, Field(ge=1, le=43200)] = 30
    delay_seconds: Annotated[int, Field(ge=0, le=604800)] = 0
    maximum_message_size: int = 65536
    polling_wait_seconds: Annotated[int, Field(ge=0, le=30)] = 0
    logging_enabled: bool = False
    dlq_policy: dict[str, Any] = {}
    tags: Any = None


class Topic(Strict):
    """`ALIYUN::MNS::Topic`."""

    topic_name: Annotated[str, like("[A-Za-z0-9][A-Za-z0-9-]{0,254}", "1 to 255 letters, digits and -")]
    maximum_message_size: int = 65536
    logging_enabled: bool = False
    tags: Any = None


class _RolePolicy(Strict):
    policy_name: str
    policy_document: dict[str, Any]


class Role(Strict):
    """`ALIYUN::RAM::Role`."""

    role_name: Annotated[str, like("[a-z0-9.-]{1,64}", "1 to 64 small letters, digits, . and -")]
    description: str = ""
    assume_role_policy_document: dict[str, Any]
    policies: list[_RolePolicy] = []
    policy_attachments: Any = None  # such as that of a network (docs/deploy.md)
    max_session_duration: int = 3600
    deletion_force: bool = False
    tags: Any = None


class _Parameter(Pascal):
    type: Annotated[str, like("String|Number|Boolean|CommaDelimitedList|Json|ALIYUN::.+", "a type of ROS")]
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


class _StackResource(Pascal):
    type: Annotated[str, like(r"\w+::\w+(::\w+)*", "a type such as ALIYUN::FC3::Function")]
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


class _Output(Pascal):
    value: Any
    description: Any = None
    label: Any = None
    condition: str | None = None


class StackFrame(Pascal):
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
