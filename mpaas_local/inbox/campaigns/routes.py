"""The campaigns' part of the inbox's JSON API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from mpaas_local.inbox.campaigns.audience import LARGEST_BYTES, UnusableAudience, too_large, upload
from mpaas_local.inbox.campaigns.bodies import (
    CampaignDetails,
    CampaignDocument,
    CampaignList,
    CampaignPreview,
    CampaignState,
    CheckStep,
    UploadedAudience,
)
from mpaas_local.inbox.campaigns.commands import CommandFailed, Commands
from mpaas_local.inbox.message_view import view_of
from mpaas_local.mpaas.responses import Json
from mpaas_local.mpaas.store import dump_json
from mpaas_local.oss_client import oss_client
from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.campaign.model import read_document

if TYPE_CHECKING:
    from mpaas_local.inbox.campaigns.history import CampaignWatch
    from mpaas_local.inbox.campaigns.http_function import HttpFunction
    from mpaas_local.inbox.routes import Entrypoints

__all__ = ["audience_routes", "campaign_routes", "preparation_routes"]


CampaignId = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


def campaign_routes(function: HttpFunction, watch: CampaignWatch, entrypoints: Entrypoints) -> APIRouter:
    """Return the routes that start, list and control campaigns."""
    router = APIRouter(tags=["campaigns"])
    commands = Commands(entrypoints)

    def forward_change(method: str, path: str, change: dict[str, Any] | None) -> Response:
        _, campaign = function.request(method, path, change)
        watch.note_change(campaign)
        return Json(campaign)

    @router.get("/api/campaigns", responses={200: {"model": CampaignList}})
    def list_campaigns() -> Response:
        """List the latest campaigns, newest first."""
        uploads = {"bucket": entrypoints.audience_bucket, "largestUpload": LARGEST_BYTES}
        return Json({"campaigns": watch.list_all(), **uploads})

    @router.post(
        "/api/campaigns",
        status_code=201,
        responses={
            200: {"model": CampaignState, "description": "The same campaign was started before."},
            201: {"model": CampaignState},
        },
    )
    def start_campaign(document: dict[str, Any]) -> Response:
        """Start a campaign; starting the same campaign again has no effect."""
        status, campaign = function.request("POST", "", document)
        watch.note_change(campaign)
        return Json(campaign, status)

    @router.get("/api/campaigns/{campaign_id}", responses={200: {"model": CampaignDetails}})
    def show_campaign(campaign_id: CampaignId) -> Response:
        """Show a campaign with its document and its history."""
        campaign, history = watch.get(campaign_id)
        document = campaign.pop("document")
        return Json({"campaign": campaign, "document": document, "history": history})

    @router.patch("/api/campaigns/{campaign_id}", responses={200: {"model": CampaignState}})
    def change_campaign(campaign_id: CampaignId, change: dict[str, Any]) -> Response:
        """Change the pace of a campaign: `{"pace": 2000}`, or null for no limit."""
        return forward_change("PATCH", f"/{campaign_id}", change)

    @router.post("/api/campaigns/{campaign_id}/{action}", responses={200: {"model": CampaignState}})
    def control_campaign(
        campaign_id: CampaignId,
        action: Literal["pause", "resume", "cancel"],
        change: dict[str, Any] | None = None,
    ) -> Response:
        """Pause, resume or cancel a campaign; a resume may change its pace."""
        return forward_change("POST", f"/{campaign_id}/{action}", change)

    @router.get(
        "/api/campaigns/{campaign_id}/report",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    )
    async def report_campaign(campaign_id: CampaignId) -> StreamingResponse:
        """Download the report of a campaign as CSV; the connection is aborted if the report is incomplete."""
        await run_in_threadpool(function.request, "GET", f"/{campaign_id}")
        try:
            chunks = await commands.report(campaign_id)
        except CommandFailed as error:
            raise HTTPException(502, f"The report is incomplete: {error}") from None
        headers = {"Content-Disposition": f'attachment; filename="{campaign_id}-report.csv"'}
        return StreamingResponse(chunks, media_type="text/csv", headers=headers)

    return router


def preparation_routes(function: HttpFunction, entrypoints: Entrypoints) -> APIRouter:
    """Return the routes that prepare a campaign: read its document, render rows, check all rows."""
    router = APIRouter(tags=["campaigns"])
    commands = Commands(entrypoints)

    @router.post("/api/campaigns/document", responses={200: {"model": CampaignDocument}})
    def read_campaign(text: Annotated[str, Body(media_type="text/plain")]) -> Response:
        """Read a campaign from JSON or YAML."""
        try:
            document = read_document(text)
        except InvalidCampaign as error:
            raise HTTPException(422, str(error)) from None
        if not isinstance(document, dict):
            raise HTTPException(422, "a campaign must be a JSON object or a YAML map")
        return Json({"document": document})

    @router.post("/api/campaigns/preview", responses={200: {"model": CampaignPreview}})
    def preview_campaign(document: dict[str, Any]) -> Response:
        """Render the first and last rows of a campaign, without sending anything."""
        _, preview = function.request("POST", "?dryRun=true", document)
        for sample in preview["samples"]:
            sample["shown"] = view_of({**sample["message"], "targets": [sample["target"]]})
        return Json(preview)

    @router.post(
        "/api/campaigns/check",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {"schema": CheckStep.model_json_schema()}}}},
    )
    def check_campaign(document: dict[str, Any]) -> StreamingResponse:
        """Read every row of a campaign's audience and list the rows that cannot be sent.

        The response is JSON Lines: steps with the progress, the last one with the result.
        """
        lines = (dump_json(step) + b"\n" async for step in commands.check(document))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return router


def audience_routes(entrypoints: Entrypoints) -> APIRouter:
    """Return the route that uploads audiences to OSS."""
    router = APIRouter(tags=["campaigns"])

    @router.post(
        "/api/audiences",
        status_code=201,
        responses={201: {"model": UploadedAudience}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload_audience(
        name: Annotated[str, Query(min_length=1, max_length=255)], request: Request
    ) -> Response:
        """Upload a file of targets to OSS and show its first rows."""
        bucket = entrypoints.audience_bucket
        if bucket is None:
            raise HTTPException(409, "s.yaml has no OSS trigger, so the stack has no bucket for audiences.")
        client = oss_client(entrypoints.variables["PUSH_OSS_ENDPOINT"], entrypoints.region)
        try:
            if int(request.headers.get("content-length") or 0) > LARGEST_BYTES:
                raise too_large()
            return Json(await upload(request.stream(), name, bucket, client), 201)
        except UnusableAudience as error:
            raise HTTPException(error.status, str(error)) from None

    return router
