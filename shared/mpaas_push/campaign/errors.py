"""Errors of campaigns; `mpaas_push.errors` draws the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_push.errors import PushError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpaas_push.errors import Fault

__all__ = [
    "AudienceMissing",
    "AudienceUnreadable",
    "CampaignConflict",
    "CampaignError",
    "InvalidCampaign",
    "PieceFailed",
    "StoreUnavailable",
    "UnknownCampaign",
]


class CampaignError(PushError):
    """Base class of the errors of campaigns."""


class InvalidCampaign(CampaignError):
    """The document of a campaign, or the audience that it names, cannot be used; nothing was sent.

    Attributes:
        faults: Everything that is wrong, at least one; field paths are those of the document.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))


class CampaignConflict(CampaignError):
    """Another campaign uses the id, or the campaign has ended."""


class UnknownCampaign(CampaignError):
    """There is no campaign with this id."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(f"there is no campaign {campaign_id}")


class AudienceUnreadable(CampaignError):
    """The file of the audience cannot be read, or is not the one that the campaign was started with.

    Attributes:
        is_final: Whether a retry cannot help.
    """

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        self.is_final = is_final
        super().__init__(message)


class AudienceMissing(AudienceUnreadable):
    """The object does not exist."""


class StoreUnavailable(CampaignError):
    """The Redis that holds the state of campaigns cannot be reached, or none is configured.

    Attributes:
        is_permanent: Whether a setting, permission or record is wrong: retries fail until an operator acts.
    """

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        self.is_permanent = is_permanent
        super().__init__(message)


class PieceFailed(CampaignError):
    """A piece of the audience was given up; the campaign is incomplete until it is resumed."""
