"""Buckets and objects on disk: an index in SQLite, the content in files.

An object is a row of the index that names a file, so it is replaced atomically, and its own name is only a
value in that row. Listeners are notified of changes after they are recorded.
"""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from mpaas_local.database import Database
from mpaas_local.oss.blobs import Blobs
from mpaas_local.oss.errors import OssError
from mpaas_local.oss.model import (
    DEFAULT_MIME_TYPE,
    MIN_PART_BYTES,
    USER_META,
    Bucket,
    Listing,
    ObjectEvent,
    Part,
    StoredObject,
    Upload,
    check_bucket_name,
    check_key,
    multipart_etag,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mpaas_local.clock import TimeSource
    from mpaas_local.oss.blobs import BlobWriter

__all__ = ["OssStore"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE buckets (name TEXT PRIMARY KEY, created REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key BLOB NOT NULL,  -- the name's bytes, by which OSS sorts
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    crc64 TEXT,
    modified REAL NOT NULL,
    type TEXT NOT NULL,
    headers TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL REFERENCES buckets (name),
    key BLOB NOT NULL,
    headers TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    blob TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    crc64 TEXT NOT NULL,
    modified REAL NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID
"""


class OssStore:
    """The buckets and their objects. Thread-safe.

    Args:
        folder: Holds the index and the files; created if missing.
        clock: Seconds since 1970.

    Raises:
        StoreUnusable: the index cannot be opened, or is not an index of this version.
    """

    def __init__(self, folder: Path, *, clock: TimeSource = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = clock
        self._database = Database(folder / "index.sqlite3", schema=_SCHEMA, version=_VERSION)
        self._blobs = Blobs(folder / "bytes")
        with self._database.reading() as connection:
            recorded = connection.execute("SELECT blob FROM objects UNION SELECT blob FROM parts").fetchall()
        self._blobs.keep_only(row["blob"] for row in recorded)
        self._listeners: list[Callable[[ObjectEvent], None]] = []

    def close(self) -> None:
        """Close the index. Idempotent."""
        self._database.close()

    def listen(self, listener: Callable[[ObjectEvent], None]) -> Callable[[], None]:
        """Call a listener after each event, on the changing thread; returns a function that removes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # --- buckets

    def create_bucket(self, name: str) -> Bucket:
        """Create a bucket, or return the existing one.

        Raises:
            OssError: `InvalidBucketName`.
        """
        check_bucket_name(name)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO buckets VALUES (?, ?)", (name, self.clock()))
            return _bucket(connection, name)

    def delete_bucket(self, name: str) -> None:
        """Delete a bucket.

        Raises:
            OssError: `NoSuchBucket`, or `BucketNotEmpty` if it has objects or uploads.
        """
        with self._database.transaction() as connection:
            _bucket(connection, name)
            for query in (
                "SELECT 1 FROM objects WHERE bucket = ?",
                "SELECT 1 FROM uploads WHERE bucket = ?",
            ):
                if connection.execute(query, (name,)).fetchone():
                    raise OssError("BucketNotEmpty", BucketName=name)
            connection.execute("DELETE FROM buckets WHERE name = ?", (name,))

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            OssError: `NoSuchBucket`.
        """
        with self._database.reading() as connection:
            return _bucket(connection, name)

    def buckets(self) -> list[Bucket]:
        """Return all buckets, sorted by name."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM buckets ORDER BY name").fetchall()
        return [Bucket(row["name"], row["created"]) for row in rows]

    # --- objects

    def write(self) -> BlobWriter:
        """Start to write the content of an object or a part, for `put` or `put_part`."""
        return self._blobs.write()

    def put(
        self,
        bucket: str,
        key: str,
        content: BlobWriter,
        headers: Mapping[str, str] | None = None,
        *,
        overwrite: bool = True,
        request_id: str = "",
    ) -> StoredObject:
        """Create or replace an object.

        Args:
            bucket: Name of the bucket.
            key: Name of the object.
            content: Its complete content.
            headers: Response headers, by lower-case name.
            overwrite: Whether it may replace an existing object.
            request_id: Id of the request, for the event.

        Raises:
            OssError: `NoSuchBucket`, `InvalidObjectName` or `FileAlreadyExists`.
        """
        check_key(key)
        content.finish()
        new = _Content(
            blob=content.name,
            size=content.size,
            etag=content.etag,
            crc64=content.crc64,
            type="Normal",
            headers=headers or {},
        )
        stored, growth = self._record(bucket, key, new, overwrite=overwrite)
        self._announce(_object_event(stored, "ObjectCreated:PutObject", growth, request_id))
        return stored

    def get(self, bucket: str, key: str) -> StoredObject:
        """Return an object.

        Raises:
            OssError: `NoSuchBucket` or `NoSuchKey`.
        """
        with self._database.reading() as connection:
            _bucket(connection, bucket)
            row = _object_row(connection, bucket, key)
        if row is None:
            raise OssError("NoSuchKey", Key=key)
        return self._stored(row)

    def open(self, bucket: str, key: str) -> tuple[StoredObject, BinaryIO]:
        """Return an object and its open file, which stays readable if the object is replaced or deleted.

        Raises:
            OssError: `NoSuchBucket` or `NoSuchKey`.
        """
        while True:
            stored = self.get(bucket, key)
            try:
                return stored, stored.path.open("rb")
            except FileNotFoundError:
                continue  # the object was just replaced

    def delete(self, bucket: str, keys: Iterable[str], event: str, request_id: str = "") -> None:
        """Delete objects; missing ones cause neither an error nor an event.

        Args:
            bucket: Name of the bucket.
            keys: Names of the objects.
            event: Name of the event: `DeleteObject` or `DeleteObjects`.
            request_id: Id of the request, for the events.

        Raises:
            OssError: `NoSuchBucket`.
        """
        deleted = []
        with self._database.transaction() as connection:
            _bucket(connection, bucket)
            for key in keys:
                if row := _object_row(connection, bucket, key):
                    deleted.append(row)
                    connection.execute(
                        "DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key.encode())
                    )
        self._blobs.remove(row["blob"] for row in deleted)
        for row in deleted:
            stored = self._stored(row)
            self._announce(_object_event(stored, f"ObjectRemoved:{event}", -stored.size, request_id))

    def list_objects(
        self, bucket: str, *, prefix: str = "", delimiter: str = "", position: bytes = b"", limit: int = 100
    ) -> Listing:
        """Return a page of the objects of a bucket.

        Args:
            bucket: Name of the bucket.
            prefix: Prefix of the objects' names.
            delimiter: Groups names that contain it after the prefix; a group's name ends with it.
            position: First name, as bytes; see `Listing.next_position`.
            limit: Maximum number of objects and groups.

        Raises:
            OssError: `NoSuchBucket`.
        """
        objects: list[StoredObject] = []
        prefixes: list[str] = []
        position = max(position, prefix.encode())
        query = "SELECT * FROM objects WHERE bucket = ? AND key >= ? ORDER BY key LIMIT 1000"
        with self._database.reading() as connection:
            _bucket(connection, bucket)
            while True:
                rows = connection.execute(query, (bucket, position)).fetchall()
                for row in rows:
                    if row["key"] < position:
                        continue  # its group is already listed
                    key = row["key"].decode()
                    if not key.startswith(prefix):
                        return Listing(objects, prefixes, None)
                    if len(objects) + len(prefixes) == limit:
                        return Listing(objects, prefixes, position)
                    name, separator, _ = (
                        key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                    )
                    if separator:
                        prefixes.append(prefix + name + delimiter)
                        position = _after_prefix(prefixes[-1].encode())
                    else:
                        objects.append(self._stored(row))
                        position = row["key"] + b"\0"
                if not rows:
                    return Listing(objects, prefixes, None)

    # --- multipart uploads

    def initiate(
        self, bucket: str, key: str, headers: Mapping[str, str] | None = None, request_id: str = ""
    ) -> Upload:
        """Start a multipart upload.

        Raises:
            OssError: `NoSuchBucket` or `InvalidObjectName`.
        """
        upload = Upload(secrets.token_hex(16).upper(), bucket, check_key(key), headers or {})
        with self._database.transaction() as connection:
            _bucket(connection, bucket)
            row = (upload.id, bucket, key.encode(), json.dumps(dict(upload.headers)))
            connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?)", row)
        self._announce(_upload_event(upload, "ObjectCreated:InitiateMultipartUpload", request_id))
        return upload

    def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Return a multipart upload in progress.

        Raises:
            OssError: `NoSuchBucket` or `NoSuchUpload`.
        """
        with self._database.reading() as connection:
            return _upload(connection, bucket, key, upload_id)

    def uploads(self, bucket: str) -> list[Upload]:
        """Return the multipart uploads in progress, sorted by key and id."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, key, headers FROM uploads WHERE bucket = ? ORDER BY key, id", (bucket,)
            ).fetchall()
        return [Upload(row["id"], bucket, row["key"].decode(), json.loads(row["headers"])) for row in rows]

    def put_part(self, upload: Upload, number: int, content: BlobWriter, request_id: str = "") -> Part:
        """Add or replace a part.

        Raises:
            OssError: `NoSuchUpload`.
        """
        content.finish()
        part = Part(
            number=number,
            path=self._blobs.path(content.name),
            size=content.size,
            etag=content.etag,
            crc64=content.crc64,
            modified=self.clock(),
        )
        row = (upload.id, number, content.name, part.size, part.etag, part.crc64, part.modified)
        with self._remove_unless_recorded(content.name), self._database.transaction() as connection:
            _upload(connection, upload.bucket, upload.key, upload.id)
            old = connection.execute(
                "SELECT blob FROM parts WHERE upload = ? AND number = ?", (upload.id, number)
            ).fetchone()
            connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if old:
            self._blobs.remove([old["blob"]])
        self._announce(_upload_event(upload, "ObjectCreated:UploadPart", request_id, part))
        return part

    def parts(self, upload: Upload) -> list[Part]:
        """Return the parts of an upload, sorted by number."""
        with self._database.reading() as connection:
            return self._parts(connection, upload)

    def complete(
        self,
        upload: Upload,
        chosen: Sequence[tuple[int, str]],
        *,
        overwrite: bool = True,
        request_id: str = "",
    ) -> StoredObject:
        """Create an object from chosen parts; the other parts are discarded.

        Args:
            upload: The upload to complete.
            chosen: Number and ETag of each part; empty for all parts.
            overwrite: Whether the object may replace an existing one.
            request_id: Id of the request, for the event.

        Raises:
            OssError: `NoSuchUpload`, `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall` or
                `FileAlreadyExists`.
        """
        uploaded = {part.number: part for part in self.parts(upload)}
        chosen = chosen or [(part.number, part.etag) for part in uploaded.values()]
        numbers = [number for number, _ in chosen]
        if numbers != sorted(set(numbers)):
            raise OssError("InvalidPartOrder")
        if not chosen or any(
            number not in uploaded or uploaded[number].etag != etag for number, etag in chosen
        ):
            raise OssError("InvalidPart")
        parts = [uploaded[number] for number in numbers]
        for part in parts[:-1]:
            if part.size < MIN_PART_BYTES:
                raise OssError("EntityTooSmall", PartNumber=str(part.number), ETag=part.etag)
        with self._blobs.write() as content:
            for part in parts:
                content.append(part.path)
            content.finish()
        etag = multipart_etag([part.etag for part in parts])
        new = _Content(
            blob=content.name,
            size=content.size,
            etag=etag,
            crc64=content.crc64,
            type="Multipart",
            headers=upload.headers,
        )
        stored, growth = self._record(upload.bucket, upload.key, new, overwrite=overwrite, upload=upload)
        self._blobs.remove(part.path.name for part in uploaded.values())
        self._announce(_object_event(stored, "ObjectCreated:CompleteMultipartUpload", growth, request_id))
        return stored

    def abort(self, upload: Upload, request_id: str = "") -> None:
        """Abort a multipart upload.

        Raises:
            OssError: `NoSuchUpload`.
        """
        with self._database.transaction() as connection:
            parts = self._parts(connection, upload)
            _end_upload(connection, upload)
        self._blobs.remove(part.path.name for part in parts)
        self._announce(_upload_event(upload, "ObjectRemoved:AbortMultipartUpload", request_id))

    # --- helpers

    def _record(
        self, bucket: str, key: str, new: _Content, *, overwrite: bool = True, upload: Upload | None = None
    ) -> tuple[StoredObject, int]:
        """Create or replace an object; returns it and the growth of the bucket in bytes."""
        with self._remove_unless_recorded(new.blob), self._database.transaction() as connection:
            _bucket(connection, bucket)
            old = _object_row(connection, bucket, key)
            if old and not overwrite:
                raise OssError("FileAlreadyExists", Key=key)
            if upload:
                _end_upload(connection, upload)
            connection.execute(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(bucket, key.encode(), new.blob, new.size, new.etag, new.crc64),
                    *(self.clock(), new.type, json.dumps(dict(new.headers))),
                ),
            )
            row = _object_row(connection, bucket, key)
        if old:
            self._blobs.remove([old["blob"]])
        return self._stored(row), new.size - (old["size"] if old else 0)

    @contextmanager
    def _remove_unless_recorded(self, blob: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._blobs.remove([blob])
            raise

    def _stored(self, row: Any) -> StoredObject:
        return StoredObject(
            bucket=row["bucket"],
            key=row["key"].decode(),
            path=self._blobs.path(row["blob"]),
            size=row["size"],
            etag=row["etag"],
            crc64=row["crc64"],
            modified=row["modified"],
            type=row["type"],
            headers=json.loads(row["headers"]),
        )

    def _parts(self, connection: sqlite3.Connection, upload: Upload) -> list[Part]:
        rows = connection.execute(
            "SELECT number, blob, size, etag, crc64, modified FROM parts WHERE upload = ? ORDER BY number",
            (upload.id,),
        )
        return [
            Part(
                number=row["number"],
                path=self._blobs.path(row["blob"]),
                size=row["size"],
                etag=row["etag"],
                crc64=row["crc64"],
                modified=row["modified"],
            )
            for row in rows
        ]

    def _announce(self, event: ObjectEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """New content of an object."""

    blob: str
    size: int
    etag: str
    crc64: str
    type: Literal["Normal", "Multipart"]
    headers: Mapping[str, str]


def _bucket(connection: sqlite3.Connection, name: str) -> Bucket:
    row = connection.execute("SELECT * FROM buckets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise OssError("NoSuchBucket", BucketName=name)
    return Bucket(row["name"], row["created"])


def _object_row(connection: sqlite3.Connection, bucket: str, key: str) -> Any:
    query = "SELECT * FROM objects WHERE bucket = ? AND key = ?"
    return connection.execute(query, (bucket, key.encode())).fetchone()


def _upload(connection: sqlite3.Connection, bucket: str, key: str, upload_id: str) -> Upload:
    _bucket(connection, bucket)
    query = "SELECT headers FROM uploads WHERE id = ? AND bucket = ? AND key = ?"
    row = connection.execute(query, (upload_id, bucket, key.encode())).fetchone()
    if row is None:
        raise OssError("NoSuchUpload", UploadId=upload_id)
    return Upload(upload_id, bucket, key, json.loads(row["headers"]))


def _end_upload(connection: sqlite3.Connection, upload: Upload) -> None:
    """Delete an upload and its parts."""
    if not connection.execute("DELETE FROM uploads WHERE id = ?", (upload.id,)).rowcount:
        raise OssError("NoSuchUpload", UploadId=upload.id)


def _after_prefix(prefix: bytes) -> bytes:
    """Return the first bytes after all names with this prefix; UTF-8 never ends with 0xFF."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _object_event(stored: StoredObject, name: str, growth: int, request_id: str) -> ObjectEvent:
    return ObjectEvent(
        bucket=stored.bucket,
        key=stored.key,
        name=name,
        size=stored.size,
        delta=growth,
        etag=stored.etag,
        mime_type=_mime_type(stored.headers),
        user_meta=_user_meta(stored.headers),
        request_id=request_id,
    )


def _upload_event(upload: Upload, name: str, request_id: str, part: Part | None = None) -> ObjectEvent:
    event = ObjectEvent(
        bucket=upload.bucket,
        key=upload.key,
        name=name,
        mime_type=_mime_type(upload.headers),
        user_meta=_user_meta(upload.headers),
        request_id=request_id,
    )
    return replace(event, size=part.size, delta=part.size, etag=part.etag) if part else event


def _mime_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", DEFAULT_MIME_TYPE)


def _user_meta(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith(USER_META)}
