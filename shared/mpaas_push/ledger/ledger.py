"""The ledger: what has been sent already, in a Redis or Tair that all functions and instances share.

Requests are claimed in it before they are sent (`claims`), and Idempotency-Keys compared; what a server
cannot tell is decided by `PUSH_LEDGER_IF_DOWN`.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from mpaas_push.errors import Misconfigured
from mpaas_push.ledger.claims import SHORTEST_KEPT_SECONDS, Claims
from mpaas_push.ledger.server import Failure, LedgerServer, record_key
from mpaas_push.outcome import ACCEPTED
from mpaas_push.settings import IfDown

if TYPE_CHECKING:
    from mpaas_push.invocation import Invocation
    from mpaas_push.settings import Settings

__all__ = ["Comparison", "Ledger"]

logger = logging.getLogger(__name__)

Comparison = Literal["new", "same", "other", "unknown"]
"""Of an Idempotency-Key: new, known with the same body or with another one; unknown if nobody can tell and
nothing may be sent."""

PROBE_SECONDS = 10
"""How long the record of a health check is kept, should it not be deleted."""


class Ledger:
    """Records of what was sent, shared by all functions and instances that name the same server.

    Safe under threads and after a fork; keeps connections, and no decision.
    """

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet.

        Args:
            settings: `PUSH_LEDGER_URL`, and what to do when the ledger cannot tell.
        """
        self._settings = settings
        self._server = LedgerServer(settings)

    def claims(self, invocation: Invocation) -> Claims:
        """Return where an invocation claims its requests."""
        return Claims(self._server, self._settings, invocation)

    def compare(self, key: str, fingerprint: str) -> Comparison:
        """Say whether an Idempotency-Key is new or known, and with which body; remember it for a day.

        A ledger that cannot tell says what `PUSH_LEDGER_IF_DOWN` does: ``same``, that is nothing against the
        key, or ``unknown``.

        Args:
            key: The caller's key, with the sender before it: others may use the same one.
            fingerprint: Of the body that came with it, without spaces.

        Raises:
            Misconfigured: the ledger can never work as it is set up.
        """
        seconds = SHORTEST_KEPT_SECONDS
        name, token = record_key("key", key), os.urandom(8).hex()
        (answer,) = self._server.ask([(name, "claim", token, seconds, fingerprint, seconds * 1000, "")])
        match answer:
            case ["claimed"]:
                return "new"
            case ["busy", known]:
                return "same" if known == fingerprint else "other"
            case ["reused", _]:
                return "other"
            case ["settled", *_]:
                return "same"
            case Failure(is_permanent=True):
                _cry("the ledger can never work as it is set up, nothing is sent: %s", answer.reason)
                raise Misconfigured(f"the ledger: {answer.reason}", setting="PUSH_LEDGER_URL")
            case Failure():
                text = "the ledger failed for an Idempotency-Key (%s): %s"
                why = answer.reason
            case _:
                text = "the ledger holds a record of an Idempotency-Key that %s cannot read: %s"
                why = "this version"
        sends = self._settings.ledger_if_down is IfDown.SEND
        _cry(text, why, "its pushes are sent without comparing it" if sends else "its pushes wait")
        return "same" if sends else "unknown"

    def forget(self, key: str) -> None:
        """Forget an Idempotency-Key under which nothing was sent; never raises."""
        (answer,) = self._server.ask([(record_key("key", key), "forget", "")], despite_pause=True)
        if isinstance(answer, Failure):
            text = "the ledger failed (%s): an Idempotency-Key stays known for a day, though nothing was sent"
            _cry(text, answer.reason)

    def health(self) -> Failure | None:
        """Write and delete a record; never raises.

        Returns:
            What is wrong: for now, or permanently. None if the ledger works.
        """
        name, token = record_key("health", os.urandom(8).hex()), os.urandom(8).hex()
        calls = [
            (name, "claim", token, PROBE_SECONDS, "-", PROBE_SECONDS * 1000, ""),
            (name, "settle", token, PROBE_SECONDS, "-", ACCEPTED.value, "{}"),
            (name, "forget", token),
        ]
        answers = self._server.ask(calls, despite_pause=True)
        failures = [answer for answer in answers if isinstance(answer, Failure)]
        return max(failures, key=lambda failure: failure.is_permanent, default=None)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()


def _cry(text: str, *values: object) -> None:
    with suppress(Exception):  # of a handler of the log: it is no failure of the ledger
        logger.error(text, *values)
