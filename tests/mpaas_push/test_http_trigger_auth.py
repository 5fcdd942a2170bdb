"""Requests of common HTTP clients to an HTTP trigger that verifies signatures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests

from mpaas_local.fc.http_trigger import create_gateway
from mpaas_local.mpaas import AccessKey
from mpaas_local.server import Server
from mpaas_push import Credentials, Misconfigured, http_trigger_auth
from mpaas_push.http_trigger_auth import HttpTriggerAuth, signature_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

STS = Credentials("STS.caller", "caller-secret", "caller-token")
USER = Credentials("LTAI-caller", "other-secret")
URLS = [
    "https://push.cn-hangzhou.fcapp.run",
    "https://push.cn-hangzhou.fcapp.run/v1/pushes?dryRun=true",
    "https://push.cn-hangzhou.fcapp.run/a/$b/%E4%BD%A0?z=1&a=%20b%2Fc&a=2",
]


@dataclass
class Echo:
    payload: bytes
    error_type: str | None = None


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a trigger that accepts both keys and echoes the event."""

    def echo(event: bytes, _request_id: str) -> Echo:
        return Echo(json.dumps({"statusCode": 200, "body": event.decode()}).encode())

    keys = {key.access_key_id: AccessKey(key.access_key_secret, key.security_token) for key in (STS, USER)}
    with Server(create_gateway(echo, access_keys=keys)) as server:
        yield server.url


def by_httpx(method: str, url: str, auth: HttpTriggerAuth | None, body: bytes) -> tuple[int, Any]:
    response = httpx.request(method, url, auth=auth, content=body)
    return response.status_code, response.json()


def by_requests(method: str, url: str, auth: HttpTriggerAuth | None, body: bytes) -> tuple[int, Any]:
    response = requests.request(method, url, auth=auth, data=body, allow_redirects=False, timeout=30)
    return response.status_code, response.json()


Send = Callable[[str, str, HttpTriggerAuth | None, bytes], tuple[int, Any]]
clients = pytest.mark.parametrize("send", [by_httpx, by_requests])


@clients
@pytest.mark.parametrize("key", [STS, USER], ids=["role", "user"])
@pytest.mark.parametrize("path", ["", "/v1/pushes?dryRun=true", "/a/$b/%E4%BD%A0?z=1&a=%20b%2Fc&a=2&empty="])
def test_signed_request_reaches_the_function(url: str, send: Send, key: Credentials, path: str) -> None:
    status, event = send("POST", url + path, HttpTriggerAuth(key), "汉".encode())

    assert status == 200
    assert event["requestContext"]["http"]["method"] == "POST"


@clients
def test_key_is_looked_up_for_each_request(url: str, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = HttpTriggerAuth()
    for name in ("MPAAS_AK_ENV", "MPAAS_SK_ENV", "ALIBABA_CLOUD_SECURITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for key in (STS, USER):
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key.access_key_id)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", key.access_key_secret)
        monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", key.security_token or "")

        assert send("GET", f"{url}/v1/health", auth, b"")[0] == 200

    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    with pytest.raises(Misconfigured, match="ALIBABA_CLOUD_ACCESS_KEY_SECRET is missing"):
        send("GET", f"{url}/v1/health", auth, b"")


@clients
@pytest.mark.parametrize(
    ("key", "status", "text"),
    [
        (None, 400, "required HTTP header Date was not specified"),
        (Credentials("LTAI-caller", "wrong"), 403, "does not match the signature you provided"),
        (Credentials("STS.caller", "caller-secret", "old-token"), 403, "security token"),
        (Credentials("nobody", "wrong"), 403, "does not exist"),
    ],
    ids=["unsigned", "wrong secret", "wrong token", "unknown key"],
)
def test_unsigned_or_wrongly_signed_request_is_refused(
    url: str, send: Send, key: Credentials | None, status: int, text: str
) -> None:
    received, error = send("GET", url, HttpTriggerAuth(key) if key else None, b"")

    assert received == status
    assert text in error["errorMessage"]


def test_signature_is_valid_for_one_method_path_and_query_and_expires(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = signature_headers("GET", f"{url}/v1/health?a=1", USER)

    assert httpx.get(f"{url}/v1/health?a=1", headers=headers).status_code == 200
    assert httpx.post(f"{url}/v1/health?a=1", headers=headers).status_code == 403
    assert httpx.get(f"{url}/v1/pushes?a=1", headers=headers).status_code == 403
    assert httpx.get(f"{url}/v1/health?a=2", headers=headers).status_code == 403

    clock_901_seconds_ago = SimpleNamespace(
        strftime=time.strftime, gmtime=lambda: time.gmtime(time.time() - 901)
    )
    monkeypatch.setattr(http_trigger_auth, "time", clock_901_seconds_ago)
    late = httpx.get(url, headers=signature_headers("GET", url, USER))
    assert late.status_code == 403
    assert "is too large" in late.json()["errorMessage"]


@pytest.mark.parametrize("key", [STS, USER], ids=["role", "user"])
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_signature_equals_that_of_the_official_sdk(method: str, url: str, key: Credentials) -> None:
    """The request is built as in the official page's sample."""
    from alibabacloud_tea_openapi.utils import Utils  # 300 modules: imported late
    from darabonba.request import DaraRequest

    headers = dict(signature_headers(method, url, key))
    signed = headers.pop("authorization")

    request = DaraRequest()
    request.method = method
    request.pathname = urlsplit(url).path.replace("$", "%24")
    request.headers = headers
    request.query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    official = Utils.get_authorization(
        request, "ACS3-HMAC-SHA256", "", key.access_key_id, key.access_key_secret
    )

    assert signed == official


def test_lower_case_method_is_signed_as_it_is_sent(url: str) -> None:
    assert httpx.request("get", url, auth=HttpTriggerAuth(USER)).status_code == 200
