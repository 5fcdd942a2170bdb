"""Problem documents (RFC 9457): what is wrong with a request or its push."""

from __future__ import annotations

from typing import Any

from mpaas_push import PushError

__all__ = ["TITLES", "Problem"]

TITLES = {
    "not-json": "The body is not JSON",
    "unreadable": "The request cannot be read",
    "too-large": "The request is too large",
    "media-type": "The media type, charset or encoding is not supported",
    "bad-key": "The Idempotency-Key cannot be used",
    "bad-query": "The query cannot be used",
    "conflict": "The Idempotency-Key was used with another body",
    "campaign-conflict": "The id belongs to another campaign, or the campaign has ended",
    "invalid-campaign": "The campaign, or the requested change, is invalid",
    "unknown-campaign": "There is no such campaign",
    "not-found": "There is no such route",
    "method": "The route does not allow this method",
    "refused": "The push is invalid or was refused",
    "misconfigured": "The function is misconfigured",
    "unexpected": "The function failed",
    "unknown": "The outcome is unknown",
    "throttled": "The push cannot be accepted at the moment",
    "unavailable": "The campaign cannot be started or shown at the moment",
}
"""Title of each kind of problem."""


class Problem(PushError):
    """An error response.

    Attributes:
        status: HTTP status.
        kind: A key of `TITLES`, also the last part of the problem's type.
        detail: What is wrong and what to do.
        headers: Headers of the response.
        members: Members of the document beyond the standard ones.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **members: Any
    ) -> None:
        self.status, self.kind, self.detail, self.headers, self.members = (
            status,
            kind,
            detail,
            headers,
            members,
        )
        super().__init__(detail)

    def as_json(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": f"urn:mpaas-push:problem:{self.kind}",
            "title": TITLES[self.kind],
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }
