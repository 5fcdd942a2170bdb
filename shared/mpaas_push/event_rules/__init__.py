"""Turns cloud events into messages, by the rules that a team writes in `rules.yaml`.

`messages` (applies the rules to an event) → `rules` (reads and checks the file) → `expressions` (JMESPath,
checked before it runs) → `expression_interpreter` (detects missing fields, bounds the size of a result).
"""

from mpaas_push.event_rules.messages import tasks_of_event
from mpaas_push.event_rules.rules import BadRules, EventMatch, Rule, compile_rules, read_rules

__all__ = ["BadRules", "EventMatch", "Rule", "compile_rules", "read_rules", "tasks_of_event"]
