"""Asynchronous tasks of Function Compute that a campaign submits to its function, each with its own id.

A task that is submitted twice is accepted once, so an interrupted plan can start over.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Misconfigured, PushError, UnreadablePayload
from mpaas_push.functions import LONGEST_DELAY, Functions, InvocationRefused, InvocationUnknown
from mpaas_push.json_text import UnreadableJson, read_json
from mpaas_push.task import absolute_scope
from mpaas_push.threads import run_concurrently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_push.invocation import Invocation
    from mpaas_push.settings import Settings

__all__ = ["PieceTask", "PlanTask", "TaskQueue", "start_later", "start_of", "task_of"]

KEY, START_KEY = "campaignTask", "campaignStart"
SUBMIT_THREADS = 32
"""Tasks submitted concurrently."""
MAX_ATTEMPTS, SUBMIT_SECONDS = 4, 15
"""Attempts to submit a task, and seconds of each."""


@dataclass(frozen=True, kw_only=True)
class PlanTask:
    """Submit a task for each open piece.

    Attributes:
        campaign: The campaign's id.
        run: Distinguishes this campaign from an earlier one with the same id that Redis no longer knows.
        plan: Number of the plan: one for each start, resume and cancel.
    """

    campaign: str
    run: str
    plan: int

    @property
    def task_id(self) -> str:
        """Its id; the same plan is accepted once."""
        return f"c-{self.campaign}-{self.run}-plan-{self.plan}"


@dataclass(frozen=True, kw_only=True)
class PieceTask:
    """Work on a piece.

    Attributes:
        campaign: As in `PlanTask`.
        run: As in `PlanTask`.
        piece: Index of the piece.
        turn: Which task of the piece this is.
        watch: Counts the tasks that waited for another one to release the piece.
        at: Moment reserved for the next block in Unix seconds, if any.
        pace_version: Version of the pace when it was reserved.
    """

    campaign: str
    run: str
    piece: int
    turn: int
    watch: int = 0
    at: float | None = None
    pace_version: int = 0

    @property
    def task_id(self) -> str:
        """Its id, made of campaign, piece and turn."""
        watch = f"-w{self.watch}" if self.watch else ""
        return f"c-{self.campaign}-{self.run}-{self.piece}-{self.turn}{watch}"


def task_of(event: bytes) -> PlanTask | PieceTask | None:
    """Read the event of a task; return None for any other event.

    Raises:
        UnreadablePayload: it is a task that cannot be read.
    """
    fields = _value(event, KEY)
    if not isinstance(fields, dict):
        return None
    kind = PlanTask if "plan" in fields else PieceTask
    known = kind.__dataclass_fields__.keys() & fields.keys()  # a newer version may add fields
    try:
        return kind(**{name: fields[name] for name in known})
    except TypeError:
        raise UnreadablePayload("a campaign's task of another version") from None


def start_of(event: bytes) -> Any:
    """Return the document of the campaign that an event requests to start; None for any other event."""
    return _value(event, START_KEY)


def _value(event: bytes, key: str) -> Any:
    try:
        payload = read_json(event)
    except UnreadableJson:
        return None
    return payload.get(key) if isinstance(payload, dict) else None


class TaskQueue:
    """The asynchronous queue of the campaigns' function."""

    def __init__(
        self,
        settings: Settings,
        functions: Functions,
        name: str | None = None,
        *,
        deadline: float = math.inf,
    ) -> None:
        """Prepare to call the function.

        Args:
            settings: `PUSH_CAMPAIGN_FUNCTION`.
            functions: The client that calls functions.
            deadline: When every call must have ended, on the clock of `time.monotonic`.
            name: The function if that is not set, such as the one that runs.

        Raises:
            Misconfigured: neither is known.
        """
        function = settings.campaign_function or name
        if not function:
            text = "campaigns need a function that works on them: set PUSH_CAMPAIGN_FUNCTION"
            raise Misconfigured(text, setting="PUSH_CAMPAIGN_FUNCTION")
        self._name = function
        self._functions = functions
        self._deadline = deadline

    @classmethod
    def of(cls, settings: Settings, invocation: Invocation, name: str | None = None) -> TaskQueue:
        """Return the queue for one invocation, with its keys and deadline.

        Raises:
            Misconfigured: as from the constructor.
        """
        functions = Functions(settings, invocation.credentials, timeout=SUBMIT_SECONDS)
        return cls(settings, functions, name, deadline=invocation.deadline)

    def submit(self, task: PlanTask | PieceTask, *, delay: float = 0.0) -> None:
        """Hand a task over; one that was handed over before is not accepted again.

        Args:
            task: The task.
            delay: Seconds until it is due, at most the longest delay of Function Compute.

        Raises:
            InvocationRefused: it was not accepted.
            InvocationUnknown: it may have been accepted; submit it again.
        """
        self._hand_over(task.task_id, {KEY: asdict(task)}, delay)

    def submit_start(self, document: Any, event: str) -> None:
        """Let the function start a campaign.

        Args:
            document: The campaign, as `model.read_document` returns it.
            event: Identifies the event that requests it, and is the same when the event is redelivered.

        Raises:
            InvocationRefused, InvocationUnknown: as in `submit`.
        """
        digest = hashlib.sha256(event.encode()).hexdigest()[:32]
        self._hand_over(f"start-{digest}", {START_KEY: document}, 0.0)

    def _hand_over(self, task_id: str, payload: dict[str, Any], delay: float) -> None:
        text = json.dumps(payload, separators=(",", ":")).encode()
        for number in range(1, MAX_ATTEMPTS + 1):
            pause = 0.2 * 2**number
            try:
                self._functions.invoke_later(
                    self._name,
                    text,
                    task_id=task_id,
                    delay=min(delay, LONGEST_DELAY),
                    deadline=self._deadline,
                )
            except InvocationRefused as error:
                if error.was_accepted_before:
                    return
                if not error.is_retryable or self._is_last(number, pause):
                    raise
            except InvocationUnknown:
                if self._is_last(number, pause):
                    raise
            else:
                return
            time.sleep(pause)

    def _is_last(self, attempt: int, pause: float) -> bool:
        return attempt == MAX_ATTEMPTS or time.monotonic() + pause >= self._deadline

    def submit_all(self, tasks: Sequence[PieceTask]) -> None:
        """Hand tasks over concurrently.

        Raises:
            InvocationRefused: as in `submit`, for the first task that failed; the others were submitted too.
            InvocationUnknown: as in `submit`.
        """
        failures: list[PushError] = []

        def submit(task: PieceTask) -> None:
            try:
                self.submit(task)
            except PushError as error:  # raised below, after the others were submitted
                failures.append(error)

        run_concurrently(submit, tasks, threads=SUBMIT_THREADS)
        if failures:
            raise failures[0]


def start_later(document: dict[str, Any], event: str, settings: Settings, invocation: Invocation) -> str:
    """Let the campaigns' function start a campaign; return the campaign's id, as JSON.

    Args:
        document: The campaign, as `model.read_document` returns it.
        event: As in `TaskQueue.submit_start`.
        settings: `PUSH_CAMPAIGN_FUNCTION`.
        invocation: Keys and deadline.

    Raises:
        Misconfigured: no function is set.
        InvocationRefused, InvocationUnknown: the event must be redelivered.
    """
    queue = TaskQueue.of(settings, invocation)
    queue.submit_start(document, absolute_scope(invocation.sender, event))
    return json.dumps({"campaign": document.get("campaign")})
