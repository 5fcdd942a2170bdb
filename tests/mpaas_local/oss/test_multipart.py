"""Multipart uploads with the official SDK."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
import pytest

from mpaas_local.oss.model import MIN_PART_BYTES, multipart_etag
from tests.mpaas_local.oss.sdk import get, keys, put, refused

if TYPE_CHECKING:
    from mpaas_local.oss import ObjectEvent, OssStore

KEY = "目录/large file"
FIRST, SECOND = b"a" * MIN_PART_BYTES, b"the end"


def initiate(client: Any, **options: Any) -> str:
    request = oss.InitiateMultipartUploadRequest(bucket="media", key=KEY, **options)
    upload_id: str = client.initiate_multipart_upload(request).upload_id
    return upload_id


def upload(client: Any, upload_id: str, number: int, body: bytes) -> oss.UploadPart:
    result = client.upload_part(
        oss.UploadPartRequest(bucket="media", key=KEY, upload_id=upload_id, part_number=number, body=body)
    )
    return oss.UploadPart(part_number=number, etag=result.etag)


def complete(client: Any, upload_id: str, *parts: oss.UploadPart, **options: Any) -> Any:
    return client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(
            bucket="media",
            key=KEY,
            upload_id=upload_id,
            complete_multipart_upload=oss.CompleteMultipartUpload(parts=list(parts)),
            **options,
        )
    )


def list_parts(client: Any, upload_id: str, **options: Any) -> Any:
    return client.list_parts(oss.ListPartsRequest(bucket="media", key=KEY, upload_id=upload_id, **options))


def test_completing_an_upload_creates_an_object(
    client: Any, events: list[ObjectEvent], store: OssStore
) -> None:
    upload_id = initiate(client, content_type="text/csv", metadata={"user": "user-1"})
    second = upload(client, upload_id, 7, SECOND)
    first = upload(client, upload_id, 2, FIRST)
    assert keys(client) == []

    result = complete(client, upload_id, first, second)

    response = get(client, KEY)
    assert response.body.content == FIRST + SECOND
    assert (response.content_type, response.metadata, response.object_type) == (
        "text/csv",
        {"user": "user-1"},
        "Multipart",
    )
    assert response.etag == result.etag
    assert (result.key, result.bucket) == (KEY, "media")
    assert result.hash_crc64 == response.hash_crc64
    assert response.hash_crc64 == put(client, "in one request", FIRST + SECOND).hash_crc64
    assert [(event.name, event.size, event.delta) for event in events[:4]] == [
        ("ObjectCreated:InitiateMultipartUpload", 0, 0),
        ("ObjectCreated:UploadPart", len(SECOND), len(SECOND)),
        ("ObjectCreated:UploadPart", len(FIRST), len(FIRST)),
        ("ObjectCreated:CompleteMultipartUpload", len(FIRST + SECOND), len(FIRST + SECOND)),
    ]
    assert events[3].user_meta == {"x-oss-meta-user": "user-1"}
    assert f'"{events[3].etag}"' == result.etag
    files = store.get("media", KEY).path.parents[1].glob("??/*")
    assert len(list(files)) == 2  # both objects, no parts


def test_the_etag_matches_the_documented_example() -> None:
    parts = [
        "3349DC700140D7F86A078484278075A9",
        "8EFDA8BE206636A695359836FE0A0E0A",
        "8C315065167132444177411FDA149B92",
    ]
    assert multipart_etag(parts) == "B864DB6A936D376F9F8D3ED3BBE540DD-3"


def test_a_part_with_the_same_number_is_replaced(client: Any, store: OssStore) -> None:
    upload_id = initiate(client)
    upload(client, upload_id, 1, b"old")
    new = upload(client, upload_id, 1, SECOND)

    complete(client, upload_id, new)

    assert get(client, KEY).body.content == SECOND
    assert len(list(store.get("media", KEY).path.parents[1].glob("??/*"))) == 1


def test_parts_are_listed_in_pages(client: Any) -> None:
    upload_id = initiate(client)
    for number in (1, 2, 10_000):
        upload(client, upload_id, number, SECOND)

    page = list_parts(client, upload_id, max_parts=2)
    last_page = list_parts(client, upload_id, part_number_marker=page.next_part_number_marker)

    assert [part.part_number for part in page.parts] == [1, 2]
    assert page.is_truncated
    (last,) = last_page.parts
    assert (last.part_number, last.size) == (10_000, len(SECOND))
    assert last.etag == f'"{hashlib.md5(SECOND).hexdigest().upper()}"'
    assert not last_page.is_truncated
    assert last_page.key == KEY


def test_an_aborted_upload_leaves_nothing(client: Any, events: list[ObjectEvent], store: OssStore) -> None:
    upload_id = initiate(client)
    part = upload(client, upload_id, 1, SECOND)
    request = oss.AbortMultipartUploadRequest(bucket="media", key=KEY, upload_id=upload_id)

    client.abort_multipart_upload(request)

    with refused("NoSuchUpload"):
        client.abort_multipart_upload(request)
    with refused("NoSuchUpload"):
        upload(client, upload_id, 1, SECOND)
    with refused("NoSuchUpload"):
        complete(client, upload_id, part)
    with refused("NoSuchUpload"):
        list_parts(client, upload_id)
    assert events[-1].name == "ObjectRemoved:AbortMultipartUpload"
    with store.write() as content:
        folder = store.put("media", "only", content).path.parents[1]
    assert len(list(folder.glob("??/*"))) == 1


def test_wrong_parts_are_refused(client: Any) -> None:
    upload_id = initiate(client)
    small, first = upload(client, upload_id, 1, SECOND), upload(client, upload_id, 2, FIRST)
    wrong = oss.UploadPart(part_number=2, etag='"0"')

    for code, parts in (
        ("EntityTooSmall", [small, first]),
        ("InvalidPartOrder", [first, small]),
        ("InvalidPartOrder", [first, first]),
        ("InvalidPart", [wrong]),
        ("InvalidPart", [oss.UploadPart(part_number=3, etag=first.etag)]),
    ):
        with refused(code):
            complete(client, upload_id, *parts)
    complete(client, upload_id, first)
    assert get(client, KEY).body.content == FIRST


def test_an_upload_can_be_completed_with_all_parts(client: Any) -> None:
    upload_id = initiate(client)
    upload(client, upload_id, 1, FIRST)
    upload(client, upload_id, 2, SECOND)

    client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(bucket="media", key=KEY, upload_id=upload_id, complete_all="yes")
    )

    assert get(client, KEY).body.content == FIRST + SECOND


def test_an_upload_does_not_overwrite_if_forbidden(client: Any) -> None:
    upload_id = initiate(client)
    part = upload(client, upload_id, 1, SECOND)
    put(client, KEY, b"first")

    with refused("FileAlreadyExists"):
        complete(client, upload_id, part, forbid_overwrite="true")

    assert get(client, KEY).body.content == b"first"
    complete(client, upload_id, part)
    assert get(client, KEY).body.content == SECOND


@pytest.mark.parametrize("number", [0, 10_001])
def test_a_part_number_out_of_range_is_refused(client: Any, number: int) -> None:
    with refused("InvalidArgument"):
        upload(client, initiate(client), number, b"a")


def test_a_bucket_with_an_upload_is_not_empty(client: Any) -> None:
    initiate(client)

    with refused("BucketNotEmpty"):
        client.delete_bucket(oss.DeleteBucketRequest(bucket="media"))
