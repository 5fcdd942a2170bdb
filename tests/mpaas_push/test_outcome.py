from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime, formatdate
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
from mpaas_push.result_codes import CODES, Code
from tests.servers import OK

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def judged(answer: object, status: int = 200, **headers: str) -> Verdict:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return verdict_of(status, {name.replace("_", "-").lower(): text for name, text in headers.items()}, body)


def samples(code: Code) -> list[str]:
    """Return codes that the row speaks of."""
    if not code.code.endswith("*"):
        return [code.code]
    start = code.code[:-1]
    # A code that only this row knows: rows with a longer beginning win.
    return [start + ("9" if start.isdigit() else ".Whatever")]


CODE_SAMPLES = [(sample, row.kind) for row in CODES for sample in samples(row)]


@pytest.mark.parametrize(("code", "kind"), CODE_SAMPLES)
def test_every_result_code_leads_to_its_outcome(code: str, kind: OutcomeKind) -> None:
    verdict = judged({"RequestId": "R-1", "ResultCode": code, "ResultMessage": "why"})

    assert (verdict.kind, verdict.code, verdict.message, verdict.request_id) == (kind, code, "why", "R-1")


@pytest.mark.parametrize(("code", "kind"), [row for row in CODE_SAMPLES if row[1] is not ACCEPTED])
@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
def test_every_gateway_code_leads_to_its_outcome_whatever_the_status(
    code: str, kind: OutcomeKind, status: int
) -> None:
    verdict = judged({"RequestId": "R-1", "HostId": "h", "Code": code, "Message": "why"}, status)

    assert (verdict.kind, verdict.code, verdict.message, verdict.request_id) == (kind, code, "why", "R-1")


def test_every_code_stands_once_with_meaning_and_source() -> None:
    assert len({row.code for row in CODES}) == len(CODES)
    assert all(row.meaning and row.source for row in CODES)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Throttling", THROTTLED),
        ("Throttling.User", THROTTLED),
        ("Throttling.Api", THROTTLED),
        ("InvalidAccessKeyId.NotFound", MISCONFIGURED),
        ("InvalidAccessKeyId.Inactive", MISCONFIGURED),
        ("InvalidTimeStamp.Expired", MISCONFIGURED),
        ("InvalidSecurityToken.Expired", MISCONFIGURED),
        ("Forbidden.RAM", MISCONFIGURED),
        ("InvalidTitle", REFUSED),
        ("MissingTitle", REFUSED),
        ("3051", REFUSED),
        ("8004", REFUSED),
        ("8011", THROTTLED),
    ],
)
def test_the_longest_known_beginning_decides(code: str, kind: OutcomeKind) -> None:
    assert judged({"Code": code}, 400).kind is kind
    assert judged({"ResultCode": code}).kind is kind


@pytest.mark.parametrize("code", ["OK", "100", 100])
@pytest.mark.parametrize("result", [{}, {"PushResult": {"Success": True, "Data": ""}}, {"PushResult": None}])
def test_both_success_literals_are_accepted_with_and_without_push_result(
    code: object, result: dict[str, Any]
) -> None:
    verdict = judged({"RequestId": "R-1", "ResultCode": code, "ResultMessage": "success", **result})

    assert (verdict.kind, verdict.code, verdict.task_id) == (ACCEPTED, str(code), None)


def test_the_task_id_of_a_timed_push_is_kept() -> None:
    answer = OK | {"PushResult": {"Success": True, "Data": "903bf653c1b5442b9ba07684767bf9c2"}}

    assert judged(answer).task_id == "903bf653c1b5442b9ba07684767bf9c2"


@pytest.mark.parametrize("code", ["OK", "100"])
def test_an_unsuccessful_push_result_is_a_refusal_in_its_own_words(code: str) -> None:
    answer = {
        "ResultCode": code,
        "PushResult": {"Success": False, "ResultMsg": "param is invalid", "Data": "x"},
    }

    verdict = judged(answer)

    assert (verdict.kind, verdict.message, verdict.task_id) == (REFUSED, "param is invalid", None)


