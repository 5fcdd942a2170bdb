"""Signs requests to an HTTP trigger with `authType: function` (fc-runtime.md: HTTP access).

For use with httpx or requests, neither of which is imported::

    from mpaas_push.http_trigger_auth import HttpTriggerAuth

    httpx.post(url, json=message, auth=HttpTriggerAuth())
    requests.post(url, json=message, auth=HttpTriggerAuth())
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from mpaas_push import acs3
from mpaas_push.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpTriggerAuth", "signature_headers"]


class _Request(Protocol):
    """A request of httpx or requests, about to be sent."""

    @property
    def method(self) -> Any: ...
    @property
    def url(self) -> Any: ...
    @property
    def headers(self) -> Any: ...


_R = TypeVar("_R", bound=_Request)


class HttpTriggerAuth:
    """The `auth` argument of httpx and requests. Thread-safe.

    A signature is valid for 15 minutes and covers method, path and query but not the body: use https. Do not
    follow redirects: Function Compute sends none, and another host would receive the security token.
    """

    def __init__(self, credentials: Credentials | None = None) -> None:
        """Create the `auth` argument.

        Args:
            credentials: The key to sign with; by default that of `Credentials.resolve`, looked up for each
                request, since a role's keys rotate.
        """
        self._credentials = credentials

    def __call__(self, request: _R) -> _R:
        """Sign a request and return it.

        Raises:
            Misconfigured: the environment has no AccessKey.
        """
        keys = self._credentials or Credentials.resolve()
        for name, value in signature_headers(str(request.method), str(request.url), keys).items():
            request.headers[name] = value
        return request


def signature_headers(method: str, url: str, credentials: Credentials) -> Mapping[str, str]:
    """Return the headers that sign a request now.

    They follow the official samples (fc-runtime.md: HTTP access): date and security token are signed, the
    latter empty if there is none; body and other headers are not. If a query name is repeated, only its first
    value is signed.

    Args:
        method: Such as ``POST``.
        url: As requested, percent-encoded.
        credentials: The key to sign with.
    """
    address = urlsplit(url)
    query: dict[str, str] = {}
    for name, value in parse_qsl(address.query, keep_blank_values=True):
        query.setdefault(name, value)
    headers = {
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-security-token": credentials.security_token or "",
    }
    path = (address.path or "/").replace("$", "%24")
    canonical, names = acs3.canonical_request(method.upper(), path, query, headers, "")
    return {**headers, "authorization": acs3.authorization(canonical, names, credentials)}
