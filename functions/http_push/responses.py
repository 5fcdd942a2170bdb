"""Writes responses: outcomes, plans, tasks, health, problems, in the shapes that `openapi` describes.

However large a request is, its response stays short: every target's outcome is listed, but faults, warnings
and planned requests only up to a limit, with the number of those omitted.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from mpaas_push import Credentials, InvalidMessage, Outcome, OutcomeKind, PushError, Settings
from mpaas_push.message.reading import warnings_of
from mpaas_push.outcome import counts_of
from mpaas_push.request import plan as plan_requests
from mpaas_push.triggers.http import Response
from mpaas_push.warm import shared_client
from problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from async_dispatch import AcceptedChunk
    from mpaas_push.errors import Fault
    from mpaas_push.task import PushTask

__all__ = ["health", "openapi", "outcomes", "plan", "problem", "swagger_page", "tasks"]

# Worst first: of several failures, the most important one to report is that a push may have been sent.
STATUS = {
    OutcomeKind.UNKNOWN: 502,
    OutcomeKind.MISCONFIGURED: 500,
    OutcomeKind.THROTTLED: 503,
    OutcomeKind.REFUSED: 422,
}
RETRY_AFTER_SECONDS = 1
"""`Retry-After` of a throttled push when mPaaS named none."""
MAX_FAULTS = 100
"""Maximum number of faults in one response."""
PLANNED_BYTES = 1 << 20
"""Parameters that one dry run lists, in characters of JSON."""
TEXT_CHARACTERS = 300
"""Length to which the text of an outcome is truncated."""


def plan(tasks: Sequence[PushTask], settings: Settings) -> Response[str]:
    """Respond to a dry run: the parameters of all requests, and the warnings of all messages."""
    planned: list[dict[str, Any]] = []
    faults: list[Fault] = []
    room, omitted = PLANNED_BYTES, 0
    for index, task in enumerate(tasks):
        requests = plan_requests(task.message, settings, task.scope)
        if isinstance(requests, InvalidMessage):
            faults += requests.faults
            continue
        for request in requests:
            room -= sum(map(len, request.parameters.values())) if room > 0 else 0
            if room > 0 or not planned:
                planned.append({"message": index, "parameters": dict(request.parameters)})
            else:
                omitted += 1
    if faults:
        return problem(_refusal("nothing would be sent", faults))
    body = {"requests": planned, "warnings": warnings_of((task.message for task in tasks), settings)}
    return _json(200, body | ({"omittedRequests": omitted} if omitted else {}))


def outcomes(results: Sequence[Outcome], warnings: Sequence[dict[str, Any]]) -> Response[str]:
    """Respond with the outcome of each request: 200, 207, or the problem of the failed ones."""
    body: dict[str, Any] = {
        "outcomes": _as_json(results),
        "counts": counts_of(results),
        "warnings": list(warnings),
    }
    failed = [outcome for outcome in results if not outcome.accepted]
    if not failed:
        return _json(200, body)
    if len(failed) < len(results):
        return _json(207, body)
    worst = next(kind for kind in STATUS if any(outcome.kind is kind for outcome in failed))
    example = next(outcome for outcome in failed if outcome.kind is worst)
    count = len(results)
    subject = "the request was not" if count == 1 else f"none of the {count} requests was"
    detail = f"{subject} accepted; {worst.value}: {example.result_code}"
    if example.faults:
        detail += ", see errors"
    elif example.result_message:
        detail += f" ({example.result_message[:TEXT_CHARACTERS]})"
    if worst is OutcomeKind.REFUSED:
        faults = [fault for outcome in failed for fault in outcome.faults]
        return problem(_refusal(detail, faults, **body))
    if worst is OutcomeKind.THROTTLED:
        wait = max(outcome.retry_after or RETRY_AFTER_SECONDS for outcome in failed)
        headers = {"Retry-After": str(math.ceil(wait))}
        return problem(Problem(STATUS[worst], worst.value, detail, headers=headers, **body))
    return problem(Problem(STATUS[worst], worst.value, detail, **body))


def tasks(
    accepted: Sequence[AcceptedChunk], failed: Sequence[Outcome], warnings: Sequence[dict[str, Any]]
) -> Response[str]:
    """Respond with the tasks that the worker accepted: 202, 207 with some failures, or their problem."""
    if not accepted:
        return outcomes(failed, warnings)
    body = {
        "tasks": [_task(chunk) for chunk in accepted],
        "outcomes": _as_json(failed),
        "counts": {"handedOver": len(accepted), **counts_of(failed)},
        "warnings": list(warnings),
    }
    return _json(207 if failed else 202, body, {"Preference-Applied": "respond-async"})


def health(version: str, context: object) -> Response[str]:
    """Report whether settings are valid, an AccessKey is found and the ledger works.

    The AccessKey is not tried. The texts name variables but show no values.
    """
    checks = {
        "settings": _check(Settings.from_env),
        "credentials": _check(lambda: Credentials.resolve(context)),
    }
    status = _OK if set(checks.values()) == {_OK} else "misconfigured"
    if checks["settings"] == _OK and (ledger := shared_client().ledger):
        failure = ledger.health()
        checks["ledger"] = failure.reason if failure else _OK
        if failure and status == _OK:
            status = "misconfigured" if failure.is_permanent else "degraded"
    return _json(200, {"status": status, "version": version, **checks})


def openapi() -> Response[str]:
    """Respond with the OpenAPI document."""
    from openapi import document  # not needed to send a push

    return _json(200, document())


def swagger_page() -> Response[str]:
    """Respond with Swagger UI and the document in one page that loads nothing else."""
    from openapi import page  # not needed to send a push

    return Response(200, "text/html; charset=utf-8", page())


def problem(error: Problem) -> Response[str]:
    """Respond with a problem document."""
    return Response(
        error.status, "application/problem+json", json.dumps(error.as_json()), headers=error.headers
    )


def _check(work: Callable[[], object]) -> str:
    """Return `ok`, or the text of the error that `work` raises."""
    try:
        work()
    except PushError as error:
        return str(error)
    return _OK


_OK = "ok"


def _as_json(results: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as JSON, with at most `MAX_FAULTS` faults in total."""
    items, room = [], MAX_FAULTS
    for outcome in results:
        body = outcome.as_json()
        text = body["resultMessage"]
        if text and len(text) > TEXT_CHARACTERS:
            body["resultMessage"] = f"{text[:TEXT_CHARACTERS]}…"
        if errors := body.get("errors"):
            body["errors"] = errors[:room]
            if len(errors) > room:
                body["omittedErrors"] = len(errors) - room
            room = max(room - len(errors), 0)
        items.append(body)
    return items


def _task(accepted: AcceptedChunk) -> dict[str, Any]:
    """Describe a task. A target of several messages is in `targets` once, then in `repeated`."""
    targets: dict[str, str] = {}
    repeated = []
    for part in accepted.chunk.parts:
        repeats = {target: message_id for target, message_id in part.targets.items() if target in targets}
        targets |= {
            target: message_id for target, message_id in part.targets.items() if target not in repeats
        }
        if repeats:
            repeated.append({"message": part.index, "targets": repeats})
    task = {"taskId": accepted.chunk.task_id, "requestId": accepted.request_id, "targets": targets}
    return task | ({"repeated": repeated} if repeated else {})


def _refusal(detail: str, faults: Sequence[Fault], **members: Any) -> Problem:
    listed = [fault.as_json() for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        members["omittedErrors"] = len(faults) - MAX_FAULTS
    return Problem(422, "refused", detail, errors=listed, **members)


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response[str]:
    return Response(status, "application/json", json.dumps(body), headers=headers)
