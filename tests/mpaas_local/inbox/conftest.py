from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from jsonschema import Draft202012Validator

from mpaas_local.stack import Ports, Stack
from tests.descriptors import PROJECT
from tests.fork_server import start_forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MESSAGE: dict[str, Any] = {
    "taskName": "greeting",
    "title": "Good day",
    "content": "All is well.",
    "deliveryType": 3,
    "targets": ["user-1"],
    "expiredSeconds": 600,
}


@pytest.fixture(scope="module")  # other tests count threads
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(
        ports=Ports.any(),
        store=tmp_path_factory.mktemp("stack"),
        descriptor=PROJECT / "s.yaml",
        start=start_forked,
    ) as stack:
        yield stack


@pytest.fixture
def stack(running: Stack) -> Stack:
    """The running stack, with an empty inbox and without faults."""
    running.sandbox.clear()
    return running


@pytest.fixture(scope="module")
def contract(running: Stack) -> dict[str, Any]:
    """The OpenAPI document of the API."""
    document: dict[str, Any] = urllib3.request("GET", f"{running.inbox_url}/openapi.json", timeout=60).json()
    return document


def documented_body(contract: dict[str, Any], method: str, path: str, status: int) -> Any:
    """Return the schema of a response, by the path of its request; None if the path is not documented."""
    for template, operations in contract["paths"].items():
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", template)
        if re.fullmatch(pattern, path.partition("?")[0]) and method.lower() in operations:
            content = operations[method.lower()]["responses"][str(status)]["content"]
            return content["application/json"]["schema"]
    return None


@pytest.fixture
def call(stack: Stack, contract: dict[str, Any]) -> Callable[..., Any]:
    """Calls the API, validates the response against the OpenAPI document, and returns its value."""

    def request(method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        payload = None if body is None else json.dumps(body).encode()
        url, headers = f"{stack.inbox_url}{path}", {"Content-Type": "application/json"}
        response = urllib3.request(method, url, body=payload, headers=headers, retries=False, timeout=60)
        assert response.status == status, response.data
        value = response.json()
        if status < 400 and (schema := documented_body(contract, method, path, status)) is not None:
            Draft202012Validator({**schema, "components": contract["components"]}).validate(value)
        return value

    return request
