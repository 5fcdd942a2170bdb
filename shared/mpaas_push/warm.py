"""What a warm instance of a function keeps from call to call: the client, with connections and settings."""

from __future__ import annotations

from functools import lru_cache

from mpaas_push.client import PushClient
from mpaas_push.log import function_log

__all__ = ["shared_client"]


@lru_cache(maxsize=1)
def shared_client() -> PushClient:
    """Return the client of this instance; the first call makes it from the environment and opens the log.

    Raises:
        Misconfigured: a variable of the environment holds what it may not. The next call tries again.
    """
    client = PushClient.from_env()
    function_log(client.settings.log_level)
    return client
