"""Every constraint in one table, and the setting with the levels of the unconfirmed ones."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mpaas_push.message.constraints.constraint import Constraint, Level
from mpaas_push.message.constraints.extended_params import EXTENDED_PARAMS
from mpaas_push.message.constraints.live_activity import LIVE_ACTIVITY
from mpaas_push.message.constraints.sms import SMS
from mpaas_push.message.constraints.targets import TARGETS
from mpaas_push.message.constraints.timing import TIMING
from mpaas_push.message.constraints.title_and_content import TITLE_AND_CONTENT
from mpaas_push.message.constraints.vendor_parameters import VENDOR_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CONSTRAINTS", "errors_at", "parse_levels", "warnings_at"]

CONSTRAINTS: tuple[Constraint, ...] = tuple(
    sorted(
        TARGETS + TITLE_AND_CONTENT + EXTENDED_PARAMS + TIMING + SMS + VENDOR_PARAMETERS + LIVE_ACTIVITY,
        key=lambda constraint: not constraint.certain,
    )
)
"""Every constraint, documented ones first."""


def errors_at(levels: Mapping[str, Level]) -> tuple[Constraint, ...]:
    """Return the constraints that reject a message, with the levels that a setting changes."""
    return _at(Level.ERROR, tuple(levels.items()))


def warnings_at(levels: Mapping[str, Level]) -> tuple[Constraint, ...]:
    """Return the constraints that warn about a message, with the levels that a setting changes."""
    return _at(Level.WARNING, tuple(levels.items()))


@lru_cache(maxsize=16)
def _at(level: Level, changed: tuple[tuple[str, Level], ...]) -> tuple[Constraint, ...]:
    levels = dict(changed)
    return tuple(
        constraint
        for constraint in CONSTRAINTS
        if (constraint.level if constraint.certain else levels.get(constraint.name, constraint.level))
        is level
    )


def parse_levels(text: str) -> dict[str, Level]:
    """Read the setting ``PUSH_RULES``.

    Args:
        text: ``rule=level`` parts joined by commas, such as ``unsure=error,expired-seconds-max=warning``.
            A level is ``error``, ``warning`` or ``off``. ``unsure`` means every rule that only warns by
            default; a rule that is named explicitly takes precedence. Spaces around the parts are ignored; an
            empty text changes nothing.

    Returns:
        Level by rule name, for the rules that the text names; for ``PushMessage.parse(levels=...)``.

    Raises:
        ValueError: A part is not ``rule=level``, has an unknown rule or level, names a documented rule, or
            names a rule twice.
    """
    groups: dict[str, Level] = {}
    single: dict[str, Level] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, word = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"`{part}` is not of the form rule=level, such as unsure=error")
        if word not in _LEVELS:
            raise ValueError(f"`{word}` is not a level for rule `{name}`; allowed are error, warning, off")
        named = groups if name == _UNSURE else single
        if name in named:
            raise ValueError(f"rule `{name}` is named twice")
        if name != _UNSURE and name not in _UNCONFIRMED:
            raise ValueError(_no_such_rule(name))
        named[name] = _LEVELS[word]
    if _UNSURE in groups:
        warning = [rule.name for rule in _UNCONFIRMED.values() if rule.level is Level.WARNING]
        return dict.fromkeys(warning, groups[_UNSURE]) | single
    return single


def _no_such_rule(name: str) -> str:
    if any(rule.name == name and rule.certain for rule in CONSTRAINTS):
        reason = f"rule `{name}` is documented by mPaaS and its level cannot be changed"
    else:
        reason = f"there is no rule `{name}`"
    allowed = ", ".join(_UNCONFIRMED)
    return f"{reason}; allowed are {_UNSURE} (all that only warn by default), {allowed}"


_UNSURE = "unsure"
_LEVELS = {level.value: level for level in Level}
_UNCONFIRMED = {rule.name: rule for rule in CONSTRAINTS if not rule.certain}
