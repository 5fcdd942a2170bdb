"""Reproducible zips: the same files give the same bytes, whenever and wherever they are packed."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["crc64", "pack"]

_FIRST_TIME = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, path: Path, inside: str = "", *, bytecode: bool = False) -> None:
    """Zip the files of a folder.

    Args:
        folder: The folder, packed recursively.
        path: The zip.
        inside: Folder in the zip, with a trailing slash; by default the top.
        bytecode: Include `__pycache__`, which is otherwise left out.
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
            entry.create_system = 3  # Unix, on every build machine
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, files[name].read_bytes())


def crc64(data: bytes) -> str:
    """Return the CRC-64 (ECMA-182, reflected) of a package in decimal, as the API reports it."""
    value = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _CRC64[(value ^ byte) & 0xFF]
    return str(value ^ 0xFFFFFFFFFFFFFFFF)


def _table() -> tuple[int, ...]:
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (0xC96C5795D7870F42 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC64 = _table()
