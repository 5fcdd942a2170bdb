"""Sends the messages in the body of an HTTP request; the response lists the outcome of each target."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from mpaas_push import Invocation, OutcomeKind, PushError
from mpaas_push.json_text import read_json
from mpaas_push.message.reading import messages_of
from mpaas_push.triggers.http import HttpResolver, Response
from mpaas_push.warm import shared_client

app = HttpResolver()


def handler(event: bytes, context: object) -> str:
    """Handle an event of the HTTP trigger."""
    return app.handle(event, context)


@app.post("/")
def push() -> Response[str]:
    """Send the messages in the body: 200 if all are accepted, otherwise 207."""
    client, invocation = shared_client(), Invocation.of(app.lambda_context)
    messages = messages_of(read_json(app.current_event.body_bytes), client.settings)
    scope = f"{invocation.sender}:{invocation.request_id}"
    results = client.send_all(messages, scope=scope, invocation=invocation)
    outcomes = [outcome for result in results for outcome in result]
    accepted = all(outcome.kind is OutcomeKind.ACCEPTED for outcome in outcomes)
    status = HTTPStatus.OK if accepted else HTTPStatus.MULTI_STATUS
    return _json(status, {"outcomes": [outcome.as_json() for outcome in outcomes]})


@app.exception_handler([PushError])  # type: ignore[untyped-decorator]  # Powertools has no types for it
def problem(error: PushError) -> Response[str]:
    """Respond with the error in the request."""
    return _json(HTTPStatus.BAD_REQUEST, {"detail": str(error)})


def _json(status: HTTPStatus, body: Any) -> Response[str]:
    return Response(status, "application/json", json.dumps(body, ensure_ascii=False))
