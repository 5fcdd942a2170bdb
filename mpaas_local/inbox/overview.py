"""Figures of recent activity, from the entries of the inbox and the calls of the functions."""

from __future__ import annotations

import time
from collections import Counter
from statistics import quantiles
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_local.fc.call_log import RecordedCall
    from mpaas_local.mpaas.store import Store

__all__ = ["overview"]

MINUTES = 30


def overview(store: Store, calls: Sequence[RecordedCall]) -> dict[str, Any]:
    """Return the figures of the last half hour.

    Args:
        store: The inbox.
        calls: The calls of all functions.
    """
    first = int(time.time() // 60) - MINUTES + 1
    minutes: list[dict[str, Any]] = [
        {"minute": (first + index) * 60, "outcomes": {}} for index in range(MINUTES)
    ]
    for minute, outcome, count in store.counts(first * 60):
        if first <= minute < first + MINUTES:
            minutes[minute - first]["outcomes"][outcome] = count
    recent = [call for call in calls if call.ended_at >= first * 60]
    reports = [report for call in recent for report in call.reports]
    durations = [float(report["duration_ms"]) for report in reports if report.get("attempts")]
    return {
        "minutes": minutes,
        "received": sum(sum(minute["outcomes"].values()) for minute in minutes),
        "outcomes": dict(Counter(str(report.get("outcome")) for report in reports)),
        "retries": sum(max(0, int(report.get("attempts") or 0) - 1) for report in reports),
        "latencyMs": {"p50": _quantile(durations, 50), "p95": _quantile(durations, 95)},
        "functions": [
            _figures_of_function(name, [call for call in recent if call.function == name])
            for name in sorted({call.function for call in recent})
        ],
    }


def _figures_of_function(name: str, calls: Sequence[RecordedCall]) -> dict[str, Any]:
    durations = [call.duration_ms for call in calls]
    return {
        "name": name,
        "calls": len(calls),
        "cold": sum(call.cold for call in calls),
        "warm": sum(not call.cold for call in calls),
        "failed": sum(call.error is not None for call in calls),
        "durationMs": {"p50": _quantile(durations, 50), "p95": _quantile(durations, 95)},
    }


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    if len(values) == 1:
        return round(values[0], 1)
    return round(quantiles(values, n=100, method="inclusive")[percent - 1], 1)
