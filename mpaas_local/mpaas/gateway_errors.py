"""The gateway's errors: status, text and body of the responses to requests that are not judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HTTP_STATUS: Mapping[str, int] = MappingProxyType(
    {
        # Where the page gives two statuses (400/404, 400/403), the one with which the official AcsClient
        # recognises the error: it handles SignatureDoesNotMatch only at status 400.
        "InvalidApi.NotFound": 404,
        "InvalidProduct.NotFound": 404,
        "UnsupportedHTTPMethod": 400,
        "InvalidProtocol.NeedSsl": 400,
        "InvalidAccessKeyId.NotFound": 404,
        "InvalidAccessKeyId.Inactive": 400,
        "SignatureDoesNotMatch": 400,
        "InvalidSignatureMethod": 400,
        "InvalidSignatureVersion": 400,
        "IncompleteSignature": 400,
        "InvalidVersion": 400,
        "InvalidTimeStamp.Format": 400,
        "InvalidTimeStamp.Expired": 400,
        "SignatureNonceUsed": 400,
        # A general code of the gateway, not in the reference.
        "InvalidSecurityToken.MismatchWithAccessKey": 400,
        # The sandbox's own limit.
        "RequestEntityTooLarge": 413,
        "Forbidden": 403,
        "Forbidden.RAM": 403,
        "Forbidden.RiskControl": 403,
        "Throttling": 400,
        "Throttling.User": 400,
        "Throttling.Api": 400,
        "InternalError": 500,
        "ServiceUnavailable": 503,
    }
)
"""HTTP status of each gateway code; a `Missing{Param}` is 400 (pushsimple.md: Gateway errors)."""

MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "Throttling": "Request was denied due to request throttling.",
        "Throttling.User": "Request was denied due to user flow control.",
        "Throttling.Api": "Request was denied due to api flow control.",
        "InternalError": "The request processing has failed due to some unknown error, exception or failure.",
        "ServiceUnavailable": "The request has failed due to a temporary failure of the server.",
        "Forbidden": "User not authorized to operate on the specified resource.",
        "Forbidden.RAM": "User not authorized to operate on the specified resource, or no RAM support.",
        "InvalidAccessKeyId.NotFound": "Specified access key is not found.",
        "InvalidAccessKeyId.Inactive": "Specified access key is disabled.",
        "SignatureNonceUsed": "Specified signature nonce was used already.",
        "InvalidTimeStamp.Expired": "Specified time stamp or date value is expired.",
    }
)
"""Texts of codes without details."""


@dataclass(frozen=True, kw_only=True)
class GatewayResponse:
    """A gateway error as a response.

    `retry_after` is in seconds. The inbox stores `recorded_message` instead of `message`, because a signature
    mismatch quotes the string to sign, which may contain a token.
    """

    code: str
    message: str
    status: int
    retry_after: int | None = None
    recorded_message: str | None = None

    def body(self, request_id: str, host: str) -> dict[str, Any]:
        """The body (pushsimple.md: Gateway errors)."""
        return {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": self.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={self.code}",
        }


class GatewayRefusal(Exception):
    """The gateway rejects a call with `response`."""

    def __init__(self, response: GatewayResponse) -> None:
        super().__init__(f"{response.code}: {response.recorded_message or response.message}")
        self.response = response


def gateway_response(
    code: str, message: str | None = None, *, status: int | None = None, retry_after: int | None = None
) -> GatewayResponse:
    """The response with this code; status and text default to those of the tables."""
    return GatewayResponse(
        code=code,
        message=message if message is not None else MESSAGES.get(code, "The request was refused."),
        status=status if status is not None else HTTP_STATUS.get(code, 400),
        retry_after=retry_after,
    )


def refusal(code: str, message: str | None = None, *, recorded_message: str | None = None) -> GatewayRefusal:
    """The exception that rejects a call with this code."""
    return GatewayRefusal(replace(gateway_response(code, message), recorded_message=recorded_message))


def missing(parameter: str) -> GatewayRefusal:
    """The refusal of a request without this system parameter."""
    return refusal(f"Missing{parameter}", f"{parameter} is mandatory for this action.")
