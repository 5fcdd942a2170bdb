"""What has been sent already: one record for each request in Redis or Tair, claimed before it is sent.

Powertools' idempotency records carry it. A request is known by its message ids with their targets, its app
and its workspace, of which only a hash is stored; what is kept of an outcome holds no target, no text of the
push and no secret. A record is in one of three states:

* claimed, until the deadline of the invocation that sends it: for another one it is ``throttled`` for now;
* claimed and past that deadline: the sender is gone, the outcome is ``unknown``;
* completed with its outcome: ``accepted``, ``refused`` or ``unknown``, for as long as the message is valid.

``throttled`` and ``misconfigured`` release the claim: the request was not taken and may be sent again. Each
claim differs from all others, and is replaced only by who knows it: whoever comes late harms no other's.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
import warnings
from copy import copy
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from mpaas_push.lean_import import stand_ins
from mpaas_push.outcome import ACCEPTED, REFUSED, THROTTLED, UNKNOWN, Outcome, OutcomeKind, ids_for_log
from mpaas_push.settings import IfDown, OnUnknown

# Powertools imports its DynamoDB records, and with them boto3, whether they are used or not.
_dynamodb = ModuleType("aws_lambda_powertools.utilities.idempotency.persistence.dynamodb")
_dynamodb.__dict__["DynamoDBPersistenceLayer"] = None
with stand_ins(_dynamodb):
    from aws_lambda_powertools.utilities.idempotency.config import IdempotencyConfig
    from aws_lambda_powertools.utilities.idempotency.exceptions import (
        IdempotencyItemAlreadyExistsError,
        IdempotencyItemNotFoundError,
        IdempotencyValidationError,
    )
    from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.idempotency.persistence.cache import CacheClientProtocol
    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
    from redis.commands.core import Script

    from mpaas_push.invocation import Invocation
    from mpaas_push.request import PushRequest
    from mpaas_push.settings import Settings

__all__ = ["Claim", "Comparison", "Ledger"]

logger = logging.getLogger(__name__)

Comparison = Literal["new", "same", "other"]
"""Of an Idempotency-Key: new, known with the same body, known with another one."""

TIMEOUT_SECONDS = 1.0
"""For a connection and for an answer; a ledger that is slower than the push is of no use."""
IDLE_LIMIT_SECONDS = 10.0
"""A connection idle for longer is opened anew: a flow that a proxy forgot in silence takes `TIMEOUT_SECONDS`
to be noticed, and then it is too late to ask again."""
PAUSE_SECONDS = 2.0
"""How long a ledger that could not be reached is not asked again: a batch must not wait once a request."""
SHORTEST_KEPT_SECONDS = 24 * 3600
"""Records outlive short validities: deliveries are repeated for up to a day
(fc-runtime.md: MNS topic trigger, Asynchronous invocation)."""
LONGEST_KEPT_SECONDS = 400 * 24 * 3600
"""Longer validities are not told from mistakes, and no clock and no server counts without end."""
LONGEST_CLAIM_SECONDS = 15 * 60.0
"""A claim of an invocation without deadline, or with a later one: the request has no longer than that."""
MARGIN_SECONDS = 1.0
"""How long a claim outlives its invocation: a verdict of the last moment still has to be recorded."""

_REPLACE = """
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then
    return 0
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""
"""Puts a text (for so many seconds), or nothing, in the place of a known one; another one stays."""


