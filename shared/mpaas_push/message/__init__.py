"""One push message: what it may hold, what is wrong with it, and what the vendors make of it."""

from mpaas_push.message.model import PARAMETERS, PARAMETERS_2019, PushMessage, StrategyContent

__all__ = ["PARAMETERS", "PARAMETERS_2019", "PushMessage", "StrategyContent"]
