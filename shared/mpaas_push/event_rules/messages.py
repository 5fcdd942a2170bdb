"""Turns a cloud event into messages: one task for each rule that matches the event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mpaas_push.errors import Fault, InvalidMessage
from mpaas_push.event_rules.expression_interpreter import Inapplicable
from mpaas_push.message import PushMessage
from mpaas_push.task import PushTask, absolute_scope, first_moment_of, read_message, unreadable
from mpaas_push.triggers.record import UnreadableElement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpaas_push.event_rules.rules import Rule
    from mpaas_push.settings import Settings
    from mpaas_push.triggers.record import CloudEvent, EventOrError

__all__ = ["tasks_of_event"]


def tasks_of_event(
    event: EventOrError, rules: Sequence[Rule], settings: Settings, sender: str = ""
) -> list[PushTask]:
    """Apply every rule to an event; never raises.

    Returns:
        A task for each rule that matches the event: its message, or the faults of a rule that fails on the
        event. The list is empty if no rule matches. The scope of a task is that of the event and the rule's
        name.
    """
    if isinstance(event, UnreadableElement):
        return [unreadable(event, sender)]
    attributes = {name: value for name, value in event if value is not None}
    return [task for rule in rules if (task := _task(rule, event, attributes, settings, sender)) is not None]


def _task(
    rule: Rule, event: CloudEvent, attributes: dict[str, Any], settings: Settings, sender: str
) -> PushTask | None:
    payload = None
    too_late: tuple[Fault, ...] = ()
    first_moment = first_moment_of(event.moment, time.time())
    try:
        if not rule.match.matches(event, attributes):
            return None
        payload = rule.payload(attributes)
        message, too_late = read_message(payload, settings, first_moment)
    except Inapplicable as error:
        message = InvalidMessage([Fault("match.where", str(error))])
    except InvalidMessage as error:
        message = error
    if isinstance(message, InvalidMessage):
        message = InvalidMessage([fault.below(rule.name) for fault in message.faults], message.targets)
    return PushTask(
        scope=absolute_scope(sender, f"{event.scope}:{rule.name}"),
        original=event.original,
        message=message,
        first_moment=first_moment,
        too_late=too_late,
        payload=payload if isinstance(message, PushMessage) else None,
    )
