from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, formatdate
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpaas_push import Fault, Outcome, OutcomeKind
from mpaas_push.outcome import (
    ACCEPTED,
    MESSAGE_LENGTH,
    MISCONFIGURED,
    REFUSED,
    THROTTLED,
    UNKNOWN,
    Verdict,
    counts_of,
    ids_for_log,
    verdict_of,
)
from mpaas_push.result_codes import CODES
from tests.servers import OK

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def verdict_on(response: object, status: int = 200, **headers: str) -> Verdict:
    """Return the verdict on a response; underscores in header names become hyphens."""
    body = response if isinstance(response, bytes) else json.dumps(response).encode()
    return verdict_of(status, {name.replace("_", "-").lower(): text for name, text in headers.items()}, body)


CODES_OF_KIND = {
    ACCEPTED: "OK 100",
    MISCONFIGURED: """
        -1 3005 3007 3027 3032 3033 8012 8013 8014
        InvalidAccessKeyId InvalidAccessKeyId.NotFound InvalidAccessKeyId.Inactive
        SignatureDoesNotMatch InvalidSignatureMethod
        InvalidSecurityToken InvalidSecurityToken.Expired MissingSecurityToken
        Forbidden Forbidden.RAM Forbidden.RiskControl NoPermission NoPermission.Whatever
        InvalidTimeStamp.Format InvalidTimeStamp.Expired
        InvalidApi.NotFound InvalidProduct.NotFound InvalidVersion InvalidProtocol.NeedSsl UnsupportedHTTPMethod
    """,
    REFUSED: """
        3001 3002 3003 3004 3006 3008 3009 3010 3011 3012 3019 3020 3021 3022 3023 3024 3025 3026 3028 3029
        3030 3031 3035 3036 3037 3038 3039 3040 3041 3042 3043 3044 3049 3050 3051 3999
        8000 8001 8002 8003 8004 8005 8006 8007 8009
        MissingTitle MissingTargetMsgkey InvalidTitle InvalidWhatever
    """,
    THROTTLED: "8011 Throttling Throttling.User Throttling.Api Throttling.Whatever",
    UNKNOWN: "9000 SignatureNonceUsed InternalError ServiceUnavailable",
}
"""Codes by outcome, written from pushsimple.md (Result codes, Gateway errors), not from the product's table."""
CODE_SAMPLES = [(code, kind) for kind, codes in CODES_OF_KIND.items() for code in codes.split()]


def test_every_row_of_the_table_decides_one_of_the_codes() -> None:
    codes = [code for code, _ in CODE_SAMPLES]
    unused = {row.code for row in CODES if not any(fnmatchcase(code, row.code) for code in codes)}

    assert unused == set()


@pytest.mark.parametrize(("code", "kind"), CODE_SAMPLES)
def test_every_result_code_has_its_outcome(code: str, kind: OutcomeKind) -> None:
    verdict = verdict_on({"RequestId": "R-1", "ResultCode": code, "ResultMessage": "why"})

    assert (verdict.kind, verdict.code, verdict.message, verdict.request_id) == (kind, code, "why", "R-1")


@pytest.mark.parametrize(("code", "kind"), [row for row in CODE_SAMPLES if row[1] is not ACCEPTED])
def test_every_gateway_code_has_its_outcome_regardless_of_the_status(code: str, kind: OutcomeKind) -> None:
    response = {"RequestId": "R-1", "HostId": "h", "Code": code, "Message": "why"}
    verdicts = [verdict_on(response, status) for status in (400, 403, 404, 500, 503)]

    assert {(verdict.kind, verdict.code, verdict.message, verdict.request_id) for verdict in verdicts} == {
        (kind, code, "why", "R-1")
    }


def test_every_code_appears_once_with_meaning_and_source() -> None:
    assert len({row.code for row in CODES}) == len(CODES)
    assert all(row.meaning and row.source for row in CODES)


@pytest.mark.parametrize("code", ["OK", "100", 100])
@pytest.mark.parametrize("result", [{}, {"PushResult": {"Success": True, "Data": ""}}, {"PushResult": None}])
def test_both_success_literals_are_accepted_with_and_without_push_result(
    code: object, result: dict[str, Any]
) -> None:
    verdict = verdict_on({"RequestId": "R-1", "ResultCode": code, "ResultMessage": "success", **result})

    assert (verdict.kind, verdict.code, verdict.task_id) == (ACCEPTED, str(code), None)


