"""State that a warm instance keeps between calls: the client, with its connections and settings."""

from __future__ import annotations

from functools import lru_cache

from mpaas_push.client import PushClient
from mpaas_push.log import function_log

__all__ = ["shared_client"]


@lru_cache(maxsize=1)
def shared_client() -> PushClient:
    """Return the client of this instance; the first call creates it from the environment and sets up the log.

    Raises:
        Misconfigured: an environment variable is invalid. The next call tries again.
    """
    client = PushClient.from_env()
    function_log(client.settings.log_level)
    return client
