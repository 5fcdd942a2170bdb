"""An HTTP request in, one PushSimple request for every ten targets out, their outcomes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import answers
import async_dispatch
from answers import Problem
from idempotency import KeyMemory
from mpaas_push import Invocation, Misconfigured, OutcomeKind, PushError, __version__
from mpaas_push.functions import Functions
from mpaas_push.message.reading import messages_of, payloads_of
from mpaas_push.triggers.http import HttpResolver
from mpaas_push.warm import shared_client

if TYPE_CHECKING:
    from mpaas_push.triggers.http import Response

app = HttpResolver()
keys = KeyMemory()


def handler(event: bytes, context: object) -> str:
    """Answer an event of the HTTP trigger."""
    return app.handle(event, context)


@app.post("/v1/pushes")
def push() -> Response[str]:
    """Send the message or messages of the body; with `dryRun=true` show what would be sent."""
    client, event = shared_client(), app.current_event
    payload = answers.json_of(event, client.settings.max_body)
    key = answers.idempotency_key(event)
    invocation = Invocation.of(app.lambda_context)
    messages = messages_of(payload, client.settings)
    scope = f"http:{key}" if key else invocation.request_id
    if answers.is_dry_run(event):
        return answers.plan(messages, client.settings, scope)
    known = keys.compared(key, event.body_bytes, client.ledger) if key else "new"
    if known == "other":
        raise Problem(409, "conflict", "this Idempotency-Key came with another body: use a new key")
    if async_dispatch.is_wanted(event, messages, client.settings):
        functions = Functions(client.settings, invocation.credentials)
        worker = async_dispatch.Worker(client.settings.worker_function or "", functions, invocation)
        answer = answers.handed_over(messages, payloads_of(payload), scope, worker)
        all_invalid = answer.status_code == answers.STATUS[OutcomeKind.REFUSED]
    else:
        results = client.send_all(messages, scope=scope, invocation=invocation)
        answer = answers.outcomes(results)
        all_invalid = all(outcome.faults for result in results for outcome in result)
    if key and known == "new" and all_invalid:
        keys.forget(key, client.ledger)  # the corrected body may come under the same key
    return answer


@app.get("/v1/health")
def health() -> Response[str]:
    """Say whether settings and AccessKey can be found; shows neither."""
    return answers.health(__version__, app.lambda_context)


@app.get("/openapi.json")
def openapi() -> Response[str]:
    """Describe this function as OpenAPI 3.1."""
    return answers.openapi()


@app.get("/docs")
def docs() -> Response[str]:
    """Show a page to read the description and to try it, complete without the internet."""
    return answers.swagger_page()


@app.exception_handler([PushError])  # type: ignore[untyped-decorator]
def problem(error: PushError) -> Response[str]:
    """Say what went wrong as problem+json."""
    if isinstance(error, Misconfigured):
        error = Problem(500, "misconfigured", str(error))
    return answers.problem(error if isinstance(error, Problem) else Problem(400, "unreadable", str(error)))


@app.not_found
def not_found(_: Exception) -> Response[str]:
    """Name the routes there are."""
    return answers.problem(Problem(404, "not-found", answers.ROUTES))
