"""The Idempotency-Keys received so far, each with a hash of its messages.

With a ledger every instance recognises all keys of a day. Without one, an instance remembers its own latest
keys: a safeguard, not a guarantee. Either way message ids are derived from the key, so a repeated push can be
recognised everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

from mpaas_push import InvalidMessage, PushMessage
from mpaas_push.message.constraints import CONSTRAINTS, Level, system_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from mpaas_push import Settings
    from mpaas_push.ledger import Comparison, Ledger
    from mpaas_push.task import PushTask

__all__ = ["KeyMemory"]


def fingerprint_of(tasks: Sequence[PushTask], settings: Settings) -> str:
    """Return a hash of a request's messages, their apps and targets, independent of JSON formatting.

    An invalid message is hashed as its JSON, with sorted keys.
    """
    digest = hashlib.sha256()
    for task in tasks:
        message = _read_leniently(task, settings)
        content = task.payload
        if isinstance(message, PushMessage):
            targets = message.targets if message.target_msgkey is None else message.target_msgkey
            content = [message.fingerprint, message.app_id, message.workspace_id, message.tenant_id, targets]
        digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def partial_fingerprint(tasks: Sequence[PushTask], refused: Iterable[int], settings: Settings) -> str:
    """Return a fingerprint that stays the same when the refused messages are corrected.

    It has the number of messages, from whose indexes ids are derived, the refused indexes, and a hash of the
    other messages.

    Args:
        tasks: The messages.
        refused: Indexes of the messages that were refused completely.
        settings: Defaults of the messages.
    """
    refused = set(refused)
    kept = [task for index, task in enumerate(tasks) if index not in refused]
    indexes = ",".join(map(str, sorted(refused)))
    return f"{len(tasks)}:{indexes}:{fingerprint_of(kept, settings)}"


def is_correction(tasks: Sequence[PushTask], stored: str, settings: Settings) -> bool:
    """Return whether a request differs from an earlier one only in messages that were refused.

    Args:
        tasks: Its messages.
        stored: The fingerprint stored with its key: a `partial_fingerprint`, or that of a complete request.
        settings: As in `partial_fingerprint`.
    """
    if ":" not in stored:
        return False
    refused = [int(index) for index in stored.split(":")[1].split(",")]
    return partial_fingerprint(tasks, refused, settings) == stored


def _read_leniently(task: PushTask, settings: Settings) -> PushMessage | InvalidMessage:
    """Read a message as it may have been read a day ago: a timed one may be too late by now."""
    if isinstance(task.message, PushMessage):
        return task.message
    try:
        return PushMessage.parse(task.payload, defaults=settings.defaults, levels=_LENIENT, clock=_a_day_ago)
    except InvalidMessage as error:
        return error


def _a_day_ago() -> datetime:
    return system_clock() - timedelta(days=1)


_LENIENT = {constraint.name: Level.OFF for constraint in CONSTRAINTS if not constraint.certain}


MAX_KEYS = 1000
"""How many keys an instance remembers."""


class KeyMemory:
    """The latest keys of one warm instance, each with the fingerprint of its messages.

    The least recently used one is forgotten first.
    """

    def __init__(self) -> None:
        self._fingerprints: OrderedDict[str, str] = OrderedDict()

    def compare(
        self, key: str, tasks: Sequence[PushTask], settings: Settings, ledger: Ledger | None
    ) -> Comparison:
        """Compare the messages of a request with those stored under its key; remember a new key.

        Args:
            key: The caller's key and the function that received it.
            tasks: The messages of the request.
            settings: Defaults of the messages.
            ledger: Shared by all instances; None without a ledger.
        """
        fingerprint = fingerprint_of(tasks, settings)
        if ledger:
            return ledger.compare(key, fingerprint, lambda stored: is_correction(tasks, stored, settings))
        stored = self._fingerprints.get(key)
        if stored is None or is_correction(tasks, stored, settings):
            self._remember(key, fingerprint)
            return "new" if stored is None else "corrected"
        self._fingerprints.move_to_end(key)
        return "same" if stored == fingerprint else "other"

    def forget(self, key: str, ledger: Ledger | None) -> None:
        """Forget a key under which nothing was sent."""
        self._fingerprints.pop(key, None)
        if ledger:
            ledger.forget(key)

    def allow_correction(
        self,
        key: str,
        tasks: Sequence[PushTask],
        refused: Iterable[int],
        settings: Settings,
        ledger: Ledger | None,
    ) -> None:
        """Let refused messages be corrected under a key; see `partial_fingerprint`."""
        partial = partial_fingerprint(tasks, refused, settings)
        if ledger:
            ledger.replace(key, partial)
        else:
            self._remember(key, partial)

    def _remember(self, key: str, fingerprint: str) -> None:
        self._fingerprints[key] = fingerprint
        self._fingerprints.move_to_end(key)
        if len(self._fingerprints) > MAX_KEYS:
            self._fingerprints.popitem(last=False)
