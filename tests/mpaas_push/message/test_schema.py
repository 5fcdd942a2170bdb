from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mpaas_push import message
from mpaas_push.message import PARAMETERS, PushMessage
from tests.mpaas_push.message.examples import as_texts, everything, minimal, with_targets

SCHEMA = PushMessage.model_json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def test_schema_is_valid_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        minimal(),
        with_targets(),
        everything(),
        as_texts(everything()),
        minimal() | {"targets": None, "uri": None},
        minimal() | {"strategyType": 1, "StrategyContent": {"fixedTime": 1_893_456_000_000}},
        minimal() | {"strategyType": 0, "smsStrategy": 0},
    ],
    ids=range(7),
)
def test_schema_accepts_valid_messages(data: dict[str, Any]) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(data)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "x"},
        {"title": ""},
        {"title": None},
        {"deliveryType": 4},
        {"deliveryType": "3"},
        {"expiredSeconds": 0},
        {"expiredSeconds": True},
        {"pushStyle": 3},
        {"classification": 1},
        {"notifyType": "NOTIFY"},
        {"targets": ["user-1"]},
        {"targetMsgkey": {}},
        {"targetMsgkey": {"user-1": ""}},
        {"targetMsgkey": None},
        {"targetMsgkey": None, "targets": []},
        {"targetMsgkey": None, "targets": ["a", "a"]},
        {"thirdChannelCategory": {"hms": 9}},
        {"extendedParams": {"taskId": "x"}},
        {"extendedParams": {str(number): "x" for number in range(21)}},
        {"strategyType": 1},
        {"strategyType": 1, "strategyContent": None},
        {"strategyType": 1, "strategyContent": {}},
        {"strategyType": 1, "strategyContent": {"fixedTime": None}},
        {"strategyType": 2, "strategyContent": {"fixedTime": 1}},
        {"strategyContent": {"fixedtime": 1}},
        {"strategyContent": {"time": "9:45:11"}},
        {"strategyContent": {"time": "24:00:00"}},
        {"strategyContent": {"fixedTime": 1}, "StrategyContent": {"fixedTime": 1}},
        {"smsStrategy": 1},
        {"smsStrategy": -1},
        {"activityEvent": "start"},
        {"transparentMessageUrgency": "HIGH"},
        {"transparentMessagePayload": {"hms": "x"}},
        {"dismissalDate": -1},
        {"vendorTemplate": {}},
    ],
    ids=json.dumps,
)
def test_schema_rejects_invalid_messages(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(minimal() | change)


def test_schema_describes_every_parameter_and_every_field_of_the_strategy() -> None:
    assert set(SCHEMA["properties"]) == {*PARAMETERS, "targets", "StrategyContent"}
    for properties in (SCHEMA["properties"], SCHEMA["$defs"]["StrategyContent"]["properties"]):
        for name, definition in properties.items():
            assert definition["description"].endswith("."), name
            assert definition["examples"], name


def test_examples_of_the_schema_are_valid() -> None:
    for name, definition in SCHEMA["properties"].items():
        validator = Draft202012Validator({"$defs": SCHEMA["$defs"], **definition})
        for example in definition["examples"]:
            assert validator.is_valid(example), name


def test_schema_allows_text_for_json_fields() -> None:
    options = SCHEMA["properties"]["targetMsgkey"]["anyOf"]
    text = next(option for option in options if option["type"] == "string")
    assert text["contentMediaType"] == "application/json"
    assert text["contentSchema"] == next(option for option in options if option["type"] == "object")


def test_importing_the_message_does_not_load_difflib() -> None:
    # A bare package replaces `mpaas_push`, whose `__init__` would load other modules, too.
    code = (
        "import sys, types; package = types.ModuleType('mpaas_push');"
        f"package.__path__ = [{str(Path(message.__file__).parents[1])!r}]; sys.modules['mpaas_push'] = package;"
        "import mpaas_push.message; print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "mpaas_push.message" in loaded
    assert "difflib" not in loaded
