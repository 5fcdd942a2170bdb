from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from typing import TYPE_CHECKING

import mpaas_push
from mpaas_push import errors
from mpaas_push.errors import BatchIncomplete, Fault, InvalidMessage, PushError

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree(cls: type[Exception], depth: int = 0) -> Iterator[tuple[int, str]]:
    """Yield a class and the library's subclasses with their depth, except those of the commands."""
    yield depth, cls.__name__
    for subclass in cls.__subclasses__():
        module = subclass.__module__
        is_public = not subclass.__name__.startswith("_") and not module.startswith("mpaas_push.cli.")
        if module.startswith("mpaas_push.") and is_public:
            yield from tree(subclass, depth + 1)


def test_docstring_shows_the_actual_tree_of_errors() -> None:
    for module in pkgutil.walk_packages(mpaas_push.__path__, "mpaas_push."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    drawn = re.findall(r"^    ([│ ]*[├└]── )?([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)

    assert {(len(branch) // 4, name) for branch, name in drawn} == set(tree(PushError))


def test_invalid_message_lists_all_of_its_faults() -> None:
    error = InvalidMessage([Fault("title", "is required"), Fault("", "too large")], ["user-4711"])

    assert str(error) == "title: is required; too large"
    assert repr(error) == "InvalidMessage('title: is required; too large')"


def test_incomplete_batch_names_the_first_remaining_messages() -> None:
    error = BatchIncomplete({"accepted": 3, "throttled": 25}, range(25))

    assert str(error).startswith("25 messages were accepted neither by mPaaS nor by a queue (indexes 0, ")
    assert "3 accepted, 25 throttled" in str(error)
    assert "(indexes 0, 1, 2, " in str(error)
    assert "19, …)" in str(error)
