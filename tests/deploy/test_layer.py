"""The layer as it would be published: its content, and functions that run with it and no other package."""

from __future__ import annotations

import fcntl
import hashlib
import json
import marshal
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import redis

import deploy.layer
from deploy.layer import LIMIT_BYTES, MANIFEST, RUNTIMES, build, interpreter
from mpaas_local.account import Account
from mpaas_local.fc.function import Function
from mpaas_local.fc.host import FunctionHost
from mpaas_local.mpaas import AccessKey, Sandbox
from tests.descriptors import PROJECT
from tests.functions.http_stack import ROLE, message
from tests.sample_event import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from project.function import Runtime
    from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
NOT_EVERYWHERE = {
    *("async-timeout", "colorama", "tzdata"),
    *("pycryptodome", "cryptography", "cffi", "pycparser"),
}
"""Packages that are pinned for other runtimes or systems, or left out because nothing imports them."""


@pytest.fixture(scope="module")
def layer_of() -> Callable[[Runtime], Path]:
    """Return a function that returns the layer of a runtime, built by `make install` or, after changes, here."""
    folder = ROOT / ".local" / "layers"
    folder.mkdir(parents=True, exist_ok=True)

    @cache
    def current_layer(runtime: Runtime) -> Path:
        layer = folder / f"layer-{runtime}.zip"
        with layer.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_current(layer):
                with TemporaryDirectory(dir=folder) as temporary:
                    build(runtime, Path(temporary), offline=True).replace(layer)
        return layer

    return current_layer


def is_current(layer: Path) -> bool:
    """Return whether a layer exists and was built from the current sources."""
    builders = [*(ROOT / "deploy").glob("*.py"), ROOT / "requirements" / "layer.txt"]
    if not layer.exists() or layer.stat().st_mtime < max(path.stat().st_mtime for path in builders):
        return False
    with zipfile.ZipFile(layer) as packed:
        content = {
            name: packed.read(name)
            for name in packed.namelist()
            if name.startswith("python/mpaas_push/") and not name.endswith(".pyc")
        }
    package = [path for path in (ROOT / "shared" / "mpaas_push").rglob("*") if path.is_file()]
    return content == {
        f"python/{path.relative_to(ROOT / 'shared').as_posix()}": path.read_bytes()
        for path in package
        if path.suffix != ".pyc"
    }


@pytest.fixture(scope="module", params=RUNTIMES)
def layer(request: pytest.FixtureRequest, layer_of: Callable[[Runtime], Path]) -> Path:
    return layer_of(request.param)


def names(layer: Path) -> list[str]:
    with zipfile.ZipFile(layer) as packed:
        return packed.namelist()


def manifest(layer: Path) -> dict[str, Any]:
    with zipfile.ZipFile(layer) as packed:
        document: dict[str, Any] = json.loads(packed.read(f"python/{MANIFEST}"))
    return document


