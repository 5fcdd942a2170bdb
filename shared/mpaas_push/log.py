"""Structured logs of a function: one JSON object per line, each with Function Compute's request id.

The modules of this package log to `logging.getLogger("mpaas_push…")` and configure nothing, so a program that
uses them as a library keeps its own logging. A function calls `function_log` once.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from pydantic_core import to_json

from mpaas_push.lean_import import without_init

with without_init("aws_lambda_powertools"), without_init("aws_lambda_powertools.logging"):
    from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

__all__ = ["LINE_BYTES", "function_log"]

LINE_BYTES = 16 * 1024
"""Longest line, in bytes of UTF-8."""
_TEXT, _ITEMS = 1000, 20
"""Longest string, in characters, and longest list or object in a shortened line."""
_SERVICE = "mpaas_push"


def function_log(level: str = "INFO") -> None:
    """Log the package's records to standard output as JSON.

    Args:
        level: The lowest level to log; the setting ``PUSH_LOG_LEVEL``.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _LineFormatter(
            json_serializer=_format_line, utc=True, use_rfc3339=True, location=None, service=_SERVICE
        )
    )
    logger = logging.getLogger(_SERVICE)
    logger.setLevel(level)
    logger.handlers = [handler]
    logger.propagate = False  # the runtime's own handler would write each line again


class _LineFormatter(LambdaPowertoolsFormatter):
    """Writes the same lines as Powertools, but those of plain records in a quarter of the time."""

    _second: tuple[int, str] = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or not (record.args or _is_plain(record.msg)):
            return super().format(record)
        line: dict[str, Any] = {
            "level": record.levelname,
            "message": record.getMessage(),
            "timestamp": self._timestamp(record),
            "service": _SERVICE,
        }
        line |= {
            name: value
            for name, value in record.__dict__.items()
            if value is not None and name not in _ATTRIBUTES
        }
        return _format_line(line)

    def _timestamp(self, record: logging.LogRecord) -> str:
        second, text = self._second
        if int(record.created) != second:
            second = int(record.created)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second, text
        return f"{text}.{int(record.created % 1 * 1000):03}+00:00"


def _is_plain(message: object) -> bool:
    """Return whether Powertools logs a message unchanged: it parses strings that are JSON."""
    return isinstance(message, str) and message[:1].isalpha()


_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
"""Attributes of every record."""


def _format_line(record: Any) -> str:
    """Format a record as one line of at most `LINE_BYTES`, truncating long values if needed."""
    line = _dump(record)
    if len(line) > LINE_BYTES:
        line = _dump(_shorten(record))
    if len(line) > LINE_BYTES:
        names = ("level", "message", "timestamp", "service", "request_id")
        kept = {name: str(record[name])[:_TEXT] for name in names if name in record}
        line = _dump({**kept, "cut": True})
    return line.decode()


def _dump(record: Any) -> bytes:
    try:
        return to_json(record, fallback=str)
    except ValueError:  # an unpaired surrogate, which has no bytes
        return _ENCODER.encode(record).encode("utf-8", "replace")


_ENCODER = json.JSONEncoder(default=str, ensure_ascii=False, separators=(",", ":"))


def _shorten(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _TEXT else f"{value[:_TEXT]}… ({len(value)} characters)"
    if isinstance(value, dict):
        return {name: _shorten(child) for name, child in list(value.items())[: 2 * _ITEMS]}
    if isinstance(value, (list, tuple)):
        note = [f"… ({len(value)} in all)"] if len(value) > _ITEMS else []
        return [*map(_shorten, value[:_ITEMS]), *note]
    return value
