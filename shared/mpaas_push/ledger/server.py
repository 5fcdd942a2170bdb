"""The Redis or Tair of the ledger: calls of its script enter, many in one trip, and what came of each leaves.

Nothing is raised: a `Failure` stands for what was not done. Outages (timeouts, no memory, a failover) pass;
permanent failures (a wrong password, missing rights, a node of a cluster) last until somebody acts. A trip
that fails is made again on a new connection, and ends no other one; only a server that cannot be reached, or
fails trip after trip, is left alone for a while.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import ssl
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mpaas_push.settings import Settings

__all__ = ["Failure", "LedgerServer", "record_key"]

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
"""For a connection and for an answer; a ledger that is slower than the push is of no use."""
CONNECTIONS = 16
"""Most connections of an instance."""
WAIT_SECONDS = 2 * TIMEOUT_SECONDS
"""How long a thread waits for one where all are in use."""
IDLE_LIMIT_SECONDS = 10.0
"""A connection idle for longer is opened anew: a flow that a proxy forgot in silence takes `TIMEOUT_SECONDS`
to be noticed."""
FAILED_TRIPS = 2
"""After so many in a row, the first of them made twice, the server counts as down; after one that got no
connection in both attempts, too."""
PAUSE_SECONDS = 2.0
"""How long a server that is down is not asked again: a batch must not wait for each block."""

SCRIPT = Path(__file__).with_name("ledger.lua").read_text("utf-8")
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call was not done, or may not have been.

    Attributes:
        reason: In a few words, without secret, host and user.
        is_permanent: It lasts until settings, rights or server are changed.
        is_asked: Whether the server was asked; if so, the call may have been done and its answer lost.
    """

    reason: str
    is_permanent: bool = False
    is_asked: bool = True


def record_key(kind: str, identity: str) -> str:
    """Return the key of a record: only a hash of what it stands for leaves the function."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return f"mpaas-push:{kind}:{digest[:32]}"


class LedgerServer:
    """Bounded connections to the server. Safe under threads, made anew after a fork; keeps no decision."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet.

        Args:
            settings: `PUSH_LEDGER_URL` and the CA bundle.
        """
        url = settings.ledger_url or ""
        trust = {"ssl_ca_certs": settings.ca_bundle, "ssl_check_hostname": True, "ssl_cert_reqs": "required"}
        self._connections = _Connections.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=WAIT_SECONDS,
            decode_responses=True,
            encoding_errors="replace",  # a record that was cut anywhere must not harm its neighbours
            protocol=2,  # the other one begins with a command that older servers and proxies do not know
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # `ask` makes a trip again
            **(trust if url.startswith("rediss:") else {}),
        )
        self._redis = redis.Redis.from_pool(self._connections)
        self._unreachable = Failure(reason="")
        self._asked_again_at = -math.inf
        self._failed_trips = 0
        self._is_policy_read = False

    def ask(
        self,
        calls: Sequence[Sequence[Any]],
        *,
        despite_pause: bool = False,
        retry_until: float = math.inf,
    ) -> list[list[str] | Failure]:
        """Call the script many times in one trip; never raises.

        A trip that fails is made once more, on a new connection, unless the one before it failed too: a call
        that is made twice comes to the same, since a claim knows its owner.

        Args:
            calls: For each its key and arguments (see `ledger.lua`).
            despite_pause: Ask also a server that was found to be down less than `PAUSE_SECONDS` ago.
            retry_until: After it no trip is made a second time, on the clock of `time.monotonic`.

        Returns:
            For each call what the script returned, or why it was not called.
        """
        if not calls:
            return []
        if time.monotonic() < self._asked_again_at and not despite_pause:
            return [replace(self._unreachable, is_asked=False)] * len(calls)
        is_asked = False
        for _ in range(1 if self._failed_trips else 2):
            try:
                with self._connections.lent() as connection:
                    is_asked = True
                    replies = _trip(connection, calls)
            except _AllInUse:  # nothing is known of the server
                return [Failure(reason="AllConnectionsInUse", is_asked=is_asked)] * len(calls)
            except (exceptions.RedisError, OSError, ValueError) as error:  # ValueError: not Redis
                failure = replace(_failure(error, is_answer=False), is_asked=is_asked)
            else:
                self._failed_trips, self._asked_again_at = 0, -math.inf
                self._warn_of_eviction()
                return [
                    _failure(reply, is_answer=True) if isinstance(reply, Exception) else reply
                    for reply in replies
                ]
            if failure.is_permanent or time.monotonic() >= retry_until:
                break
        self._failed_trips += 1
        if failure.is_permanent or not is_asked or self._failed_trips >= FAILED_TRIPS:
            self._unreachable, self._asked_again_at = failure, time.monotonic() + PAUSE_SECONDS
        return [failure] * len(calls)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _warn_of_eviction(self) -> None:
        """Read once whether the server may drop records before their time."""
        if self._is_policy_read:
            return
        self._is_policy_read = True
        try:
            policy = self._redis.info("memory").get("maxmemory_policy", "noeviction")
        except (exceptions.RedisError, OSError, ValueError):
            return  # not allowed, or not told
        if policy != "noeviction":
            with suppress(Exception):  # of a handler of the log: it is not the push's failure
                logger.warning(
                    "the ledger's server drops records when its memory is full (maxmemory-policy %s), and"
                    " their pushes may be sent twice: set it to noeviction",
                    policy,
                )


class _AllInUse(exceptions.ConnectionError):
    """No connection came free in time."""


class _Connections(redis.BlockingConnectionPool):
    """Connections of which none is used again that may have met what another one failed of, or that was idle
    for so long that something on its way may have forgotten it.
    """

    _generation = 0
    """Raised by each failure."""

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend a connection; one that fails is closed, and those that are idle by then are not used again.

        Raises:
            _AllInUse: none came free in time.
            RedisError: no new one can be opened.
            OSError: as above.
        """
        try:
            connection = self._connected()
        except exceptions.ConnectionError as error:
            if isinstance(error.__context__, Empty):
                raise _AllInUse from None
            raise
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # what it still has to say is about this trip
            self._generation += 1
            raise
        finally:
            connection.idle_since, connection.generation = time.time(), self._generation
            pool: Any = self  # its methods have no types
            pool.release(connection)

    def _connected(self) -> Any:
        pool: Any = self
        connection = pool.get_connection()
        # Wall time: the monotonic clock of a frozen instance may stand still.
        idle_seconds = abs(time.time() - getattr(connection, "idle_since", time.time()))
        generation = getattr(connection, "generation", self._generation)
        if idle_seconds > IDLE_LIMIT_SECONDS or generation != self._generation:
            connection.disconnect()
            try:
                connection.connect()
            except BaseException:
                pool.release(connection)
                raise
        return connection


