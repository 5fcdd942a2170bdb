"""HTTP requests: each becomes PushSimple requests of up to ten targets; the response lists their outcomes."""

from __future__ import annotations

import gc

gc.disable()  # collecting garbage during imports costs a tenth of a cold start

import logging
from typing import TYPE_CHECKING

import http_request
import responses
from idempotency import KeyMemory
from mpaas_push import (
    InvalidMessage,
    Invocation,
    Misconfigured,
    Outcome,
    OutcomeKind,
    PushError,
    PushMessage,
    __version__,
)
from mpaas_push.campaign.errors import CampaignError
from mpaas_push.errors import InvocationRefused, InvocationUnknown
from mpaas_push.message.reading import warnings_of
from mpaas_push.task import absolute_scope
from mpaas_push.triggers.http import HttpResolver
from mpaas_push.warm import shared_client
from problem import Problem

gc.freeze()
gc.enable()

if TYPE_CHECKING:
    from collections.abc import Sequence

    import async_dispatch
    from mpaas_push import PushClient
    from mpaas_push.task import PushTask
    from mpaas_push.triggers.http import Response

app = HttpResolver()
keys = KeyMemory()
logger = logging.getLogger("mpaas_push.http_push")


_MAY_HAVE_BEEN_SENT = {OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN}


def handler(event: bytes, context: object) -> str:
    """Respond to an event of the HTTP trigger."""
    return app.handle(event, context)


@app.post("/v1/pushes")
def push() -> Response[str]:
    """Send the messages of the body; with `dryRun=true` show what would be sent."""
    client, event = shared_client(), app.current_event
    dry_run = http_request.is_dry_run(event)
    key = http_request.idempotency_key(event)
    payload = http_request.json_of(event, client.settings)
    invocation = Invocation.of(app.lambda_context)
    event_scope = f"http:{key}" if key else f"http-request:{invocation.request_id}"
    scope = absolute_scope(invocation.sender, event_scope)
    tasks = http_request.tasks_of_body(payload, client.settings, scope)
    if dry_run:
        return responses.plan(tasks, client.settings)
    comparison = "new"
    if key:
        comparison = keys.compare(scope, tasks, client.settings, client.ledger)
    if comparison == "other" and any(isinstance(task.message, PushMessage) for task in tasks):
        text = (
            "this Idempotency-Key was used with another body: use a new key; if a body was accepted in part, "
            "only its refused messages may change, each at its index"
        )
        raise Problem(409, "conflict", text)
    if comparison == "unknown":
        text = "not sent: the ledger cannot look up this Idempotency-Key; safe to send again"
        raise Problem(503, "throttled", text, headers={"Retry-After": "1"})
    may_have_been_sent = False
    refused: set[int] = set()
    try:
        warnings = warnings_of((task.message for task in tasks), client.settings)
        if warnings:
            fields = {"warnings": warnings, "request_id": invocation.request_id}
            logger.warning("warnings about the messages of this request: %d", len(warnings), extra=fields)
        if _is_for_worker(tasks, client):
            handed_over, outcomes, refused = _hand_over(tasks, client, invocation, scope)
        else:
            handed_over = []
            outcomes, refused = _send(tasks, client, invocation)
        kinds = {outcome.kind for outcome in outcomes}
        may_have_been_sent = bool(handed_over) or not kinds.isdisjoint(_MAY_HAVE_BEEN_SENT)
    finally:
        # A corrected body may have the same key.
        if key and comparison == "new" and not may_have_been_sent:
            keys.forget(scope, client.ledger)
        elif key and comparison in {"new", "corrected"} and refused:
            keys.allow_correction(scope, tasks, refused, client.settings, client.ledger)
    return responses.tasks(handed_over, outcomes, warnings)


def _send(
    tasks: Sequence[PushTask], client: PushClient, invocation: Invocation
) -> tuple[list[Outcome], set[int]]:
    """Send the messages; return their outcomes, and the indexes of those that were refused completely."""
    results = client.send_tasks(tasks, invocation)
    refused = {
        index
        for index, result in enumerate(results)
        if all(outcome.kind is OutcomeKind.REFUSED for outcome in result)
    }
    return [outcome for result in results for outcome in result], refused


def _is_for_worker(tasks: Sequence[PushTask], client: PushClient) -> bool:
    settings = client.settings
    if settings.worker_function is None:
        return False
    if http_request.prefers_async(app.current_event):
        return True
    return http_request.target_count(tasks) > settings.worker_targets


def _hand_over(
    tasks: Sequence[PushTask], client: PushClient, invocation: Invocation, scope: str
) -> tuple[list[async_dispatch.AcceptedChunk], list[Outcome], set[int]]:
    """Hand the messages to the worker.

    Returns:
        The chunks that it accepted, the outcomes of the rest, and the indexes of messages that were refused.
    """
    import async_dispatch  # most cold starts send and hand nothing over
    from mpaas_push.functions import Functions

    parts: list[async_dispatch.MessagePart] = []
    outcomes: list[Outcome] = []
    refused: set[int] = set()
    for index, task in enumerate(tasks):
        try:
            parts += async_dispatch.parts_of(task, index)
        except InvalidMessage as error:
            outcomes.append(Outcome.invalid(error.faults, error.targets))
            refused.add(index)
    functions = Functions(client.settings, invocation.credentials)
    worker = async_dispatch.Worker(client.settings.worker_function or "", functions, invocation)
    accepted, failed = async_dispatch.hand_over(async_dispatch.chunks_of(parts, scope), worker)
    return accepted, [*outcomes, *failed], refused