def test_task_id_of_a_timed_push_is_kept() -> None:
    response = OK | {"PushResult": {"Success": True, "Data": "903bf653c1b5442b9ba07684767bf9c2"}}

    assert verdict_on(response).task_id == "903bf653c1b5442b9ba07684767bf9c2"


@pytest.mark.parametrize("code", ["OK", "100"])
def test_unsuccessful_push_result_is_refused_with_its_message(code: str) -> None:
    response = {
        "ResultCode": code,
        "PushResult": {"Success": False, "ResultMsg": "param is invalid", "Data": "x"},
    }

    verdict = verdict_on(response)

    assert (verdict.kind, verdict.message, verdict.task_id) == (REFUSED, "param is invalid", None)


def test_http_200_with_a_failing_body_is_a_failure() -> None:
    assert verdict_on({"ResultMessage": "SYSTEM_ERROR", "ResultCode": "9000"}).kind is UNKNOWN
    assert verdict_on({"ResultMessage": "TASKNAME_NULL", "ResultCode": "3019"}).kind is REFUSED
    assert verdict_on({"Code": "Throttling.User", "Message": "slow"}).kind is THROTTLED


@pytest.mark.parametrize(
    ("code", "kind"), [(100, ACCEPTED), (-1, MISCONFIGURED), (3029, REFUSED), (8011, THROTTLED)]
)
def test_result_codes_may_be_numbers(code: int, kind: OutcomeKind) -> None:
    verdict = verdict_on({"ResultCode": code})

    assert (verdict.kind, verdict.code) == (kind, str(code))


@pytest.mark.parametrize("code", [None, True, 100.0, [], {}, "", "ok", "200", "SUCCESS", " OK"])
def test_undocumented_result_code_is_unknown(code: object) -> None:
    assert verdict_on({"ResultCode": code, "PushResult": {"Success": True}}).kind is UNKNOWN


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("Strange", 400, UNKNOWN),
        ("Strange", 401, MISCONFIGURED),
        ("Strange", 403, MISCONFIGURED),
        ("Strange", 429, THROTTLED),
        ("Strange", 500, UNKNOWN),
        (None, 429, THROTTLED),
        (None, 503, UNKNOWN),
        (None, 200, UNKNOWN),
    ],
)
def test_outcome_of_an_unknown_gateway_code_depends_on_the_status(
    code: str | None, status: int, kind: OutcomeKind
) -> None:
    verdict = verdict_on({} if code is None else {"Code": code}, status)

    assert (verdict.kind, verdict.code) == (kind, code or f"HTTP{status}")


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b"OK", b'{"ResultCode": "OK"', b"\xff\xfe", b"[" * 100_000]
)
@pytest.mark.parametrize(
    ("status", "kind"), [(200, UNKNOWN), (302, UNKNOWN), (429, THROTTLED), (502, UNKNOWN)]
)
def test_outcome_of_a_body_that_is_not_json_depends_on_the_status(
    body: bytes, status: int, kind: OutcomeKind
) -> None:
    verdict = verdict_of(status, {}, body)

    assert (verdict.kind, verdict.code, verdict.message) == (
        kind,
        f"HTTP{status}",
        "the response is not JSON",
    )


