"""Calls the public campaign routes of the HTTP function for the page."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.exceptions import HTTPError

from mpaas_local.mpaas.responses import Json

if TYPE_CHECKING:
    from fastapi import Request, Response

    from mpaas_local.inbox.routes import Entrypoints

__all__ = ["FunctionRefused", "HttpFunction", "refusal"]

TIMEOUT_SECONDS = 65
"""Longer than the function may run."""


class FunctionRefused(Exception):
    """The HTTP function refused, or did not respond.

    Attributes:
        status: HTTP status to pass on.
        problem: Its problem document (RFC 9457).
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        super().__init__(problem.get("detail"))


class HttpFunction:
    """The campaign routes of the HTTP function."""

    def __init__(self, entrypoints: Entrypoints) -> None:
        self._entrypoints = entrypoints

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Send a request below ``/v1/campaigns`` and return status and body.

        Raises:
            FunctionRefused: its status is 400 or more, or it did not respond.
        """
        url = f"{self._entrypoints.http_url}/v1/campaigns{path}"
        payload = {} if body is None else {"json": body}
        try:
            response = urllib3.request(method, url, retries=False, timeout=TIMEOUT_SECONDS, **payload)
            value = response.json()
        except (HTTPError, ValueError) as error:
            detail = f"the HTTP function did not respond ({type(error).__name__})"
            raise FunctionRefused(HTTPStatus.BAD_GATEWAY, {"detail": detail}) from None
        if response.status >= HTTPStatus.BAD_REQUEST:
            is_problem = isinstance(value, dict) and "detail" in value
            raise FunctionRefused(response.status, value if is_problem else {"detail": json.dumps(value)})
        return response.status, value


def refusal(_: Request, error: Any) -> Response:
    """Pass on the refusal of the HTTP function, a `FunctionRefused`."""
    return Json(error.problem, error.status)
