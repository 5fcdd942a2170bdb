"""The result of a request: one of five outcomes.

A response of mPaaS becomes a `Verdict` (`verdict_of`); the last verdict of a request becomes its `Outcome`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from mpaas_push.masking import mask_text, masks_of
from mpaas_push.result_codes import (
    ACCEPTED,
    MISCONFIGURED,
    REFUSED,
    THROTTLED,
    UNKNOWN,
    OutcomeKind,
    find_code,
    is_documented,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mpaas_push.errors import Fault

__all__ = [
    "ACCEPTED",
    "LEDGER_MISCONFIGURED",
    "MISCONFIGURED",
    "REFUSED",
    "THROTTLED",
    "UNKNOWN",
    "Outcome",
    "OutcomeKind",
    "Verdict",
    "counts_of",
    "ids_for_log",
    "targets_of",
    "verdict_of",
]


OK, TOO_MANY_REQUESTS = 200, 429
LEDGER_MISCONFIGURED = "LedgerMisconfigured"
"""Code of what was not sent because the ledger cannot work as it is configured."""
LONGEST_RETRY_AFTER_SECONDS = 2**31
"""A longer Retry-After is capped to this, like a lifetime that is too large for a cache (RFC 9111: 1.2.2)."""
MESSAGE_LENGTH = 300
"""Length to which a server's message is truncated, in characters."""


