"""The OpenAPI 3.1 document of the sandbox's own JSON API."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from mpaas_local.mpaas.bodies import (
    ActiveFaults,
    Deleted,
    Entry,
    Health,
    InboxPage,
    OrderedFault,
    Problem,
)
from mpaas_local.mpaas.injected_faults import FAULT_ORDER
from mpaas_local.mpaas.store import OUTCOMES

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_BODIES = (Deleted, Entry, Health, InboxPage, OrderedFault, Problem, ActiveFaults)


def openapi_document() -> dict[str, Any]:
    """Describe `/inbox`, `/faults` and `/health`, but not `POST /`, which is the interface of mPaaS."""
    order = FAULT_ORDER.json_schema(ref_template="#/components/schemas/{model}")
    _, bodies = models_json_schema(
        [(body, "serialization") for body in _BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas = {**order.pop("$defs"), "FaultOrder": order, **bodies["$defs"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mPaaS sandbox",
            "version": "1",
            "description": "The inbox and the injected faults.",
        },
        "paths": {
            "/inbox": {
                "get": {
                    "summary": "Received requests, newest first.",
                    "parameters": [
                        _query("limit", {"type": "integer", "minimum": 0, "maximum": 1000, "default": 50}),
                        _query("offset", {**_COUNT, "default": 0}),
                        _query("after", _COUNT, "Only entries with a larger seq."),
                        _query("outcome", {"enum": list(OUTCOMES)}),
                        _query("target", _TEXT, "A target in TargetMsgkey."),
                        _query("text", _TEXT, "Part of the task name, title or content; ignores case."),
                    ],
                    "responses": {**_response("A page of the inbox.", "InboxPage"), **_problem("422")},
                },
                "delete": {
                    "summary": "Delete all entries and message ids.",
                    "responses": _response("The number of deleted entries.", "Deleted"),
                },
            },
            "/inbox/{seq}": {
                "get": {
                    "summary": "One received request.",
                    "parameters": [{"name": "seq", "in": "path", "required": True, "schema": _COUNT}],
                    "responses": {**_response("The entry.", "Entry"), **_problem("404"), **_problem("422")},
                }
            },
            "/faults": {
                "get": {
                    "summary": "Active faults, oldest first.",
                    "responses": _response("The faults.", "ActiveFaults"),
                },
                "post": {
                    "summary": "Inject a fault. Without next and rate it affects one request.",
                    "requestBody": {"required": True, "content": _json("FaultOrder")},
                    "responses": {
                        **_response("The fault, with id, remaining and struck.", "OrderedFault", "201"),
                        **_problem("422"),
                    },
                },
                "delete": {
                    "summary": "Cancel all faults.",
                    "responses": _response("The number of cancelled faults.", "Deleted"),
                },
            },
            "/health": {
                "get": {
                    "summary": "Health check.",
                    "responses": _response("The sandbox is running.", "Health"),
                },
            },
        },
        "components": {"schemas": schemas},
    }


def _ref(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(schema)}}


def _response(description: str, schema: str, status: str = "200") -> dict[str, Any]:
    return {status: {"description": description, "content": _json(schema)}}


def _problem(status: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {status: {"description": "An error.", "content": content}}


def _query(name: str, schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}
