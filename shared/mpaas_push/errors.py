"""The errors of the package: one base class, and below it one class for each cause and remedy.

::

    PushError
    ├── InvalidMessage            a message breaks a rule of the API: correct it
    ├── UnreadablePayload         the payload of a trigger is malformed: check the trigger's configuration
    │   └── UnreadableElement     one element of a batch is malformed
    ├── UnreadableJson            a text is not JSON, or not JSON that can be passed on unchanged
    ├── BadRules                  the event rules are wrong: correct rules.yaml
    ├── Misconfigured             a setting, key or permission is wrong: an operator must act
    ├── BatchIncomplete           no queue accepted some failed messages: let the event be redelivered
    ├── FunctionFailed            a called function raised
    ├── InvocationRefused         a function was not called
    ├── InvocationUnknown         a function may have been called
    └── CampaignError             a campaign cannot be started, steered or worked on
        ├── InvalidCampaign       its document or its audience is wrong: correct it
        ├── CampaignConflict      its id was used with other content or another file, or it was cancelled
        ├── UnknownCampaign       no campaign has this id
        ├── AudienceUnreadable    its file cannot be read, or changed while in use
        │   └── AudienceMissing   there is no such file
        ├── StoreUnavailable      the Redis of campaigns cannot be reached, or there is none
        └── PieceFailed           a piece made no progress and was given up

Every error carries fields, not only text. No text contains a secret, a signature or a complete target id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "NOT_REACHED",
    "TASK_EXISTS",
    "BatchIncomplete",
    "Fault",
    "InvalidMessage",
    "InvocationRefused",
    "InvocationUnknown",
    "Misconfigured",
    "PushError",
    "UnreadablePayload",
    "mask_id",
]


NOT_REACHED = "NotReached"
"""Code of a call that was not sent: the connection failed, or the request could not be written."""
TASK_EXISTS = "AsyncTaskAlreadyExists"
"""Code with which Function Compute refuses a task that it accepted before."""


def mask_id(target: str) -> str:
    """Shorten a target id for log lines and errors.

    Keeps at most the first two characters and at most a third of the id, followed by its length:
    ``"user-4711"`` becomes ``"us…(9)"``.
    """
    return f"{target[: min(2, len(target) // 3)]}…({len(target)})"


class PushError(Exception):
    """Base of all errors that this package raises deliberately."""


class Fault(NamedTuple):
    """One fault of a message.

    Attributes:
        field: Path of the field in the names of the official page, such as ``strategyContent.endTime``
            or ``targets.3``; empty if the message as a whole is wrong.
        message: What is allowed, and what to do.
        value: The faulty value if it helps and is harmless (a number, a flag, a short enumerated word);
            otherwise None. Never the text of a push, a target id or a secret.
    """

    field: str
    message: str
    value: str | int | float | bool | None = None

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def below(self, path: str) -> Fault:
        """Return the fault of a message that is at a path of its payload."""
        return self._replace(field=f"{path}.{self.field}" if self.field else path)

    def as_json(self) -> dict[str, Any]:
        """Return the fault as an item of ``errors`` in a problem document."""
        fault: dict[str, Any] = {"field": self.field, "message": self.message}
        if self.value is not None:
            fault["value"] = self.value
        return fault


class InvalidMessage(PushError):
    """A message breaks rules of the API; nothing was sent. Correct the message, do not retry it.

    Attributes:
        faults: All faults of the message, at least one, in the order of its fields.
        targets: The readable targets of the message, for the response.
    """

    def __init__(self, faults: Iterable[Fault], targets: Iterable[str] = ()) -> None:
        self.faults = tuple(faults)
        self.targets = tuple(targets)
        super().__init__()

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class UnreadablePayload(PushError):
    """The payload of a trigger is malformed: not JSON, or not of the documented shape."""


class BatchIncomplete(PushError):
    """Some messages of an event were neither accepted nor handed to a queue: let the event be redelivered.

    Attributes:
        counts: Number of outcomes by name.
        left: Indexes of these messages, in the order of the event; an entry of the retry queue counts as the
            messages in it.
    """

    def __init__(self, counts: Mapping[str, int], left: Sequence[int]) -> None:
        self.counts = dict(counts)
        self.left = tuple(left)
        outcomes = ", ".join(f"{count} {name}" for name, count in counts.items())
        indexes = ", ".join(map(str, self.left[:_MAX_INDEXES])) + (", …" if len(left) > _MAX_INDEXES else "")
        super().__init__(
            f"{len(self.left)} messages were accepted neither by mPaaS nor by a queue (indexes {indexes});"
            f" outcomes: {outcomes}; the log has every request and its outcome"
        )


_MAX_INDEXES = 20
"""Maximum number of indexes in the text."""


class Misconfigured(PushError):
    """A setting, a key or a permission is wrong: an operator must act; a retry cannot help.

    Attributes:
        setting: The environment variable to check; None if the cause is elsewhere.
    """

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        self.setting = setting
        super().__init__(message)


class InvocationRefused(PushError):
    """Function Compute rejected the call, or could not be reached: the function was not called.

    Attributes:
        status: HTTP status; 0 without a response.
        code: ``FunctionNotFound``, ``AccessDenied``, ``ResourceExhausted``, `TASK_EXISTS` and the like, or
            `NOT_REACHED`.
        request_id: Request id of the refusal; empty if it has none.
    """

    def __init__(
        self, function: str, status: int, code: str, request_id: str = "", *, reason: str = ""
    ) -> None:
        self.status, self.code, self.request_id = status, code, request_id
        super().__init__(f"{function} was not called: {reason or f'{status} {code}'}")

    @property
    def is_retryable(self) -> bool:
        """Whether it was refused for load, or could not be reached."""
        busy = self.status in {429, 503}
        return busy or self.code == NOT_REACHED

    @property
    def was_accepted_before(self) -> bool:
        """Whether it was refused because the function accepted a task with this id before."""
        return self.status == 409 and self.code == TASK_EXISTS


class InvocationUnknown(PushError):
    """The call was sent without a verdict: the function may or may not have been called."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"{function} may have been called: {reason}")
