from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
import pytest
import urllib3

from mpaas_local.__main__ import main
from mpaas_local.account import Account
from mpaas_local.eventbridge.bus import EventBus
from mpaas_local.eventbridge.cloud_events import EventTrigger
from mpaas_local.fc.api import Callee
from mpaas_local.fc.asynchronous import AsyncQueue
from mpaas_local.fc.destinations import Undeliverable
from mpaas_local.oss_client import oss_client
from mpaas_local.ports import unassigned_port
from mpaas_local.server import PortInUse
from mpaas_local.stack import Ports, Stack
from mpaas_local.upload import main as main_of_upload
from project.descriptor import DescriptorError, read_functions
from tests.descriptors import ASYNC, FUNCTION, PROJECT
from tests.descriptors import trigger_document as trigger
from tests.mpaas_local.callables import ScriptedFunction
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


def run_local(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mpaas_local", "--descriptor", str(PROJECT / "s.yaml"), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def children(pid: int) -> list[int]:
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            pids.append(int(stat.parent.name))
    return pids


OPTIONS = ("--http-port", "--sandbox-port", "--events-port", "--queues-port", "--inbox-port", "--oss-port")
ANY_PORTS = [part for option in OPTIONS for part in (option, "0")]


def test_demo_succeeds_and_shows_every_outcome(tmp_path: Path) -> None:
    demo = run_local("--demo", "--quiet", *ANY_PORTS, "--store", str(tmp_path))
    output, errors = demo.communicate(timeout=280)

    assert demo.returncode == 0, output + errors
    for outcome in ("accepted", "refused", "throttled", "misconfigured", "unknown"):
        assert outcome in output
    assert "a campaign to 50 users" in output
    assert "WRONG" not in output
    assert "matches" not in output


def tick(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpaas_local.tick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def test_running_stack_of_another_project_fires_ticks_until_it_is_interrupted(tmp_path: Path) -> None:
    project = shutil.copytree(PROJECT, tmp_path / "project")
    for file, old, new in (
        ("s.yaml", "triggerName: morning", "triggerName: noon"),
        ("functions/event_push/rules.yaml", "type: order:Shipped", "type: order:Packed"),
    ):
        path = project / file
        path.write_text(path.read_text().replace(old, new))
    stack = run_local(
        *("--quiet", *ANY_PORTS, "--store", str(tmp_path / "store")),
        *("--descriptor", str(project / "s.yaml")),
    )
    assert stack.stdout is not None
    output = ""
    while "Ctrl-C" not in output:
        line = stack.stdout.readline()
        assert line, output
        output += line
    assert "WRONG" not in output
    assert output.count("no rule matches") == 1
    match = re.search(r"(http://\S+)/ticks/timer_push/noon", output)
    assert match
    events = match[1]
    fired, unknown = (tick(name, "--events", events) for name in ("noon", "mourning"))
    assert (fired.returncode, unknown.returncode) == (0, 1), fired.stderr
    assert "requestId" in fired.stdout
    assert "timers: " in unknown.stdout
    instances = children(stack.pid)
    assert instances

    stack.send_signal(signal.SIGINT)
    _, errors = stack.communicate(timeout=280)

    assert stack.returncode == 0
    assert "Traceback" not in errors
    unreachable = tick("noon", "--events", events)
    assert unreachable.returncode == 2
    assert "is `make run` running?" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr
    eventually(lambda: not [pid for pid in instances if Path(f"/proc/{pid}").exists()])


@pytest.mark.parametrize("service", [port.name for port in fields(Ports)])
def test_port_in_use_is_named(tmp_path: Path, service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ports = replace(Ports.any(), **{service: port})
        with (
            pytest.raises(PortInUse, match=str(port)),
            Stack(ports=ports, store=tmp_path, descriptor=PROJECT / "s.yaml"),
        ):
            pass


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Return a function that starts the stack in this process and returns the exit code and standard error."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def start(*arguments: str) -> tuple[int, str]:
        common = ["--demo", "--descriptor", str(PROJECT / "s.yaml"), "--store", str(tmp_path), *ANY_PORTS]
        monkeypatch.setattr(sys, "argv", ["mpaas_local", *common, *arguments])
        return main(), capsys.readouterr().err

    return start


def test_port_in_use_ends_the_command_with_a_suggestion(start: Callable[..., tuple[int, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        code, errors = start("--sandbox-port", port)

    assert code == 2
    assert port in errors
    assert "make run ARGS=" in errors


def test_two_stacks_do_not_share_their_files(tmp_path: Path) -> None:
    with (
        Stack(ports=Ports.any(), store=tmp_path, descriptor=PROJECT / "s.yaml"),
        pytest.raises(ValueError, match="choose another folder: --store"),
        Stack(ports=Ports.any(), store=tmp_path, descriptor=PROJECT / "s.yaml"),
    ):
        pass


def test_ledger_on_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_LEDGER_URL", "rediss://user:secret@cache.example.com:6379/0")

    with (
        pytest.raises(ValueError, match="names cache.example.com") as error,
        Stack(ports=Ports.any(), store=tmp_path, descriptor=PROJECT / "s.yaml"),
    ):
        pass

    assert "secret" not in str(error.value)


def test_descriptor_gives_the_deployed_names_of_functions() -> None:
    http = read_functions(PROJECT / "s.yaml", {})["http_push"]

    assert http.function_name == "mpaas-http-push-dev"
    assert http.handler == "index.handler"
    assert http.environment_variables["MPAAS_WORKSPACE_ID"] == "default"
    assert (PROJECT / http.code / "index.py").is_file()
    assert [trigger.trigger_type for trigger in http.triggers] == ["http"]


def test_environment_variables_are_used_in_the_descriptor() -> None:
    environment = {"STAGE": "prod", "MPAAS_APP_ID": "ONEX1"}
    function = read_functions(PROJECT / "s.yaml", environment)["http_push"]

    assert function.function_name == "mpaas-http-push-prod"
    assert function.environment_variables["MPAAS_APP_ID"] == "ONEX1"


FRAME = "edition: 3.0.0\nname: n\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f'{FRAME}resources: {{f: {{component: fc3@0.1.22, props: {{x: "${{vars.nope}}"}}}}}}',
            "${vars.nope}",
        ),
        (f"{FRAME}resources: {{f: {{component: fc3@0.1.22, props: {{x: \"${{env('NOPE')}}\"}}}}}}", "NOPE"),
        (f"{FRAME}resources: {{f: {{component: fc3@0.1.22, extend: {{name: base}}, props: {{}}}}}}", "base"),
        ("resources: [", "cannot be read"),
        ("just text", "resources"),
    ],
)
def test_descriptor_that_cannot_be_resolved_is_refused_with_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)

    with pytest.raises(DescriptorError, match="(?s).*") as error:
        read_functions(path, {})

    assert reason in str(error.value)


# --- Other descriptors


ECHO = """
def handler(event, context):
    if b"fail" in event:
        raise ValueError("as requested")
    return event
"""


@contextmanager
def stack_of(
    folder: Path,
    *triggers: dict[str, Any],
    code: str = ECHO,
    http_port: int = 0,
    async_literal: bool = True,
    **props: Any,
) -> Iterator[Stack]:
    """Run a stack with one function, `f` in its `s.yaml` and deployed as `f-live`."""
    (folder / "code").mkdir()
    (folder / "code" / "index.py").write_text(code)
    function = FUNCTION | {"region": "cn-shanghai", "functionName": "f-live", "triggers": triggers} | props
    resources = {"f": {"component": "fc3@0.1.22", "props": function}}
    document = {"edition": "3.0.0", "name": "n", "resources": resources}
    path = folder / "s.yaml"
    path.write_text(json.dumps(document))
    ports = replace(Ports.any(), http=http_port)
    with Stack(ports=ports, store=folder / "store", descriptor=path, async_literal=async_literal) as stack:
        yield stack


def bus(name: str = "bus", **config: Any) -> dict[str, Any]:
    return trigger("eventbridge", name, **config)


PARAMETERS: dict[str, dict[str, Any]] = {
    "MNS": {"QueueName": "zeus", "IsBase64Decode": False},
    "Kafka": {"InstanceId": "k", "Topic": "t", "ConsumerGroup": "g"},
    "DTS": {},
}


def stream(name: str = "stream", kind: str = "MNS", **config: Any) -> dict[str, Any]:
    parameters = {"RegionId": "cn-shanghai"} | PARAMETERS[kind]
    source = {
        "eventSourceType": kind,
        "eventSourceParameters": {f"source{kind}Parameters": parameters},
    }
    return trigger("eventbridge", name, eventSourceConfig=source, **config)


def payloads(stack: Stack, count: int) -> list[Any]:
    """Return the payloads of the function's calls once there are at least `count`."""
    calls = eventually(lambda: calls if len(calls := stack.calls.calls()) >= count else None)
    return [json.loads(call.payload) for call in calls]


def post(url: str, body: Any, **headers: str) -> urllib3.BaseHTTPResponse:
    http_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.request(
        "POST", url, body=json.dumps(body), headers=http_headers, retries=False, timeout=60
    )


def upload(stack: Stack, bucket: str, key: str, body: bytes = b"hello", **options: Any) -> None:
    client = oss_client(stack.oss.endpoint, stack.oss.region)
    client.put_object(oss.PutObjectRequest(bucket=bucket, key=key, body=body, **options))


def test_uploads_and_removals_fire_the_matching_triggers(tmp_path: Path) -> None:
    def uploads(name: str, bucket: str, event: str, prefix: str = "", suffix: str = "") -> dict[str, Any]:
        arn = f"acs:oss:cn-shanghai:1000:{bucket}"
        return trigger("oss", name, arn, events=[event], filter={"key": {"prefix": prefix, "suffix": suffix}})

    triggers = (
        uploads("csv", "media", "oss:ObjectCreated:*", "目录/", ".csv"),
        uploads("gone", "media", "oss:ObjectRemoved:DeleteObject"),
        uploads("other", "audiences", "oss:ObjectCreated:PutObject"),
    )
    with stack_of(tmp_path, *triggers) as stack:
        for key in ("目录/a b.csv", "目录/a.png", "a.csv"):
            upload(stack, "media", key, metadata={"user": "user-1"})
        (created,) = payloads(stack, 1)[0]["events"]
        client = oss_client(stack.oss.endpoint, stack.oss.region)
        client.delete_object(oss.DeleteObjectRequest(bucket="media", key="a.csv"))
        (removed,) = payloads(stack, 2)[1]["events"]
        upload(stack, "audiences", "b")
        (other,) = payloads(stack, 3)[2]["events"]

    assert created["oss"]["object"] == {
        "deltaSize": 5,
        "eTag": "5D41402ABC4B2A76B9719D911017C592",
        "key": "目录/a b.csv",
        "objectMeta": {
            "mimeType": "text/csv",
            "userMeta": {"x-oss-meta-user": "user-1"},
        },
        "size": 5,
    }
    assert (removed["eventName"], removed["oss"]["object"]["deltaSize"]) == ("ObjectRemoved:DeleteObject", -5)
    assert other["oss"]["bucket"]["name"] == "audiences"


def test_objects_survive_a_restart_of_the_stack(tmp_path: Path) -> None:
    uploads = trigger("oss", "uploads", "acs:oss:cn-shanghai:1000:uploads", events=["oss:ObjectCreated:*"])
    with stack_of(tmp_path, uploads) as stack:
        upload(stack, "uploads", "a")
        payloads(stack, 1)  # otherwise the call is repeated after the restart
    with Stack(ports=Ports.any(), store=stack.store, descriptor=stack.descriptor) as restarted:
        client = oss_client(restarted.oss.endpoint, restarted.oss.region)
        assert client.get_object(oss.GetObjectRequest(bucket="uploads", key="a")).body.content == b"hello"
        assert restarted.calls.calls() == []


def test_upload_command_uploads_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uploads = trigger("oss", "uploads", "acs:oss:cn-shanghai:1000:uploads", events=["oss:ObjectCreated:*"])
    file = tmp_path / "statement.pdf"
    file.write_bytes(b"a statement")

    def run(stack: Stack, file: Path, target: str) -> tuple[int, str]:
        monkeypatch.setenv("PUSH_OSS_ENDPOINT", stack.oss.endpoint)
        command = ["upload", str(file), target, "--meta", "user=user-1", "--region", stack.oss.region]
        monkeypatch.setattr(sys, "argv", command)
        return main_of_upload(), capsys.readouterr().err

    with stack_of(tmp_path, uploads) as stack:
        assert run(stack, file, "uploads/a/b.pdf") == (0, "")
        (created,) = payloads(stack, 1)[0]["events"]
        refused = run(stack, file, "nowhere/a")
        missing, error = run(stack, tmp_path / "missing", "uploads/a")
    unreachable = run(stack, file, "uploads/a")
    assert created["oss"]["object"]["objectMeta"]["userMeta"] == {"x-oss-meta-user": "user-1"}
    assert refused == (1, "NoSuchBucket: The specified bucket does not exist.\n")
    assert missing == 2
    assert error == f"{tmp_path / 'missing'} cannot be read: No such file or directory\n"
    assert unreachable == (2, f"no response from {stack.oss.endpoint}: is `make run` running?\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["uploads"], "argument BUCKET/KEY: 'uploads' names no object"),
        (["uploads/"], "argument BUCKET/KEY: 'uploads/' names no object"),
        (["uploads/a", "--meta", "user"], "argument --meta: must be NAME=VALUE"),
    ],
)
def test_wrong_arguments_of_the_upload_command_are_usage_errors(
    arguments: list[str], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["upload", __file__, *arguments])

    with pytest.raises(SystemExit) as exit_:
        main_of_upload()

    assert exit_.value.code == 2
    assert error in capsys.readouterr().err


def test_events_and_records_name_the_region_and_the_deployed_function(tmp_path: Path) -> None:
    failed = "acs:mns:cn-shanghai:1000000000000000:/queues/failed/messages"
    triggers = (
        bus(),
        stream(),
        trigger("oss", "uploads", "acs:oss:cn-shanghai:1000:uploads", events=["oss:ObjectCreated:*"]),
        trigger("mns_topic", "news", "acs:mns:cn-shanghai:1000:/topics/news"),
        trigger("http", "http"),
    )
    retries = {"maxAsyncRetryAttempts": 0, "destinationConfig": {"onFailure": {"destination": failed}}}
    with stack_of(tmp_path, *triggers, asyncInvokeConfig=retries) as stack:
        upload(stack, "uploads", "a")
        cloud, native = sorted(payloads(stack, 2), key=lambda event: "events" in event)
        assert cloud["aliyunregionid"] == "cn-shanghai"
        assert cloud["subject"] == "acs:oss:cn-shanghai:1000000000000000:uploads/a"
        assert native["events"][0]["region"] == "cn-shanghai"
        assert native["events"][0]["oss"]["bucket"]["arn"] == "acs:oss:cn-shanghai:1000000000000000:uploads"

        stack.queues.store.send("zeus", "x")
        ((message,),) = payloads(stack, 3)[2:]
        assert message["aliyunregionid"] == "cn-shanghai"
        assert message["subject"] == "acs:mns:cn-shanghai:1000000000000000:queues/zeus"

        (subscription,) = stack.queues.store.topics.subscriptions("news")
        assert subscription.attributes.endpoint.startswith("acs:fc:cn-shanghai:")

        domain = post(stack.urls["f"], {}).json()["requestContext"]["domainName"]
        assert domain.endswith(".cn-shanghai.fcapp.run")

        post(f"{stack.events_url}/invocations/f", "fail", x_fc_invocation_type="Async")
        (letter,) = eventually(lambda: stack.queues.store.peek("failed"))
        context = json.loads(letter.body)["requestContext"]
        assert context["functionArn"] == "acs:fc:cn-shanghai:1000000000000000:functions/f-live"


def test_event_driven_stream_is_named_after_the_deployed_function(tmp_path: Path) -> None:
    event_driven = stream(
        eventRuleFilterPattern='{"source":["MNS-f-live-stream"]}', runOptions={"mode": "event-driven"}
    )
    with stack_of(tmp_path, event_driven) as stack:
        stack.queues.store.send("zeus", "x")
        (event,) = payloads(stack, 1)
    assert (event["source"], event["data"]["messageBody"]) == ("MNS-f-live-stream", "x")


WAIT_FOR_OTHER_CALLS = """
import time
import uuid
from pathlib import Path

def handler(event, context):
    folder = Path(__file__).parent / "calls"
    folder.mkdir(exist_ok=True)
    (folder / uuid.uuid4().hex).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 11:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
"""


@pytest.mark.parametrize("literal", [True, False])
def test_asynchronous_batches_run_concurrently_up_to_the_reserved_concurrency(
    tmp_path: Path, literal: bool
) -> None:
    one_by_one = {"batchWindow": {"CountBasedWindow": 1, "TimeBasedWindow": 0}}
    trigger = stream(asyncInvocationType=literal, runOptions={"mode": "event-streaming"} | one_by_one)
    reserved = {"reservedConcurrency": 11}
    with stack_of(
        tmp_path, trigger, code=WAIT_FOR_OTHER_CALLS, async_literal=literal, concurrencyConfig=reserved
    ) as stack:
        for number in range(11):
            stack.queues.store.send("zeus", str(number))
        calls = eventually(lambda: calls if len(calls := stack.calls.calls()) >= 11 else None)
    assert [call.error for call in calls] == [None] * 11


HOOKS = """
import time
from pathlib import Path

seen = Path(__file__).parent / "seen"

def initialize(context):
    seen.write_text("initialized")

def prestop(context):
    seen.write_text(seen.read_text() + " stopped")

def slow(context):
    time.sleep(30)

def handler(event, context):
    return seen.read_text()
"""


def test_lifecycle_hooks_run_with_their_timeouts(tmp_path: Path) -> None:
    hooks = {
        "initializer": {"handler": "index.initialize", "timeout": 7},
        "preStop": {"handler": "index.prestop", "timeout": 8},
    }
    with stack_of(tmp_path, code=HOOKS, instanceLifecycleConfig=hooks) as stack:
        function = stack.hosts["f"].function
        assert (function.initializer_timeout, function.prestop_timeout) == (7, 8)
        assert post(f"{stack.events_url}/invocations/f", {}).data == b"initialized"
    assert (tmp_path / "code" / "seen").read_text() == "initialized stopped"


def test_initializer_that_times_out_fails_the_call(tmp_path: Path) -> None:
    hooks = {"initializer": {"handler": "index.slow", "timeout": 1}}
    with stack_of(tmp_path, code=HOOKS, instanceLifecycleConfig=hooks) as stack:
        response = post(f"{stack.events_url}/invocations/f", {})
    assert (response.status, response.headers["x-fc-error-type"]) == (200, "InitializationError")


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_record_of_an_asynchronous_call_is_published_on_the_event_bus(tmp_path: Path, outcome: str) -> None:
    arn = "acs:eventbridge:cn-shanghai:1000000000000000:eventbus/default"
    key = "onSuccess" if outcome == "succeeded" else "onFailure"
    destinations = ASYNC["destinationConfig"] | {key: {"destination": arn}}
    config = {"maxAsyncRetryAttempts": 0, "destinationConfig": destinations}
    fc_events = bus(eventRuleFilterPattern=json.dumps({"source": ["acs:fc"]}))
    payload = "fail" if outcome == "failed" else "go"
    with stack_of(tmp_path, fc_events, asyncInvokeConfig=config) as stack:
        post(f"{stack.events_url}/invocations/f", payload, x_fc_invocation_type="Async")
        event = payloads(stack, 2)[1]
    assert event["type"] == f"fc:AsyncInvoke:{outcome}"
    assert event["subject"] == "acs:fc:cn-shanghai:1000000000000000:functions/f-live"
    assert event["data"]["requestContext"]["functionArn"] == event["subject"]
    assert event["data"]["requestPayload"] == json.dumps(payload)
    assert (event["aliyuneventbusname"], event["specversion"]) == ("default", "1.0")


def test_missing_bus_refuses_a_record_and_a_failing_target_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    account = Account()
    function = ScriptedFunction("error", "broken")
    with AsyncQueue("f", function) as queue:
        event_bus = EventBus(
            triggers=[EventTrigger(function="f", name="t")],
            functions={"f": Callee(function, queue)},
            account=account,
        )
        record = json.dumps(
            {"timestamp": 0, "requestContext": {"requestId": "1", "functionArn": "f", "condition": ""}}
        ).encode()
        with pytest.raises(Undeliverable, match="event bus orders does not exist"):
            event_bus.publish_record("orders", record)
        for _ in range(2):
            event_bus.publish_record("default", record)
    assert len({call.json["id"] for call in function.calls}) == 1
    assert "t: f: UnhandledInvocationError" in caplog.text
    assert "t: f: InternalServerError" in caplog.text


def test_topic_can_be_a_destination_and_an_unsupported_one_is_reported_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    destinations = {
        "onSuccess": {"destination": "acs:mns:cn-shanghai::/topics/done/messages"},
        "onFailure": {"destination": "acs:mq:cn-shanghai:1000:/instances/i/topics/t"},
    }
    with stack_of(tmp_path, asyncInvokeConfig={"destinationConfig": destinations}) as stack:
        assert [topic.name for topic in stack.queues.store.topics.all()] == ["done"]
    assert "f-live: records will be lost: the local stack has no acs:mq:cn-shanghai:1000:" in caplog.text


def test_triggers_without_a_local_source_stay_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    triggers = (
        trigger("log", "logs", "acs:log:cn-shanghai:1000:project/p"),
        trigger("cdn_events", "cdn", "acs:cdn:*:1000"),
        stream("dts", "DTS", triggerEnable=False),
        stream("kafka", "Kafka"),
    )
    with stack_of(tmp_path, *triggers):
        pass
    assert "f: the trigger logs stays off: the local stack has no source of type log" in caplog.text
    assert "the trigger cdn stays off" in caplog.text
    assert "f: the trigger kafka stays off: the local stack has no source of type Kafka" in caplog.text


SENDER = """
import os

from mpaas_push import Invocation

def handler(event, context):
    runtime = "python3.12" if "FC_CUSTOM_LISTEN_PORT" in os.environ else "python3.10"
    return f"{runtime} {Invocation.of(context).sender}"
"""


@pytest.mark.parametrize("runtime", ["python3.10", "python3.12"])
def test_function_knows_its_runtime_account_region_and_deployed_name(tmp_path: Path, runtime: str) -> None:
    with stack_of(tmp_path, code=SENDER, runtime=runtime) as stack:
        response = urllib3.request(
            "POST", f"{stack.events_url}/invocations/f", body=b"", retries=False, timeout=60
        )

    assert response.data.decode() == f"{runtime} acs:fc:cn-shanghai:1000000000000000:functions/f-live"


BAD_QUEUE = {
    "errorsTolerance": "ALL",
    "deadLetterQueue": {"Arn": "acs:mns:cn-shanghai:1000:/queues/a_b"},
}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (stream(name="q", runOptions=BAD_QUEUE), "q: 'a_b': The queue name you provided is invalid"),
        (trigger("mns_topic", "n", "acs:mns:cn-shanghai:1000:/topics/a_b"), "n: 'a_b': The topic name"),
    ],
)
def test_trigger_that_cannot_run_here_is_named_with_the_reason(
    tmp_path: Path, document: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DescriptorError, match=reason), stack_of(tmp_path, document):
        pass


