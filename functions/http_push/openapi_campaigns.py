"""The campaign routes in the OpenAPI description."""

from __future__ import annotations

from typing import Any

from mpaas_push.campaign.model import MAX_PACE, campaign_schema
from mpaas_push.campaign.state import FATES, RATE_SECONDS

__all__ = ["campaign_paths", "campaign_schemas"]

CAMPAIGN = {
    "campaign": "double11-2026",
    "message": {
        "taskName": "double11",
        "title": "{name}, it starts at eight",
        "content": "Half price on everything.",
        "deliveryType": 3,
        "expiredSeconds": 14400,
    },
    "audience": {"bucket": "marketing", "key": "audiences/double11.csv", "target": "user_id"},
    "pace": 500,
    "window": {"from": "08:00", "to": "21:00", "zone": "Asia/Shanghai"},
}
_STATES = ("running", "waiting", "paused", "done", "incomplete", "cancelled")
_NUMBER_OR_NULL = {"type": ["integer", "null"]}
_PACE = "Targets a second over all instances; null for no limit"
_MOMENT = {"type": "string", "format": "date-time"}


def campaign_schemas() -> dict[str, Any]:
    """Return the schemas of campaigns by name."""
    document = campaign_schema()
    definitions: dict[str, Any] = _relocate_references(document.pop("$defs"))
    return definitions | {
        "Campaign": _relocate_references(document),
        "CampaignState": _STATE,
        "CampaignStarted": {
            **_STATE,
            "required": [*_STATE["required"], "warnings"],
            "properties": {**_STATE["properties"], "warnings": _WARNINGS},
        },
        "CampaignDetail": {
            **_STATE,
            "required": [*_STATE["required"], *_WORKING, "results", "document"],
            "properties": {
                **_STATE["properties"],
                **_WORKING,
                "results": {"type": "string", "description": "Bucket and prefix of its results"},
                "document": {"$ref": "#/components/schemas/Campaign"},
            },
        },
        "Campaigns": {
            "type": "object",
            "required": ["campaigns"],
            "additionalProperties": False,
            "properties": {
                "campaigns": {
                    "type": "array",
                    "description": "The latest 100, the newest first",
                    "items": {"$ref": "#/components/schemas/CampaignState"},
                }
            },
        },
        "CampaignPreview": _PREVIEW,
    }


