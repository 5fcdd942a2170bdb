"""Requests that the SDK never sends, and the view for people."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest

from mpaas_local.mns import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, MnsServer, PortInUse
from mpaas_local.mns.app import MAX_REQUEST_BYTES
from mpaas_local.mns.signature import signature, string_to_sign

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "{http://mns.aliyuncs.com/doc/v1/}"
ORDERS = "/queues/orders"
MESSAGES = "/queues/orders/messages"


@pytest.fixture(autouse=True)
def _orders(server: MnsServer) -> None:
    server.store.create_queue("orders")


def call(
    server: MnsServer,
    method: str,
    resource: str,
    body: bytes = b"",
    *,
    sign: bool = True,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Send a request; underscores in header names become hyphens, an empty value omits a header."""
    all_headers = {"date": formatdate(usegmt=True), "content-type": "text/xml;charset=UTF-8"}
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    all_headers = {name: value for name, value in all_headers.items() if value}
    if sign and "authorization" not in headers:
        text = signature(method, resource, all_headers, LOCAL_ACCESS_KEY_SECRET)
        all_headers["authorization"] = f"MNS {LOCAL_ACCESS_KEY_ID}:{text}"
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=60)
    try:
        connection.request(method, resource, body, all_headers)
        response = connection.getresponse()
        response_headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, response_headers, response.read()
    finally:
        connection.close()


def refusal(server: MnsServer, *arguments: Any, **options: Any) -> tuple[int, str]:
    """Status and code of the error that a request receives."""
    status, headers, body = call(server, *arguments, **options)
    root = ET.fromstring(body)
    error = {element.tag.removeprefix(NAMESPACE): element.text for element in root}
    assert root.tag == f"{NAMESPACE}Error"
    assert set(error) == {"Code", "Message", "RequestId", "HostId"}
    assert error["RequestId"] == headers["x-mns-request-id"]
    assert headers["content-type"] == "text/xml;charset=utf-8"
    return status, str(error["Code"])


# Signatures


def test_string_to_sign_matches_the_documented_example() -> None:
    headers = {
        "host": "account.mns.cn-hangzhou.aliyuncs.com",
        "date": "Thu, 09 Jul 2015 03:01:34 GMT",
        "x-mns-version": "2015-06-06",
    }
    text = "GET\n\n\nThu, 09 Jul 2015 03:01:34 GMT\nx-mns-version:2015-06-06\n/MyQueue"
    assert string_to_sign("GET", "/MyQueue", headers) == text


def test_signed_request_succeeds(server: MnsServer) -> None:
    status, headers, body = call(server, "GET", ORDERS)
    assert status == 200
    assert headers["x-mns-version"] == "2015-06-06"
    assert body.startswith(b"<?xml")


def test_request_without_a_signature_is_refused(server: MnsServer) -> None:
    assert refusal(server, "GET", ORDERS, sign=False) == (400, "MissingAuthorizationHeader")


@pytest.mark.parametrize("header", ["MNS key", "OSS key:c2ln", "MNS :c2ln", "MNS key:???"])
def test_malformed_authorization_is_refused(server: MnsServer, header: str) -> None:
    assert refusal(server, "GET", ORDERS, authorization=header) == (400, "InvalidAuthorizationHeader")


def test_request_without_a_valid_date_is_refused(server: MnsServer) -> None:
    assert refusal(server, "GET", ORDERS, date="") == (400, "MissingDateHeader")
    assert refusal(server, "GET", ORDERS, date="yesterday") == (400, "InvalidDateHeader")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_request_with_a_skewed_date_is_refused(server: MnsServer, minutes: int) -> None:
    date = formatdate(time.time() + 60 * minutes, usegmt=True)
    assert refusal(server, "GET", ORDERS, date=date) == (408, "TimeExpired")


def test_x_mns_date_replaces_the_date_header(server: MnsServer) -> None:
    assert call(server, "GET", ORDERS, date="", x_mns_date=formatdate(usegmt=True))[0] == 200


