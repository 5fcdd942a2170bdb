"""The parts of the official SDK in use: its request class and the names of its signature.

`aliyunsdkcore.request` imports the SDK's own copy of requests (with urllib3 and chardet) for one dict class,
an XML parser along with one hash, and signature composers with `urllib.request`: a quarter of a cold start,
all unused here. They load on first use; a program that also uses `AcsClient` gets the real modules.
"""

from __future__ import annotations

from mpaas_push.lean_import import deferred, deferred_names, stand_ins

__all__ = ["PushSimpleRequest", "sha_hmac1"]

with stand_ins(
    deferred("aliyunsdkcore.vendored.requests"),
    deferred_names("aliyunsdkcore.vendored.requests.structures", "CaseInsensitiveDict"),
    deferred_names("aliyunsdkcore.utils.parameter_helper", "md5_sum"),
    deferred("aliyunsdkcore.auth.composer.rpc_signature_composer"),
    deferred("aliyunsdkcore.auth.composer.roa_signature_composer"),
):
    from aliyunsdkcore.auth.algorithm import sha_hmac1
    from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
