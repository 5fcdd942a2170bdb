from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpaas_push.cli.descriptor import DescriptorError, described_functions

ROOT = Path(__file__).resolve().parents[2]


def run_local(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


OPTIONS = ("--http-port", "--sandbox-port", "--events-port", "--queues-port", "--inbox-port")
ANY_PORTS = [part for option in OPTIONS for part in (option, "0")]


def test_the_demo_ends_well_and_shows_every_outcome(tmp_path: Path) -> None:
    demo = run_local("--demo", "--quiet", *ANY_PORTS, "--store", str(tmp_path))
    output, errors = demo.communicate(timeout=100)

    assert demo.returncode == 0, output + errors
    for outcome in ("accepted", "refused", "throttled", "misconfigured", "unknown"):
        assert outcome in output
    assert "WRONG" not in output


def tick(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local.tick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_running_stack_takes_ticks_until_an_interrupt_stops_everything(tmp_path: Path) -> None:
    stack = run_local("--quiet", *ANY_PORTS, "--store", str(tmp_path))
    assert stack.stdout is not None
    events = ""
    for line in stack.stdout:
        if found := re.search(r"(http://\S+)/ticks/morning", line):
            events = found[1]
        if "Ctrl-C" in line:
            break
    fired, unknown = (tick(name, "--events", events) for name in ("morning", "mourning"))
    assert (fired.returncode, unknown.returncode) == (0, 1), fired.stderr
    assert "requestId" in fired.stdout
    assert "there are: " in unknown.stdout
    instances = children(stack.pid)
    assert instances

    stack.send_signal(signal.SIGINT)
    _, errors = stack.communicate(timeout=30)

    assert stack.returncode == 0
    assert "Traceback" not in errors
    nobody = tick("morning", "--events", events)
    assert nobody.returncode == 2
    assert "is `make run` running?" in nobody.stderr
    assert "Traceback" not in nobody.stderr
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in instances) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in instances if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("option", OPTIONS)
def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path, option: str) -> None:
    others = [part for other in OPTIONS if other != option for part in (other, "0")]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        stack = run_local("--demo", option, port, *others, "--store", str(tmp_path))
        _, errors = stack.communicate(timeout=60)

    assert stack.returncode == 2
    assert port in errors
    assert "make run ARGS=" in errors
    assert "Traceback" not in errors


def test_the_descriptor_names_the_functions_as_they_would_be_deployed() -> None:
    functions = {function.resource: function for function in described_functions(ROOT / "s.yaml", {})}

    http = functions["http_push"]
    assert http.props["functionName"] == "mpaas-http-push-dev"
    assert http.props["handler"] == "index.handler"
    assert http.props["environmentVariables"]["MPAAS_WORKSPACE_ID"] == "default"
    assert (http.folder / "index.py").is_file()
    assert [trigger.type for trigger in http.triggers] == ["http"]


def test_variables_of_the_environment_flow_into_the_descriptor() -> None:
    (function, *_) = described_functions(ROOT / "s.yaml", {"STAGE": "prod", "MPAAS_APP_ID": "ONEX1"})

    assert function.props["functionName"] == "mpaas-http-push-prod"
    assert function.props["environmentVariables"]["MPAAS_APP_ID"] == "ONEX1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('resources: {f: {component: fc3, props: {code: ., x: "${vars.nope}"}}}', "${vars.nope}"),
        ("resources: {f: {component: fc3, props: {code: ., x: \"${env('NOPE')}\"}}}", "NOPE"),
        ("resources: {f: {component: fc3, extend: {name: base}, props: {code: .}}}", "base"),
        ("resources: [", "cannot be read"),
        ("just text", "resources"),
    ],
)
def test_a_descriptor_that_cannot_be_resolved_says_why(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)

    with pytest.raises(DescriptorError, match="(?s).*") as error:
        described_functions(path, {})

    assert told in str(error.value)
