"""The OpenAPI 3.1 document of the sandbox's own JSON API."""

from __future__ import annotations

from typing import Any

from mpaas_local.mpaas.faults import FAULT_ORDER
from mpaas_local.mpaas.store import OUTCOMES

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}


def openapi_document() -> dict[str, Any]:
    """Describe `/inbox`, `/faults` and `/health`; `POST /` is mPaaS's own interface and not described
    here.
    """
    order = FAULT_ORDER.json_schema(ref_template="#/components/schemas/{model}")
    schemas = {**order.pop("$defs"), "FaultOrder": order, **_schemas()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mPaaS sandbox",
            "version": "1",
            "description": "The inbox and the ordered faults.",
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
                        _query("text", _TEXT, "Part of task name, title or content, whatever its case."),
                    ],
                    "responses": {**_answer("A page of the inbox.", "InboxPage"), **_problem("422")},
                },
                "delete": {
                    "summary": "Forget every entry and message id.",
                    "responses": _answer("How many entries there were.", "Deleted"),
                },
            },
            "/inbox/{seq}": {
                "get": {
                    "summary": "One received request.",
                    "parameters": [{"name": "seq", "in": "path", "required": True, "schema": _COUNT}],
                    "responses": {**_answer("The entry.", "Entry"), **_problem("404"), **_problem("422")},
                }
            },
            "/faults": {
                "get": {
                    "summary": "Orders that may still strike, oldest first.",
                    "responses": _answer("The orders.", "Standing"),
                },
                "post": {
                    "summary": "Order a fault. Without next and rate it strikes the next request only.",
                    "requestBody": {"required": True, "content": _json("FaultOrder")},
                    "responses": {
                        **_answer("The order with id, remaining and struck.", "Order", "201"),
                        **_problem("422"),
                    },
                },
                "delete": {
                    "summary": "Cancel all orders.",
                    "responses": _answer("How many orders there were.", "Deleted"),
                },
            },
            "/health": {
                "get": {"summary": "Whether it runs.", "responses": _answer("It does.", "Health")},
            },
        },
        "components": {"schemas": schemas},
    }


def _schemas() -> dict[str, Any]:
    answer = {"httpStatus": {"type": ["integer", "null"]}, "code": _TEXT_OR_NULL, "message": _TEXT_OR_NULL}
    pair = {"target": _TEXT, "messageId": _TEXT, "repeated": {"type": "boolean"}}
    entry = {
        "seq": _COUNT,
        "receivedAt": {"type": "string", "format": "date-time"},
        "requestId": _TEXT,
        "version": _TEXT_OR_NULL,
        "signature": {"enum": ["rpc-v1", "acs3", None]},
        "accessKeyId": _TEXT_OR_NULL,
        "outcome": {"enum": list(OUTCOMES)},
        "answer": _object({**answer, "connection": {"enum": ["kept", "reset", "cut", "left"]}}),
        "fault": {"type": ["object", "null"]},
        "taskId": _TEXT_OR_NULL,
        "parameters": {"type": ["object", "null"], "additionalProperties": _TEXT},
        "targets": {"type": "array", "items": _object(pair)},
        "notes": {"type": "array", "items": _TEXT},
        "query": _TEXT,
        "body": _TEXT,
        "trigger": _TEXT_OR_NULL,
    }
    order = {"id": _COUNT, "kind": _TEXT, "remaining": {"type": ["integer", "null"]}, "struck": _COUNT}
    problem = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT}
    return {
        "Entry": _object(entry),
        "InboxPage": _object({"total": _COUNT, "entries": {"type": "array", "items": _ref("Entry")}}),
        "Order": _object(order),
        "Standing": _object({"faults": {"type": "array", "items": _ref("Order")}}),
        "Deleted": _object({"deleted": _COUNT}),
        "Health": _object({"status": {"const": "ok"}, "entries": _COUNT}),
        "Problem": _object(problem),
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _ref(schema)}}


def _answer(description: str, schema: str, status: str = "200") -> dict[str, Any]:
    return {status: {"description": description, "content": _json(schema)}}


def _problem(status: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    return {status: {"description": "What is wrong.", "content": content}}


def _query(name: str, schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}
