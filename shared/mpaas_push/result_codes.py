"""The result codes of mPaaS and its gateway, each with its outcome.

Source: pushsimple.md: Result codes, Gateway errors.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = [
    "ACCEPTED",
    "CODES",
    "MISCONFIGURED",
    "REFUSED",
    "THROTTLED",
    "UNKNOWN",
    "Code",
    "OutcomeKind",
    "find_code",
    "is_documented",
]


class OutcomeKind(str, Enum):
    """The five possible outcomes of a request (a str, so that it reads well in JSON and logs)."""

    ACCEPTED = "accepted"
    """mPaaS accepted the push; delivery to the phone is asynchronous."""
    REFUSED = "refused"
    """The message is wrong. Correct it; the same message will be refused again."""
    MISCONFIGURED = "misconfigured"
    """Keys, permission, app id or endpoint are wrong. An operator must act."""
    THROTTLED = "throttled"
    """Not accepted for now: rejected for load, or never sent. Safe to send again."""
    UNKNOWN = "unknown"
    """Sent, no verdict. It may have been accepted: sending again may show the push twice."""

    __str__ = str.__str__


ACCEPTED, REFUSED, MISCONFIGURED, THROTTLED, UNKNOWN = OutcomeKind


class Code(NamedTuple):
    """A result code, or a prefix of result codes if it ends in ``*``.

    Attributes:
        code: The value of `ResultCode`, or of `Code` in a gateway error.
        kind: The outcome.
        meaning: What it means, in a few words.
        source: Where it is documented; OLD is the server demo of 2014-2018.
    """

    code: str
    kind: OutcomeKind
    meaning: str
    source: str


_API, _TEMPLATE_PAGE, _OLD, _GATEWAY = (
    "API call result codes",
    "message-template API",
    "OLD server demo",
    "gateway errors",
)

CODES = (
    Code("OK", ACCEPTED, "accepted", "simple push page"),
    Code("100", ACCEPTED, "SUCCESS: accepted", _API),
    Code("-1", MISCONFIGURED, "SIGNATURE_MISMATCH", _API),
    Code("3001", REFUSED, "NEED_DELIVERYTOKEN", _API),
    Code("3002", REFUSED, "NEED_FILE", _API),
    Code("3003", REFUSED, "NEED_APPID_WORKSPACEID", _API),
    Code("3004", REFUSED, "TIMEOUT_ARG_ERROR", _OLD),
    Code("3005", MISCONFIGURED, "APISECRET_WRONG", _OLD),
    Code("3006", REFUSED, "NEED_ORDER", _OLD),
    Code("3007", MISCONFIGURED, "APPID_WRONG", _API),
    Code("3008", REFUSED, "OS_TYPE_NOT_SUPPORTED", _API),
    Code("3009", REFUSED, "DELIVERY_TYPE_NOT_SUPPORTED", _API),
    Code("3010", REFUSED, "THIRD_MSG_ID_WRONG: a bad message id", _OLD),
    Code("3011", REFUSED, "PAYLOAD_OVERLENGTH", _OLD),
    Code("3012", REFUSED, "NEED_USERID", _API),
    Code("3019", REFUSED, "TASKNAME_NULL", _API),
    Code("3020", REFUSED, "EXPIREDSECONDS_WRONG", _API),
    Code("3021", REFUSED, "TOKEN_OR_USERID_NULL", _API),
    Code("3022", REFUSED, "TEMPLATE_NOT_EXIST", _API),
    Code("3023", REFUSED, "TEMPLATEKV_NOT_ENOUGH", _API),
    Code("3024", REFUSED, "PAYLOAD_NOT_ENOUGH: title or content is empty", _API),
    Code("3025", REFUSED, "NEED_TEMPLATE", _API),
    Code("3026", REFUSED, "EXPIREDTIME_TOO_LONG", _API),
    Code("3027", MISCONFIGURED, "NEED_TENANTID: set MPAAS_TENANT_ID", _OLD),
    Code("3028", REFUSED, "INVALID_PARAM", _API),
    Code("3029", REFUSED, "SINGLE_PUSH_TARGET_TOO_MUCH: more than 10 targets", _API),
    Code("3030", REFUSED, "BROADCAST_ONLY_SUPPORT_BY_DEVICE", _API),
    Code("3031", REFUSED, "REQUEST_SHOULD_BE_UTF8", _API),
    Code("3032", MISCONFIGURED, "REST_API_SWITCH_NOT_OPEN: the push API is disabled for the app", _API),
    Code("3033", MISCONFIGURED, "UNKNOWN_REST_SIGN_TYPE", _API),
    Code("3035", REFUSED, "EXTEND_PARAM_TO_MUCH: more than 20 entries", _API),
    Code("3036", REFUSED, "TEMPLATE_ALREADY_EXIST", _API),
    Code("3037", REFUSED, "TEMPLATE_NAME_NULL", _API),
    Code("3038", REFUSED, "TEMPLATE_NAME_INVALID", _API),
    Code("3039", REFUSED, "TEMPLATE_CONTENT_INVALID", _API),
    Code("3040", REFUSED, "TEMPLATE_TITLE_INVALID", _API),
    Code("3041", REFUSED, "TEMPLATE_DESC_INFO_INVALID", _API),
    Code("3042", REFUSED, "TEMPLATE_URI_INVALID", _API),
    Code("3043", REFUSED, "SINGLE_PUSH_CONTENT_TOO_LONG", _API),
    Code("3044", REFUSED, "INVALID_EXTEND_PARAM", _API),
    Code("3049", REFUSED, "MULTIPLE_INNER_EXTEND_PARAM_TO_MUCH", _API),
    Code("3050", REFUSED, "MSG_PAYLOAD_TOO_LONG", _API),
    # The table continues after 3050 but is truncated in every available copy: assume a permanent fault.
    Code("3*", REFUSED, "a parameter is wrong", _API),
    Code("8011", THROTTLED, "FLOW_CONTROL_ERROR", _TEMPLATE_PAGE),
    Code("8012", MISCONFIGURED, "INVALID_INSTANCE_ID: check app id and workspace", _TEMPLATE_PAGE),
    Code("8013", MISCONFIGURED, "INVALID_TENANT_ID: check MPAAS_TENANT_ID", _TEMPLATE_PAGE),
    Code("8014", MISCONFIGURED, "ACCOUNT_NO_PERMISSION", _TEMPLATE_PAGE),
    Code("800*", REFUSED, "the device or user cannot be reached", _OLD),
    Code("9000", UNKNOWN, "SYSTEM_ERROR: it may have been accepted", _TEMPLATE_PAGE),
    Code("InvalidAccessKeyId*", MISCONFIGURED, "the AccessKey does not exist or is inactive", _GATEWAY),
    Code("SignatureDoesNotMatch", MISCONFIGURED, "the AccessKey's secret is wrong", _GATEWAY),
    Code("InvalidSignatureMethod", MISCONFIGURED, "the signature method is not supported", _GATEWAY),
    Code("InvalidSecurityToken*", MISCONFIGURED, "the STS token is wrong or expired", _GATEWAY),
    Code(
        "MissingSecurityToken",
        MISCONFIGURED,
        "a temporary AccessKey was used without its STS token",
        _GATEWAY,
    ),
    Code("Forbidden*", MISCONFIGURED, "the AccessKey may not call mpaas:PushSimple", _GATEWAY),
    Code("NoPermission*", MISCONFIGURED, "the AccessKey may not call mpaas:PushSimple", _GATEWAY),
    Code("InvalidTimeStamp*", MISCONFIGURED, "the clock is more than 15 minutes off", _GATEWAY),
    Code("InvalidApi.NotFound", MISCONFIGURED, "no such action: check endpoint and API version", _GATEWAY),
    Code("InvalidProduct.NotFound", MISCONFIGURED, "no such product: check MPAAS_ENDPOINT", _GATEWAY),
    Code("InvalidVersion*", MISCONFIGURED, "no such version: check MPAAS_API_VERSION", _GATEWAY),
    Code("InvalidProtocol.NeedSsl", MISCONFIGURED, "https is required: check MPAAS_ENDPOINT", _GATEWAY),
    Code("UnsupportedHTTPMethod", MISCONFIGURED, "check MPAAS_ENDPOINT", _GATEWAY),
    Code("SignatureNonceUsed", UNKNOWN, "an earlier copy of the request may have arrived", _GATEWAY),
    Code("Throttling*", THROTTLED, "refused for load", _GATEWAY),
    Code("Missing*", REFUSED, "a parameter is missing", _GATEWAY),
    Code("Invalid*", REFUSED, "a parameter is wrong", _GATEWAY),
    Code("InternalError", UNKNOWN, "the gateway failed: the push may have been accepted", _GATEWAY),
    Code("ServiceUnavailable", UNKNOWN, "the service failed: the push may have been accepted", _GATEWAY),
)
"""All known codes."""


def find_code(code: str) -> Code | None:
    """Return the row of a code: its own, else that of its longest prefix; None if there is neither."""
    return _EXACT.get(code) or next((row for prefix, row in _PREFIXES if code.startswith(prefix)), None)


def is_documented(code: str) -> bool:
    """Return whether the table has exactly this code, not only a prefix of it."""
    return code in _EXACT


_EXACT = {row.code: row for row in CODES if not row.code.endswith("*")}
# The longest prefix wins: InvalidAccessKeyId* before Invalid*.
_PREFIXES = sorted(
    ((row.code[:-1], row) for row in CODES if row.code.endswith("*")), key=lambda pair: -len(pair[0])
)
