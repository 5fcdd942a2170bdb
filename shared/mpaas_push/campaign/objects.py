"""Objects of OSS, as campaigns need them, by the official SDK, which is imported only here, on first use."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from mpaas_push.campaign.errors import AudienceMissing, AudienceUnreadable
from mpaas_push.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mpaas_push.credentials import Credentials
    from mpaas_push.settings import Settings

__all__ = ["ObjectInfo", "Objects", "OssObjects", "ReadableObjects", "changed", "crc64_of"]

MAX_ATTEMPTS, CONNECT_SECONDS, READ_SECONDS = 4, 5, 20
"""Of each request: how often it is tried, and for how long silence is borne."""


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object without reading it.

    Attributes:
        size: In bytes.
        etag: Of its content; what it is computed of depends on how the object was uploaded.
        crc64: CRC-64/XZ of its content, decimal, if OSS has computed it (oss.md: Checksums).
    """

    size: int
    etag: str
    crc64: str | None = None


class ReadableObjects(Protocol):
    """Where audiences are."""

    def info(self, bucket: str, key: str) -> ObjectInfo:
        """Return size and ETag of an object.

        Raises:
            AudienceUnreadable: there is none, or it may not be read.
        """

    def read(self, bucket: str, key: str, start: int, end: int, etag: str | None = None) -> bytes:
        """Return some bytes of an object.

        Raises:
            AudienceUnreadable: as in `info`, or its ETag is another one.
        """


class Objects(ReadableObjects, Protocol):
    """Where audiences are and results go."""

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object, whether it is there or not.

        Raises:
            AudienceUnreadable: it cannot be written.
        """

    def names(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, in their order."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it is there."""


