from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mpaas_push.__main__
import project.__main__
from mpaas_local.mpaas import AccessKey, Sandbox
from mpaas_local.stack import ROLE as LOCAL_ROLE
from mpaas_local.stack import Ports, Stack
from project.smoke import settings_of
from tests.descriptors import PROJECT
from tests.functions.http_stack import ROLE
from tests.mpaas_push.message.examples import MESSAGE
from tests.sample_event import ORDER
from tests.servers import LOOPBACK, closed_port, listening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]


def command(
    *arguments: str,
    main: Callable[[list[str]], int] = mpaas_push.__main__.main,
    folder: Path = PROJECT,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command in a folder; return its exit code and its output."""
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as output,
        redirect_stderr(StringIO()) as errors,
        TextIOWrapper(BytesIO(stdin.encode())) as text,
    ):
        patch.chdir(folder)
        patch.setattr(sys, "stdin", text)
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        return main([*arguments]), output.getvalue() + errors.getvalue()


# --- rules test


def test_event_shows_which_rules_match_and_what_they_would_send(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps(ORDER))

    code, printed = command("rules", "test", str(tmp_path / "event.json"))

    assert code == 0
    assert "order-shipped: matches, 1 request" in printed
    assert '"Title": "Order 4711 is on its way"' in printed
    assert "alert: does not match" in printed


def test_rule_that_fails_on_the_event_says_why() -> None:
    code, printed = command("rules", "test", "-", stdin=json.dumps(ORDER | {"data": {}}))

    assert code == 1
    assert "order-shipped: FAILS" in printed
    assert "`data.order.customer` is not in the event" in printed


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_input_that_is_not_an_event_is_an_error(text: str) -> None:
    code, printed = command("rules", "test", "-", stdin=text)

    assert code == 1
    assert "error: expected a CloudEvents 1.0 event" in printed


def test_missing_files_are_named(tmp_path: Path) -> None:
    assert command("rules", "test", "nothing.json") == (
        1,
        "error: nothing.json cannot be read: No such file or directory\n",
    )
    code, printed = command("rules", "test", "-", folder=tmp_path)
    assert code == 1
    assert "--rules" in printed


def test_usage_is_printed_without_a_command() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "mpaas_push"], capture_output=True, text=True, check=False
    )

    assert process.returncode == 2
    assert "usage: python -m mpaas_push" in process.stderr


# --- send


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
    with Sandbox(access_keys=keys) as running:
        yield running


def env_of(sandbox: Sandbox) -> dict[str, str]:
    return KEYS | {
        "MPAAS_ENDPOINT": sandbox.url,
        "MPAAS_APP_ID": "ONEX1",
        "MPAAS_WORKSPACE_ID": "default",
        "PUSH_MAX_ATTEMPTS": "1",
    }


KEYS = {
    "ALIBABA_CLOUD_ACCESS_KEY_ID": ROLE.access_key_id,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": ROLE.access_key_secret,
    "ALIBABA_CLOUD_SECURITY_TOKEN": str(ROLE.security_token),
}


def test_message_is_sent_and_a_table_shows_its_outcome(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "push.json").write_text(json.dumps(MESSAGE))

    code, printed = command("send", "push.json", folder=tmp_path, env=env_of(sandbox))

    assert code == 0
    assert "accepted" in printed
    assert printed.rstrip().endswith("1 accepted")
    assert len(sandbox.inbox()) == 1


def test_outcomes_of_many_messages_are_printed_as_json_lines(sandbox: Sandbox) -> None:
    payload = {"messages": [MESSAGE | {"targets": [f"user-{number}"]} for number in range(500)]}

    code, printed = command("send", "-", "--json", stdin=json.dumps(payload), env=env_of(sandbox))

    assert code == 0
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["message"] for line in lines] == list(range(500))
    assert {line["outcome"] for line in lines} == {"accepted"}


def test_target_option_replaces_the_targets_and_a_key_repeats_the_message_ids(sandbox: Sandbox) -> None:
    for _ in range(2):
        arguments = ("send", "-", "--target", "me", "--target", "you", "--key", "k")
        assert command(*arguments, stdin=json.dumps(MESSAGE), env=env_of(sandbox))[0] == 0

    first, second = sandbox.inbox()
    assert [target["target"] for target in first["targets"]] == ["me", "you"]
    assert [target["messageId"] for target in first["targets"]] == [
        target["messageId"] for target in second["targets"]
    ]


def test_dry_run_shows_the_parameters_and_sends_nothing(sandbox: Sandbox) -> None:
    code, printed = command("send", "-", "--dry-run", stdin=json.dumps(MESSAGE), env=env_of(sandbox))

    assert code == 0
    assert json.loads(printed)["AppId"] == "ONEX1"
    assert sandbox.inbox() == []
    code, printed = command("send", "-", "--dry-run", stdin=json.dumps(MESSAGE | {"deliveryType": 9}))
    assert code == 1
    assert "message 0: deliveryType" in printed


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "result", "code": "3028"}, 1),
        ({"kind": "result", "code": "3007"}, 1),
        ({"kind": "throttling"}, 3),
        ({"kind": "resetAfterRead"}, 4),
    ],
)
def test_exit_code_reflects_the_worst_outcome(sandbox: Sandbox, fault: dict[str, Any], expected: int) -> None:
    sandbox.order(**fault)

    assert command("send", "-", stdin=json.dumps(MESSAGE), env=env_of(sandbox))[0] == expected


# A background shell makes its commands, and their children, ignore interrupts.
INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "mpaas_push", *sys.argv[1:]])
"""


def test_interrupted_send_reports_the_outcomes_so_far(sandbox: Sandbox) -> None:
    messages = [
        MESSAGE | {"targets": [f"user-{number}"]} for number in range(250)
    ]  # more than are sent at once
    sandbox.order(kind="delay", milliseconds=5000, match={"target": "user-200"})
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "send", "-"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **env_of(sandbox)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"messages": messages}))
    process.stdin.close()
    process.stdin = None
    deadline = time.monotonic() + 300
    while not (newest := sandbox.inbox(limit=1)) or newest[0]["seq"] < 205:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=300)

    assert process.returncode == 4
    assert "200 accepted" in printed
    assert "interrupted: message 200 and later ones may or may not have been sent" in errors
    assert "Traceback" not in errors


