"""The bodies of the inbox's JSON API, from which its OpenAPI document is made."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from mpaas_local.mns.model import State
from mpaas_local.mpaas.bodies import Body, Entry
from mpaas_local.mpaas.store import Outcome

__all__ = [
    "Again",
    "Figures",
    "MessageId",
    "Messages",
    "PushDetails",
    "PushPage",
    "PushQuery",
    "Queues",
    "SendOrder",
    "Sent",
    "Shown",
]

LARGEST_PAGE = 200
LARGEST_SEQ = 2**62


class SendOrder(Body):
    """What to send, and how."""

    body: Any = Field(description='A message, or {"messages": […]}; anything is handed to the function.')
    via: Literal["http", "timer", "queue"] = "http"
    dry_run: bool = Field(default=False, description="Let the HTTP function validate and build only.")


class Sent(Body):
    """What became of an order: the HTTP function's answer, or where the rest was put."""

    via: str
    status: int | None = Field(description="Of the HTTP function.")
    answer: Any


class Again(Body):
    """How to send a push again."""

    via: Literal["http", "timer", "queue"] = "http"


class PushRow(Body):
    """A push as the list shows it."""

    seq: int
    received_at: str
    trigger: str | None = Field(description="What caused it; known when the function's call has ended.")
    task_name: str
    title: str
    content: str
    delivery_type: str
    targets: int
    first_target: str
    outcome: Outcome
    code: str | None
    fault: str | None = Field(description="The fault that was ordered and struck it.")
    warnings: int = Field(description="Notes of the sandbox, and what channels would cut or refuse.")


class PushPage(Body):
    """A page of the list, newest first."""

    total: int
    pushes: list[PushRow]


class PushQuery(Body):
    """Which pushes to list: those between two sequence numbers that fit."""

    limit: int = Field(default=50, ge=0, le=LARGEST_PAGE)
    before: int | None = Field(default=None, ge=0, le=LARGEST_SEQ)
    after: int | None = Field(default=None, ge=0, le=LARGEST_SEQ)
    text: str | None = Field(default=None, description="Part of task name, title or content.")
    target: str | None = None
    outcome: Outcome | None = None
    trigger: str | None = None
    delivery_type: str | None = None


class Fault(Body):
    """What is wrong with a message."""

    field: str
    message: str
    value: Any = None


class Advice(Body):
    """What a channel would cut or refuse."""

    rule: str
    field: str
    message: str
    channel: str | None = None
    limit: int | None = None
    actual: int | None = None


class Text(Body):
    """A text as a channel shows it, and the rest."""

    shown: str
    cut: str


class Channel(Body):
    """A message as one channel shows it."""

    name: str
    label: str
    title: Text
    content: Text
    refused: bool = Field(description="A text is too long, and the channel refuses it.")
    banner: str | None = Field(description="What iOS shows of the content in a banner.")
    picture: str | None
    icon: str | None
    transparent: Any


class Activity(Body):
    """A Live Activity."""

    event: str
    state: dict[str, Any]
    dismissed_at: str | None


class Sms(Body):
    """The text message that goes out in place of a push, or beside it."""

    strategy: int
    sign_name: str | None
    template: str | None
    parameters: dict[str, Any]


class Shown(Body):
    """What people see of a message; beside `valid` and `faults` only if it is one."""

    valid: bool
    faults: list[Fault]
    delivery: str = ""
    style: str = ""
    silent: bool = False
    own_channel_only: bool = False
    channels: list[Channel] = Field(default_factory=list)
    advice: list[Advice] = Field(default_factory=list)
    activity: Activity | None = None
    sms: Sms | None = None
    occurrences: list[str] = Field(default_factory=list, description="When a timed or loop push goes out.")


class FunctionCall(Body):
    """A call of a function."""

    function: str
    request_id: str
    trigger: str
    ended_at: str
    duration_ms: float
    cold: bool
    error: str | None
    payload: str
    log: list[str]


class Copies(Body):
    """A push to be sent again by hand."""

    curl: str
    python: str
    payload: str


class PushDetails(Body):
    """A push: request, answer, attempts, how it looks, and the call that caused it."""

    push: Entry
    row: PushRow
    message: dict[str, Any]
    shown: Shown
    attempts: list[PushRow]
    call: FunctionCall | None
    copies: Copies


class QueueFigures(Body):
    """A queue with its attributes and how much is in it."""

    name: str
    active_messages: int
    inactive_messages: int
    delay_messages: int
    create_time: int
    last_modify_time: int
    delay_seconds: int
    maximum_message_size: int
    message_retention_period: int
    visibility_timeout: int
    polling_wait_seconds: int
    logging_enabled: bool


class Queues(Body):
    """The queues."""

    dead_letter_queue: str
    queues: list[QueueFigures]


class Property(Body):
    """A property of a message."""

    model_config = ConfigDict(extra="allow")

    name: str


class QueuedMessage(Body):
    """A message in a queue."""

    message_id: str
    state: State
    message_body: str
    text: str = Field(description="The body without Base64.")
    message_body_md5: str = Field(alias="messageBodyMD5")
    priority: int
    enqueue_time: int
    first_dequeue_time: int
    next_visible_time: int
    dequeue_count: int
    message_group_id: str
    user_properties: list[Property]
    system_properties: list[Property]


class Messages(Body):
    """The first messages of a queue."""

    messages: list[QueuedMessage]


class MessageId(Body):
    """Of a message that was put into a queue."""

    message_id: str


class Minute(Body):
    """How many pushes came in a minute, by outcome."""

    minute: int = Field(description="Seconds since 1970.")
    outcomes: dict[str, int]


class Percentiles(Body):
    """Milliseconds; None if nothing was measured."""

    p50: float | None
    p95: float | None


class FunctionFigures(Body):
    """The calls of a function."""

    name: str
    calls: int
    cold: int
    warm: int
    failed: int
    duration_ms: Percentiles


class Figures(Body):
    """What happened in the last half hour."""

    minutes: list[Minute]
    received: int
    outcomes: dict[str, int]
    retries: int
    latency_ms: Percentiles
    functions: list[FunctionFigures]
    dead_letters: int
