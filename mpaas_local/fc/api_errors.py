"""Errors of Function Compute's API, in the format of each generation (fc-runtime.md: Error semantics)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from mpaas_local.compact_json import compact_json
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.disconnection import ClientDisconnected
from mpaas_local.fc.errors import (
    HostClosed,
    InvalidArgument,
    PayloadTooLarge,
    QueueClosed,
    TaskExists,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["ERROR_HANDLERS", "ApiError", "api_error_of", "json_response"]

_logger = logging.getLogger(__name__)

_KINDS = (
    (PayloadTooLarge, 400, "EntityTooLarge"),
    (InvalidArgument, 400, "InvalidArgument"),
    (TaskExists, 409, "AsyncTaskAlreadyExists"),
    (ClientDisconnected, 499, "InvocationCanceled"),
    (Throttled, 429, "ResourceExhausted"),
    (HostClosed, 503, "ServiceUnavailable"),
    (QueueClosed, 503, "ServiceUnavailable"),
)


class ApiError(Exception):
    """An error response of the API.

    Attributes:
        status: HTTP status.
        code: The API's error code.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def api_error_of(error: Exception) -> ApiError:
    """Return the API's error for a call that failed or an event that was not accepted."""
    if isinstance(error, ApiError):
        return error
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            return ApiError(status, code, str(error))
    _logger.error("a function could not be called", exc_info=error)
    return ApiError(500, "InternalServerError", "the function could not be called")


def json_response(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response."""
    return Response(compact_json(body), status, headers, media_type="application/json")


async def _error_response(request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        status, code = error.status, error.code
    elif isinstance(error, HTTPException):
        status, code = error.status_code, "PathNotSupported"
    else:  # the client has disconnected
        status, code = 400, "InvalidArgument"
    message, request_id = str(error) or request.url.path, new_request_id()
    body = {"Code": code, "Message": message, "RequestId": request_id}
    if request.url.path.startswith("/2016-08-15/"):
        body = {"ErrorCode": code, "ErrorMessage": message}
    return json_response(status, body, {"x-fc-request-id": request_id})


ERROR_HANDLERS = dict.fromkeys((ApiError, HTTPException, ClientDisconnect), _error_response)
"""Exception handlers of a Starlette application that responds with these errors."""
