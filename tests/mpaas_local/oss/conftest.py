from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mpaas_local.oss import OssServer, OssStore
from tests.mpaas_local.oss.sdk import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mpaas_local.oss import ObjectEvent


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OssServer]:
    store = OssStore(tmp_path_factory.mktemp("oss"))
    with OssServer(store) as server:
        yield server
    store.close()


@pytest.fixture
def server(running_server: OssServer) -> OssServer:
    """A server with the empty bucket `media`."""
    store = running_server.store
    for bucket in store.buckets():
        while objects := store.list_objects(bucket.name, limit=1000).objects:
            store.delete(bucket.name, [stored.key for stored in objects], "DeleteObjects")
        for upload in store.uploads(bucket.name):
            store.abort(upload)
        store.delete_bucket(bucket.name)
    store.create_bucket("media")
    return running_server


@pytest.fixture
def store(server: OssServer) -> OssStore:
    return server.store


@pytest.fixture
def client(server: OssServer) -> Any:
    """The official SDK, with signature V4."""
    return connect(server.endpoint)


@pytest.fixture
def events(store: OssStore) -> Iterator[list[ObjectEvent]]:
    """The object events since the beginning of the test."""
    events: list[ObjectEvent] = []
    remove = store.listen(events.append)
    yield events
    remove()
