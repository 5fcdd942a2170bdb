"""From a cloud event to messages, by the rules that a team writes in `rules.yaml`.

`messages` (what an event becomes) → `rules` (the file, read and checked) → `expressions` (JMESPath, checked
before it runs) → `interpreter` (which fields are missing, and how large a result may be).
"""

from mpaas_push.event_rules.messages import tasks_of_event
from mpaas_push.event_rules.rules import BadRules, EventMatch, Rule, compile_rules, read_rules

__all__ = ["BadRules", "EventMatch", "Rule", "compile_rules", "read_rules", "tasks_of_event"]
