"""What this function reads of a request and how it answers: bodies, statuses, problem documents."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import async_dispatch
from mpaas_push import Credentials, InvalidMessage, Outcome, OutcomeKind, PushError, Settings
from mpaas_push.json_text import read_json
from mpaas_push.outcome import counts_of
from mpaas_push.request import plan as plan_requests
from mpaas_push.triggers.http import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_push import PushMessage
    from mpaas_push.errors import Fault
    from mpaas_push.triggers.http import HttpEvent

__all__ = [
    "ROUTES",
    "Problem",
    "handed_over",
    "health",
    "idempotency_key",
    "is_dry_run",
    "json_of",
    "openapi",
    "outcomes",
    "plan",
    "problem",
    "swagger_page",
]

ROUTES = "there is POST /v1/pushes, GET /v1/health, GET /openapi.json and GET /docs"
KEY_LENGTH = 255


class Problem(PushError):
    """An answer that is an error: status, kind, and what to tell the caller (RFC 9457)."""

    def __init__(self, status: int, kind: str, detail: str, **more: Any) -> None:
        """Take the members of the problem document; `more` are members beyond the standard ones."""
        self.status, self.kind, self.detail, self.more = status, kind, detail, more
        super().__init__(detail)


TITLES = {
    "not-json": "The body is not JSON",
    "unreadable": "The request cannot be read",
    "too-large": "The body is too large",
    "media-type": "The media type is not supported",
    "bad-key": "The Idempotency-Key cannot be used",
    "bad-query": "The query cannot be used",
    "conflict": "The Idempotency-Key was used with another body",
    "not-found": "There is no such route",
    "refused": "The push is invalid or was refused",
    "misconfigured": "The function is misconfigured",
    "unknown": "The outcome is unknown",
    "throttled": "The push was not taken for now",
}

# Worst news first: where several outcomes failed, a caller must learn first that a push may have gone out.
STATUS = {
    OutcomeKind.UNKNOWN: 502,
    OutcomeKind.MISCONFIGURED: 500,
    OutcomeKind.THROTTLED: 503,
    OutcomeKind.REFUSED: 422,
}
RETRY_AFTER_SECONDS = 1
"""Named to the caller of a throttled push when mPaaS named nothing."""


def json_of(event: HttpEvent, limit: int) -> Any:
    """Read the body as JSON of at most `limit` bytes."""
    media_type = event.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem(415, "media-type", f"the body must be application/json, not {media_type[:80]}")
    body = event.body_bytes
    if len(body) > limit:
        raise Problem(
            413, "too-large", f"the body has {len(body)} bytes, {limit} are allowed: send fewer messages"
        )
    try:
        return read_json(body)
    except PushError as error:
        raise Problem(400, "not-json", str(error)) from None


def idempotency_key(event: HttpEvent) -> str | None:
    """Return the caller's Idempotency-Key, if there is one."""
    key = event.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= KEY_LENGTH or not key.isprintable() or key.isspace():
        raise Problem(400, "bad-key", f"Idempotency-Key must be 1 to {KEY_LENGTH} printable characters")
    return key


def is_dry_run(event: HttpEvent) -> bool:
    """Return whether nothing is to be sent."""
    for name in event.query_string_parameters.keys() - {"dryRun"}:
        if name.lower().replace("_", "").replace("-", "") == "dryrun":
            raise Problem(400, "bad-query", f"{name} is not known; did you mean dryRun?")
    text = event.query_string_parameters.get("dryRun", "false")
    if text not in {"true", "false"}:
        raise Problem(400, "bad-query", "dryRun must be true or false")
    return text == "true"


def plan(messages: Sequence[PushMessage | InvalidMessage], settings: Settings, scope: str) -> Response[str]:
    """Answer a dry run: the parameters of every request, and the warnings of every message."""
    requests: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    faults: list[Fault] = []
    for place, message in enumerate(messages):
        planned = plan_requests(message, settings, scope, place)
        if isinstance(planned, InvalidMessage):
            faults += planned.faults
            continue
        requests += [{"message": place, "parameters": dict(request.parameters)} for request in planned]
        warnings += [{"message": place, **advice.as_json()} for advice in planned[0].message.advice()]
    if faults:
        return problem(_refused("nothing would be sent", faults))
    return _json(200, {"requests": requests, "warnings": warnings})


