"""Builds the code layer of one runtime: `mpaas_push` and the packages that `requirements/layer.txt` pins.

`python -m deploy.layer` writes `build/layer-python3.10.zip`. It always uses wheels for Linux on x86_64 and
that runtime, so the same sources give the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from uv import find_uv_bin

from deploy.archive import pack
from mpaas_push.errors import Misconfigured, PushError
from project.descriptor import read_functions
from project.function import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from project.function import FunctionProperties

__all__ = [
    "RUNTIMES",
    "BuildFailed",
    "build",
    "compile_modules",
    "install_dependencies",
    "interpreter",
    "runtime_of",
]

ROOT = Path(__file__).resolve().parent.parent
RUNTIMES = get_args(Runtime)
PLATFORM = "x86_64-manylinux_2_28"
"""Debian 10 of python3.10 has glibc 2.28, Debian 11 of python3.12 a newer one (deploy.md: Python layers)."""
SOURCE_ONLY = {"aliyun-fc2"}
"""Published as source only, but pure Python, so a wheel built on any machine works on every machine."""
CACHE = ROOT / ".local" / "uv"
LIMIT_BYTES = 16 * 1024 * 1024
MANIFEST = "mpaas-push-layer.json"
NOT_DEPLOYED = ("bin", "*/tests", "*/test", "**/__pycache__")
"""Scripts, tests of packages, and bytecode compiled on this machine."""
NOT_IMPORTED = (
    *("Crypto", "pycryptodome-*.dist-info", "_yaml", "yaml/_yaml.*.so"),
    *("cryptography", "cryptography-*.dist-info", "_cffi_backend.*.so"),
    *("cffi", "cffi-*.dist-info", "pycparser", "pycparser-*.dist-info"),
)
"""Half the size of the layer: `aliyun-mns-sdk` requires pycryptodome but never imports it;
`aliyun-python-sdk-core` imports cryptography (with cffi) only for its `AcsClient`; rules are too short to
need the C parser of YAML."""
NOT_NEEDED = ("*.pyi", "py.typed", "*.c", "*.h", "*.pyx", "*.pxd", "*.pxi")
"""Sources and types, which are not used at run time."""
KEPT_METADATA = ("METADATA", "licenses", "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "AUTHORS*")


NO_INTERPRETER = (
    "WARNING: {runtime} is not installed on this machine, so the layer has no bytecode and each cold start"
    " compiles the sources: http_push starts in 1.5 s instead of 0.7 s with 0.35 vCPU. Install {runtime}"
    " (`pyenv install {version}`, or your system's package) and build again."
)


class BuildFailed(Exception):
    """The layer could not be built; the text says why."""


def build(runtime: str, folder: Path = ROOT / "build", *, offline: bool = False) -> Path:
    """Build the layer of one runtime and return the path of the zip.

    The layer contains bytecode, since it is read-only on Function Compute, which would otherwise compile the
    sources at each cold start. This requires an interpreter of the runtime's version on this machine; without
    one, a warning goes to standard error.

    Args:
        runtime: One of `RUNTIMES`.
        folder: Folder of the zip.
        offline: Take all wheels from the cache of an earlier build.

    Raises:
        BuildFailed: a wheel is not available, a module cannot be compiled, or the layer is too large.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary) / "python"
        install_dependencies(runtime, site, offline=offline)
        _strip(site)
        shutil.copytree(
            ROOT / "shared" / "mpaas_push", site / "mpaas_push", ignore=shutil.ignore_patterns("__pycache__")
        )
        (site / MANIFEST).write_text(json.dumps(_manifest(runtime, site), indent=1) + "\n", "utf-8")
        if python := interpreter(runtime):
            compile_modules(python, site)
        else:
            version = runtime.removeprefix("python")
            print(NO_INTERPRETER.format(runtime=runtime, version=version), file=sys.stderr)
        path = folder / f"layer-{runtime}.zip"
        pack(site, path, "python/", bytecode=True)
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        raise BuildFailed(f"{path.name} has {size:,} bytes; at most {LIMIT_BYTES:,} are allowed")
    return path


def runtime_of(functions: Iterable[FunctionProperties]) -> Runtime:
    """Return the runtime of functions, which must be the same because the layer has compiled modules.

    Raises:
        Misconfigured: they have different runtimes.
    """
    runtimes = sorted({function.runtime for function in functions})
    if len(runtimes) > 1:
        raise Misconfigured(
            f"functions with {' and '.join(runtimes)} cannot share a layer: give them the same `runtime`"
        )
    return runtimes[0]


