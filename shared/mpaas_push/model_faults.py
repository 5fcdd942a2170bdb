"""Pydantic's errors as faults in the project's words: what is allowed and what to do, without values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel, ValidationError

__all__ = ["faults_of", "json_kind", "nearest_field", "words_of"]


def faults_of(
    error: ValidationError, models: Mapping[str, type[BaseModel]], allowed: Mapping[str, str]
) -> list[Fault]:
    """Return the faults of a document, in pydantic's order.

    Args:
        error: The error of its validation.
        models: The model of each object, which knows its fields, by path; ``""`` is the document. In these
            paths, ``*`` replaces every index.
        allowed: What a field may hold, by such a path, if that says more than its type.
    """
    faults = []
    for line in error.errors(include_url=False):
        steps = ["*" if type(step) is int else str(step) for step in line["loc"]]
        path, words = format_path(line["loc"], declared=True), words_of(line)
        if line["type"] == "extra_forbidden":
            words = _unknown_field(steps[-1], models[".".join(steps[:-1])])
        elif line["type"] == "value_error":
            if named := re.match(r"([a-z]\w*): ", words):  # a rule of the object names its field
                path, words = f"{path}.{named[1]}", words[named.end() :]
        elif line["type"] not in {"missing", "string_type"}:
            words = allowed.get(".".join(steps), words)
        faults.append(Fault(path, words))
    return faults


def words_of(line: Any) -> str:
    """Return one of pydantic's errors in words that follow the name of its field."""
    kind, value = line["type"], line["input"]
    context = {
        name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for name, limit in line.get("ctx", {}).items()
    }
    if kind in _TYPES:
        remedy = ": put it in quotes" if kind == "string_type" and isinstance(value, (int, float)) else ""
        return f"must be {_TYPES[kind]}, not {json_kind(value)}{remedy}"
    if kind in _EMPTY and context["min_length"] == 1:
        return "must not be empty"
    return (
        _WORDS[kind].format(**context) if kind in _WORDS else str(line["msg"]).removeprefix("Value error, ")
    )


def json_kind(value: Any) -> str:
    """Return JSON's name for a value's type, with its article."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number with a fraction", str: "text"}
    if type(value) in kinds:
        return kinds[type(value)]
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else type(value).__name__


def _unknown_field(name: str, model: type[BaseModel]) -> str:
    """Name the known field nearest to an unknown one."""
    known = [str(field.alias) for field in model.model_fields.values()]
    nearest, similarity = nearest_field(name, known)
    listed = ", ".join(f"`{alias}`" for alias in known)
    remedy = f"did you mean `{nearest}`?" if similarity >= _SIMILAR else f"known fields: {listed}"
    return f"unknown field `{format_path((name,), declared=True)}`; {remedy}"


def nearest_field(name: str, known: Iterable[str]) -> tuple[str | None, float]:
    """Return the known field that a name resembles most, if any, and how much, from 0 to 1."""
    from difflib import SequenceMatcher, get_close_matches

    # Wire names (TaskName) and Python names (task_name) differ from the page's only in case and underscores.
    folded = name.replace("_", "").lower()[:64]
    by_folded = {field.lower(): field for field in known}
    near = get_close_matches(folded, by_folded, n=1)
    if not near:
        return None, 0.0
    return by_folded[near[0]], SequenceMatcher(None, near[0], folded).ratio()


_SIMILAR = 0.7
_TYPES = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "an object",
    "model_type": "an object",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What a field must be, by the type of pydantic's error."""
_EMPTY = {"string_too_short", "too_short"}
# Types that are not listed, such as those of the project's own validators, keep their text.
_WORDS = {
    "bool_parsing": "must be true or false",
    "enum": "must be {expected}",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "has too many digits",
    "invalid_key": "must be text: it is a key",
    "json_invalid": "is not JSON: {error}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is required",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_unicode": "contains an unpaired surrogate, which is not a character",
    "too_long": "must have at most {max_length} elements",
    "too_short": "must have at least {min_length} elements",
}
