"""The structured log of a function."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from mpaas_push.log import function_log


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """A module's logger whose package logger is not configured yet."""
    loggers = logging.Logger.manager.loggerDict
    for name in ("mpaas_push", "mpaas_push.test"):
        monkeypatch.setitem(loggers, name, logging.getLogger(name))
        del loggers[name]
    return logging.getLogger("mpaas_push").getChild("test")


def logged_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line.encode()) <= 16 * 1024 for line in lines)
    return [json.loads(line) for line in lines]


@pytest.mark.filterwarnings("ignore:POWERTOOLS_DEV")
@pytest.mark.parametrize("dev", ["false", "true"])
def test_record_is_one_line_of_json(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dev: str
) -> None:
    monkeypatch.setenv("POWERTOOLS_DEV", dev)
    function_log()
    logger.info("sent %d", 3, extra={"targets": 3, "title": "标题"})

    (line,) = logged_lines(capsys)
    assert (line["message"], line["level"], line["targets"], line["title"]) == ("sent 3", "INFO", 3, "标题")


@pytest.mark.parametrize(
    "extra",
    [
        {"text": "长" * 100_000},
        {"ids": [f"id-{number}" for number in range(100_000)]},
        {"nested": {f"key-{number}": ["x" * 2_000] * 30 for number in range(50)}},
        {f"field-{number}": "x" * 900 for number in range(1000)},
    ],
)
def test_line_is_truncated_to_16_kilobytes(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], extra: dict[str, Any]
) -> None:
    function_log()
    logger.warning("much", extra={"request_id": "1-2", **extra})

    (line,) = logged_lines(capsys)
    assert (line["message"], line["level"], line["request_id"]) == ("much", "WARNING", "1-2")


def test_unpaired_surrogate_is_logged_as_a_question_mark(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    function_log()
    logger.info("half", extra={"text": "\ud800"})

    assert logged_lines(capsys)[0]["text"] == "?"


def test_plain_line_equals_that_of_powertools(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    powertools = Logger(service="mpaas_push", utc=True, use_rfc3339=True, location=None)
    function_log()
    record = logger.makeRecord(
        logger.name,
        logging.INFO,
        __file__,
        1,
        "push %s",
        ("accepted",),
        None,
        extra={"targets": 3, "none": None},
    )
    record.created = 1_700_000_000.0625

    logger.handle(record)

    formatter = powertools.registered_formatter
    assert logged_lines(capsys) == [json.loads(formatter.format(record))]
    assert "2023-11-14T22:13:20.062+00:00" in formatter.format(record)


@pytest.mark.parametrize(
    ("message", "expected"), [("plain", "plain"), ('{"a": 1}', {"a": 1}), ({"a": 1}, {"a": 1})]
)
def test_message_may_be_json(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], message: Any, expected: Any
) -> None:
    function_log()

    logger.info(message)

    assert logged_lines(capsys)[0]["message"] == expected


def test_exception_is_logged_with_its_name(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    function_log()
    try:
        int("x")
    except ValueError:
        logger.exception("failed")

    (line,) = logged_lines(capsys)
    assert (line["message"], line["exception_name"]) == ("failed", "ValueError")