def _trip(connection: Any, calls: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the reply to each call, errors among them. The script is sent where it is not known."""
    replies: list[Any] = [exceptions.NoScriptError()] * len(calls)
    for spelled_out in (0, 1, len(calls)):  # each node behind a proxy learns the script for itself
        open_calls = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
        commands = [
            (*(("EVAL", SCRIPT) if number < spelled_out else ("EVALSHA", SHA)), 1, *calls[index])
            for number, index in enumerate(open_calls)
        ]
        if not commands:
            break
        for index, answer in zip(open_calls, _exchange(connection, commands), strict=True):
            if isinstance(answer, exceptions.ReadOnlyError):
                raise answer  # after a failover: a new connection leads to the new master
            replies[index] = answer
    return replies


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send commands in one piece and return the reply to each, errors among them."""
    replies: list[Any] = []
    connection.send_packed_command(connection.pack_commands(commands))
    for _ in commands:
        try:
            replies.append(connection.read_response())
        except exceptions.ResponseError as error:
            replies.append(error)
    return replies


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, exceptions.NoScriptError)


_ACCESS = "it refuses the user or the password of PUSH_LEDGER_URL"
_RIGHTS = "the user of PUSH_LEDGER_URL may not use a command or key that the ledger needs"
_NODE = "PUSH_LEDGER_URL names a node of a cluster; it must name the cluster's proxy"
_NETWORK = "it refuses this network: add it to the server's whitelist"
_DATABASE = "there is no database of the number in PUSH_LEDGER_URL"
_CERTIFICATE = "its certificate is not trusted or names another host"
_CONNECTION = "it refuses to set a connection up: check PUSH_LEDGER_URL"
_COMMANDS = "it does not allow the commands that the ledger needs"

_PERMANENT: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (exceptions.AuthenticationError,),
        r"\b(NOAUTH|WRONGPASS)\b|(?i:invalid password|operation not permitted)",
        _ACCESS,
    ),
    ((exceptions.NoPermissionError,), r"\bNOPERM\b|(?i:user executing the script)", _RIGHTS),
    (
        (exceptions.AskError, exceptions.ClusterCrossSlotError),
        r"\b(MOVED|ASK|CROSSSLOT)\b|(?i:not allowed in cluster mode)",
        _NODE,
    ),
    ((), r"(?i:DB index)", _DATABASE),
    ((), r"\bDENIED\b|(?i:illegal address|whitelist)", _NETWORK),
    ((), r"(?i:unknown command|not support|bad lua script)", _COMMANDS),
)
"""Classes of errors, their words (a script's error quotes another one), and what they mean."""
_OUTAGE = re.compile(r"\b(LOADING|BUSY|OOM|READONLY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN|MISCONF|NOREPLICAS)\b")


def _failure(error: Exception, *, is_answer: bool) -> Failure:
    """Say what an error means. Its text may name user and host, so only what is known of it is shown.

    Args:
        error: What was raised or answered.
        is_answer: The server gave it as an answer to a call, on a connection that works.
    """
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Failure(reason=_CERTIFICATE, is_permanent=True)
    # The client takes the code out of the texts that it knows.
    code = getattr(error, "status_code", None) or ""
    words = f"{code} {error}" if isinstance(error, exceptions.ResponseError) else ""
    outage = _OUTAGE.search(words)
    if not outage:
        for classes, pattern, meaning in _PERMANENT:
            if isinstance(error, classes) or re.search(pattern, words):
                return Failure(reason=meaning, is_permanent=True)
        if words and not is_answer:
            return Failure(reason=_CONNECTION, is_permanent=True)
    return Failure(reason=outage[0] if outage else type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