@app.post("/v1/campaigns")
def start_campaign() -> Response[str]:
    """Start the campaign in the body; with `dryRun=true` show what it would send."""
    event = app.current_event
    dry_run = http_request.is_dry_run(event)
    document = http_request.document_of(event, shared_client().settings)
    import campaigns

    return campaigns.start(app.lambda_context, dry_run=dry_run, document=document)


@app.get("/v1/campaigns")
def list_campaigns() -> Response[str]:
    """List the latest campaigns."""
    http_request.check_no_query(app.current_event)
    import campaigns

    return campaigns.list_latest(app.lambda_context)


@app.get("/v1/campaigns/<campaign_id>")
def show_campaign(campaign_id: str) -> Response[str]:
    """Show state, counts and pace of a campaign."""
    http_request.check_no_query(app.current_event)
    import campaigns

    return campaigns.show(campaign_id, app.lambda_context)


@app.get("/v1/campaigns/<campaign_id>/report")
def report_campaign(campaign_id: str) -> Response[str]:
    """Return the report of a campaign, a large one in parts."""
    after = http_request.report_after(app.current_event)
    import campaigns

    return campaigns.report(campaign_id, app.lambda_context, after=after)


@app.patch("/v1/campaigns/<campaign_id>")
def change_campaign(campaign_id: str) -> Response[str]:
    """Change the pace of a campaign."""
    event = app.current_event
    http_request.check_no_query(event)
    document = http_request.json_of(event, shared_client().settings, example='{"pace": 500}')
    import campaigns

    return campaigns.change(campaign_id, app.lambda_context, document=document)


@app.post("/v1/campaigns/<campaign_id>/pause")
def pause_campaign(campaign_id: str) -> Response[str]:
    """Stop every piece of a campaign after its current block."""
    http_request.check_no_query(app.current_event)
    import campaigns

    return campaigns.pause(campaign_id, app.lambda_context)


@app.post("/v1/campaigns/<campaign_id>/resume")
def resume_campaign(campaign_id: str) -> Response[str]:
    """Continue a campaign, at a new pace if the body names one."""
    event = app.current_event
    http_request.check_no_query(event)
    document = http_request.json_of(event, shared_client().settings) if event.body_bytes else {}
    import campaigns

    return campaigns.resume(campaign_id, app.lambda_context, document=document)


@app.post("/v1/campaigns/<campaign_id>/cancel")
def cancel_campaign(campaign_id: str) -> Response[str]:
    """Cancel the rest of a campaign."""
    http_request.check_no_query(app.current_event)
    import campaigns

    return campaigns.cancel(campaign_id, app.lambda_context)


@app.get("/v1/health")
def health() -> Response[str]:
    """Report whether settings are valid, an AccessKey is found and the ledger works; shows no values."""
    http_request.check_no_query(app.current_event)
    return responses.health(__version__, app.lambda_context)


@app.get("/openapi.json")
def openapi() -> Response[str]:
    """Describe this function as OpenAPI 3.1."""
    http_request.check_no_query(app.current_event)
    return responses.openapi()


@app.get("/docs")
def docs() -> Response[str]:
    """Show a page to read the description and try the API; it loads nothing else."""
    http_request.check_no_query(app.current_event)
    return responses.swagger_page()


@app.exception_handler([CampaignError, InvocationRefused, InvocationUnknown])  # type: ignore[untyped-decorator]  # no types
def campaign_problem(error: Exception) -> Response[str]:
    """Report what is wrong with a campaign, or why it could not be started."""
    import campaigns

    return responses.problem(campaigns.problem_of(error))


@app.exception_handler([PushError])  # type: ignore[untyped-decorator]  # no types
def problem(error: PushError) -> Response[str]:
    """Report an error as problem+json."""
    if isinstance(error, Misconfigured):
        error = Problem(500, "misconfigured", str(error))
    return responses.problem(error if isinstance(error, Problem) else Problem(400, "unreadable", str(error)))


@app.exception_handler([Exception])  # type: ignore[untyped-decorator]  # no types
def unexpected(error: Exception) -> Response[str]:
    """Report a failure without its text, which may quote a secret."""
    logger.error("%s while answering a request", type(error).__name__, extra={"at": _locations(error)})
    return responses.problem(Problem(500, "unexpected", f"{type(error).__name__}: see the function's log"))


@app.not_found
def not_found(_: Exception) -> Response[str]:
    """Say where the routes are listed, or name the methods of the requested one."""
    if allowed := app.allowed_methods:
        methods = ", ".join(allowed)
        headers = {"Allow": methods}
        return responses.problem(Problem(405, "method", f"this route allows {methods}", headers=headers))
    text = "there is no such route: POST /v1/pushes sends pushes, GET /openapi.json lists all routes"
    return responses.problem(Problem(404, "not-found", text))


def _locations(error: Exception) -> list[str]:
    """Return where an error was raised: lines of code, no values."""
    lines, frame = [], error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        lines.append(f"{code.co_filename}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    return lines[-10:]
