"""What the sandbox does where the reference leaves the behaviour of the service open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["MAX_EXPIRED_SECONDS", "Behaviour"]

MAX_EXPIRED_SECONDS = 7 * 24 * 3600
"""Seven days, from the older server demo (pushsimple.md: Core parameters)."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The sandbox's choices where the reference leaves the behaviour of the service open.

    Attributes:
        success_code: ResultCode of an accepted push.
        newer_parameters: What 2019-08-21 does with a parameter of 2020-10-28.
        repeated_ids: Whether a message id that was accepted before is accepted again or refused (3010).
        app_ids: If set, every other AppId is refused (3007).
        workspace_ids: If set, every other WorkspaceId is refused (8012).
        tenant_ids: If set, every other TenantId is refused (8013).
        payload_bytes: If set, the maximum number of UTF-8 bytes in Title, Content, Uri and ExtendedParams
            together (3050). The documented limit of 2048 does not say what is counted.
        longest_expiry: Largest ExpiredSeconds (3026); None for no limit. Only an old document has a limit.
        same_ids: Whether targets of a request may share a message id, with a note, or are refused (3010).
        past_times: Whether fixedTime may be in the past, with a note, or is refused (3028).
        live_activity_rules: Whether DeliveryType 5 and 6 require ActivityEvent and, except for `end`,
            ActivityContentState.
    """

    success_code: Literal["OK", "100"] = "OK"
    newer_parameters: Literal["ignore", "refuse"] = "ignore"
    repeated_ids: Literal["accept", "refuse"] = "accept"
    app_ids: frozenset[str] | None = None
    workspace_ids: frozenset[str] | None = None
    tenant_ids: frozenset[str] | None = None
    payload_bytes: int | None = None
    longest_expiry: int | None = MAX_EXPIRED_SECONDS
    same_ids: Literal["accept", "refuse"] = "refuse"
    past_times: Literal["accept", "refuse"] = "refuse"
    live_activity_rules: bool = False
