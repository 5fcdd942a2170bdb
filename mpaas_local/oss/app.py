"""The service's HTTP interface as an ASGI application; the official SDKs work with it unchanged.

A signed request becomes an `OssCall`. An operation responds to it or raises `OssError`, which becomes an XML
error. Bodies are streamed to and from disk on worker threads.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, unquote_to_bytes

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mpaas_local.breakable import ConnectionReset, CutResponse
from mpaas_local.loopback import LoopbackOnly
from mpaas_local.oss import documents, injected_faults
from mpaas_local.oss.authentication import Authenticator
from mpaas_local.oss.blobs import CHUNK_BYTES
from mpaas_local.oss.errors import OssError
from mpaas_local.oss.injected_faults import ObjectFaults
from mpaas_local.oss.model import (
    DEFAULT_MIME_TYPE,
    MAX_OBJECT_BYTES,
    MAX_PART_NUMBER,
    USER_META,
    check_bucket_name,
    check_key,
)
from mpaas_local.oss.ranges import ByteRange, check_conditions, requested_range
from mpaas_local.oss.signature import Signable
from mpaas_local.oss.view import VIEW, view
from mpaas_local.request_body import read_body
from mpaas_local.xml_text import write_xml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from typing import BinaryIO
    from xml.etree.ElementTree import Element

    from starlette.types import Receive, Scope, Send

    from mpaas_local.access_keys import AccessKey
    from mpaas_local.account import Account
    from mpaas_local.oss.blobs import BlobWriter
    from mpaas_local.oss.injected_faults import FaultOrder
    from mpaas_local.oss.model import StoredObject, Upload
    from mpaas_local.oss.store import OssStore

    Operation = Callable[["OssCall"], Awaitable[Response]]

__all__ = ["MAX_DOCUMENT_BYTES", "OssApp"]

MAX_DOCUMENT_BYTES = 2 << 20
"""Maximum size of an XML request body, in bytes."""

_logger = logging.getLogger(__name__)
_METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]
_OPERATION_NAME = re.compile(
    "acl|append|bucketInfo|cors|delete|encryption|lifecycle|list-type|location|logging|objectMeta|partNumber"
    "|policy|referer|replication|requestPayment|resourceGroup|restore|stat|style|symlink|tagging"
    "|transferAcceleration|uploadId|uploads|versioning|versions|website|worm|x-oss-process"
)
"""Query parameters that select an operation."""
_STORED_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    }
)
"""Request headers that are stored with an object, in addition to user metadata."""


@dataclass(frozen=True, kw_only=True)
class OssCall:
    """An authenticated request.

    Attributes:
        request: The HTTP request.
        id: `x-oss-request-id`.
        bucket: Empty for a request to the service itself.
        key: Empty for a request to the bucket itself.
        query: Decoded query parameters.
    """

    request: Request
    id: str
    bucket: str
    key: str
    query: Mapping[str, str]

    @property
    def headers(self) -> Mapping[str, str]:
        """The request headers, by lower-case name."""
        return self.request.headers

    @property
    def stored_headers(self) -> dict[str, str]:
        """Request headers that are stored with the object and returned with it."""
        return {
            name: value
            for name, value in self.headers.items()
            if name in _STORED_HEADERS or name.startswith(USER_META)
        }

    @property
    def may_overwrite(self) -> bool:
        """Whether the request may replace an object."""
        return self.headers.get("x-oss-forbid-overwrite", "").lower() != "true"

    def number(self, name: str, default: int, high: int) -> int:
        """An integer query parameter, from 1 (a marker: from 0) to `high`.

        Raises:
            OssError: `InvalidArgument`.
        """
        text = self.query.get(name, str(default))
        low = 0 if name.endswith("marker") else 1
        if not (re.fullmatch("[0-9]{1,9}", text) and low <= int(text) <= high):
            raise OssError(
                "InvalidArgument",
                f"Argument {name} must be an integer between {low} and {high}.",
                ArgumentName=name,
                ArgumentValue=text,
            )
        return int(text)

    async def read_document(self) -> bytes:
        """Read the body, which is XML.

        Raises:
            OssError: `EntityTooLarge` or `InvalidDigest`.
        """
        body = await read_body(self.request, MAX_DOCUMENT_BYTES)
        if body is None:
            raise OssError("EntityTooLarge")
        self.check_md5(hashlib.md5(body, usedforsecurity=False).digest())
        return body

    async def save(self, content: BlobWriter) -> None:
        """Write the body to disk.

        Raises:
            OssError: `MissingContentLength`, `EntityTooLarge` or `InvalidDigest`.
        """
        if "content-length" not in self.headers and "transfer-encoding" not in self.headers:
            raise OssError("MissingContentLength")
        buffer = bytearray()
        async for chunk in self.request.stream():
            buffer += chunk
            if content.size + len(buffer) > MAX_OBJECT_BYTES:
                raise OssError("EntityTooLarge", MaxSizeAllowed=str(MAX_OBJECT_BYTES))
            if len(buffer) >= CHUNK_BYTES:
                await run_in_threadpool(content.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(content.write, bytes(buffer))
        self.check_md5(content.md5)

    def check_md5(self, digest: bytes) -> None:
        """Compare the digest of the body with `Content-MD5`, if it was sent.

        Raises:
            OssError: `InvalidDigest`.
        """
        header = self.headers.get("content-md5")
        if header is not None and header != base64.b64encode(digest).decode():
            raise OssError("InvalidDigest")


class OssApp(Starlette):
    """The application.

    Args:
        store: Holds the buckets; the application does not close it.
        access_keys: The accepted keys, by access key id.
        account: The owner of the buckets, and the only region that a V4 signature may name.

    Attributes:
        faults: The ordered faults.
    """

    def __init__(
        self,
        store: OssStore,
        access_keys: Mapping[str, AccessKey],
        account: Account,
    ) -> None:
        self.faults = ObjectFaults()
        self._store = store
        self._authenticator = Authenticator(access_keys, account.region)
        buckets, objects, uploads = _Buckets(store, account), _Objects(store), _Uploads(store)
        self._operations: Mapping[tuple[str, str, frozenset[str]], Operation] = {
            (level, method, frozenset(names.split())): operation
            for level, method, names, operation in (
                ("service", "GET", "", buckets.list),
                ("bucket", "PUT", "", buckets.put),
                ("bucket", "DELETE", "", buckets.delete),
                ("bucket", "GET", "acl", buckets.acl),
                ("bucket", "GET", "bucketInfo", buckets.info),
                ("bucket", "GET", "location", buckets.location),
                ("bucket", "GET", "list-type", buckets.list_objects),
                ("bucket", "POST", "delete", objects.delete_many),
                ("object", "PUT", "", objects.put),
                ("object", "GET", "", objects.get),
                ("object", "HEAD", "", objects.head),
                ("object", "HEAD", "objectMeta", objects.meta),
                ("object", "DELETE", "", objects.delete),
                ("object", "POST", "uploads", uploads.initiate),
                ("object", "PUT", "partNumber uploadId", uploads.put_part),
                ("object", "GET", "uploadId", uploads.list_parts),
                ("object", "POST", "uploadId", uploads.complete),
                ("object", "DELETE", "uploadId", uploads.abort),
            )
        }
        super().__init__(
            routes=[Route("/{anything:path}", self._endpoint, methods=_METHODS)],
            middleware=[Middleware(LoopbackOnly, subdomains=True)],
        )
        # Starlette builds the redirect from the Host header, which the client controls.
        self.router.redirect_slashes = False

    async def _endpoint(self, request: Request) -> Response:
        request_id = secrets.token_hex(12).upper()
        try:
            response = await self._respond(request, request_id)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody reads it
        except OssError as error:
            response = _error_response(error, request, request_id)
        except Exception:  # the client gets an error document, the log gets the traceback
            _logger.exception("%s %s", request.method, request.url.path)
            response = _error_response(OssError("InternalError"), request, request_id)
        response.headers.update(
            {"server": "AliyunOSS", "x-oss-request-id": request_id, "x-oss-server-time": "1"}
        )
        return response

    async def _respond(self, request: Request, request_id: str) -> Response:
        bucket, key = _resource(request)
        query = _query(request)
        if bucket == VIEW:
            return await view(request, key, dict(query), self._store, self.faults)
        headers = dict(request.headers)
        signed = Signable(
            method=request.method, bucket=bucket or None, key=key or None, query=query, headers=headers
        )
        self._authenticator.authenticate(signed, self._store.clock())
        names = frozenset(name for name, _ in query if _OPERATION_NAME.fullmatch(name))
        level = "object" if key else "bucket" if bucket else "service"
        operation = self._operations.get((level, request.method, names))
        if operation is None:
            resources = {(level, names) for level, _, names in self._operations}
            raise OssError("MethodNotAllowed" if (level, names) in resources else "NotImplemented")
        if bucket:
            check_bucket_name(bucket)
        if key:
            check_key(key)
        call = OssCall(request=request, id=request_id, bucket=bucket, key=key, query=dict(query))
        strike = self.faults.strike(signed)
        return await (_respond_with_fault(strike.fault, operation, call) if strike else operation(call))


async def _respond_with_fault(fault: FaultOrder, operation: Operation, call: OssCall) -> Response:
    """Respond with an ordered fault."""
    match fault:
        case injected_faults.ServiceUnavailable():
            raise OssError("ServiceUnavailable")
        case injected_faults.InternalError():
            raise OssError("InternalError")
        case injected_faults.Delay():
            await anyio.sleep(fault.milliseconds / 1000)
            return await operation(call)
        case injected_faults.CutBody():
            return CutResponse(await operation(call))
        case injected_faults.Reset():
            if fault.accept and call.request.method not in {"GET", "HEAD"}:
                await operation(call)
            return ConnectionReset()


class _Buckets:
    """Operations on buckets."""

    def __init__(self, store: OssStore, account: Account) -> None:
        self._store = store
        self._account = account

    async def list(self, call: OssCall) -> Response:
        buckets = await run_in_threadpool(self._store.buckets)
        return _xml(documents.bucket_list(buckets, self._account, _host(call.request)))

    async def put(self, call: OssCall) -> Response:
        await call.read_document()
        await run_in_threadpool(self._store.create_bucket, call.bucket)
        return Response(headers={"location": f"/{call.bucket}"})

    async def delete(self, call: OssCall) -> Response:
        await run_in_threadpool(self._store.delete_bucket, call.bucket)
        return Response(status_code=204)

    async def acl(self, call: OssCall) -> Response:
        await run_in_threadpool(self._store.bucket, call.bucket)
        return _xml(documents.bucket_acl(self._account))

    async def info(self, call: OssCall) -> Response:
        bucket = await run_in_threadpool(self._store.bucket, call.bucket)
        return _xml(documents.bucket_info(bucket, self._account, _host(call.request)))

    async def location(self, call: OssCall) -> Response:
        await run_in_threadpool(self._store.bucket, call.bucket)
        return _xml(documents.bucket_location(self._account))

    async def list_objects(self, call: OssCall) -> Response:
        query = call.query
        if query["list-type"] != "2":
            raise OssError("NotImplemented")
        limit = call.number("max-keys", 100, 1000)
        position = query.get("start-after", "").encode()
        if position:
            position += b"\0"
        if token := query.get("continuation-token"):
            try:
                position = base64.b64decode(token, altchars=b"-_", validate=True)
            except ValueError:
                raise OssError("InvalidArgument", "The continuation-token is invalid.") from None
        listing = await run_in_threadpool(
            lambda: self._store.list_objects(
                call.bucket,
                prefix=query.get("prefix", ""),
                delimiter=query.get("delimiter", ""),
                position=position,
                limit=limit,
            )
        )
        return _xml(documents.object_list(call.bucket, listing, query, limit, self._account))


class _Objects:
    """Operations on objects."""

    def __init__(self, store: OssStore) -> None:
        self._store = store

    async def put(self, call: OssCall) -> Response:
        if "x-oss-copy-source" in call.headers:
            raise OssError("NotImplemented")
        await run_in_threadpool(self._store.bucket, call.bucket)
        with self._store.write() as content:
            await call.save(content)
            stored = await run_in_threadpool(
                lambda: self._store.put(
                    call.bucket,
                    call.key,
                    content,
                    call.stored_headers,
                    overwrite=call.may_overwrite,
                    request_id=call.id,
                )
            )
        headers = {"etag": f'"{stored.etag}"', "x-oss-hash-crc64ecma": content.crc64}
        return Response(headers={**headers, "content-md5": base64.b64encode(content.md5).decode()})

    async def get(self, call: OssCall) -> Response:
        stored, file = await run_in_threadpool(self._store.open, call.bucket, call.key)
        try:
            check_conditions(call.headers, stored)
            byte_range = requested_range(call.headers, stored.size)
        except OssError:
            file.close()
            raise
        headers = _object_headers(stored)
        for name, value in call.query.items():
            if name.startswith("response-"):
                headers[name.removeprefix("response-")] = value
        if byte_range is None:
            status, byte_range = 200, ByteRange(0, stored.size)
        else:
            status, headers["content-range"] = 206, byte_range.content_range(stored.size)
        headers["content-length"] = str(byte_range.size)
        return _FileResponse(file, byte_range, status, headers)

    async def head(self, call: OssCall) -> Response:
        stored = await run_in_threadpool(self._store.get, call.bucket, call.key)
        check_conditions(call.headers, stored)
        return Response(headers={**_object_headers(stored), "content-length": str(stored.size)})

    async def meta(self, call: OssCall) -> Response:
        stored = await run_in_threadpool(self._store.get, call.bucket, call.key)
        names = ("etag", "last-modified", "x-oss-hash-crc64ecma")
        headers = {name: value for name, value in _object_headers(stored).items() if name in names}
        return Response(headers={**headers, "content-length": str(stored.size)})

    async def delete(self, call: OssCall) -> Response:
        await run_in_threadpool(self._store.delete, call.bucket, [call.key], "DeleteObject", call.id)
        return Response(status_code=204)

    async def delete_many(self, call: OssCall) -> Response:
        keys, quiet = documents.read_deletion(await call.read_document())
        await run_in_threadpool(self._store.delete, call.bucket, keys, "DeleteObjects", call.id)
        return _xml(documents.deleted_objects(() if quiet else keys, call.query))


class _Uploads:
    """Operations on multipart uploads."""

    def __init__(self, store: OssStore) -> None:
        self._store = store

    async def initiate(self, call: OssCall) -> Response:
        upload = await run_in_threadpool(
            self._store.initiate, call.bucket, call.key, call.stored_headers, call.id
        )
        return _xml(documents.initiated_upload(upload, call.query))

    async def put_part(self, call: OssCall) -> Response:
        if "x-oss-copy-source" in call.headers:
            raise OssError("NotImplemented")
        number = call.number("partNumber", 0, MAX_PART_NUMBER)
        upload = await self._upload(call)
        with self._store.write() as content:
            await call.save(content)
            part = await run_in_threadpool(self._store.put_part, upload, number, content, call.id)
        return Response(headers={"etag": f'"{part.etag}"', "x-oss-hash-crc64ecma": part.crc64})

    async def list_parts(self, call: OssCall) -> Response:
        limit = call.number("max-parts", 1000, 1000)
        marker = call.number("part-number-marker", 0, MAX_PART_NUMBER)
        upload = await self._upload(call)
        parts = await run_in_threadpool(self._store.parts, upload)
        return _xml(documents.part_list(upload, parts, marker, limit, call.query))

    async def complete(self, call: OssCall) -> Response:
        body = await call.read_document()
        all_parts = call.headers.get("x-oss-complete-all", "").lower() == "yes"
        parts = [] if all_parts else documents.read_parts(body)
        if not (parts or all_parts):
            raise OssError("MalformedXML")
        upload = await self._upload(call)
        stored = await run_in_threadpool(
            lambda: self._store.complete(upload, parts, overwrite=call.may_overwrite, request_id=call.id)
        )
        location = f"http://{_host(call.request)}{quote(call.request.url.path)}"
        response = _xml(documents.completed_upload(stored, location, call.query))
        response.headers["x-oss-hash-crc64ecma"] = stored.crc64
        return response

    async def abort(self, call: OssCall) -> Response:
        await run_in_threadpool(self._store.abort, await self._upload(call), call.id)
        return Response(status_code=204)

    async def _upload(self, call: OssCall) -> Upload:
        return await run_in_threadpool(self._store.upload, call.bucket, call.key, call.query["uploadId"])


class _FileResponse(StreamingResponse):
    """A range of a file, which is closed even if the client disconnects."""

    def __init__(
        self, file: BinaryIO, byte_range: ByteRange, status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(_read(file, byte_range), status, headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response and close the file."""
        with self._file:
            await super().__call__(scope, receive, send)


