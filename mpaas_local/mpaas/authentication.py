"""Authentication of a call: keys, tokens, timestamps, nonces and signatures.

A call that the gateway would reject raises `GatewayRefusal`.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mpaas_local.access_keys import same_signature
from mpaas_local.api_signature import (
    Acs3Authorization,
    acs3_canonical_request,
    acs3_signature,
    read_acs3_authorization,
    rpc_signature,
    rpc_string_to_sign,
    sha256_hex,
)
from mpaas_local.mpaas.call import ACS3, GatewayCall
from mpaas_local.mpaas.gateway_errors import missing, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.clock import TimeSource

ACTION = "PushSimple"
VERSIONS = ("2019-08-21", "2020-10-28")
"""The versions of the non-finance zone (pushsimple.md: Endpoints and permissions)."""

MAX_SKEW_SECONDS = 15 * 60
"""Largest difference between a timestamp and the gateway's clock (pushsimple.md: Gateway errors)."""

_RPC_REQUIRED = (
    "AccessKeyId",
    "SignatureMethod",
    "SignatureVersion",
    "SignatureNonce",
    "Timestamp",
    "Signature",
)
"""System parameters that RPC v1 requires (pushsimple.md: Version 2019-08-21)."""

_ACS3_REQUIRED = {
    "x-acs-date": "Timestamp",
    "x-acs-signature-nonce": "SignatureNonce",
    "x-acs-content-sha256": "ContentSha256",
}
"""Headers that ACS3 requires, and their names in an error (pushsimple.md: Version 2020-10-28)."""

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