class Claim:
    """The right to send a request, taken from the ledger; settle it with the outcome.

    Attributes:
        request: The request.
        deadline: Until when the request may be under way, on the clock of `time.monotonic`; then others may
            think that its sender is gone.
    """

    def __init__(self, ledger: Ledger, request: PushRequest, invocation: Invocation) -> None:
        self.request = request
        self.seconds = min(invocation.time_left + MARGIN_SECONDS, LONGEST_CLAIM_SECONDS)
        self.deadline = time.monotonic() + self.seconds - MARGIN_SECONDS
        self._ledger = ledger
        self._own = _OwnRecord(ledger._redis, ledger._replace)  # noqa: SLF001 - one thing in several classes
        self._records = ledger._records_of(self._own, _kept(request))  # noqa: SLF001 - as above
        self._data = {"key": _identity(request)}

    @property
    def may_stand(self) -> bool:
        """Whether the claim stands in the ledger, or may: an answer was lost."""
        return bool(self._own.mine)

    def found(self) -> DataRecord | None:
        """Read the request's record."""
        try:
            return self._records.get_record(self._data)
        except IdempotencyItemNotFoundError:
            return None

    def taken(self) -> bool:
        """Write the claim in the place of what was found, and say whether it is there."""
        try:
            self._records.save_inprogress(self._data, remaining_time_in_millis=round(self.seconds * 1000))
        except (IdempotencyItemAlreadyExistsError, IdempotencyItemNotFoundError):
            return False  # another invocation was faster, and may have given its claim back already
        except (RedisError, OSError):
            if not self._own.refused:
                raise
            return False  # only Powertools' look at who was faster failed
        return True

    def given_back(self) -> None:
        """Delete the claim, if it still stands there."""
        self._records.delete_record(self._data, _NOTHING_SENT)

    def noted(self, outcome: Outcome) -> None:
        """Write an outcome in the place of the claim; ``accepted`` stays true whatever stands there."""
        self._own.yields = outcome.kind is not ACCEPTED
        self._records.save_success(self._data, _noted(outcome))

    def settle(self, outcome: Outcome) -> None:
        """Record what became of the request; never raises.

        When the ledger cannot be reached the claim stays and, past its deadline, counts as ``unknown``.
        Another invocation that has taken the request over meanwhile keeps its claim, and its outcome stays,
        unless this push was accepted.
        """
        self._ledger._settle(self, outcome)  # noqa: SLF001 - one thing in several classes


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the class's old name, at every new object

    class _Records(CachePersistenceLayer):
        """Powertools' records in Redis."""


class _OwnRecord:
    """The client by which Powertools reads and writes one record.

    Powertools overwrites and deletes whatever stands under a key. This one gives what it writes an owner,
    replaces a record only if it is still the one that was found, and then only its own.

    Attributes:
        mine: What was written last and may stand there; empty if it certainly does not.
        refused: Another record stood where this one was to be written.
        yields: Whether another record is let stand where one's own is to be written.
    """

    def __init__(self, client: redis.Redis, replace: Script) -> None:
        self.mine = ""
        self.refused = False
        self.yields = True
        self._client = client
        self._replace = replace
        self._owner = uuid.uuid4().hex
        self._name: Any = None
        self._found = ""

    def get(self, name: Any) -> str | None:
        self._name = name
        self._found = cast("str | None", self._client.get(name)) or ""
        return self._found or None

    def set(self, name: Any, value: Any, ex: Any = None, px: Any = None, nx: bool = False) -> bool | None:
        del px, nx  # Powertools counts in seconds; what is found decides, be it nothing
        if name != self._name:
            return None  # its lock for overwriting what seems abandoned: here that is an unknown outcome
        text = f'{value[:-1]}, "owner": "{self._owner}"}}'
        expected, self.mine = self.mine or self._found, text
        if not self.yields:
            self._client.set(name, text, ex=ex)
        elif not self._replace(keys=[name], args=[expected, text, ex]):
            self.mine, self.refused = "", True
            return None
        return True

    def delete(self, *names: Any) -> Any:
        return self._replace(keys=[*names], args=[self.mine, "", 0]) if self.mine else 0