INTERRUPTED_WHILE_LOADING = """
import runpy, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "mpaas_push.cli.campaign.start":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
runpy.run_module("mpaas_push", run_name="__main__")
"""


def test_command_interrupted_while_loading_exits_with_the_interrupt_code() -> None:
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, "campaign", "status", "c", "--follow"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert (process.returncode, process.stderr) == (3, "interrupted\n")


def test_error_of_a_failed_send_shows_no_secret(sandbox: Sandbox) -> None:
    assert command("send", "-", stdin="{", env=env_of(sandbox))[0] == 1
    assert command("send", "nothing.json", env=env_of(sandbox))[0] == 1
    code, printed = command(
        "send", "-", stdin=json.dumps(MESSAGE), env=env_of(sandbox) | dict.fromkeys(KEYS, "")
    )
    assert code == 1
    assert "no AccessKey found" in printed
    code, printed = command(
        "send",
        "-",
        stdin=json.dumps(MESSAGE),
        env=env_of(sandbox) | {"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "wrong"},
    )
    assert code == 1
    assert "SignatureDoesNotMatch" in printed
    assert ROLE.access_key_id not in printed


# --- invoke and smoke, against the local stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(
        ports=Ports.any(), store=tmp_path_factory.mktemp("stack"), descriptor=PROJECT / "s.yaml"
    ) as running:
        yield running


def deployed(stack: Stack) -> dict[str, str]:
    keys = (LOCAL_ROLE.access_key_id, LOCAL_ROLE.access_key_secret, str(LOCAL_ROLE.security_token))
    return dict(zip(KEYS, keys, strict=True)) | {"PUSH_FC_ENDPOINT": stack.events_url}


def test_deployed_function_is_called(stack: Stack) -> None:
    code, printed = command(
        "invoke", "mpaas-event-push-dev", "--payload", "-", stdin="[]", env=deployed(stack)
    )

    assert code == 0
    assert '"events": 0' in printed
    assert "request " in printed


def test_event_is_accepted_asynchronously_and_a_task_id_only_once(stack: Stack) -> None:
    arguments = ("invoke", "mpaas-queue-push-dev", "--payload", "-", "--async", "--task-id", "t1")

    code, printed = command(*arguments, stdin="[]", env=deployed(stack))
    assert code == 0
    assert "accepted" in printed
    code, printed = command(*arguments, stdin="[]", env=deployed(stack))
    assert code == 1
    assert "409 AsyncTaskAlreadyExists" in printed


@pytest.mark.parametrize(
    ("function", "payload", "error"),
    [("mpaas-timer-push-dev", "{}", "UnreadablePayload"), ("nothing", "{}", "404 FunctionNotFound")],
)
def test_call_that_fails_says_why(stack: Stack, function: str, payload: str, error: str) -> None:
    code, printed = command("invoke", function, "--payload", "-", stdin=payload, env=deployed(stack))

    assert code == 1
    assert error in printed


def test_call_without_a_response_exits_with_the_code_for_unknown() -> None:
    with listening(lambda connection: connection.recv(65536)) as port:
        env = KEYS | {"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{port}"}

        assert command("invoke", "f", "--payload", "-", stdin="{}", env=env)[0] == 4


def test_task_id_requires_async() -> None:
    code, printed = command("invoke", "f", "--payload", "-", "--task-id", "t", stdin="{}", env=KEYS)

    assert code == 1
    assert "--task-id requires --async" in printed


def test_closed_output_pipe_prints_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "project", "validate", "--folder", str(PROJECT)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()

    _, errors = process.communicate(timeout=300)

    assert (process.returncode, errors) == (1, "")


