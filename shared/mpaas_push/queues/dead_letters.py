"""Dead letters of a message that was given up, at least one for each fate of its targets.

`dead_letters` writes them from a message and the outcomes that are given up. No target is lost.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpaas_push.message import PushMessage
from mpaas_push.outcome import targets_of
from mpaas_push.queues.message import BODY_BYTES, fits
from mpaas_push.task import compact_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mpaas_push.outcome import Outcome, OutcomeKind
    from mpaas_push.task import PushTask

__all__ = ["dead_letters_of"]

logger = logging.getLogger(__name__)

BODY_CHARACTERS, TEXT_CHARACTERS = 2000, 500
"""Lengths to which an original and other texts are truncated if a dead letter is too long; they fit even if
every character is escaped."""


def dead_letters_of(task: PushTask, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the dead letters of a message that was given up, at least one for each fate.

    A refused push can be corrected and sent again; an unknown one may have arrived. So they never share a
    dead letter. In addition to the original, a dead letter has the message for its targets only, so that it
    can be sent to them again, under the ids of the caller or new ones.
    """
    fates: dict[tuple[OutcomeKind, str | None], list[Outcome]] = {}
    for outcome in outcomes:
        final = outcome.if_earlier_may_have_arrived() if outcome.unconfirmed else outcome
        fates.setdefault((final.kind, final.result_code), []).append(final)
    if not fates:
        return
    complete: dict[str, Any] = {"body": task.original}
    original = task.original.encode(errors="replace")
    truncated = {
        "body": task.original[:BODY_CHARACTERS],
        "cut": {"bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()},
    }
    bodies = [complete, truncated] if len(original) <= BODY_BYTES else [truncated]
    for fate in fates.values():
        yield from _dead_letters_of_fate(task, fate, bodies)


def _dead_letters_of_fate(
    task: PushTask, outcomes: Sequence[Outcome], bodies: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the dead letters of one fate.

    A dead letter that is too long gets short outcomes, then only the beginning of its original; if that is
    not enough, it is split into several dead letters, each for some of the targets. A message that is too
    long even for one target is replaced by that target.
    """
    first, targets = outcomes[0], targets_of(outcomes)
    if len(targets) > 1 and sum(map(len, targets)) > BODY_BYTES:  # too long in every form
        for half in _halves(outcomes):
            yield from _dead_letters_of_fate(task, half, bodies[-1:])
        return
    dead_letter: dict[str, Any] = {
        "reason": first.kind.value,
        "detail": (first.result_message or first.result_code or "")[:TEXT_CHARACTERS],
        "scope": task.scope[:TEXT_CHARACTERS],
        "attempt": task.attempt,
        "firstMoment": round(task.first_moment, 3),
    }
    to_send: dict[str, Any] = {"targets": list(targets)}
    if isinstance(task.message, PushMessage):
        ids = task.names_ids and not task.derived
        to_send = {"message": task.message_for(targets, with_ids=ids)}
    full = [outcome.as_json() for outcome in outcomes]
    short = [_short(outcome) for outcome in outcomes]
    forms = [{**dead_letter, **bodies[0], **to_send, "outcomes": full}]
    forms += [{**dead_letter, **body, **to_send, "outcomes": short} for body in bodies]
    if len(targets) <= 1:
        truncated = [target[:TEXT_CHARACTERS] for target in targets]
        forms.append({**dead_letter, **bodies[-1], "targets": truncated, "outcomes": short})
    for form in forms:
        text = compact_json(form)
        if fits(text):
            if "cut" in form:
                logger.error("a dead letter holds only the beginning of a message", extra=form["cut"])
            yield text
            return
    for half in _halves(outcomes):
        yield from _dead_letters_of_fate(task, half, bodies[-1:])


def _short(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome without its texts and targets, for a dead letter that would be too long."""
    return {
        "outcome": outcome.kind.value,
        "requestId": outcome.request_id,
        "resultCode": outcome.result_code,
        "attempts": outcome.attempts,
    }


def _halves(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    """Yield two halves of the outcomes, or of the targets of the only one."""
    if len(outcomes) > 1:
        half = len(outcomes) // 2
        yield outcomes[:half]
        yield outcomes[half:]
        return
    (outcome,) = outcomes
    targets = list(outcome.targets.items())
    half = len(targets) // 2
    yield [replace(outcome, targets=dict(targets[:half]))]
    yield [replace(outcome, targets=dict(targets[half:]))]
