"""ASGI responses: JSON, the documented bodies of PushSimple, and broken connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from mpaas_local.mpaas.judgement.parameters import LEGACY_VERSION
from mpaas_local.mpaas.protocol import CONNECTION, SandboxProtocol
from mpaas_local.mpaas.store import dump_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from mpaas_local.mpaas.gateway_errors import GatewayAnswer


class Json(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return dump_json(content)


class ConnectionReset(Response):
    """A TCP RST instead of a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection and wait until it is closed."""
        del send
        _connection(scope).reset()
        await _gone(receive)


class CutBody(Response):
    """Status, headers with the full Content-Length and half of the body; then the connection closes."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self.status_code = whole.status_code
        self.raw_headers = whole.raw_headers
        self.body = whole.body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send half of the body, close, and wait until the connection is closed."""
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        _connection(scope).finish()
        await _gone(receive)


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


def gateway_error(answer: GatewayAnswer, request_id: str, host: str) -> Json:
    """The gateway's error body (pushsimple.md: Gateway errors).

    `retry_after` goes into both headers that SDKs read.
    """
    headers = _request_id(request_id)
    if answer.retry_after is not None:
        headers |= {"retry-after": str(answer.retry_after), "x-acs-retry-after": str(answer.retry_after)}
    return Json(answer.body(request_id, host), status_code=answer.status, headers=headers)


def not_json(status: int, body: str, request_id: str) -> Response:
    """An HTML page where JSON was expected."""
    return Response(body, status_code=status, media_type="text/html", headers=_request_id(request_id))


def problem(status: int, title: str, detail: str, *, errors: list[dict[str, Any]] | None = None) -> Response:
    """An error of the sandbox's own JSON API (RFC 9457)."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if errors is not None:
        body["errors"] = errors
    return Json(body, status_code=status, media_type="application/problem+json")


def _request_id(request_id: str) -> dict[str, str]:
    return {"x-acs-request-id": request_id}


def _connection(scope: Mapping[str, Any]) -> SandboxProtocol:
    connection = scope.get("state", {}).get(CONNECTION)
    if not isinstance(connection, SandboxProtocol):
        raise TypeError("only a Sandbox can break connections")
    return connection


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
