"""The two signatures of the cloud's APIs, RPC v1 and ACS3, as pure functions.

Method, parameters or headers and a secret go in; the signature or the string to sign comes out. Written from
the reference (pushsimple.md: Wire format), not from an SDK: a mistake of the sender under test is not
repeated here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ACS3_ALGORITHM = "ACS3-HMAC-SHA256"
"""Name of the signature of the SDKs for version 2020-10-28 (pushsimple.md: Version 2020-10-28)."""

_ACS3_AUTHORIZATION = re.compile(
    rf"{ACS3_ALGORITHM}\s+Credential=(?P<key>[^,\s]*)\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]*)\s*,\s*Signature=(?P<signature>[0-9A-Za-z]*)\s*"
)


@dataclass(frozen=True)
class Acs3Authorization:
    """An `Authorization` header of ACS3: the key, the names of the signed headers, the signature in hex."""

    access_key_id: str
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)


def rpc_string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """The string to sign of RPC v1: the parameters of query and body, without `Signature`
    (pushsimple.md: Version 2019-08-21).
    """
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    canonical = "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in pairs)
    return f"{method}&{percent_encode('/')}&{percent_encode(canonical)}"


def rpc_signature(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """Base64 HMAC-SHA1 of the RPC v1 string to sign; the key is the secret followed by `&`
    (pushsimple.md: Version 2019-08-21).
    """
    text = rpc_string_to_sign(method, parameters).encode("ascii")
    return base64.b64encode(hmac.digest(_utf8(secret + "&"), text, "sha1")).decode("ascii")


def acs3_canonical_request(
    method: str,
    path: str,
    *,
    query: Iterable[tuple[str, str]],
    headers: Mapping[str, Sequence[str]],
    signed_headers: Iterable[str],
    content_sha256: str,
) -> str:
    """The canonical request of ACS3: method, path, sorted query, signed headers, their names, body hash.

    `headers` maps lower-case names to every value received under that name
    (pushsimple.md: Version 2020-10-28).
    """
    names = sorted(signed_headers)
    lines = "".join(f"{name}:{_header_value(headers.get(name, ()))}\n" for name in names)
    canonical_query = "&".join(
        f"{percent_encode(name)}={percent_encode(value)}" for name, value in sorted(query)
    )
    return "\n".join((method, path, canonical_query, lines, ";".join(names), content_sha256))


def acs3_signature(canonical_request: str, secret: str) -> str:
    """Hex HMAC-SHA256 of the algorithm's name and the hash of the canonical request
    (pushsimple.md: Version 2020-10-28).
    """
    text = f"{ACS3_ALGORITHM}\n{sha256_hex(_utf8(canonical_request))}"
    return hmac.digest(_utf8(secret), text.encode("ascii"), "sha256").hex()


def read_acs3_authorization(header: str) -> Acs3Authorization | None:
    """Parse an ACS3 `Authorization` header; None if it has another form
    (pushsimple.md: Version 2020-10-28).
    """
    match = _ACS3_AUTHORIZATION.fullmatch(header)
    if match is None:
        return None
    names = tuple(name for name in match["headers"].lower().split(";") if name)
    return Acs3Authorization(match["key"], names, match["signature"].lower())


def sha256_hex(data: bytes) -> str:
    """SHA-256 in lower-case hex, the form of `x-acs-content-sha256`."""
    return hashlib.sha256(data).hexdigest()


def percent_encode(text: str) -> str:
    """Percent-encode UTF-8 as RFC 3986 does: all but `A-Za-z0-9-_.~`, a space as `%20`
    (pushsimple.md: Version 2019-08-21).

    Lone surrogates represent bytes that were not UTF-8 and are encoded as those bytes.
    """
    return quote(_utf8(text), safe="-_.~")


def _header_value(values: Sequence[str]) -> str:
    return ",".join(sorted(value.strip() for value in values))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
