"""The official SDK as a client of the local OSS."""

from __future__ import annotations

import alibabacloud_oss_v2 as oss

from mpaas_local.access_keys import LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET

__all__ = ["oss_client"]


def oss_client(endpoint: str, region: str) -> oss.Client:
    """Return a client with the local access key.

    Args:
        endpoint: Such as `http://127.0.0.1:8085`.
        region: Region of the stack, which is part of the signatures.
    """
    keys = oss.credentials.StaticCredentialsProvider(LOCAL_ACCESS_KEY_ID, LOCAL_ACCESS_KEY_SECRET)
    return oss.Client(oss.config.Config(region=region, endpoint=endpoint, credentials_provider=keys))
