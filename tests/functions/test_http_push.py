from __future__ import annotations

import base64
import json
import shutil
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import redis
from openapi_spec_validator import OpenAPIV31SpecValidator

from mpaas_local.account import LocalCredentials
from project.smoke import CHECKS
from tests.functions.http_stack import ROLE, ROOT, HttpStack, message
from tests.servers import closed_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def running() -> Iterator[HttpStack]:
    with HttpStack() as stack:
        yield stack


@pytest.fixture
def stack(running: HttpStack) -> HttpStack:
    running.sandbox.clear()
    running.lines.clear()
    return running


def received(stack: HttpStack) -> list[dict[str, str]]:
    """Parameters of the requests that the sandbox received, oldest first."""
    return [entry["parameters"] for entry in reversed(stack.sandbox.inbox())]


# --- Responses of the contract


def test_accepted_push_returns_its_outcome(stack: HttpStack) -> None:
    response = stack.post(message(targets=["user-1", "user-2"]))

    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    (outcome,) = response.json["outcomes"]
    assert response.json["counts"] == {"accepted": 1}
    assert list(outcome) == [
        "outcome", "targets", "requestId", "resultCode", "resultMessage", "taskId", "attempts",
    ]  # fmt: skip
    assert (outcome["outcome"], outcome["resultCode"], outcome["attempts"]) == ("accepted", "OK", 1)
    assert outcome["taskId"] is None
    (sent,) = received(stack)
    assert json.loads(sent["TargetMsgkey"]) == outcome["targets"]
    assert sent["Title"] == "你的订单已发货"
    assert sent["AppId"] == "ONEX570DA89211721"
    assert stack.sandbox.inbox()[0]["requestId"] == outcome["requestId"]


def test_more_than_ten_targets_become_several_requests_with_every_target_listed(stack: HttpStack) -> None:
    targets = [f"user-{number}" for number in range(25)]

    response = stack.post(message(targets=targets))

    assert response.status == 200
    assert response.json["counts"] == {"accepted": 3}
    assert [target for outcome in response.json["outcomes"] for target in outcome["targets"]] == targets
    assert sorted(len(json.loads(sent["TargetMsgkey"])) for sent in received(stack)) == [5, 10, 10]


def test_scheduled_push_returns_its_task_id(stack: HttpStack) -> None:
    response = stack.post(message(strategyType=1, strategyContent={"fixedTime": 4102444800000}))

    assert response.json["outcomes"][0]["taskId"] == stack.sandbox.inbox()[0]["taskId"]
    assert response.json["outcomes"][0]["taskId"]


def test_invalid_message_does_not_affect_the_others(stack: HttpStack) -> None:
    bad = message(deliveryType=4, targets=["user-bad"])

    response = stack.post({"messages": [message(), bad, message()]})

    assert response.status == 207
    assert response.json["counts"] == {"accepted": 2, "refused": 1}
    refused = response.json["outcomes"][1]
    assert refused["targets"] == {"user-bad": None}
    assert refused["attempts"] == 0
    assert [error["field"] for error in refused["errors"]] == ["messages.1.deliveryType"]
    assert len(received(stack)) == 2


def test_problem_of_an_invalid_message_lists_all_its_faults(stack: HttpStack) -> None:
    response = stack.post({"titel": "x", "content": 1, "deliveryType": True, "targets": []})

    assert response.status == 422
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json
    assert {"type", "title", "status", "detail", "errors"} <= problem.keys()
    assert problem["status"] == 422
    assert {error["field"] for error in problem["errors"]} == {
        "taskName", "title", "titel", "content", "deliveryType", "targets", "expiredSeconds",
    }  # fmt: skip
    assert "did you mean `title`?" in str(problem["errors"])
    assert received(stack) == []


@pytest.mark.parametrize(
    ("fault", "status", "outcome", "code", "attempts"),
    [
        ({"kind": "result", "code": "3028"}, 422, "refused", "3028", 1),
        ({"kind": "result", "code": "3007"}, 500, "misconfigured", "3007", 1),
        ({"kind": "gateway", "code": "Forbidden.RAM"}, 500, "misconfigured", "Forbidden.RAM", 1),
        ({"kind": "result", "code": "9000"}, 502, "unknown", "9000", 1),
        ({"kind": "internalError"}, 502, "unknown", "InternalError", 1),
        ({"kind": "serviceUnavailable"}, 502, "unknown", "ServiceUnavailable", 1),
        ({"kind": "resetAfterRead"}, 502, "unknown", "AnswerLost", 1),
        ({"kind": "resetBeforeRead"}, 502, "unknown", "AnswerLost", 1),
        ({"kind": "cutBody"}, 502, "unknown", "AnswerLost", 1),
        ({"kind": "notJson"}, 502, "unknown", "HTTP200", 1),
        ({"kind": "throttling", "next": 9}, 503, "throttled", "Throttling.User", 4),
        ({"kind": "result", "code": "8011", "next": 9}, 503, "throttled", "8011", 4),
    ],
)
def test_every_failure_has_its_status_and_lists_every_target(
    stack: HttpStack, fault: dict[str, Any], status: int, outcome: str, code: str, attempts: int
) -> None:
    stack.sandbox.order(**fault)

    response = stack.post(message())

    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json
    assert problem["counts"] == {outcome: 1}
    assert list(problem["outcomes"][0]["targets"]) == ["user-4711"]
    assert problem["outcomes"][0]["resultCode"] == code
    assert problem["outcomes"][0]["attempts"] == attempts
    assert ("Retry-After" in response.headers) == (status == 503)


