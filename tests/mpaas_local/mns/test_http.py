"""What the SDK never sends: requests by hand, and the view for people."""

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
    """Send a request; underscores in header names become hyphens, an empty value leaves a header out."""
    sent = {"date": formatdate(usegmt=True), "content-type": "text/xml;charset=UTF-8"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in sent.items() if value}
    if sign and "authorization" not in headers:
        mark = signature(method, resource, sent, LOCAL_ACCESS_KEY_SECRET)
        sent["authorization"] = f"MNS {LOCAL_ACCESS_KEY_ID}:{mark}"
    connection = http.client.HTTPConnection(urlsplit(server.endpoint).netloc, timeout=60)
    try:
        connection.request(method, resource, body, sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def refused(server: MnsServer, *arguments: Any, **more: Any) -> tuple[int, str]:
    status, headers, body = call(server, *arguments, **more)
    root = ET.fromstring(body)
    error = {element.tag.removeprefix(NAMESPACE): element.text for element in root}
    assert root.tag == f"{NAMESPACE}Error"
    assert set(error) == {"Code", "Message", "RequestId", "HostId"}
    assert error["RequestId"] == headers["x-mns-request-id"]
    assert headers["content-type"] == "text/xml;charset=utf-8"
    return status, str(error["Code"])


# Signatures


def test_text_to_sign_is_the_documented_one() -> None:
    headers = {
        "host": "account.mns.cn-hangzhou.aliyuncs.com",
        "date": "Thu, 09 Jul 2015 03:01:34 GMT",
        "x-mns-version": "2015-06-06",
    }
    text = "GET\n\n\nThu, 09 Jul 2015 03:01:34 GMT\nx-mns-version:2015-06-06\n/MyQueue"
    assert string_to_sign("GET", "/MyQueue", headers) == text


def test_request_by_hand_is_answered(server: MnsServer) -> None:
    status, headers, body = call(server, "GET", ORDERS)
    assert status == 200
    assert headers["x-mns-version"] == "2015-06-06"
    assert body.startswith(b"<?xml")


def test_request_without_a_signature_is_refused(server: MnsServer) -> None:
    assert refused(server, "GET", ORDERS, sign=False) == (400, "MissingAuthorizationHeader")


@pytest.mark.parametrize("header", ["MNS key", "OSS key:c2ln", "MNS :c2ln", "MNS key:???"])
def test_authorization_of_another_form_is_refused(server: MnsServer, header: str) -> None:
    assert refused(server, "GET", ORDERS, authorization=header) == (400, "InvalidAuthorizationHeader")


def test_request_without_a_date_is_refused(server: MnsServer) -> None:
    assert refused(server, "GET", ORDERS, date="") == (400, "MissingDateHeader")
    assert refused(server, "GET", ORDERS, date="yesterday") == (400, "InvalidDateHeader")


@pytest.mark.parametrize("minutes", [-16, 16])
def test_request_of_another_time_is_refused(server: MnsServer, minutes: int) -> None:
    date = formatdate(time.time() + 60 * minutes, usegmt=True)
    assert refused(server, "GET", ORDERS, date=date) == (408, "TimeExpired")


def test_other_date_header_stands_in_for_date(server: MnsServer) -> None:
    assert call(server, "GET", ORDERS, date="", x_mns_date=formatdate(usegmt=True))[0] == 200


def test_changed_request_does_not_match_its_signature(server: MnsServer) -> None:
    headers = {"date": formatdate(usegmt=True), "content-type": "text/xml"}
    mark = signature("GET", ORDERS, headers, LOCAL_ACCESS_KEY_SECRET)
    authorization = f"MNS {LOCAL_ACCESS_KEY_ID}:{mark}"
    named: dict[str, Any] = {
        "date": headers["date"],
        "content_type": "text/xml",
        "authorization": authorization,
    }
    assert call(server, "GET", ORDERS, **named)[0] == 200
    refusal = (403, "SignatureDoesNotMatch")
    assert refused(server, "DELETE", ORDERS, **named) == refusal
    assert refused(server, "GET", "/queues/other", **named) == refusal
    assert refused(server, "GET", ORDERS + "?a=b", **named) == refusal
    assert refused(server, "GET", ORDERS, x_mns_prefix="a", **named) == refusal


def test_digest_must_belong_to_the_body(server: MnsServer) -> None:
    body = b"<Message><MessageBody>x</MessageBody></Message>"
    digest = hashlib.md5(body)
    for good in (digest.digest(), digest.hexdigest().encode()):
        header = base64.b64encode(good).decode()
        assert call(server, "POST", MESSAGES, body, content_md5=header)[0] == 201
    wrong = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    assert refused(server, "POST", MESSAGES, body, content_md5=wrong) == (400, "InvalidDegist")


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
def test_what_is_no_plain_document_is_malformed(server: MnsServer, body: bytes) -> None:
    assert refused(server, "POST", MESSAGES, body) == (400, "MalformedXML")
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
def test_document_of_another_schema_is_refused(server: MnsServer, body: bytes) -> None:
    assert refused(server, "POST", MESSAGES, body) == (400, "InvalidArgument")


def test_wrong_flag_is_refused(server: MnsServer) -> None:
    body = b"<Queue><LoggingEnabled>perhaps</LoggingEnabled></Queue>"
    assert refused(server, "PUT", ORDERS, body) == (400, "InvalidArgument")


def test_queue_is_created_without_a_body(server: MnsServer) -> None:
    status, headers, _ = call(server, "PUT", "/queues/plain")
    assert (status, headers["location"]) == (201, f"{server.endpoint}/queues/plain")
    assert call(server, "PUT", "/queues/plain")[0] == 204


def test_request_that_is_too_large_is_refused(server: MnsServer) -> None:
    body = b" " * (MAX_REQUEST_BYTES + 1)
    assert refused(server, "POST", MESSAGES, body) == (400, "InvalidArgument")


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
    assert refused(server, method, resource) == expected


def test_documented_spelling_of_parameters_works(server: MnsServer) -> None:
    server.store.send("orders", "x")
    (message,) = server.store.receive("orders")
    resource = f"{MESSAGES}?receiptHandle={message.receipt_handle}&visibilityTimeout=50"
    status, _, body = call(server, "PUT", resource)
    assert (status, ET.fromstring(body).tag) == (200, f"{NAMESPACE}ChangeVisibility")
    assert call(server, "PUT", f"{ORDERS}?metaOverride=true", b"<Queue/>")[0] == 204


@pytest.mark.parametrize("number", ["0", "1001", "many"])
def test_wrong_page_is_refused(server: MnsServer, number: str) -> None:
    assert refused(server, "GET", "/queues", x_mns_ret_number=number) == (400, "InvalidArgument")


def test_listing_with_meta_shows_the_attributes(server: MnsServer) -> None:
    _, _, body = call(server, "GET", "/queues", x_mns_with_meta="true")
    (queue,) = ET.fromstring(body)
    read = {element.tag.removeprefix(NAMESPACE): element.text for element in queue}
    assert read["QueueURL"] == f"{server.endpoint}/queues/orders"
    assert (read["VisibilityTimeout"], read["ActiveMessages"]) == ("30", "0")


def test_failure_of_the_server_is_an_internal_error(
    server: MnsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server.store, "queue", lambda _: 1 / 0)
    assert refused(server, "GET", ORDERS) == (500, "InternalError")
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
    read = json.loads(call(server, "GET", "/.local/queues/orders/messages", sign=False)[2])
    assert read["queue"] == queue
    assert [(each["state"], each["text"]) for each in read["messages"]] == [
        ("active", "你好"),
        ("delayed", "not base64"),
    ]
    delayed = "/.local/queues/orders/messages?state=delayed&limit=1&offset=0"
    (message,) = json.loads(call(server, "GET", delayed, sign=False)[2])["messages"]
    assert message["messageBody"] == "not base64"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("orders/messages?state=lost", 400),
        ("orders/messages?limit=1001", 400),
        ("orders/messages?limit=x", 400),
        ("orders/messages?offset=" + "0" * 5000 + "1", 400),
        ("orders/messages?page=1", 400),
        ("nothing/messages", 404),
    ],
)
def test_wrong_question_to_the_view_is_a_problem(server: MnsServer, query: str, status: int) -> None:
    answer = call(server, "GET", f"/.local/queues/{query}", sign=False)
    assert (answer[0], answer[1]["content-type"]) == (status, "application/problem+json")
    assert json.loads(answer[2])["status"] == status


def test_view_cannot_change_anything(server: MnsServer) -> None:
    assert refused(server, "DELETE", "/.local/queues", sign=False) == (400, "MissingAuthorizationHeader")
    assert refused(server, "DELETE", "/.local/queues") == (400, "InvalidRequestURL")
    assert len(server.store.queues()) == 1


# The server


def test_port_in_use_is_an_error_that_names_it(server: MnsServer, tmp_path: Path) -> None:
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
