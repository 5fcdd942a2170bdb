"""Authentication of requests by signature V1 or V4, in the header `Authorization` or in a presigned URL
(oss.md: Signatures).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from mpaas_local.access_keys import same_signature
from mpaas_local.clock import parse_http_date, utc_second_text
from mpaas_local.oss.errors import OssError
from mpaas_local.oss.signature import (
    V4_ALGORITHM,
    Scope,
    v1_signature,
    v1_string_to_sign,
    v4_canonical_request,
    v4_signature,
    v4_string_to_sign,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.oss.signature import Signable

__all__ = ["MAX_SKEW_SECONDS", "Authenticator"]

MAX_SKEW_SECONDS = 15 * 60
"""Largest difference between the date of a request and the server's clock (oss.md: Signatures)."""

_MAX_EXPIRES_SECONDS = 7 * 24 * 3600
_V1 = re.compile(r"OSS (?P<id>[^:\s]+):(?P<signature>\S+)")
_V4 = re.compile(
    rf"{V4_ALGORITHM} Credential=(?P<credential>[^,\s]+)"
    r"(?:,\s*AdditionalHeaders=(?P<headers>[^,\s]*))?,\s*Signature=(?P<signature>[0-9a-f]+)"
)
_TOKEN_NAMES = ("x-oss-security-token", "security-token")


@dataclass(frozen=True)
class _V4Claim:
    """The V4 signature of a request and its parameters, not yet verified."""

    credential: str
    additional_headers: str
    moment: str
    signature: str


