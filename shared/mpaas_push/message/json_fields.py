"""Annotations for fields that are read from JSON: maps (also given as JSON text), lists and numbers.

Each goes into an ``Annotated`` type and adapts pydantic's strict mode to JSON.
"""

from __future__ import annotations

from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic_core import PydanticCustomError, core_schema

from mpaas_push.json_text import UnreadableJson, check_json, is_encodable, plain_json, read_json
from mpaas_push.strict_model import to_camel

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

__all__ = ["MAX_FAULTS", "JsonList", "JsonObject", "WholeNumber"]


MAX_FAULTS = 100
"""Maximum number of reported faults of one message. A body of a megabyte can contain a hundred thousand, and
each takes a hundred times the memory of its text, so validation stops here."""


class JsonObject:
    """Marks a map that may also be given as JSON text, as on the page ("JSON in a string").

    The validation context may have an attribute ``copies``: if False, the model keeps nested data without
    copying it, because nothing else changes it.

    Args:
        of: Type of its values: ``text``, ``object``, or ``json`` for any JSON.
    """

    def __init__(self, *, of: Literal["text", "object", "json"] = "text") -> None:
        self._of = of

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def _read(self, value: Any, info: ValidationInfo) -> Any:
        try:
            if type(value) is str:
                value = read_json(value, within=_page_name(info.field_name or ""))
            elif self._of != "text":
                if getattr(info.context, "copies", True):
                    value = plain_json(value)
                else:
                    check_json(value)
        except UnreadableJson as error:
            raise _unreadable(str(error)) from None
        if type(value) is not dict or self._of == "json":
            return value
        return _check_texts(value) if self._of == "text" else _within_limit(value, _is_object)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        inner = handler(schema)
        text = {"type": "string", "contentMediaType": "application/json", "contentSchema": inner}
        return {"anyOf": [inner, text]}


class JsonList:
    """Marks a tuple that is a list in JSON. Pydantic alone also accepts sets, which have no order.

    Args:
        of: Type of its elements.
    """

    def __init__(self, of: Literal["text", "number"]) -> None:
        self._read = _text_tuple if of == "text" else _number_tuple

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))


class WholeNumber:
    """Marks a whole number: JSON has one kind of number, so 600.0 is 600.

    Pydantic alone rejects 600.0 for an integer, and accepts True and 1.0 for the 1 of an enumeration.
    """

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.union_schema(
            [
                core_schema.int_schema(strict=True),
                core_schema.chain_schema(
                    [
                        core_schema.float_schema(strict=True, allow_inf_nan=False),
                        core_schema.no_info_plain_validator_function(_as_int),
                    ]
                ),
            ],
            mode="left_to_right",
            custom_error_type="int_type",
        )
        return core_schema.chain_schema([number, handler(source)])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(cast("core_schema.ChainSchema", schema)["steps"][-1])


def _check_texts(value: dict[Any, Any]) -> dict[Any, Any]:
    """Reject an unpaired surrogate, which pydantic accepts but no request can carry."""
    try:
        "".join([*value, *value.values()]).encode()
    except UnicodeEncodeError:
        raise _unreadable("an unpaired surrogate is not a character") from None
    except TypeError:
        pass  # not text: pydantic's error is clearer
    else:
        if "" not in value and len(value) <= MAX_FAULTS:
            return value
    return _within_limit(value, _is_text)


def _within_limit(value: dict[Any, Any], is_valid: Callable[[Any], bool]) -> dict[Any, Any]:
    """Return a map, cut off after `MAX_FAULTS` + 1 faulty entries."""
    if len(value) <= MAX_FAULTS:
        return value
    faulty = 0
    for index, (key, child) in enumerate(value.items()):
        faulty += not (_is_text(key) and is_valid(child))
        if faulty > MAX_FAULTS:
            return dict(islice(value.items(), index + 1))
    return value


def _is_text(value: Any) -> bool:
    return type(value) is str and value != ""


def _is_object(value: Any) -> bool:
    return type(value) is dict


_page_name = cache(to_camel)


def _unreadable(reason: str) -> PydanticCustomError:
    return PydanticCustomError("json_text", cast("Any", reason))


def _as_int(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


def _text_tuple(value: Any) -> Any:
    if type(value) is not list or len(value) <= MAX_FAULTS or _are_texts(value):
        return _as_tuple(value)
    return _tuple_within_limit(value, lambda child: _is_text(child) and is_encodable(child))


def _number_tuple(value: Any) -> Any:
    if type(value) is not list or len(value) <= MAX_FAULTS:
        return _as_tuple(value)
    return _tuple_within_limit(value, _is_whole)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _tuple_within_limit(value: list[Any], is_valid: Callable[[Any], bool]) -> tuple[Any, ...]:
    """Return a list as a tuple, cut off after `MAX_FAULTS` + 1 faulty elements."""
    faulty = 0
    for index, child in enumerate(value):
        faulty += not is_valid(child)
        if faulty > MAX_FAULTS:
            return tuple(value[: index + 1])
    return tuple(value)


def _are_texts(values: list[Any]) -> bool:
    try:
        "".join(values).encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return "" not in values


def _as_tuple(value: Any) -> Any:
    return tuple(value) if type(value) is list else value