def test_http_200_with_a_failing_body_is_a_failure() -> None:
    assert judged({"ResultMessage": "SYSTEM_ERROR", "ResultCode": "9000"}).kind is UNKNOWN
    assert judged({"ResultMessage": "TASKNAME_NULL", "ResultCode": "3019"}).kind is REFUSED
    assert judged({"Code": "Throttling.User", "Message": "slow"}).kind is THROTTLED


@pytest.mark.parametrize(
    ("code", "kind"), [(100, ACCEPTED), (-1, MISCONFIGURED), (3029, REFUSED), (8011, THROTTLED)]
)
def test_result_codes_may_be_numbers(code: int, kind: OutcomeKind) -> None:
    verdict = judged({"ResultCode": code})

    assert (verdict.kind, verdict.code) == (kind, str(code))


@pytest.mark.parametrize("code", [None, True, 100.0, [], {}, "", "ok", "200", "SUCCESS", " OK"])
def test_a_result_code_that_nobody_knows_is_unknown(code: object) -> None:
    assert judged({"ResultCode": code, "PushResult": {"Success": True}}).kind is UNKNOWN


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
def test_an_unknown_gateway_code_is_judged_by_its_status(
    code: str | None, status: int, kind: OutcomeKind
) -> None:
    verdict = judged({} if code is None else {"Code": code}, status)

    assert (verdict.kind, verdict.code) == (kind, code or f"HTTP{status}")


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad gateway</html>", b"OK", b'{"ResultCode": "OK"', b"\xff\xfe", b"[" * 100_000]
)
@pytest.mark.parametrize(
    ("status", "kind"), [(200, UNKNOWN), (302, UNKNOWN), (429, THROTTLED), (502, UNKNOWN)]
)
def test_a_body_that_is_not_json_is_no_verdict(body: bytes, status: int, kind: OutcomeKind) -> None:
    verdict = verdict_of(status, {}, body)

    assert (verdict.kind, verdict.code, verdict.message) == (
        kind,
        f"HTTP{status}",
        "the response is not JSON",
    )


@pytest.mark.parametrize("answer", [[], [OK], "OK", 100, None, True])
def test_json_that_is_no_object_is_no_verdict(answer: object) -> None:
    assert judged(answer).kind is UNKNOWN


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
def test_an_answer_that_could_be_read_in_two_ways_is_unknown(body: bytes) -> None:
    verdict = verdict_of(200, {}, body)

    assert (verdict.kind, verdict.task_id) == (UNKNOWN, None)


@pytest.mark.parametrize("answer", [{"Code": "OK"}, {"Code": 100}, {"Code": "OK", "Message": "success"}, {}])
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_answer_of_the_gateway_alone_never_means_that_a_push_was_accepted(
    answer: dict[str, Any], status: int
) -> None:
    assert judged(answer, status).kind is UNKNOWN


def test_what_the_reference_shows_as_success_is_accepted() -> None:
    page = (ROOT / "docs" / "reference" / "pushsimple.md").read_text()
    (sample,) = re.findall(r"^## Response\n\n```json\n(.*?)```", page, re.DOTALL | re.MULTILINE)

    verdict = judged(sample.encode())

    assert (verdict.kind, verdict.task_id) == (ACCEPTED, "903bf6…")


@pytest.mark.parametrize("answer", [{"ResultCode": "3012", "PushResult": None}, {"ResultCode": "OK"}])
def test_two_failures_are_one(answer: dict[str, Any]) -> None:
    failed = {"PushResult": {"Success": False, "ResultMsg": "param is invalid"}}

    assert judged(answer | failed).kind is REFUSED
    assert judged(answer | failed, 400).kind is REFUSED
    assert judged({"Code": "Throttling.User", "Success": False}, 400).kind is THROTTLED


@pytest.mark.parametrize("success", ["FALSE", "False", "false", " false", "no", "0", 0, 1, "", [], {}, "ok"])
def test_a_success_that_is_neither_true_nor_false_is_unknown(success: object) -> None:
    answer = OK | {"PushResult": {"Success": success, "ResultMsg": "param is invalid", "Data": "T-1"}}

    verdict = judged(answer)

    assert (verdict.kind, verdict.message, verdict.task_id) == (UNKNOWN, "param is invalid", None)