@dataclass(frozen=True)
class Authenticator:
    """Verifies signatures.

    Attributes:
        access_keys: The accepted keys, by access key id.
        region: The only region that a V4 credential may name.
    """

    access_keys: Mapping[str, AccessKey]
    region: str

    def authenticate(self, request: Signable, now: float) -> None:
        """Verify the signature of a request.

        Args:
            request: As it was sent; its query may include the signature.
            now: Seconds since 1970.

        Raises:
            OssError: `AccessDenied` (no signature, no valid date, or an expired URL), `InvalidArgument` (a
                malformed signature), `InvalidAccessKeyId`, `RequestTimeTooSkewed` or `SignatureDoesNotMatch`.
        """
        header = request.headers.get("authorization", "")
        query = dict(request.query)
        if "x-oss-signature" in query:
            self._authenticate_v4_query(request, query, now)
        elif "Signature" in query:
            self._authenticate_v1_query(request, query, now)
        elif header.startswith("OSS4-"):
            self._authenticate_v4_header(request, header, now)
        elif header:
            self._authenticate_v1_header(request, header, now)
        else:
            raise OssError("AccessDenied")

    def _authenticate_v1_header(self, request: Signable, header: str, now: float) -> None:
        match = _V1.fullmatch(header)
        if match is None:
            raise OssError("InvalidArgument", "Authorization header is invalid.")
        date = request.headers.get("x-oss-date") or request.headers.get("date", "")
        _check_skew(_http_moment(date), now)
        secret = self._secret(match["id"], request.headers)
        text = v1_string_to_sign(request, date)
        _check(v1_signature(text, secret), match["signature"], match["id"], StringToSign=text)

    def _authenticate_v1_query(self, request: Signable, query: Mapping[str, str], now: float) -> None:
        access_key_id, expires = query.get("OSSAccessKeyId", ""), query.get("Expires", "")
        if not access_key_id or not re.fullmatch("[0-9]{1,12}", expires):
            raise OssError("InvalidArgument", "OSSAccessKeyId and Expires are required with a Signature.")
        secret = self._secret(access_key_id, query)
        if int(expires) < now:
            raise _expired(int(expires), now)
        text = v1_string_to_sign(request, expires)
        _check(v1_signature(text, secret), query["Signature"], access_key_id, StringToSign=text)

    def _authenticate_v4_header(self, request: Signable, header: str, now: float) -> None:
        match = _V4.fullmatch(header)
        if match is None:
            raise OssError("InvalidArgument", "Authorization header is invalid.")
        moment = request.headers.get("x-oss-date", "")
        claim = _V4Claim(match["credential"], match["headers"] or "", moment, match["signature"])
        scope, access_key_id = self._scope(claim)
        _check_skew(_v4_moment(moment), now)
        self._check_v4(request, claim, scope, access_key_id, self._secret(access_key_id, request.headers))

    def _authenticate_v4_query(self, request: Signable, query: Mapping[str, str], now: float) -> None:
        if query.get("x-oss-signature-version") != V4_ALGORITHM:
            raise OssError("InvalidArgument", f"x-oss-signature-version must be {V4_ALGORITHM}.")
        claim = _V4Claim(
            query.get("x-oss-credential", ""),
            query.get("x-oss-additional-headers", ""),
            query.get("x-oss-date", ""),
            query["x-oss-signature"],
        )
        scope, access_key_id = self._scope(claim)
        secret = self._secret(access_key_id, query)
        expires = query.get("x-oss-expires", "")
        if not (re.fullmatch("[0-9]{1,6}", expires) and 1 <= int(expires) <= _MAX_EXPIRES_SECONDS):
            raise OssError("InvalidArgument", f"x-oss-expires must be 1 to {_MAX_EXPIRES_SECONDS} seconds.")
        signed_at = _v4_moment(claim.moment)
        if signed_at > now + MAX_SKEW_SECONDS:
            _check_skew(signed_at, now)
        if signed_at + int(expires) < now:
            raise _expired(signed_at + int(expires), now)
        unsigned = [pair for pair in request.query if pair[0] != "x-oss-signature"]
        self._check_v4(replace(request, query=unsigned), claim, scope, access_key_id, secret)

    def _scope(self, claim: _V4Claim) -> tuple[Scope, str]:
        parts = claim.credential.split("/")
        if len(parts) != 5 or parts[4] != "aliyun_v4_request":  # id, date, region, product, request
            raise OssError("InvalidArgument", "Credential must be ID/DATE/REGION/oss/aliyun_v4_request.")
        access_key_id, date, region, product = parts[:4]
        if region != self.region:
            raise OssError("InvalidArgument", f"Invalid signing region in Authorization header: {region}.")
        if product != "oss":
            raise OssError("InvalidArgument", "Invalid signing product in Authorization header.")
        if date != claim.moment[:8]:
            raise OssError("InvalidArgument", "Invalid signing date in Authorization header.")
        return Scope(date, region, product), access_key_id

    def _check_v4(
        self, request: Signable, claim: _V4Claim, scope: Scope, access_key_id: str, secret: str
    ) -> None:
        additional = [name for name in claim.additional_headers.lower().split(";") if name]
        if any(name not in request.headers for name in additional):
            raise OssError("InvalidArgument", "AdditionalHeaders names a header that was not sent.")
        canonical = v4_canonical_request(request, additional)
        text = v4_string_to_sign(canonical, scope, claim.moment)
        expected = v4_signature(text, scope, secret)
        _check(expected, claim.signature, access_key_id, StringToSign=text, CanonicalRequest=canonical)

    def _secret(self, access_key_id: str, parameters: Mapping[str, str]) -> str:
        """Return the secret of a key; an STS key requires its token in the headers or query parameters."""
        key = self.access_keys.get(access_key_id)
        token = next((parameters[name] for name in _TOKEN_NAMES if name in parameters), "")
        if key is None or not key.accepts(token):
            raise OssError("InvalidAccessKeyId", OSSAccessKeyId=access_key_id)
        return key.secret


def _check(expected: str, given: str, access_key_id: str, **elements: str) -> None:
    if not same_signature(expected, given):
        raise OssError(
            "SignatureDoesNotMatch", OSSAccessKeyId=access_key_id, SignatureProvided=given, **elements
        )


def _expired(moment: float, now: float) -> OssError:
    return OssError(
        "AccessDenied",
        "Request has expired.",
        Expires=utc_second_text(moment),
        ServerTime=utc_second_text(now),
    )


def _check_skew(moment: float, now: float) -> None:
    if abs(now - moment) > MAX_SKEW_SECONDS:
        raise OssError(
            "RequestTimeTooSkewed",
            MaxAllowedSkewMilliseconds=str(MAX_SKEW_SECONDS * 1000),
            RequestTime=utc_second_text(moment),
            ServerTime=utc_second_text(now),
        )


def _http_moment(text: str) -> float:
    moment = parse_http_date(text)
    if moment is None:
        raise OssError("AccessDenied", "OSS authentication requires a valid Date.")
    return moment


def _v4_moment(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise OssError("AccessDenied", "OSS authentication requires a valid Date.") from None
