"""Dead letters: one for each fate of the targets of a message that was given up.

A message and the outcomes that are given up enter; the texts of its letters leave. No target is lost.
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

__all__ = ["dead_letters"]

logger = logging.getLogger(__name__)

BODY_CHARACTERS, TEXT_CHARACTERS = 2000, 500
"""What is left of an original and of other texts that are too long for a letter; it fits however escaped."""


def dead_letters(task: PushTask, outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield the letters of a message that was given up, at least one for each fate.

    What was refused can be corrected and sent again; what is unknown may have arrived. So they never share a
    dead letter. Beside the original is the message for the targets that are given up, so that it can be sent
    again to them alone, under the ids of the caller or new ones.
    """
    fates: dict[tuple[OutcomeKind, str | None], list[Outcome]] = {}
    for outcome in outcomes:
        final = outcome.if_earlier_may_have_arrived() if outcome.unconfirmed else outcome
        fates.setdefault((final.kind, final.result_code), []).append(final)
    if not fates:
        return
    whole: dict[str, Any] = {"body": task.original}
    original = task.original.encode(errors="replace")
    cut = {
        "body": task.original[:BODY_CHARACTERS],
        "cut": {"bytes": len(original), "sha256": hashlib.sha256(original).hexdigest()},
    }
    bodies = [whole, cut] if len(original) <= BODY_BYTES else [cut]
    for fate in fates.values():
        yield from _letters(task, fate, bodies)


def _letters(
    task: PushTask, outcomes: Sequence[Outcome], bodies: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield the letters of one fate.

    What is too long has short outcomes, then the beginning of its original; then it becomes several letters,
    each for some of the targets. A message that is too long even for one target is replaced by its target.
    """
    first, targets = outcomes[0], targets_of(outcomes)
    if len(targets) > 1 and sum(map(len, targets)) > BODY_BYTES:  # not worth a try
        for half in _halves(outcomes):
            yield from _letters(task, half, bodies[-1:])
        return
    letter: dict[str, Any] = {
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
    forms = [{**letter, **bodies[0], **to_send, "outcomes": full}]
    forms += [{**letter, **body, **to_send, "outcomes": short} for body in bodies]
    if len(targets) <= 1:
        cut_targets = [target[:TEXT_CHARACTERS] for target in targets]
        forms.append({**letter, **bodies[-1], "targets": cut_targets, "outcomes": short})
    for form in forms:
        text = compact_json(form)
        if fits(text):
            if "cut" in form:
                logger.error("a dead letter holds only the beginning of a message", extra=form["cut"])
            yield text
            return
    for half in _halves(outcomes):
        yield from _letters(task, half, bodies[-1:])


def _short(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome in short form, for a letter that would be too long; its targets are beside it."""
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
