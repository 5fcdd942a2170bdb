"""A push written down to be sent again by hand: as a command, as Python, as a test payload."""

from __future__ import annotations

import json
import shlex
from pprint import pformat
from typing import Any

__all__ = ["copies_of"]


def copies_of(message: dict[str, Any], url: str) -> dict[str, str]:
    """Return a message as curl for the HTTP function, as Python with `mpaas_push`, and as JSON.

    Args:
        message: In the page's names.
        url: Of the HTTP function.
    """
    payload = json.dumps(message, ensure_ascii=False, indent=2)
    header = "Content-Type: application/json"
    return {
        "curl": f"curl -sS -X POST {url}/v1/pushes -H {shlex.quote(header)} -d {shlex.quote(payload)}",
        "python": (
            "from mpaas_push import PushClient, PushMessage\n\n"
            f"message = PushMessage.parse({pformat(message, width=100, sort_dicts=False)})\n"
            "with PushClient.from_env() as client:\n"
            "    for outcome in client.send(message):\n"
            "        print(outcome.kind, outcome.request_id)\n"
        ),
        "payload": payload,
    }