def test_build_is_reproducible(
    layer_of: Callable[[Runtime], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few packages: wheels are pinned by hash, and compiling all of them takes seconds."""
    few = re.compile(r"python/(mns/.*\.py|aliyun_mns_sdk-.*)$")

    def install(_: str, site: Path, **__: object) -> None:
        with zipfile.ZipFile(source) as packed:
            packed.extractall(site.parent, [name for name in packed.namelist() if few.match(name)])

    source = layer_of(RUNTIMES[0])
    monkeypatch.setattr(deploy.layer, "install_dependencies", install)
    first, again = (build(RUNTIMES[0], tmp_path / folder) for folder in ("first", "again"))

    assert {"python/mns/queue.py", "python/mpaas_push/client.py"} < set(names(first))
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(first.read_bytes()).digest()


def test_layer_is_small_and_has_everything_in_python(layer: Path) -> None:
    assert layer.stat().st_size <= LIMIT_BYTES
    with zipfile.ZipFile(layer) as packed:
        sources = [entry.compress_size for entry in packed.infolist() if not entry.filename.endswith(".pyc")]
    assert sum(sources) <= 9_000_000
    assert {name.partition("/")[0] for name in names(layer)} == {"python"}


@pytest.mark.parametrize(
    "forbidden",
    [
        r"(^|/)tests?/|SelfTest",
        r"/(pytest|mypy|ruff|hypothesis|uv|pip|setuptools|wheel)/",
        r"^python/bin/|\.lock$|RECORD$|direct_url",
        r"^python/(local|functions|deploy|benchmarks)/",
        r"boto",
        r"^python/(alibabacloud_(?!oss_v2)|aiohttp|darabonba|cryptography|cffi)",
    ],
)
def test_layer_has_no_unneeded_files(layer: Path, forbidden: str) -> None:
    assert [name for name in names(layer) if re.search(forbidden, name)] == []


def test_manifest_lists_pinned_packages_with_versions_and_licences(layer: Path) -> None:
    document = manifest(layer)
    pinned = re.findall(
        r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements" / "layer.txt").read_text(), re.MULTILINE
    )
    packages = document["packages"]
    listed = {(re.sub(r"[-_.]+", "-", item["name"]).lower(), item["version"]) for item in packages}

    assert f"layer-{document['runtime']}.zip" == layer.name
    assert listed - {("mpaas-push", "0.1.0")} <= set(pinned)
    assert {name for name, _ in pinned} - {name for name, _ in listed} <= NOT_EVERYWHERE
    assert all(item["licence"] for item in packages)


def test_every_module_has_unchecked_bytecode(layer: Path) -> None:
    if interpreter(layer.stem.removeprefix("layer-")) is None:
        pytest.skip("no interpreter of this runtime is installed")
    tag = layer.stem.removeprefix("layer-python").replace(".", "")
    with zipfile.ZipFile(layer) as packed:
        for module in (name for name in packed.namelist() if name.endswith(".py")):
            folder, _, name = module.rpartition("/")
            bytecode = packed.read(f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{tag}.pyc")
            assert bytecode[4:8] == UNCHECKED_HASH, module
        code = marshal.loads(bytecode[16:]) if tag == THIS_VERSION else None
    assert code is None or code.co_filename == f"/opt/{module}"


UNCHECKED_HASH = (0b01).to_bytes(4, "little")
THIS_VERSION = f"{sys.version_info.major}{sys.version_info.minor}"


def test_missing_interpreter_is_a_warning_with_its_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy.layer, "install_dependencies", lambda _runtime, site, **_: site.mkdir())
    monkeypatch.setattr(deploy.layer, "interpreter", lambda _runtime: None)

    layer = build("python3.12", tmp_path)

    assert not [name for name in names(layer) if name.endswith(".pyc")]
    warning = capsys.readouterr().err
    assert warning.startswith("WARNING: python3.12 is not installed")
    assert "1.5 s instead of 0.7 s" in warning
    assert "pyenv install 3.12" in warning


@pytest.mark.parametrize(
    ("options", "built"),
    [
        ([], ["python3.12"]),
        (["--runtime", "python3.10"], ["python3.10"]),
        (["--runtime", "all"], [*RUNTIMES]),
    ],
)
def test_runtime_is_that_of_the_descriptor_unless_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], built: list[str]
) -> None:
    runtimes = []

    def build(runtime: str, _: Path, **__: bool) -> Path:
        runtimes.append(runtime)
        return descriptor

    descriptor = tmp_path / "s.yaml"
    text = (PROJECT / "s.yaml").read_text("utf-8")
    descriptor.write_text(text.replace("runtime: python3.10", "runtime: python3.12"), "utf-8")
    monkeypatch.setattr(deploy.layer, "build", build)
    monkeypatch.setattr(sys, "argv", ["layer", "--descriptor", str(descriptor), *options])

    assert deploy.layer.main() == 0
    assert runtimes == built


def test_licence_texts_are_kept(layer: Path) -> None:
    texts = [name for name in names(layer) if re.search(r"dist-info/.*(LICEN[CS]E|COPYING)", name)]

    assert any("pydantic" in name for name in texts)
    assert any("redis" in name for name in texts)


def test_layer_has_every_module_and_script_of_the_package(layer: Path) -> None:
    shared = ROOT / "shared"
    files = {path for pattern in ("*.py", "*.lua") for path in shared.rglob(pattern)}

    assert {f"python/{path.relative_to(shared).as_posix()}" for path in files} <= set(names(layer))


# --- Functions that run with the layer


HTTP = {
    "version": "v1",
    "rawPath": "/v1/pushes",
    "headers": {"Content-Type": "application/json"},
    "queryParameters": {},
    "body": json.dumps(message()),
    "isBase64Encoded": False,
    "requestContext": {"http": {"method": "POST", "path": "/v1/pushes", "protocol": "HTTP/1.1"}},
}
TICK = {"triggerTime": "2026-11-23T01:00:00Z", "triggerName": "morning", "payload": json.dumps(message())}
BATCH = [{"requestId": "r", "messageId": "M1", "messageBody": json.dumps(message())}]


@pytest.mark.parametrize(
    ("runtime", "compiled"), [*((runtime, True) for runtime in RUNTIMES), (RUNTIMES[0], False)]
)
def test_functions_run_with_the_layer_and_no_other_package(
    layer_of: Callable[[Runtime], Path],
    runtime: Runtime,
    compiled: bool,
    tmp_path: Path,
    redis_server: RedisServer,
) -> None:
    base = interpreter(runtime)
    if base is None:
        pytest.skip(f"{runtime} is not installed: the layer is not run")
    subprocess.run([base, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    with zipfile.ZipFile(layer_of(runtime)) as packed:
        omitted = {name for name in packed.namelist() if name.endswith(".py" if compiled else ".pyc")}
        packed.extractall(tmp_path / "opt", set(packed.namelist()) - omitted)
    useless = tmp_path / "useless.py"
    useless.write_text("raise ImportError('bytecode is enough')")
    for name in omitted if compiled else ():
        (tmp_path / "opt" / name).hardlink_to(useless)
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()  # records of other cases
    keys = {ROLE.access_key_id: AccessKey(ROLE.access_key_secret, ROLE.security_token)}
    with Sandbox(access_keys=keys) as sandbox:
        for name, event in (
            ("http_push", HTTP),
            ("timer_push", TICK),
            ("queue_push", BATCH),
            ("event_push", ORDER),
        ):
            function = Function(
                name=name,
                folder=PROJECT / "functions" / name,
                runtime=runtime,
                layers=(tmp_path / "opt" / "python",),
                environment={
                    "MPAAS_ENDPOINT": sandbox.url,
                    "MPAAS_APP_ID": "ONEX1",
                    "MPAAS_WORKSPACE_ID": "default",
                    "PUSH_LATE": "send",  # the tick is in the past
                    "PUSH_LEDGER_URL": redis_server.url,
                },
            )
            account, python = Account(credentials=ROLE), str(tmp_path / "bare" / "bin" / "python")
            with FunctionHost(function, account=account, python=python) as host:
                result = host.invoke(json.dumps(event).encode())
            assert result.error_type is None, result.payload.decode() + result.log_tail

        assert [entry["outcome"] for entry in sandbox.inbox()] == ["accepted"] * 4