@pytest.mark.parametrize("response", [[], [OK], "OK", 100, None, True])
def test_json_that_is_not_an_object_is_unknown(response: object) -> None:
    assert verdict_on(response).kind is UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        b'{"ResultCode": "3012", "ResultCode": "OK"}',
        b'{"ResultCode": "OK", "ResultCode": "OK"}',
        b'{"ResultCode": "OK", "resultCode": "3012"}',
        b'{"ResultCode": "OK", "PushResult": {"Success": false, "Success": true}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true}, "PushResult": {"Success": false}}',
        b'{"ResultCode": "OK", "Code": "Throttling"}',
        b'{"ResultCode": "OK", "ErrorCode": "Throttling"}',
        b'{"ResultCode": "OK", "error_code": 9000}',
        b'{"ResultCode": "OK", "ResultCode ": "3012"}',
        b'{"ResultCode": "OK", "Success": false}',
        b'{"ResultCode": "OK", "Success": true}',
        b'{"ResultCode": "OK", "pushResult": {"Success": false}}',
        b'{"ResultCode": "OK", "PUSHRESULT": "failed"}',
        b'{"ResultCode": "OK", "pushResult": {}}',
        b'{"ResultCode": "OK", "error": {"message": "device not found"}}',
        b'{"ResultCode": "OK", "PushResult": {"success": false}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true, "ResultCode": "3012"}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true, "errorMsg": "device not found"}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true, "Data": {"Success": false}}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true, "Data": [{"Success": false}]}}',
        b'{"ResultCode": "OK", "PushResult": {"Success": true}, "Results": [1, [{"ResultCode": "3012"}]]}',
        b'{"ResultCode": "OK", "PushResult.Success": false, "PushResult": {"Success": true}}',
        b'{"ResultCode": "3012", "Results": [{"Success": true}]}',
        b'{"ResultCode": "OK", "PushResult": {"Success": null, "ResultMsg": "device not found"}}',
        b'{"ResultCode": "OK", "PushResult": {"ResultMsg": "true"}}',
        b'{"ResultCode": "OK", "RequestId": NaN}',
        b'{"ResultCode": "3012", "PushResult": {"Success": true}}',
        b'{"ResultCode": "8011", "PushResult": {"Success": "true"}}',
        b'{"ResultCode": "8011", "Success": true}',
        b'{"Code": "Throttling.User", "PushResult": {"Success": true}}',
        b'{"Code": "Throttling.User", "resultCode": "OK"}',
    ],
)
def test_ambiguous_response_is_unknown(body: bytes) -> None:
    verdict = verdict_of(200, {}, body)

    assert (verdict.kind, verdict.task_id) == (UNKNOWN, None)


@pytest.mark.parametrize(
    "response", [{"Code": "OK"}, {"Code": 100}, {"Code": "OK", "Message": "success"}, {}]
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_response_without_a_result_code_is_never_accepted(response: dict[str, Any], status: int) -> None:
    assert verdict_on(response, status).kind is UNKNOWN


def test_sample_response_of_the_reference_is_accepted() -> None:
    page = (ROOT / "docs" / "reference" / "pushsimple.md").read_text()
    (sample,) = re.findall(r"^## Response\n\n```json\n(.*?)```", page, re.DOTALL | re.MULTILINE)

    verdict = verdict_on(sample.encode())

    assert (verdict.kind, verdict.task_id) == (ACCEPTED, "903bf6…")


@pytest.mark.parametrize("response", [{"ResultCode": "3012", "PushResult": None}, {"ResultCode": "OK"}])
def test_consistent_failures_are_one_failure(response: dict[str, Any]) -> None:
    failure = {"PushResult": {"Success": False, "ResultMsg": "param is invalid"}}

    assert verdict_on(response | failure).kind is REFUSED
    assert verdict_on(response | failure, 400).kind is REFUSED
    assert verdict_on({"Code": "Throttling.User", "Success": False}, 400).kind is THROTTLED


@pytest.mark.parametrize("success", ["FALSE", "False", "false", " false", "no", "0", 0, 1, "", [], {}, "ok"])
def test_success_that_is_neither_true_nor_false_is_unknown(success: object) -> None:
    response = OK | {"PushResult": {"Success": success, "ResultMsg": "param is invalid", "Data": "T-1"}}

    verdict = verdict_on(response)

    assert (verdict.kind, verdict.message, verdict.task_id) == (UNKNOWN, "param is invalid", None)


@pytest.mark.parametrize(
    "result", ["", "failed", '{"Success": true}', [], [{"Success": True}], 0, True, False]
)
def test_push_result_that_is_not_an_object_is_unknown(result: object) -> None:
    assert verdict_on(OK | {"PushResult": result}).kind is UNKNOWN


def test_success_as_text_is_accepted() -> None:
    assert verdict_on(OK | {"PushResult": {"Success": "True"}}).kind is ACCEPTED


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("7", 7), (" 12 ", 12), ("9" * 300, 2**31)])
def test_retry_after_may_be_seconds(text: str, seconds: float) -> None:
    assert verdict_on({"Code": "Throttling"}, 400, Retry_After=text).retry_after == seconds
    assert verdict_of(429, {"retry-after": text}, b"not JSON").retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)

    retry_after = verdict_on({"Code": "Throttling"}, 400, Retry_After=soon).retry_after

    assert retry_after is not None
    assert 0 < retry_after <= 60
    assert verdict_on({"Code": "Throttling"}, 400, Retry_After=formatdate(0, usegmt=True)).retry_after == 0


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5e999", "9" * 400, "9" * 5000, "Mon, 99 Foo 2026", "nan", "inf", "\ud800"]
)
def test_unreadable_retry_after_is_none(text: str) -> None:
    assert verdict_on({"Code": "Throttling"}, 400, Retry_After=text).retry_after is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
