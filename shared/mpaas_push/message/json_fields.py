"""Annotations for fields that come from JSON: maps that may also be given as their text, lists, numbers.

Each stands in an ``Annotated`` type and adds to pydantic's strict reading what JSON calls for.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from mpaas_push.json_text import UnreadableJson, plain_json, read_json

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

__all__ = ["JsonList", "JsonObject", "WholeNumber"]


class JsonObject:
    """Marks a map that may also be given as JSON text, as the page writes it ("JSON in a string").

    Args:
        free: The values are any JSON; otherwise the marked type says what they are.
    """

    def __init__(self, *, free: bool = False) -> None:
        self._read = _read_free if free else _read_typed

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        inner = handler(schema)
        text = {"type": "string", "contentMediaType": "application/json", "contentSchema": inner}
        return {"anyOf": [inner, text]}


class JsonList:
    """Marks a tuple that JSON brings as a list. By itself pydantic takes also sets, which have no order."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_tuple, handler(source))


class WholeNumber:
    """Marks a whole number: JSON has one kind of number, so 600.0 is 600.

    By itself pydantic refuses 600.0 for a number, and takes True and 1.0 for the 1 of an enumeration.
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


def _read_typed(value: Any, info: ValidationInfo) -> Any:
    if type(value) is str:
        return _read(value, info)
    if type(value) is dict:
        try:
            # pydantic passes on keys and values with half a surrogate pair, which no request can hold.
            "".join([*value, *value.values()]).encode()
        except UnicodeEncodeError:
            raise _unreadable("half a surrogate pair, which is no character, stands in it") from None
        except TypeError:
            pass  # not texts: pydantic says it better
    return value


def _read_free(value: Any, info: ValidationInfo) -> Any:
    if type(value) is str:
        return _read(value, info)
    try:
        return plain_json(value)
    except UnreadableJson as error:
        raise _unreadable(str(error)) from None


def _read(text: str, info: ValidationInfo) -> Any:
    try:
        return read_json(text, within=_page_name(info.field_name or ""))
    except UnreadableJson as error:
        raise _unreadable(str(error)) from None


_page_name = cache(to_camel)


def _unreadable(reason: str) -> PydanticCustomError:
    return PydanticCustomError("json_text", cast("Any", reason))


def _as_int(number: float) -> int:
    if not number.is_integer():
        raise ValueError
    return int(number)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if type(value) is list else value