class _Connections(redis.ConnectionPool):
    """Connections of which none is used after a long rest: on its way something may have forgotten it."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        connection: Any = super().get_connection(*args, **options)
        # Wall time: the monotonic clock of a frozen instance may stand still.
        if abs(time.time() - getattr(connection, "idle_since", time.time())) > IDLE_LIMIT_SECONDS:
            connection.disconnect()
            try:
                connection.connect()
            except BaseException:
                self.release(connection)
                raise
        return connection

    def release(self, connection: Any) -> None:
        connection.idle_since = time.time()
        super().release(connection)


class Ledger:
    """Records of what was sent, shared by all functions and instances that name the same server.

    Safe under threads; keeps connections, and no decision.
    """

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet.

        Args:
            settings: `PUSH_LEDGER_URL` and what to do when it cannot be reached.
        """
        url = settings.ledger_url or ""
        trust = {"ssl_ca_certs": settings.ca_bundle, "ssl_check_hostname": True, "ssl_cert_reqs": "required"}
        connections = _Connections.from_url(
            url,
            decode_responses=True,
            protocol=2,  # the other one begins with a command that older servers and proxies do not know
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            # A claim that is sent twice would find itself.
            retry=Retry(NoBackoff(), 0),
            **(trust if url.startswith("rediss:") else {}),
        )
        self._redis = redis.Redis.from_pool(connections)
        self._replace = self._redis.register_script(_REPLACE)
        self._keys = _records(self._redis, bodies=True)
        self._requests = _records(self._redis, bodies=False)
        self._settings = settings
        self._asked_again_at = -math.inf

    def claim(self, request: PushRequest, invocation: Invocation) -> Claim | Outcome | None:
        """Ask for the right to send a request; never raises.

        Returns:
            The claim, or the outcome that stands for sending: the one of the first time, ``throttled`` while
            another invocation sends the request. None when the ledger cannot be reached and the request is to
            be sent without it; a claim of which nobody knows whether it stands there is settled even so.
        """
        if time.monotonic() < self._asked_again_at:
            return self._without(request)
        claim = Claim(self, request, invocation)
        try:
            return self._claimed(claim)
        except (RedisError, OSError) as error:
            self._report(error)
        instead = self._without(request)
        if not claim.may_stand:
            return instead
        if instead is None:
            return claim
        # Nothing is sent: left alone, the claim would end as ``unknown``.
        self._settle(claim, instead)
        return instead

    def compared(self, key: str, fingerprint: str) -> Comparison:
        """Say whether an Idempotency-Key is new or known, and with which body; remember it a day.

        With a ledger that cannot be reached nothing is said against a key. Never raises.

        Args:
            key: The caller's key.
            fingerprint: Hash of the body that came with it.
        """
        if time.monotonic() < self._asked_again_at:
            return "same"
        data = {"key": self._key(key), "body": fingerprint}
        try:
            try:
                self._keys.save_inprogress(data, remaining_time_in_millis=SHORTEST_KEPT_SECONDS * 1000)
            except IdempotencyItemAlreadyExistsError:
                self._keys.get_record(data)
                return "same"
        except IdempotencyValidationError:
            return "other"
        except IdempotencyItemNotFoundError:
            return "same"
        except (RedisError, OSError) as error:
            self._report(error)
            return "same"
        return "new"

    def forget(self, key: str) -> None:
        """Forget an Idempotency-Key under which nothing was sent; never raises."""
        try:
            self._keys.delete_record({"key": self._key(key)}, _NOTHING_SENT)
        except (RedisError, OSError) as error:
            self._report(error)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _key(self, key: str) -> list[str | None]:
        """Return what identifies an Idempotency-Key: deployments of other apps may share the server."""
        return ["Idempotency-Key", self._settings.app_id, self._settings.workspace_id, key]

    def _records_of(self, client: _OwnRecord, seconds: int) -> _Records:
        """Return the records as one claim sees them, kept for so many seconds."""
        records = copy(self._requests)
        records.client = client
        records.expires_after_seconds = seconds
        return records

    def _claimed(self, claim: Claim) -> Claim | Outcome:
        found = claim.found()
        if found and (answer := self._answer(found, claim.request)):
            return answer
        if not claim.taken():
            return _elsewhere(claim.request)
        if found:
            ids = ids_for_log(claim.request.targets)
            logger.warning("sent again after an unknown outcome", extra={"message_ids": ids})
        return claim

    def _answer(self, found: DataRecord, request: PushRequest) -> Outcome | None:
        """Return what a record stands for; None if the request is to be sent again."""
        if _in_progress(found):
            return _elsewhere(request)
        outcome = _outcome_of(found, request)
        again = outcome.kind is UNKNOWN and self._settings.on_unknown is OnUnknown.RETRY
        return None if again else outcome

    def _settle(self, claim: Claim, outcome: Outcome) -> None:
        try:
            if outcome.kind in _KEPT:
                claim.noted(outcome)
            else:
                claim.given_back()
        except (RedisError, OSError) as error:
            self._report(error)

    def _without(self, request: PushRequest) -> Outcome | None:
        if self._settings.ledger_if_down is IfDown.SEND:
            return None
        return Outcome(
            THROTTLED,
            request.targets,
            result_code="LedgerDown",
            result_message="not sent: the ledger cannot be reached; safe to send again",
        )

    def _report(self, error: Exception) -> None:
        self._asked_again_at = time.monotonic() + PAUSE_SECONDS
        # What one connection met awaits the idle ones: whoever asks next asks on a new one.
        self._redis.connection_pool.disconnect(inuse_connections=False)
        # Texts of its errors may name user and host: their kind is enough.
        logger.error(
            "the ledger cannot be reached (%s): %s",
            type(error).__name__,
            "pushes are sent without it, and may be sent twice"
            if self._settings.ledger_if_down is IfDown.SEND
            else "pushes wait for it",
        )


