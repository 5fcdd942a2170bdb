"""One push message: what it may hold, what is wrong with it, and what the vendors make of it.

From top to bottom: `vocabulary` (enumerations, limits, vendors' tables), `json_fields` and `fields`
(declarations), `schema` (JSON schema), `vendors` (limits of channels), `constraints` (rules that join
fields), `faults` (what is wrong, in words), `model` (`PushMessage`), `advice`, `reading` (of payloads).
"""

from mpaas_push.message.fields import PARAMETERS, StrategyContent
from mpaas_push.message.model import PushMessage
from mpaas_push.message.vocabulary import PARAMETERS_2019

__all__ = ["PARAMETERS", "PARAMETERS_2019", "PushMessage", "StrategyContent"]
