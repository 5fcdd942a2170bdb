"""OSS objects, by way of the official SDK, which is imported only here, on first use."""

from __future__ import annotations

import copy
import math
import os
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from mpaas_push.campaign.errors import AudienceMissing, AudienceUnreadable
from mpaas_push.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from mpaas_push.credentials import Credentials
    from mpaas_push.settings import Settings

__all__ = ["ObjectInfo", "Objects", "OssObjects", "ReadableObjects", "changed_text", "crc64_of"]

MAX_ATTEMPTS, CONNECT_SECONDS, READ_SECONDS = 4, 5, 20
"""Limits of each request: attempts, and seconds of waiting for a connection and for data."""


@dataclass(frozen=True)
class ObjectInfo:
    """Metadata of an object.

    Attributes:
        size: In bytes.
        etag: ETag of its content; how it is computed depends on how the object was uploaded.
        crc64: CRC-64/XZ of its content, decimal, if OSS has computed it (oss.md: Checksums).
    """

    size: int
    etag: str
    crc64: str | None = None


class ReadableObjects(Protocol):
    """Objects that hold audiences."""

    def info(self, bucket: str, key: str) -> ObjectInfo:
        """Return size and ETag of an object.

        Raises:
            AudienceUnreadable: it does not exist, or reading it is not permitted.
        """

    def read(self, bucket: str, key: str, start: int, end: int, etag: str | None = None) -> bytes:
        """Return some bytes of an object.

        Raises:
            AudienceUnreadable: as in `info`, or its ETag differs.
        """


class Objects(ReadableObjects, Protocol):
    """Objects that hold audiences and results."""

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """Create or replace an object.

        Raises:
            AudienceUnreadable: it cannot be written.
        """

    def names(self, bucket: str, prefix: str) -> Iterator[str]:
        """Yield the keys below a prefix, sorted."""

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it exists."""


class OssObjects:
    """Objects in the buckets of one region, for one AccessKey; keys rotate."""

    def __init__(self, settings: Settings, credentials: Credentials, *, inside: bool = True) -> None:
        """Connections open on first use.

        Args:
            settings: `PUSH_OSS_ENDPOINT`, and the region.
            credentials: The AccessKey, with the permissions of docs/permissions.md.
            inside: Whether the region's internal endpoint is used, unless the settings name an endpoint.
        """
        import alibabacloud_oss_v2 as oss  # takes 0.2 s; single pushes do not need it

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
        self._deadline = math.inf
        self._http = oss.transport.RequestsHttpClient(
            connect_timeout=CONNECT_SECONDS, readwrite_timeout=READ_SECONDS
        )
        config.http_client = self._http
        self._client = oss.Client(config)

    def within(self, deadline: float) -> Self:
        """Return the same objects with a deadline on the clock of `time.monotonic`.

        No attempt begins after it, and none waits for data beyond it. A connection that does not open takes
        up to `CONNECT_SECONDS`, and data that trickles in takes its time.
        """
        limited = copy.copy(self)
        limited._deadline = deadline  # noqa: SLF001 - a copy of itself
        return limited

    def info(self, bucket: str, key: str) -> ObjectInfo:
        """See `Objects`."""
        result = self._do(f"oss://{bucket}/{key}", "head_object", bucket=bucket, key=key)
        return ObjectInfo(int(result.content_length), str(result.etag).strip('"'), result.hash_crc64)

    def read(self, bucket: str, key: str, start: int, end: int, etag: str | None = None) -> bytes:
        """See `Objects`."""
        if end <= start:
            return b""
        byte_range = f"bytes={start}-{end - 1}"
        condition = {"if_match": f'"{etag}"'} if etag else {}
        name = f"oss://{bucket}/{key}"
        for is_last in (False, False, True):
            result = self._do(
                name,
                "get_object",
                bucket=bucket,
                key=key,
                range_header=byte_range,
                **condition,
            )
            try:
                with result.body as body:
                    content = bytes(body.read())
            except Exception as error:  # noqa: BLE001 - the SDK passes on any error of its HTTP client
                if is_last:
                    raise self._unreachable(name, type(error).__name__) from None
                continue
            if len(content) == end - start:
                return content
        raise AudienceUnreadable(f"{name} is shorter than expected", is_final=False)

    def write(self, bucket: str, key: str, content: bytes) -> None:
        """See `Objects`."""
        self._do(f"oss://{bucket}/{key}", "put_object", bucket=bucket, key=key, body=content)

    def upload(
        self, bucket: str, key: str, path: Path, progress: Callable[[int, int], None], *, replaces: bool
    ) -> None:
        """Upload a file, a large one in parts; an interrupted upload continues where it stopped.

        Args:
            bucket: Name of the bucket.
            key: Name of the object.
            path: The file.
            progress: Called with the number of bytes written and the total.
            replaces: Whether an existing object may be replaced.

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
            raise self._error_of(f"oss://{bucket}/{key}", error) from None

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

    def _do(self, name: str, operation: str, **request: Any) -> Any:
        kind = "".join(map(str.capitalize, operation.split("_")))
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._unreachable(name, "no time is left")
        limits = {"operation_timeout": left, "readwrite_timeout": min(READ_SECONDS, left)}
        try:
            return getattr(self._client, operation)(
                getattr(self._oss, f"{kind}Request")(**request), **(limits if left < math.inf else {})
            )
        except self._errors as error:
            raise self._error_of(name, error) from None

    def _error_of(self, name: str, error: BaseException) -> AudienceUnreadable:
        """Return the error to raise for an object after an error of the SDK."""
        cause: Any = error
        while not hasattr(cause, "status_code") and (
            deeper := getattr(cause, "_error", None) or cause.__cause__
        ):
            cause = deeper
        status, code = getattr(cause, "status_code", 0), getattr(cause, "code", "")
        if code in {"FileAlreadyExists", "NoSuchUpload"}:
            return AudienceUnreadable(f"{name} was just uploaded by another client: start again")
        if status == 412:
            return AudienceUnreadable(f"{name} {_CHANGED}")
        if status == 404:
            return AudienceMissing(f"{name} does not exist" + f" ({code})" * (code == "NoSuchBucket"))
        if status == 403:
            return AudienceUnreadable(f"this AccessKey or role may not access {name} ({code})")
        return self._unreachable(name, f"{status or type(cause).__name__}")

    def _unreachable(self, name: str, why: str) -> AudienceUnreadable:
        text = (
            f"{name} cannot be reached at the moment ({why}) at {self._endpoint};"
            " set PUSH_OSS_ENDPOINT for another endpoint"
        )
        return AudienceUnreadable(text, is_final=False)


def crc64_of(path: Path) -> str:
    """Return the CRC-64/XZ of a file as OSS writes it (oss.md: Checksums)."""
    from alibabacloud_oss_v2.crc import Crc64

    crc = Crc64(0)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            crc.update(chunk)
    return str(crc.sum64())


def changed_text(bucket: str, key: str) -> str:
    """Return the error text for an object that changed after its campaign was started."""
    return f"oss://{bucket}/{key} {_CHANGED}"


_CHANGED = "was changed while the campaign ran: restore the original file, or start a new campaign"
