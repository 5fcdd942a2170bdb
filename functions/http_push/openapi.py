"""The OpenAPI 3.1 description of this function, and a page that shows it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from aws_lambda_powertools.event_handler.openapi.swagger_ui import generate_swagger_html

from mpaas_push import OutcomeKind, PushMessage, __version__
from openapi_campaigns import campaign_paths, campaign_schemas

__all__ = ["document", "page"]

MESSAGE = {
    "taskName": "order-shipped",
    "title": "Your order is on its way",
    "content": "It will arrive tomorrow.",
    "deliveryType": 3,
    "targets": ["user-1", "user-2"],
    "expiredSeconds": 600,
}
OUTCOME = {
    "outcome": "accepted",
    "targets": {
        "user-1": "d5b7a14f26a3ca1dff45f2e58d0ac2a1",
        "user-2": "0e5f4a0a43c2ce0c1a1e3b8be0f5a0f4",
    },
    "requestId": "B589F4F4-6D3E-4D0B-9E5C-2F5B3C1F7A10",
    "resultCode": "OK",
    "resultMessage": "SUCCESS",
    "taskId": None,
    "attempts": 1,
}
INVALID = {
    "type": "urn:mpaas-push:problem:refused",
    "title": "The push is invalid or was refused",
    "status": 422,
    "detail": "the request was not accepted; refused: InvalidMessage, see errors",
    "errors": [{"field": "title", "message": "is required"}],
    "outcomes": [
        {
            "outcome": "refused",
            "targets": {"user-1": None},
            "requestId": None,
            "resultCode": "InvalidMessage",
            "resultMessage": "title: is required",
            "taskId": None,
            "attempts": 0,
            "errors": [{"field": "title", "message": "is required"}],
        }
    ],
    "counts": {"refused": 1},
    "warnings": [],
}


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    message = PushMessage.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = {
        **message.pop("$defs", {}),
        "PushMessage": message,
        "Outcome": _OUTCOME,
        "Outcomes": _OUTCOMES,
        "Tasks": _TASKS,
        "Plan": _PLAN,
        "Problem": _PROBLEM,
        "Health": _HEALTH,
        **campaign_schemas(),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mpaas-push",
            "version": __version__,
            "description": "Sends pushes through mPaaS PushSimple and returns their outcomes.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/v1/pushes": {"post": _PUSH},
            **campaign_paths(_problem),
            "/v1/health": {
                "get": _get("health", "Whether settings are valid and an AccessKey found", _content("Health"))
            },
            "/openapi.json": {"get": _get("openapi", "This description", {"application/json": {}})},
            "/docs": {"get": _get("docs", "A page to read this description and try it", {"text/html": {}})},
        },
        "components": {"schemas": schemas, "securitySchemes": _SECURITY},
        "security": [{"signature": []}, {"jwt": []}],
    }


def page() -> str:
    """Return Swagger UI with document, script and style inlined: it loads nothing else."""
    assets = files("aws_lambda_powertools.event_handler.openapi") / "swagger_ui"
    script = (assets / "swagger-ui-bundle.min.js").read_text("utf-8")
    style = (assets / "swagger-ui.min.css").read_text("utf-8")
    # "</" would end the script element that contains the document.
    spec = json.dumps(document(), ensure_ascii=False).replace("</", "<\\/")
    return generate_swagger_html(spec, script, style, "", None)


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(schema)}}


def _get(operation: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": content},
            "400": _problem("A query parameter, although this route has none"),
        },
    }


def _problem(description: str, example: Any = None, **members: Any) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": _reference("Problem")}
    if example is not None:
        media["example"] = example
    return {"description": description, "content": {"application/problem+json": media}, **members}


_FAULTS = {
    "type": "array",
    "description": "At most 100 in one response",
    "items": {
        "type": "object",
        "required": ["field", "message"],
        "additionalProperties": False,
        "properties": {
            "field": {"type": "string", "description": "Path of the field, such as strategyContent.endTime"},
            "message": {"type": "string", "description": "What is allowed, and what to do"},
            "value": {"description": "The faulty value, if it is helpful and harmless"},
        },
    },
}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_OMITTED = {"type": "integer", "minimum": 1}
_WARNINGS = {
    "type": "array",
    "description": "What channels may truncate or refuse; the first 100 warnings",
    "items": {
        "type": "object",
        "required": ["index", "rule", "field", "message"],
        "additionalProperties": False,
        "properties": {
            "index": {"type": "integer", "minimum": 0, "description": "Index of the message in the request"},
            "rule": {"type": "string", "description": "Stable name of the rule"},
            "field": {"type": "string", "description": "Path of the field; empty for the whole message"},
            "message": {"type": "string", "description": "What is wrong, its effect, and what to do"},
            "channel": {"type": "string", "description": "The channel concerned"},
            "limit": {"type": "integer"},
            "actual": {"type": "integer", "description": "What the message has, in the unit of the limit"},
        },
    },
}
_OUTCOME: dict[str, Any] = {
    "type": "object",
    "description": "The result of one request, which has up to ten targets of one message.",
    "required": ["outcome", "targets", "requestId", "resultCode", "resultMessage", "taskId", "attempts"],
    "additionalProperties": False,
    "properties": {
        "outcome": {"enum": [kind.value for kind in OutcomeKind]},
        "targets": {
            "type": "object",
            "additionalProperties": _TEXT_OR_NULL,
            "description": "Message id of each target",
        },
        "requestId": {**_TEXT_OR_NULL, "description": "Request id of mPaaS"},
        "resultCode": _TEXT_OR_NULL,
        "resultMessage": _TEXT_OR_NULL,
        "taskId": {**_TEXT_OR_NULL, "description": "Id of a timed or loop task"},
        "attempts": {"type": "integer", "minimum": 0},
        "retryAfter": {"type": "number", "description": "Seconds to wait before trying again"},
        "errors": _FAULTS,
        "omittedErrors": {**_OMITTED, "description": "Faults that are not listed"},
    },
}
_SECURITY = {
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "For a trigger with `authType: function`: `ACS3-HMAC-SHA256 Credential=…,"
        "SignedHeaders=x-acs-date;x-acs-security-token,Signature=…`, together with these two headers."
        " Function Compute verifies it; `mpaas_push.http_trigger_auth.HttpTriggerAuth` creates it.",
    },
    "jwt": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "For a trigger with `authType: jwt`: a token that Function Compute verifies with your"
        " keys.",
    },
}
"""What Function Compute checks before it calls the function; the trigger determines which applies."""
_COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}
_OUTCOMES = {
    "type": "object",
    "required": ["outcomes", "counts", "warnings"],
    "additionalProperties": False,
    "properties": {
        "outcomes": {"type": "array", "items": _reference("Outcome")},
        "counts": {**_COUNTS, "description": "Number of outcomes by name"},
        "warnings": _WARNINGS,
    },
}
_TASKS = {
    "type": "object",
    "required": ["tasks", "outcomes", "counts", "warnings"],
    "additionalProperties": False,
    "properties": {
        "tasks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["taskId", "requestId", "targets"],
                "additionalProperties": False,
                "properties": {
                    "taskId": {"type": "string", "description": "Id of the worker's task, to look it up"},
                    "requestId": {
                        **_TEXT_OR_NULL,
                        "description": "Id of the invocation; null if an earlier identical request handed it"
                        " over",
                    },
                    "targets": {
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                        "description": "Message id of each target",
                    },
                    "repeated": {
                        "type": "array",
                        "description": "Targets of later messages that are already in `targets`",
                        "items": {
                            "type": "object",
                            "required": ["message", "targets"],
                            "additionalProperties": False,
                            "properties": {
                                "message": {"type": "integer", "description": "Index of the message, from 0"},
                                "targets": {"type": "object", "additionalProperties": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
        "outcomes": {
            "type": "array",
            "items": _reference("Outcome"),
            "description": "Outcomes of what was not handed over",
        },
        "counts": {**_COUNTS, "description": "Tasks (`handedOver`), and outcomes by name"},
        "warnings": _WARNINGS,
    },
}
_PLAN = {
    "type": "object",
    "description": "What would be sent.",
    "required": ["requests", "warnings"],
    "additionalProperties": False,
    "properties": {
        "requests": {
            "type": "array",
            "description": "The first requests, up to about 1 MiB",
            "items": {
                "type": "object",
                "required": ["message", "parameters"],
                "additionalProperties": False,
                "properties": {
                    "message": {"type": "integer", "description": "Index of the message, from 0"},
                    "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "omittedRequests": {**_OMITTED, "description": "Requests that are not listed"},
        "warnings": _WARNINGS,
    },
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": _FAULTS,
        "outcomes": {"type": "array", "items": _reference("Outcome")},
        "omittedErrors": {**_OMITTED, "description": "Faults that are not listed"},
        "counts": _COUNTS,
        "warnings": _WARNINGS,
    },
}
_HEALTH = {
    "type": "object",
    "required": ["status", "version", "settings", "credentials"],
    "additionalProperties": False,
    "properties": {
        "status": {
            "enum": ["ok", "degraded", "misconfigured"],
            "description": "degraded: the ledger is temporarily down; misconfigured: an operator must act",
        },
        "version": {"type": "string"},
        "settings": {"type": "string", "description": "ok, or what is wrong"},
        "credentials": {"type": "string", "description": "ok, or what is missing"},
        "ledger": {
            "type": "string",
            "description": "With a ledger: ok, or why it is misconfigured or temporarily down",
        },
    },
}
_PUSH: dict[str, Any] = {
    "operationId": "push",
    "summary": "Send a push, or several",
    "description": "Each request to mPaaS has up to ten targets; the response has the outcome of each.",
    "parameters": [
        {
            "name": "dryRun",
            "in": "query",
            "description": "true: send nothing; return the parameters of each request and the warnings",
            "schema": {"type": "boolean", "default": False},
        },
        {
            "name": "Prefer",
            "in": "header",
            "description": "respond-async: hand the push to a worker function and do not wait (RFC 7240)",
            "schema": {"type": "string"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "With the same key, a repeated request gives each target the same message id.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _reference("PushMessage"),
                        {
                            "type": "object",
                            "required": ["messages"],
                            "additionalProperties": False,
                            "properties": {
                                "messages": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": _reference("PushMessage"),
                                }
                            },
                        },
                    ]
                },
                "examples": {
                    "one": {"summary": "One message", "value": MESSAGE},
                    "several": {"summary": "Several messages", "value": {"messages": [MESSAGE, MESSAGE]}},
                },
            }
        },
    },
    "responses": {
        "200": {
            "description": "All accepted; with dryRun, what would be sent",
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_reference("Outcomes"), _reference("Plan")]},
                    "example": {"outcomes": [OUTCOME], "counts": {"accepted": 1}, "warnings": []},
                }
            },
        },
        "202": {
            "description": "Handed to a worker function: `Prefer: respond-async`, or many targets",
            "headers": {"Preference-Applied": {"schema": {"const": "respond-async"}}},
            "content": _content("Tasks"),
        },
        "207": {
            "description": "Some accepted or handed over: check each outcome",
            "content": {
                "application/json": {"schema": {"oneOf": [_reference("Outcomes"), _reference("Tasks")]}}
            },
        },
        "400": _problem("Not JSON, or an invalid header or query"),
        "409": _problem("This Idempotency-Key was used with another body"),
        "405": _problem(
            "A method other than POST",
            headers={"Allow": {"description": "The allowed methods", "schema": {"type": "string"}}},
        ),
        "413": _problem("The body is too long, or has too many messages or targets"),
        "415": _problem(
            "No media type, or one other than application/json; a charset other than UTF-8; an encoded body"
        ),
        "422": _problem("Invalid, or refused by mPaaS: nothing was sent or accepted", INVALID),
        "500": _problem("Keys, permission or a setting are wrong"),
        "502": _problem("Sent, outcome unknown: sending again may show the push twice"),
        "503": _problem(
            "Not accepted for now; safe to send again",
            headers={"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}},
        ),
    },
}
