"""Finds the campaign that sent a push.

A campaign does not log its pushes, of which there are many, but it derives their message ids from its own id
and the target.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mpaas_local.mpaas.store import FunctionCall
from mpaas_push.campaign.tasks import PieceTask, task_of
from mpaas_push.errors import UnreadablePayload
from mpaas_push.targets import derived_ids
from mpaas_push.task import absolute_scope

if TYPE_CHECKING:
    from mpaas_local.mpaas.store import InboxEntry

__all__ = ["CampaignSenders"]

CAMPAIGNS = 100
"""Campaigns that are remembered; the one that has been idle longest is forgotten first."""
LONGEST_TASK = 1000
"""Bytes: a longer event is not a task of a campaign."""


class CampaignSenders:
    """The campaigns whose pieces were processed. Thread-safe."""

    def __init__(self) -> None:
        self._scopes: dict[str, str] = {}
        self._lock = threading.Lock()

    def note_call(self, event: bytes, sender: str) -> None:
        """Remember the campaign of a call that begins, if it works on a piece.

        Args:
            event: The event of any function.
            sender: The function, as `mpaas_push.invocation.sender_of` names it.
        """
        if len(event) > LONGEST_TASK:
            return
        try:
            task = task_of(event)
        except UnreadablePayload:
            return
        if not isinstance(task, PieceTask):
            return
        with self._lock:
            self._scopes.pop(task.campaign, None)
            self._scopes[task.campaign] = absolute_scope(sender, f"campaign:{task.campaign}")
            if len(self._scopes) > CAMPAIGNS:
                del self._scopes[next(iter(self._scopes))]

    def call_of(self, entry: InboxEntry) -> FunctionCall | None:
        """Return the campaign that sent a push, as the call that caused it; None for another push."""
        if not entry.targets:
            return None
        first = entry.targets[0]
        with self._lock:
            scopes = [*self._scopes.items()]
        for campaign, scope in reversed(scopes):
            if derived_ids([first.target], scope)[first.target] == first.message_id:
                return FunctionCall(f"campaign:{campaign}", "campaign", {"campaign": campaign})
        return None
