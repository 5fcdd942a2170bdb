"""The JSON schema of a message: what pydantic makes of the fields enters, what it cannot know is added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mpaas_push.message.fields import plain_schema
from mpaas_push.message.vocabulary import MAX_EXTENDED_PARAMS, MEANINGS, RESERVED_EXTENDED_PARAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["complete_schema"]


def complete_schema(schema: dict[str, Any]) -> None:
    """Add to a message's JSON schema what types cannot say: rules between fields, the second spelling."""
    plain_schema(schema)
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
        "description": "Second spelling of strategyContent, as some official samples have it.",
    }
    schema["oneOf"] = [_given("targets"), _given("targetMsgkey")]
    schema["not"] = {"allOf": [_given("strategyContent"), _given("StrategyContent")]}
    schema["allOf"] = [
        _strategy_rule(1, ["fixedTime"]),
        _strategy_rule(2, ["startTime", "endTime", "circleType", "circleValue", "time"]),
        {
            "if": {"required": ["smsStrategy"], "properties": {"smsStrategy": {"not": {"enum": [0, None]}}}},
            "then": {
                "allOf": [_given(name) for name in ("smsSignName", "smsTemplateCode", "smsTemplateParam")]
            },
        },
        {"if": _given("transparentMessageUrgency"), "then": _given("transparentMessagePayload")},
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


def _of_type(schema: dict[str, Any], wanted: str) -> Iterator[dict[str, Any]]:
    """Yield the schemas of a field that are of a type: its own, and that within JSON text."""
    for option in schema["anyOf"]:
        for inner in (option, option.get("contentSchema", {})):
            if inner.get("type") == wanted:
                yield inner


def _given(name: str) -> dict[str, Any]:
    """Return a schema that wants a field to be there; null is the same as absent."""
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _strategy_rule(strategy_type: int, fields: list[str]) -> dict[str, Any]:
    given = {name: {"not": {"type": "null"}} for name in fields}
    needs = {"type": ["object", "string"], "required": fields, "properties": given}
    return {
        "if": {"required": ["strategyType"], "properties": {"strategyType": {"const": strategy_type}}},
        "then": {
            "anyOf": [
                {"required": [name], "properties": {name: needs}}
                for name in ("strategyContent", "StrategyContent")
            ]
        },
    }
