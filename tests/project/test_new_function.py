"""`new-function` in a copy of a project, and the steps of docs/functions.md."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import mpaas_push.__main__
from mpaas_local.stack import Ports, Stack
from project.__main__ import main
from project.descriptor import read_functions
from project.new_function import TRIGGERS
from tests.descriptors import PROJECT
from tests.fork_server import start_forked
from tests.functions.queue_stack import QueueStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "functions.md").read_text("utf-8")
NEW = [
    "functions/{}/index.py",
    "tests/functions/test_{}.py",
    "tests/functions/{}.json",
    "tests/functions/{}.smoke.json",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with everything that its new tests import."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests" / "functions").mkdir(parents=True)
    for path in (*(ROOT / "tests").glob("*.py"), *(ROOT / "tests" / "functions").glob("*_stack.py")):
        if not path.name.startswith("test_"):
            (folder / path.relative_to(ROOT)).symlink_to(path)
    (folder / "tests" / "fixtures").symlink_to(ROOT / "tests" / "fixtures")
    return folder


def make(project: Path, name: str, trigger: str) -> int:
    return main(["new-function", name, trigger, "--folder", str(project)])


def run(project: Path, *command: str) -> str:
    """Run a command in a project, with the code of this repository."""
    # `make test` passes its variables to a nested make.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'shared'}"}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=110
    )
    return done.stdout + done.stderr


def snapshot(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in project.rglob("*") if path.is_file()}


def faults(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("FAULT")]


def test_function_of_each_kind_is_valid_and_passes_its_test(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "s.yaml").read_text("utf-8")
    for kind in TRIGGERS:
        assert make(project, f"my_{kind}", kind) == 0
        for path in NEW:
            assert (project / path.format(f"my_{kind}")).is_file()
    assert "next: make template validate, and\n" in capsys.readouterr().out

    code = main(["validate", "--folder", str(project)])

    lines = faults(capsys.readouterr().out)
    assert code == 1
    assert all(line.startswith("FAULT template.yml: ") and "run make template" in line for line in lines)
    assert main(["template", "--folder", str(project)]) == 0
    assert main(["validate", "--folder", str(project)]) == 0
    assert (project / "s.yaml").read_text("utf-8").startswith(before)
    assert f"{2 * len(TRIGGERS)} passed" in run(
        project, sys.executable, "-m", "pytest", "-q", "tests/functions"
    )


def test_entry_is_inserted_after_the_last_function(project: Path) -> None:
    path = project / "s.yaml"
    resources = path.read_text("utf-8").partition("\nresources:\n")[2]
    head = path.read_text("utf-8").partition("\nresources:\n")[0]
    text = f"{head}\nresources:  # all of them\n{resources}\n# about actions\nactions: {{}}  # none\n"
    path.write_bytes(text.replace("\n", "\r\n").encode())

    assert make(project, "orders", "timer") == 0

    changed = path.read_bytes().decode()
    assert changed.count("\n") == changed.count("\r\n")
    before, _, after = changed.replace("\r\n", "\n").partition("\n  orders:\n")
    assert text.startswith(before.rstrip("\n"))
    assert after.endswith("\n\n# about actions\nactions: {}  # none\n")
    assert list(read_functions(path, {}))[-1] == "orders"


@pytest.mark.parametrize(
    "name", ["", "Orders", "orders-x", "1orders", "_orders", "../orders", "a__b", "class", "o" * 41, "ordérs"]
)
def test_invalid_name_is_refused(project: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(project)

    assert make(project, name, "kafka") == 1

    assert "is not a valid NAME" in capsys.readouterr().err
    assert snapshot(project) == before


@pytest.mark.parametrize(("name", "file"), [("queue", "s.yaml"), ("kafka", "s.sources.yaml")])
def test_name_of_an_existing_function_is_refused(
    project: Path, name: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(project)

    assert make(project, name, "kafka") == 1

    assert f"is the functionName of {name}_push in {file}: use another NAME" in capsys.readouterr().err
    assert snapshot(project) == before


@pytest.mark.parametrize("path", NEW)
def test_nothing_is_overwritten(project: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    existing = project / path.format("orders")
    existing.parent.mkdir(parents=True, exist_ok=True)
    existing.write_text("mine")
    before = snapshot(project)

    assert make(project, "orders", "kafka") == 1

    assert f"nothing was created: {path.format('orders')} already exists" in capsys.readouterr().err
    assert snapshot(project) == before


@pytest.mark.parametrize("name", ["orders", "orders_push"])
def test_function_name_matches_the_deployer_policy(project: Path, name: str) -> None:
    assert make(project, name, "timer") == 0

    deployed = read_functions(project / "s.yaml", {})[name].function_name
    assert deployed == "mpaas-orders-push-dev"
    policy = (project / "deploy" / "policies" / "deployer.json").read_text("utf-8")
    assert "functions/mpaas-*-push-${Stage}" in policy


def without(text: str, keys: Iterable[str]) -> str:
    document = yaml.safe_load(text)
    for resource in document["resources"].values():
        for key in keys:
            resource.pop(key, None)
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("  queue_push:", "  orders:"), "already has resources.orders"),
        (lambda text: text.replace("resources:\n", "'resources':\n"), "add the function manually"),
        (lambda text: text.replace("  stage: ${env('STAGE', 'dev')}\n", ""), "vars.stage"),
        (lambda text: without(text, ["extend"]), "add the function manually"),
        (lambda _: "resources: [", "s.yaml: cannot be read"),
    ],
    ids=["taken", "quoted", "no stage", "no template", "no YAML"],
)
def test_descriptor_that_cannot_be_extended_is_unchanged(
    project: Path, change: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "s.yaml"
    assert callable(change)
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    before = snapshot(project)

    assert make(project, "orders", "kafka") == 1

    assert message in capsys.readouterr().err
    assert snapshot(project) == before


def test_nothing_is_created_without_the_function_to_copy(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project / "functions" / "queue_push")

    assert make(project, "orders", "kafka") == 1

    assert "functions/queue_push/index.py, the code to copy" in capsys.readouterr().err


# --- docs/functions.md


def blocks(marker: str) -> list[str]:
    return re.findall(rf"<!-- {marker} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)


def run_tests(paths: list[str]) -> int:
    """Run the tests in files, which use no fixtures, and return their number."""
    tests = [value for path in paths for name, value in runpy.run_path(path).items() if name[:5] == "test_"]
    for test in tests:
        test()
    return len(tests)


SETTINGS = """\
ALIBABA_CLOUD_ACCOUNT_ID=1234567890123456
ALIBABA_CLOUD_REGION_ID=cn-hangzhou
MPAAS_APP_ID=ONEX1
UPLOADS_BUCKET=files
"""


def test_documented_steps_lead_to_a_push(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    programs: dict[str, Callable[[list[str]], int]]
    programs = {"project": main, "mpaas_push": mpaas_push.__main__.main, "pytest": run_tests}

    def follow(line: str) -> str:
        """Run a line in this process, since a new one is slow to start; return the printed text."""
        words = shlex.split(line)
        if words[0] == "make":
            recipe = run(project, "make", "-n", "-f", str(ROOT / "Makefile"), "-o", "install", *words[1:])
            return "".join(map(follow, recipe.splitlines()))
        python, option, module, *arguments = words
        assert (Path(python).name, option) == ("python", "-m")  # whichever folder VENV names
        returned = programs[module](arguments)
        out, err = capsys.readouterr()
        return f"{out}{err}returned {returned}\n"

    first, second = (block.splitlines() for block in blocks("run"))
    assert "changed s.yaml: resources.order_events" in follow(first[0])
    validated, tested = (follow(line) for line in second)
    assert faults(validated) == []
    assert "returned 2\n" in tested

    (project / "functions" / "order_events" / "index.py").write_text(blocks("index")[0], "utf-8")
    event_file = project / "tests" / "functions" / "order_events.json"
    event = json.loads(event_file.read_text("utf-8"))
    event[0]["data"]["value"] = blocks("value")[0].strip()
    assert json.dumps(event[0]["data"]["value"]) in PAGE
    event_file.write_text(json.dumps(event), "utf-8")
    assert "returned 2\n" in follow(blocks("again")[0])

    *exports, invoke = blocks("invoke")[0].splitlines()
    with Stack(
        ports=Ports.any(), store=tmp_path / "store", descriptor=project / "s.yaml", start=start_forked
    ) as stack:
        for name, value in (word.split("=", 1) for line in exports for word in shlex.split(line)[1:]):
            monkeypatch.setenv(name, stack.events_url if name == "PUSH_FC_ENDPOINT" else value)
        output = follow(invoke)
        assert stack.sandbox.inbox()[0]["parameters"]["Title"] == "Order 4711 is on its way"
    assert PAGE.partition(invoke)[2].split("```json\n")[1].split("\n```")[0] in output

    with (project / ".env").open("a") as env:
        env.write(SETTINGS + blocks("env")[0])
    descriptor = project / "s.yaml"
    text = descriptor.read_text("utf-8")
    descriptor.write_text(text.replace("triggerEnable: false  # true once", "triggerEnable: true  # since"))
    validated = follow("make validate")
    assert "ok    s.yaml: 6 functions" in validated
    assert all("run make template" in line for line in faults(validated))


def test_invalid_order_becomes_a_dead_letter(tmp_path: Path) -> None:
    (tmp_path / "index.py").write_text(blocks("index")[0], "utf-8")
    with QueueStack("order_events", folder=tmp_path) as stack:
        report = stack.deliver({"id": 1, "customer": "user-1"}, {"id": 2}, "not JSON")

        assert report["outcomes"] == {"accepted": 1, "refused": 2}
        assert stack.accepted == ["user-1"]
        assert len(stack.bodies("dead")) == 2