def campaign_paths(problem: Any) -> dict[str, Any]:
    """Return the paths of campaigns.

    Args:
        problem: Returns the response that describes a problem, given its description.
    """
    problems = {
        "400": problem("A body that is not JSON, or a query parameter that the route does not have"),
        "500": problem("Keys, permission or a setting are wrong, or there is no Redis"),
        "503": problem("Not possible for now; safe to send again"),
    }
    unknown = {"404": problem("There is no such campaign")}
    state = _response("State, counts and pace", "CampaignState")
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}

    def steer(operation: str, summary: str, **members: Any) -> dict[str, Any]:
        responses = {"200": state, **unknown, **problems, **members.pop("responses", {})}
        post = {"operationId": operation, "summary": summary, **members, "responses": responses}
        return {"parameters": [parameter], "post": post}

    wrong_pace = {
        "413": problem("The body is too long"),
        "415": problem("A media type other than JSON"),
        "422": problem("The pace is invalid, or the body has an unknown field; nothing was changed"),
    }

    return {
        "/v1/campaigns": {
            "get": {
                "operationId": "listCampaigns",
                "summary": "List the latest campaigns",
                "responses": {"200": _response("The campaigns", "Campaigns"), **problems},
            },
            "post": {
                "operationId": "startCampaign",
                "summary": "Start a campaign",
                "description": "Idempotent: starting the same campaign again changes nothing.",
                "parameters": [
                    {
                        "name": "dryRun",
                        "in": "query",
                        "description": "true: start nothing; return what would be sent",
                        "schema": {"type": "boolean", "default": False},
                    }
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        media: {"schema": {"$ref": "#/components/schemas/Campaign"}, "example": CAMPAIGN}
                        for media in ("application/json", "application/yaml")
                    },
                },
                "responses": {
                    "200": {
                        "description": "It was started before; with dryRun, what would be sent",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "oneOf": [
                                        {"$ref": "#/components/schemas/CampaignStarted"},
                                        {"$ref": "#/components/schemas/CampaignPreview"},
                                    ]
                                }
                            }
                        },
                    },
                    "201": _response("Started", "CampaignStarted"),
                    "409": problem("The id was used with other content or another file"),
                    "413": problem("The body is too long"),
                    "415": problem("A media type other than JSON or YAML"),
                    "422": problem("The campaign or its audience is invalid; nothing was started"),
                    **problems,
                },
            },
        },
        "/v1/campaigns/{id}": {
            "parameters": [parameter],
            "get": {
                "operationId": "showCampaign",
                "summary": "Show a campaign",
                "responses": {
                    "200": _response("State, counts, pace and document", "CampaignDetail"),
                    **unknown,
                    **problems,
                },
            },
            "patch": {
                "operationId": "changePace",
                "summary": "Change the pace of a campaign",
                "requestBody": {"required": True, "content": _pace_change(["pace"])},
                "responses": {
                    "200": state,
                    "409": problem("The campaign is done or was cancelled; nothing was changed"),
                    **wrong_pace,
                    **unknown,
                    **problems,
                },
            },
        },
        "/v1/campaigns/{id}/report": {
            "parameters": [parameter],
            "get": {
                "operationId": "reportCampaign",
                "summary": "Read the report of a campaign",
                "description": "The rows that were not accepted, or all with `report: all`, in the order of"
                " the file. A large report is returned in parts of a few MB: the `Link` header refers to the"
                " next part.",
                "parameters": [
                    {
                        "name": "after",
                        "in": "query",
                        "description": "Byte offset, from the `Link` of the previous part",
                        "schema": {"type": "integer", "minimum": 0},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "CSV; the first part begins with the column names",
                        "headers": {
                            "Link": {
                                "description": 'The next part, as `<path>; rel="next"`; the last has none',
                                "schema": {"type": "string"},
                            }
                        },
                        "content": {"text/csv": {"schema": {"type": "string"}}},
                    },
                    **unknown,
                    **problems,
                },
            },
        },
        "/v1/campaigns/{id}/pause": steer(
            "pauseCampaign",
            "Stop every piece after its current block",
            responses={"409": problem("The campaign is done or was cancelled")},
        ),
        "/v1/campaigns/{id}/resume": steer(
            "resumeCampaign",
            "Continue with the rest",
            description="A body also sets a new pace.",
            requestBody={"required": False, "content": _pace_change([])},
            responses={
                "409": problem(
                    "The campaign was cancelled, it is done and a pace was given, or its file has changed;"
                    " nothing was changed"
                ),
                **wrong_pace,
            },
        ),
        "/v1/campaigns/{id}/cancel": steer(
            "cancelCampaign",
            "Cancel the rest",
            responses={"409": problem("The campaign is done")},
        ),
    }


def _pace_change(required: list[str]) -> dict[str, Any]:
    pace = {**_NUMBER_OR_NULL, "minimum": 1, "maximum": MAX_PACE, "description": _PACE}
    schema = {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {"pace": pace},
    }
    return {"application/json": {"schema": schema, "example": {"pace": 2000}}}


