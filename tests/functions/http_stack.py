"""The HTTP function as deployed: behind a real gateway, in its own instances, with the sandbox as mPaaS."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import urllib3
from jsonschema import Draft202012Validator

from mpaas_local.account import Account, LocalCredentials
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.server import Server
from tests.fork_server import start_forked

if TYPE_CHECKING:
    from types import ModuleType

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
ROLE = LocalCredentials("STS.test-key-id", "test-key-secret", "test-security-token")


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
class Response:
    status: int
    headers: urllib3.HTTPHeaderDict
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@functools.cache
def module_of(name: str) -> ModuleType:
    """A module of the function, which belongs to no package."""
    source = ROOT / "functions" / "http_push" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"http_push_{name}", source)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    sys.path.insert(0, str(source.parent))  # it imports its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(source.parent))
    return module


@functools.cache
def description() -> Any:
    """The OpenAPI document of the function."""
    return module_of("openapi").document()


@functools.cache
def validator(schema: str) -> Draft202012Validator:
    """The validator of a schema in the description."""
    return Draft202012Validator(
        {"components": description()["components"], "$ref": f"#/components/schemas/{schema}"}
    )


def assert_described(method: str, path: str, response: Response) -> None:
    """Fail unless status, content type and body of a response match the description."""
    content_type = response.headers.get("Content-Type", "").partition(";")[0]
    operation = description()["paths"].get(path, {}).get(method.replace("HEAD", "GET").lower())
    is_problem = content_type == "application/problem+json" and bool(response.data)
    if is_problem:
        body = response.json
        validator("Problem").validate(body)
        assert body["status"] == response.status
    if operation is None or response.data.startswith(b'{"errorCode"'):  # Function Compute's own
        return
    content = operation["responses"][str(response.status)]["content"]
    assert content_type in content
    schema = content[content_type].get("schema")
    if schema is None or not response.data or content_type == "text/csv":
        return
    names = [option["$ref"].rpartition("/")[2] for option in schema.get("oneOf", [schema])]
    if is_problem and "Problem" in names:  # a large body takes long to validate
        return
    body = response.json
    assert any(validator(name).is_valid(body) for name in names), [
        str(error) for name in names for error in validator(name).iter_errors(body)
    ]


@dataclass(kw_only=True)
class HttpStack:
    environment: dict[str, str] = field(default_factory=dict)
    runtime: Literal["python3.10", "python3.12"] = "python3.10"
    role: LocalCredentials | None = ROLE
    timeout: float = 30
    verify_signatures: bool = False
    name: str = "http_push"
    folder: Path = ROOT / "functions" / "http_push"
    lines: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
            self.sandbox = opened.enter_context(Sandbox(access_keys=keys))
            function = Function(
                name=self.name,
                folder=self.folder,
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
                FunctionHost(
                    function,
                    account=Account(credentials=self.role),
                    limit=4,
                    on_log=on_log,
                    start=start_forked,
                )
            )
            gateway = create_gateway(self.host, access_keys=keys if self.verify_signatures else None)
            self.url = opened.enter_context(Server(gateway)).url
            self.http = opened.enter_context(urllib3.PoolManager(retries=False, timeout=60))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def get(self, path: str) -> Response:
        return self.request("GET", path)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Send a request; its response must match the function's own description."""
        raw = self.http.request(method, self.url + path, body=body, headers=headers)
        response = Response(raw.status, raw.headers, raw.data)
        assert_described(method, path.partition("?")[0], response)
        return response

    def post(self, body: Any, *, path: str = "/v1/pushes", headers: dict[str, str] | None = None) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | (headers or {})
        return self.request("POST", path, data, headers)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The function's structured log lines."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]
