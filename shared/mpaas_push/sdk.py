"""What is used of the official SDK: the request class, the HMAC, nonce and time stamp.

`aliyunsdkcore.request` imports much that is never used here: the SDK's own copy of requests (with urllib3 and
chardet) for one class of dict, and composers of signatures with `urllib.request`. That is a quarter of a cold
start. So both are left out while it is imported, and loaded when first wanted: a program that also uses
`AcsClient` gets the real ones.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PushSimpleRequest", "get_iso_8061_date", "get_uuid", "sha_hmac1"]

_REQUESTS = "aliyunsdkcore.vendored.requests"
_COMPOSERS = (
    "aliyunsdkcore.auth.composer.rpc_signature_composer",
    "aliyunsdkcore.auth.composer.roa_signature_composer",
)


@contextmanager
def _only_what_is_used() -> Iterator[None]:
    for name in _COMPOSERS:
        if name not in sys.modules:
            _load_when_used(name)
    if _REQUESTS in sys.modules:
        yield
        return
    requests, structures = ModuleType(_REQUESTS), ModuleType(f"{_REQUESTS}.structures")
    structures.__dict__["CaseInsensitiveDict"] = _case_insensitive_dict
    stand_ins = {module.__name__: module for module in (requests, structures)}
    sys.modules |= stand_ins
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _load_when_used(name: str) -> None:
    """Put a module into place that runs its code at the first access to one of its names."""
    spec = find_spec(name)
    if spec is not None and spec.loader is not None:
        spec.loader = LazyLoader(spec.loader)
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)


def _case_insensitive_dict(*values: Any) -> Any:
    from aliyunsdkcore.vendored.requests.structures import CaseInsensitiveDict  # noqa: PLC0415 - see above

    return CaseInsensitiveDict(*values)


with _only_what_is_used():
    from aliyunsdkcore.auth.algorithm import sha_hmac1
    from aliyunsdkcore.utils.parameter_helper import get_iso_8061_date, get_uuid
    from aliyunsdkmpaas.request.v20190821.PushSimpleRequest import PushSimpleRequest
