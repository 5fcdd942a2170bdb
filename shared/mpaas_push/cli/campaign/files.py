"""Both ends of an upload: local files, and OSS with the operator's AccessKey."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mpaas_push.campaign.errors import InvalidCampaign
from mpaas_push.credentials import Credentials
from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mpaas_push.campaign.objects import ObjectInfo, OssObjects
    from mpaas_push.settings import Settings

__all__ = ["FileObjects", "oss_objects"]


class FileObjects:
    """A local file in place of the audience's object, regardless of bucket and key."""

    def __init__(self, path: Path) -> None:
        """The file is read on each call."""
        self._path = path

    def info(self, _: str, __: str) -> ObjectInfo:
        """See `Objects`.

        Raises:
            InvalidCampaign: it cannot be read.
        """
        from mpaas_push.campaign.objects import ObjectInfo

        try:
            return ObjectInfo(self._path.stat().st_size, "")
        except OSError as error:
            raise self._unreadable(error) from None

    def read(self, _: str, __: str, start: int, end: int, ___: str | None = None) -> bytes:
        """See `Objects`.

        Raises:
            InvalidCampaign: it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except OSError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: OSError) -> InvalidCampaign:
        return InvalidCampaign([Fault("audience", f"{self._path} cannot be read: {error.strerror}")])


@contextmanager
def oss_objects(settings: Settings) -> Iterator[OssObjects]:
    """Yield the objects of OSS, reached from outside its region."""
    from mpaas_push.campaign.objects import OssObjects

    objects = OssObjects(settings, Credentials.resolve(), inside=False)
    try:
        yield objects
    finally:
        objects.close()
