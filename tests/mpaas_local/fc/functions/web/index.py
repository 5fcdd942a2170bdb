"""Handlers for an HTTP trigger."""

import json
import time
from pathlib import Path
from typing import Any, NoReturn


def handler(event: bytes, _context: Any) -> dict[str, Any]:
    request = json.loads(event)
    body = {"method": request["requestContext"]["http"]["method"], "body": request["body"]}
    return {"statusCode": 201, "headers": {"X-Custom": "yes"}, "body": body}


def fail(_event: bytes, _context: Any) -> NoReturn:
    raise ValueError("a secret")


def wait_for_file(event: bytes, _context: Any) -> str:
    end = Path(json.loads(event)["headers"]["X-File"])
    deadline = time.monotonic() + 60
    while not end.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "done"


def plain(_event: bytes, _context: Any) -> dict[str, int]:
    return {"b": 2, "a": 1}
