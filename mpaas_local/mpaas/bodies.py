"""The bodies of the sandbox's JSON API, the source of its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mpaas_local.mpaas.store import SandboxOutcome

__all__ = ["ActiveFaults", "Body", "Deleted", "Entry", "Health", "InboxPage", "OrderedFault", "Problem"]


class Body(BaseModel):
    """A JSON object with camelCase names and no additional properties."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class Answer(Body):
    """The response to the client."""

    http_status: int | None = Field(description="null if nothing was sent.")
    code: str | None
    message: str | None
    connection: Literal["kept", "reset", "cut", "left"]


class TargetPair(Body):
    """A target and its message id."""

    target: str
    message_id: str
    repeated: bool = Field(description="The message id was accepted before in this workspace.")


class Entry(Body):
    """A received request."""

    seq: int
    trigger: str | None
    received_at: datetime
    request_id: str
    version: str | None
    signature: Literal["rpc-v1", "acs3"] | None
    access_key_id: str | None
    outcome: SandboxOutcome
    answer: Answer
    fault: dict[str, Any] | None = Field(description="The fault that affected the request.")
    task_id: str | None
    parameters: dict[str, str] | None
    targets: list[TargetPair]
    notes: list[str]
    query: str
    body: str


class InboxPage(Body):
    """A page of the inbox, newest first."""

    total: int
    entries: list[Entry]


class OrderedFault(Body):
    """An injected fault, with the additional fields of its kind."""

    model_config = ConfigDict(extra="allow")

    id: int
    kind: str
    remaining: int | None = Field(description="Number of requests it will still affect; null for no limit.")
    struck: int


class ActiveFaults(Body):
    """The faults that are still active, oldest first."""

    faults: list[OrderedFault]


class Deleted(Body):
    """The number of deleted items."""

    deleted: int


class Health(Body):
    """The sandbox is running."""

    status: Literal["ok"]
    entries: int


class ProblemField(Body):
    """The error of one field."""

    field: str | None
    message: str
    value: Any = None


class Problem(Body):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = Field(default_factory=list, description="The fields of an invalid fault.")