_KEPT = frozenset({ACCEPTED, REFUSED, UNKNOWN})
_NOTHING_SENT = Exception("nothing was sent")
"""Powertools wants an exception with each record that it deletes, for its log."""


def _records(client: redis.Redis, *, bodies: bool) -> _Records:
    """Return Powertools' records, with or without a comparison of bodies."""
    records = _Records(client=cast("CacheClientProtocol", client))
    config = IdempotencyConfig(
        event_key_jmespath="key",
        payload_validation_jmespath="body" if bodies else "",
        expires_after_seconds=SHORTEST_KEPT_SECONDS,
        hash_function="sha256",
    )
    records.configure(config, key_prefix="mpaas-push")
    return records


def _identity(request: PushRequest) -> list[Any]:
    parameters = request.parameters
    return [parameters.get("AppId"), parameters.get("WorkspaceId"), sorted(request.targets.items())]


def _kept(request: PushRequest) -> int:
    validity = int(request.parameters["ExpiredSeconds"])
    return min(max(validity, SHORTEST_KEPT_SECONDS), LONGEST_KEPT_SECONDS)


def _in_progress(record: DataRecord) -> bool:
    until = record.in_progress_expiry_timestamp or 0
    return record.status == "INPROGRESS" and until > time.time() * 1000


def _elsewhere(request: PushRequest) -> Outcome:
    return Outcome(
        THROTTLED,
        request.targets,
        result_code="InProgress",
        result_message="another invocation is sending this request; safe to ask again",
        retry_after=1.0,
    )


def _noted(outcome: Outcome) -> dict[str, Any]:
    return {
        "outcome": outcome.kind.value,
        "requestId": outcome.request_id,
        "resultCode": outcome.result_code,
        "resultMessage": outcome.result_message,
        "taskId": outcome.task_id,
        "attempts": outcome.attempts,
    }


def _outcome_of(record: DataRecord, request: PushRequest) -> Outcome:
    """Return the outcome of the first time; a claim that nobody settled has none."""
    noted = record.response_json_as_dict()
    if noted is None:
        return Outcome(
            UNKNOWN,
            request.targets,
            result_code="Interrupted",
            result_message="the invocation that sent this request ended before its outcome was known",
            attempts=1,
        )
    return Outcome(
        OutcomeKind(noted["outcome"]),
        request.targets,
        noted["requestId"],
        noted["resultCode"],
        noted["resultMessage"],
        noted["taskId"],
        noted["attempts"],
    )
