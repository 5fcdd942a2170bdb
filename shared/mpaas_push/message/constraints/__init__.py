"""The rules of PushSimple between fields and about values, by topic.

Documented rules always reject. Rules that no reachable page confirms mostly warn; the setting ``PUSH_RULES``
(read by `parse_levels`) turns them into errors or warnings, or off. Types, enumerations and limits of a
single field are declared in `mpaas_push.message.fields`.
"""

from mpaas_push.message.constraints.clock import Clock, epoch_milliseconds, system_clock
from mpaas_push.message.constraints.constraint import Constraint, Level, violations
from mpaas_push.message.constraints.table import CONSTRAINTS, errors_at, parse_levels, warnings_at

__all__ = [
    "CONSTRAINTS",
    "Clock",
    "Constraint",
    "Level",
    "epoch_milliseconds",
    "errors_at",
    "parse_levels",
    "system_clock",
    "violations",
    "warnings_at",
]
