"""The signature of a request, computed by pure functions from method, headers, resource and secret.

Source: https://help.aliyun.com/document_detail/27487.htm.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Authorization",
    "content_md5_matches",
    "read_authorization",
    "request_date",
    "signature",
    "string_to_sign",
]

_AUTHORIZATION = re.compile(r"MNS +(?P<key>[^:\s]+):(?P<signature>[A-Za-z0-9+/]+=*)")


@dataclass(frozen=True)
class Authorization:
    """The header `Authorization: MNS <AccessKeyId>:<signature>`, parsed."""

    access_key_id: str
    signature: str = field(repr=False)


def read_authorization(header: str) -> Authorization | None:
    """Parse the header; None if it is malformed."""
    match = _AUTHORIZATION.fullmatch(header.strip())
    return Authorization(match["key"], match["signature"]) if match else None


def string_to_sign(method: str, resource: str, headers: Mapping[str, str]) -> str:
    """The string to sign.

    Args:
        method: In upper case.
        resource: Path and query, encoded as the client sent them.
        headers: By lower-case name.
    """
    mns_headers = "".join(
        f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-mns-")
    )
    content = (headers.get("content-md5", ""), headers.get("content-type", ""))
    return "\n".join([method, *content, request_date(headers), mns_headers + resource])


def signature(method: str, resource: str, headers: Mapping[str, str], secret: str) -> str:
    """Base64 HMAC-SHA1 of `string_to_sign`."""
    text = string_to_sign(method, resource, headers).encode()
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha1")).decode("ascii")


def content_md5_matches(header: str, body: bytes) -> bool:
    """Whether `Content-MD5` matches the body: base64 of the digest (RFC 1864), or of its hexadecimal text, as
    the official SDK sends it.
    """
    digest = hashlib.md5(body, usedforsecurity=False)
    allowed = (digest.hexdigest().encode(), digest.digest())
    return header in {base64.b64encode(text).decode("ascii") for text in allowed}


def request_date(headers: Mapping[str, str]) -> str:
    """The date of a request: `x-mns-date`, else `Date`, else empty."""
    return headers.get("x-mns-date") or headers.get("date", "")
