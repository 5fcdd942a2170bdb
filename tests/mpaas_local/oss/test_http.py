"""Signatures, addresses, and requests that the SDK never sends."""

from __future__ import annotations

import http.client
import socket
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import alibabacloud_oss_v2 as oss
import pytest
import urllib3

from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, AccessKey
from mpaas_local.account import Account
from mpaas_local.oss import OssServer, OssStore
from tests.mpaas_local.oss.sdk import connect, get, keys, put, refused
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSIONS = ["v1", "v4"]
LATER = timedelta(minutes=16)


def presigned(client: Any, request: Any, **options: Any) -> tuple[str, dict[str, str]]:
    """Return a presigned URL and the headers that must be sent with it."""
    result = client.presign(request, **options)
    return result.url, dict(result.signed_headers)


def send(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Send a request without normalizing its path."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        target = url.removeprefix(f"http://{parts.netloc}")
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        response_headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, response_headers, response.read()
    finally:
        connection.close()


def code_of(body: bytes) -> str | None:
    return ET.fromstring(body).findtext("Code")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", ["a b+c%2Fd?e=f&g#h", "目录/\U0001f600.png", "a//b", "~a'(b)*!.,;:@$"])
def test_signatures_are_valid_for_unusual_names(server: OssServer, version: str, key: str) -> None:
    client = connect(server.endpoint, signature_version=version)

    put(client, key, metadata={"user": "user-1"})

    assert get(client, key).body.content == b"hello"
    assert keys(client, prefix=key[:2]) == [key]
    url, headers = presigned(client, oss.GetObjectRequest(bucket="media", key=key))
    assert send("GET", url, headers)[2] == b"hello"
    client.delete_object(oss.DeleteObjectRequest(bucket="media", key=key))
    assert keys(client) == []


@pytest.mark.parametrize(
    "key", ["../a", "a/../../b", "..", ".", "a/./b", "%2e%2e/a", "index.sqlite3", "a\\b"]
)
def test_object_names_are_never_used_as_paths(server: OssServer, key: str) -> None:
    client = connect(server.endpoint)
    url, headers = presigned(client, oss.PutObjectRequest(bucket="media", key=key))

    status, _, body = send("PUT", url, headers, b"harmless")

    assert status == 200, body
    assert keys(client) == [key]
    url, headers = presigned(client, oss.GetObjectRequest(bucket="media", key=key))
    assert send("GET", url, headers)[2] == b"harmless"
    stored = server.store.get("media", key)
    assert stored.path.resolve().parent.parent.name == "bytes"


def test_an_encoded_slash_is_a_slash(server: OssServer) -> None:
    client = connect(server.endpoint)
    url, headers = presigned(client, oss.PutObjectRequest(bucket="media", key="a/b"))

    assert send("PUT", url.replace("/a/b", "/a%2Fb"), headers, b"hello")[0] == 200

    assert get(client, "a/b").body.content == b"hello"


@pytest.mark.parametrize("key", ["/a", "\\a", "a" * 1024])
def test_forbidden_object_names_are_refused(server: OssServer, key: str) -> None:
    url, headers = presigned(connect(server.endpoint), oss.PutObjectRequest(bucket="media", key=key))

    status, _, body = send("PUT", url, headers, b"hello")

    assert (status, code_of(body)) == (400, "InvalidObjectName")


def test_an_object_name_that_is_not_utf_8_is_refused(server: OssServer) -> None:
    status, _, body = send("GET", f"{server.endpoint}/media/%ff")

    assert (status, code_of(body)) == (400, "InvalidObjectName")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("settings", [{}, {"use_path_style": True}])
def test_a_bucket_is_named_in_the_host_or_in_the_path(
    server: OssServer, version: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *arguments, **options: resolve(
            "127.0.0.1" if str(host).endswith("localhost") else host, *arguments, **options
        ),
    )
    port = urlsplit(server.endpoint).port
    client = connect(f"http://localhost:{port}", signature_version=version, **settings)

    put(client, "a/b")

    assert get(client, "a/b").body.content == b"hello"
    assert keys(client) == ["a/b"]
    assert [bucket.name for bucket in client.list_buckets(oss.ListBucketsRequest()).buckets] == ["media"]


@pytest.mark.parametrize("version", VERSIONS)
def test_temporary_keys_require_their_token(store: OssStore, version: str) -> None:
    access_keys = {LOCAL_ACCESS_KEY_ID: AccessKey(LOCAL_ACCESS_KEY_SECRET, "token")}
    with OssServer(store, access_keys=access_keys) as server:
        client = connect(server.endpoint, token="token", signature_version=version)
        put(client, "a")
        url, headers = presigned(client, oss.GetObjectRequest(bucket="media", key="a"))
        assert send("GET", url, headers)[2] == b"hello"
        for token in ("other", None):
            with refused("InvalidAccessKeyId"):
                put(connect(server.endpoint, token=token, signature_version=version), "a")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_wrong_secret_is_refused(store: OssStore, version: str) -> None:
    with OssServer(store, access_keys={LOCAL_ACCESS_KEY_ID: AccessKey("another")}) as server:
        client = connect(server.endpoint, signature_version=version)
        with refused("SignatureDoesNotMatch") as refusal:
            put(client, "a")
        url, headers = presigned(client, oss.GetObjectRequest(bucket="media", key="a"))
        status, _, body = send("GET", url, headers)
    assert refusal.error.ec == "0002-00000040"
    assert refusal.error.error_fileds["StringToSign"].startswith("OSS4" if version == "v4" else "PUT")
    assert LOCAL_ACCESS_KEY_SECRET not in str(refusal.error)
    assert (status, code_of(body)) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_key_is_refused(store: OssStore, version: str) -> None:
    with OssServer(store, access_keys={}) as server, refused("InvalidAccessKeyId") as refusal:
        put(connect(server.endpoint, signature_version=version), "a")
    assert refusal.error.error_fileds["OSSAccessKeyId"] == LOCAL_ACCESS_KEY_ID


def test_an_unsigned_request_is_refused(server: OssServer) -> None:
    status, headers, body = send("GET", f"{server.endpoint}/media/a")

    document = ET.fromstring(body)
    assert (status, document.tag) == (403, "Error")
    assert {child.tag: child.text for child in document} == {
        "Code": "AccessDenied",
        "Message": "You have no right to access this object because of bucket acl.",
        "RequestId": headers["x-oss-request-id"],
        "HostId": urlsplit(server.endpoint).netloc,
        "EC": "0003-00000001",
    }
    assert headers["x-oss-ec"] == "0003-00000001"
    assert headers["content-type"] == "application/xml"


@pytest.mark.parametrize(
    "authorization", ["OSS", "OSS id", "OSS4-HMAC-SHA256 Credential=a", "Basic abc", "OSS4-HMAC-SHA256 x"]
)
def test_a_malformed_signature_is_refused(server: OssServer, authorization: str) -> None:
    status, _, body = send("GET", f"{server.endpoint}/media/a", {"authorization": authorization})

    assert (status, code_of(body)) == (400, "InvalidArgument")


def test_a_signature_for_another_region_is_refused(store: OssStore) -> None:
    with OssServer(store, account=Account(region="cn-shanghai")) as server:
        with refused("InvalidArgument") as refusal:
            put(connect(server.endpoint), "a")
        put(connect(server.endpoint, region="cn-shanghai"), "a")
    assert "Invalid signing region" in refusal.error.message


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shift", [LATER, -LATER])
def test_a_skewed_clock_is_reported(tmp_path: Path, version: str, shift: timedelta) -> None:
    store = OssStore(tmp_path, clock=lambda: time.time() + shift.total_seconds())
    store.create_bucket("media")
    with OssServer(store) as server, refused("RequestTimeTooSkewed") as refusal:
        put(connect(server.endpoint, signature_version=version), "a")
    store.close()
    assert refusal.error.status_code == 403
    assert refusal.error.error_fileds["MaxAllowedSkewMilliseconds"] == "900000"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_presigned_url_expires(tmp_path: Path, version: str) -> None:
    now = datetime.now(timezone.utc)
    store = OssStore(tmp_path, clock=lambda: now.timestamp() + 61)
    store.create_bucket("media")
    with OssServer(store) as server:
        client = connect(server.endpoint, signature_version=version)
        responses = []
        for seconds in (60, 120):
            url, headers = presigned(
                client,
                oss.PutObjectRequest(bucket="media", key="a", content_type="text/csv"),
                expiration=now + timedelta(seconds=seconds),
            )
            responses.append(send("PUT", url, headers, b"a"))
    store.close()
    (expired, _, body), (valid, _, _) = responses
    assert (expired, code_of(body), valid) == (403, "AccessDenied", 200)
    assert b"Request has expired." in body


def test_a_presigned_url_is_valid_only_for_the_signed_request(server: OssServer) -> None:
    client = connect(server.endpoint)
    put(client, "a")
    url, _ = presigned(client, oss.GetObjectRequest(bucket="media", key="a"))

    for method, changed_url in (
        ("PUT", url),
        ("GET", url.replace("/media/a?", "/media/b?")),
        ("GET", f"{url}&response-content-type=text%2Fhtml"),
        ("GET", url.replace("x-oss-expires=900", "x-oss-expires=9000")),
    ):
        status, _, body = send(method, changed_url, body=b"" if method == "PUT" else None)
        assert (status, code_of(body)) == (403, "SignatureDoesNotMatch")


def test_a_response_has_the_headers_that_the_url_requests(server: OssServer) -> None:
    client = connect(server.endpoint)
    put(client, "a")
    request = oss.GetObjectRequest(
        bucket="media", key="a", response_content_type="text/csv", response_content_disposition="attachment"
    )

    _, headers, _ = send("GET", presigned(client, request)[0])

    assert (headers["content-type"], headers["content-disposition"]) == ("text/csv", "attachment")


def test_an_interrupted_upload_leaves_no_object(server: OssServer) -> None:
    client = connect(server.endpoint)
    put(client, "a", b"complete")
    url, _ = presigned(client, oss.PutObjectRequest(bucket="media", key="a"))
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 80)) as connection:
        head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500_000)

    assert get(client, "a").body.content == b"complete"
    put(client, "b", b"other")
    unfinished = server.store.get("media", "a").path.parents[1] / "unfinished"
    eventually(lambda: list(unfinished.iterdir()) == [])
    assert get(client, "a").body.content == b"complete"