class OssObjects:
    """Objects of the buckets of one region, with one AccessKey: keys rotate."""

    def __init__(self, settings: Settings, credentials: Credentials, *, inside: bool = True) -> None:
        """Connections open on first use.

        Args:
            settings: `PUSH_OSS_ENDPOINT`, and the region.
            credentials: The AccessKey; it needs the rights of docs/permissions.md.
            inside: Whether the region's internal endpoint can be reached, if the settings name none.
        """
        import alibabacloud_oss_v2 as oss  # a fifth of a second that no single push pays

        self._oss: Any = oss
        self._errors = (oss.exceptions.BaseError, OSError)
        region = (
            os.environ.get("FC_REGION") or os.environ.get("ALIBABA_CLOUD_REGION_ID") or settings.region_id
        )
        endpoint = settings.oss_endpoint or f"https://oss-{region}{'-internal' * inside}.aliyuncs.com"
        self._endpoint = endpoint
        provider = oss.credentials.StaticCredentialsProvider(
            credentials.access_key_id, credentials.access_key_secret, credentials.security_token
        )
        config = oss.config.load_default()
        config.credentials_provider, config.region, config.endpoint = provider, region, endpoint
        # A local server on loopback has no host name for each bucket.
        config.use_path_style = is_loopback(urlsplit(endpoint).hostname or "")
        config.retry_max_attempts = MAX_ATTEMPTS
        self._http = oss.transport.RequestsHttpClient(
            connect_timeout=CONNECT_SECONDS, readwrite_timeout=READ_SECONDS
        )
        config.http_client = self._http
        self._client = oss.Client(config)

    def info(self, bucket: str, key: str) -> ObjectInfo:
        """See `Objects`."""
        result = self._do(f"oss://{bucket}/{key}", "head_object", bucket=bucket, key=key)
        return ObjectInfo(int(result.content_length), str(result.etag).strip('"'), result.hash_crc64)

    def read(self, bucket: str, key: str, start: int, end: int, etag: str | None = None) -> bytes:
        """See `Objects`."""
        if end <= start:
            return b""
        more = {"if_match": f'"{etag}"'} if etag else {}
        what = f"oss://{bucket}/{key}"
        for is_last in (False, False, True):
            result = self._do(
                what, "get_object", bucket=bucket, key=key, range_header=f"bytes={start}-{end - 1}", **more
            )
            try:
                with result.body as body:
                    content = bytes(body.read())
            except Exception as error:  # noqa: BLE001 - the SDK raises what its HTTP client does
                if is_last:
                    raise self._unreadable(what, type(error).__name__) from None
                continue
            if len(content) == end - start:
                return content
        raise AudienceUnreadable(f"{what} is shorter than it was", is_final=False)

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """See `Objects`."""
        self._do(f"oss://{bucket}/{key}", "put_object", bucket=bucket, key=key, body=content)

    def upload(
        self, bucket: str, key: str, path: Path, progress: Callable[[int, int], None], *, replaces: bool
    ) -> None:
        """Upload a file, a large one in parts; one that was interrupted continues where it stopped.

        Args:
            bucket: Name of the bucket.
            key: Name of the object.
            path: The file.
            progress: Called with the number of bytes written, and of all.
            replaces: Whether an object that is there may be replaced.

        Raises:
            AudienceUnreadable: it cannot be written.
        """
        oss = self._oss
        uploader = self._client.uploader(enable_checkpoint=True, checkpoint_dir=tempfile.gettempdir())
        request = oss.PutObjectRequest(
            bucket=bucket,
            key=key,
            forbid_overwrite=None if replaces else "true",
            progress_fn=lambda _, written, total: progress(written, total),
        )
        try:
            uploader.upload_file(request, str(path))
        except self._errors as error:
            raise self._fault_of(f"oss://{bucket}/{key}", error) from None

    def names(self, bucket: str, prefix: str) -> Iterator[str]:
        """See `Objects`."""
        token = None
        while True:
            page = self._do(
                f"oss://{bucket}/{prefix}",
                "list_objects_v2",
                bucket=bucket,
                prefix=prefix,
                continuation_token=token,
            )
            yield from (item.key for item in page.contents or ())
            if not page.is_truncated:
                return
            token = page.next_continuation_token

    def delete(self, bucket: str, key: str) -> None:
        """See `Objects`."""
        self._do(f"oss://{bucket}/{key}", "delete_object", bucket=bucket, key=key)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _do(self, what: str, operation: str, **request: Any) -> Any:
        name = "".join(map(str.capitalize, operation.split("_")))
        try:
            return getattr(self._client, operation)(getattr(self._oss, f"{name}Request")(**request))
        except self._errors as error:
            raise self._fault_of(what, error) from None

    def _fault_of(self, what: str, error: BaseException) -> AudienceUnreadable:
        """Return what an error of the SDK means for an object."""
        cause: Any = error
        while not hasattr(cause, "status_code") and (
            deeper := getattr(cause, "_error", None) or cause.__cause__
        ):
            cause = deeper
        status, code = getattr(cause, "status_code", 0), getattr(cause, "code", "")
        if code in {"FileAlreadyExists", "NoSuchUpload"}:
            return AudienceUnreadable(f"{what} was just uploaded by another client: start again")
        if status == 412:
            return AudienceUnreadable(f"{what} {_CHANGED}")
        if status == 404:
            return AudienceMissing(f"{what} does not exist" + f" ({code})" * (code == "NoSuchBucket"))
        if status == 403:
            return AudienceUnreadable(f"{what} may not be used with this AccessKey or role ({code})")
        return self._unreadable(what, f"{status or type(cause).__name__}")

    def _unreadable(self, what: str, why: str) -> AudienceUnreadable:
        address = f"{self._endpoint}; PUSH_OSS_ENDPOINT names another one"
        return AudienceUnreadable(f"{what} cannot be reached for now ({why}) at {address}", is_final=False)


def crc64_of(path: Path) -> str:
    """Return the CRC-64/XZ of a file as OSS writes it (oss.md: Checksums)."""
    from alibabacloud_oss_v2.crc import Crc64

    crc = Crc64(0)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc.update(chunk)
    return str(crc.sum64())


def changed(bucket: str, key: str) -> str:
    """Return the text about an object that is not the one that a campaign was started with."""
    return f"oss://{bucket}/{key} {_CHANGED}"


_CHANGED = "was changed while the campaign ran: restore the original file, or start a new campaign"
