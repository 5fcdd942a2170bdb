"""The campaign routes: campaigns are started, shown and controlled here, and sent by `campaign_push`."""

from __future__ import annotations

import json
from typing import Any

from mpaas_push import Invocation
from mpaas_push.campaign.control import read_campaign
from mpaas_push.campaign.errors import (
    CampaignConflict,
    InvalidCampaign,
    StoreUnavailable,
    UnknownCampaign,
)
from mpaas_push.campaign.function import CampaignTools
from mpaas_push.campaign.model import PaceChange, with_date
from mpaas_push.campaign.preview import preview
from mpaas_push.campaign.report import report_page
from mpaas_push.functions import InvocationRefused
from mpaas_push.triggers.http import Response
from mpaas_push.warm import shared_client
from problem import Problem
from responses import MAX_FAULTS

__all__ = ["cancel", "change", "list_latest", "pause", "problem_of", "report", "resume", "show", "start"]

UNAVAILABLE_SECONDS = 2
"""`Retry-After` while the ledger, OSS or the workers cannot be reached."""


def start(context: object, *, dry_run: bool, document: Any) -> Response[str]:
    """Start the campaign in the body, or show what it would send."""
    tools = _tools(context)
    if dry_run:
        readable = read_campaign(with_date(document), tools.settings, tools.objects)
        return _json(200, preview(readable, tools.objects, tools.settings))
    started = tools.controls.start(with_date(document), tools.objects)
    warnings = {"warnings": [warning.as_json() for warning in started.warnings]}
    return _json(201 if started.is_new else 200, started.stored.as_json() | warnings)


def list_latest(context: object) -> Response[str]:
    """List the latest campaigns."""
    return _json(200, {"campaigns": [campaign.as_json() for campaign in _tools(context).store.list_all()]})


def show(campaign_id: str, context: object) -> Response[str]:
    """Show a campaign."""
    store = _tools(context).store
    stored = store.get(campaign_id)
    working = store.working_pieces(campaign_id).as_json()
    detail = {"results": stored.results, "document": stored.campaign.as_json()}
    return _json(200, {**stored.as_json(), **working, **detail})


def report(campaign_id: str, context: object, *, after: int) -> Response[str]:
    """Return a part of a campaign's report; its `Link` header refers to the next part, if there is one."""
    tools = _tools(context)
    page = report_page(tools.objects, tools.store.get(campaign_id), after)
    headers: dict[str, str | list[str]] = {}
    if page.after is not None:
        headers["Link"] = f'</v1/campaigns/{campaign_id}/report?after={page.after}>; rel="next"'
    return Response(200, "text/csv; charset=utf-8", page.text, headers)


def pause(campaign_id: str, context: object) -> Response[str]:
    """Stop every piece of a campaign after its current block."""
    return _json(200, _tools(context).controls.pause(campaign_id).as_json())


def resume(campaign_id: str, context: object, *, document: Any) -> Response[str]:
    """Continue a campaign, at a new pace if the body names one."""
    change = PaceChange.parse(document) if document != {} else None
    tools = _tools(context)
    return _json(200, tools.controls.resume(campaign_id, tools.objects, change).as_json())


def cancel(campaign_id: str, context: object) -> Response[str]:
    """Cancel the rest of a campaign."""
    return _json(200, _tools(context).controls.cancel(campaign_id).as_json())


def change(campaign_id: str, context: object, *, document: Any) -> Response[str]:
    """Change the pace of a campaign."""
    change = PaceChange.parse(document)
    return _json(200, _tools(context).controls.change_pace(campaign_id, change).as_json())


def problem_of(error: Exception) -> Problem:
    """Return the problem document of a campaign error."""
    if isinstance(error, InvalidCampaign):
        faults = [fault.as_json() for fault in error.faults[:MAX_FAULTS]]
        return Problem(422, "invalid-campaign", "nothing was started or changed: see errors", errors=faults)
    if isinstance(error, CampaignConflict):
        return Problem(409, "campaign-conflict", str(error))
    if isinstance(error, UnknownCampaign):
        return Problem(404, "unknown-campaign", str(error))
    is_permanent = (isinstance(error, StoreUnavailable) and error.is_permanent) or (
        isinstance(error, InvocationRefused) and not error.is_retryable
    )
    if is_permanent:
        return Problem(500, "misconfigured", str(error))
    headers = {"Retry-After": str(UNAVAILABLE_SECONDS)}
    return Problem(503, "unavailable", f"{error}; safe to send again", headers=headers)


def _tools(context: object) -> CampaignTools:
    settings = shared_client().settings
    return CampaignTools(settings, Invocation.of(context))


def _json(status: int, body: dict[str, Any]) -> Response[str]:
    return Response(status, "application/json", json.dumps(body, ensure_ascii=False))
