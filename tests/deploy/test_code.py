"""The code of functions as it is uploaded."""

from __future__ import annotations

import io
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from deploy.code import copy_code, copy_for_upload
from deploy.layer import interpreter
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.conftest import Project
    from tests.deploy.control_plane import ControlPlane

RUNTIME = "python3.10"
FOLDERS = ["./functions/http_push", "./functions/timer_push"]


@pytest.fixture
def python() -> str:
    path = interpreter(RUNTIME)
    if path is None:
        pytest.skip(f"{RUNTIME} is not installed")
    return path


@pytest.fixture
def compiled(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    request.getfixturevalue("python")
    copy_code(PROJECT, FOLDERS, tmp_path, RUNTIME)
    return tmp_path / "functions"


def test_every_module_has_reproducible_bytecode(compiled: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    copy_code(PROJECT, FOLDERS, again, RUNTIME)

    for source in compiled.rglob("*.py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-310.pyc"
        assert bytecode.read_bytes() == (again / bytecode.relative_to(tmp_path)).read_bytes()


def test_file_edited_in_the_cloud_runs_as_edited(compiled: Path, python: str) -> None:
    """Unchecked bytecode would still run the old content of the file."""
    folder = compiled / "timer_push"
    (folder / "index.py").write_text("print('edited')\n")
    done = subprocess.run(
        [python, "-c", "import index"], cwd=folder, check=True, capture_output=True, text=True
    )

    assert done.stdout == "edited\n"


def test_valid_rules_are_compiled_and_invalid_ones_are_copied(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name, rules in (
        ("right", (PROJECT / "functions" / "event_push" / "rules.yaml").read_text()),
        ("wrong", "rules: wrong"),
    ):
        (project / name).mkdir(parents=True)
        (project / name / "rules.yaml").write_text(rules)
    copy_code(project, ["right", "wrong"], tmp_path / "copy", "none")

    assert (tmp_path / "copy" / "right" / "__pycache__" / "rules.yaml.json").is_file()
    assert not (tmp_path / "copy" / "wrong" / "__pycache__").exists()
    assert (tmp_path / "copy" / "wrong" / "rules.yaml").read_text() == "rules: wrong"


def test_sources_are_copied_without_bytecode_if_there_is_no_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.code.interpreter", lambda _: None)
    copy_code(PROJECT, FOLDERS, tmp_path, RUNTIME)

    assert (tmp_path / "functions" / "http_push" / "index.py").is_file()
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.parametrize("folders", [["f", "f/inner"], ["f/inner", "f"]])
def test_nested_function_folders_are_copied(tmp_path: Path, folders: list[str]) -> None:
    (tmp_path / "f" / "inner").mkdir(parents=True)
    (tmp_path / "f" / "index.py").write_text("outer = 1")
    (tmp_path / "f" / "inner" / "index.py").write_text("inner = 1")

    copy_code(tmp_path, folders, tmp_path / "copy", "none")

    assert (tmp_path / "copy" / "f" / "index.py").read_text() == "outer = 1"
    assert (tmp_path / "copy" / "f" / "inner" / "index.py").read_text() == "inner = 1"


def test_links_are_followed_and_dangling_links_are_ignored(project: Project, cloud: ControlPlane) -> None:
    code = project.folder / "functions" / "timer_push"
    (project.folder / "common").mkdir()
    (project.folder / "common" / "helper.py").write_text("HELP = 1\n")
    (code / "common").symlink_to("../../common")
    (code / ".#index.py").symlink_to("me@machine.1")  # the lock of an editor

    project.commit_and_deploy()

    with zipfile.ZipFile(io.BytesIO(cloud.code["mpaas-timer-push-dev"])) as uploaded:
        assert "common/helper.py" in uploaded.namelist()
    assert "nothing would change" in project.run("plan")[1]


@pytest.mark.usefixtures("python")
def test_working_tree_is_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "functions" / "f"
    folder.mkdir(parents=True)
    (folder / "index.py").write_text("")
    (tmp_path / "s.yaml").write_text("")
    (tmp_path / "s.staging.yaml").write_text("extend: s.yaml")

    with copy_for_upload(tmp_path / "s.staging.yaml", ["./functions/f"], RUNTIME) as copy:
        assert copy.read_text() == "extend: s.yaml"
        assert copy.with_name("s.yaml").is_file()
        assert list((copy.parent / "functions" / "f").rglob("*.pyc"))

    assert not list(tmp_path.rglob("*.pyc"))


def test_deployment_with_bytecode_leaves_nothing_to_change(
    project: Project, cloud: ControlPlane, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.code.interpreter", lambda _: python)
    project.commit_and_deploy()

    with zipfile.ZipFile(io.BytesIO(cloud.code["mpaas-http-push-dev"])) as uploaded:
        assert {"index.py", "__pycache__/index.cpython-310.pyc"} <= set(uploaded.namelist())
    code, planned = project.run("plan")
    assert (code, "nothing would change" in planned) == (0, True), planned