def test_changed_request_does_not_match_its_signature(server: MnsServer) -> None:
    headers = {"date": formatdate(usegmt=True), "content-type": "text/xml"}
    text = signature("GET", ORDERS, headers, LOCAL_ACCESS_KEY_SECRET)
    signed: dict[str, Any] = {
        "date": headers["date"],
        "content_type": "text/xml",
        "authorization": f"MNS {LOCAL_ACCESS_KEY_ID}:{text}",
    }
    assert call(server, "GET", ORDERS, **signed)[0] == 200
    mismatch = (403, "SignatureDoesNotMatch")
    assert refusal(server, "DELETE", ORDERS, **signed) == mismatch
    assert refusal(server, "GET", "/queues/other", **signed) == mismatch
    assert refusal(server, "GET", ORDERS + "?a=b", **signed) == mismatch
    assert refusal(server, "GET", ORDERS, x_mns_prefix="a", **signed) == mismatch


def test_digest_must_match_the_body(server: MnsServer) -> None:
    body = b"<Message><MessageBody>x</MessageBody></Message>"
    digest = hashlib.md5(body)
    for valid in (digest.digest(), digest.hexdigest().encode()):
        header = base64.b64encode(valid).decode()
        assert call(server, "POST", MESSAGES, body, content_md5=header)[0] == 201
    wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    assert refusal(server, "POST", MESSAGES, body, content_md5=wrong) == (400, "InvalidDegist")


# Documents


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<Message>",
        b"\xff\xfe",
        b'<?xml version="1.0" encoding="no-such-code"?><Message/>',
        b'<!DOCTYPE Message [<!ENTITY a "b">]><Message><MessageBody>&a;</MessageBody></Message>',
        b'<!DOCTYPE Message SYSTEM "file:///etc/passwd"><Message/>',
        b"<a>" * 9 + b"</a>" * 9,
    ],
)
def test_malformed_or_unsafe_document_is_refused(server: MnsServer, body: bytes) -> None:
    assert refusal(server, "POST", MESSAGES, body) == (400, "MalformedXML")
    assert server.store.messages("orders") == []


@pytest.mark.parametrize(
    "body",
    [
        b"<Queue/>",
        b"<Message/>",
        b"<Message><MessageBody/></Message>",
        b"<Message><Body>x</Body></Message>",
        b"<Message><MessageBody>x</MessageBody><Priority>high</Priority></Message>",
        b"<Messages/>",
        b"<Messages><Message/></Messages>",
    ],
)
def test_document_of_a_wrong_schema_is_refused(server: MnsServer, body: bytes) -> None:
    assert refusal(server, "POST", MESSAGES, body) == (400, "InvalidArgument")


def test_wrong_flag_is_refused(server: MnsServer) -> None:
    body = b"<Queue><LoggingEnabled>perhaps</LoggingEnabled></Queue>"
    assert refusal(server, "PUT", ORDERS, body) == (400, "InvalidArgument")


def test_queue_is_created_without_a_body(server: MnsServer) -> None:
    status, headers, _ = call(server, "PUT", "/queues/plain")
    assert (status, headers["location"]) == (201, f"{server.endpoint}/queues/plain")
    assert call(server, "PUT", "/queues/plain")[0] == 204


def test_request_that_is_too_large_is_refused(server: MnsServer) -> None:
    body = b" " * (MAX_REQUEST_BYTES + 1)
    assert refusal(server, "POST", MESSAGES, body) == (400, "InvalidArgument")


# Addresses


@pytest.mark.parametrize(
    ("method", "resource", "expected"),
    [
        ("GET", "/", (400, "InvalidRequestURL")),
        ("PUT", "/", (400, "InvalidRequestURL")),
        ("GET", "/nothing/here", (400, "InvalidRequestURL")),
        ("POST", ORDERS, (400, "InvalidRequestURL")),
        ("GET", MESSAGES + "?waitseconds=long", (400, "InvalidQueryString")),
        ("GET", MESSAGES + "?numOfMessages=-1", (400, "InvalidQueryString")),
        ("GET", MESSAGES + "?waitseconds=" + "0" * 5000, (400, "InvalidQueryString")),
        ("PUT", MESSAGES, (400, "MissingReceiptHandle")),
        ("PUT", MESSAGES + "?receiptHandle=1-x", (400, "MissingVisibilityTimeout")),
        ("DELETE", MESSAGES, (400, "MissingReceiptHandle")),
        ("DELETE", MESSAGES + "?ReceiptHandle=", (400, "MissingReceiptHandle")),
    ],
)
def test_wrong_address_is_refused(
    server: MnsServer, method: str, resource: str, expected: tuple[int, str]
) -> None:
    assert refusal(server, method, resource) == expected


