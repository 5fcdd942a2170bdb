"""The code of functions as it is uploaded: the files of their folders, with bytecode and compiled rules.

The code folder is read-only on Function Compute, so otherwise each cold start would compile the modules and
check the rules. Both are used only while their source is unchanged: an edit in the console takes effect.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.layer import compile_modules, interpreter
from mpaas_push import Settings
from mpaas_push.event_rules import BadRules, compile_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["NOT_CODE", "copy_code", "copy_for_upload"]

NOT_CODE = ("__pycache__", "*.pyc", ".DS_Store")
"""Files that running or viewing the code creates next to it."""


@contextmanager
def copy_for_upload(descriptor: Path, folders: Iterable[str], runtime: str) -> Iterator[Path]:
    """Copy a descriptor, its overlays and the code of functions; yield the path of the copied descriptor.

    Args:
        descriptor: The descriptor.
        folders: The functions' folders, relative to it.
        runtime: Their runtime. The copies have no bytecode if this machine has no interpreter for it.
    """
    with tempfile.TemporaryDirectory() as temporary:
        for file in descriptor.parent.glob("*.yaml"):
            shutil.copy(file, temporary)
        copy_code(descriptor.parent, folders, Path(temporary), runtime)
        yield Path(temporary, descriptor.name)


def _ignored(folder: str, names: list[str]) -> set[str]:
    """Return the names that are not copied, including dangling links such as the lock of an editor.

    The `copytree` option for dangling links resolves relative ones from the working directory.
    """
    dangling = {name for name in names if not Path(folder, name).exists()}
    return shutil.ignore_patterns(*NOT_CODE)(folder, names) | dangling


def copy_code(source: Path, folders: Iterable[str], target: Path, runtime: str) -> list[Path]:
    """Copy folders of functions, and compile modules and rules of the copies; return the copies.

    Invalid rules are copied unchanged: the function reports their faults, as `validate` does.

    Raises:
        BuildFailed: a file cannot be compiled.
    """
    copies = [
        shutil.copytree(
            source / folder,
            target / folder,
            ignore=_ignored,
            dirs_exist_ok=True,  # a folder may be in that of another function
        )
        for folder in dict.fromkeys(map(Path, folders))  # functions may share one
    ]
    if python := interpreter(runtime):
        for copy in copies:
            compile_modules(python, copy, "/code", checked=True)
    for rules in [copy / "rules.yaml" for copy in copies]:
        if rules.is_file():
            with suppress(BadRules):
                compile_rules(rules, Settings())
    return copies
