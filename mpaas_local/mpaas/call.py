"""An HTTP request, read as a call of the gateway: system parameters, business parameters, headers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from mpaas_local.api_signature import ACS3_ALGORITHM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RPC_V1 = "rpc-v1"
ACS3 = "acs3"

SYSTEM_PARAMETERS = frozenset(
    {
        # In the order of the captured request (pushsimple.md: Version 2019-08-21).
        "Version",
        "Action",
        "Format",
        "RegionId",
        "Timestamp",
        "SignatureMethod",
        "SignatureType",
        "SignatureVersion",
        "SignatureNonce",
        "AccessKeyId",
        "Signature",
        "SecurityToken",
    }
)
"""Parameters of the gateway, not of the push."""


@dataclass(frozen=True, kw_only=True)
class GatewayCall:
    """One request as the gateway reads it. `headers` maps lower-case names to all their values."""

    method: str
    path: str
    query: str
    query_pairs: tuple[tuple[str, str], ...]
    parameters: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, tuple[str, ...]] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def signature_kind(self) -> str:
        """`acs3` if the Authorization header names it, otherwise `rpc-v1`, the gateway's default."""
        return ACS3 if self.header("authorization").startswith(ACS3_ALGORITHM) else RPC_V1

    @property
    def is_signed(self) -> bool:
        """Whether the request has a signature, valid or not."""
        return bool(self.header("authorization") or self.system_parameter("Signature"))

    @property
    def action(self) -> str:
        """The name of the API, from the header or parameter that this kind of signature uses."""
        return self.header("x-acs-action") if self.signature_kind == ACS3 else self.system_parameter("Action")

    @property
    def version(self) -> str:
        """The API version, from the header or parameter that this kind of signature uses."""
        return (
            self.header("x-acs-version") if self.signature_kind == ACS3 else self.system_parameter("Version")
        )

    @cached_property
    def business_parameters(self) -> dict[str, str]:
        """The parameters of the push, as sent."""
        return {name: value for name, value in self.parameters.items() if name not in SYSTEM_PARAMETERS}

    def system_parameter(self, name: str) -> str:
        """A system parameter; empty if it was not sent."""
        return self.parameters.get(name, "")

    def header(self, name: str) -> str:
        """The first value of a header, by its lower-case name; empty if it was not sent."""
        return self.headers.get(name, ("",))[0].strip()


def read_call(
    method: str, path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> GatewayCall:
    """Read a request; malformed bytes never raise an error.

    The last value of a duplicate name wins, and the body wins over the query: the official SDK merges them
    in this order before it signs. Bytes that are not UTF-8 become lone surrogates.
    """
    values: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        key = name.decode("latin-1").lower()
        values[key] = (*values.get(key, ()), value.decode("utf-8", "surrogateescape"))
    query_text = query.decode("utf-8", "surrogateescape")
    query_pairs = _pairs(query_text)
    content_type = values.get("content-type", ("",))[0].partition(";")[0].strip().lower()
    is_form = content_type in {"application/x-www-form-urlencoded", ""}
    body_pairs = _pairs(body.decode("utf-8", "surrogateescape")) if is_form else ()
    return GatewayCall(
        method=method,
        path=path,
        query=query_text,
        query_pairs=query_pairs,
        parameters=dict((*query_pairs, *body_pairs)),
        headers=values,
        body=body,
    )


def is_utf8(text: str) -> bool:
    """Whether the text was decoded from valid UTF-8."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def printable(text: str) -> str:
    """The text with lone surrogates as escapes, which can be stored and encoded."""
    return text if is_utf8(text) else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _pairs(form: str) -> tuple[tuple[str, str], ...]:
    return tuple(parse_qsl(form, keep_blank_values=True, errors="surrogateescape"))
