"""One push message: its fields and rules, the errors it may have, and what vendors do with it.

From top to bottom: `vocabulary` (enumerations, limits, vendors' tables), `json_fields` and `fields`
(declarations), `schema` (JSON schema), `vendors` (limits of channels), `constraints` (rules between
fields), `faults` (errors in plain words), `model` (`PushMessage`), `advice`, `reading` (of payloads).
"""

from mpaas_push.message.fields import PARAMETERS, StrategyContent
from mpaas_push.message.model import PushMessage
from mpaas_push.message.vocabulary import PARAMETERS_2019

__all__ = ["PARAMETERS", "PARAMETERS_2019", "PushMessage", "StrategyContent"]
