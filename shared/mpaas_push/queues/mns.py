"""Queues that messages are handed over to: MNS, through its official SDK.

Each message gets a result. The failure of one never stops the others: messages that were not accepted are
sent again as long as there is time. The SDK is imported at first use: most invocations hand nothing over.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from mpaas_push.connection import tls_context
from mpaas_push.errors import Misconfigured
from mpaas_push.queues.message import BODY_BYTES, QueueMessage
from mpaas_push.threads import run_concurrently

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

    from mpaas_push.invocation import Invocation
    from mpaas_push.queues.connection import MnsConnection
    from mpaas_push.settings import Settings

__all__ = ["HandOverResult", "MnsQueues", "Queues"]

logger = logging.getLogger(__name__)

BATCH = 16
"""Most messages in one request to MNS, together no longer than `BATCH_BYTES`."""
BATCH_BYTES = 64 * 1024
"""Of Base64; each message is padded separately."""
CONNECTIONS = 8
"""Concurrent requests."""
TIMEOUT_SECONDS = 5.0
"""For a request and its response; less if less time is left."""
PATIENCE_SECONDS = 60.0
"""How long one hand-over keeps trying; less if less time is left."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
"""The pause before another round doubles from the first to the longest."""
SERVER_ERROR = 500
TEMPORARY_STATUSES = {408, 429}
"""Statuses of a request that may succeed later: Request Timeout, Too Many Requests."""
CODE_CHARACTERS = 100
"""Maximum length of an error code in a log."""


class HandOverResult(Enum):
    """The result of sending a message to a queue."""

    ACCEPTED = auto()
    """It is certainly in the queue."""
    FAILED = auto()
    """It may not be in the queue; a later attempt may succeed."""
    REFUSED = auto()
    """The queue rejects this message as too long or malformed; it accepts others."""


class Queues(Protocol):
    """Where messages can be handed over."""

    def hand_over(self, messages: Sequence[QueueMessage]) -> list[HandOverResult]:
        """Put messages into their queues and return the result of each; never raises."""


