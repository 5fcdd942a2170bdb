"""The used parts of the official SDK: request class and names of the signature.

`aliyunsdkcore.request` imports the SDK's own copy of requests (with urllib3 and chardet) for one dict class,
and signature composers with `urllib.request`: a quarter of a cold start, all unused here. Both load on first
use; a program that also uses `AcsClient` gets the real ones.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mpaas_push.lean_import import deferred, stand_ins

__all__ = ["PushSimpleRequest", "sha_hmac1"]


def _case_insensitive_dict(*values: Any) -> Any:
    from aliyunsdkcore.vendored.requests.structures import CaseInsensitiveDict

    return CaseInsensitiveDict(*values)


_structures = ModuleType("aliyunsdkcore.vendored.requests.structures")
_structures.__dict__["CaseInsensitiveDict"] = _case_insensitive_dict

with stand_ins(
    deferred("aliyunsdkcore.vendored.requests"),
    _structures,
    deferred("aliyunsdkcore.auth.composer.rpc_signature_composer"),
    deferred("aliyunsdkcore.auth.composer.roa_signature_composer"),
):
    from aliyunsdkcore.auth.algorithm import sha_hmac1
    from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
