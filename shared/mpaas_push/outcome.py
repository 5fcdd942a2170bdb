"""What became of a request: five outcomes, and the table of result codes that leads to them.

An answer of mPaaS enters (`verdict_of`), a `Verdict` leaves; the client makes an `Outcome` of the last one.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

from mpaas_push.errors import Fault, mask_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CODES",
    "Code",
    "Outcome",
    "OutcomeKind",
    "Verdict",
    "counts_of",
    "ids_for_log",
    "verdict_of",
]


class OutcomeKind(str, Enum):
    """The five things that can become of a request (a str, so that it reads well in JSON and logs)."""

    ACCEPTED = "accepted"
    """mPaaS took the push; delivery to the phone is asynchronous."""
    REFUSED = "refused"
    """The message is wrong. Correct it; the same message will be refused again."""
    MISCONFIGURED = "misconfigured"
    """Keys, permission, app id or endpoint are wrong. An operator must act."""
    THROTTLED = "throttled"
    """Not taken for now: refused for load, or never sent. Safe to send again."""
    UNKNOWN = "unknown"
    """Sent, no verdict. It may have been accepted: sending again may show the push twice."""

    __str__ = str.__str__


ACCEPTED, REFUSED, MISCONFIGURED, THROTTLED, UNKNOWN = OutcomeKind


class Code(NamedTuple):
    """A result code, or the beginning of one when it ends in ``*``.

    Attributes:
        code: As it stands in `ResultCode` or in a gateway error's `Code`.
        kind: The outcome that it means.
        meaning: In a few words.
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
    # The table goes on after 3050, cut off in every copy that can be read: taken as permanent.
    Code("3*", REFUSED, "a parameter is wrong", _API),
    Code("8011", THROTTLED, "FLOW_CONTROL_ERROR", _TEMPLATE_PAGE),
    Code("8012", MISCONFIGURED, "INVALID_INSTANCE_ID: check app id and workspace", _TEMPLATE_PAGE),
    Code("8013", MISCONFIGURED, "INVALID_TENANT_ID: check MPAAS_TENANT_ID", _TEMPLATE_PAGE),
    Code("8014", MISCONFIGURED, "ACCOUNT_NO_PERMISSION", _TEMPLATE_PAGE),
    Code("800*", REFUSED, "the device or user cannot be reached", _OLD),
    Code("9000", UNKNOWN, "SYSTEM_ERROR: accepted or not, nobody knows", _TEMPLATE_PAGE),
    Code("InvalidAccessKeyId*", MISCONFIGURED, "the AccessKey does not exist or is inactive", _GATEWAY),
    Code("SignatureDoesNotMatch", MISCONFIGURED, "the AccessKey's secret is wrong", _GATEWAY),
    Code("InvalidSignatureMethod", MISCONFIGURED, "the signature method is not supported", _GATEWAY),
    Code("InvalidSecurityToken*", MISCONFIGURED, "the STS token is wrong or expired", _GATEWAY),
    Code("MissingSecurityToken", MISCONFIGURED, "a temporary AccessKey came without its STS token", _GATEWAY),
    Code("Forbidden*", MISCONFIGURED, "the AccessKey may not call mpaas:PushSimple", _GATEWAY),
    Code("NoPermission*", MISCONFIGURED, "the AccessKey may not call mpaas:PushSimple", _GATEWAY),
    Code("InvalidTimeStamp*", MISCONFIGURED, "the clock is more than 15 minutes off", _GATEWAY),
    Code("InvalidApi.NotFound", MISCONFIGURED, "no such action: check endpoint and API version", _GATEWAY),
    Code("InvalidProduct.NotFound", MISCONFIGURED, "no such product: check MPAAS_ENDPOINT", _GATEWAY),
    Code("InvalidVersion*", MISCONFIGURED, "no such version: check MPAAS_API_VERSION", _GATEWAY),
    Code("InvalidProtocol.NeedSsl", MISCONFIGURED, "https is needed: check MPAAS_ENDPOINT", _GATEWAY),
    Code("UnsupportedHTTPMethod", MISCONFIGURED, "check MPAAS_ENDPOINT", _GATEWAY),
    Code("SignatureNonceUsed", UNKNOWN, "an earlier copy of the request may have arrived", _GATEWAY),
    Code("Throttling*", THROTTLED, "refused for load", _GATEWAY),
    Code("Missing*", REFUSED, "a parameter is missing", _GATEWAY),
    Code("Invalid*", REFUSED, "a parameter is wrong", _GATEWAY),
    Code("InternalError", UNKNOWN, "the gateway failed: accepted or not, nobody knows", _GATEWAY),
    Code("ServiceUnavailable", UNKNOWN, "the service failed: accepted or not, nobody knows", _GATEWAY),
)
"""Every code that is known, each with the outcome it means (pushsimple.md: Result codes, Gateway errors)."""