def install_dependencies(runtime: str, site: Path, *, offline: bool = False) -> None:
    """Install the packages of `requirements/layer.txt` for a runtime into a folder.

    Raises:
        BuildFailed: a wheel is not available.
    """
    requirements = ROOT / "requirements" / "layer.txt"
    pinned = set(re.findall(r"^([a-z0-9-]+)==", requirements.read_text("utf-8"), re.MULTILINE))
    command = [find_uv_bin(), "pip", "install", "--quiet", "--target", str(site), "--python", sys.executable]
    command += ["--python-version", runtime.removeprefix("python"), "--python-platform", PLATFORM]
    command += ["--no-deps", "--require-hashes", "--no-build-isolation", "--link-mode", "copy"]
    command += [part for name in sorted(pinned - SOURCE_ONLY) for part in ("--only-binary", name)]
    command += ["--offline"] if offline else []
    result = subprocess.run(
        [*command, "-r", str(requirements)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "UV_CACHE_DIR": str(CACHE)},
    )
    if result.returncode:
        raise BuildFailed(result.stderr.strip())
    for name in SOURCE_ONLY & pinned:
        (wheel,) = site.glob(f"{name.replace('-', '_')}-*.dist-info/WHEEL")
        if "Root-Is-Purelib: true" not in wheel.read_text("utf-8"):
            raise BuildFailed(f"{name} is no longer pure Python: it must be installed from a wheel")


def interpreter(runtime: str) -> str | None:
    """Return an interpreter of a runtime's version: the current one, else one of pyenv, else one on PATH."""
    version = runtime.removeprefix("python")
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [*map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python"))), f"python{version}"]
    for candidate in candidates:
        try:  # a pyenv shim on PATH may be for a version that is not selected
            subprocess.run([candidate, "-c", "import ssl, venv"], capture_output=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


def compile_modules(python: str, site: Path, inside: str = "/opt/python", *, checked: bool = False) -> None:
    """Compile every module in a folder, recursively, into the `__pycache__` next to it.

    The bytes depend only on the sources and the interpreter: not on times, paths of this machine or, because
    of the fixed hash seed, the order of sets.

    Args:
        python: The interpreter.
        site: The folder.
        inside: The folder's path in an instance.
        checked: Whether Python compares the hash of a source before it uses the bytecode; otherwise it uses
            the bytecode without reading the source.

    Raises:
        BuildFailed: a module cannot be compiled.
    """
    mode = "checked-hash" if checked else "unchecked-hash"
    command = [python, "-m", "compileall", "-q", "--invalidation-mode", mode]
    result = subprocess.run(
        [*command, "-s", str(site), "-p", inside, str(site)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    if result.returncode:
        raise BuildFailed((result.stdout + result.stderr).strip()[-2000:])


def _strip(site: Path) -> None:
    for pattern in NOT_DEPLOYED + NOT_IMPORTED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (site / ".lock").unlink(missing_ok=True)  # the installer's
    for pattern in NOT_NEEDED:
        for path in list(site.rglob(pattern)):
            path.unlink()
    for metadata in site.glob("*.dist-info"):
        kept = {path for pattern in KEPT_METADATA for path in metadata.glob(pattern)}
        for path in set(metadata.iterdir()) - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _manifest(runtime: str, site: Path) -> dict[str, Any]:
    packages = []
    for metadata in sorted(site.glob("*.dist-info")):
        fields = HeaderParser().parsestr((metadata / "METADATA").read_text("utf-8"))
        classified = [
            classifier.rpartition(" :: ")[2]
            for classifier in fields.get_all("Classifier", [])
            if classifier.startswith("License ::")
        ]
        licence = fields["License-Expression"] or ", ".join(classified) or fields["License"]
        packages.append({"name": fields["Name"], "version": fields["Version"], "licence": licence})
    version = (
        (ROOT / "shared" / "mpaas_push" / "__init__.py").read_text("utf-8").partition('__version__ = "')[2]
    )
    own = {"name": "mpaas-push", "version": version.partition('"')[0], "licence": "Apache-2.0"}
    return {"runtime": runtime, "platform": PLATFORM, "packages": [own, *packages]}


def main() -> int:
    """Build the layer; return 0, or 1 if the build failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.layer", description=__doc__)
    parser.add_argument("--runtime", choices=(*RUNTIMES, "all"), help="default: that of the descriptor")
    parser.add_argument("--descriptor", type=Path, default=ROOT / "s.yaml", help="default: s.yaml")
    parser.add_argument("--offline", action="store_true", help="take all wheels from the cache")
    parser.add_argument("--folder", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    try:
        if options.runtime is None:
            options.runtime = runtime_of(read_functions(options.descriptor, os.environ).values())
        for runtime in RUNTIMES if options.runtime == "all" else (options.runtime,):
            path = build(runtime, options.folder, offline=options.offline)
            print(f"{path}: {path.stat().st_size:,} bytes")
    except (BuildFailed, PushError) as error:
        print(f"cannot build the layer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
