"""The Redis server for tests and benchmarks, which is that of the local stack."""

from __future__ import annotations

from mpaas_local.redis_server import RedisServer, redis_executable

__all__ = ["RedisServer", "redis_executable"]
