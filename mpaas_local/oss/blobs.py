"""Files with random names, written to a temporary file and renamed when complete.

No name from a client is used as a file name, and no file is read into memory completely.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from typing import TYPE_CHECKING

import crcmod

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["CHUNK_BYTES", "BlobWriter", "Blobs"]

CHUNK_BYTES = 256 * 1024
"""Size of one read or write, in bytes."""

# CRC-64/XZ: the polynomial of ECMA-182, reflected.
_crc64 = crcmod.mkCrcFun(0x142F0E1EBA9EA3693, initCrc=0, xorOut=0xFFFFFFFFFFFFFFFF)


class Blobs:
    """The files of a folder.

    Args:
        folder: Created if missing. Unfinished files of an earlier process are removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished = folder / "unfinished"
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self._folder / name[:2] / name

    def write(self) -> BlobWriter:
        """Start a new file."""
        name = secrets.token_hex(16)
        return BlobWriter(name, self._unfinished / name, self.path(name))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are ignored. Open files stay readable."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove all other files, which an earlier process wrote but did not record."""
        recorded = set(names)
        for file in self._folder.glob("??/*"):
            if file.name not in recorded:
                file.unlink()


class BlobWriter:
    """A file being written; a context manager that removes the file on exit unless it is finished.

    Attributes:
        name: Name of the finished file.
        size: Bytes written so far.
    """

    def __init__(self, name: str, unfinished: Path, target: Path) -> None:
        self.name = name
        self.size = 0
        self._unfinished = unfinished
        self._target = target
        self._file = unfinished.open("wb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)

    @property
    def md5(self) -> bytes:
        """The MD5 of the bytes so far."""
        return self._md5.digest()

    @property
    def etag(self) -> str:
        """The MD5 of the bytes so far, in upper-case hexadecimal."""
        return self._md5.hexdigest().upper()

    @property
    def crc64(self) -> str:
        """CRC-64/XZ of the bytes so far, decimal."""
        return str(self._crc)

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._file.write(chunk)
        self._md5.update(chunk)
        self._crc = _crc64(chunk, self._crc)
        self.size += len(chunk)

    def append(self, path: Path) -> None:
        """Append the bytes of another file."""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self.write(chunk)

    def finish(self) -> None:
        """Close the file and move it to its final path."""
        self._file.close()
        self._target.parent.mkdir(exist_ok=True)
        self._unfinished.replace(self._target)
