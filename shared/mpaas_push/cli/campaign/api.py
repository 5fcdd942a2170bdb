"""Requests to the HTTP function, and how a command ends if it refuses or does not respond."""

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

__all__ = [
    "FAILED",
    "NO_RESPONSE",
    "UNFINISHED",
    "CampaignRefused",
    "CampaignUnavailable",
    "request_campaign",
    "with_exit_codes",
]

FAILED, UNFINISHED, NO_RESPONSE = 1, 3, 4
"""Exit codes: refused, incomplete or cancelled; paused or interrupted; no response."""


class CampaignRefused(CampaignError):
    """The HTTP function refused the request; the text quotes its reason.

    Attributes:
        kind: Kind of the problem, such as `unknown-campaign`; empty if another server responded.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        self.kind = kind
        super().__init__(message)


class CampaignUnavailable(CampaignRefused):
    """The function is temporarily unavailable, as when it is busy or redeployed: a retry may succeed."""


def request_campaign(
    options: argparse.Namespace, method: str, path: str, document: Any = None
) -> dict[str, Any]:
    """Send a request to the HTTP function and return the campaign of its response.

    Args:
        options: With the `url` of the trigger.
        method: In upper case.
        path: Below `/v1/campaigns`.
        document: The JSON to send, if any.

    Raises:
        CampaignRefused: the function refuses; `CampaignUnavailable` if only temporarily.
        NotConnected: the request was not sent.
        NoResponse: it was sent, and may have been processed.
    """
    data = b"" if document is None else json.dumps(document).encode()
    headers = {"content-type": "application/json"} if data else {}
    response = request_function(options.url, method, f"/v1/campaigns{path}", data, headers)
    try:
        body = json.loads(response.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {}
    refusal = CampaignUnavailable if response.status in {429, *range(500, 600)} else CampaignRefused
    _, is_problem, kind = str(body.get("type", "")).partition("urn:mpaas-push:problem:")
    if is_problem:
        faults = (f"{fault['field']}: {fault['message']}" for fault in body.get("errors", ()))
        raise refusal(_lines(f"HTTP {response.status}: {body['detail']}", faults), kind)
    if response.status >= 400 or "campaign" not in body:
        code = body.get("Code") or body.get("errorCode", "")  # fc-runtime.md: SDKs and API versions.
        status = f"HTTP {response.status} {code}".rstrip()
        raise refusal(f"{status}, not from http_push: check the address (PUSH_HTTP_URL) and the AccessKey")
    return body


def with_exit_codes(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Wrap a command so that it prints why it failed and returns the matching exit code."""

    @wraps(run)
    def wrapped(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except InvalidCampaign as error:
            text = "the campaign cannot be started"
            text = f"{text}: {error}" if len(error.faults) == 1 else _lines(text, map(str, error.faults))
            print(f"error: {text}", file=sys.stderr)
            return FAILED
        except (NoResponse, NotConnected) as error:
            print(f"error: {error}", file=sys.stderr)
            return NO_RESPONSE
        except KeyboardInterrupt:
            print("interrupted; the same command continues where it stopped", file=sys.stderr)
            return UNFINISHED

    return wrapped


def _lines(first: str, faults: Iterable[str]) -> str:
    return "\n  ".join([first, *faults])
