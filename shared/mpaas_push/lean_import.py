"""Imports without unused parts, for a faster cold start.

Some packages import far more than is used: Powertools' event handler imports AppSync, Bedrock and asyncio,
the SDK its own copy of requests. What is skipped here loads on first use. For imports at the start of a
function, before there are threads.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deferred", "stand_ins", "without_init"]


@contextmanager
def without_init(package: str) -> Iterator[None]:
    """Import modules of a package in the block without running the package's ``__init__``.

    A later import of the package runs it and reuses these modules. Does nothing if the package is already
    imported.
    """
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    bare = ModuleType(package)
    bare.__path__ = spec.submodule_search_locations or []
    with stand_ins(bare):
        yield


@contextmanager
def stand_ins(*modules: ModuleType) -> Iterator[None]:
    """Replace modules for the block, unless the originals are already imported."""
    absent = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules |= absent
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def deferred(name: str) -> ModuleType:
    """Return a module that imports the real one when an attribute is first accessed."""
    module = ModuleType(name)
    module.__dict__["__getattr__"] = lambda attribute: getattr(import_module(name), attribute)
    return module
