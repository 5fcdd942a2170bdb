"""The response of an HTTP trigger, created from a function's return value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpaas_local.fc.http_response import BadResponse, response_of


@pytest.mark.parametrize(
    ("returned", "status", "headers", "body"),
    [
        (
            {
                "statusCode": 201,
                "headers": {"Content-Type": "text/plain"},
                "isBase64Encoded": False,
                "body": "ok",
            },
            201,
            {"content-type": "text/plain"},
            b"ok",
        ),
        ({"statusCode": 200, "body": "ok"}, 200, {"content-type": "application/json"}, b"ok"),
        ({"statusCode": 200}, 200, {"content-type": "application/json"}, b""),
        ({"statusCode": 200, "body": None}, 200, {"content-type": "application/json"}, b""),
        (
            {"statusCode": 404, "body": {"b": "你"}},
            404,
            {"content-type": "application/json"},
            '{"b":"你"}'.encode(),
        ),
        ({"statusCode": 200, "body": [1]}, 200, {"content-type": "application/json"}, b"[1]"),
        (
            {"statusCode": 200, "body": "AAEC/w==", "isBase64Encoded": True},
            200,
            {"content-type": "application/json"},
            b"\x00\x01\x02\xff",
        ),
        (
            {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
            200,
            {"content-type": "application/json"},
            b"not base64!",
        ),
        ({"statusCode": 204, "body": "dropped"}, 204, {"content-type": "application/json"}, b""),
        (
            {
                "statusCode": 200,
                "headers": {
                    "X-Mine": "1",
                    "X-Fc-Request-Id": "mine",
                    "x-fc-anything": "1",
                    "Connection": "close",
                    "Content-Length": "999",
                    "Date": "now",
                    "Keep-Alive": "x",
                    "Server": "mine",
                    "Upgrade": "x",
                    "Transfer-Encoding": "chunked",
                    "Content-Disposition": "attachment; filename=x",
                },
                "body": "",
            },
            200,
            {"x-mine": "1", "content-type": "application/json"},
            b"",
        ),
    ],
)
def test_object_with_a_status_code_is_the_response(
    returned: dict[str, Any], status: int, headers: dict[str, str], body: bytes
) -> None:
    response = response_of(json.dumps(returned).encode())
    assert (response.status, dict(response.headers), response.body) == (status, headers, body)


@pytest.mark.parametrize(
    "payload", [b"", b"plain", b"null", b"[1]", b'"statusCode"', b'{\n    "a": 1\n}', b"\xff\x00"]
)
def test_any_other_value_is_sent_unchanged_with_status_200_and_json_type(payload: bytes) -> None:
    response = response_of(payload)
    assert (response.status, response.body) == (200, payload)
    assert response.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    "returned",
    [
        {"statusCode": "200"},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 600},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "headers": {"Set-Cookie": ["a", "b"]}},
        {"statusCode": 200, "headers": {"X": 1}},
        {"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}},
        {"statusCode": 200, "headers": {"X Y": "a"}},
        {"statusCode": 200, "headers": {"X": "你"}},
        {"statusCode": 200, "headers": {"X": "x" * 8192}},
    ],
)
def test_response_that_cannot_be_sent_is_a_bad_response(returned: dict[str, Any]) -> None:
    with pytest.raises(BadResponse):
        response_of(json.dumps(returned).encode())
