"""Pydantic's errors as faults: with the page's names, in plain words, without values that may be private.

`faults_of` reads a pydantic error. `rejection` builds one from faults, so a message constructed in code
fails with the same words as one that was parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from mpaas_push.errors import Fault
from mpaas_push.message.fields import ALIASES, REQUIRED, STRATEGY_ALIASES
from mpaas_push.message.json_fields import MAX_FAULTS
from mpaas_push.message.vocabulary import MAX_INT, MAX_LONG, MEANINGS, OTHER_SPELLING
from mpaas_push.model_faults import json_kind, nearest_field, words_of
from mpaas_push.paths import format_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["faults_of", "first_faults", "in_field_order", "rejection"]


def faults_of(error: ValidationError) -> list[Fault]:
    """Return the faults that pydantic reports, in its order, at most `MAX_FAULTS` + 1."""
    return [_fault(cast("Any", line)) for line in error.errors(include_url=False)[: MAX_FAULTS + 1]]


def first_faults(faults: Iterable[Fault]) -> list[Fault]:
    """Return the first `MAX_FAULTS` faults in field order; a last one says so if there are more."""
    faults = in_field_order(faults)
    if len(faults) > MAX_FAULTS:
        return [*faults[:MAX_FAULTS], Fault("", f"more than {MAX_FAULTS} faults; correct these first")]
    return faults


def rejection(title: str, faults: Iterable[Fault]) -> ValidationError:
    """Return a pydantic error with these faults and without any input value."""
    lines = [
        InitErrorDetails(
            type=PydanticCustomError(
                "invalid_message",
                cast("Any", fault.message.replace("{value}", "value")),
                None if fault.value is None else {"value": fault.value},
            ),
            loc=tuple(fault.field.split(".")) if fault.field else (),
            input=None,
        )
        for fault in faults
    ]
    return ValidationError.from_exception_data(title, lines, hide_input=True)


def in_field_order(faults: Iterable[Fault]) -> list[Fault]:
    """Return faults in the order of the fields that they name; faults without a field come last."""
    return sorted(faults, key=_position)


def _position(fault: Fault) -> tuple[int, int]:
    first, _, rest = fault.field.partition(".")
    within = 0
    if first == "strategyContent" and rest:
        within = _STRATEGY_ORDER.get(rest.partition(".")[0], len(_STRATEGY_ORDER))
    return _ORDER.get(first, len(_ORDER)), within


def _fault(line: dict[str, Any]) -> Fault:
    """Translate a pydantic error into the page's names and plain words."""
    path: tuple[Any, ...] = line["loc"]
    if line["type"] in {"extra_forbidden", "invalid_key"}:
        return _unknown_field(path)
    if len(path) > 2 and path[-1] == "[key]":  # pydantic's mark of a fault in a key, which a key may equal
        path = path[:-1]
    if path and path[0] in ALIASES:
        path = (ALIASES[path[0]], *path[1:])
    if len(path) > 1 and path[0] == "strategyContent":
        path = (path[0], to_camel(path[1]), *path[2:])
    value = line["input"]
    reword = _WORDS.get(line["type"])
    words = reword(path, value) if reword else words_of(line)
    return Fault(format_path(path), words, _public_value(path, value))


def _public_value(path: tuple[Any, ...], value: Any) -> str | int | float | bool | None:
    """Return a value if an error may show it: a number or a short word where one is expected; else None."""
    if not path or path[0] not in _NUMBERS | MEANINGS.keys():
        return None
    if type(value) is bool or (type(value) in (int, float) and abs(value) <= MAX_LONG):
        return cast("int", value)
    if type(value) is str and path[0] in MEANINGS and len(value) <= _LONGEST_WORD and value.isalnum():
        return value
    return None


def _unknown_field(path: tuple[Any, ...]) -> Fault:
    """Suggest the known field nearest to an unknown one; mask any other name, which may be a target id."""
    name = str(path[-1])
    if path == (OTHER_SPELLING,):
        return Fault(name, "is given in both spellings; keep `strategyContent`")
    known = STRATEGY_ALIASES if len(path) > 1 else tuple(ALIASES.values())
    nearest, similarity = nearest_field(name, known)
    # No field has a digit in its name; most target ids do.
    is_misspelt = similarity >= _MISSPELT and not any(map(str.isdigit, name))
    shown = format_path((name,), declared=is_misspelt)
    remedy = (
        f"did you mean `{nearest}`?"
        if nearest
        else "remove it, or put it into `extendedParams` if it is for the app"
    )
    return Fault(format_path((*path[:-1], name), declared=is_misspelt), f"unknown field `{shown}`; {remedy}")


def _not_an_object(path: tuple[Any, ...], value: Any) -> str:
    text = ", or the JSON text of one" if len(path) == 1 else ""
    return f"must be an object{text}, not {json_kind(value)}"


def _not_a_whole_number(path: tuple[Any, ...], value: Any) -> str:
    if path[0] in MEANINGS:
        return f"must be one of {MEANINGS[path[0]]}, as a number without quotes"
    return f"must be a whole number without quotes, not {json_kind(value)}"


def _not_a_text(path: tuple[Any, ...], value: Any) -> str:
    # Quote the value only where it is a short enumerated number; elsewhere it may be a target id.
    quoted = path[0] in ("thirdChannelCategory", "notifyLevel") and _is_short_number(value)
    remedy = f': write "{value}"' if quoted else ""
    return f"must be text{remedy}, not {json_kind(value)}"


def _not_enumerated(path: tuple[Any, ...], value: Any) -> str:
    meanings = MEANINGS[path[0]]
    if type(value) is int and '"' in meanings:
        remedy = f', as text: write "{value}"' if _is_short_number(value) else ", as text"
        return f"must be one of {meanings}{remedy}"
    return f"must be one of {meanings}"


def _empty(path: tuple[Any, ...], _: Any) -> str:
    return "must not be empty" if path[0] in REQUIRED or len(path) > 1 else "must not be empty; leave it out"


def _is_short_number(value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_INT


# By the type of pydantic's error, where a message says more than `words_of`.
_WORDS: dict[str, Callable[[tuple[Any, ...], Any], str]] = {
    "literal_error": _not_enumerated,
    "int_parsing_size": _not_enumerated,  # of enumerations only; other numbers are compared with their limits
    "int_type": _not_a_whole_number,
    "int_from_float": _not_a_whole_number,
    "string_type": _not_a_text,
    "string_too_short": _empty,
    "string_pattern_mismatch": lambda _, __: "must be a time of day as HH:mm:ss, such as 09:45:11",
    "dict_type": _not_an_object,
    "model_type": _not_an_object,
    "model_attributes_type": _not_an_object,
}
_ORDER = {alias: position for position, alias in enumerate(ALIASES.values())}
_STRATEGY_ORDER = {alias: position for position, alias in enumerate(STRATEGY_ALIASES)}
_NUMBERS = {"expiredSeconds", "smsStrategy", "dismissalDate", "strategyContent"}
_LONGEST_WORD = 16
_MISSPELT = 0.75
