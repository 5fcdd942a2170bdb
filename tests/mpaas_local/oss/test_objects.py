"""Buckets and objects with the official SDK."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
import pytest

from mpaas_local.oss import ObjectEvent, OssError, OssServer, OssStore
from tests.mpaas_local.oss.sdk import connect, get, keys, put, refused

if TYPE_CHECKING:
    from pathlib import Path

MANY_BYTES = bytes(range(256)) * 4096
"""1 MiB, more than one read or write."""


def test_an_object_is_returned_as_it_was_uploaded(client: Any) -> None:
    result = put(
        client,
        "source/a.bin",
        MANY_BYTES,
        content_type="application/zip",
        cache_control="no-cache",
        metadata={"user": "user-1"},
    )

    etag = f'"{hashlib.md5(MANY_BYTES).hexdigest().upper()}"'
    assert result.etag == etag
    assert len(result.request_id) == 24
    response = get(client, "source/a.bin")
    assert response.body.content == MANY_BYTES
    assert (response.status_code, response.etag, response.content_length) == (200, etag, len(MANY_BYTES))
    assert (response.content_type, response.cache_control) == ("application/zip", "no-cache")
    assert response.metadata == {"user": "user-1"}
    assert response.object_type == "Normal"
    assert response.hash_crc64 == result.hash_crc64
    assert abs(response.last_modified - datetime.now(timezone.utc)) < timedelta(minutes=1)
    head = client.head_object(oss.HeadObjectRequest(bucket="media", key="source/a.bin"))
    assert (head.content_length, head.etag, head.metadata) == (len(MANY_BYTES), etag, {"user": "user-1"})
    meta = client.get_object_meta(oss.GetObjectMetaRequest(bucket="media", key="source/a.bin"))
    assert (meta.content_length, meta.etag) == (len(MANY_BYTES), etag)


def test_an_upload_is_streamed(client: Any) -> None:
    result = put(client, "stream", io.BytesIO(MANY_BYTES))  # type: ignore[arg-type]  # the SDK reads streams, too

    assert get(client, "stream").body.content == MANY_BYTES
    assert result.hash_crc64 == get(client, "stream").hash_crc64


def test_an_object_can_be_empty(client: Any) -> None:
    put(client, "empty", b"")

    assert get(client, "empty").body.content == b""
    assert get(client, "empty").etag == '"D41D8CD98F00B204E9800998ECF8427E"'


@pytest.mark.parametrize(
    ("range_header", "behaviour", "status", "expected", "content_range"),
    [
        ("bytes=0-3", None, 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-", None, 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", None, 206, b"789", "bytes 7-9/10"),
        ("bytes=0-1,4-5", None, 206, b"01", "bytes 0-1/10"),
        ("bytes=5-20", None, 200, b"0123456789", None),
        ("bytes=10-", None, 200, b"0123456789", None),
        ("bytes=-20", None, 200, b"0123456789", None),
        ("bytes=5-20", "standard", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-20", "standard", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=3-1", "standard", 200, b"0123456789", None),
    ],
)
def test_a_range_is_returned(
    client: Any,
    range_header: str,
    behaviour: str | None,
    status: int,
    expected: bytes,
    content_range: str | None,
) -> None:
    put(client, "digits", b"0123456789")

    response = get(client, "digits", range_header=range_header, range_behavior=behaviour)

    assert (response.status_code, response.body.content) == (status, expected)
    assert response.content_range == content_range


@pytest.mark.parametrize("range_header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_a_range_beyond_the_object_is_refused_with_standard_behaviour(client: Any, range_header: str) -> None:
    put(client, "digits", b"0123456789")

    with refused("InvalidRange") as refusal:
        get(client, "digits", range_header=range_header, range_behavior="standard")

    assert refusal.error.status_code == 416
    assert refusal.error.error_fileds["ActualObjectSize"] == "10"


def test_conditions_are_checked(client: Any) -> None:
    etag = put(client, "a").etag
    before, after = "Mon, 01 Jan 2024 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"

    for condition in ({"if_match": etag}, {"if_none_match": '"other"'}, {"if_modified_since": before}):
        assert get(client, "a", **condition).body.content == b"hello"
    for condition in ({"if_match": '"other"'}, {"if_unmodified_since": before}):
        with refused("PreconditionFailed") as refusal:
            get(client, "a", **condition)
        assert refusal.error.status_code == 412
    for condition in ({"if_none_match": etag}, {"if_modified_since": after}):
        with refused("BadErrorResponse") as refusal:  # a 304 has no body
            get(client, "a", **condition)
        assert refusal.error.status_code == 304


def test_if_match_detects_a_replaced_object(client: Any) -> None:
    etag = put(client, "users.csv", b"a\nb\n").etag
    assert get(client, "users.csv", range_header="bytes=0-1", if_match=etag).body.content == b"a\n"

    put(client, "users.csv", b"a\nc\n")

    with refused("PreconditionFailed"):
        get(client, "users.csv", range_header="bytes=2-3", if_match=etag)


def test_missing_objects_and_buckets_are_reported(client: Any) -> None:
    with refused("NoSuchKey") as refusal:
        get(client, "missing")
    assert (refusal.error.status_code, refusal.error.ec) == (404, "0026-00000001")
    assert refusal.error.error_fileds["Key"] == "missing"
    assert refusal.error.request_id == refusal.error.headers["x-oss-request-id"]
    with refused("NoSuchKey"):
        client.head_object(oss.HeadObjectRequest(bucket="media", key="missing"))
    with refused("NoSuchBucket") as refusal:
        client.put_object(oss.PutObjectRequest(bucket="nowhere", key="a", body=b"a"))
    assert refusal.error.ec == "0015-00000101"
    assert not client.is_object_exist("media", "missing")
    assert not client.is_bucket_exist("nowhere")
    assert client.is_bucket_exist("media")


def test_content_md5_is_checked(client: Any, events: list[ObjectEvent]) -> None:
    matching = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()

    put(client, "a", content_md5=matching)
    with refused("InvalidDigest"):
        put(client, "b", content_md5=wrong)

    assert keys(client) == ["a"]
    assert [event.key for event in events] == ["a"]


def test_an_object_is_not_overwritten_if_forbidden(client: Any) -> None:
    put(client, "a", b"one", forbid_overwrite=True)

    with refused("FileAlreadyExists"):
        put(client, "a", b"two", forbid_overwrite=True)

    assert get(client, "a").body.content == b"one"
    put(client, "a", b"three")
    assert get(client, "a").body.content == b"three"


def test_objects_are_deleted(client: Any) -> None:
    for name in ("a", "b & <c>", "d\x0b"):
        put(client, name)

    client.delete_object(oss.DeleteObjectRequest(bucket="media", key="missing"))
    client.delete_object(oss.DeleteObjectRequest(bucket="media", key="a"))
    result = client.delete_multiple_objects(
        oss.DeleteMultipleObjectsRequest(
            bucket="media", objects=[oss.DeleteObject(key="b & <c>"), oss.DeleteObject(key="missing")]
        )
    )

    assert [deleted.key for deleted in result.deleted_objects] == ["b & <c>", "missing"]
    assert keys(client) == ["d\x0b"]


def test_pages_of_a_listing_are_sorted_by_bytes_without_duplicates(client: Any) -> None:
    names = ["Z", "a", "a/", "a/b", "ab", "é", "目录/a b.png", "\U0001f600"]
    for name in reversed(names):
        put(client, name)

    assert keys(client, max_keys=3) == names
    assert keys(client, prefix="a/") == ["a/", "a/b"]
    assert keys(client, start_after="a/") == names[3:]
    assert keys(client, prefix="目录/") == ["目录/a b.png"]
    assert keys(client, prefix="b") == []


def test_a_listing_is_grouped_by_a_delimiter(client: Any) -> None:
    for name in ("2025/a", "2026/01/a", "2026/01/b", "2026/02/c", "2026/d", "2026/e", "z"):
        put(client, name)

    def listed(**options: Any) -> list[tuple[list[str], list[str]]]:
        request = oss.ListObjectsV2Request(bucket="media", delimiter="/", **options)
        return [
            (
                [stored.key for stored in page.contents or ()],
                [group.prefix for group in page.common_prefixes or ()],
            )
            for page in client.list_objects_v2_paginator().iter_page(request)
        ]

    assert listed() == [(["z"], ["2025/", "2026/"])]
    assert listed(prefix="2026/") == [(["2026/d", "2026/e"], ["2026/01/", "2026/02/"])]
    assert listed(prefix="2026/", max_keys=3) == [(["2026/d"], ["2026/01/", "2026/02/"]), (["2026/e"], [])]
    assert listed(max_keys=1) == [([], ["2025/"]), ([], ["2026/"]), (["z"], [])]


def test_a_listing_describes_its_objects(client: Any) -> None:
    etag = put(client, "a").etag

    page = client.list_objects_v2(oss.ListObjectsV2Request(bucket="media", fetch_owner=True))

    (stored,) = page.contents
    assert (stored.etag, stored.size, stored.object_type, stored.storage_class) == (
        etag,
        5,
        "Normal",
        "Standard",
    )
    assert stored.owner.id == "1000000000000000"
    assert (page.key_count, page.max_keys, page.is_truncated) == (1, 100, False)
    assert abs(stored.last_modified - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_an_argument_out_of_range_is_refused_by_name(client: Any) -> None:
    with refused("InvalidArgument") as refusal:
        client.list_objects_v2(oss.ListObjectsV2Request(bucket="media", max_keys=1001))

    assert refusal.error.error_fileds["ArgumentName"] == "max-keys"


def test_buckets_are_created_listed_and_deleted(client: Any) -> None:
    client.put_bucket(oss.PutBucketRequest(bucket="audiences"))
    client.put_bucket(oss.PutBucketRequest(bucket="audiences"))

    info = client.get_bucket_info(oss.GetBucketInfoRequest(bucket="audiences")).bucket_info
    assert (info.name, info.location, info.owner.id) == ("audiences", "oss-cn-hangzhou", "1000000000000000")
    assert (
        client.get_bucket_location(oss.GetBucketLocationRequest(bucket="media")).location == "oss-cn-hangzhou"
    )
    assert [bucket.name for bucket in client.list_buckets(oss.ListBucketsRequest()).buckets] == [
        "audiences",
        "media",
    ]
    put(client, "a")
    with refused("BucketNotEmpty"):
        client.delete_bucket(oss.DeleteBucketRequest(bucket="media"))
    client.delete_bucket(oss.DeleteBucketRequest(bucket="audiences"))
    assert not client.is_bucket_exist("audiences")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.put_bucket_acl(oss.PutBucketAclRequest(bucket="media", acl="private")),
        lambda client: client.put_object_acl(oss.PutObjectAclRequest(bucket="media", key="a", acl="private")),
        lambda client: client.get_object_tagging(oss.GetObjectTaggingRequest(bucket="media", key="a")),
        lambda client: client.copy_object(oss.CopyObjectRequest(bucket="media", key="b", source_key="a")),
        lambda client: client.append_object(
            oss.AppendObjectRequest(bucket="media", key="a", position=0, body=b"b")
        ),
    ],
)
def test_an_unsupported_operation_is_refused_and_changes_nothing(client: Any, call: Any) -> None:
    put(client, "a")

    with pytest.raises(oss.exceptions.OperationError) as raised:
        call(client)

    assert raised.value.unwrap().code in {"NotImplemented", "MethodNotAllowed"}
    assert keys(client) == ["a"]
    assert get(client, "a").body.content == b"hello"


def test_uploader_and_downloader_of_the_sdk_agree(client: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(MANY_BYTES)

    uploaded = client.uploader(part_size=300 * 1024).upload_file(
        oss.PutObjectRequest(bucket="media", key="large"), str(source)
    )
    client.downloader(part_size=200 * 1024).download_file(
        oss.GetObjectRequest(bucket="media", key="large"), str(target)
    )

    assert uploaded.upload_id
    assert target.read_bytes() == MANY_BYTES


def test_objects_survive_a_restart(tmp_path: Path) -> None:
    for body in (b"one", b"two"):
        store = OssStore(tmp_path)
        store.create_bucket("media")
        with OssServer(store) as server:
            client = connect(server.endpoint)
            if body == b"one":
                put(client, "a", body, metadata={"user": "user-1"})
            response = get(client, "a")
        store.close()

        assert response.body.content == b"one"
        assert response.metadata == {"user": "user-1"}


def test_unfinished_files_are_removed_at_a_restart(tmp_path: Path) -> None:
    store = OssStore(tmp_path)
    store.create_bucket("media")
    with store.write() as content:
        content.write(b"kept")
        store.put("media", "kept", content)
    store.close()
    folder = tmp_path / "bytes"
    (folder / "unfinished" / "a0").write_bytes(b"half")
    (folder / "b0").mkdir(exist_ok=True)  # the object above may be in it
    (folder / "b0" / "b0").write_bytes(b"complete, but not recorded")

    reopened = OssStore(tmp_path)

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in files] == [b"kept"]
    assert reopened.get("media", "kept").path == files[0]
    reopened.close()


def test_a_replaced_object_stays_readable_for_its_readers(client: Any) -> None:
    put(client, "a", MANY_BYTES)
    response = get(client, "a")

    put(client, "a", b"other")

    assert response.body.content == MANY_BYTES
    assert get(client, "a").body.content == b"other"


def test_concurrent_readers_receive_complete_objects(server: OssServer) -> None:
    bodies = [bytes([number]) * 300_000 for number in range(4)]
    put(connect(server.endpoint), "a", bodies[0])
    stopped = threading.Event()

    def write() -> None:
        client = connect(server.endpoint)
        while not stopped.is_set():
            for body in bodies:
                put(client, "a", body)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        client = connect(server.endpoint)
        for _ in range(30):
            assert get(client, "a").body.content in bodies
    finally:
        stopped.set()
        writer.join()
    assert len(list(server.store.get("media", "a").path.parents[1].glob("??/*"))) == 1


def test_listeners_receive_events(client: Any, events: list[ObjectEvent]) -> None:
    result = put(client, "目录/a b.csv", b"12345", content_type="text/csv", metadata={"user": "user-1"})
    put(client, "目录/a b.csv", b"12")
    client.delete_object(oss.DeleteObjectRequest(bucket="media", key="目录/a b.csv"))
    client.delete_object(oss.DeleteObjectRequest(bucket="media", key="missing"))
    put(client, "b")
    client.delete_multiple_objects(
        oss.DeleteMultipleObjectsRequest(bucket="media", objects=[oss.DeleteObject(key="b")])
    )

    assert events[0] == ObjectEvent(
        bucket="media",
        key="目录/a b.csv",
        name="ObjectCreated:PutObject",
        size=5,
        delta=5,
        etag="827CCB0EEA8A706C4C34A16891F84E7B",
        mime_type="text/csv",
        user_meta={"x-oss-meta-user": "user-1"},
        request_id=result.request_id,
    )
    assert [(event.name, event.key, event.size, event.delta) for event in events[1:]] == [
        ("ObjectCreated:PutObject", "目录/a b.csv", 2, -3),
        ("ObjectRemoved:DeleteObject", "目录/a b.csv", 2, -2),
        ("ObjectCreated:PutObject", "b", 5, 5),
        ("ObjectRemoved:DeleteObjects", "b", 5, -5),
    ]


def test_the_store_refuses_invalid_names(store: OssStore) -> None:
    with pytest.raises(OssError, match="InvalidBucketName"):
        store.create_bucket("No_Bucket")
    with store.write() as content, pytest.raises(OssError, match="InvalidObjectName"):
        store.put("media", "/a", content)
