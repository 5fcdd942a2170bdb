"""The code of functions as it is uploaded: the files of their folders, and bytecode beside them.

Function Compute cannot write beside a function's files either, so without bytecode each cold start compiles
them. It is checked against its source: whoever edits a file in the console runs what they wrote.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.layer import compile_modules, interpreter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["NOT_CODE", "copy_code", "to_upload"]

NOT_CODE = ("__pycache__", "*.pyc", ".DS_Store")
"""What running and looking at the files leaves beside them."""


@contextmanager
def to_upload(descriptor: Path, folders: Iterable[str], runtime: str) -> Iterator[Path]:
    """Copy a descriptor, those beside it, and the code of functions; give the path of the copy.

    Args:
        descriptor: The descriptor.
        folders: The functions' folders, relative to it.
        runtime: Their runtime. The copies have no bytecode if this machine has no interpreter of it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        for each in descriptor.parent.glob("*.yaml"):
            shutil.copy(each, temporary)
        copy_code(descriptor.parent, folders, Path(temporary), runtime)
        yield Path(temporary, descriptor.name)


def copy_code(source: Path, folders: Iterable[str], target: Path, runtime: str) -> None:
    """Copy folders of functions and compile the copies.

    Raises:
        BuildFailed: a file cannot be compiled.
    """
    for folder in folders:
        shutil.copytree(source / folder, target / folder, ignore=shutil.ignore_patterns(*NOT_CODE))
    if python := interpreter(runtime):
        for folder in folders:
            compile_modules(python, target / folder, "/code", checked=True)
