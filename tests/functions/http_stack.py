"""The HTTP function as it is deployed: behind a real gateway, in instances of its own, before the sandbox."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import urllib3

from mpaas_local.account import Account, Credentials
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.server import Server

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
ROLE = Credentials("STS.test-key-id", "test-key-secret", "test-security-token")


def message(**changes: Any) -> dict[str, Any]:
    return {
        "taskName": "order-shipped",
        "title": "你的订单已发货",
        "content": "It will arrive tomorrow.",
        "deliveryType": 3,
        "targets": ["user-4711"],
        "expiredSeconds": 600,
    } | changes


@dataclass
class Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class HttpStack:
    environment: dict[str, str] = field(default_factory=dict)
    runtime: Literal["python3.10", "python3.12"] = "python3.10"
    role: Credentials | None = ROLE
    timeout: float = 30
    verify_signatures: bool = False
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
            self.sandbox = opened.enter_context(Sandbox(access_keys=keys))
            function = Function(
                name="http_push",
                folder=ROOT / "functions" / "http_push",
                runtime=self.runtime,
                timeout=self.timeout,
                layers=(ROOT / "shared",),
                environment={
                    "MPAAS_ENDPOINT": self.sandbox.url,
                    "MPAAS_APP_ID": "ONEX570DA89211721",
                    "MPAAS_WORKSPACE_ID": "test",
                }
                | self.environment,
            )
            lock = threading.Lock()

            def on_log(_: str, __: str, line: str) -> None:
                with lock:
                    self.lines.append(line)

            self.host = opened.enter_context(
                FunctionHost(function, account=Account(credentials=self.role), limit=4, on_log=on_log)
            )
            gateway = create_gateway(self.host, access_keys=keys if self.verify_signatures else None)
            self.url = opened.enter_context(Server(gateway)).url
            self.http = opened.enter_context(urllib3.PoolManager(retries=False, timeout=60))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def get(self, path: str) -> Answer:
        response = self.http.request("GET", self.url + path)
        return Answer(response.status, response.headers, response.data)

    def post(self, body: Any, *, path: str = "/v1/pushes", headers: dict[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        response = self.http.request("POST", self.url + path, body=data, headers=sent)
        return Answer(response.status, response.headers, response.data)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The structured lines of the function's log."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]
