"""One guard keeps web pages away from every service of this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import urllib3

from mpaas_local.loopback import names_this_machine
from mpaas_local.stack import Ports, Stack
from tests.descriptors import PROJECT
from tests.mpaas_push.message.examples import MESSAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example:8080"},
    {"Host": "127.0.0.1@evil.example"},
    {"Host": "["},
    {"Host": ""},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    store = tmp_path_factory.mktemp("store")
    with Stack(ports=Ports.any(), store=store, descriptor=PROJECT / "s.yaml") as running:
        yield running


@pytest.fixture(scope="module")
def services(stack: Stack) -> dict[str, str]:
    return {
        f"{stack.urls['http_push']}/v1/pushes": "POST",
        f"{stack.events_url}/invocations/timer_push": "POST",
        f"{stack.events_url}/events": "POST",
        f"{stack.events_url}/ticks/morning": "POST",
        f"{stack.sandbox.url}/": "POST",
        f"{stack.sandbox.url}/inbox": "DELETE",
        f"{stack.sandbox.url}/faults": "POST",
        f"{stack.queues.endpoint}/queues": "GET",
        f"{stack.queues.endpoint}/.local/queues": "GET",
        f"{stack.oss.endpoint}/uploads/a": "GET",
        f"{stack.oss.endpoint}/.local/buckets": "GET",
        f"{stack.inbox_url}/": "GET",
        f"{stack.inbox_url}/api/pushes": "GET",
        f"{stack.inbox_url}/api/send": "POST",
        f"{stack.inbox_url}/static/0/main.js": "GET",
    }


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_every_service_refuses_a_foreign_host_and_origin(
    stack: Stack, services: dict[str, str], headers: dict[str, str]
) -> None:
    body = json.dumps(MESSAGE).encode()
    with urllib3.PoolManager(retries=False, timeout=60) as client:
        statuses = {
            url: client.request(method, url, body=body if method == "POST" else None, headers=headers).status
            for url, method in services.items()
        }

    assert {status for status in statuses.values() if status != 403} <= (
        {400} if "[" in str(headers) else set()
    )
    assert stack.calls.calls() == []
    assert stack.sandbox.inbox() == []


def test_pages_of_a_service_may_call_it(stack: Stack) -> None:
    for url in (f"{stack.events_url}/nothing", f"{stack.sandbox.url}/health", f"{stack.inbox_url}/"):
        origin = url.rpartition("/")[0]
        for host in (origin.partition("//")[2], origin.partition("//")[2].replace("127.0.0.1", "localhost")):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert urllib3.request("GET", url, headers=headers, retries=False, timeout=60).status in {
                200,
                404,
            }


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080"])
def test_host_header_may_have_a_port_and_capitals(host: str) -> None:
    assert names_this_machine(host)
