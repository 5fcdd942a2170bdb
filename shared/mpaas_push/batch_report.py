"""The results of an event's messages as counts, and whether the event must be redelivered."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from mpaas_push.outcome import ACCEPTED, UNKNOWN

__all__ = ["BatchReport"]


class BatchReport(NamedTuple):
    """The results of the messages of an event.

    Attributes:
        outcomes: Number of outcomes by name, one for each request.
        retried: Messages handed to the retry queue.
        given_up: Messages handed to the dead-letter queue.
        unsettled: Messages that may be sent again and that no queue accepted: the event must be redelivered.
        stranded: Messages that were given up and that no dead-letter queue accepted.
        left: Indexes of the messages that are unsettled or stranded.
        recoverable: Stranded messages that the dead-letter queue may accept later.
        duplicates_if_redelivered: Targets that were accepted, may have been, or wait in the retry queue:
            without a ledger they get a push twice if the event is redelivered. Neither this nor
            `recoverable` is part of `as_json`.
    """

    outcomes: dict[str, int]
    retried: int
    given_up: int
    unsettled: int
    stranded: int
    left: tuple[int, ...]
    recoverable: int = 0
    duplicates_if_redelivered: int = 0

    def as_json(self, **counts: Any) -> str:
        """Return the report as the result of a function, after the function's own counts."""
        report = self._asdict()
        del report["recoverable"], report["duplicates_if_redelivered"]
        return json.dumps({**counts, **report})

    def should_fail_invocation(self, *, has_ledger: bool) -> bool:
        """Return whether the event must be redelivered.

        It must be if a message may be sent again, or if the dead-letter queue may accept a given-up message
        later. A message that no dead-letter queue will ever accept fails the event only if that sends no push
        twice: nothing can have been accepted and no retry is waiting, or there is a ledger. The event then
        ends where its source or Function Compute puts failed events.

        Args:
            has_ledger: A ledger keeps accepted pushes from being sent again.
        """
        sent = self.retried > 0 or self.outcomes.keys() & {ACCEPTED.value, UNKNOWN.value}
        return self.unsettled > 0 or self.recoverable > 0 or (self.stranded > 0 and (has_ledger or not sent))