class Authenticator:
    """Authenticates calls. Remembers nonces in memory for as long as their timestamps are valid."""

    def __init__(self, access_keys: Mapping[str, AccessKey], clock: TimeSource) -> None:
        self._access_keys = dict(access_keys)
        self._clock = clock
        self._nonces: dict[tuple[str, str], float] = {}
        self._prune_at = 10_000

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets and tokens of all keys, for redaction."""
        keys = self._access_keys.values()
        return tuple(text for key in keys for text in (key.secret, key.security_token) if text)

    def authenticate(self, call: GatewayCall) -> None:
        """Authenticate a call.

        Raises:
            GatewayRefusal: the gateway would reject the call.
        """
        if call.method != "POST":
            raise refusal("UnsupportedHTTPMethod", f"{ACTION} is called with POST, not {call.method}.")
        _check_api(call)
        if call.signature_kind == ACS3:
            self._authenticate_acs3(call)
        else:
            self._authenticate_rpc(call)

    def _authenticate_rpc(self, call: GatewayCall) -> None:
        for name in _RPC_REQUIRED:
            if not call.system_parameter(name):
                raise missing(name)
        if call.system_parameter("SignatureMethod") != "HMAC-SHA1":
            raise refusal("InvalidSignatureMethod", "Specified signature method is not valid; use HMAC-SHA1.")
        if call.system_parameter("SignatureVersion") != "1.0":
            raise refusal("InvalidSignatureVersion", "Specified signature version is not valid; use 1.0.")
        access_key_id = call.system_parameter("AccessKeyId")
        key = self._key(access_key_id, call.system_parameter("SecurityToken"))
        sent_at = self._timestamp(call.system_parameter("Timestamp"))
        if not same_signature(
            rpc_signature(call.method, call.parameters, key.secret), call.system_parameter("Signature")
        ):
            # The official AcsClient splits this text at the colon and compares the rest with its own.
            text = "Specified signature is not matched with our calculation. server string to sign is:"
            signed = rpc_string_to_sign(call.method, call.parameters)
            raise refusal("SignatureDoesNotMatch", text + signed, recorded_message=text + " (not recorded)")
        self._use_nonce(access_key_id, call.system_parameter("SignatureNonce"), sent_at)

    def _authenticate_acs3(self, call: GatewayCall) -> None:
        authorization = read_acs3_authorization(call.header("authorization"))
        if authorization is None:
            raise refusal(
                "IncompleteSignature",
                "Authorization must be: ACS3-HMAC-SHA256 Credential=..,SignedHeaders=..,Signature=..",
            )
        for header, name in _ACS3_REQUIRED.items():
            if not call.header(header):
                raise missing(name)
        key = self._key(authorization.access_key_id, call.header("x-acs-security-token"))
        sent_at = self._timestamp(call.header("x-acs-date"))
        _check_acs3_signature(call, authorization, key.secret)
        self._use_nonce(authorization.access_key_id, call.header("x-acs-signature-nonce"), sent_at)

    def _key(self, access_key_id: str, security_token: str) -> AccessKey:
        key = self._access_keys.get(access_key_id)
        if key is None:
            raise refusal("InvalidAccessKeyId.NotFound")
        if not key.accepts(security_token):
            if not security_token:
                raise missing("SecurityToken")
            raise refusal(
                "InvalidSecurityToken.MismatchWithAccessKey",
                "Specified SecurityToken mismatches the AccessKey.",
            )
        return key

    def _timestamp(self, text: str) -> float:
        try:
            # strptime alone would accept one-digit months and hours.
            checked = text if _TIMESTAMP.fullmatch(text) else ""
            moment = datetime.strptime(checked, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            raise refusal(
                "InvalidTimeStamp.Format",
                "Specified time stamp or date value is not well formatted; use yyyy-MM-ddTHH:mm:ssZ in UTC.",
            ) from None
        sent_at = moment.timestamp()
        if abs(self._clock() - sent_at) > MAX_SKEW_SECONDS:
            raise refusal("InvalidTimeStamp.Expired")
        return sent_at

    def _use_nonce(self, access_key_id: str, nonce: str, sent_at: float) -> None:
        now = self._clock()
        expires = self._nonces.get((access_key_id, nonce))
        if expires is not None and expires >= now:
            raise refusal("SignatureNonceUsed")
        self._nonces[access_key_id, nonce] = sent_at + MAX_SKEW_SECONDS
        if len(self._nonces) > self._prune_at:
            self._nonces = {used: until for used, until in self._nonces.items() if until >= now}
            self._prune_at = max(10_000, 2 * len(self._nonces))


def _check_api(call: GatewayCall) -> None:
    if not call.action:
        raise missing("Action")
    if call.action != ACTION:
        raise refusal(
            "InvalidApi.NotFound", f"Specified api is not found; the sandbox supports {ACTION} only."
        )
    if not call.version:
        raise missing("Version")
    if call.version not in VERSIONS:
        allowed = " and ".join(VERSIONS)
        raise refusal(
            "InvalidVersion", f"Specified parameter Version is not valid; the sandbox supports {allowed}."
        )


def _check_acs3_signature(call: GatewayCall, authorization: Acs3Authorization, secret: str) -> None:
    content_sha256 = call.header("x-acs-content-sha256")
    if content_sha256 != sha256_hex(call.body):
        raise refusal(
            "SignatureDoesNotMatch", "Details: x-acs-content-sha256 is not the SHA-256 of the body."
        )
    signed = set(authorization.signed_headers)
    must_be_signed = {"host", *(name for name in call.headers if name.startswith("x-acs-"))}
    if not must_be_signed <= signed:
        names = ", ".join(sorted(must_be_signed - signed))
        raise refusal("IncompleteSignature", f"SignedHeaders must include: {names}.")
    canonical = acs3_canonical_request(
        call.method,
        call.path,
        query=call.query_pairs,
        headers=call.headers,
        signed_headers=authorization.signed_headers,
        content_sha256=content_sha256,
    )
    if not same_signature(acs3_signature(canonical, secret), authorization.signature):
        text = "Specified signature is not matched with our calculation. server CanonicalRequest is:"
        raise refusal("SignatureDoesNotMatch", text + canonical, recorded_message=text + " (not recorded)")
