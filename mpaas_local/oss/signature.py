"""The OSS signatures V1 and V4, computed by pure functions from the signed parts of a request and a secret.

Implemented from the reference (oss.md: Signatures), not from an SDK.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "V4_ALGORITHM",
    "Scope",
    "Signable",
    "v1_signature",
    "v1_string_to_sign",
    "v4_canonical_request",
    "v4_signature",
    "v4_string_to_sign",
]

V4_ALGORITHM = "OSS4-HMAC-SHA256"
"""Name of signature V4 in `Authorization` and in queries."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""V4 signs this text instead of a hash of the body."""

_V1_SUBRESOURCE = re.compile(
    "acl|append|bucketInfo|callback|callback-var|continuation-token|cors|delete|encryption|endTime|lifecycle"
    "|location|logging|objectMeta|partNumber|policy|position|referer|regionList|replication|requestPayment"
    "|resourceGroup|response-[a-z-]+|restore|security-token|sequential|startTime|stat|status|style|styleName"
    "|symlink|tagging|transferAcceleration|uploadId|uploads|versionId|versioning|versions|website|worm"
    "|wormExtend|wormId|x-oss-[a-z-]+"
)
"""Query parameters that V1 signs."""
_V4_HEADERS = frozenset({"content-type", "content-md5"})


@dataclass(frozen=True, kw_only=True)
class Signable:
    """The parts of a request that signatures cover.

    Attributes:
        method: In upper case.
        bucket: None for a request to the service itself.
        key: Decoded name of the object; None for a request to the bucket itself.
        query: Decoded query parameters; V4 is computed without `x-oss-signature`.
        headers: By lower-case name.
    """

    method: str
    bucket: str | None
    key: str | None
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]

    @property
    def resource(self) -> str:
        """`/`, `/bucket/` or `/bucket/key`."""
        return "/" if self.bucket is None else f"/{self.bucket}/{self.key or ''}"


@dataclass(frozen=True)
class Scope:
    """The scope of a V4 credential.

    Attributes:
        date: `YYYYMMDD`.
        region: Such as `cn-hangzhou`.
        product: `oss`.
    """

    date: str
    region: str
    product: str = "oss"

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.product}/aliyun_v4_request"


def v1_string_to_sign(request: Signable, date: str) -> str:
    """The string to sign of V1.

    Args:
        request: The request to sign.
        date: The date header; for a presigned URL, the value of `Expires`.
    """
    headers = request.headers
    oss_headers = "".join(
        f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-oss-")
    )
    pairs = sorted(pair for pair in request.query if _V1_SUBRESOURCE.fullmatch(pair[0]))
    query = "&".join(f"{name}={value}" if value else name for name, value in pairs)
    resource = f"{request.resource}?{query}" if query else request.resource
    content = (headers.get("content-md5", ""), headers.get("content-type", ""))
    return "\n".join([request.method, *content, date, oss_headers + resource])


def v1_signature(string_to_sign: str, secret: str) -> str:
    """Base64 HMAC-SHA1 of `v1_string_to_sign`."""
    return base64.b64encode(hmac.digest(secret.encode(), string_to_sign.encode(), "sha1")).decode("ascii")


def v4_canonical_request(request: Signable, additional_headers: Iterable[str]) -> str:
    """Method, URI, query, headers, additional headers and hash of the body, joined by line feeds."""
    additional = sorted(additional_headers)
    encoded = sorted((quote(name, safe=""), quote(value, safe="")) for name, value in request.query)
    signed = [
        name
        for name in sorted(request.headers)
        if name.startswith("x-oss-") or name in _V4_HEADERS or name in additional
    ]
    return "\n".join(
        [
            request.method,
            quote(request.resource, safe="/"),
            "&".join(f"{name}={value}" if value else name for name, value in encoded),
            "".join(f"{name}:{request.headers[name].strip()}\n" for name in signed),
            ";".join(additional),
            request.headers.get("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        ]
    )


def v4_string_to_sign(canonical_request: str, scope: Scope, moment: str) -> str:
    """The string to sign of V4; `moment` has the format `20231203T121212Z`."""
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    return "\n".join([V4_ALGORITHM, moment, str(scope), digest])


def v4_signature(string_to_sign: str, scope: Scope, secret: str) -> str:
    """Hexadecimal HMAC-SHA256 of `v4_string_to_sign`, with a key derived for the scope."""
    key = f"aliyun_v4{secret}".encode()
    for part in (scope.date, scope.region, scope.product, "aliyun_v4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, string_to_sign.encode(), "sha256").hexdigest()