def outcomes(results: Sequence[Sequence[Outcome]]) -> Response[str]:
    """Answer with what became of each request: 200, 207, or the problem of the failed ones."""
    flat = [outcome for result in results for outcome in result]
    body = {"outcomes": [outcome.as_json() for outcome in flat], "counts": counts_of(flat)}
    failed = [outcome for outcome in flat if not outcome.accepted]
    if not failed:
        return _json(200, body)
    if len(failed) < len(flat):
        return _json(207, body)
    worst = next(kind for kind in STATUS if any(outcome.kind is kind for outcome in failed))
    example = next(outcome for outcome in failed if outcome.kind is worst)
    detail = f"none of {len(flat)} requests was accepted; {worst.value}: {example.result_code}"
    if example.faults:
        detail += ", see errors"
    elif example.result_message:
        detail += f" ({example.result_message})"
    errors = [fault for outcome in failed for fault in outcome.faults]
    if worst is OutcomeKind.REFUSED:
        failure = _refused(detail, errors, **body)
    else:
        failure = Problem(STATUS[worst], worst.value, detail, **body)
    if worst is not OutcomeKind.THROTTLED:
        return problem(failure)
    waits = [outcome.retry_after or RETRY_AFTER_SECONDS for outcome in failed]
    return problem(failure, {"Retry-After": str(math.ceil(max(waits)))})


def handed_over(
    messages: Sequence[PushMessage | InvalidMessage],
    payloads: Sequence[Any],
    scope: str,
    worker: async_dispatch.Worker,
) -> Response[str]:
    """Hand the messages to the worker function and answer with its tasks: 202, or 207 beside failures."""
    chunks: list[async_dispatch.Chunk] = []
    failures: list[Outcome] = []
    for place, (message, payload) in enumerate(zip(messages, payloads, strict=True)):
        try:
            if isinstance(message, InvalidMessage):
                raise message
            chunks += async_dispatch.chunks_of(message, payload, scope, place)
        except InvalidMessage as error:
            failures.append(Outcome.invalid(error.faults, error.targets))
    tasks, not_taken = async_dispatch.hand_over(chunks, worker)
    failures += not_taken
    if not tasks:
        return outcomes([failures])
    body = {
        "tasks": [
            {
                "taskId": task.chunk.task_id,
                "requestId": task.request_id,
                "targets": dict(task.chunk.targets),
            }
            for task in tasks
        ],
        "outcomes": [outcome.as_json() for outcome in failures],
        "counts": {"handedOver": len(tasks), **counts_of(failures)},
    }
    headers = {"Preference-Applied": "respond-async"}
    return Response(207 if failures else 202, "application/json", json.dumps(body), headers=headers)


def health(version: str, context: object) -> Response[str]:
    """Answer whether settings and AccessKey resolve; names variables, shows no values."""
    checks: dict[str, str] = {}
    for name, check in (
        ("settings", Settings.from_env),
        ("credentials", lambda: Credentials.resolve(context)),
    ):
        try:
            check()
            checks[name] = "ok"
        except PushError as error:
            checks[name] = str(error)
    status = "ok" if all(value == "ok" for value in checks.values()) else "misconfigured"
    return _json(200, {"status": status, "version": version, **checks})


def openapi() -> Response[str]:
    """Answer with the OpenAPI document."""
    from openapi import document  # not needed to send a push

    return _json(200, document())


def swagger_page() -> Response[str]:
    """Answer with Swagger UI and the document in one page that loads nothing."""
    from openapi import page  # not needed to send a push

    return Response(200, "text/html; charset=utf-8", page())


def problem(error: Problem, headers: dict[str, str] | None = None) -> Response[str]:
    """Answer with a problem document."""
    document = {
        "type": f"urn:mpaas-push:problem:{error.kind}",
        "title": TITLES[error.kind],
        "status": error.status,
        "detail": error.detail,
        **error.more,
    }
    return Response(error.status, "application/problem+json", json.dumps(document), headers=headers)


def _refused(detail: str, faults: Sequence[Fault], **more: Any) -> Problem:
    return Problem(422, "refused", detail, errors=[fault.as_json() for fault in faults], **more)


def _json(status: int, body: dict[str, Any]) -> Response[str]:
    return Response(status, "application/json", json.dumps(body))
