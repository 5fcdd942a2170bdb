"""Asynchronous HTTP requests: handed to the queue function through the functions' API."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.fc.api import Callee, create_api
from mpaas_local.fc.asynchronous import AsyncConfig, AsyncQueue
from mpaas_local.mpaas import AccessKey
from mpaas_local.server import Server
from mpaas_push import Invocation, OutcomeKind, Settings
from mpaas_push.credentials import Credentials
from mpaas_push.functions import InvocationResult
from mpaas_push.task import tasks_of_record
from mpaas_push.triggers.record import QueueRecord
from tests.functions.http_stack import ROLE, HttpStack, message, module_of
from tests.functions.queue_stack import QueueStack
from tests.servers import LOOPBACK, Exchange, Responder, closed_port, listening, reply, reset, together
from tests.servers import Server as ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASYNC = {"Prefer": "respond-async"}


class AsyncStack:
    """The HTTP function, the worker behind the functions' API, and the worker's sandbox."""

    def __init__(self, http: HttpStack, worker: QueueStack, queue: AsyncQueue) -> None:
        self.http = http
        self.worker = worker
        self.queue = queue

    def reached(self) -> list[str]:
        """Wait until the worker is done; return the targets that it reached, including repeated ones."""
        assert self.queue.finish(60)
        return self.worker.accepted


@pytest.fixture(scope="module")
def running() -> Iterator[AsyncStack]:
    keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
    with ExitStack() as opened:
        worker = opened.enter_context(QueueStack())
        queue = opened.enter_context(
            AsyncQueue("worker", worker.host.invoke, config=AsyncConfig(task_mode=True))
        )
        app = create_api({"worker": Callee(worker.host.invoke, queue)}, access_keys=keys)
        api = opened.enter_context(Server(app))
        environment = {
            "PUSH_WORKER_FUNCTION": "worker",
            "PUSH_WORKER_TARGETS": "50",
            "PUSH_FC_ENDPOINT": api.url,
        }
        yield AsyncStack(opened.enter_context(HttpStack(environment=environment)), worker, queue)


@pytest.fixture
def stack(running: AsyncStack) -> AsyncStack:
    running.worker.clear()
    running.http.sandbox.clear()
    running.http.lines.clear()
    return running


@pytest.mark.parametrize("prefer", ["respond-async", "return=minimal, Respond-Async; wait=10"])
def test_asynchronous_request_is_accepted_at_once_and_sent_by_the_worker(
    stack: AsyncStack, prefer: str
) -> None:
    response = stack.http.post(message(targets=["user-1", "user-2"]), headers={"Prefer": prefer})

    assert response.status == 202
    assert response.headers["Preference-Applied"] == "respond-async"
    (task,) = response.json["tasks"]
    assert response.json["counts"] == {"handedOver": 1}
    assert stack.reached() == ["user-1", "user-2"]
    assert stack.queue.tasks[task["taskId"]] == "Succeeded"
    (entry,) = stack.worker.sandbox.inbox()
    assert {target["target"]: target["messageId"] for target in entry["targets"]} == task["targets"]
    assert stack.http.sandbox.inbox() == []


def test_request_with_many_targets_is_sent_by_the_worker_in_chunks(stack: AsyncStack) -> None:
    targets = [f"user-{number:05}" for number in range(2_500)]

    response = stack.http.post(message(targets=targets))

    assert response.status == 202
    assert [len(task["targets"]) for task in response.json["tasks"]] == [1000, 1000, 500]
    assert stack.reached() == targets


def test_chunks_of_long_targets_stay_within_the_payload_limit(stack: AsyncStack) -> None:
    targets = [f"{'目' * 100}-{number}" for number in range(900)]

    response = stack.http.post(message(targets=targets))

    assert response.status == 202
    assert len(response.json["tasks"]) > 1
    assert stack.reached() == sorted(targets)


def test_handed_over_push_has_the_warnings_of_a_dry_run(stack: AsyncStack) -> None:
    suspicious = message(targets=["null"])

    dry_run = stack.http.post(suspicious, path="/v1/pushes?dryRun=true")
    response = stack.http.post(suspicious, headers=ASYNC)

    assert (response.status, response.json["warnings"]) == (202, dry_run.json["warnings"])
    assert [warning["rule"] for warning in response.json["warnings"]] == ["targets-meant"]
    assert stack.reached() == ["null"]


def test_repeated_request_with_the_same_key_is_sent_once(stack: AsyncStack) -> None:
    headers = {**ASYNC, "Idempotency-Key": uuid.uuid4().hex}

    first = stack.http.post(message(targets=["user-1"]), headers=headers)
    second = stack.http.post(message(targets=["user-1"]), headers=headers)

    assert first.status == second.status == 202
    assert second.json["tasks"][0]["taskId"] == first.json["tasks"][0]["taskId"]
    assert second.json["tasks"][0]["requestId"] is None
    assert stack.reached() == ["user-1"]


def test_repeated_request_in_equivalent_json_is_sent_once(stack: AsyncStack) -> None:
    headers = {**ASYNC, "Idempotency-Key": uuid.uuid4().hex}
    equal = message(targets=["user-1"], expiredSeconds=600.0, extendedParams='{"b": "2", "a": "1"}', uri=None)

    first = stack.http.post(message(targets=["user-1"], extendedParams={"a": "1", "b": "2"}), headers=headers)
    with HttpStack(environment=stack.http.environment) as elsewhere:  # knows nothing of the key
        second = elsewhere.post(dict(reversed(equal.items())), headers=headers)

    assert second.json["tasks"][0]["taskId"] == first.json["tasks"][0]["taskId"]
    assert second.json["tasks"][0]["requestId"] is None
    assert stack.reached() == ["user-1"]


def test_different_body_with_the_same_key_is_a_different_task(stack: AsyncStack) -> None:
    headers = {**ASYNC, "Idempotency-Key": uuid.uuid4().hex}
    with HttpStack(environment=stack.http.environment) as elsewhere:  # knows nothing of the key
        stack.http.post(message(targets=["user-1"]), headers=headers)
        response = elsewhere.post(message(targets=["user-2"]), headers=headers)

    assert response.json["tasks"][0]["requestId"]
    assert stack.reached() == ["user-1", "user-2"]


def test_key_of_an_invalid_request_can_be_reused(stack: AsyncStack) -> None:
    headers = {**ASYNC, "Idempotency-Key": uuid.uuid4().hex}

    assert stack.http.post(message(deliveryType=4), headers=headers).status == 422
    assert stack.http.post(message(), headers=headers).status == 202
    assert stack.reached() == ["user-4711"]


def test_chunks_are_split_between_requests(stack: AsyncStack) -> None:
    targets = [f"{number:0190}" for number in range(1000)]

    response = stack.http.post(message(targets=targets))

    assert len(response.json["tasks"]) == 2
    assert all(len(task["targets"]) % 10 == 0 for task in response.json["tasks"])
    stack.reached()


def test_slow_worker_leaves_time_for_the_response(stack: AsyncStack) -> None:
    environment = stack.http.environment | {"PUSH_WORKER_TARGETS": "1"}
    with (
        listening(lambda _: time.sleep(3.5)) as port,
        HttpStack(
            environment=environment | {"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{port}"}, timeout=3
        ) as http,
    ):
        http.get("/v1/health")  # imports count against the time of a first call
        messages = [message(targets=[f"user-{number}"]) for number in range(6)]
        response = http.post({"messages": messages}, headers=ASYNC)

    assert response.status == 502
    outcomes = [(outcome["outcome"], outcome["resultCode"]) for outcome in response.json["outcomes"]]
    assert outcomes == [("unknown", "NoAnswer")] * 6


def accepted(request_id: str = "1-2") -> Responder:
    return reply({}, 202, headers=[("X-Fc-Request-Id", request_id)])


def calling(stack: AsyncStack, endpoint: str, **environment: str) -> HttpStack:
    """The HTTP function with another endpoint of the functions' API."""
    return HttpStack(environment=stack.http.environment | {"PUSH_FC_ENDPOINT": endpoint} | environment)


