"""The ledger: what has been sent already, in a Redis or Tair that all functions and instances share.

Requests are claimed in it before they are sent (`claims`), and Idempotency-Keys are compared. When the ledger
cannot tell, `PUSH_LEDGER_IF_DOWN` decides.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from mpaas_push.errors import Misconfigured
from mpaas_push.ledger.claims import SHORTEST_KEPT_SECONDS, Claims
from mpaas_push.ledger.redis_client import Failure, RedisClient, record_key
from mpaas_push.outcome import ACCEPTED
from mpaas_push.settings import IfDown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpaas_push.invocation import Invocation
    from mpaas_push.settings import Settings

__all__ = ["Comparison", "Ledger"]

logger = logging.getLogger(__name__)

Comparison = Literal["new", "corrected", "same", "other", "unknown"]
"""Whether an Idempotency-Key is new, or was used with a body that this one may replace, with the same body or
with another; unknown if the ledger cannot tell and nothing may be sent."""

PROBE_SECONDS = 10
"""Lifetime of the record of a health check, in case it is not deleted."""


class Ledger:
    """Records of what was sent, shared by all functions and instances that name the same server.

    Thread-safe, also after a fork. It keeps connections, but no state.
    """

    def __init__(self, settings: Settings) -> None:
        """Create a ledger; connections open at the first call.

        Args:
            settings: `PUSH_LEDGER_URL`, and what to do when the ledger cannot tell.
        """
        self._settings = settings
        self._redis = RedisClient(settings)

    def claims(self, invocation: Invocation) -> Claims:
        """Return the claims of an invocation, initially none."""
        return Claims(self._redis, self._settings, invocation)

    def compare(
        self, key: str, fingerprint: str, may_replace: Callable[[str], bool] | None = None
    ) -> Comparison:
        """Return whether an Idempotency-Key is new or was used, and remember it for a day.

        If the ledger cannot tell, the result depends on `PUSH_LEDGER_IF_DOWN`: ``same`` means that the pushes
        are sent, ``unknown`` that they wait.

        Args:
            key: The key, prefixed with its sender: two senders may use the same one.
            fingerprint: Hash of the request's body, without spaces.
            may_replace: Whether this body may replace the one with a given fingerprint.

        Raises:
            Misconfigured: The ledger cannot work as it is configured.
        """
        seconds = SHORTEST_KEPT_SECONDS
        name, token = record_key("key", key), os.urandom(8).hex()
        (reply,) = self._redis.ask([(name, "claim", token, seconds, fingerprint, seconds * 1000, "")])
        match reply:
            case ["claimed"]:
                return "new"
            case ["busy", known]:
                if known != fingerprint and may_replace and may_replace(known):
                    self.replace(key, fingerprint)
                    return "corrected"
                return "same" if known == fingerprint else "other"
            case ["reused", _]:
                return "other"
            case ["settled", *_]:
                return "same"
            case Failure(is_permanent=True):
                _log_error("the ledger cannot work as it is configured, nothing is sent: %s", reply.reason)
                raise Misconfigured(f"the ledger: {reply.reason}", setting="PUSH_LEDGER_URL")
            case Failure():
                text = "the ledger failed for an Idempotency-Key (%s): %s"
                cause = reply.reason
            case _:
                text = "the ledger holds a record of an Idempotency-Key that %s cannot read: %s"
                cause = "this version"
        sends = self._settings.ledger_if_down is IfDown.SEND
        _log_error(text, cause, "its pushes are sent without the comparison" if sends else "its pushes wait")
        return "same" if sends else "unknown"

    def forget(self, key: str) -> None:
        """Forget an Idempotency-Key under which nothing was sent; never raises."""
        self._change([(record_key("key", key), "forget", "")])

    def replace(self, key: str, fingerprint: str) -> None:
        """Remember an Idempotency-Key with another fingerprint; never raises."""
        seconds = SHORTEST_KEPT_SECONDS
        name, token = record_key("key", key), os.urandom(8).hex()
        claim = (name, "claim", token, seconds, fingerprint, seconds * 1000, "")
        self._change([(name, "forget", ""), claim])

    def _change(self, calls: Sequence[tuple[Any, ...]]) -> None:
        replies = self._redis.ask(calls, despite_pause=True)
        failure = next((reply for reply in replies if isinstance(reply, Failure)), None)
        if failure:
            text = "the ledger failed (%s): an Idempotency-Key stays in use for a day as it was"
            _log_error(text, failure.reason)

    def health(self) -> Failure | None:
        """Write and delete a record; never raises.

        Returns:
            The failure, temporary or permanent; None if the ledger works.
        """
        name, token = record_key("health", os.urandom(8).hex()), os.urandom(8).hex()
        calls = [
            (name, "claim", token, PROBE_SECONDS, "-", PROBE_SECONDS * 1000, ""),
            (name, "settle", token, PROBE_SECONDS, "-", ACCEPTED.value, "{}"),
            (name, "forget", token),
        ]
        replies = self._redis.ask(calls, despite_pause=True)
        failures = [reply for reply in replies if isinstance(reply, Failure)]
        return max(failures, key=lambda failure: failure.is_permanent, default=None)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _log_error(text: str, *values: object) -> None:
    with suppress(Exception):  # a log handler that raises is not a failure of the ledger
        logger.error(text, *values)