def test_documented_spelling_of_parameters_works(server: MnsServer) -> None:
    server.store.send("orders", "x")
    (message,) = server.store.receive("orders")
    resource = f"{MESSAGES}?receiptHandle={message.receipt_handle}&visibilityTimeout=50"
    status, _, body = call(server, "PUT", resource)
    assert (status, ET.fromstring(body).tag) == (200, f"{NAMESPACE}ChangeVisibility")
    assert call(server, "PUT", f"{ORDERS}?metaOverride=true", b"<Queue/>")[0] == 204


@pytest.mark.parametrize("number", ["0", "1001", "many"])
def test_wrong_page_is_refused(server: MnsServer, number: str) -> None:
    assert refusal(server, "GET", "/queues", x_mns_ret_number=number) == (400, "InvalidArgument")


def test_listing_with_meta_shows_the_attributes(server: MnsServer) -> None:
    _, _, body = call(server, "GET", "/queues", x_mns_with_meta="true")
    (queue,) = ET.fromstring(body)
    attributes = {element.tag.removeprefix(NAMESPACE): element.text for element in queue}
    assert attributes["QueueURL"] == f"{server.endpoint}/queues/orders"
    assert (attributes["VisibilityTimeout"], attributes["ActiveMessages"]) == ("30", "0")


def test_unexpected_exception_becomes_an_internal_error(
    server: MnsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server.store, "queue", lambda _: 1 / 0)
    assert refusal(server, "GET", ORDERS) == (500, "InternalError")
    assert "ZeroDivisionError" in caplog.text


# The view for people


def test_view_shows_queues_and_messages(server: MnsServer) -> None:
    server.store.send("orders", base64.b64encode("你好".encode()).decode())
    server.store.send("orders", "not base64", delay_seconds=5)
    status, headers, body = call(server, "GET", "/.local/queues", sign=False)
    assert (status, headers["content-type"]) == (200, "application/json")
    (queue,) = json.loads(body)["queues"]
    assert (queue["name"], queue["activeMessages"], queue["delayMessages"]) == ("orders", 1, 1)
    assert queue["visibilityTimeout"] == 30
    page = json.loads(call(server, "GET", "/.local/queues/orders/messages", sign=False)[2])
    assert page["queue"] == queue
    assert [(message["state"], message["text"]) for message in page["messages"]] == [
        ("active", "你好"),
        ("delayed", "not base64"),
    ]
    delayed = "/.local/queues/orders/messages?state=delayed&limit=1&offset=0"
    (message,) = json.loads(call(server, "GET", delayed, sign=False)[2])["messages"]
    assert message["messageBody"] == "not base64"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("orders/messages?state=lost", 400),
        ("orders/messages?limit=1001", 400),
        ("orders/messages?limit=x", 400),
        ("orders/messages?offset=" + "0" * 5000 + "1", 400),
        ("orders/messages?page=1", 400),
        ("nothing/messages", 404),
    ],
)
def test_wrong_query_to_the_view_is_a_problem(server: MnsServer, query: str, expected: int) -> None:
    status, headers, body = call(server, "GET", f"/.local/queues/{query}", sign=False)
    assert (status, headers["content-type"]) == (expected, "application/problem+json")
    assert json.loads(body)["status"] == expected


def test_view_cannot_change_anything(server: MnsServer) -> None:
    assert refusal(server, "DELETE", "/.local/queues", sign=False) == (400, "MissingAuthorizationHeader")
    assert refusal(server, "DELETE", "/.local/queues") == (400, "InvalidRequestURL")
    assert len(server.store.queues()) == 1


# The server


def test_port_in_use_is_reported(server: MnsServer, tmp_path: Path) -> None:
    port = urlsplit(server.endpoint).port
    assert port is not None
    with pytest.raises(PortInUse) as raised:
        MnsServer(tmp_path / "queues.db", port=port).start()
    assert raised.value.port == port


def test_stopping_twice_is_harmless_and_a_given_store_stays_open(server: MnsServer) -> None:
    other = MnsServer(server.store).start()
    other.stop()
    other.stop()
    server.store.send("orders", "still there")
    assert len(server.store.messages("orders")) == 1
