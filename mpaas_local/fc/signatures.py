"""Who calls the functions' API: the signatures of FC 3.0 (ACS3) and FC 2.0, verified
(fc-runtime.md: Error semantics, SDKs and API versions).

Written from the reference and not from an SDK, so that the callers under test and this verifier can disagree.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from mpaas_local.mpaas.signature import (
    acs3_canonical_request,
    acs3_signature,
    read_acs3_authorization,
    same_signature,
    sha256_hex,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpaas_local.access_keys import AccessKey

__all__ = ["ApiCall", "Unsigned", "verify"]


class Unsigned(Exception):
    """The call is not signed by a known key: 403; the text says what is wrong and holds no secret.

    Attributes:
        code: Error code of the API (fc-runtime.md: Error semantics).
    """

    def __init__(self, message: str, code: str = "AccessDenied") -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class ApiCall:
    """A request as it came.

    Attributes:
        method: In capitals.
        path: As sent, percent-encoded.
        query: As sent.
        headers: Values by name in lower case.
        body: The payload.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, or an empty text."""
        return next(iter(self.headers.get(name, ())), "")


def verify(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    """Let a call pass that is signed with a known key.

    Raises:
        Unsigned: it is not.
    """
    if call.header("authorization").startswith("FC "):
        _verify_fc2(call, keys)
    else:
        _verify_acs3(call, keys)


def _verify_acs3(call: ApiCall, keys: Mapping[str, AccessKey]) -> None:
    authorization = read_acs3_authorization(call.header("authorization"))
    if authorization is None:
        raise Unsigned("Authorization must be ACS3-HMAC-SHA256 or FC")
    key = _key(keys, authorization.access_key_id, call.header("x-acs-security-token"))
    if call.header("x-acs-content-sha256") != sha256_hex(call.body):
        raise Unsigned("x-acs-content-sha256 is not the hash of the body")
    must_be_signed = {"host", *(name for name in call.headers if name.startswith("x-acs-"))}
    if missing := must_be_signed - set(authorization.signed_headers):
        raise Unsigned(f"SignedHeaders must also name {', '.join(sorted(missing))}")
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
        raise Unsigned("the AccessKey is not known")
    if key.security_token is not None and not same_signature(key.security_token, token):
        raise Unsigned("the security token does not belong to the AccessKey")
    return key
