"""The JSON schema of a message: pydantic's schema of the fields, with the rules that types cannot express."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.message.fields import simplify_schema
from mpaas_push.message.vocabulary import MAX_EXTENDED_PARAMS, MEANINGS, RESERVED_EXTENDED_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["complete_schema"]


def complete_schema(schema: dict[str, Any]) -> None:
    """Add to a message's JSON schema the rules between fields and the second spelling."""
    simplify_schema(schema)
    schema["description"] = (
        "One push through mPaaS PushSimple. An optional field that is null is the same as absent. JSON "
        "fields are objects, or their JSON text."
    )
    properties = schema["properties"]
    for name, definition in properties.items():
        if name in MEANINGS:
            definition["description"] += f" One of {MEANINGS[name]}."
    _limit_extended_params(properties["extendedParams"])
    _at_least_one_in_map(properties["targetMsgkey"])
    _at_least_one_in_list(properties["targets"])
    properties["StrategyContent"] = {
        **properties["strategyContent"],
        "deprecated": True,
        "description": "Second spelling of strategyContent, used in some official samples.",
    }
    schema["oneOf"] = [_required("targets"), _required("targetMsgkey")]
    schema["not"] = {"allOf": [_required("strategyContent"), _required("StrategyContent")]}
    schema["allOf"] = [
        _strategy_rule(1, ["fixedTime"]),
        _strategy_rule(2, ["startTime", "endTime", "circleType", "circleValue", "time"]),
        {
            "if": {"required": ["smsStrategy"], "properties": {"smsStrategy": {"not": {"enum": [0, None]}}}},
            "then": {
                "allOf": [_required(name) for name in ("smsSignName", "smsTemplateCode", "smsTemplateParam")]
            },
        },
        {"if": _required("transparentMessageUrgency"), "then": _required("transparentMessagePayload")},
    ]


def _limit_extended_params(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "object"):
        inner["maxProperties"] = MAX_EXTENDED_PARAMS
        inner["propertyNames"] = {"not": {"enum": sorted(RESERVED_EXTENDED_PARAMS)}}


def _at_least_one_in_map(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "object"):
        inner["minProperties"] = 1


def _at_least_one_in_list(schema: dict[str, Any]) -> None:
    for inner in _of_type(schema, "array"):
        inner |= {"minItems": 1, "uniqueItems": True}


def _of_type(schema: dict[str, Any], json_type: str) -> Iterator[dict[str, Any]]:
    """Yield the schemas of a field that have a type: its own and that of its JSON text."""
    for option in schema["anyOf"]:
        for inner in (option, option.get("contentSchema", {})):
            if inner.get("type") == json_type:
                yield inner


def _required(name: str) -> dict[str, Any]:
    """Return a schema that requires a field; null is the same as absent."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _strategy_rule(strategy_type: int, fields: list[str]) -> dict[str, Any]:
    not_null = {name: {"not": {"type": "null"}} for name in fields}
    content = {"type": ["object", "string"], "required": fields, "properties": not_null}
    return {
        "if": {"required": ["strategyType"], "properties": {"strategyType": {"const": strategy_type}}},
        "then": {
            "anyOf": [
                {"required": [name], "properties": {name: content}}
                for name in ("strategyContent", "StrategyContent")
            ]
        },
    }
