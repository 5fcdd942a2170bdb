"""The bodies of the sandbox's JSON API, from which its OpenAPI document is made."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from mpaas_local.mpaas.store import Outcome

__all__ = ["Body", "Deleted", "Entry", "Health", "InboxPage", "OrderedFault", "Problem", "StandingFaults"]


class Body(BaseModel):
    """A JSON object whose names are those of its attributes in camelCase, and no others."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class Answer(Body):
    """What the client was sent."""

    http_status: int | None = Field(description="None if nothing was sent.")
    code: str | None
    message: str | None
    connection: Literal["kept", "reset", "cut", "left"]


class TargetPair(Body):
    """A target and its message id."""

    target: str
    message_id: str
    repeated: bool = Field(description="The message id had been accepted before in this workspace.")


class Entry(Body):
    """A received request."""

    seq: int
    trigger: str | None
    received_at: datetime
    request_id: str
    version: str | None
    signature: Literal["rpc-v1", "acs3"] | None
    access_key_id: str | None
    outcome: Outcome
    answer: Answer
    fault: dict[str, Any] | None = Field(description="The fault that struck it.")
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
    """An order for a fault; beside these, what its kind has."""

    model_config = ConfigDict(extra="allow")

    id: int
    kind: str
    remaining: int | None = Field(description="How many requests it may still strike; None: any number.")
    struck: int


class StandingFaults(Body):
    """The orders that may still strike, oldest first."""

    faults: list[OrderedFault]


class Deleted(Body):
    """How much was removed."""

    deleted: int


class Health(Body):
    """It runs."""

    status: Literal["ok"]
    entries: int


class ProblemField(Body):
    """What is wrong with a field."""

    field: str | None
    message: str
    value: Any = None


class Problem(Body):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = Field(
        default_factory=list, description="Of a fault order that is not valid."
    )