class Verdict(NamedTuple):
    """The result of one attempt of a request.

    Attributes:
        kind: The outcome if this is the last attempt.
        code: Result code or gateway code; our own name if no response arrived, such as ``ReadTimeout``.
        message: The server's text, or ours.
        request_id: Request id of mPaaS.
        task_id: Id of a timed or loop task.
        retry_after: Seconds to wait, as requested by the server.
    """

    kind: OutcomeKind
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    task_id: str | None = None
    retry_after: float | None = None

    def __repr__(self) -> str:
        return f"Verdict({self.kind}, {self.code})"  # the server's message may quote a target id


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one request, which has up to ten targets of one message.

    Attributes:
        kind: One of the five outcomes; `str(kind)` is its name.
        targets: Message id of each target of the request; None if the message was refused, or time ran out,
            before ids were derived.
        request_id: Request id of mPaaS, to quote to support.
        result_code: Result code of mPaaS, gateway code, or our own name if no response arrived.
        result_message: The server's text, or ours; contains no secret and no complete target id.
        task_id: Id of a timed or loop task, for `QueryPushSchedulerList` and `CancelPushScheduler`.
        attempts: Number of attempts; 0 if the request was never sent.
        retry_after: Seconds to wait before the next attempt, as requested by the server.
        faults: Faults of the message, if it was refused before anything was sent.
        unconfirmed: It was not accepted, and the ledger could not tell whether an earlier delivery was.
        is_final: It is unknown, but another attempt would be refused, as the last one was or as too late.
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
    unconfirmed: bool = False
    is_final: bool = False

    @classmethod
    def of(
        cls, verdict: Verdict, targets: Mapping[str, str], attempts: int, secrets: Iterable[str | None] = ()
    ) -> Outcome:
        """Create the outcome of a request from the verdict of its last attempt.

        Targets and secrets are masked in every field that a server filled.
        """
        masks = masks_of(targets, secrets)

        def clean(text: str | None) -> str | None:
            # Truncate last: a truncated secret would not be recognised.
            return text and mask_text(text, masks)[:MESSAGE_LENGTH]

        code = verdict.code
        return cls(
            kind=verdict.kind,
            targets=targets,
            request_id=clean(verdict.request_id),
            # A documented code is not a quoted target, even if a target has the same name.
            result_code=code if code and is_documented(code) else clean(code),
            result_message=clean(verdict.message),
            task_id=clean(verdict.task_id),
            attempts=attempts,
            retry_after=verdict.retry_after,
        )

    @classmethod
    def invalid(cls, faults: tuple[Fault, ...], targets: Mapping[str, str] | Iterable[str]) -> Outcome:
        """Create the outcome of a message that was refused before anything was sent."""
        return cls(
            kind=REFUSED,
            targets=targets if isinstance(targets, Mapping) else dict.fromkeys(targets),
            result_code="InvalidMessage",
            result_message="; ".join(map(str, faults)),
            faults=faults,
        )

    @property
    def accepted(self) -> bool:
        """Whether mPaaS accepted the push."""
        return self.kind is ACCEPTED

    def if_earlier_may_have_arrived(self) -> Outcome:
        """Return the outcome if an earlier attempt may have arrived: `unknown` unless accepted now."""
        if self.kind in {ACCEPTED, UNKNOWN}:
            return self
        last = self.result_message or self.result_code
        text = f"an earlier attempt may have arrived; the last one: {last}"
        return replace(self, kind=UNKNOWN, result_message=text, faults=(), is_final=self.kind is REFUSED)

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as JSON for a response, with complete target ids: the caller sent them."""
        members: dict[str, Any] = {
            "outcome": self.kind.value,
            "targets": dict(self.targets),
            "requestId": self.request_id,
            "resultCode": self.result_code,
            "resultMessage": self.result_message,
            "taskId": self.task_id,
            "attempts": self.attempts,
        }
        if self.retry_after is not None:
            members["retryAfter"] = self.retry_after
        if self.faults:
            members["errors"] = [fault.as_json() for fault in self.faults]
        return members


def targets_of(outcomes: Iterable[Outcome]) -> dict[str, str | None]:
    """Return the targets of outcomes, each with its message id."""
    return {target: message_id for outcome in outcomes for target, message_id in outcome.targets.items()}


def counts_of(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes by name."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        name = outcome.kind.value
        counts[name] = counts.get(name, 0) + 1
    return counts


def ids_for_log(targets: Mapping[str, str | None]) -> list[str | None]:
    """Return message ids with targets masked: ids that callers choose may contain them."""
    masks = masks_of(targets)
    return [message_id and mask_text(message_id, masks) for message_id in targets.values()]


def verdict_of(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """Judge a response of mPaaS or of its gateway; never raises, whatever it contains.

    HTTP 200 alone means nothing (pushsimple.md: Response): a push is accepted if ResultCode is ``OK`` or
    ``100`` and `PushResult` is absent (2019-08-21) or successful. A malformed or ambiguous response is
    `unknown`: any other key that reports success or failure makes acceptance doubtful, and any claim of
    success makes a failure doubtful.

    Args:
        status: HTTP status.
        headers: Headers by lower-case name; only Retry-After is read.
        body: The body.
    """
    retry_after = _seconds(headers.get("retry-after"))
    try:
        response = _DECODER.decode(body.decode(json.detect_encoding(body)))
        flaw = None if isinstance(response, dict) else "the response is not a JSON object"
    except _AmbiguousKeys:
        flaw = "the response has duplicate keys"
    except (ValueError, RecursionError):
        flaw = "the response is not JSON"
    if flaw:
        kind = THROTTLED if status == TOO_MANY_REQUESTS else UNKNOWN
        return Verdict(kind=kind, code=f"HTTP{status}", message=flaw, retry_after=retry_after)
    judge = _judge_result if "ResultCode" in response else _judge_gateway_error
    return judge(response, status, _text(response.get("RequestId")), retry_after)


def _judge_result(
    response: dict[str, Any], status: int, request_id: str | None, retry_after: float | None
) -> Verdict:
    """Judge a response of mPaaS itself."""
    code = _text(response["ResultCode"]) or ""
    row = find_code(code)
    kind = row.kind if row is not None else UNKNOWN
    message = _message(response.get("ResultMessage"))
    claims = dict(_claims(response))
    claims.pop(("ResultCode",), None)
    if kind is not ACCEPTED:
        kind = UNKNOWN if any(map(_means_success, claims.values())) else kind
        return Verdict(kind=kind, code=code, message=message, request_id=request_id, retry_after=retry_after)
    result = response.get("PushResult")
    result = result if isinstance(result, dict) else {}
    result_text = result.get("ResultMsg")
    # Without `Success`, only a result without a text is a success.
    success = claims.pop(("PushResult", "Success"), True if result_text is None else None)
    if success is False and not claims:
        kind = REFUSED
    elif claims or status != OK or str(success).lower() != "true":
        kind = UNKNOWN
    if kind is not ACCEPTED:
        return Verdict(
            kind=kind,
            code=code,
            message=_message(result_text) or message,
            request_id=request_id,
            retry_after=retry_after,
        )
    return Verdict(
        kind=kind,
        code=code,
        message=message,
        request_id=request_id,
        task_id=_text(result.get("Data")) or None,
        retry_after=retry_after,
    )


def _judge_gateway_error(
    response: dict[str, Any], status: int, request_id: str | None, retry_after: float | None
) -> Verdict:
    """Judge a response without a result code, which never means that a push was accepted."""
    code = _text(response.get("Code")) or f"HTTP{status}"
    row = find_code(code)
    if row is not None:
        kind = row.kind
    elif status == TOO_MANY_REQUESTS:
        kind = THROTTLED
    else:
        kind = MISCONFIGURED if status in {401, 403} else UNKNOWN
    if kind is ACCEPTED or any(_means_success(value) for _, value in _claims(response)):
        kind = UNKNOWN
    return Verdict(
        kind=kind,
        code=code,
        message=_message(response.get("Message")),
        request_id=request_id,
        retry_after=retry_after,
    )


def _claims(response: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each claim of success or failure anywhere in a response, with its path."""
    pending: list[tuple[tuple[Any, ...], Any]] = [((), response)]
    while pending:
        path, holder = pending.pop()
        if isinstance(holder, list):
            pending += [((*path, index), item) for index, item in enumerate(holder) if _is_nested(item)]
            continue
        for key, value in holder.items():
            if key in _TEXT_KEYS or value is None:
                continue
            if _is_nested(value):
                pending.append(((*path, key), value))
            documented = key == ("PushResult" if isinstance(value, dict) else "Data")
            # In any spelling: `errorCode`, `error_code`, `pushResult`.
            if not documented and (key in _CLAIMS or _is_claim(key)):
                yield (*path, key), value