def test_second_http_trigger_gets_its_own_port(tmp_path: Path) -> None:
    port = unassigned_port()
    with stack_of(tmp_path, trigger("http", "one"), trigger("http", "two"), http_port=port) as stack:
        second = stack.urls["f"]
        for url in (f"http://127.0.0.1:{port}", second):
            assert post(url, {}).json()["rawPath"] == "/"
    assert not second.endswith(f":{port}")


def test_stack_restarts_with_queues_and_topics_whose_attributes_were_changed(tmp_path: Path) -> None:
    triggers = (stream(), trigger("mns_topic", "news", "acs:mns:cn-shanghai:1000:/topics/news"))
    with stack_of(tmp_path, *triggers) as stack:
        stack.queues.store.set_queue_attributes("zeus", visibility_timeout=99)
        stack.queues.store.topics.set_attributes("news", maximum_message_size=2048)
    with Stack(ports=Ports.any(), store=stack.store, descriptor=stack.descriptor) as restarted:
        restarted.queues.store.send("zeus", "x")
        assert payloads(restarted, 1)


def test_error_of_an_invalid_descriptor_does_not_mention_ports(
    start: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOADS_BUCKET", "")

    code, errors = start()

    assert code == 2
    assert errors.startswith(
        "cannot start: s.yaml: resources.campaign_push.props.triggers.campaigns.sourceArn: is "
    )
    assert errors.endswith("must be a bucket: acs:oss:REGION:ACCOUNT:BUCKET\n")


def test_topic_trigger_with_an_invalid_subscription_name_receives_messages(tmp_path: Path) -> None:
    news = "acs:mns:cn-shanghai:1000:/topics/news"
    triggers = [trigger("mns_topic", name, news, notifyContentFormat="JSON") for name in ("a_b", "a-b", "_")]
    with stack_of(tmp_path, *triggers) as stack:
        stack.queues.store.topics.publish("news", "hello")
        names = {event["SubscriptionName"] for event in payloads(stack, 3)}
        assert names == {
            subscription.name for subscription in stack.queues.store.topics.subscriptions("news")
        }
    assert "a-b" in names
    assert len(names) == 3
