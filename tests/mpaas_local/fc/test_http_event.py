"""The event of an HTTP trigger, created from a request without a server."""

from __future__ import annotations

import base64
import json

import pytest

from mpaas_local.fc.http_event import HttpRequest, PlatformFields, event_of


def test_time_is_in_seconds_and_epoch_is_milliseconds_as_text() -> None:
    platform = PlatformFields(
        "1000000000000000",
        "demo-abcdefgh.cn-hangzhou.fcapp.run",
        "1-67aee50c-15d63510-fecf237c590c",
        1739515148.1456,
    )
    context = json.loads(event_of(HttpRequest(method="GET", raw_path=b"/", query=b"", headers=()), platform))[
        "requestContext"
    ]
    assert (context["time"], context["timeEpoch"]) == ("2025-02-14T06:39:08Z", "1739515148145")


@pytest.mark.parametrize(
    ("content_type", "encoded"),
    [
        ("text/csv", False),
        ("text/html; charset=utf-8", False),
        ("application/json", False),
        ("APPLICATION/JSON;charset=UTF-8", False),
        ("application/ld+json", False),
        ("application/xhtml+xml", False),
        ("application/xml", False),
        ("application/atom+xml", False),
        ("application/javascript", False),
        ("application/problem+json", True),
        ("application/x-www-form-urlencoded", True),
        ("application/octet-stream", True),
        ("multipart/form-data; boundary=x", True),
        (None, True),
    ],
)
def test_body_is_base64_unless_its_type_is_listed(content_type: str | None, *, encoded: bool) -> None:
    headers = () if content_type is None else (("content-type", content_type),)
    event = json.loads(
        event_of(
            HttpRequest(method="POST", raw_path=b"/", query=b"", headers=headers, body="你".encode()),
            PlatformFields("1", "d.x"),
        )
    )
    assert event["isBase64Encoded"] is encoded
    assert event["body"] == (base64.b64encode("你".encode()).decode() if encoded else "你")


def test_bytes_that_are_not_text_do_not_break_a_text_body_or_a_path() -> None:
    request = HttpRequest(
        method="POST",
        raw_path=b"/%ff",
        query=b"q=%ff",
        headers=(("content-type", "text/plain"),),
        body=b"\xffa",
    )
    event = json.loads(event_of(request, PlatformFields("1", "d.x")))
    assert (event["rawPath"], event["requestContext"]["http"]["path"]) == ("/%ff", "/\ufffd")
    assert (event["body"], event["queryParameters"]) == ("\ufffda", {"q": "\ufffd"})