responses = st.fixed_dictionaries(
    {},
    optional={
        "RequestId": json_values,
        "ResultCode": json_values | st.sampled_from(["OK", "100", "3029"]),
        "ResultMessage": json_values,
        "PushResult": json_values
        | st.fixed_dictionaries(
            {}, optional={"Success": json_values, "Data": json_values, "ResultMsg": json_values}
        ),
        "Code": json_values | st.sampled_from(["Throttling", "InternalError"]),
        "Message": json_values,
    },
)


@settings(deadline=None)
@given(
    status=st.integers(100, 999),
    retry_after=st.none() | st.text(st.characters(exclude_categories=[])) | st.integers().map(str),
    body=st.binary()
    | json_values.map(lambda value: json.dumps(value).encode())
    | responses.map(lambda value: json.dumps(value).encode()),
    target=st.text(min_size=1),
)
def test_any_response_becomes_an_outcome(
    status: int, retry_after: str | None, body: bytes, target: str
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}

    outcome = Outcome.of(verdict_of(status, headers, body), {target: "id"}, 1)

    assert outcome.kind in OutcomeKind
    assert outcome.retry_after is None or 0 <= outcome.retry_after < float("inf")
    # It can be logged and returned in a response.
    json.dumps(outcome.as_json(), ensure_ascii=False, allow_nan=False).encode()
    repr(outcome).encode()
    for text in (outcome.result_code, outcome.result_message, outcome.request_id, outcome.task_id):
        assert text is None or len(text) <= MESSAGE_LENGTH


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_long_texts_of_the_server_are_truncated(size: int) -> None:
    long = "x" * size

    verdict = verdict_on({"RequestId": long, "ResultCode": long, "ResultMessage": long})
    outcome = Outcome.of(verdict, {"user-1": "id"}, 1)

    for text in (outcome.result_code, outcome.result_message, outcome.request_id):
        assert text is not None
        assert len(text) <= MESSAGE_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "Specified signature is not matched with our calculation. server string to sign is:POST&%2F&AccessKeyId%3DLTAI",
        "Specified signature is not matched with our calculation. Server String To Sign is:POST&%2F&AccessKeyId%3DLTAI",
        "Specified signature is not matched with our calculation. server StringToSign is [POST&%2F&AccessKeyId%3DLTAI]",
        "Specified signature is not matched with our calculation. POST&%2F&AccessKeyId%3DLTAI",
    ],
)
def test_string_to_sign_is_removed(text: str) -> None:
    message = verdict_on({"Code": "SignatureDoesNotMatch", "Message": text}, 400).message

    assert message is not None
    assert message.startswith("Specified signature is not matched with our calculation")
    assert "LTAI" not in message


def masked(message: str, *targets: str) -> str:
    """Return the message of an outcome for these targets."""
    text = Outcome.of(
        Verdict(kind=REFUSED, code="3028", message=message), dict.fromkeys(targets, "id"), 1
    ).result_message
    assert text is not None
    return text


def test_target_quoted_by_the_server_is_masked() -> None:
    assert masked("user-4711 is not bound", "user-4711") == "us…(9) is not bound"


def test_target_at_the_truncation_of_a_long_message_is_masked() -> None:
    target = "device-" + "0123456789abcdef" * 8
    verdict = verdict_on({"ResultCode": "3028", "ResultMessage": "x" * (MESSAGE_LENGTH - 120) + target})

    outcome = Outcome.of(verdict, {target: "id"}, 1)

    assert "0123456789abcdef" not in str(outcome.result_message)


def test_secret_at_the_truncation_of_a_long_message_is_masked() -> None:
    secret = "STS.NUgYrLnoC37mABCDEFGHIJK"
    verdict = verdict_on(
        {"ResultCode": "3028", "ResultMessage": "x" * (MESSAGE_LENGTH - len(secret) + 1) + secret}
    )

    outcome = Outcome.of(verdict, {"user-1": "id"}, 1, [secret])

    assert outcome.result_message == "x" * (MESSAGE_LENGTH - len(secret) + 1) + "…"


def test_short_target_does_not_garble_other_words() -> None:
    assert masked("param a is invalid", "a") == "param …(1) is invalid"
    assert masked("10 of 100 ids", "10", "1") == "…(2) of 100 ids"


