"""What the commands ask of the HTTP function, and how they end where it refuses or does not respond."""

from __future__ import annotations

import json
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from mpaas_push.campaign.errors import CampaignError, InvalidCampaign
from mpaas_push.cli.call import NoResponse, NotConnected, request_function

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

__all__ = ["CANNOT", "LEFT", "NO_RESPONSE", "CampaignRefused", "CampaignUnavailable", "ask", "command"]

CANNOT, LEFT, NO_RESPONSE = 1, 3, 4
"""Exit codes: refused, incomplete or cancelled; not followed to its end; unknown."""


class CampaignRefused(CampaignError):
    """The HTTP function refused; the text quotes its words.

    Attributes:
        kind: Of the problem, such as `unknown-campaign`; empty if another server responded.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        self.kind = kind
        super().__init__(message)


class CampaignUnavailable(CampaignRefused):
    """The function is unavailable for now, as when it is busy or redeployed: the same may succeed later."""


def ask(options: argparse.Namespace, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Send a request to the HTTP function and return its answer.

    Args:
        options: With the `url` of the trigger.
        method: In capitals.
        path: Below `/v1/campaigns`.
        body: The document to send, if any.

    Raises:
        CampaignRefused: it refuses; `CampaignUnavailable` for now.
        NotConnected: the request was not sent.
        NoResponse: it was sent, and may have been served.
    """
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} if data else {}
    response = request_function(options.url, method, f"/v1/campaigns{path}", data, headers)
    try:
        answer = json.loads(response.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    refusal = CampaignUnavailable if response.status in {429, *range(500, 600)} else CampaignRefused
    _, is_problem, kind = str(answer.get("type", "")).partition("urn:mpaas-push:problem:")
    if is_problem:
        faults = (f"{fault['field']}: {fault['message']}" for fault in answer.get("errors", ()))
        raise refusal(_lines(f"HTTP {response.status}: {answer['detail']}", faults), kind)
    if response.status >= 400 or "campaign" not in answer:
        code = answer.get("Code") or answer.get("errorCode", "")  # fc-runtime.md: SDKs and API versions.
        status = f"HTTP {response.status} {code}".rstrip()
        raise refusal(f"{status}, not from http_push: check address (PUSH_HTTP_URL) and AccessKey")
    return answer


def command(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Let a command print why it failed, and end with the exit code for that."""

    @wraps(run)
    def reporting(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except InvalidCampaign as error:
            text = "the campaign cannot be started"
            text = f"{text}: {error}" if len(error.faults) == 1 else _lines(text, map(str, error.faults))
            print(f"error: {text}", file=sys.stderr)
            return CANNOT
        except (NoResponse, NotConnected) as error:
            print(f"error: {error}", file=sys.stderr)
            return NO_RESPONSE
        except KeyboardInterrupt:
            print("interrupted; the same command continues where it stopped", file=sys.stderr)
            return LEFT

    return reporting


def _lines(first: str, faults: Iterable[str]) -> str:
    return "\n  ".join([first, *faults])
