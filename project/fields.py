"""The base of the descriptors' models, and the types of strings that they share.

The keys are those of component fc3; ROS capitalizes them (deploy.md: Function properties, Triggers, ROS
resource types). Unknown keys are faults, because the cloud's tools accept misspelt ones
(deploy.md: Serverless Devs offline).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel, to_pascal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "OSS_EVENTS",
    "FunctionName",
    "Handler",
    "LayerArn",
    "OssEvent",
    "Pascal",
    "QueueArn",
    "Region",
    "RoleArn",
    "Strict",
    "TriggerName",
    "like",
]


class Strict(BaseModel):
    """Base of all models: frozen, no conversions, no unknown keys; aliases in camelCase."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel
    )


class Pascal(Strict):
    """Capitalized keys: those of ROS, and the parameters of event sources."""

    model_config = ConfigDict(alias_generator=to_pascal)


def like(pattern: str, example: str) -> AfterValidator:
    """Return a validator that accepts strings of a pattern; its error shows an example."""

    def validate(text: str) -> str:
        if not re.fullmatch(pattern, text):
            shown = f"is {text!r}; " if len(text) < _LONGEST_SHOWN else ""
            raise ValueError(f"{shown}must be {example}")
        return text

    return AfterValidator(validate)


_LONGEST_SHOWN = 100


def _one_of(known: Collection[str], what: str) -> AfterValidator:
    """Return a validator that accepts known strings; its error suggests the nearest."""

    def validate(text: str) -> str:
        if text not in known:
            near = get_close_matches(text, known, 1)
            raise ValueError(f"{text!r} is not {what}{f'; did you mean {near[0]}?' if near else ''}")
        return text

    return AfterValidator(validate)


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
"""Events of objects, by group (fc-runtime.md: OSS trigger)."""

_REGIONS = {
    f"{area}-{location}"
    for area, locations in {
        "cn": "hangzhou shanghai qingdao beijing zhangjiakou huhehaote wulanchabu shenzhen chengdu hongkong"
        " shanghai-finance-1 shanghai-cloudspe heyuan-acdr-1",
        "ap": "northeast-1 northeast-2 south-1 southeast-1 southeast-2 southeast-3 southeast-5 southeast-7",
        "eu": "central-1 west-1",
        "us": "east-1 west-1",
        "me": "central-1",
    }.items()
    for location in locations.split()
}
"""The regions that component fc3 accepts (deploy.md: Function properties)."""

Region = Annotated[str, _one_of(_REGIONS, "a region of Function Compute")]
OssEvent = Annotated[
    str,
    _one_of(
        {f"oss:{group}:{name}" for group in OSS_EVENTS for name in (*OSS_EVENTS[group], "*")},
        "an event of OSS",
    ),
]
FunctionName = Annotated[
    str, like("[A-Za-z_][A-Za-z0-9_-]{0,63}", "1 to 64 letters, digits, _ and -, a letter first")
]
TriggerName = Annotated[
    str, like("[A-Za-z_][A-Za-z0-9_-]{0,127}", "1 to 128 letters, digits, _ and -, a letter first")
]
Handler = Annotated[str, like(r"[\w./-]+\.\w+", "module.function, such as index.handler")]
RoleArn = Annotated[
    str, like(r"acs:ram::\w+:role/[a-z0-9.-]+", "a role in lower case: acs:ram::ACCOUNT:role/NAME")
]
LayerArn = Annotated[
    str,
    like(
        r"acs:fc:[\w-]+:\w+:layers/[\w-]+/versions/[0-9]+",
        "a version of a layer: acs:fc:REGION:ACCOUNT:layers/NAME/versions/1",
    ),
]
QueueArn = Annotated[
    str, like(r"acs:mns:[\w-]+:\w+:/queues/[\w-]+", "a queue: acs:mns:REGION:ACCOUNT:/queues/NAME")
]
