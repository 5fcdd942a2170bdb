"""Ordered faults as the official SDK experiences them, and the view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from alibabacloud_oss_v2.exceptions import OperationError

from tests.mpaas_local.oss.sdk import connect, get, keys, put, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_local.oss import OssServer

LARGE = b"a line\n" * 100_000


@pytest.fixture(autouse=True)
def _no_faults_left(running_server: OssServer) -> Iterator[None]:
    yield
    running_server.clear_faults()


def send(server: OssServer, method: str, path: str, **body: Any) -> tuple[int, Any]:
    url = f"{server.endpoint}/.local/{path}"
    response = urllib3.request(
        method, url, json=body if method == "POST" else None, retries=False, timeout=60
    )
    return response.status, json.loads(response.data)


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("serviceUnavailable", "ServiceUnavailable", 503), ("internalError", "InternalError", 500)],
)
def test_a_failure_of_the_service_changes_nothing(
    client: Any, server: OssServer, kind: str, code: str, status: int
) -> None:
    put(client, "a", b"before")
    server.order(kind=kind, match={"method": "PUT"})

    with refused(code) as refusal:
        put(client, "a", b"after")

    assert refusal.error.status_code == status
    assert get(client, "a").body.content == b"before"
    put(client, "a", b"after")
    assert get(client, "a").body.content == b"after"


def test_the_sdk_retries_a_failed_request(server: OssServer) -> None:
    server.order(kind="serviceUnavailable", match={"method": "PUT"})

    put(connect(server.endpoint, attempts=2), "a")

    assert get(connect(server.endpoint), "a").body.content == b"hello"


@pytest.mark.parametrize("body", [LARGE, b"ab"])
def test_a_response_body_is_cut(client: Any, server: OssServer, body: bytes) -> None:
    put(client, "a", body)
    server.order(kind="cutBody", match={"prefix": "a"})

    with pytest.raises(Exception, match="IncompleteRead|Connection broken"):
        get(client, "a").body.read()
    assert get(client, "a").body.content == body


@pytest.mark.parametrize("accept", [True, False])
def test_a_reset_hides_whether_the_operation_was_carried_out(
    client: Any, server: OssServer, accept: bool
) -> None:
    put(client, "a", b"before")
    server.order(kind="reset", accept=accept)

    with pytest.raises(OperationError, match="(?i)reset|aborted"):
        put(client, "a", b"after")

    assert get(client, "a").body.content == (b"after" if accept else b"before")


def test_a_response_is_late(server: OssServer) -> None:
    client = connect(server.endpoint)
    put(client, "a")
    server.order(kind="delay", milliseconds=400, match={"method": "GET"})

    with pytest.raises(OperationError, match="(?i)timed out"):
        get(connect(server.endpoint, readwrite_timeout=0.2), "a")

    assert get(client, "a").body.content == b"hello"


def test_orders_strike_only_matching_requests(client: Any, server: OssServer) -> None:
    put(client, "audiences/a")
    put(client, "other/a")
    server.order(kind="serviceUnavailable", next=2, match={"bucket": "media", "prefix": "audiences/"})

    assert get(client, "other/a").body.content == b"hello"
    for _ in range(2):
        with refused("ServiceUnavailable"):
            get(client, "audiences/a")
    assert keys(client) == ["audiences/a", "other/a"]
    assert server.faults() == []


def test_faults_are_ordered_by_http(server: OssServer) -> None:
    status, order = send(server, "POST", "faults", kind="delay", milliseconds=1, rate=0.5, seed=1)
    assert status == 201
    assert send(server, "GET", "faults") == (200, {"faults": [order]})
    assert send(server, "DELETE", "faults") == (200, {"deleted": 1})
    status, problem = send(server, "POST", "faults", kind="delay")
    assert (status, problem["detail"]) == (422, "milliseconds: is required")
    assert send(server, "POST", "faults", kind="flood")[0] == 422
    assert server.faults() == []


def test_an_unsigned_request_is_not_struck(server: OssServer) -> None:
    server.order(kind="serviceUnavailable")

    assert urllib3.request("GET", f"{server.endpoint}/media/a", retries=False, timeout=60).status == 403
    assert len(server.faults()) == 1


def test_the_view_shows_buckets_and_objects(client: Any, server: OssServer) -> None:
    put(client, "目录/a", metadata={"user": "user-1"})
    put(client, "b")

    assert [bucket["name"] for bucket in send(server, "GET", "buckets")[1]["buckets"]] == ["media"]
    (stored,) = send(server, "GET", "buckets/media/objects?prefix=目")[1]["objects"]
    assert (stored["key"], stored["size"], stored["headers"]["x-oss-meta-user"]) == ("目录/a", 5, "user-1")
    for path in ("buckets/none/objects", "other"):
        assert (
            urllib3.request("GET", f"{server.endpoint}/.local/{path}", retries=False, timeout=60).status
            == 404
        )
    assert (
        urllib3.request("PUT", f"{server.endpoint}/.local/buckets", retries=False, timeout=60).status == 405
    )
