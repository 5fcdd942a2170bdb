"""Imports that leave out what is not used, for the sake of a cold start.

Some packages run far more than is used when one of their modules is imported: Powertools' event handler
brings AppSync, Bedrock and asyncio along, the SDK its own copy of requests. What is left out here is loaded
when somebody wants it later. Meant for the import of a function, before there are threads.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["deferred", "stand_ins", "without_init"]


@contextmanager
def without_init(package: str) -> Iterator[None]:
    """Let modules of a package be imported in the block without running the package's own ``__init__``.

    A later import of the package runs it and finds the modules that are there. Does nothing if the package
    has been imported already.
    """
    parent, _, name = package.rpartition(".")
    bare = ModuleType(package)
    bare.__path__ = [f"{path}/{name}" for path in import_module(parent).__path__]
    with stand_ins(bare):
        yield


@contextmanager
def stand_ins(*modules: ModuleType) -> Iterator[None]:
    """Put modules into the place of others of their names for the block, where those are not there yet."""
    absent = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules |= absent
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def deferred(name: str) -> ModuleType:
    """Return a stand-in that imports the module of its name when one of its names is first wanted."""
    module = ModuleType(name)
    module.__dict__["__getattr__"] = lambda attribute: getattr(import_module(name), attribute)
    return module