def test_first_moment_and_app_are_passed_to_the_worker(stack: AsyncStack) -> None:
    start = round(time.time(), 3)
    with ScriptedServer(accepted()) as api, calling(stack, api.url, MPAAS_TENANT_ID="TENANT1") as http:
        assert http.post({**message(), "appId": "ONEX2"}, headers=ASYNC).status == 202
        (request,) = api.requests
        end = time.time()

    envelope = json.loads(request.body)
    assert start - 0.001 <= envelope["pushRetry"]["firstMoment"] <= end
    named = [envelope["message"][name] for name in ("appId", "workspaceId", "tenantId")]
    assert named == ["ONEX2", "test", "TENANT1"]


def test_many_messages_need_few_calls(stack: AsyncStack) -> None:
    messages = [message(targets=[f"user-{number}"]) for number in range(5_000)]
    with ScriptedServer(accepted()) as api, calling(stack, api.url, PUSH_MAX_BODY_BYTES="4000000") as http:
        response = http.post({"messages": messages}, headers=ASYNC)

        assert response.status == 202
        assert len(api.requests) == len(response.json["tasks"]) <= 20
        assert all(len(request.body) <= 128 * 1024 for request in api.requests)
        targets = [target for task in response.json["tasks"] for target in task["targets"]]
        assert targets == [f"user-{number}" for number in range(5_000)]