def test_a_chunked_body_is_accepted(server: OssServer) -> None:
    client = connect(server.endpoint)
    url, _ = presigned(client, oss.PutObjectRequest(bucket="media", key="a"))

    response = urllib3.request(
        "PUT", url, body=iter([b"one", b"two"]), headers={"Transfer-Encoding": "chunked"}, timeout=60
    )

    assert response.status == 200, response.data
    assert get(client, "a").body.content == b"onetwo"


def test_an_upload_requires_its_length(server: OssServer) -> None:
    url, _ = presigned(connect(server.endpoint), oss.PutObjectRequest(bucket="media", key="a"))
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port or 80)) as connection:
        connection.sendall(
            f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 411 ")


@pytest.mark.parametrize(
    "document",
    [
        b"<Delete>",
        b"<Other/>",
        b"<Delete/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b"<Delete><Object><Key>a</Key></Object>" + b"<a>" * 8 + b"</a>" * 8 + b"</Delete>",
    ],
)
def test_a_malformed_or_unsafe_deletion_is_refused(server: OssServer, document: bytes) -> None:
    client = connect(server.endpoint)
    operation = oss.OperationInput(
        op_name="Delete", method="POST", bucket="media", parameters={"delete": ""}, body=document
    )

    with refused("MalformedXML"):
        client.invoke_operation(operation)


@pytest.mark.parametrize("host", ["evil.example", "media.localhost.evil.example", "127.0.0.1.evil.example"])
def test_requests_of_web_pages_are_refused(server: OssServer, host: str) -> None:
    assert send("GET", f"{server.endpoint}/media/a", {"host": host})[0] == 403
    assert send("GET", f"{server.endpoint}/media/a", {"origin": f"http://{host}"})[0] == 403
