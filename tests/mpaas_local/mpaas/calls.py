"""Signed PushSimple requests for the sandbox's tests."""

from __future__ import annotations

import http.client
import itertools
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from mpaas_local.api_signature import rpc_signature
from mpaas_local.mpaas import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping

_numbers = itertools.count(1)

PUSH = {
    "AppId": "ONEX570DA89211721",
    "WorkspaceId": "test",
    "TaskName": "order shipped",
    "Title": "标题 a+b&c*~",
    "Content": "Your order is on its way",
    "DeliveryType": "3",
    "ExpiredSeconds": "600",
}
"""A push that is valid except for its missing targets."""


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def push(**changes: str | None) -> dict[str, str]:
    """A valid push to one user with a unique message id; None omits a parameter."""
    parameters = {**PUSH, "TargetMsgkey": json.dumps({"user1": f"message-{next(_numbers)}"}), **changes}
    return {name: value for name, value in parameters.items() if value is not None}


def signed_query(
    body: Mapping[str, str],
    *,
    key_id: str = LOCAL_ACCESS_KEY_ID,
    secret: str = LOCAL_ACCESS_KEY_SECRET,
    **changes: str | None,
) -> dict[str, str]:
    """System parameters as the legacy SDK sends them, signed; None omits one before signing."""
    system: dict[str, str | None] = {
        "Version": "2020-10-28",
        "Action": "PushSimple",
        "Format": "JSON",
        "RegionId": "cn-hangzhou",
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "SignatureMethod": "HMAC-SHA1",
        "SignatureType": "",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "AccessKeyId": key_id,
        **changes,
    }
    query = {name: value for name, value in system.items() if value is not None}
    query.setdefault("Signature", rpc_signature("POST", {**query, **body}, secret))
    return query


def send(sandbox: Sandbox, body: Mapping[str, str] | None = None, **system: Any) -> Reply:
    """Send one push, signed with RPC v1."""
    body = push() if body is None else body
    return post(sandbox, "/?" + urlencode(signed_query(body, **system)), urlencode(body).encode())


def raw_push(body: dict[str, str]) -> bytes:
    """The bytes of one signed push, for a bare socket."""
    form = urlencode(body).encode()
    head = (
        f"POST /?{urlencode(signed_query(body))} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
    )
    return head.encode() + form


def post(
    sandbox: Sandbox,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=60)
    try:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        connection.request(method, path, body or None, {**form, **(headers or {})})
        response = connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())
    finally:
        connection.close()


def get(sandbox: Sandbox, path: str, **headers: str) -> Reply:
    return post(sandbox, path, method="GET", headers=headers)
