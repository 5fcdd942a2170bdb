"""mPaaS pushes from Function Compute: messages in, outcomes out.

::

    from mpaas_push import PushClient, PushMessage

    with PushClient.from_env() as client:
        outcomes = client.send(PushMessage(...))
"""

from mpaas_push.client import PushClient
from mpaas_push.credentials import Credentials
from mpaas_push.errors import (
    BatchIncomplete,
    Fault,
    InvalidMessage,
    Misconfigured,
    PushError,
    UnreadablePayload,
)
from mpaas_push.invocation import Invocation
from mpaas_push.message import PushMessage
from mpaas_push.outcome import Outcome, OutcomeKind
from mpaas_push.settings import Settings

__all__ = [
    "BatchIncomplete",
    "Credentials",
    "Fault",
    "InvalidMessage",
    "Invocation",
    "Misconfigured",
    "Outcome",
    "OutcomeKind",
    "PushClient",
    "PushError",
    "PushMessage",
    "Settings",
    "UnreadablePayload",
    "__version__",
]
__version__ = "0.1.0"
