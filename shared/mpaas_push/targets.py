"""Who gets a push, and under which id: at most ten targets a request, message ids derived from the event."""

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
    """Return the message id of each target, in the order in which they are cut into requests.

    Ids that the caller gave are kept (see `given_ids`). Others are derived, so that the same event gives the
    same target the same id whenever and wherever it is handled: a redelivery can be recognised.

    Args:
        message: The message.
        scope: What stays the same when the event comes again: an Idempotency-Key, a timer's name and tick,
            a queue message's id.
        index: Place of the message among those of the same event, from 0.
    """
    given = given_ids(message)
    if given is not None:
        return given
    return derived_ids(message.targets or (), scope, index)


def given_ids(message: PushMessage) -> dict[str, str] | None:
    """Return the message ids that the caller gave (`targetMsgkey`); None where they are derived.

    Those of more than one request are sorted: keys of a JSON object have no order, and a request is
    recognised by the targets that share it.
    """
    given = message.target_msgkey
    if given is None or len(given) <= TARGETS_PER_REQUEST:
        return given
    return dict(sorted(given.items()))


def derived_ids(targets: Iterable[str], scope: str, index: int = 0) -> dict[str, str]:
    """Derive the message id of each target, with scope and index as in `message_ids_of`."""
    # The length keeps apart what would otherwise run into one text.
    base = hashlib.sha256(f"{len(scope)} {scope} {index} ".encode("utf-8", "surrogatepass"))
    return {target: _message_id(base, target) for target in targets}


def slices(targets: Mapping[str, IdT]) -> Iterator[dict[str, IdT]]:
    """Cut targets and their ids into portions that one request may carry, in a stable order."""
    pairs = list(targets.items())
    for start in range(0, len(pairs), TARGETS_PER_REQUEST):
        yield dict(pairs[start : start + TARGETS_PER_REQUEST])


def without_targets(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of a message without its targets, so that others can be put in."""
    return {name: value for name, value in payload.items() if name not in {"targets", "targetMsgkey"}}


def _message_id(base: hashlib._Hash, target: str) -> str:
    digest = base.copy()
    digest.update(target.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]
