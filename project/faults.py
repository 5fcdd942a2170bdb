"""Faults of a descriptor: pydantic's errors by path, in words that say what to do."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from mpaas_push.errors import Fault
from mpaas_push.model_faults import words_of
from project.fields import Strict
from project.triggers import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["faults_of"]


def faults_of(error: ValidationError, prefix: str, names: Sequence[str] = ()) -> Iterator[Fault]:
    """Yield the faults of a model.

    Args:
        error: Pydantic's error.
        prefix: Path of the validated value.
        names: Names of its triggers, shown instead of their indexes.
    """
    for details in error.errors(include_url=False):
        path = _path(details["loc"], names)
        yield Fault(".".join(filter(None, [prefix, path])), _text(details))


def _path(loc: Sequence[str | int], names: Sequence[str]) -> str:
    steps: list[str] = []
    for index, step in enumerate(loc):
        before = loc[index - 1] if index else ""
        if isinstance(step, int) and before == "triggers" and step < len(names):
            steps.append(names[step])
        elif step in TYPES and (isinstance(before, int) or before == "trigger"):
            continue  # pydantic adds the model of the union that it tried
        else:
            steps.append(str(step))
    return ".".join(steps)


def _text(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        near = get_close_matches(str(details["loc"][-1]), _known(Strict), 1)
        return f"is not allowed here{f'; did you mean {near[0]}?' if near else ''}"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        return f"triggerType must be one of {', '.join(TYPES)}"
    if kind == "union_tag_not_found":
        return "triggerType is missing"
    return words_of(details)


def _known(model: type[BaseModel]) -> set[str]:
    """Return the keys of all models."""
    names = {field.alias for field in model.model_fields.values() if field.alias}
    return names.union(*map(_known, model.__subclasses__()))