def test_chunks_are_handed_over_concurrently(stack: AsyncStack) -> None:
    messages = [message(content="x" * 70_000, targets=[f"user-{number}"]) for number in range(4)]
    with ScriptedServer(together(4, accepted())) as api, calling(stack, api.url) as http:
        response = http.post({"messages": messages}, headers=ASYNC)

        assert response.status == 202
        assert api.max_concurrent == 4


def test_worker_sends_many_messages_with_their_ids(stack: AsyncStack) -> None:
    messages = [message(title=f"title {number}", targets=[f"user-{number}"]) for number in range(40)]

    response = stack.http.post({"messages": messages}, headers=ASYNC)

    (task,) = response.json["tasks"]
    assert response.json["counts"] == {"handedOver": 1}
    assert sorted(stack.reached()) == sorted(f"user-{number}" for number in range(40))
    sent = {
        target["target"]: target["messageId"]
        for entry in stack.worker.sandbox.inbox()
        for target in entry["targets"]
    }
    assert sent == task["targets"]


def test_messages_for_the_same_target_are_all_sent_with_separate_ids(stack: AsyncStack) -> None:
    messages = [message(title=f"title {number}", targets=["user-1"]) for number in range(3)]

    response = stack.http.post({"messages": messages}, headers=ASYNC)

    (task,) = response.json["tasks"]
    assert [repeated["message"] for repeated in task["repeated"]] == [1, 2]
    listed = {task["targets"]["user-1"], *(repeated["targets"]["user-1"] for repeated in task["repeated"])}
    assert stack.reached() == ["user-1"] * 3
    sent = {entry["targets"][0]["messageId"] for entry in stack.worker.sandbox.inbox()}
    assert sent == listed
    assert len(listed) == 3