_EXACT = {code.code: code for code in CODES}
# The longest beginning wins: InvalidAccessKeyId* before Invalid*.
_BEGINNINGS = sorted(
    ((code.code[:-1], code) for code in CODES if code.code.endswith("*")), key=lambda row: -len(row[0])
)

OK, TOO_MANY_REQUESTS = 200, 429
MESSAGE_LENGTH = 300
"""Longest message of the server that is kept, in characters."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one try of a request came to.

    Attributes:
        kind: The outcome, were this the last try.
        code: Result code or gateway code; a name of our own when no answer came, such as ``ReadTimeout``.
        message: The server's words, or ours.
        request_id: Request id of mPaaS.
        task_id: Id of a timed or loop task.
        retry_after: Seconds that the server asks to wait.
    """

    kind: OutcomeKind
    code: str | None = None
    message: str | None = field(default=None, repr=False)  # the server may quote a target id
    request_id: str | None = None
    task_id: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request, that is of up to ten targets of one message.

    Attributes:
        kind: One of the five outcomes; `str(kind)` is its name.
        targets: Message id of each target of the request; None where the message was refused before ids
            were derived.
        request_id: Request id of mPaaS, to be quoted to support.
        result_code: Result code of mPaaS, gateway code, or a name of our own when no answer came.
        result_message: The server's words, or ours; holds no secret and no whole target id.
        task_id: Id of a timed or loop task, for `QueryPushSchedulerList` and `CancelPushScheduler`.
        attempts: How often the request was tried; 0 when it was never sent.
        retry_after: Seconds that the server asked to wait before the next try.
        faults: What is wrong with the message, when it was refused before anything was sent.
    """

    kind: OutcomeKind
    targets: Mapping[str, str | None] = field(repr=False)
    request_id: str | None = None
    result_code: str | None = None
    result_message: str | None = None
    task_id: str | None = None
    attempts: int = 0
    retry_after: float | None = None
    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(
        cls, verdict: Verdict, targets: Mapping[str, str], attempts: int, secrets: Iterable[str | None] = ()
    ) -> Outcome:
        """Make the outcome of a request from the verdict of its last try; no text of it holds a secret."""
        message = verdict.message
        for secret in filter(None, secrets):
            message = message and message.replace(secret, "…")
        # Cut last: of what stands across the end, most would be left, and nothing would know it.
        message = message and _without_targets(message, targets)[:MESSAGE_LENGTH]
        return cls(
            verdict.kind,
            targets,
            verdict.request_id,
            verdict.code,
            message,
            verdict.task_id,
            attempts,
            verdict.retry_after,
        )

    @classmethod
    def invalid(cls, faults: tuple[Fault, ...], targets: Mapping[str, str] | Iterable[str]) -> Outcome:
        """Make the outcome of a message that was refused before anything was sent."""
        return cls(
            REFUSED,
            targets if isinstance(targets, Mapping) else dict.fromkeys(targets),
            result_code="InvalidMessage",
            result_message="; ".join(map(str, faults)),
            faults=faults,
        )

    @property
    def accepted(self) -> bool:
        """Whether mPaaS took the push."""
        return self.kind is ACCEPTED

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as it stands in an answer: whole target ids, for the caller who gave them."""
        answer: dict[str, Any] = {
            "outcome": self.kind.value,
            "targets": dict(self.targets),
            "requestId": self.request_id,
            "resultCode": self.result_code,
            "resultMessage": self.result_message,
            "taskId": self.task_id,
            "attempts": self.attempts,
        }
        if self.retry_after is not None:
            answer["retryAfter"] = self.retry_after
        if self.faults:
            answer["errors"] = [fault.as_json() for fault in self.faults]
        return answer


