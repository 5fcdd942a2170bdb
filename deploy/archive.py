"""Zips a folder so that the same files give the same bytes, whenever and wherever that is done."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pack"]

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, path: Path, inside: str = "") -> None:
    """Zip the files of a folder, without what a Python that ran them left behind.

    Args:
        folder: Whose files, and those of folders in it.
        path: The zip.
        inside: Folder in the zip that they go to, ending with a slash; by default its top.
    """
    found = (each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    files = {each.relative_to(folder).as_posix(): each for each in found}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(inside + name, _FIRST_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whatever runs the build
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, files[name].read_bytes())
