"""Imports without unused parts, for a faster cold start.

Some packages import far more than is used: Powertools' event handler imports AppSync, Bedrock and asyncio,
the SDK its own copy of requests. Skipped parts load on first use. Use this only for imports at the start of a
function, before threads exist.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deferred", "deferred_names", "stand_ins", "without_init"]


@contextmanager
def without_init(package: str, *names: str) -> Iterator[None]:
    """Import modules of a package in the block without running the package's ``__init__``.

    A later import of the package runs it and reuses these modules. Does nothing if the package is already
    imported.

    Args:
        package: Name of the package.
        names: Names that the modules import from the package itself; see `deferred_names`.
    """
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    bare = deferred_names(package, *names)
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


def deferred_names(module: str, *names: str) -> ModuleType:
    """Return a module with only these functions and classes, which import the real module on first use.

    A use is a call or an `isinstance` check.
    """
    stand_in = ModuleType(module)
    stand_in.__dict__.update({name: _Deferred(name, (), {"__module__": module}) for name in names})
    return stand_in


class _Deferred(type):
    """The type of the objects with which `deferred_names` replaces functions and classes."""

    def __call__(cls, *arguments: Any) -> Any:
        return cls._real()(*arguments)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls._real())

    def _real(cls) -> Any:
        return getattr(import_module(cls.__module__), cls.__name__)
