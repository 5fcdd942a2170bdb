"""One invocation of a function: its sender, keys and deadline."""

from __future__ import annotations

import math
import os
import time
import uuid
from dataclasses import dataclass, replace

from mpaas_push.credentials import Credentials

__all__ = ["Invocation", "sender_of", "sibling_sender"]

MARGIN_SECONDS = 0.5
"""Time reserved before the function's timeout, to write the response and the log."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The data of one invocation, never kept beyond it.

    Attributes:
        request_id: Function Compute's id of the invocation; a random one outside of it.
        credentials: The AccessKey that this invocation signs with.
        deadline: When work must end, in seconds on the clock of `time.monotonic`.
        sender: The function that sends (see `sender_of`). Every scope starts with it, so the ids of functions
            and stages that share a ledger are distinct.
        first_moment_limit: The latest time at which its pushes can have been requested, in Unix seconds; a
            later time in the event is not believed.
        begin_by: When the last request may begin, on the clock of `time.monotonic`; requests in flight have
            until the deadline.
    """

    request_id: str
    credentials: Credentials
    deadline: float = math.inf
    sender: str = ""
    first_moment_limit: float = math.inf
    begin_by: float = math.inf

    @classmethod
    def of(cls, context: object = None) -> Invocation:
        """Read the context that Function Compute passes to a handler; call it first, the clock starts here.

        Accepts both shapes of the context (with credentials up to Python 3.10, without on 3.12;
        fc-runtime.md: Context); None means a call outside Function Compute, which has no deadline.

        Raises:
            Misconfigured: no complete AccessKey was found.
        """
        function = getattr(context, "function", None)
        # The runtime passes the timeout as a string; its type is not documented (fc-runtime.md: Context).
        timeout = getattr(function, "timeout", None) or os.environ.get("FC_TIMEOUT") if context else None
        return cls(
            request_id=getattr(context, "request_id", None) or uuid.uuid4().hex,
            credentials=Credentials.resolve(context),
            deadline=time.monotonic() + max(_seconds(timeout) - MARGIN_SECONDS, 0),
            sender=_sender(context),
        )

    def ending_earlier(self, seconds: float) -> Invocation:
        """Return the same invocation, with time reserved for what follows sending."""
        return replace(self, deadline=self.deadline - seconds)

    @property
    def time_left(self) -> float:
        """Seconds until the deadline; zero or less when it has passed, infinite when there is none."""
        return self.deadline - time.monotonic()

    @property
    def time_to_begin(self) -> float:
        """Seconds during which requests may still begin; zero or less when none may."""
        return min(self.deadline, self.begin_by) - time.monotonic()


def sender_of(region: str, account: str, function: str, service: str = "") -> str:
    """Name a function as a sender: ``acs:fc:<region>:<account>:functions/<deployed name>``.

    Version and alias are left out: they change, the push stays the same.

    Args:
        region: Its region; like the others, empty where it is not known.
        account: Id of its account.
        function: Its deployed name.
        service: The service of FC 2.0 within which the name is unique; FC 3.0 calls such a function
            ``service$function`` (fc-runtime.md: SDKs and API versions).
    """
    name = f"{service}${function}" if service else function
    return f"acs:fc:{region}:{account}:functions/{name}"


def sibling_sender(sender: str, function: str) -> str:
    """Name another function of a sender's account and region, as `sender_of` would name it.

    Args:
        sender: As returned by `sender_of`.
        function: The deployed name, or ``fc2:service/function``, with or without a qualifier.
    """
    service, _, name = function.removeprefix("fc2:").rpartition("/")
    _, _, region, account, _ = f"{sender}::::".split(":", 4)
    return sender_of(region, account, name, service.partition(".")[0])


def _sender(context: object) -> str:
    function = getattr(context, "function", None)
    service = getattr(getattr(context, "service", None), "name", None) or os.environ.get("FC_SERVICE_NAME")
    region = getattr(context, "region", None) or os.environ.get("FC_REGION", "")
    account = getattr(context, "account_id", None) or os.environ.get("FC_ACCOUNT_ID", "")
    name = getattr(function, "name", None) or os.environ.get("FC_FUNCTION_NAME", "")
    return sender_of(region, account, name, service or "")


def _seconds(timeout: object) -> float:
    """Parse a timeout. An unreadable one means no limit: sending the push matters more."""
    try:
        seconds = float(str(timeout))
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf
