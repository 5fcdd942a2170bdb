"""Structured logs of a function: one JSON object a line, each with Function Compute's request id.

The modules of this package log through `logging.getLogger("mpaas_push…")` and attach nothing, so that a
program that uses them as a library keeps its own logging. A function calls `function_log` once.
"""

from __future__ import annotations

from aws_lambda_powertools import Logger

__all__ = ["function_log"]


def function_log(level: str = "INFO") -> Logger:
    """Send the package's log lines to standard output as JSON and return the logger to log with.

    Args:
        level: The lowest level that is written; the setting ``PUSH_LOG_LEVEL``.
    """
    # Powertools names the underlying logger after the service: the package's loggers are its children.
    return Logger(service="mpaas_push", level=level, utc=True, use_rfc3339=True, location=None)