@pytest.mark.parametrize(
    "result", ["", "failed", '{"Success": true}', [], [{"Success": True}], 0, True, False]
)
def test_a_push_result_that_is_no_object_is_unknown(result: object) -> None:
    assert judged(OK | {"PushResult": result}).kind is UNKNOWN


def test_a_success_written_as_text_is_accepted() -> None:
    assert judged(OK | {"PushResult": {"Success": "True"}}).kind is ACCEPTED


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("7", 7), (" 12 ", 12), ("9" * 300, 2**31)])
def test_retry_after_may_be_seconds(text: str, seconds: float) -> None:
    assert judged({"Code": "Throttling"}, 400, Retry_After=text).retry_after == seconds
    assert verdict_of(429, {"retry-after": text}, b"not JSON").retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)

    asked = judged({"Code": "Throttling"}, 400, Retry_After=soon).retry_after

    assert asked is not None
    assert 0 < asked <= 60
    assert judged({"Code": "Throttling"}, 400, Retry_After=formatdate(0, usegmt=True)).retry_after == 0


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5e999", "9" * 400, "9" * 5000, "Mon, 99 Foo 2026", "nan", "inf", "\ud800"]
)
def test_a_retry_after_that_cannot_be_read_is_none(text: str) -> None:
    assert judged({"Code": "Throttling"}, 400, Retry_After=text).retry_after is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
answers = st.fixed_dictionaries(
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
    | answers.map(lambda value: json.dumps(value).encode()),
    target=st.text(min_size=1),
)
def test_whatever_is_answered_becomes_an_outcome(
    status: int, retry_after: str | None, body: bytes, target: str
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}

    outcome = Outcome.of(verdict_of(status, headers, body), {target: "id"}, 1)

    assert outcome.kind in OutcomeKind
    assert outcome.retry_after is None or 0 <= outcome.retry_after < float("inf")
    # It can be written to a log and to an answer.
    json.dumps(outcome.as_json(), ensure_ascii=False, allow_nan=False).encode()
    repr(outcome).encode()
    for text in (outcome.result_code, outcome.result_message, outcome.request_id, outcome.task_id):
        assert text is None or len(text) <= MESSAGE_LENGTH


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_long_words_of_the_server_are_cut(size: int) -> None:
    long = "x" * size

    verdict = judged({"RequestId": long, "ResultCode": long, "ResultMessage": long})
    outcome = Outcome.of(verdict, {"user-1": "id"}, 1)

    for text in (outcome.result_code, outcome.result_message, outcome.request_id):
        assert text is not None
        assert len(text) <= MESSAGE_LENGTH


@pytest.mark.parametrize(
    "said",
    [
        "Specified signature is not matched with our calculation. server string to sign is:POST&%2F&AccessKeyId%3DLTAI",
        "Specified signature is not matched with our calculation. Server String To Sign is:POST&%2F&AccessKeyId%3DLTAI",
        "Specified signature is not matched with our calculation. server StringToSign is [POST&%2F&AccessKeyId%3DLTAI]",
        "Specified signature is not matched with our calculation. POST&%2F&AccessKeyId%3DLTAI",
    ],
)
def test_the_string_to_sign_is_cut_off(said: str) -> None:
    message = judged({"Code": "SignatureDoesNotMatch", "Message": said}, 400).message

    assert message is not None
    assert message.startswith("Specified signature is not matched with our calculation")
    assert "LTAI" not in message


def told(message: str, *targets: str) -> str:
    said = Outcome.of(
        Verdict(kind=REFUSED, code="3028", message=message), dict.fromkeys(targets, "id"), 1
    ).result_message
    assert said is not None
    return said


def test_a_target_that_the_server_quotes_is_masked() -> None:
    assert told("user-4711 is not bound", "user-4711") == "us…(9) is not bound"


def test_a_target_at_the_cut_of_a_long_message_is_masked_too() -> None:
    target = "device-" + "0123456789abcdef" * 8
    verdict = judged({"ResultCode": "3028", "ResultMessage": "x" * (MESSAGE_LENGTH - 120) + target})

    outcome = Outcome.of(verdict, {target: "id"}, 1)

    assert "0123456789abcdef" not in str(outcome.result_message)