def _is_nested(value: object) -> bool:
    return isinstance(value, (dict, list))


_TEXT_KEYS = {
    "RequestId",
    "ResultMessage",
    "ResultMsg",
    "Message",
    "HostId",
    "Recommend",
    "AccessDeniedDetail",
}
"""Documented keys whose values are texts for people."""
_CLAIMS = {"ResultCode", "Success", "Code"}


def _is_claim(key: str) -> bool:
    """Return whether a key reports success or failure. This is slow, but undocumented keys are rare."""
    return re.fullmatch(_CLAIM, re.sub("[^a-z]+", "", key.lower())) is not None


_CLAIM = ".*(code|success|succeeded|failed|status|state)|err(or)?.*|fail.*|exception|pushresult"


def _means_success(value: object) -> bool:
    return value is True or (
        isinstance(value, (str, int)) and str(value).strip().lower() in {"true", "ok", "100", "success"}
    )


class _AmbiguousKeys(Exception):
    """An object has a duplicate key, and parsers differ in which value they keep."""


def _distinct_in_any_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key.lower() for key, _ in pairs}) != len(pairs):
        raise _AmbiguousKeys
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct_in_any_case, parse_constant=_refuse_constant)


def _text(value: object) -> str | None:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        return None
    text = str(value)
    # An unpaired surrogate could be neither logged nor returned.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _message(value: object) -> str | None:
    """Return the server's message without the parts of the request that a gateway quotes after it."""
    text = _text(value)
    if text is None:
        return None
    # A signature error repeats the string to sign, others the URL: AccessKeyId, token, all parameters.
    return _QUOTED_REQUEST.split(text, maxsplit=1)[0].strip(" ,:;")


_QUOTED_REQUEST = re.compile(
    r"(server )?string ?to ?sign|\b(POST|GET)&%2F&|(AccessKeyId|SecurityToken|Signature)(=|%3D)",
    re.IGNORECASE,
)


def _seconds(retry_after: str | None) -> float | None:
    """Parse a Retry-After header, seconds or a date (RFC 9110: Retry-After); None if it is unreadable."""
    if not retry_after:
        return None
    try:
        seconds = float(int(retry_after))
    except (ValueError, OverflowError):
        pass
    else:
        return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds >= 0 else None
    try:
        when = parsedate_to_datetime(retry_after)
        return min(max(when.timestamp() - time.time(), 0.0), LONGEST_RETRY_AFTER_SECONDS)
    except (ValueError, TypeError, OverflowError):
        return None
