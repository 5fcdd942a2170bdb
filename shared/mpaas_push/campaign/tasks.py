"""Tasks of Function Compute: what a campaign hands to its function, each under an id of its own.

A task that is submitted twice is accepted once, so an interrupted plan begins again from its start.
"""

from __future__ import annotations

import hashlib
import json
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
SIDE_BY_SIDE = 32
"""Tasks submitted at once."""
MAX_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class PlanTask:
    """Submit a task for each open piece.

    Attributes:
        campaign: The campaign's id.
        run: Tells this campaign from one of the same id that Redis has forgotten.
        plan: Number of the plan: one for each start, resume and cancel.
    """

    campaign: str
    run: str
    plan: int

    @property
    def task_id(self) -> str:
        """Its id; the same plan is submitted once."""
        return f"c-{self.campaign}-{self.run}-plan-{self.plan}"


@dataclass(frozen=True, kw_only=True)
class PieceTask:
    """Work on a piece.

    Attributes:
        campaign: As in `PlanTask`.
        run: As in `PlanTask`.
        piece: Index of the piece.
        turn: Which task of the piece this is.
        watch: Counts the tasks that waited for another one to let the piece go.
        at: Moment of the next block in Unix seconds, if it has been given one.
        pace_version: The pace that gave it.
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
    """Read the event of a task; None if it is another event.

    Raises:
        UnreadablePayload: it is a task that cannot be read.
    """
    fields = _value(event, KEY)
    if not isinstance(fields, dict):
        return None
    kind = PlanTask if "plan" in fields else PieceTask
    known = kind.__dataclass_fields__.keys() & fields.keys()  # a newer version may tell more
    try:
        return kind(**{name: fields[name] for name in known})
    except TypeError:
        raise UnreadablePayload("a campaign's task of another version") from None


def start_of(event: bytes) -> Any:
    """Return the document of a campaign that an event asks to start; None if it is another event."""
    return _value(event, START_KEY)


def _value(event: bytes, key: str) -> Any:
    try:
        payload = read_json(event)
    except UnreadableJson:
        return None
    return payload.get(key) if isinstance(payload, dict) else None


class TaskQueue:
    """The asynchronous queue of the campaigns' function."""

    def __init__(self, settings: Settings, functions: Functions, name: str | None = None) -> None:
        """Prepare to call the function.

        Args:
            settings: `PUSH_CAMPAIGN_FUNCTION`.
            functions: How functions are called.
            name: The function, where it is the one that runs.

        Raises:
            Misconfigured: none is set.
        """
        function = settings.campaign_function or name
        if not function:
            text = "campaigns need a function that works on them: set PUSH_CAMPAIGN_FUNCTION"
            raise Misconfigured(text, setting="PUSH_CAMPAIGN_FUNCTION")
        self._name = function
        self._functions = functions

    def submit(self, task: PlanTask | PieceTask, *, delay: float = 0.0) -> None:
        """Hand a task over; one that was handed over before is not accepted again.

        Args:
            task: The task.
            delay: Seconds until it is due, at most the longest delay of Function Compute.

        Raises:
            InvocationRefused: it was not accepted.
            InvocationUnknown: it may have been taken; submit it again.
        """
        self._hand_over(task.task_id, {KEY: asdict(task)}, delay)

    def submit_start(self, document: Any, event: str) -> None:
        """Let the function start a campaign.

        Args:
            document: The campaign, as `model.read_document` returns it.
            event: What stays the same when the event that asks for it comes again.

        Raises:
            InvocationRefused, InvocationUnknown: as in `submit`.
        """
        digest = hashlib.sha256(event.encode()).hexdigest()[:32]
        self._hand_over(f"start-{digest}", {START_KEY: document}, 0.0)

    def _hand_over(self, task_id: str, payload: dict[str, Any], delay: float) -> None:
        text = json.dumps(payload, separators=(",", ":")).encode()
        for number in range(1, MAX_ATTEMPTS + 1):
            try:
                self._functions.invoke_later(
                    self._name, text, task_id=task_id, delay=min(delay, LONGEST_DELAY)
                )
            except InvocationRefused as error:
                if error.was_accepted_before:
                    return
                if not error.is_retryable or number == MAX_ATTEMPTS:
                    raise
            except InvocationUnknown:
                if number == MAX_ATTEMPTS:
                    raise
            else:
                return
            time.sleep(0.2 * 2**number)

    def submit_all(self, tasks: Sequence[PieceTask]) -> None:
        """Hand tasks over concurrently.

        Raises:
            InvocationRefused: as in `submit`, of the first one that failed; the others were tried too.
            InvocationUnknown: as in `submit`.
        """
        failures: list[PushError] = []

        def submit(task: PieceTask) -> None:
            try:
                self.submit(task)
            except PushError as error:  # raised below; the others must be tried
                failures.append(error)

        run_concurrently(submit, tasks, threads=SIDE_BY_SIDE)
        if failures:
            raise failures[0]


def start_later(document: dict[str, Any], event: str, settings: Settings, invocation: Invocation) -> str:
    """Let the campaigns' function start a campaign; return what was begun, as JSON.

    Args:
        document: The campaign, as `model.read_document` returns it.
        event: What stays the same when the event that asks for it comes again.
        settings: `PUSH_CAMPAIGN_FUNCTION`.
        invocation: Keys.

    Raises:
        Misconfigured: no function is set.
        InvocationRefused, InvocationUnknown: let the event come again.
    """
    queue = TaskQueue(settings, Functions(settings, invocation.credentials))
    queue.submit_start(document, absolute_scope(invocation.sender, event))
    return json.dumps({"campaign": document.get("campaign")})
