"""The packages that `template.yml` reads from a bucket."""

from __future__ import annotations

import re
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from deploy import package as packages
from deploy.package import package
from project.ros_template import make_template, template_text
from tests.descriptors import PROJECT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the build of the layer, which test_layer.py tests."""

    def build(runtime: str, folder: Path, **_: bool) -> Path:
        path = folder / f"layer-{runtime}.zip"
        path.write_text(f"a layer for {runtime}")
        return path

    monkeypatch.setattr(packages, "build", build)
    monkeypatch.setattr("deploy.code.interpreter", lambda _: None)  # test_code.py tests compilation


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return package(tmp_path / "packages", descriptor=PROJECT / "s.yaml")


def test_every_object_of_the_stack_is_packed(packed: Path) -> None:
    text = template_text(make_template(PROJECT))

    assert {path.name for path in packed.iterdir()} == set(re.findall(r"CodePrefix}/([\w.]+)'", text))


@pytest.mark.parametrize("name", ["http_push", "timer_push", "queue_push", "event_push"])
def test_package_has_the_files_of_a_function_at_the_top(packed: Path, name: str) -> None:
    folder = PROJECT / "functions" / name
    with zipfile.ZipFile(packed / f"{name}.zip") as archive:
        assert "index.py" in archive.namelist()
        compiled = {"__pycache__/rules.yaml.json"} if name == "event_push" else set()
        assert set(archive.namelist()) - compiled == {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        assert compiled <= set(archive.namelist())
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


def test_functions_may_share_a_folder(tmp_path: Path) -> None:
    packed = package(tmp_path, descriptor=PROJECT / "s.sources.yaml")

    assert "queue_push.zip" in {path.name for path in packed.iterdir()}


def test_version_depends_on_the_content(packed: Path, tmp_path: Path) -> None:
    project = shutil.copytree(PROJECT, tmp_path / "project")

    def version() -> str:
        return package(tmp_path, descriptor=project / "s.yaml").name

    assert version() == packed.name
    with (project / "functions" / "event_push" / "rules.yaml").open("a") as rules:
        rules.write("# another\n")
    assert version() != packed.name


def test_layer_has_the_runtime_of_the_descriptor(tmp_path: Path) -> None:
    project = shutil.copytree(PROJECT, tmp_path / "project")
    text = (project / "s.yaml").read_text("utf-8")
    (project / "s.yaml").write_text(text.replace("runtime: python3.10", "runtime: python3.12"), "utf-8")

    packed = package(tmp_path, descriptor=project / "s.yaml")

    assert (packed / "layer.zip").read_text() == "a layer for python3.12"
