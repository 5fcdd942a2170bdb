"""Turns pydantic's errors into faults with the document's field names, in plain words, without values."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel, ValidationError

__all__ = ["faults_of"]


def faults_of(
    error: ValidationError, models: Mapping[str, type[BaseModel]], allowed: Mapping[str, str]
) -> list[Fault]:
    """Return the faults of a validation, in pydantic's order.

    Args:
        error: The error of the validation.
        models: The model of each object, which knows its fields, by path; ``""`` is the document.
        allowed: What a field may hold, by path.
    """
    faults = []
    for line in error.errors(include_url=False):
        steps = tuple(map(str, line["loc"]))
        path, text = ".".join(steps), str(line["msg"])
        if line["type"] == "extra_forbidden":
            faults.append(_unknown_field(path, models[".".join(steps[:-1])]))
            continue
        if line["type"] == "value_error":  # raised by the model's own validators
            text = text.removeprefix("Value error, ")
            if field := re.match(r"(key|target|to): ", text):  # a rule of the object names its field
                path, text = f"{path}.{field[1]}", text[field.end() :]
        elif line["type"] == "string_type":
            text = _not_text(line["input"])
        elif line["type"] in _WORDS:
            text = _WORDS[line["type"]]
        faults.append(Fault(path, text if line["type"] in _FINAL else allowed.get(path, text)))
    return faults


def _not_text(value: Any) -> str:
    from mpaas_push.message.faults import json_kind  # only an invalid document needs it

    remedy = ": put it in quotes" if isinstance(value, (bool, int, float)) else ""
    return f"must be text, not {json_kind(value)}{remedy}"


def _unknown_field(path: str, model: type[BaseModel]) -> Fault:
    """Name the known field nearest to an unknown one."""
    known = [str(field.alias) for field in model.model_fields.values()]
    folded = {name.lower(): name for name in known}
    near = get_close_matches(path.rpartition(".")[2].replace("_", "").lower()[:64], folded, n=1, cutoff=0.7)
    remedy = f"did you mean `{folded[near[0]]}`?" if near else f"known fields: {_listed(known)}"
    return Fault(path, f"unknown field; {remedy}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


_WORDS = {
    "missing": "is required",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}
_FINAL = {"missing", "string_type", "value_error"}
"""Types of errors whose text says more than what the field may hold."""
