"""A push to copy and send manually: as curl, as Python, as a test payload."""

from __future__ import annotations

import json
import shlex
from pprint import pformat
from typing import Any

__all__ = ["copies_of"]


def copies_of(message: dict[str, Any], url: str, sandbox: str) -> dict[str, str]:
    """Return a message as curl for the HTTP function, as Python with `mpaas_push`, and as JSON.

    Args:
        message: The message as JSON.
        url: URL of the HTTP function.
        sandbox: URL of the sandbox, for the Python code.
    """
    payload = json.dumps(message, ensure_ascii=False, indent=2)
    header = "Content-Type: application/json"
    return {
        "curl": f"curl -sS -X POST {url}/v1/pushes -H {shlex.quote(header)} -d {shlex.quote(payload)}",
        "python": (
            "from mpaas_local.account import LocalCredentials\n"
            "from mpaas_push import Credentials, Invocation, PushClient, PushMessage\n\n"
            "# Sends to the sandbox; run it in the project's folder. Elsewhere use PushClient.from_env().\n"
            "local = LocalCredentials()\n"
            "keys = Credentials(local.access_key_id, local.access_key_secret, local.security_token)\n"
            "invocation = Invocation(request_id='manual', credentials=keys)\n"
            f"message = PushMessage.parse({pformat(message, width=100, sort_dicts=False)})\n"
            f"with PushClient.from_env({{'MPAAS_ENDPOINT': {sandbox!r}}}) as client:\n"
            "    for outcome in client.send(message, invocation=invocation):\n"
            "        print(outcome.kind, outcome.request_id)\n"
        ),
        "payload": payload,
    }
