"""Authentication of a request by its date, signature, security token and `Content-MD5`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpaas_local.access_keys import same_signature
from mpaas_local.clock import parse_http_date
from mpaas_local.mns.errors import MnsError
from mpaas_local.mns.signature import (
    content_md5_matches,
    read_authorization,
    request_date,
    signature,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.access_keys import AccessKey

__all__ = ["MAX_SKEW_SECONDS", "authenticate"]

MAX_SKEW_SECONDS = 15 * 60
"""Largest difference between the date of a request and the server's clock."""


def authenticate(
    method: str,
    resource: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    access_keys: Mapping[str, AccessKey],
    now: float,
) -> None:
    """Authenticate a request.

    Args:
        method: In upper case.
        resource: Path and query, encoded as the client sent them.
        headers: By lower-case name.
        body: As sent.
        access_keys: The accepted keys, by access key id.
            A token that is sent with any other key is ignored.
        now: Seconds since 1970.

    Raises:
        MnsError: `MissingAuthorizationHeader`, `InvalidAuthorizationHeader`, `MissingDateHeader`,
            `InvalidDateHeader`, `TimeExpired`, `InvalidAccessKeyId`, `AccessDenied` (a missing or wrong
            security token), `SignatureDoesNotMatch` or `InvalidDegist`.
    """
    if not headers.get("authorization"):
        raise MnsError("MissingAuthorizationHeader")
    authorization = read_authorization(headers["authorization"])
    if authorization is None:
        raise MnsError("InvalidAuthorizationHeader")
    date = request_date(headers)
    if not date:
        raise MnsError("MissingDateHeader")
    moment = parse_http_date(date)
    if moment is None:
        raise MnsError("InvalidDateHeader")
    if abs(now - moment) > MAX_SKEW_SECONDS:
        raise MnsError("TimeExpired")
    key = access_keys.get(authorization.access_key_id)
    if key is None:
        raise MnsError("InvalidAccessKeyId")
    if not key.accepts(headers.get("security-token", "")):
        raise MnsError("AccessDenied", "The security token is missing or does not match the AccessKey.")
    if not same_signature(signature(method, resource, headers, key.secret), authorization.signature):
        raise MnsError("SignatureDoesNotMatch")
    if "content-md5" in headers and not content_md5_matches(headers["content-md5"], body):
        raise MnsError("InvalidDegist")