def test_throttled_push_is_retried_with_the_same_message_ids(stack: HttpStack) -> None:
    stack.sandbox.order(kind="throttling", next=2)

    response = stack.post(message())

    assert response.status == 200
    assert response.json["outcomes"][0]["attempts"] == 3
    assert len({sent["TargetMsgkey"] for sent in received(stack)}) == 1


def test_retry_after_beyond_the_remaining_time_is_passed_on(stack: HttpStack) -> None:
    stack.sandbox.order(kind="throttling", retryAfter=120)

    response = stack.post(message())

    assert response.status == 503
    assert response.headers["Retry-After"] == "120"
    assert response.json["outcomes"][0]["attempts"] == 1


def test_worst_failure_determines_the_status_when_none_was_accepted(stack: HttpStack) -> None:
    stack.sandbox.order(kind="result", code="9000", match={"target": "user-b"})

    response = stack.post({"messages": [message(expiredSeconds=0), message(targets=["user-b"])]})

    assert response.status == 502
    assert response.json["counts"] == {"refused": 1, "unknown": 1}


# --- Dry run


def test_dry_run_shows_the_exact_parameters_and_sends_nothing(stack: HttpStack) -> None:
    body = message(targets=[f"user-{number}" for number in range(11)])

    planned = stack.post(body, path="/v1/pushes?dryRun=true", headers={"Idempotency-Key": "k1"})
    assert received(stack) == []
    stack.post(body, headers={"Idempotency-Key": "k1"})

    assert planned.status == 200
    shown = [request["parameters"] for request in planned.json["requests"]]
    assert sorted(shown, key=str) == sorted(received(stack), key=str)


def test_dry_run_warns_about_text_that_channels_truncate(stack: HttpStack) -> None:
    response = stack.post(message(title="长" * 60), path="/v1/pushes?dryRun=true")

    vivo = [warning for warning in response.json["warnings"] if warning.get("channel") == "vivo"]
    assert vivo
    assert {"message", "rule", "field", "limit", "actual"} <= vivo[0].keys()


def test_response_and_log_of_a_push_have_the_warnings_of_a_dry_run(stack: HttpStack) -> None:
    body = {"messages": [message(), message(title="长" * 60)]}
    planned = stack.post(body, path="/v1/pushes?dryRun=true")
    sent = stack.post(body)

    assert sent.status == 200
    assert sent.json["warnings"] == planned.json["warnings"]
    assert {warning["index"] for warning in sent.json["warnings"]} == {1}
    (line,) = (line for line in stack.log if "warnings" in line)
    assert line["warnings"][0] == sent.json["warnings"][0]
    assert line["request_id"] == sent.headers["X-Fc-Request-Id"]


def test_large_dry_run_shows_the_first_requests_and_counts_the_rest(stack: HttpStack) -> None:
    targets = [f"user-{number}" for number in range(3_000)]
    response = stack.post(message(content="x" * 20_000, targets=targets), path="/v1/pushes?dryRun=true")

    assert response.status == 200
    assert len(response.data) < 2_000_000
    assert len(response.json["requests"]) + response.json["omittedRequests"] == 300


@pytest.mark.parametrize("name", ["dryRum", "dry", "verbose", "dryRun%20", "", "x%0Ay"])
def test_unknown_query_parameter_sends_nothing(stack: HttpStack, name: str) -> None:
    response = stack.post(message(), path=f"/v1/pushes?{name}=true")

    assert (response.status, response.json["type"]) == (400, "urn:mpaas-push:problem:bad-query")
    assert "dryRun" in response.json["detail"]
    assert received(stack) == []


@pytest.mark.parametrize("path", ["/v1/health", "/openapi.json", "/docs"])
def test_route_without_query_parameters_refuses_any(stack: HttpStack, path: str) -> None:
    response = stack.get(f"{path}?verbose=1")

    assert (response.status, response.json["type"]) == (400, "urn:mpaas-push:problem:bad-query")


def test_dry_run_of_an_invalid_message_is_a_problem(stack: HttpStack) -> None:
    response = stack.post({"messages": [message(), {}]}, path="/v1/pushes?dryRun=true")

    assert response.status == 422
    assert {error["field"] for error in response.json["errors"]} >= {"messages.1.title"}


def test_dry_run_must_be_true_or_false(stack: HttpStack) -> None:
    assert stack.post(message(), path="/v1/pushes?dryRun=maybe").status == 400
    for name in ("dryrun", "DryRun", "dry_run", "dry-run"):  # the caller meant a dry run
        response = stack.post(message(), path=f"/v1/pushes?{name}=true")
        assert (response.status, "did you mean dryRun?" in response.json["detail"]) == (400, True)


# --- Idempotency-Key


