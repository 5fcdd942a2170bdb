"""The host of functions, with real processes: every documented rule of the runtime."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.account import Account, LocalCredentials
from mpaas_local.fc.call import new_request_id
from mpaas_local.fc.errors import HostClosed, Throttled
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(__file__).parent / "functions"
ROOT = Path(__file__).parents[3]
REQUEST_ID = "1-67aee50c-15d63510-fecf237c590c"
MIRROR = FOLDER / "mirror"
FAILING = FOLDER / "failing"


@pytest.fixture
def hosting() -> Iterator[Callable[..., FunctionHost]]:
    hosts: list[FunctionHost] = []

    def create(
        folder: Path, handler: str = "index.handler", /, host: Any = None, **function: Any
    ) -> FunctionHost:
        options = host or {}
        hosts.append(FunctionHost(Function(name="f", folder=folder, handler=handler, **function), **options))
        return hosts[-1]

    yield create
    for host in hosts:
        host.close()
        assert host.processes == ()


@pytest.fixture
def lines() -> list[tuple[str, str, str]]:
    return []


@pytest.fixture
def log(lines: list[tuple[str, str, str]]) -> dict[str, Any]:
    return {"on_log": lambda *line: lines.append(line)}


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    # A zombie: the parent that adopts orphans on this machine has not reaped it.
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


def write(folder: Path, source: str, name: str = "index.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return folder


# Events and results


def test_event_reaches_the_handler_as_the_same_bytes(hosting: Any) -> None:
    event = bytes(range(256)) * 4096
    result = hosting(MIRROR).invoke(event)
    assert result.payload == event
    assert result.error_type is None


def test_event_is_bytes_instead_of_text(hosting: Any) -> None:
    assert hosting(MIRROR, "index.kind_of_event").invoke(b"{}").payload == b"bytes"


def test_event_of_32_mb_is_returned_unchanged(hosting: Any) -> None:
    event = os.urandom(1024) * (32 * 1024)
    assert hosting(MIRROR).invoke(event).payload == event


@pytest.mark.parametrize(
    ("returned", "payload"),
    [
        ("b'\\x00raw'", b"\x00raw"),
        ("'text 你'", "text 你".encode()),
        ("None", b"null"),
        ("True", b"true"),
        ("{'b': 1, 'a': '你'}", b'{\n    "a": "\\u4f60",\n    "b": 1\n}'),
        ("[1, 2]", b"[\n    1,\n    2\n]"),
        ("decimal.Decimal('1.5')", b"1.5"),
        ("dt.date(2026, 1, 2)", b'"2026-01-02"'),
        ("dt.datetime(2026, 1, 2, 3, 4)", b'"2026-01-02T03:04:00"'),
        ("Money()", b'"12.50 CNY"'),
    ],
)
def test_result_is_serialized_as_on_fc(hosting: Any, returned: str, payload: bytes) -> None:
    result = hosting(MIRROR, "index.evaluate").invoke(returned.encode())
    assert (result.payload, result.error_type) == (payload, None)


@pytest.mark.parametrize("returned", ["{1, 2}", "{'a': b'x'}", "(n for n in [1])", "bytearray(b'x')"])
def test_result_that_is_not_serializable_is_a_type_error_of_the_function(hosting: Any, returned: str) -> None:
    result = hosting(MIRROR, "index.evaluate").invoke(returned.encode())
    assert result.error_type == "UnhandledInvocationError"
    assert json.loads(result.payload)["errorType"] == "TypeError"


def test_trace_of_a_circular_result_includes_the_frames_of_the_runtime(hosting: Any) -> None:
    body = json.loads(hosting(MIRROR, "index.circle").invoke(b"").payload)
    assert body["errorType"] == "ValueError"
    assert "runtime.py" in body["stackTrace"][0][0]


# Handler and module


def test_exception_becomes_the_documented_error_without_the_runtimes_frame(hosting: Any) -> None:
    result = hosting(FAILING).invoke(b"")
    assert result.error_type == "UnhandledInvocationError"
    path = FAILING / "index.py"
    assert result.payload.decode() == textwrap.dedent(f"""\
        {{
            "errorMessage": "nothing left, \\u6ca1\\u6709\\u4e86",
            "errorType": "NoStock",
            "stackTrace": [
                [
                    "File \\"{path}\\"",
                    "line 17",
                    "in handler",
                    "raise NoStock(\\"nothing left, \\u6ca1\\u6709\\u4e86\\")"
                ]
            ]
        }}""")


def test_trace_lists_every_frame_of_the_function(hosting: Any) -> None:
    body = json.loads(hosting(FAILING, "index.deeper").invoke(b"").payload)
    assert [frame[2:] for frame in body["stackTrace"]] == [
        ["in deeper", "handler(event, context)"],
        ["in handler", 'raise NoStock("nothing left, 没有了")'],
    ]


@pytest.mark.parametrize(
    ("handler", "source", "error"),
    [
        (
            "handler",
            "",
            {
                "errorType": "InvalidHandleName",
                "errorMessage": "Invalid handler 'handler'",
                "stackTrace": ["ValueError: not enough values to unpack (expected 2", "got 1)"],
            },
        ),
        (
            "index.nothing",
            "",
            {
                "errorType": "HandlerNotFound",
                "errorMessage": "Handler 'nothing' is missing on module 'index'",
                "stackTrace": ["AttributeError: module 'index' has no attribute 'nothing'"],
            },
        ),
        (
            "absent.handler",
            "",
            {
                "errorType": "ImportModuleError",
                "errorMessage": "Unable to import module 'absent'",
                "stackTrace": ["ModuleNotFoundError: No module named 'absent'"],
            },
        ),
        (
            "index.handler",
            "import no_such_thing",
            {
                "errorType": "ImportModuleError",
                "errorMessage": "Unable to import module 'index'",
                "stackTrace": ["ModuleNotFoundError: No module named 'no_such_thing'"],
            },
        ),
        (
            "index.handler",
            "x = 1\ndef f(:\n",
            {
                "errorType": "UserCodeSyntaxError",
                "errorMessage": "Syntax error in module 'index'",
                "stackTrace": ['File "FOLDER/index.py"', "line 2", "def f(:", "SyntaxError: invalid syntax"],
            },
        ),
        (
            "index.handler",
            "raise KeyError('MPAAS_APP_ID')",
            {
                "errorType": "UserCodeError",
                "errorMessage": "Module initialization error: ''MPAAS_APP_ID''",
                "stackTrace": ["KeyError: 'MPAAS_APP_ID'"],
            },
        ),
    ],
)
def test_handler_that_cannot_be_loaded_returns_the_documented_error_with_a_flat_trace(
    hosting: Any, tmp_path: Path, handler: str, source: str, error: dict[str, Any]
) -> None:
    host = hosting(write(tmp_path, source), handler)
    error["stackTrace"] = [line.replace("FOLDER", str(tmp_path.resolve())) for line in error["stackTrace"]]
    for _ in range(2):  # the instance is kept, and the error is the same
        result = host.invoke(b"")
        assert result.error_type == "UnhandledInvocationError"
        assert json.loads(result.payload) == error


@pytest.mark.parametrize("handler", ["package.part.run", "package/part.run"])
def test_handler_may_be_in_a_package_or_a_folder(hosting: Any, tmp_path: Path, handler: str) -> None:
    write(tmp_path, "def run(event, context): return 'ok'", "package/part.py")
    assert hosting(tmp_path, handler).invoke(b"").payload == b"ok"


def test_module_is_imported_once_at_the_first_call(
    hosting: Any, tmp_path: Path, log: Any, lines: Any
) -> None:
    folder = write(tmp_path, "print('imported')\ndef handler(event, context): return 'ok'")
    host = hosting(folder, host=log)
    host.invoke(b"", request_id=REQUEST_ID)
    host.invoke(b"")
    texts = [line for _, _, line in lines]
    assert texts.index(f"FC Invoke Start RequestId: {REQUEST_ID}") < texts.index("imported")
    assert texts.count("imported") == 1


def test_code_has_precedence_over_layers_and_layers_over_installed_packages(
    hosting: Any, tmp_path: Path
) -> None:
    code, first, second = (tmp_path / name for name in ("code", "first", "second"))
    write(code, (MIRROR / "index.py").read_text())
    site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for folder, modules in (
        (code, ["everywhere"]),
        (first, ["everywhere", "layered", "urllib3"]),
        (second, ["layered", f"{site}/packaged"]),
        (first, ["packaged"]),
    ):
        for module in modules:
            write(folder, "", f"{module}.py")
    host = hosting(code, "index.which_module", layers=(first, second))
    imported = {
        name: Path(host.invoke(name.encode()).payload.decode()).relative_to(tmp_path)
        for name in ("everywhere", "layered", "urllib3", "packaged")
    }
    assert imported == {
        "everywhere": Path("code/everywhere.py"),
        "layered": Path("first/layered.py"),
        "urllib3": Path("first/urllib3.py"),
        "packaged": Path(f"second/{site}/packaged.py"),
    }


def test_runtime_is_invisible_to_the_function(hosting: Any) -> None:
    seen = json.loads(hosting(MIRROR, "index.surroundings").invoke(b"").payload)
    assert seen["path"][0] == seen["folder"] == str(MIRROR.resolve())
    assert str(ROOT / "mpaas_local") not in seen["path"]
    assert len(seen["argv"]) == 1
    assert seen["threads"] == ["MainThread"]


# Context and environment


def test_context_of_python_310_has_credentials_service_and_tracing(hosting: Any) -> None:
    host = hosting(MIRROR, "index.attributes", timeout=30, memory=256)
    result = host.invoke(b"", request_id=REQUEST_ID, retry_count=2)
    key_id, secret, token = "STS.LocalAccessKeyId", "local-access-key-secret", "local-security-token"
    assert json.loads(result.payload) == {
        "request_id": REQUEST_ID,
        "requestId": REQUEST_ID,
        "credentials": {
            "access_key_id": key_id,
            "accessKeyId": key_id,
            "access_key_secret": secret,
            "accessKeySecret": secret,
            "security_token": token,
            "securityToken": token,
        },
        "function": {"name": "f", "handler": "index.attributes", "memory": 256, "timeout": "30"},
        "service": {
            "name": "",
            "log_project": "",
            "log_store": "",
            "qualifier": "LATEST",
            "version_id": "LATEST",
        },
        "region": "cn-hangzhou",
        "account_id": "1000000000000000",
        "retry_count": 2,
        "tracing": {"span_context": None, "jaeger_endpoint": None, "span_baggages": {}},
        "logger": "NoneType",
    }


def test_context_of_python_310_has_a_json_form(hosting: Any) -> None:
    result = hosting(MIRROR, "index.context_as_json").invoke(b"", request_id=REQUEST_ID)
    context = json.loads(result.payload)
    assert set(context) == {
        "requestId",
        "credentials",
        "function",
        "service",
        "region",
        "accountId",
        "retryCount",
        "tracing",
    }
    assert context["requestId"] == REQUEST_ID
    assert context["credentials"]["accessKeyId"] == "STS.LocalAccessKeyId"


def test_context_of_python_312_has_no_credentials_service_or_tracing(hosting: Any) -> None:
    host = hosting(MIRROR, "index.attributes", runtime="python3.12", timeout=30)
    assert json.loads(host.invoke(b"", request_id=REQUEST_ID).payload) == {
        "request_id": REQUEST_ID,
        "function": {
            "name": "f",
            "handler": "index.attributes",
            "memory": 512,
            "timeout": 30,
            "version_id": "LATEST",
            "qualifier": "LATEST",
        },
        "region": "cn-hangzhou",
        "account_id": "1000000000000000",
        "log_project": "",
        "log_store": "",
        "logger": "RootLogger",
    }


def test_credentials_of_a_call_are_in_its_context_but_not_in_the_environment(hosting: Any) -> None:
    renewed = LocalCredentials("STS.Renewed", "renewed-secret", "renewed-token")
    context = json.loads(hosting(MIRROR, "index.attributes").invoke(b"", credentials=renewed).payload)
    assert context["credentials"]["access_key_id"] == "STS.Renewed"
    seen = json.loads(hosting(MIRROR, "index.surroundings").invoke(b"", credentials=renewed).payload)
    assert seen["environment"]["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "STS.LocalAccessKeyId"


def test_function_without_a_role_has_no_credentials(hosting: Any) -> None:
    account = {"account": Account(credentials=None)}
    context = json.loads(hosting(MIRROR, "index.attributes", account).invoke(b"").payload)
    assert set(context["credentials"].values()) == {""}
    seen = json.loads(hosting(MIRROR, "index.surroundings", account).invoke(b"").payload)
    assert not any(name.startswith("ALIBABA_CLOUD_") for name in seen["environment"])


def test_repr_of_credentials_has_no_secrets() -> None:
    assert "secret" not in repr(LocalCredentials()).replace("access_key_secret", "")


@pytest.mark.parametrize(
    ("runtime", "versions"),
    [
        ("python3.10", {"FC_VER_ID", "FC_QUALIFIER"}),
        ("python3.12", {"FC_FUNCTION_VERSION", "FC_CUSTOM_LISTEN_PORT"}),
    ],
)
def test_environment_has_only_the_documented_variables_and_the_functions_own(
    hosting: Any, monkeypatch: pytest.MonkeyPatch, runtime: str, versions: set[str]
) -> None:
    monkeypatch.setenv("MPAAS_SK_ENV", "of the developer")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    host = hosting(
        MIRROR, "index.surroundings", runtime=runtime, environment={"MY_OWN": "你", "TZ": "Asia/Shanghai"}
    )
    seen = json.loads(host.invoke(b"").payload)["environment"]
    instance = seen.pop("FC_INSTANCE_ID")
    assert re.fullmatch(r"c-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", instance)
    assert {name: seen.pop(name) for name in versions} == {
        name: "9000" if name == "FC_CUSTOM_LISTEN_PORT" else "LATEST" for name in versions
    }
    assert seen == {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.LocalAccessKeyId",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "local-access-key-secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "local-security-token",
        "FC_ACCOUNT_ID": "1000000000000000",
        "FC_FUNC_CODE_PATH": str(MIRROR.resolve()),
        "FC_FUNCTION_HANDLER": "index.surroundings",
        "FC_FUNCTION_MEMORY_SIZE": "512",
        "FC_FUNCTION_NAME": "f",
        "FC_REGION": "cn-hangzhou",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "MY_OWN": "你",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": "Asia/Shanghai",
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"environment": {"FC_REGION": "x"}}, "FC_REGION"),
        ({"environment": {"A": "x" * 4096}}, "4097 bytes"),
        ({"timeout": 0}, "timeout is 0"),
        ({"initializer_timeout": 301}, "at most 300"),
        ({"prestop_timeout": 91}, "at most 90"),
        ({"folder": FOLDER / "absent"}, "does not exist"),
    ],
)
def test_configuration_that_fc_does_not_accept_is_refused(options: dict[str, Any], text: str) -> None:
    configuration: dict[str, Any] = {"name": "f", "folder": MIRROR, **options}
    with pytest.raises(ValueError, match=text):
        Function(**configuration)


# Logs


def test_log_lines_are_in_order_with_function_and_request_id(hosting: Any, log: Any, lines: Any) -> None:
    result = hosting(MIRROR, "index.talk", log).invoke(b"", request_id=REQUEST_ID)
    assert {(function, request_id) for function, request_id, _ in lines} == {("f", REQUEST_ID)}
    texts = [line for _, _, line in lines]
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
    assert [stamp.sub("TIME ", line) for line in texts] == [
        "FunctionCompute python3 runtime inited.",
        f"FC Invoke Start RequestId: {REQUEST_ID}",
        "printed",
        "to stderr",
        "written to the descriptor",
        f"TIME {REQUEST_ID} [INFO] logged 你好",
        f"without an endFC Invoke End RequestId: {REQUEST_ID}",
    ]
    assert result.log_tail == "".join(line + "\n" for line in texts)


def test_error_is_logged_before_the_end_line_which_reports_it(hosting: Any, log: Any, lines: Any) -> None:
    result = hosting(FAILING, host=log).invoke(b"", request_id=REQUEST_ID)
    texts = [line for _, _, line in lines]
    start = next(index for index, line in enumerate(texts) if f" {REQUEST_ID} [ERROR] {{" in line)
    assert "\n".join(["{", *texts[start + 1 : -1]]) == result.payload.decode()
    assert texts[-1] == f"FC Invoke End RequestId: {REQUEST_ID}, Error: Unhandled function error"


def test_log_larger_than_a_pipe_does_not_block_the_call_and_its_tail_is_4_kb(
    hosting: Any, log: Any, lines: Any
) -> None:
    result = hosting(MIRROR, "index.talk_much", log).invoke(b"", request_id=REQUEST_ID)
    assert result.payload == b"done"
    assert len(lines) == 5003
    assert len(result.log_tail) == 4096
    assert result.log_tail.endswith(f"FC Invoke End RequestId: {REQUEST_ID}\n")


def test_logging_of_the_host_process_is_unchanged(hosting: Any) -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    hosting(MIRROR).invoke(b"")
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before


# Instances


def test_successive_calls_use_one_instance(hosting: Any) -> None:
    host = hosting(MIRROR, "index.count")
    results = [host.invoke(b"") for _ in range(3)]
    payloads = [json.loads(result.payload) for result in results]
    assert [payload["calls"] for payload in payloads] == [1, 2, 3]
    assert {payload["process"] for payload in payloads} == set(host.processes)
    assert [result.cold for result in results] == [True, False, False]


def test_concurrent_calls_run_on_separate_instances(hosting: Any, tmp_path: Path) -> None:
    host = hosting(MIRROR, "index.meet")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(host.invoke, [str(tmp_path).encode()] * 2))
    assert [json.loads(result.payload) for result in results] == [{"met": 2}] * 2


def test_instance_serves_one_call_at_a_time(hosting: Any) -> None:
    host = hosting(MIRROR, "index.sleep", {"limit": 3})

    def call(_: int) -> dict[str, float]:
        while True:
            try:
                return dict(json.loads(host.invoke(b"0.01").payload))
            except Throttled:
                time.sleep(0.005)

    with ThreadPoolExecutor(8) as pool:
        spans = list(pool.map(call, range(40)))
    for process in {span["process"] for span in spans}:
        calls = sorted((span["start"], span["end"]) for span in spans if span["process"] == process)
        assert all(first[1] <= second[0] for first, second in pairwise(calls))
    assert len({span["process"] for span in spans}) <= 3


def test_call_over_the_limit_is_throttled(hosting: Any, tmp_path: Path) -> None:
    host = hosting(MIRROR, "index.wait_for_file", {"limit": 1})
    end = tmp_path / "end"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(host.invoke, str(end).encode())
        eventually(lambda: bool(host.processes))
        with pytest.raises(Throttled, match="all 1 instances are busy") as caught:
            host.invoke(b"")
        end.touch()
        assert slow.result().error_type is None
    assert (caught.value.function, caught.value.limit) == ("f", 1)
    assert host.invoke(str(end).encode()).cold is False


def test_most_recently_used_instance_is_reused_first(hosting: Any, tmp_path: Path) -> None:
    host = hosting(MIRROR, "index.wait_for_file")
    first_end, second_end = tmp_path / "first", tmp_path / "second"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(host.invoke, str(first_end).encode())
        second = pool.submit(host.invoke, str(second_end).encode())
        eventually(lambda: len(host.processes) == 2)
        first_end.touch()
        first.result()
        second_end.touch()
        latest = json.loads(second.result().payload)
    assert json.loads(host.invoke(str(first_end).encode()).payload) == latest


def test_idle_instance_is_stopped_after_the_idle_time(hosting: Any) -> None:
    host = hosting(MIRROR, host={"idle_seconds": 0.1})
    host.invoke(b"")
    (process,) = host.processes
    eventually(lambda: host.processes == ())
    assert has_ended(process)
    assert host.invoke(b"").cold is True


def test_instance_is_kept_after_an_error_of_the_function(hosting: Any) -> None:
    host = hosting(FAILING)
    host.invoke(b"")
    before = host.processes
    assert host.invoke(b"").cold is False
    assert host.processes == before


# The end of an instance


@pytest.mark.parametrize("handler", ["index.leave", "index.vanish", "index.crash"])
def test_process_that_exits_is_an_error_and_is_replaced(
    hosting: Any, log: Any, lines: Any, handler: str
) -> None:
    host = hosting(FAILING, handler, log)
    result = host.invoke(b"", request_id=REQUEST_ID)
    assert result.error_type == "UnhandledInvocationError"
    body = json.loads(result.payload)
    assert set(body) == {"errorMessage"}
    assert re.fullmatch(
        r"Process exited unexpectedly before completing request "
        r"\(duration: \d+ms, maxMemoryUsage: [\d.]+MB\)",
        body["errorMessage"],
    )
    assert host.processes == ()
    assert lines[-1][2] == f"FC Invoke End RequestId: {REQUEST_ID}, Error: {body['errorMessage']}"
    assert (handler == "index.vanish") == ("last words" in [line for _, _, line in lines])
    assert host.invoke(b"").cold is True


def test_crash_is_detected_and_ends_the_functions_child_processes(hosting: Any) -> None:
    result = hosting(FAILING, "index.fork_and_crash").invoke(b"")
    assert b"Process exited unexpectedly" in result.payload
    children = [
        int(line.removeprefix("child ")) for line in result.log_tail.split("\n") if line.startswith("child ")
    ]
    assert len(children) == 2
    eventually(lambda: all(has_ended(child) for child in children))


def test_timeout_dumps_the_stacks_and_ends_the_process_with_an_error(
    hosting: Any, log: Any, lines: Any
) -> None:
    host = hosting(FAILING, "index.hang", log, timeout=1)
    result = host.invoke(b"", request_id=REQUEST_ID)
    assert result.error_type == "UnhandledInvocationError"
    message = json.loads(result.payload)["errorMessage"]
    assert re.fullmatch(r"Function timed out after 1 seconds \(maxMemoryUsage: [\d.]+MB\)", message)
    texts = "\n".join(line for _, _, line in lines)
    assert f"{REQUEST_ID} [ERROR] Dumping stack trace after function timeout" in texts
    assert f"[ERROR] request id = {REQUEST_ID}, thread id = " in texts
    assert "in hang\n    time.sleep(60)" in texts
    assert texts.count("thread id") == 1
    assert lines[-1][2].startswith(
        f"FC Invoke End RequestId: {REQUEST_ID}, Error: Function timed out after 1 seconds (duration: "
    )
    assert host.processes == ()
    assert host.invoke(b"").cold is True


def test_function_that_ignores_its_timeout_is_killed(hosting: Any, log: Any, lines: Any) -> None:
    host = hosting(FAILING, "index.resist", log | {"grace_seconds": 0.3}, timeout=1)
    assert b"Function timed out after 1 seconds" in host.invoke(b"").payload
    assert "staying" in [line for _, _, line in lines]
    assert host.processes == ()


def test_idle_instance_that_died_is_replaced_without_an_error(hosting: Any) -> None:
    host = hosting(MIRROR)
    host.invoke(b"")
    os.kill(host.processes[0], signal.SIGKILL)
    eventually(lambda: not host._idle[0].alive)
    result = host.invoke(b"again")
    assert (result.payload, result.cold) == (b"again", True)


def test_kill_leaves_no_idle_instance(hosting: Any) -> None:
    host = hosting(MIRROR)
    host.invoke(b"")
    (process,) = host.processes
    host.kill()
    assert host.processes == ()
    assert has_ended(process)
    assert host.invoke(b"again").payload == b"again"


def test_kill_ends_a_call_with_an_error(hosting: Any) -> None:
    host = hosting(FAILING, "index.hang")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(host.invoke, b"")
        eventually(lambda: bool(host.processes))
        host.kill()
        assert b"Process exited unexpectedly" in call.result().payload


def test_log_callback_that_raises_ends_the_instance_but_not_the_host(hosting: Any) -> None:
    def refuse(_function: str, _request_id: str, line: str) -> None:
        if line in {"last words", "printed"}:
            raise OSError("disk full")

    for folder, handler in ((FAILING, "index.vanish"), (MIRROR, "index.talk")):
        host = hosting(folder, handler, {"on_log": refuse})
        with pytest.raises(OSError, match="disk full"):
            host.invoke(b"")
        assert host.processes == ()


# Hooks


def hooks(events: Path, **hooks: Any) -> dict[str, Any]:
    return {"environment": {"EVENTS": str(events)}, **hooks}


def test_initializer_runs_once_before_the_first_call_of_each_instance(
    hosting: Any, tmp_path: Path, log: Any, lines: Any
) -> None:
    events = tmp_path / "events"
    host = hosting(FOLDER / "hooked", host=log, **hooks(events, initializer="index.initialize"))
    first = host.invoke(b"", request_id=REQUEST_ID)
    host.invoke(b"")
    assert first.payload == b"ok"
    assert events.read_text().split("\n") == ["initialize f", "call", "call", ""]
    assert [line for _, _, line in lines][1:5] == [
        f"FC Initialize Start RequestId: {REQUEST_ID}",
        f"FC Initialize End RequestId: {REQUEST_ID}",
        f"FC Invoke Start RequestId: {REQUEST_ID}",
        f"FC Invoke End RequestId: {REQUEST_ID}",
    ]


def test_failed_initializer_fails_the_call_and_the_next_call_gets_a_new_instance(
    hosting: Any, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    host = hosting(FOLDER / "hooked", **hooks(events, initializer="index.fail_to_initialize"))
    for _ in range(2):
        result = host.invoke(b"")
        assert result.error_type == "InitializationError"
        assert json.loads(result.payload)["errorMessage"] == "no database"
        assert result.cold is True
        assert host.processes == ()
    assert events.read_text() == "fail\nfail\n"


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        ("index.exit_in_initialize", "Process exited unexpectedly"),
        ("index.absent", "Handler 'absent' is missing on module 'index'"),
    ],
)
def test_initializer_that_exits_or_is_missing_is_an_initialization_error(
    hosting: Any, tmp_path: Path, initializer: str, message: str
) -> None:
    result = hosting(FOLDER / "hooked", **hooks(tmp_path / "events", initializer=initializer)).invoke(b"")
    assert result.error_type == "InitializationError"
    assert json.loads(result.payload)["errorMessage"].startswith(message)


def test_initializer_has_its_own_timeout(hosting: Any, tmp_path: Path) -> None:
    folder = write(
        tmp_path, "import time\ndef slow(context): time.sleep(60)\ndef handler(event, context): pass"
    )
    result = hosting(folder, initializer="index.slow", initializer_timeout=0.3).invoke(b"")
    assert result.error_type == "InitializationError"
    assert b"timed out after 0.3 seconds" in result.payload


def test_prestop_runs_when_the_host_closes(hosting: Any, tmp_path: Path, log: Any, lines: Any) -> None:
    events = tmp_path / "events"
    host = hosting(FOLDER / "hooked", host=log, **hooks(events, prestop="index.pre_stop"))
    host.invoke(b"")
    host.close()
    assert events.read_text() == "call\npreStop\n"
    assert re.fullmatch(r"FC PreStop Start RequestId: 1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", lines[-2][2])


# The end of the host


def test_close_ends_idle_and_busy_processes(hosting: Any) -> None:
    host = hosting(FAILING, "index.hang")
    mirror = hosting(MIRROR)
    mirror.invoke(b"")
    call = threading.Thread(target=host.invoke, args=(b"",))
    call.start()
    eventually(lambda: bool(host.processes))
    processes = host.processes + mirror.processes
    host.close()
    mirror.close()
    call.join()
    assert len(processes) == 2
    assert all(has_ended(process) for process in processes)


def test_closed_host_accepts_no_calls_and_may_be_closed_again(hosting: Any) -> None:
    host = hosting(MIRROR)
    host.close()
    host.close()
    with pytest.raises(HostClosed):
        host.invoke(b"")


@pytest.mark.parametrize("handler", ["handler", "hang"])
def test_instances_end_when_the_host_process_is_killed(handler: str) -> None:
    source = f"""
        import threading, time
        from pathlib import Path
        from mpaas_local.fc.function import Function
        from mpaas_local.fc.host import FunctionHost
        function = Function(name="f", folder=Path({str(FAILING)!r}), handler="index.{handler}")
        host = FunctionHost(function)
        threading.Thread(target=host.invoke, args=(b"",), daemon=True).start()
        while not host.processes:
            time.sleep(0.01)
        time.sleep(0.3)
        print(*host.processes, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        process = int(parent.stdout.readline())
        assert not has_ended(process)
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: has_ended(process))


def test_missing_interpreter_is_an_error_of_the_host(hosting: Any) -> None:
    host = hosting(MIRROR, host={"python": "/no/such/python"})
    with pytest.raises(FileNotFoundError):
        host.invoke(b"")
    assert host.processes == ()


def test_interpreter_that_cannot_start_the_runtime_is_an_error_of_the_call(hosting: Any) -> None:
    result = hosting(MIRROR, host={"python": "/bin/false"}).invoke(b"")
    assert b"Process exited unexpectedly" in result.payload


def test_request_ids_have_the_format_of_fc_and_are_unique() -> None:
    ids = {new_request_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}", text) for text in ids)
    assert abs(int(next(iter(ids))[2:10], 16) - time.time()) < 60