class MnsQueues:
    """Queues of Alibaba Cloud's Message Service in the function's own region.

    A context manager: leaving it closes the connections.
    """

    def __init__(self, settings: Settings, invocation: Invocation) -> None:
        """Connections open on first use.

        Args:
            settings: The endpoint.
            invocation: Its AccessKey needs `mns:SendMessage` on the queues. Nothing is handed over after its
                deadline: a function that is stopped midway could not report the remaining messages.
        """
        self._endpoint = settings.mns_endpoint
        self._ca_bundle = settings.ca_bundle
        self._invocation = invocation
        self._tls: ssl.SSLContext | None = None
        self._idle: list[MnsConnection] = []
        self._lock = threading.Lock()

    def hand_over(self, messages: Sequence[QueueMessage]) -> list[HandOverResult]:
        """Put messages into their queues and return the result of each.

        A request holds up to 16 messages, and several requests are concurrent. Messages that were not
        accepted are sent again until no time is left, unless the error is permanent. So are those of a
        request whose response was lost: they may be in the queue twice, which is better than the whole batch
        twice. If MNS refuses a request because of one message, the others are sent without it.
        """
        failures: list[_NotAccepted | None] = [
            None if _length(message) <= BODY_BYTES else _NotAccepted("TooLong", refused=True)
            for message in messages
        ]
        errors: Counter[tuple[str, str]] = Counter()
        waiting = {index for index, failure in enumerate(failures) if failure is None}

        def send(indexes: Sequence[int]) -> None:
            try:
                results = self._send([messages[index] for index in indexes])
            except _NotAccepted as refusal:
                if refusal.refused and len(indexes) > 1:
                    half = len(indexes) // 2
                    send(indexes[:half])
                    send(indexes[half:])
                    return
                results = [refusal] * len(indexes)
            except Exception as error:  # noqa: BLE001 - no error may lose a message
                # An error's text may quote the request; its class does not.
                results = [_NotAccepted(type(error).__name__)] * len(indexes)
            for index, failure in zip(indexes, results, strict=True):
                failures[index] = failure
                with self._lock:
                    if failure is None or failure.permanent:
                        waiting.discard(index)
                    if failure is not None:
                        errors[messages[index].queue, failure.code] += 1

        until = min(self._invocation.deadline, time.monotonic() + PATIENCE_SECONDS)
        pause = FIRST_PAUSE_SECONDS
        while waiting and time.monotonic() < until:
            run_concurrently(send, _requests(messages, sorted(waiting)), threads=CONNECTIONS, until=until)
            if waiting:
                time.sleep(max(min(pause, until - time.monotonic()), 0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        results = [
            HandOverResult.FAILED if index in waiting else _result_of(failure)
            for index, failure in enumerate(failures)
        ]
        _log(messages, results, errors)
        return results

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().close()

    def _send(self, messages: Sequence[QueueMessage]) -> list[_NotAccepted | None]:
        """Send one request and return the result of each message.

        Raises:
            _NotAccepted: None of its messages is known to be accepted.
            OSError: There was no response.
        """
        with self._lock:
            connection = self._idle.pop() if self._idle else self._connection()
        try:
            limit = min(TIMEOUT_SECONDS, self._invocation.time_left)
            response = connection.send(messages, time.monotonic() + limit)
        finally:
            self._idle.append(connection)
        return _read_results(response.status, response.body.decode(errors="replace"), len(messages))

    def _connection(self) -> MnsConnection:
        from mpaas_push.queues.connection import MnsConnection  # most invocations hand nothing over

        try:
            endpoint = self._endpoint or _own_endpoint()
            if self._tls is None and endpoint.startswith("https:"):
                self._tls = tls_context(self._ca_bundle)
        except Misconfigured as error:
            raise _NotAccepted(str(error), permanent=True) from None
        return MnsConnection(endpoint, self._invocation.credentials, self._tls)


class _NotAccepted(Exception):
    """A message or a request was not accepted.

    Attributes:
        code: The error code.
        permanent: A later attempt will fail, too, until the configuration is corrected.
        refused: It is permanent because of the message itself, or of one in the request.
    """

    def __init__(self, code: str, *, permanent: bool = False, refused: bool = False) -> None:
        self.code = code
        self.permanent = permanent or refused
        self.refused = refused
        super().__init__(code)


def _result_of(failure: _NotAccepted | None) -> HandOverResult:
    if failure is None:
        return HandOverResult.ACCEPTED
    return HandOverResult.REFUSED if failure.refused else HandOverResult.FAILED


def _own_endpoint() -> str:
    account, region = os.environ.get("FC_ACCOUNT_ID"), os.environ.get("FC_REGION")
    if not account or not region:
        raise Misconfigured("PUSH_MNS_ENDPOINT is not set", setting="PUSH_MNS_ENDPOINT")
    return f"https://{account}.mns.{region}.aliyuncs.com"


def _read_results(status: int, document: str, count: int) -> list[_NotAccepted | None]:
    """Read the result of each message: None if it was accepted.

    Raises:
        _NotAccepted: The response does not have a result for each message.
    """
    from mns.mns_client import ErrorDecoder
    from mns.mns_exception import MNSExceptionBase

    entries: list[dict[str, str]] = []
    try:
        ErrorDecoder.xml_to_listofdic("Messages", "Message", document, entries)
    except MNSExceptionBase:
        raise _refusal(status, document) from None
    if len(entries) != count:
        raise _NotAccepted("IncompleteResponse")
    return [_failure_of(entry) for entry in entries]


def _failure_of(entry: dict[str, str]) -> _NotAccepted | None:
    """Read the result of one message: None if it was accepted."""
    if "MessageId" in entry and "ErrorCode" not in entry:
        return None
    return _classify(entry.get("ErrorCode", "NoMessageId"), entry.get("ErrorMessage", ""))


def _refusal(status: int, document: str) -> _NotAccepted:
    """Read why the whole request was refused. An error from a proxy instead of MNS is not permanent."""
    from mns.mns_client import ErrorDecoder
    from mns.mns_exception import MNSExceptionBase

    try:
        code, words = ErrorDecoder.decodeError(document)[:2]
    except MNSExceptionBase:
        return _NotAccepted(f"HTTP{status}")
    if status >= SERVER_ERROR or status in TEMPORARY_STATUSES:
        return _NotAccepted(code[:CODE_CHARACTERS])
    return _classify(code, words)


def _classify(code: str, words: str) -> _NotAccepted:
    """Classify an error by its code (mns.md: Error codes); unknown codes count as temporary."""
    permanent = re.match(_PERMANENT, code) is not None
    refused = re.match(_REFUSED, code) is not None and "header" not in words.lower()
    return _NotAccepted(code[:CODE_CHARACTERS], permanent=permanent, refused=refused)


_PERMANENT = "Invalid|Missing|AccessDenied$|SignatureDoesNotMatch$|QueueNotExist$"
"""Codes of errors that last until the configuration is corrected."""
_REFUSED = "InvalidArgument$|Malformed|Message(Body)?(TooLarge|TooLong)"
"""Codes that concern the message itself. A queue's `MaximumMessageSize` may be below 64 KB."""


def _requests(messages: Sequence[QueueMessage], indexes: Sequence[int]) -> Iterator[list[int]]:
    """Yield the messages of each request, as indexes: all for one queue, and together not too long."""
    for queue in dict.fromkeys(messages[index].queue for index in indexes):
        request: list[int] = []
        size = 0
        for index in indexes:
            if messages[index].queue != queue:
                continue
            encoded = (_length(messages[index]) + 2) // 3 * 4
            if request and (len(request) == BATCH or size + encoded > BATCH_BYTES):
                yield request
                request, size = [], 0
            request.append(index)
            size += encoded
        yield request


def _length(message: QueueMessage) -> int:
    return len(message.body.encode("utf-8", "replace"))


def _log(
    messages: Sequence[QueueMessage], results: Sequence[HandOverResult], errors: Counter[tuple[str, str]]
) -> None:
    """Log one line for each queue that did not accept everything at the first attempt."""
    for queue in dict.fromkeys(message.queue for message in messages):
        not_accepted = sum(
            result is not HandOverResult.ACCEPTED
            for message, result in zip(messages, results, strict=True)
            if message.queue == queue
        )
        codes = ", ".join(f"{count} {code}" for (name, code), count in errors.items() if name == queue)
        if not_accepted:
            reason = codes or "too long, or no time was left"
            logger.error("queue %s did not accept %d messages: %s", queue, not_accepted, reason)
        elif codes:
            logger.warning("queue %s accepted its messages only after retries: %s", queue, codes)
