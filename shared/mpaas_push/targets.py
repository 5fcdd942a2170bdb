"""The targets of a push, at most ten per request, and their message ids, derived from the event."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mpaas_push.message import PushMessage

__all__ = ["TARGETS_PER_REQUEST", "derived_ids", "given_ids", "message_ids_of", "slices", "without_targets"]

IdT = TypeVar("IdT", str, "str | None")
TARGETS_PER_REQUEST = 10
"""Limit of `TargetMsgkey` (simple push page; result code 3029 above it)."""


def message_ids_of(message: PushMessage, scope: str, index: int = 0) -> dict[str, str]:
    """Return the message id of each target, in the order in which they are split into requests.

    Ids that the caller gave are kept (see `given_ids`). Others are derived: the same event always gives the
    same target the same id, so a redelivery can be recognised.

    Args:
        message: The message.
        scope: Stays the same when the event is redelivered: an Idempotency-Key, a timer's name and tick, a
            queue message's id.
        index: Index of the message among those of the same event, from 0.
    """
    given = given_ids(message)
    if given is not None:
        return given
    return derived_ids(message.targets or (), scope, index)


def given_ids(message: PushMessage) -> dict[str, str] | None:
    """Return the message ids that the caller gave (`targetMsgkey`); None if they are to be derived.

    If they need more than one request they are sorted: keys of a JSON object have no order, and a request is
    recognised by its targets.
    """
    given = message.target_msgkey
    if given is None or len(given) <= TARGETS_PER_REQUEST:
        return given
    return dict(sorted(given.items()))


def derived_ids(targets: Iterable[str], scope: str, index: int = 0) -> dict[str, str]:
    """Derive the message id of each target, with scope and index as in `message_ids_of`."""
    # With its length, no scope can run into the index.
    base = hashlib.sha256(f"{len(scope)} {scope} {index} ".encode("utf-8", "surrogatepass"))
    return {target: _message_id(base, target) for target in targets}


def slices(targets: Mapping[str, IdT]) -> Iterator[dict[str, IdT]]:
    """Split targets and their ids into portions of one request each, in a stable order."""
    pairs = list(targets.items())
    for start in range(0, len(pairs), TARGETS_PER_REQUEST):
        yield dict(pairs[start : start + TARGETS_PER_REQUEST])


def without_targets(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a message without its targets, ready for others."""
    return {name: value for name, value in payload.items() if name not in {"targets", "targetMsgkey"}}


def _message_id(base: hashlib._Hash, target: str) -> str:
    digest = base.copy()
    digest.update(target.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
