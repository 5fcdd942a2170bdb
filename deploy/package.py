"""Packs the zips that `template.yml` reads from a bucket: one for each function, and one for the layer.

`python -m deploy.package` writes them to `build/package/<version>/`, where the version is a digest of their
bytes: a stack detects new code only by a new name.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from deploy.archive import pack
from deploy.code import copy_code
from deploy.layer import ROOT, BuildFailed, build, runtime_of
from mpaas_push.errors import PushError
from project.descriptor import read_functions

__all__ = ["package"]

_DIGITS = 12


def package(
    folder: Path = ROOT / "build" / "package",
    *,
    descriptor: Path = ROOT / "s.yaml",
    offline: bool = False,
) -> Path:
    """Pack the functions of a descriptor and their layer; return the folder, whose name is the version.

    Args:
        folder: Parent of the folder; one with the same version is replaced.
        descriptor: The descriptor of the functions.
        offline: Take all wheels from the cache of an earlier build.

    Raises:
        BuildFailed: the layer could not be built.
        DescriptorError: the descriptor is invalid.
        Misconfigured: the functions have different runtimes.
    """
    functions = read_functions(descriptor, {})
    runtime = runtime_of(functions.values())
    with tempfile.TemporaryDirectory() as temporary:
        packed = Path(temporary, "package")
        packed.mkdir()
        build(runtime, Path(temporary), offline=offline).rename(packed / "layer.zip")
        folders = [function.code for function in functions.values()]
        for code in copy_code(descriptor.parent, folders, Path(temporary, "code"), runtime):
            pack(code, packed / f"{code.name}.zip", bytecode=True)
        destination = folder / _version(packed)
        shutil.rmtree(destination, ignore_errors=True)
        shutil.copytree(packed, destination)
    return destination


def _version(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]


def main() -> int:
    """Pack functions and layer; return 0, or 1 if that failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=__doc__)
    parser.add_argument("--offline", action="store_true", help="take all wheels from the cache")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "package")
    options = parser.parse_args()
    try:
        packages = package(options.folder, offline=options.offline)
    except (BuildFailed, PushError) as error:
        print(f"nothing was packed: {error}", file=sys.stderr)
        return 1
    for path in sorted(packages.iterdir()):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(f"version {packages.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