def test_same_key_gives_the_same_message_ids_in_every_instance(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": "order-1"}
    first = stack.post(message(), headers=headers)
    stack.host.kill()
    second = stack.post(message(), headers=headers)

    assert first.json["outcomes"][0]["targets"] == second.json["outcomes"][0]["targets"]
    assert stack.sandbox.inbox()[0]["targets"][0]["repeated"]


def test_different_or_missing_key_gives_other_message_ids(stack: HttpStack) -> None:
    responses = [
        stack.post(message(), headers={"Idempotency-Key": "order-2"}),
        stack.post(message(), headers={"Idempotency-Key": "order-3"}),
        stack.post(message()),
        stack.post(message()),
    ]

    assert len({response.json["outcomes"][0]["targets"]["user-4711"] for response in responses}) == 4


def test_used_key_with_a_different_body_is_a_conflict(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": "order-4"}
    assert stack.post(message(), headers=headers).status == 200
    assert stack.post(message(), headers=headers).status == 200

    conflict = stack.post(message(title="another"), headers=headers)

    assert conflict.status == 409
    assert len(received(stack)) == 2


def test_invalid_body_may_be_corrected_with_the_same_key(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": "order-5"}
    assert stack.post(message(deliveryType=4), headers=headers).status == 422

    assert stack.post(message(), headers=headers).status == 200


def test_key_order_and_white_space_do_not_change_the_body(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": "order-6"}
    body = message(extendedParams={"a": 1, "b": [2, 3]})
    reordered = dict(reversed([*body.items(), ("extendedParams", {"b": [2, 3], "a": 1})]))

    assert stack.post(body, headers=headers).status == 200
    assert stack.post(json.dumps(reordered, indent=3).encode(), headers=headers).status == 200
    assert stack.post(body | {"title": "another"}, headers=headers).status == 409


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"expiredSeconds": 600}', '{"expiredSeconds": 600.0}'),
        ('{"expiredSeconds": 600}', '{"expiredSeconds": 6e2}'),
        ('{"extendedParams": {"a": 1}}', '{"extendedParams": {"a": 1.0}}'),
        (
            '{"extendedParams": {"a": "1", "b": "2"}}',
            r"""{"extendedParams": "{ \"b\":\"2\", \"a\":\"1\"}"}""",
        ),
        (
            '{"targetMsgkey": {"u-1": "a", "u-2": "b"}}',
            r"""{"targetMsgkey": "{\"u-2\":\"b\",\"u-1\":\"a\"}"}""",
        ),
        ("{}", '{"uri": null}'),
        ("{}", '{"pushStyle": 0}'),
        ("{}", '{"appId": "ONEX570DA89211721"}'),
    ],
)
def test_equivalent_json_is_the_same_body(stack: HttpStack, first: str, second: str) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    common = message()
    for change, replaced in {"targetMsgkey": "targets", "expiredSeconds": "expiredSeconds"}.items():
        if change in first:
            del common[replaced]
    bodies = [f"{json.dumps(common)[:-1]}, {change[1:]}".replace(", }", "}") for change in (first, second)]

    responses = [stack.post(body.encode(), headers=headers) for body in bodies]

    assert [response.status for response in responses] == [200, 200]
    assert responses[0].json["outcomes"][0]["targets"] == responses[1].json["outcomes"][0]["targets"]


@pytest.mark.parametrize(
    "change",
    [
        {"targets": ["user-4712"]},
        {"targets": ["user-4711", "user-4712"]},
        {"tenantId": "T2"},
        {"workspaceId": "other"},
        {"expiredSeconds": 601},
        {"extendedParams": {"a": "1"}},
    ],
)
def test_any_difference_in_the_message_is_a_conflict(stack: HttpStack, change: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    assert stack.post(message(), headers=headers).status == 200

    assert stack.post(message(**change), headers=headers).status == 409


def test_invalid_body_with_a_used_key_gets_its_faults(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    assert stack.post(message(), headers=headers).status == 200

    assert stack.post(message(title=""), headers=headers).status == 422
    assert stack.post({"messages": [message(title=""), message()]}, headers=headers).status == 409
    assert stack.post(message(title="another"), headers=headers).status == 409
    assert len(received(stack)) == 1


def test_push_that_mpaas_refused_may_be_corrected_with_the_same_key(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": "order-7"}
    stack.sandbox.order(kind="result", code="3028")
    assert stack.post(message(), headers=headers).status == 422

    assert stack.post(message(title="corrected"), headers=headers).status == 200


@pytest.mark.parametrize("key", ["k" * 256, " ", ""])
def test_invalid_key_is_refused(stack: HttpStack, key: str) -> None:
    assert stack.post(message(), headers={"Idempotency-Key": key}).status == 400


# --- Idempotency-Key with a ledger


@pytest.fixture
def two_instances(redis_server: RedisServer) -> Iterator[tuple[HttpStack, HttpStack]]:
    """Two deployments that share nothing but the ledger."""
    environment = {"PUSH_LEDGER_URL": redis_server.url, "PUSH_MAX_ATTEMPTS": "1"}
    with HttpStack(environment=environment) as one, HttpStack(environment=environment) as other:
        yield one, other


def test_repeated_request_gets_the_first_response_from_any_instance(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = message(targets=[f"user-{number}" for number in range(15)])

    first, second = (stack.post(body, headers=headers) for stack in two_instances)

    assert first.status == second.status == 200
    assert second.json == first.json
    assert [len(stack.sandbox.inbox()) for stack in two_instances] == [2, 0]
    logged = [[line.get("from_ledger") for line in stack.log if "outcome" in line] for stack in two_instances]
    assert logged == [[None, None], [True, True]]


@pytest.mark.parametrize(("if_down", "status", "sent"), [("send", 200, 2), ("fail", 503, 1)])
def test_unreadable_record_of_a_key_is_handled_as_the_setting_says(
    redis_server: RedisServer, if_down: str, status: int, sent: int
) -> None:
    environment = {"PUSH_LEDGER_URL": redis_server.url, "PUSH_LEDGER_IF_DOWN": if_down}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with HttpStack(environment=environment) as stack, redis.Redis.from_url(redis_server.url) as records:
        assert stack.post(message(targets=["user-1"]), headers=headers).status == 200
        (key,) = records.keys("mpaas-push:key:*")
        records.set(key, "2 of a later version")

        response = stack.post(message(targets=["user-2"], title="Another"), headers=headers)

        assert (response.status, len(stack.sandbox.inbox())) == (status, sent)
        (line,) = [line for line in stack.log if line["level"] == "ERROR"]
        assert "this version cannot read" in line["message"]
    assert response.headers.get("Retry-After") == ("1" if if_down == "fail" else None)


@pytest.mark.parametrize("preference", [{}, {"Prefer": "respond-async"}])
def test_key_with_a_misconfigured_ledger_sends_nothing_and_hands_nothing_over(
    redis_server: RedisServer, preference: dict[str, str]
) -> None:
    url = redis_server.url.replace("redis://", "redis://someone:qzxq@")
    environment = {"PUSH_LEDGER_URL": url, "PUSH_WORKER_FUNCTION": "worker"}
    with HttpStack(environment=environment) as stack:
        response = stack.post(message(), headers={"Idempotency-Key": "key", **preference})

        assert (response.status, response.json["type"]) == (500, "urn:mpaas-push:problem:misconfigured")
        assert "password" in response.json["detail"]
        assert stack.sandbox.inbox() == []
        assert [line["level"] for line in stack.log].count("ERROR") == 1


@pytest.mark.parametrize("ledger", [False, True])
def test_failed_handler_forgets_the_key(redis_server: RedisServer, tmp_path: Path, *, ledger: bool) -> None:
    folder = tmp_path / "http_push"
    shutil.copytree(ROOT / "functions" / "http_push", folder)
    index = folder / "index.py"
    index.write_text(index.read_text("utf-8") + FAILING_ONCE, "utf-8")
    headers = {"Idempotency-Key": "key"}
    environment = {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    with HttpStack(environment=environment, folder=folder) as stack:
        first = stack.post(message(), headers=headers)
        second = stack.post(message(title="Another"), headers=headers)

    assert (first.status, second.status) == (500, 200)


FAILING_ONCE = """
_real_send, _errors = _send, [RuntimeError("once")]


def _send(*arguments):
    if _errors:
        raise _errors.pop()
    return _real_send(*arguments)
"""


def test_repeated_request_sends_only_what_was_not_accepted(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    one, other = two_instances
    one.sandbox.order(kind="throttling", match={"target": "user-11"})
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = message(targets=[f"user-{number}" for number in range(15)])

    first, second = one.post(body, headers=headers), other.post(body, headers=headers)

    assert (first.status, first.json["counts"]) == (207, {"accepted": 1, "throttled": 1})
    assert (second.status, second.json["counts"]) == (200, {"accepted": 2})
    (sent,) = other.sandbox.inbox()
    assert [target["target"] for target in sent["targets"]] == [f"user-{number}" for number in range(10, 15)]


def test_lost_response_stays_unknown_for_a_repeated_request(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    one, other = two_instances
    one.sandbox.order(kind="resetAfterRead")
    headers = {"Idempotency-Key": uuid.uuid4().hex}

    first, second = one.post(message(), headers=headers), other.post(message(), headers=headers)

    assert first.status == second.status == 502
    assert second.json["outcomes"] == first.json["outcomes"]
    assert other.sandbox.inbox() == []


def test_different_body_with_a_used_key_is_a_conflict_at_any_instance(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    one, other = two_instances
    headers = {"Idempotency-Key": uuid.uuid4().hex}

    assert one.post(message(), headers=headers).status == 200
    assert other.post(message(title="another"), headers=headers).status == 409
    assert other.post(message(), headers=headers).status == 200


def test_same_key_at_two_functions_sends_two_pushes(redis_server: RedisServer) -> None:
    environment = {"PUSH_LEDGER_URL": redis_server.url}
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with (
        HttpStack(environment=environment, name="shop-staging-http") as one,
        HttpStack(environment=environment, name="shop-prod-http") as other,
    ):
        responses = [one.post(message(), headers=headers), other.post(message(title="x"), headers=headers)]

        assert [response.status for response in responses] == [200, 200]
        assert [len(stack.sandbox.inbox()) for stack in (one, other)] == [1, 1]
        ids = {response.json["outcomes"][0]["targets"]["user-4711"] for response in responses}
        assert len(ids) == 2


def test_invalid_body_may_be_corrected_at_any_instance(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    one, other = two_instances
    headers = {"Idempotency-Key": uuid.uuid4().hex}

    assert one.post(message(deliveryType=4), headers=headers).status == 422
    assert other.post(message(), headers=headers).status == 200


def test_corrected_message_is_sent_and_the_accepted_one_is_not_resent(
    two_instances: tuple[HttpStack, HttpStack],
) -> None:
    one, other = two_instances
    one.sandbox.order(kind="result", code="3022", match={"target": "wrong"})
    for wrong in ({"targets": ["wrong"]}, {"targets": ["invalid"], "title": ""}):
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        good, bad = message(targets=["good"]), message(**wrong)

        first = one.post({"messages": [good, bad]}, headers=headers)
        corrected = other.post({"messages": [good, bad | {"title": "Corrected"}]}, headers=headers)
        changed = one.post({"messages": [good | {"title": "Changed"}]}, headers=headers)

        assert first.json["counts"] == {"accepted": 1, "refused": 1}
        assert (corrected.status, corrected.json["counts"]) == (200, {"accepted": 2})
        assert changed.status == 409
    assert [sent["targets"][0]["target"] for sent in other.sandbox.inbox()] == ["invalid", "wrong"]


@pytest.mark.parametrize("ledger", [False, True])
def test_accepted_message_is_not_resent_at_another_index(redis_server: RedisServer, *, ledger: bool) -> None:
    environment = {"PUSH_LEDGER_URL": redis_server.url} if ledger else {}
    with HttpStack(environment=environment) as stack:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        bad, good, other = message(deliveryType=99), message(targets=["good"]), message(targets=["other"])

        responses = [
            stack.post({"messages": messages}, headers=headers)
            for messages in ([bad, good], [good], [good, other], [bad, other], [bad, good], [other, good])
        ]

        assert [response.status for response in responses] == [207, 409, 409, 409, 207, 200]
        assert "only its refused messages may change" in responses[1].json["detail"]
        reached = [sent["targets"][0]["target"] for sent in stack.sandbox.inbox()]
        assert sorted(set(reached)) == ["good", "other"]
        assert not ledger or len(reached) == 2


def test_throttled_correction_does_not_free_its_key(stack: HttpStack) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    bad, good = message(deliveryType=99), message(targets=["good"])

    first = stack.post({"messages": [bad, good]}, headers=headers)
    stack.sandbox.order(kind="throttling", retryAfter=300, match={"target": "good"})
    second = stack.post({"messages": [bad, good]}, headers=headers)

    assert first.json["counts"] == {"refused": 1, "accepted": 1}
    assert second.status == 503
    assert stack.post({"messages": [good]}, headers=headers).status == 409


def test_repeated_request_that_is_now_invalid_does_not_free_its_key(redis_server: RedisServer) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    with HttpStack(environment={"PUSH_LEDGER_URL": redis_server.url}) as stack:
        stack.get("/v1/health")
        soon = int(time.time()) + 4  # enough for the first request
        timed = message(strategyType=1, strategyContent={"fixedTime": soon * 1000})
        assert stack.post(timed, headers=headers).status == 200
        time.sleep(max(0, soon + 1.1 - time.time()))  # until the fixed time has passed

        assert stack.post(timed, headers=headers).status == 422
        assert stack.post(message(title="another"), headers=headers).status == 409


# --- Bodies that cannot be read


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[1,", b'{"title": NaN}', b'{"a": 1, "a": 2}'])
def test_body_that_is_not_json_is_refused(stack: HttpStack, body: bytes) -> None:
    response = stack.post(body)

    assert response.status == 400
    assert response.json["type"] == "urn:mpaas-push:problem:not-json"


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b'{"messages": []}', b'{"messages": {}}'])
def test_json_that_is_not_a_message_is_refused(stack: HttpStack, body: bytes) -> None:
    response = stack.post(body)

    assert response.status == 422
    assert response.json["errors"]


def test_duplicate_targets_in_the_body_are_not_silently_dropped(stack: HttpStack) -> None:
    body = json.dumps(message(targets=None, targetMsgkey={"TARGET": "m1"})).replace(
        '{"TARGET": "m1"}', '{"user-4711": "m1", "user-4711": "m2"}'
    )

    response = stack.post(body.encode())

    assert response.status == 400
    assert "user-4711" not in response.data.decode()


def test_unsupported_media_type_is_refused(stack: HttpStack) -> None:
    assert stack.post(message(), headers={"Content-Type": "text/plain"}).status == 415
    form = stack.post(b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert form.status == 415


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, "Content-Type: application/json"),
        ({"Content-Type": "application/json; charset=gbk"}, "gbk"),
        ({"Content-Type": "application/json; Charset='UTF-16'"}, "utf-16"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "Content-Encoding gzip"),
        ({"Content-Type": "application/json", "Content-Encoding": "identity, br"}, "identity, br"),
    ],
)
def test_unsupported_charset_or_encoding_is_refused_by_name(
    stack: HttpStack, headers: dict[str, str], named: str
) -> None:
    body = json.dumps(message()).encode()
    response = stack.request("POST", "/v1/pushes", body, headers)

    assert (response.status, response.json["type"]) == (415, "urn:mpaas-push:problem:media-type")
    assert named in response.json["detail"]
    assert received(stack) == []


def test_explicit_utf8_is_accepted(stack: HttpStack) -> None:
    for charset in ("utf-8", "UTF-8", '"utf-8"', "utf8"):
        headers = {"Content-Type": f"application/json; charset={charset}", "Content-Encoding": "identity"}
        assert stack.post(message(), headers=headers).status == 200


def test_bytes_that_are_not_utf8_are_refused(stack: HttpStack) -> None:
    body = json.dumps(message(title="GRÜN"), ensure_ascii=False).encode("latin-1")
    # Function Compute passes a body of this type as base64, so its bytes are unchanged.
    response = stack.post(body, headers={"Content-Type": "application/vnd.push+json"})

    assert (response.status, response.json["type"]) == (400, "urn:mpaas-push:problem:not-json")
    assert received(stack) == []


@pytest.mark.parametrize(
    "encoded",
    [
        base64.encodebytes,
        lambda body: base64.b64encode(body) + b"\n",
        base64.urlsafe_b64encode,
        lambda body: base64.b64encode(body).rstrip(b"="),
    ],
)
def test_base64_is_read_in_every_common_form(stack: HttpStack, encoded: Callable[[bytes], bytes]) -> None:
    body = json.dumps(message(title="长?>~" * 9), ensure_ascii=False).encode()
    event = {
        "version": "v1",
        "headers": {"content-type": "application/json"},
        "body": encoded(body).decode(),
        "isBase64Encoded": True,
        "requestContext": {"http": {"method": "POST", "path": "/v1/pushes"}},
    }

    result = stack.host.invoke(json.dumps(event).encode())

    assert json.loads(result.payload)["statusCode"] == 200


def test_body_that_arrives_as_base64_is_read(stack: HttpStack) -> None:
    # Function Compute passes a body of this type as base64.
    response = stack.post(message(), headers={"Content-Type": "application/vnd.push+json"})

    assert response.status == 200


def test_too_large_body_is_refused(stack: HttpStack) -> None:
    response = stack.post(message(content="x" * 1_100_000))

    assert response.status == 413
    assert "1048576" in response.json["detail"]


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("PUSH_MAX_MESSAGES", {"messages": [message()] * 5}),
        ("PUSH_MAX_TARGETS", message(targets=[f"user-{number}" for number in range(5)])),
        ("PUSH_MAX_TARGETS", message(targets=None, targetMsgkey=json.dumps(dict.fromkeys("abcde", "1")))),
        ("PUSH_MAX_TARGETS", {"messages": [message(targets=["a", "b"]), {"targets": ["c", "d", "e"]}]}),
    ],
)
def test_too_many_messages_or_targets_are_refused_with_the_limit(
    limited: HttpStack, setting: str, body: Any
) -> None:
    response = limited.post(body)

    assert (response.status, response.json["type"]) == (413, "urn:mpaas-push:problem:too-large")
    assert "has 5" in response.json["detail"]
    assert "4 are allowed" in response.json["detail"]
    assert setting in response.json["detail"]
    assert "queue_push" in response.json["detail"]
    assert received(limited) == []


@pytest.fixture(scope="module")
def limited() -> Iterator[HttpStack]:
    with HttpStack(environment={"PUSH_MAX_MESSAGES": "4", "PUSH_MAX_TARGETS": "4"}) as stack:
        yield stack


def test_response_and_log_stay_small_with_many_faults(stack: HttpStack) -> None:
    wrong = {"deliveryType": 4, "targets": [f"user-{number}" for number in range(5)]}
    response = stack.post({"messages": [wrong] * 5_000})

    assert response.status == 422
    assert len(response.json["outcomes"]) == 5_000
    assert len(response.json["errors"]) == 100
    assert response.json["omittedErrors"] > 4_900
    assert sum(len(outcome.get("errors", ())) for outcome in response.json["outcomes"]) == 100
    assert len(response.data) < 5_000 * 700
    assert max(len(line.encode()) for line in stack.lines) <= 16 * 1024


def test_unsupported_method_is_refused_with_the_allowed_ones(stack: HttpStack) -> None:
    for method, path, allowed in (
        ("GET", "/v1/pushes", "POST"),
        ("PUT", "/v1/pushes", "POST"),
        ("HEAD", "/v1/pushes", "POST"),
        ("OPTIONS", "/v1/pushes", "POST"),
        ("POST", "/v1/health", "GET, HEAD"),
        ("DELETE", "/docs", "GET, HEAD"),
    ):
        response = stack.request(method, path)
        assert (response.status, response.headers.get("Allow")) == (405, allowed)


@pytest.mark.parametrize("path", ["/v1/health", "/openapi.json", "/docs"])
def test_head_responds_like_get_without_a_body(stack: HttpStack, path: str) -> None:
    got, head = stack.get(path), stack.request("HEAD", path)

    assert (head.status, head.data) == (got.status, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_unknown_route_is_answered_with_where_the_routes_are_listed(stack: HttpStack) -> None:
    response = stack.get("/v2/pushes")

    assert response.status == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "GET /openapi.json lists all routes" in response.json["detail"]


def test_event_of_another_trigger_raises(stack: HttpStack) -> None:
    for event in (b"", b"{}", b"[]", b'{"requestContext": {"http": {"path": 1, "method": "GET"}}}', b"\xff"):
        result = stack.host.invoke(event)
        assert result.error_type == "UnhandledInvocationError"
        assert json.loads(result.payload)["errorType"] == "UnreadablePayload"


def test_invalid_base64_body_is_refused(stack: HttpStack) -> None:
    event = {
        "version": "v1",
        "headers": {"content-type": "application/json"},
        "queryParameters": {},
        "body": "###",
        "isBase64Encoded": True,
        "requestContext": {"http": {"method": "POST", "path": "/v1/pushes"}},
    }

    result = stack.host.invoke(json.dumps(event).encode())

    assert json.loads(result.payload)["statusCode"] == 400


def test_header_names_are_case_insensitive(stack: HttpStack) -> None:
    event = {
        "version": "v1",
        "headers": {"CONTENT-type": "application/json; charset=utf-8", "idempotency-KEY": "order-9"},
        "queryParameters": {"dryRun": "true"},
        "body": base64.b64encode(json.dumps(message()).encode()).decode(),
        "isBase64Encoded": True,
        "requestContext": {"http": {"method": "POST", "path": "/v1/pushes"}},
    }

    shown = [
        json.loads(json.loads(stack.host.invoke(json.dumps(event).encode()).payload)["body"]) for _ in "ab"
    ]

    assert shown[0] == shown[1]
    assert shown[0]["requests"]


# --- Health, description, page


def test_health_is_ok_and_shows_no_secrets(stack: HttpStack) -> None:
    response = stack.get("/v1/health")

    assert response.status == 200
    assert response.json == {"status": "ok", "version": "0.1.0", "settings": "ok", "credentials": "ok"}
    for secret in (ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token):
        assert secret not in response.data.decode()


SMOKE = next(check for check in CHECKS["http_push"] if "ledger" in check.what)


def test_health_and_smoke_check_the_ledger(redis_server: RedisServer) -> None:
    with HttpStack(environment={"PUSH_LEDGER_URL": redis_server.url}) as stack:
        response = stack.get("/v1/health")
        smoke = stack.host.invoke(json.dumps(SMOKE.event).encode())

    assert SMOKE.expected in smoke.payload.decode()
    assert (response.json["status"], response.json["ledger"]) == ("ok", "ok")


def test_health_is_degraded_while_the_ledger_cannot_be_reached() -> None:
    with HttpStack(environment={"PUSH_LEDGER_URL": f"redis://127.0.0.1:{closed_port()}/0"}) as stack:
        response = stack.get("/v1/health")

    assert (response.status, response.json["status"]) == (200, "degraded")
    assert response.json["ledger"] == "ConnectionError"


def test_wrong_ledger_password_is_misconfigured_and_nothing_is_sent(
    redis_server: RedisServer,
) -> None:
    url = redis_server.url.replace("redis://", "redis://someone:qzxq@")
    with HttpStack(environment={"PUSH_LEDGER_URL": url}) as stack:
        health, push = stack.get("/v1/health"), stack.post(message())

        assert health.json["status"] == "misconfigured"
        smoke = stack.host.invoke(json.dumps(SMOKE.event).encode())
        assert SMOKE.expected not in smoke.payload.decode()
        assert health.json["ledger"] != "ok"
        assert (push.status, push.json["outcomes"][0]["outcome"]) == (500, "misconfigured")
        assert stack.sandbox.inbox() == []
        assert "qzxq" not in health.data.decode() + push.data.decode() + "\n".join(stack.lines)


def test_description_is_valid_openapi_with_every_route(stack: HttpStack) -> None:
    document = stack.get("/openapi.json").json

    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    for path, methods in document["paths"].items():
        for method in methods:
            response = stack.get(path) if method == "get" else stack.post(b"{}", path=path)
            assert response.status != 404, path


def test_description_states_how_callers_authenticate(stack: HttpStack) -> None:
    document = stack.get("/openapi.json").json

    schemes = document["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme.get("scheme")) for name, scheme in schemes.items()} == {
        "signature": ("apiKey", None),
        "jwt": ("http", "bearer"),
    }
    assert document["security"] == [{"signature": []}, {"jwt": []}]


def test_examples_of_the_description_match_real_responses(stack: HttpStack) -> None:
    push = stack.get("/openapi.json").json["paths"]["/v1/pushes"]["post"]
    examples = push["requestBody"]["content"]["application/json"]["examples"]

    for example in examples.values():
        assert stack.post(example["value"]).status == 200

    shown = push["responses"]["200"]["content"]["application/json"]["example"]
    real = stack.post(examples["one"]["value"]).json
    assert shown["counts"] == real["counts"]
    assert [{**outcome, "requestId": "", "targets": ""} for outcome in shown["outcomes"]] == [
        {**outcome, "requestId": "", "targets": ""} for outcome in real["outcomes"]
    ]
    assert shown["outcomes"][0]["targets"].keys() == real["outcomes"][0]["targets"].keys()

    problem = push["responses"]["422"]["content"]["application/problem+json"]["example"]
    assert stack.post({**message(targets=["user-1"]), "title": None}).json == problem


def test_page_loads_no_external_resources(stack: HttpStack) -> None:
    response = stack.get("/docs")

    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/html")
    page = response.data.decode()
    assert "SwaggerUIBundle" in page
    assert "<script src" not in page
    assert "<link" not in page
    assert '"/v1/pushes"' in page


# --- Logs and settings


def test_each_request_to_mpaas_has_one_structured_log_line(stack: HttpStack) -> None:
    response = stack.post({"messages": [message(), message(targets=["user-0815"]), {}]})

    lines = stack.log
    assert len(lines) == 3
    sent = [line for line in lines if line["outcome"] == "accepted"]
    assert len(sent) == 2
    for line in sent:
        assert line["attempts"] == 1
        assert line["duration_ms"] > 0
        assert line["result_code"] == "OK"
        assert line["request_id"] == response.headers["X-Fc-Request-Id"]
    assert {line["mpaas_request_id"] for line in sent} == {
        outcome["requestId"] for outcome in response.json["outcomes"][:2]
    }


def test_no_log_line_contains_a_key_a_token_or_a_target(stack: HttpStack) -> None:
    stack.sandbox.order(kind="result", code="3028", message="bad target user-4711")
    stack.post(message())
    stack.sandbox.order(kind="resetAfterRead")
    stack.post(message())
    stack.post(message(targetMsgkey={"user-4711": ""}))

    text = "\n".join(stack.lines)
    for secret in (ROLE.access_key_id, ROLE.access_key_secret, ROLE.security_token, "user-4711"):
        assert secret not in text


def test_no_event_is_logged_in_the_dev_mode_of_powertools() -> None:
    with HttpStack(environment={"POWERTOOLS_DEV": "true"}) as stack:
        assert stack.post(message(content="not to be printed")).status == 200

        text = "\n".join(stack.lines)
        assert "not to be printed" not in text
        assert "user-4711" not in text
        assert [line["outcome"] for line in stack.log] == ["accepted"]


@pytest.mark.parametrize("password", ["pa/qzxq", "pa#qzxq", "pa%qzxq", "pa\uff0fqzxq", "qzxq]", "a:qzxq"])
def test_ledger_password_is_in_no_response_and_no_log(password: str) -> None:
    with HttpStack(environment={"PUSH_LEDGER_URL": f"redis://user:{password}@host:6379/0"}) as stack:
        responses = [stack.post(message()), stack.get("/v1/health")]

        assert [response.status for response in responses] == [500, 200]
        assert responses[1].json["status"] == "misconfigured"
        for response in responses:
            assert "PUSH_LEDGER_URL" in response.data.decode()
            assert "percent-encode" in response.data.decode()
            assert "qzxq" not in response.data.decode()
        assert "qzxq" not in "\n".join(stack.lines)


def test_unexpected_exception_is_a_problem_without_its_text(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "functions" / "http_push", tmp_path / "http_push")
    fault = "\n\ndef shared_client():\n    raise ValueError('redis://user:qzxq@host')\n"
    with (folder / "index.py").open("a") as code:
        code.write(fault)
    with HttpStack(folder=folder) as stack:
        response = stack.post(message())

        assert (response.status, response.json["type"]) == (500, "urn:mpaas-push:problem:unexpected")
        assert "ValueError" in response.json["detail"]
        assert "ValueError" in "\n".join(stack.lines)
        assert "qzxq" not in response.data.decode() + "\n".join(stack.lines)


@pytest.mark.parametrize("runtime", ["python3.10", "python3.12"])
def test_role_of_the_function_is_used_on_both_runtimes(runtime: Any) -> None:
    with HttpStack(runtime=runtime) as stack:
        assert stack.post(message()).status == 200
        assert stack.sandbox.inbox()[0]["accessKeyId"] == ROLE.access_key_id


def test_keys_in_the_environment_take_precedence_over_the_role() -> None:
    keys = {"MPAAS_AK_ENV": "someone-else", "MPAAS_SK_ENV": "x"}
    with HttpStack(environment=keys) as stack:
        response = stack.post(message())

    assert response.status == 500
    assert response.json["outcomes"][0]["resultCode"] == "InvalidAccessKeyId.NotFound"


def test_rotated_keys_are_used_at_the_next_call() -> None:
    with HttpStack() as stack:
        event = {
            "version": "v1",
            "headers": {"Content-Type": "application/json"},
            "body": json.dumps(message()),
            "isBase64Encoded": False,
            "requestContext": {"http": {"method": "POST", "path": "/v1/pushes"}},
        }
        old = stack.host.invoke(
            json.dumps(event).encode(), credentials=LocalCredentials("gone", "gone", "gone")
        )
        new = stack.host.invoke(json.dumps(event).encode())

    assert json.loads(old.payload)["statusCode"] == 500
    assert json.loads(new.payload)["statusCode"] == 200


def test_function_without_role_and_keys_says_what_to_do() -> None:
    with HttpStack(role=None) as stack:
        response = stack.post(message())
        health = stack.get("/v1/health")

    assert response.status == 500
    assert "RAM role" in response.json["detail"]
    assert health.status == 200
    assert health.json["status"] == "misconfigured"


def test_invalid_setting_is_named_with_its_allowed_values() -> None:
    with HttpStack(environment={"PUSH_CONCURRENCY": "many"}) as stack:
        response = stack.post(message())
        health = stack.get("/v1/health")

    assert response.status == 500
    assert "PUSH_CONCURRENCY: must be a whole number" in response.json["detail"]
    assert "PUSH_CONCURRENCY" in health.json["settings"]


def test_plain_http_to_a_remote_host_is_refused() -> None:
    with HttpStack(environment={"MPAAS_ENDPOINT": "http://mpaas.cn-hangzhou.aliyuncs.com"}) as stack:
        response = stack.post(message())

    assert response.status == 500
    assert "https" in response.json["detail"]


def test_open_rules_are_errors_or_off_as_the_setting_says(stack: HttpStack) -> None:
    doubtful = message(smsStrategy=7, smsSignName="s", smsTemplateCode="c", smsTemplateParam={})
    levels = "unsure=error,targets-meant=off,fixed-time-in-future=warning"
    with HttpStack(environment={"PUSH_RULES": levels}) as strict:
        refused = strict.post(doubtful)
        silent = strict.post(message(targets=["null"]))
        past = strict.post(
            message(strategyType=1, strategyContent={"fixedTime": 1}), path="/v1/pushes?dryRun=true"
        )
    dry_run = stack.post(doubtful, path="/v1/pushes?dryRun=true")

    assert refused.status == 422
    assert (silent.status, silent.json["warnings"]) == (200, [])
    assert [warning["rule"] for warning in past.json["warnings"]] == ["fixed-time-in-future"]
    assert "smsStrategy" in {warning["field"] for warning in dry_run.json["warnings"]}


def test_parameter_that_the_older_api_version_lacks_is_refused_by_name() -> None:
    with HttpStack(environment={"MPAAS_API_VERSION": "2019-08-21"}) as stack:
        plain = stack.post(message())
        newer = stack.post(message(channelId="news"))

        assert plain.status == 200
        assert newer.status == 422
        assert [error["field"] for error in newer.json["errors"]] == ["channelId"]
        assert len(received(stack)) == 1