def test_failed_chunk_does_not_hide_the_results_of_others(stack: AsyncStack) -> None:
    def by_body(exchange: Exchange) -> bool:
        (name,) = (name for name in responses if name.encode() in exchange.request.body)
        return responses[name](exchange)

    failed = [("X-Fc-Request-Id", "1-5"), ("X-Fc-Error-Type", "UnhandledInvocationError")]
    with ScriptedServer() as elsewhere:
        responses = {
            "ACCEPTED": accepted("1-1"),
            "REPEATED": reply({"errorCode": "AsyncTaskAlreadyExists"}, 409),
            "CONFLICT": reply({"errorCode": "ConcurrentUpdateError"}, 409),
            "HTML": reply(b"<html>", 200),
            "EMPTY": reply(b"", 204),
            "MOVED": reply(b"", 307, headers=[("Location", f"{elsewhere.url}/")]),
            "FAILED": reply({"errorMessage": "secret words"}, 202, headers=failed),
            "RESET": reset,
            "BUSY": reply({"errorCode": "ResourceExhausted"}, 429),
        }
        # Each is too long to share a call.
        messages = [
            message(taskName=name, content=name + "x" * 70_000, targets=[f"to-{name}"]) for name in responses
        ]
        with ScriptedServer(by_body) as api, calling(stack, api.url) as http:
            response = http.post({"messages": messages}, headers=ASYNC)

            assert response.status == 207
            assert len(api.requests) == len(responses)
            tasks = {task["requestId"]: list(task["targets"]) for task in response.json["tasks"]}
            assert tasks == {"1-1": ["to-ACCEPTED"], None: ["to-REPEATED"]}
            outcomes = {
                target: outcome["outcome"]
                for outcome in response.json["outcomes"]
                for target in outcome["targets"]
            }
            assert outcomes == {
                "to-CONFLICT": "misconfigured",
                "to-HTML": "unknown",
                "to-EMPTY": "unknown",
                "to-MOVED": "misconfigured",
                "to-FAILED": "unknown",
                "to-RESET": "unknown",
                "to-BUSY": "throttled",
            }
            assert "secret words" not in response.data.decode() + "\n".join(http.lines)
            assert elsewhere.requests == []


def test_unexpected_exception_affects_only_its_chunk(caplog: pytest.LogCaptureFixture) -> None:
    class Functions:
        def invoke_later(self, _name: str, payload: bytes, **_: object) -> InvocationResult:
            if b"user-2" in payload:
                raise ZeroDivisionError("secret words")
            return InvocationResult(request_id="1-1", payload=b"")

    async_dispatch = module_of("async_dispatch")
    settings = Settings.from_env({"MPAAS_APP_ID": "a", "MPAAS_WORKSPACE_ID": "w"})
    chunks = []
    for target in ("user-1", "user-2", "user-3"):
        record = QueueRecord(target, message(targets=[target]), "")
        (part,) = async_dispatch.parts_of(tasks_of_record(record, settings)[0], 0)
        chunks += async_dispatch.chunks_of([part], "scope")
    worker = async_dispatch.Worker(
        "worker", Functions(), Invocation(request_id="1-2", credentials=Credentials("ak", "sk"))
    )

    accepted, (outcome,) = async_dispatch.hand_over(chunks, worker)

    assert [list(task.chunk.parts[0].targets) for task in accepted] == [["user-1"], ["user-3"]]
    assert (outcome.kind, list(outcome.targets)) == (OutcomeKind.UNKNOWN, ["user-2"])
    assert "secret words" not in outcome.result_message
    assert "could not be handed over" in caplog.text


def test_invalid_message_is_refused_and_the_valid_one_handed_over(stack: AsyncStack) -> None:
    body = {"messages": [message(targets=["user-1"]), message(deliveryType=4)]}

    response = stack.http.post(body, headers=ASYNC)

    assert (response.status, response.json["counts"]) == (207, {"handedOver": 1, "refused": 1})
    assert response.json["outcomes"][0]["errors"][0]["field"] == "messages.1.deliveryType"
    assert stack.reached() == ["user-1"]


def test_request_with_only_invalid_messages_is_refused(stack: AsyncStack) -> None:
    response = stack.http.post(message(deliveryType=4), headers=ASYNC)

    assert response.status == 422
    assert response.json["errors"][0]["field"] == "deliveryType"


def test_dry_run_is_never_handed_over(stack: AsyncStack) -> None:
    response = stack.http.post(message(), path="/v1/pushes?dryRun=true", headers=ASYNC)

    assert response.status == 200
    assert stack.reached() == []


