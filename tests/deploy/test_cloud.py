"""The client of Function Compute's API, against a server that fails."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from mpaas_push.credentials import Credentials
from tests.servers import Exchange, Server, raw, reply

if TYPE_CHECKING:
    from deploy.cloud import Cloud


def cloud_of(server: Server) -> Cloud:
    from deploy.cloud import Cloud  # late: the SDK is slow to import

    return Cloud(server.url, Credentials("LTAI-deployer", "swordfish-secret"))


def link_to_code(exchange: Exchange) -> bool:
    """Respond to GetFunctionCode with a URL of this server."""
    return reply({"url": f"http://{exchange.request.headers['host']}/code"})(exchange)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "ServiceUnavailable"),
        (500, "InternalServerError"),
        (429, "ResourceThrottled"),
        (409, "ConcurrentUpdateError"),
    ],
)
def test_throttled_or_failed_call_is_retried(status: int, code: str) -> None:
    failure = reply({"Code": code, "RequestId": "1-x"}, status)
    with Server(failure, reply({"functionName": "f"})) as server:
        function = cloud_of(server).function("f")

    assert function is not None
    assert function["functionName"] == "f"
    assert len(server.requests) == 2


def test_refused_call_is_not_retried() -> None:
    from deploy.cloud import CloudRefused

    with (
        Server(reply({"Code": "AccessDenied", "RequestId": "1-x"}, 403)) as server,
        pytest.raises(CloudRefused, match="get_function: 403 AccessDenied"),
    ):
        cloud_of(server).function("f")
    assert len(server.requests) == 1


def test_triggers_of_all_pages_are_read() -> None:
    first, second = ({"triggers": [{"triggerName": name}]} for name in "ab")
    with Server(reply(first | {"nextToken": "more"}), reply(second)) as server:
        assert cloud_of(server).triggers("f").keys() == {"a", "b"}
    assert "nextToken=more" in server.requests[1].path


def test_unexpected_response_is_refused() -> None:
    from deploy.cloud import CloudRefused

    with Server(reply([1])) as server:
        cloud = cloud_of(server)
        with pytest.raises(CloudRefused, match="list_functions"):
            cloud.functions()
        with pytest.raises(CloudRefused, match="list_triggers"):
            cloud.triggers("f")


def test_code_that_cannot_be_downloaded_is_an_error() -> None:
    from deploy.cloud import CloudRefused

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("index.py", "print(1)\n" * 500)
    broken = archive.getvalue().replace(b"index.py", b"index.py" + b"\xff" * 8, 1)
    for download in (reply(b"no archive"), reply(broken), raw(b"no HTTP\r\n\r\n")):
        with (
            Server(link_to_code, download) as server,
            pytest.raises(CloudRefused, match="get_function_code"),
        ):
            cloud_of(server).code("f")


def test_trigger_configuration_that_is_not_json_is_an_error() -> None:
    from deploy.cloud import CloudRefused

    with (
        Server(reply({"triggers": [{"triggerName": "a", "triggerConfig": "{"}]})) as server,
        pytest.raises(CloudRefused, match="list_triggers"),
    ):
        cloud_of(server).triggers("f")
