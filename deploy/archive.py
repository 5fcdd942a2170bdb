"""Zips a folder so that the same files give the same bytes, whenever and wherever that is done."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pack"]

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, path: Path, inside: str = "", *, bytecode: bool = False) -> None:
    """Zip the files of a folder.

    Args:
        folder: Whose files, and those of folders in it.
        path: The zip.
        inside: Folder in the zip that they go to, ending with a slash; by default its top.
        bytecode: Keep `__pycache__`; otherwise it is what a Python that ran the files left behind.
    """
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.is_file() and (bytecode or "__pycache__" not in file.parts)
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(inside + name, _FIRST_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whatever runs the build
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, files[name].read_bytes())
