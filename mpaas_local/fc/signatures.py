"""Verification of signatures: of the API of FC 3.0 (ACS3) and FC 2.0, and of HTTP triggers
(fc-runtime.md: Error semantics, SDKs and API versions, HTTP access).

Written from the reference, not from an SDK: a mistake of the caller under test is not repeated here.
"""

from __future__ import annotations

import base64
import hmac
import time
from calendar import timegm
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from mpaas_local.access_keys import same_signature
from mpaas_local.api_signature import (
    acs3_canonical_request,
    acs3_signature,
    read_acs3_authorization,
    sha256_hex,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.access_keys import AccessKey

__all__ = ["ApiCall", "Unsigned", "verify", "verify_http_trigger"]

VALID_SECONDS = 15 * 60
"""Largest difference between a signed date and now (fc-runtime.md: HTTP errors)."""


class Unsigned(Exception):
    """The call is not signed by a known key: 403. The text says why, without any secret.

    Attributes:
        code: The API's error code (fc-runtime.md: Error semantics).
    """

    def __init__(self, message: str, code: str = "AccessDenied") -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """A request as received.

    Attributes:
        method: In upper case.
        path: As sent, percent-encoded.
        query: As sent.
        headers: Values by lower-case name.
        body: The payload.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header; empty if it was not sent."""
        return next(iter(self.headers.get(name, ())), "")


def verify(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    """Verify that a call is signed with a known key.

    Raises:
        Unsigned: it is not.
    """
    if call.header("authorization").startswith("FC "):
        _verify_fc2(call, keys)
    else:
        _verify_acs3(call, keys)


def verify_http_trigger(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    """Verify that a request to an HTTP trigger with `authType: function` is signed with a known key.

    As in the official samples, date and security token must be signed, and the hash of the body is empty.

    Raises:
        Unsigned: it is not; with the documented text (fc-runtime.md: HTTP access).
    """
    try:
        date = timegm(time.strptime(call.header("x-acs-date"), "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise Unsigned("required HTTP header Date was not specified", "MissingRequiredHeader") from None
    if abs(time.time() - date) > VALID_SECONDS:
        raise Unsigned(
            f"the difference between the request time '{_http_date(date)}' and the current time"
            f" '{_http_date(time.time())}' is too large"
        )
    authorization = read_acs3_authorization(call.header("authorization"))
    if authorization is None:
        raise Unsigned("Authorization must be ACS3-HMAC-SHA256")
    key = _key(keys, authorization.access_key_id, call.header("x-acs-security-token"))
    if missing := {name for name in call.headers if name.startswith("x-acs-")} - set(
        authorization.signed_headers
    ):
        raise Unsigned(f"SignedHeaders must include {', '.join(sorted(missing))}")
    query: dict[str, str] = {}
    for name, value in parse_qsl(call.query, keep_blank_values=True):
        query.setdefault(name, value)
    canonical = acs3_canonical_request(
        call.method,
        call.path.replace("$", "%24"),
        query=query.items(),
        headers=call.headers,
        signed_headers=authorization.signed_headers,
        content_sha256="",
    )
    if not same_signature(acs3_signature(canonical, key.secret), authorization.signature):
        raise Unsigned(
            "The request signature we calculated does not match the signature you provided. Check your access"
            " key and signing method.",
            "SignatureNotMatch",
        )


def _http_date(moment: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(moment))


def _verify_acs3(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    authorization = read_acs3_authorization(call.header("authorization"))
    if authorization is None:
        raise Unsigned("Authorization must be ACS3-HMAC-SHA256 or FC")
    key = _key(keys, authorization.access_key_id, call.header("x-acs-security-token"))
    if call.header("x-acs-content-sha256") != sha256_hex(call.body):
        raise Unsigned("x-acs-content-sha256 is not the SHA-256 of the body")
    must_be_signed = {"host", *(name for name in call.headers if name.startswith("x-acs-"))}
    if missing := must_be_signed - set(authorization.signed_headers):
        raise Unsigned(f"SignedHeaders must include {', '.join(sorted(missing))}")
    canonical = acs3_canonical_request(
        call.method,
        call.path,
        query=parse_qsl(call.query, keep_blank_values=True),
        headers=call.headers,
        signed_headers=authorization.signed_headers,
        content_sha256=call.header("x-acs-content-sha256"),
    )
    if not same_signature(acs3_signature(canonical, key.secret), authorization.signature):
        raise Unsigned("the signature does not match", "SignatureNotMatch")


def _verify_fc2(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    """`FC <key>:<base64 of HMAC-SHA256>` over method, MD5, type, date, x-fc-* headers and path
    (fc-runtime.md: SDKs and API versions).
    """
    key_id, _, signature = call.header("authorization").removeprefix("FC ").partition(":")
    key = _key(keys, key_id, call.header("x-fc-security-token"))
    fc_headers = "".join(
        f"{name}:{call.header(name)}\n" for name in sorted(call.headers) if name.startswith("x-fc-")
    )
    text = "\n".join(
        [
            call.method,
            call.header("content-md5"),
            call.header("content-type"),
            call.header("date"),
            fc_headers + unquote(call.path),
        ]
    )
    expected = base64.b64encode(hmac.digest(key.secret.encode(), text.encode(), "sha256")).decode()
    if not same_signature(expected, signature):
        raise Unsigned("the signature does not match", "SignatureNotMatch")


def _key(keys: Mapping[str, AccessKey], key_id: str, token: str) -> AccessKey:
    key = keys.get(key_id)
    if key is None:
        raise Unsigned("the AccessKey does not exist")
    if not key.accepts(token):
        raise Unsigned("the security token does not match the AccessKey")
    return key