def counts_of(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes by name."""
    return dict(Counter(outcome.kind.value for outcome in outcomes))


def ids_for_log(targets: Mapping[str, str | None]) -> list[str | None]:
    """Return message ids as a log may hold them: callers who give their own may put the target into them."""
    return [message_id and _without_targets(message_id, (target,)) for target, message_id in targets.items()]


def verdict_of(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Judge an answer of mPaaS or of the gateway before it; never raises, whatever came.

    HTTP 200 alone means nothing (simple push page): accepted is ResultCode ``OK`` or ``100`` together with a
    `PushResult` that is absent (2019-08-21) or not unsuccessful. An answer that cannot be read is `unknown`.

    Args:
        status: HTTP status.
        headers: Its headers by lower-case name; only Retry-After is looked at.
        body: Its body.
    """
    retry_after = _seconds(headers.get("retry-after"))
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        kind = THROTTLED if status == TOO_MANY_REQUESTS else UNKNOWN
        return Verdict(kind, f"HTTP{status}", "the answer is not JSON", retry_after=retry_after)
    request_id = _short(answer.get("RequestId"))
    if "ResultCode" in answer:
        verdict = _business(answer, request_id, retry_after)
        if verdict.kind is ACCEPTED and status != OK:
            return replace(verdict, kind=UNKNOWN, task_id=None)
        return verdict
    code = _short(answer.get("Code")) or f"HTTP{status}"
    known = _known(code)
    if known is not None:
        kind = known.kind
    elif status == TOO_MANY_REQUESTS:
        kind = THROTTLED
    else:
        kind = MISCONFIGURED if status in {401, 403} else UNKNOWN
    return Verdict(kind, code, _words(answer.get("Message")), request_id, retry_after=retry_after)


def _business(answer: dict[str, Any], request_id: str | None, retry_after: float | None) -> Verdict:
    code = _short(answer["ResultCode"]) or ""
    message = _words(answer.get("ResultMessage"))
    result = answer.get("PushResult")
    result = result if isinstance(result, dict) else {}
    known = _known(code)
    kind = known.kind if known is not None else UNKNOWN
    if kind is ACCEPTED and result.get("Success") in (False, "false", "False"):
        kind, message = REFUSED, _words(result.get("ResultMsg")) or message
    task_id = _short(result.get("Data")) if kind is ACCEPTED else None
    return Verdict(kind, code, message, request_id, task_id or None, retry_after)


def _known(code: str) -> Code | None:
    return _EXACT.get(code) or next((known for start, known in _BEGINNINGS if code.startswith(start)), None)


def _text(value: object) -> str | None:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    # Half a surrogate pair could be neither logged nor answered.
    return str(value).encode(errors="replace").decode()


def _short(value: object) -> str | None:
    text = _text(value)
    return text and text[:MESSAGE_LENGTH]


def _words(value: object) -> str | None:
    """Return the server's words without what a gateway quotes of the request behind them."""
    text = _text(value)
    if text is None:
        return None
    # A signature error repeats the string to sign, others the URL: AccessKeyId, token, all parameters.
    return _QUOTED_REQUEST.split(text, maxsplit=1)[0].strip(" ,:;")


_QUOTED_REQUEST = re.compile(
    r"(server )?string ?to ?sign|\b(POST|GET)&%2F&|(AccessKeyId|SecurityToken|Signature)(=|%3D)",
    re.IGNORECASE,
)


def _without_targets(text: str, targets: Iterable[str]) -> str:
    """Mask the targets in words of the server, in each form in which it may quote them."""
    shown: dict[str, str] = {}
    for target in targets:
        forms = {target}
        if "\\" in text or "%" in text:
            forms |= {json.dumps(target, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
            forms |= {encode(form, "", None, "replace") for form in forms for encode in (quote, quote_plus)}
        shown |= {form: mask_id(target) for form in forms if form in text}
    if shown:
        longest_first = sorted(shown, key=len, reverse=True)
        pattern = "|".join(
            # A short id may stand within any word; there it is none.
            re.escape(form) if len(form) > _SHORT_TARGET else rf"(?<!\w){re.escape(form)}(?!\w)"
            for form in longest_first
        )
        text = re.sub(pattern, lambda found: shown[found[0]], text)
    return text


_SHORT_TARGET = 4


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110 §10.2.3); None when it cannot be read."""
    if not retry_after:
        return None
    try:
        seconds = float(int(retry_after))
    except (ValueError, OverflowError):
        pass
    else:
        return seconds if seconds >= 0 else None
    try:
        when = parsedate_to_datetime(retry_after)
        return max(when.timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