@pytest.mark.parametrize("quoted", ["用户-1", "%E7%94%A8%E6%88%B7-1", "\\u7528\\u6237-1"])
def test_target_is_masked_in_every_encoding(quoted: str) -> None:
    assert masked(f'{{"{quoted}": "id"}} is invalid', "用户-1") == '{"用…(4)": "id"} is invalid'


TOKEN = "CAIS+nQ/kP8=" + "0123456789" * 3


@pytest.mark.parametrize("field", ["RequestId", "ResultCode", "ResultMessage", "Data"])
@pytest.mark.parametrize(
    "escape",
    [
        str,
        quote,
        quote_plus,
        lambda text: quote(text, safe=""),
        lambda text: quote(quote(text, safe=""), safe=""),
        lambda text: re.sub("%..", lambda match: match[0].lower(), quote(text, safe="")),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        lambda text: quote(json.dumps(text)[1:-1], safe=""),
        lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
        lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    ],
)
def test_no_response_field_shows_a_target_or_a_secret_in_any_encoding(
    field: str, escape: Callable[[str], str]
) -> None:
    text = f"a {escape('user 4711/é')} b {escape(TOKEN)} c"
    response = {"ResultCode": "OK"} | ({"PushResult": {field: text}} if field == "Data" else {field: text})

    outcome = Outcome.of(verdict_on(response), {"user 4711/é": "id"}, 1, ["LTAI5tKey", TOKEN, None])

    shown = [outcome.request_id, outcome.result_code, outcome.result_message, outcome.task_id]
    assert "a us…(11) b … c" in shown


def test_documented_code_is_shown_even_if_it_equals_a_target() -> None:
    outcome = Outcome.of(verdict_on({"ResultCode": "3012"}), {"3012": "id", "OK": "id"}, 1)

    assert outcome.result_code == "3012"


def test_target_that_starts_with_another_is_masked_completely() -> None:
    assert masked("user-47 and user-4711-b", "user-47", "user-4711-b") == "us…(7) and us…(11)"


def test_target_in_its_message_id_is_masked_for_the_log() -> None:
    derived = "0123456789abcdef0123456789abcdef"

    shown = ids_for_log({"13800138000": "13800138000-20261123", "user-1": "order-1", "a": derived, "b": None})

    assert shown == ["13…(11)-20261123", "order-1", derived, None]


def test_outcome_as_json_matches_the_contract() -> None:
    outcome = Outcome.of(
        Verdict(kind=ACCEPTED, code="OK", message="success", request_id="R-1", task_id="T-1"),
        {"user-1": "id-1"},
        2,
    )

    assert outcome.accepted
    assert outcome.as_json() == {
        "outcome": "accepted",
        "targets": {"user-1": "id-1"},
        "requestId": "R-1",
        "resultCode": "OK",
        "resultMessage": "success",
        "taskId": "T-1",
        "attempts": 2,
    }


def test_throttled_outcome_says_when_to_retry() -> None:
    outcome = Outcome.of(Verdict(kind=THROTTLED, code="Throttling", retry_after=7.0), {"user-1": "id-1"}, 4)

    assert outcome.as_json()["retryAfter"] == 7.0


def test_invalid_message_has_an_outcome_with_every_fault_and_target() -> None:
    outcome = Outcome.invalid(
        (Fault("title", "is required"), Fault("silent", "must be 0 or 1", 7)), ["user-1"]
    )

    document = outcome.as_json()

    assert (document["outcome"], document["resultCode"], document["attempts"]) == (
        "refused",
        "InvalidMessage",
        0,
    )
    assert document["targets"] == {"user-1": None}
    assert document["errors"] == [
        {"field": "title", "message": "is required"},
        {"field": "silent", "message": "must be 0 or 1", "value": 7},
    ]


def test_outcomes_are_counted_by_name() -> None:
    outcomes = [Outcome.of(Verdict(kind=kind), {}, 1) for kind in (ACCEPTED, REFUSED, ACCEPTED)]

    assert counts_of(outcomes) == {"accepted": 2, "refused": 1}
    assert counts_of([]) == {}


def test_kinds_are_formatted_as_their_names() -> None:
    assert [f"{kind}" for kind in OutcomeKind] == [
        "accepted",
        "refused",
        "misconfigured",
        "throttled",
        "unknown",
    ]
