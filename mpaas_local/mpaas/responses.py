"""ASGI responses: JSON, and the documented bodies of PushSimple."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from mpaas_local.mpaas.judgement.parameters import LEGACY_VERSION
from mpaas_local.mpaas.store import dump_json
from mpaas_local.view_json import PROBLEM_JSON, problem_document

if TYPE_CHECKING:
    from mpaas_local.mpaas.gateway_errors import GatewayResponse


class Json(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return dump_json(content)


def push_result(
    *,
    version: str,
    request_id: str,
    code: str,
    message: str,
    success: bool = False,
    task_id: str | None = None,
) -> Json:
    """HTTP 200 with the documented body (pushsimple.md: Response).

    2019-08-21 has no PushResult. AccessDeniedDetail is never sent.
    """
    body: dict[str, Any] = {"RequestId": request_id, "ResultCode": code, "ResultMessage": message}
    if version != LEGACY_VERSION:
        body["PushResult"] = {"Success": success, "ResultMsg": message, "Data": task_id or ""}
    return Json(body, headers=_request_id(request_id))


def gateway_error(error: GatewayResponse, request_id: str, host: str) -> Json:
    """The gateway's error body (pushsimple.md: Gateway errors).

    `retry_after` is sent in both headers that SDKs read.
    """
    headers = _request_id(request_id)
    if error.retry_after is not None:
        headers |= {"retry-after": str(error.retry_after), "x-acs-retry-after": str(error.retry_after)}
    return Json(error.body(request_id, host), status_code=error.status, headers=headers)


def not_json(status: int, body: str, request_id: str) -> Response:
    """An HTML page where JSON was expected."""
    return Response(body, status_code=status, media_type="text/html", headers=_request_id(request_id))


def problem(status: int, title: str, detail: str, *, errors: list[dict[str, Any]] | None = None) -> Response:
    """An error of the sandbox's own JSON API (RFC 9457)."""
    body = problem_document(status, title, detail)
    if errors is not None:
        body["errors"] = errors
    return Json(body, status_code=status, media_type=PROBLEM_JSON)


def _request_id(request_id: str) -> dict[str, str]:
    return {"x-acs-request-id": request_id}
