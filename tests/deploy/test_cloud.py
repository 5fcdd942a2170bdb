"""The client of Function Compute's API, against a server that fails for a while."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_push.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator


class Api:
    """A server that gives its answers in order; each is a status and a body."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                api.asked.append(self.path)
                status, body = api.answers.pop(0)
                if not status:
                    self.wfile.write(b"no HTTP\r\n\r\n")
                    return
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    thread = threading.Thread(target=api.server.serve_forever, args=(0.01,))
    thread.start()
    yield api
    api.server.shutdown()
    api.server.server_close()
    thread.join()


def cloud_of(api: Api) -> Any:
    from deploy.cloud import Cloud  # late: the SDK takes long to import

    return Cloud(api.url, Credentials("LTAI-deployer", "swordfish-secret"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "ServiceUnavailable"),
        (500, "InternalServerError"),
        (429, "ResourceThrottled"),
        (409, "ConcurrentUpdateError"),
    ],
)
def test_a_call_that_was_throttled_or_failed_is_repeated(api: Api, status: int, code: str) -> None:
    api.answers = [(status, {"Code": code, "RequestId": "1-x"}), (200, {"functionName": "f"})]

    assert cloud_of(api).function("f")["functionName"] == "f"
    assert len(api.asked) == 2


def test_a_call_that_was_refused_is_not_repeated(api: Api) -> None:
    from deploy.cloud import CloudRefused

    api.answers = [(403, {"Code": "AccessDenied", "RequestId": "1-x"})]

    with pytest.raises(CloudRefused, match="get_function: 403 AccessDenied"):
        cloud_of(api).function("f")


def test_the_triggers_of_every_page_are_read(api: Api) -> None:
    pages = [{"triggers": [{"triggerName": name}]} for name in "ab"]
    api.answers = [(200, pages[0] | {"nextToken": "more"}), (200, pages[1])]

    assert cloud_of(api).triggers("f").keys() == {"a", "b"}
    assert "nextToken=more" in api.asked[1]


def test_a_response_of_another_kind_is_refused(api: Api) -> None:
    from deploy.cloud import CloudRefused

    api.answers = [(200, [1])] * 2
    cloud = cloud_of(api)

    with pytest.raises(CloudRefused, match="list_functions"):
        cloud.functions()
    with pytest.raises(CloudRefused, match="list_triggers"):
        cloud.triggers("f")


def test_code_that_cannot_be_downloaded_is_refused(api: Api) -> None:
    from deploy.cloud import CloudRefused

    api.answers = [(200, {"url": f"{api.url}/code"}), (200, b"no archive")]
    with pytest.raises(CloudRefused, match="get_function_code"):
        cloud_of(api).code("f")

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("index.py", "print(1)\n" * 500)
    broken = held.getvalue().replace(b"index.py", b"index.py" + b"\xff" * 8, 1)
    api.answers = [(200, {"url": f"{api.url}/code"}), (200, broken)]
    with pytest.raises(CloudRefused, match="get_function_code"):
        cloud_of(api).code("f")

    api.answers = [(200, {"url": f"{api.url}/code"}), *[(0, None)] * 4]
    with pytest.raises(CloudRefused, match="get_function_code"):
        cloud_of(api).code("f")


def test_a_trigger_whose_configuration_is_no_json_is_refused(api: Api) -> None:
    from deploy.cloud import CloudRefused

    api.answers = [(200, {"triggers": [{"triggerName": "a", "triggerConfig": "{"}]})]

    with pytest.raises(CloudRefused, match="list_triggers"):
        cloud_of(api).triggers("f")