def test_a_secret_at_the_cut_of_a_long_message_is_masked_too() -> None:
    secret = "STS.NUgYrLnoC37mABCDEFGHIJK"
    verdict = judged(
        {"ResultCode": "3028", "ResultMessage": "x" * (MESSAGE_LENGTH - len(secret) + 1) + secret}
    )

    outcome = Outcome.of(verdict, {"user-1": "id"}, 1, [secret])

    assert outcome.result_message == "x" * (MESSAGE_LENGTH - len(secret) + 1) + "…"


def test_a_short_target_does_not_garble_other_words() -> None:
    assert told("param a is invalid", "a") == "param …(1) is invalid"
    assert told("10 of 100 ids", "10", "1") == "…(2) of 100 ids"


@pytest.mark.parametrize("quoted", ["用户-1", "%E7%94%A8%E6%88%B7-1", "\\u7528\\u6237-1"])
def test_a_target_is_masked_in_every_form_in_which_a_server_may_quote_it(quoted: str) -> None:
    assert told(f'{{"{quoted}": "id"}} is invalid', "用户-1") == '{"用…(4)": "id"} is invalid'


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
        lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
        lambda text: quote(json.dumps(text)[1:-1], safe=""),
        lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
        lambda text: "".join(f"\\u{ord(character):04X}" for character in text),
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    ],
)
def test_no_field_of_an_answer_shows_a_target_or_a_secret_however_it_is_escaped(
    field: str, escape: Callable[[str], str]
) -> None:
    said = f"a {escape('user 4711/é')} b {escape(TOKEN)} c"
    answer = {"ResultCode": "OK"} | ({"PushResult": {field: said}} if field == "Data" else {field: said})

    outcome = Outcome.of(judged(answer), {"user 4711/é": "id"}, 1, ["LTAI5tKey", TOKEN, None])

    shown = [outcome.request_id, outcome.result_code, outcome.result_message, outcome.task_id]
    assert "a us…(11) b … c" in shown


def test_a_documented_code_is_shown_even_if_a_target_is_called_like_it() -> None:
    outcome = Outcome.of(judged({"ResultCode": "3012"}), {"3012": "id", "OK": "id"}, 1)

    assert outcome.result_code == "3012"


def test_of_two_targets_the_longer_one_is_masked_as_a_whole() -> None:
    assert told("user-47 and user-4711-b", "user-47", "user-4711-b") == "us…(7) and us…(11)"


def test_a_target_within_its_message_id_is_masked_for_the_log() -> None:
    derived = "0123456789abcdef0123456789abcdef"

    shown = ids_for_log({"13800138000": "13800138000-20261123", "user-1": "order-1", "a": derived, "b": None})

    assert shown == ["13…(11)-20261123", "order-1", derived, None]


def test_an_outcome_stands_in_an_answer_as_the_contract_has_it() -> None:
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


def test_a_throttled_outcome_says_when_to_try_again() -> None:
    outcome = Outcome.of(Verdict(kind=THROTTLED, code="Throttling", retry_after=7.0), {"user-1": "id-1"}, 4)

    assert outcome.as_json()["retryAfter"] == 7.0


def test_a_message_refused_before_it_was_sent_names_every_fault_and_target() -> None:
    outcome = Outcome.invalid(
        (Fault("title", "is required"), Fault("silent", "must be 0 or 1", 7)), ["user-1"]
    )

    answer = outcome.as_json()

    assert (answer["outcome"], answer["resultCode"], answer["attempts"]) == ("refused", "InvalidMessage", 0)
    assert answer["targets"] == {"user-1": None}
    assert answer["errors"] == [
        {"field": "title", "message": "is required"},
        {"field": "silent", "message": "must be 0 or 1", "value": 7},
    ]


def test_outcomes_are_counted_by_name() -> None:
    outcomes = [Outcome.of(Verdict(kind=kind), {}, 1) for kind in (ACCEPTED, REFUSED, ACCEPTED)]

    assert counts_of(outcomes) == {"accepted": 2, "refused": 1}
    assert counts_of([]) == {}


def test_the_kinds_read_as_their_names() -> None:
    assert [f"{kind}" for kind in OutcomeKind] == [
        "accepted",
        "refused",
        "misconfigured",
        "throttled",
        "unknown",
    ]