async def _read(file: BinaryIO, byte_range: ByteRange) -> AsyncIterator[bytes]:
    await run_in_threadpool(file.seek, byte_range.first)
    remaining = byte_range.size
    while remaining:
        chunk = await run_in_threadpool(file.read, min(remaining, CHUNK_BYTES))
        if not chunk:
            raise EOFError(f"{remaining} bytes are missing")
        remaining -= len(chunk)
        yield chunk


def _object_headers(stored: StoredObject) -> dict[str, str]:
    headers = {
        "content-type": DEFAULT_MIME_TYPE,
        **stored.headers,
        "accept-ranges": "bytes",
        "etag": f'"{stored.etag}"',
        "last-modified": formatdate(int(stored.modified), usegmt=True),
        "x-oss-object-type": stored.type,
        "x-oss-storage-class": "Standard",
        "x-oss-hash-crc64ecma": stored.crc64,
    }
    if stored.content_md5 is not None:
        headers["content-md5"] = stored.content_md5
    return headers


def _resource(request: Request) -> tuple[str, str]:
    """Return bucket and key of a request; the bucket is a subdomain or the first segment of the path.

    Raises:
        OssError: `InvalidObjectName` if the key is not UTF-8.
    """
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = raw.split(b"?", 1)[0].decode("latin-1").removeprefix("/")
    subdomain, dot, _ = _host(request).rpartition(".localhost")
    if dot:
        bucket, encoded = subdomain, path
    else:
        bucket, _, encoded = path.partition("/")
    try:
        return unquote(bucket), unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        raise OssError("InvalidObjectName") from None


def _query(request: Request) -> list[tuple[str, str]]:
    """Return the decoded query parameters; a `+` is a plus sign, as in signatures."""
    text = request.scope["query_string"].decode("latin-1")
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in pairs]


def _host(request: Request) -> str:
    return request.headers.get("host", "127.0.0.1")


def _xml(root: Element, status: int = 200) -> Response:
    return Response(write_xml(root), status, media_type="application/xml")


def _error_response(error: OssError, request: Request, request_id: str) -> Response:
    """Return an error; a response to HEAD, which has no body, has it in a header."""
    document = documents.error_document(error, request_id, _host(request))
    if error.code == "NotModified":
        response = Response(status_code=304)
    elif request.method == "HEAD":
        response = Response(status_code=error.status)
        response.headers["x-oss-err"] = base64.b64encode(write_xml(document)).decode()
    else:
        response = _xml(document, error.status)
    if error.ec:
        response.headers["x-oss-ec"] = error.ec
    return response