def _response(description: str, schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _relocate_references(schema: Any) -> Any:
    """Return a schema whose references point to the components of this document."""
    if isinstance(schema, dict):
        return {
            name: value.replace("#/$defs/", "#/components/schemas/")
            if name == "$ref"
            else _relocate_references(value)
            for name, value in schema.items()
        }
    return [_relocate_references(part) for part in schema] if isinstance(schema, list) else schema


_WORKING: dict[str, Any] = {
    "piecesWorking": {"type": "integer", "description": "Pieces that a worker is sending"},
    "piecesStalled": {
        "type": "integer",
        "description": "Pieces whose worker has been silent for some seconds: it may have been killed",
    },
    "stalledUntil": {
        **_MOMENT,
        "type": ["string", "null"],
        "description": "When the first of the stalled pieces goes to another worker",
    },
}
_STATE: dict[str, Any] = {
    "type": "object",
    "required": [
        *("campaign", "state", "cancelling", "counts", "pace", "bytes", "bytesDone", "requests"),
        *(
            "throttledSeconds",
            "pieces",
            "piecesDone",
            "piecesFailed",
            "startedAt",
            "finishedAt",
            "rate",
            "secondsLeft",
            "opensAt",
        ),
    ],
    "additionalProperties": False,
    "properties": {
        "campaign": {"type": "string"},
        "state": {
            "enum": list(_STATES),
            "description": "waiting: outside its window; done, cancelled: every row was counted",
        },
        "cancelling": {
            "type": "boolean",
            "description": "It was cancelled: nothing more is sent, and the remaining rows are being counted",
        },
        "counts": {
            "type": "object",
            "description": "Rows that were read (`rows`); each is also counted in exactly one other field",
            "required": ["rows", *FATES],
            "additionalProperties": False,
            "properties": {name: {"type": "integer"} for name in ("rows", *FATES)},
        },
        "pace": {**_NUMBER_OR_NULL, "description": _PACE},
        "bytes": {"type": "integer", "description": "Size of the file"},
        "bytesDone": {"type": "integer", "description": "Bytes whose rows are counted"},
        "requests": {"type": "integer", "description": "Requests to mPaaS, retries excluded"},
        "throttledSeconds": {"type": "number", "description": "Seconds waited because mPaaS throttled"},
        "pieces": {"type": "integer"},
        "piecesDone": {"type": "integer"},
        "piecesFailed": {"type": "integer", "description": "Given up until the campaign is resumed"},
        "startedAt": _MOMENT,
        "finishedAt": {**_MOMENT, "type": ["string", "null"]},
        "rate": {
            "type": "number",
            "description": f"Targets sent a second during the last {RATE_SECONDS:.0f} seconds",
        },
        "secondsLeft": {
            **_NUMBER_OR_NULL,
            "description": "At its pace, or at its rate if it has no pace; null at its beginning, and unless"
            " it is running or waiting",
        },
        "opensAt": {
            **_MOMENT,
            "type": ["string", "null"],
            "description": "When its window opens; null unless it is waiting",
        },
        "problem": {"type": "string", "description": "Why it is incomplete, or a piece was given up"},
    },
}
_COST: dict[str, Any] = {
    "type": "object",
    "description": "Estimated, at list prices without free quotas; docs/campaigns.md cites their sources",
    "required": ["currency", "total", "items", "tasks", "instanceSeconds"],
    "additionalProperties": False,
    "properties": {
        "currency": {"const": "USD"},
        "total": {"type": "number"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["item", "quantity", "price", "amount", "unsure"],
                "additionalProperties": False,
                "properties": {
                    "item": {"enum": ["computeUnits", "ossGets", "ossPuts", "egressGb"]},
                    "quantity": {"type": "number"},
                    "price": {"type": "number", "description": "Unit price"},
                    "amount": {"type": "number"},
                    "unsure": {"type": "boolean", "description": "The source does not state the price"},
                },
            },
        },
        "tasks": {"type": "integer", "description": "Asynchronous calls of the campaigns' function"},
        "instanceSeconds": {"type": "integer", "description": "Run time of its instances, including waits"},
    },
}
_WARNINGS: dict[str, Any] = {
    "type": "array",
    "description": "Possible mistakes that do not prevent sending",
    "items": {"type": "object"},
}
_PREVIEW: dict[str, Any] = {
    "type": "object",
    "description": "What would be sent, estimated from the first and last rows",
    "required": [
        *("campaign", "bytes", "rows", "targets", "requests", "seconds", "cost", "samples", "faults"),
        "warnings",
    ],
    "additionalProperties": False,
    "properties": {
        "campaign": {"type": "string"},
        "bytes": {"type": "integer"},
        "etag": {"type": "string"},
        "pieces": {"type": "integer"},
        "rows": {"type": "integer", "description": "Estimated"},
        "rowsRead": {"type": "integer"},
        "targets": {"type": "integer", "description": "Estimated: rows that can be sent"},
        "requests": {
            "type": "integer",
            "description": "Estimated: those of the rows read, in blocks that depend on the pace, scaled to"
            " the size of the file. `check` reads all rows",
        },
        "seconds": {"type": "integer", "description": "Estimated, at the pace"},
        "cost": _COST,
        "pace": _NUMBER_OR_NULL,
        "blockRows": {"type": "integer", "description": "Maximum number of rows repeated after a failure"},
        "samples": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["line", "target", "message"],
                "properties": {
                    "line": {
                        "type": ["integer", "null"],
                        "description": "Null near the end of a long file, where lines are not counted",
                    },
                    "target": {"type": "string", "description": "Masked"},
                    "message": {"type": "object"},
                },
            },
        },
        "faults": {
            "type": "array",
            "description": "The first rows that cannot be sent",
            "items": {
                "type": "object",
                "required": ["line", "offset", "outcome", "message"],
                "additionalProperties": False,
                "properties": {
                    "line": {**_NUMBER_OR_NULL, "description": "Null in the last rows of a large file"},
                    "offset": {"type": "integer", "description": "Byte at which the row's line begins"},
                    "outcome": {"enum": ["invalid", "duplicate"]},
                    "message": {"type": "string"},
                },
            },
        },
        "rowsWithFaults": {"type": "integer", "description": "Rows with faults among those that were read"},
        "warnings": _WARNINGS,
    },
}
