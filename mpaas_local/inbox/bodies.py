"""The bodies of the inbox's JSON API, the source of its OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from mpaas_local.mns.model import State
from mpaas_local.mpaas.bodies import Body, Entry
from mpaas_local.mpaas.store import SandboxOutcome

__all__ = [
    "Again",
    "Figures",
    "MessageId",
    "Messages",
    "PushDetails",
    "PushPage",
    "PushQuery",
    "QueueList",
    "SendOrder",
    "Sent",
    "Shown",
]

LARGEST_PAGE = 200
LARGEST_SEQ = 2**62


class SendOrder(Body):
    """What to send, and how."""

    body: Any = Field(description='A message, or {"messages": […]}; passed to the function unchecked.')
    via: Literal["http", "timer", "queue"] = "http"
    dry_run: bool = Field(default=False, description="Validate and build the requests only.")


class Sent(Body):
    """The result of sending: the response of the HTTP function, a request id or a message id."""

    via: str
    status: int | None = Field(description="HTTP status of the HTTP function.")
    answer: Any


class Again(Body):
    """How to send a push again."""

    via: Literal["http", "timer", "queue"] = "http"


class PushRow(Body):
    """A push in the list."""

    seq: int
    received_at: str
    trigger: str | None = Field(description="Its cause; null until the function's call has ended.")
    task_name: str
    title: str
    content: str
    delivery_type: str
    targets: int
    first_target: str
    outcome: SandboxOutcome
    code: str | None
    fault: str | None = Field(description="The kind of the fault that affected it.")
    warnings: int = Field(
        description="Number of notes of the sandbox and of texts that channels would truncate or refuse."
    )


class PushPage(Body):
    """A page of the list, newest first."""

    total: int
    pushes: list[PushRow]


class PushQuery(Body):
    """The filter of the list; `before` and `after` are sequence numbers."""

    limit: int = Field(default=50, ge=0, le=LARGEST_PAGE)
    before: int | None = Field(default=None, ge=0, le=LARGEST_SEQ)
    after: int | None = Field(default=None, ge=0, le=LARGEST_SEQ)
    text: str | None = Field(default=None, description="Part of the task name, title or content.")
    target: str | None = None
    outcome: SandboxOutcome | None = None
    trigger: str | None = None
    delivery_type: str | None = None


class Fault(Body):
    """An error of a message."""

    field: str
    message: str
    value: Any = None


class Advice(Body):
    """A warning about a text that a channel would truncate or refuse."""

    rule: str
    field: str
    message: str
    channel: str | None = None
    limit: int | None = None
    actual: int | None = None


class Text(Body):
    """A text in a channel: the part that it shows, and the part that it truncates."""

    shown: str
    cut: str


class Channel(Body):
    """A message in one channel."""

    name: str
    label: str
    title: Text
    content: Text
    refused: bool = Field(description="The channel refuses the message because a text is too long.")
    banner: str | None = Field(description="The part of the content that iOS shows in a banner.")
    picture: str | None
    icon: str | None
    transparent: Any


class Activity(Body):
    """A Live Activity."""

    event: str
    state: dict[str, Any]
    dismissed_at: str | None


class Sms(Body):
    """The SMS that supplements a push."""

    strategy: int
    sign_name: str | None
    template: str | None
    parameters: dict[str, Any]


class Shown(Body):
    """The view of a message; an invalid one has only `valid` and `faults`."""

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
    occurrences: list[str] = Field(default_factory=list, description="The times of a scheduled push.")


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
    """A push to copy and send manually."""

    curl: str
    python: str
    payload: str


class PushDetails(Body):
    """A push: request, response, attempts, preview, and the call that caused it."""

    push: Entry
    row: PushRow
    message: dict[str, Any]
    shown: Shown
    attempts: list[PushRow]
    call: FunctionCall | None
    campaign: str | None = Field(description="The campaign that sent it.")
    copies: Copies


class QueueFigures(Body):
    """A queue with its attributes and message counts."""

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


class QueueList(Body):
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
    text: str = Field(description="The body decoded from base64.")
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
    """The id of a message that was sent to a queue."""

    message_id: str


class Minute(Body):
    """The pushes of a minute, counted by outcome."""

    minute: int = Field(description="Seconds since 1970.")
    outcomes: dict[str, int]


class Percentiles(Body):
    """Milliseconds; null if nothing was measured."""

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
    """The figures of the last half hour."""

    minutes: list[Minute]
    received: int
    outcomes: dict[str, int]
    retries: int
    latency_ms: Percentiles
    functions: list[FunctionFigures]
    dead_letters: int