def test_preference_is_ignored_without_a_worker() -> None:
    with HttpStack() as http:
        assert http.post(message(), headers=ASYNC).json["counts"] == {"accepted": 1}


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"PUSH_WORKER_FUNCTION": "nobody"}, 500),
        ({"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{closed_port()}"}, 503),
        ({"MPAAS_AK_ENV": "LTAI-wrong", "MPAAS_SK_ENV": "wrong"}, 500),
    ],
)
def test_rejected_chunk_is_a_problem_that_lists_every_target(
    stack: AsyncStack, environment: dict[str, Any], status: int
) -> None:
    with HttpStack(environment=stack.http.environment | environment) as http:
        response = http.post(message(targets=["user-1", "user-2"]), headers=ASYNC)

        assert response.status == status
        assert response.json["outcomes"][0]["targets"].keys() == {"user-1", "user-2"}
        for secret in (ROLE.access_key_secret, ROLE.security_token, "user-1"):
            assert secret not in "\n".join(http.lines)


def test_uncallable_worker_is_misconfigured_and_the_key_can_be_reused(
    stack: AsyncStack, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("no certificate")
    unusable = {"PUSH_FC_ENDPOINT": f"https://{LOOPBACK}", "ALIBABA_CLOUD_CA_BUNDLE": str(bundle)}
    headers = ASYNC | {"Idempotency-Key": "key"}
    with HttpStack(environment=stack.http.environment | unusable) as http:
        first = http.post({"messages": [message(), message(title="")]}, headers=headers)
        corrected = http.post(message(title="Corrected"), headers={"Idempotency-Key": "key"})

    assert first.status == 500
    assert [outcome["outcome"] for outcome in first.json["outcomes"]] == ["refused", "misconfigured"]
    assert first.json["outcomes"][1]["resultCode"] == "Misconfigured"
    assert "ALIBABA_CLOUD_CA_BUNDLE" in first.json["outcomes"][1]["resultMessage"]
    assert corrected.json["counts"] == {"accepted": 1}


def test_invalid_worker_name_is_misconfigured() -> None:
    with HttpStack(environment={"PUSH_WORKER_FUNCTION": "fc2:noservice"}) as http:
        response = http.post(message(), headers=ASYNC)

    assert response.status == 500
    assert "PUSH_WORKER_FUNCTION: must be the name of a function" in response.json["detail"]


def test_lost_response_of_the_worker_is_an_unknown_outcome(stack: AsyncStack) -> None:
    with (
        listening(lambda connection: connection.recv(65536)) as port,
        HttpStack(
            environment=stack.http.environment | {"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{port}"}
        ) as http,
    ):
        response = http.post(message(), headers=ASYNC)

    assert response.status == 502
    assert response.json["outcomes"][0]["outcome"] == "unknown"


def test_openapi_document_describes_the_response(stack: AsyncStack) -> None:
    document = stack.http.get("/openapi.json").json
    responses = document["paths"]["/v1/pushes"]["post"]["responses"]

    assert responses["202"]["content"]["application/json"]["schema"]["$ref"] == "#/components/schemas/Tasks"


def test_order_of_message_ids_does_not_change_the_task_ids() -> None:
    async_dispatch = module_of("async_dispatch")
    settings = Settings.from_env({"MPAAS_APP_ID": "a", "MPAAS_WORKSPACE_ID": "w"})
    ids = {f"user-{number:04}": f"id-{number:04}" for number in range(1500)}
    task_ids = []
    for ordered in (ids, dict(reversed(ids.items()))):
        body = {name: value for name, value in message().items() if name != "targets"}
        (task,) = tasks_of_record(QueueRecord("scope", body | {"targetMsgkey": ordered}, ""), settings)
        chunks = async_dispatch.chunks_of(async_dispatch.parts_of(task, 0), "scope")
        task_ids.append([chunk.task_id for chunk in chunks])

    assert len(task_ids[0]) == 2
    assert task_ids[0] == task_ids[1]