def test_call_without_a_connection_is_reported_as_not_made() -> None:
    env = KEYS | {"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{closed_port()}"}

    code, printed = command("invoke", "f", "--payload", "-", stdin="{}", env=env)

    assert code == 1
    assert "f was not called: no connection" in printed


def test_smoke_passes_a_healthy_deployment_and_sends_no_push(stack: Stack) -> None:
    before = len(stack.sandbox.inbox())

    code, printed = command("smoke", main=project.__main__.main, env=deployed(stack))

    assert code == 0, printed
    assert printed.count("ok    mpaas-") == 6
    assert len(stack.sandbox.inbox()) == before


def test_smoke_calls_the_functions_of_the_descriptor(stack: Stack, tmp_path: Path) -> None:
    text = (PROJECT / "s.yaml").read_text()
    for word in ("  timer_push:", "mpaas-timer-push", "./functions/timer_push"):
        text = text.replace(word, word.replace("timer", "orders"))
    (tmp_path / "s.yaml").write_text(text)

    code, printed = command("smoke", main=project.__main__.main, folder=tmp_path, env=deployed(stack))

    assert code == 0, printed
    file = "tests/functions/orders_push.smoke.json"
    assert f"note  mpaas-orders-push-dev: not checked: {file} does not exist\n" in printed
    assert printed.count("ok    mpaas-") == 5
    assert "mpaas-timer-push-dev" not in printed


@pytest.mark.parametrize(
    ("expected", "code", "verdict"), [('"events": 0', 0, "ok   "), ("2 events", 1, "FAULT")]
)
def test_smoke_calls_a_custom_function_with_its_own_event(
    stack: Stack, tmp_path: Path, expected: str, code: int, verdict: str
) -> None:
    text = (PROJECT / "s.yaml").read_text()
    (tmp_path / "s.yaml").write_text(text.replace("./functions/event_push", "./functions/orders"))
    file = tmp_path / "tests" / "functions" / "orders.smoke.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"what": "no orders", "event": [], "expected": expected}))

    returned, printed = command("smoke", main=project.__main__.main, folder=tmp_path, env=deployed(stack))

    assert returned == code, printed
    assert f"{verdict} mpaas-event-push-dev: no orders" in printed


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "JSON"), ('{"what": "no orders", "event": []}', "expected")]
)
def test_smoke_names_an_unreadable_event_before_any_call(tmp_path: Path, text: str, reason: str) -> None:
    shutil.copy(PROJECT / "s.yaml", tmp_path)
    file = tmp_path / "tests" / "functions" / "queue_push.smoke.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    env = KEYS | {"PUSH_FC_ENDPOINT": f"http://{LOOPBACK}:{closed_port()}"}

    code, printed = command("smoke", main=project.__main__.main, folder=tmp_path, env=env)

    assert code == 1
    assert "error: tests/functions/queue_push.smoke.json must be an object with what, event" in printed
    assert reason in printed
    assert "FAULT" not in printed


def test_smoke_reads_the_settings_of_the_stage(stack: Stack, tmp_path: Path) -> None:
    shutil.copy(PROJECT / "s.yaml", tmp_path)
    (tmp_path / ".env").write_text("PUSH_FC_ENDPOINT=http://127.0.0.1:1\n")
    (tmp_path / ".env.dev").write_text(f"PUSH_FC_ENDPOINT={stack.events_url}\n")
    keys = {name: value for name, value in deployed(stack).items() if name in KEYS}

    code, printed = command("smoke", main=project.__main__.main, folder=tmp_path, env=keys)

    assert code == 0, printed


def test_smoke_names_missing_settings_before_any_call(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "s.yaml", tmp_path)

    code, printed = command(
        "smoke", main=project.__main__.main, folder=tmp_path, env=dict.fromkeys(KEYS, "k")
    )

    assert code == 1
    assert printed.count("ALIBABA_CLOUD_ACCOUNT_ID is not set: put the number of your account into") == 1
    assert "ALIBABA_CLOUD_REGION_ID is not set" in printed


def test_smoke_calls_the_functions_of_the_account_and_region() -> None:
    env = {"ALIBABA_CLOUD_ACCOUNT_ID": "1000000000000000", "ALIBABA_CLOUD_REGION_ID": "cn-shanghai"}

    assert settings_of(env).fc_endpoint == "https://1000000000000000.cn-shanghai.fc.aliyuncs.com"
    assert (
        settings_of(env | {"PUSH_FC_ENDPOINT": "https://fc.example.com"}).fc_endpoint
        == "https://fc.example.com"
    )


def test_smoke_fails_a_missing_deployment(stack: Stack) -> None:
    code, printed = command("smoke", "--stage", "prod", main=project.__main__.main, env=deployed(stack))

    assert code == 1
    assert "FAULT mpaas-http-push-prod: settings, AccessKey and ledger: " in printed
