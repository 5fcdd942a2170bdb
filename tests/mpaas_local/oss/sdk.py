"""The official SDK, `alibabacloud-oss-v2`, as an application would use it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import alibabacloud_oss_v2 as oss
import pytest
from alibabacloud_oss_v2.exceptions import OperationError, ServiceError

from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator


class Refusal:
    """The service's error, set when the block ends."""

    error: Any = None


@contextmanager
def refused(code: str) -> Iterator[Refusal]:
    """Expect the service to refuse the block's request with this code."""
    refusal = Refusal()
    with pytest.raises(OperationError) as raised:
        yield refusal
    refusal.error = raised.value.unwrap()
    assert isinstance(refusal.error, ServiceError), refusal.error
    assert refusal.error.code == code


def connect(endpoint: str, *, token: str | None = None, attempts: int = 1, **settings: Any) -> Any:
    """Return a client; settings are those of the SDK's `Config`."""
    settings.setdefault("region", "cn-hangzhou")
    config = oss.config.Config(endpoint=endpoint, retry_max_attempts=attempts, **settings)
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(
        LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET, token
    )
    return oss.Client(config)


def put(client: Any, key: str, body: bytes = b"hello", **options: Any) -> Any:
    return client.put_object(oss.PutObjectRequest(bucket="media", key=key, body=body, **options))


def get(client: Any, key: str, **options: Any) -> Any:
    return client.get_object(oss.GetObjectRequest(bucket="media", key=key, **options))


def keys(client: Any, **options: Any) -> list[str]:
    """Names of all objects, page by page."""
    pages = client.list_objects_v2_paginator().iter_page(oss.ListObjectsV2Request(bucket="media", **options))
    return [stored.key for page in pages for stored in page.contents or ()]
