"""The bodies of the campaign routes, the source of their OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from mpaas_local.inbox.bodies import Shown
from mpaas_local.mpaas.bodies import Body

__all__ = [
    "CampaignDetails",
    "CampaignDocument",
    "CampaignList",
    "CampaignPreview",
    "CampaignState",
    "CheckStep",
    "UploadedAudience",
]


class CampaignState(Body):
    """A campaign from the HTTP function (see its `/openapi.json`), with the fields that the page uses."""

    model_config = ConfigDict(extra="allow")

    campaign: str
    state: str
    counts: dict[str, int] = Field(description="Numbers of rows by fate; `rows` is their sum.")
    pace: int | None = Field(description="Targets a second; null for no limit.")
    bytes: int
    bytes_done: int
    requests: int
    pieces_working: int = Field(default=0, description="Pieces that a worker is sending.")
    pieces_stalled: int = Field(
        default=0, description="Pieces whose worker has not renewed its lease for some seconds."
    )
    stalled_until: str | None = None
    started_at: str
    finished_at: str | None
    rate: float = Field(description="Targets a second during the last seconds.")
    seconds_left: int | None
    opens_at: str | None = Field(default=None, description="When the window of a waiting campaign opens.")
    problem: str | None = None


class CampaignList(Body):
    """The latest campaigns, newest first, and the limits of uploads."""

    campaigns: list[CampaignState]
    bucket: str | None = Field(description="Bucket of uploaded audiences; null if s.yaml names no bucket.")
    largest_upload: int = Field(description="Bytes of the largest audience that the page accepts.")


class Sample(Body):
    """A campaign at one moment."""

    at: float = Field(description="Unix seconds.")
    state: str
    counts: dict[str, int]
    bytes_done: int
    pace: int | None


class CampaignDetails(Body):
    """A campaign with its document and its history."""

    campaign: CampaignState
    document: dict[str, Any]
    history: list[Sample] = Field(description="Oldest first; the longer it runs, the further apart.")


class UploadedAudience(Body):
    """An audience in OSS."""

    name: str
    bytes: int
    audience: dict[str, Any] = Field(description="The campaign's `audience`, its target column guessed.")
    columns: list[str] = Field(description="Empty for plain ids.")
    rows: list[list[str]] = Field(description="The first readable rows.")
    faults: list[str] = Field(description="Errors of those first rows that are invalid, each with its line.")
    has_header: bool = Field(
        description="False if the first line looks like an id, as in a file without a header."
    )


class CampaignDocument(Body):
    """A campaign read from JSON or YAML, not validated."""

    document: dict[str, Any]


class PreviewSample(Body):
    """A rendered row."""

    line: int | None = Field(description="Line of the file; null near the end of a long file.")
    target: str = Field(description="Masked.")
    message: dict[str, Any]
    shown: Shown


class CampaignPreview(Body):
    """The dry run of the HTTP function, with each sample as the channels would display it."""

    model_config = ConfigDict(extra="allow")

    campaign: str
    bytes: int
    rows: int
    requests: int
    seconds: int
    samples: list[PreviewSample]
    faults: list[dict[str, Any]]
    warnings: list[dict[str, Any]]


class CheckStep(Body):
    """The progress of `python -m mpaas_push campaign check`; the last step has its output."""

    share: float = Field(description="Share of the audience that has been read, 0 to 1.")
    passed: bool | None = Field(default=None, description="Null until the last step.")
    lines: list[str] = Field(
        default=[], description="Rows that cannot be sent, each with its line, then the counts."
    )
    error: str | None = Field(default=None, description="The reason why the campaign cannot be started.")
