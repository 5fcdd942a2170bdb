"""The Redis or Tair of the ledger: sends many calls of the ledger's script in one trip.

Nothing is raised: a `Failure` replaces a missing reply. Outages (timeouts, no memory, a failover) are
temporary; permanent failures (a wrong password, missing rights, a node of a cluster) last until an operator
acts. A failed trip is repeated on a new connection and does not affect others. Only a server that cannot be
reached, or that fails trip after trip, is not called for a while.
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

__all__ = ["Failure", "RedisClient", "record_key"]

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 1.0
"""For a connection and for a reply; a ledger that is slower than the push is of no use."""
CONNECTIONS = 16
"""Maximum number of connections of an instance."""
WAIT_SECONDS = 2 * TIMEOUT_SECONDS
"""How long a thread waits for a connection when all are in use."""
IDLE_LIMIT_SECONDS = 10.0
"""A connection that was idle for longer is reopened: it takes `TIMEOUT_SECONDS` to notice that a proxy has
silently dropped it."""
FAILED_TRIPS = 2
"""Consecutive failed trips after which the server counts as down; the first of them is tried twice. One trip
is enough if neither attempt got a connection."""
PAUSE_SECONDS = 2.0
"""How long a server that is down is not called: a batch must not wait for it with each block."""

SCRIPT = Path(__file__).with_name("ledger.lua").read_text("utf-8")
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call was not, or may not have been, carried out.

    Attributes:
        reason: In a few words, without secrets, host or user.
        is_permanent: It lasts until settings, rights or the server change.
        was_called: The server was called: the call may have been carried out and its reply lost.
    """

    reason: str
    is_permanent: bool = False
    was_called: bool = True


def record_key(kind: str, identity: str) -> str:
    """Return the key of a record; it holds only a hash of the identity."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    return f"mpaas-push:{kind}:{digest[:32]}"


class RedisClient:
    """A bounded pool of connections to the server. Thread-safe; reconnects after a fork."""

    def __init__(self, settings: Settings) -> None:
        """Create a pool; connections open at the first call.

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
            encoding_errors="replace",  # a truncated record must not affect its neighbours
            protocol=2,  # version 3 begins with a command that older servers and proxies do not know
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # `ask` repeats a trip itself
            **(trust if url.startswith("rediss:") else {}),
        )
        self._redis = redis.Redis.from_pool(self._connections)
        self._unreachable = Failure(reason="")
        self._paused_until = -math.inf
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

        A failed trip is repeated once, on a new connection, unless the previous trip failed, too. That is
        safe: a claim is recognised by its owner, so a repeated call has the same result.

        Args:
            calls: The key and arguments of each (see `ledger.lua`).
            despite_pause: Also call a server that was down less than `PAUSE_SECONDS` ago.
            retry_until: No trip is repeated after this time, on the clock of `time.monotonic`.

        Returns:
            The script's reply to each call, or the failure.
        """
        if not calls:
            return []
        if time.monotonic() < self._paused_until and not despite_pause:
            return [replace(self._unreachable, was_called=False)] * len(calls)
        was_called = False
        for _ in range(1 if self._failed_trips else 2):
            try:
                with self._connections.lend() as connection:
                    was_called = True
                    replies = _trip(connection, calls)
            except _AllInUse:  # says nothing about the server
                return [Failure(reason="AllConnectionsInUse", was_called=was_called)] * len(calls)
            except (exceptions.RedisError, OSError, ValueError) as error:  # ValueError: not Redis
                failure = replace(_failure(error, is_reply=False), was_called=was_called)
            else:
                self._failed_trips, self._paused_until = 0, -math.inf
                self._warn_of_eviction()
                return [
                    _failure(reply, is_reply=True) if isinstance(reply, Exception) else reply
                    for reply in replies
                ]
            if failure.is_permanent or time.monotonic() >= retry_until:
                break
        self._failed_trips += 1
        if failure.is_permanent or not was_called or self._failed_trips >= FAILED_TRIPS:
            self._unreachable, self._paused_until = failure, time.monotonic() + PAUSE_SECONDS
        return [failure] * len(calls)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _warn_of_eviction(self) -> None:
        """Check once whether the server may evict records, and warn if so."""
        if self._is_policy_read:
            return
        self._is_policy_read = True
        try:
            policy = self._redis.info("memory").get("maxmemory_policy", "noeviction")
        except (exceptions.RedisError, OSError, ValueError):
            return  # not allowed, or not disclosed
        if policy != "noeviction":
            with suppress(Exception):  # a log handler that raises must not fail the push
                logger.warning(
                    "the ledger's server drops records when its memory is full (maxmemory-policy %s), and"
                    " their pushes may be sent twice: set it to noeviction",
                    policy,
                )


class _AllInUse(exceptions.ConnectionError):
    """No connection became free in time."""


class _Connections(redis.BlockingConnectionPool):
    """A pool that reopens connections which were idle for too long, or were idle when another one failed."""

    _generation = 0
    """Incremented by each failure."""

    @contextmanager
    def lend(self) -> Iterator[Any]:
        """Lend a connection. If it fails, it is closed, and so are all idle ones before their next use.

        Raises:
            _AllInUse: No connection became free in time.
            RedisError, OSError: No new connection can be opened.
        """
        try:
            connection = self._get_connected()
        except exceptions.ConnectionError as error:
            if isinstance(error.__context__, Empty):
                raise _AllInUse from None
            raise
        try:
            yield connection
        except BaseException:
            connection.disconnect()  # a late reply would belong to this trip
            self._generation += 1
            raise
        finally:
            connection.idle_since, connection.generation = time.time(), self._generation
            pool: Any = self  # its methods have no types
            pool.release(connection)

    def _get_connected(self) -> Any:
        pool: Any = self
        connection = pool.get_connection()
        # Wall time: the monotonic clock of a frozen instance may not advance.
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
    """Return the reply to each call, or its error. Nodes that do not know the script are sent it."""
    replies: list[Any] = [exceptions.NoScriptError()] * len(calls)
    for full_scripts in (0, 1, len(calls)):  # each node behind a proxy has its own scripts
        pending = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
        commands = [
            (*(("EVAL", SCRIPT) if number < full_scripts else ("EVALSHA", SHA)), 1, *calls[index])
            for number, index in enumerate(pending)
        ]
        if not commands:
            break
        for index, reply in zip(pending, _exchange(connection, commands), strict=True):
            if isinstance(reply, exceptions.ReadOnlyError):
                raise reply  # after a failover: a new connection leads to the new master
            replies[index] = reply
    return replies


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send all commands together and return the reply to each, or its error."""
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
_DATABASE = "the database number in PUSH_LEDGER_URL does not exist"
_CERTIFICATE = "its certificate is not trusted or names another host"
_CONNECTION = "it refuses to set up a connection: check PUSH_LEDGER_URL"
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
"""Error classes, words in their texts (a script's error quotes another one), and their meaning."""
_OUTAGE = re.compile(r"\b(LOADING|BUSY|OOM|READONLY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN|MISCONF|NOREPLICAS)\b")


def _failure(error: Exception, *, is_reply: bool) -> Failure:
    """Classify an error. Its text may name user and host, so only known words of it are shown.

    Args:
        error: An error that was raised or returned as a reply.
        is_reply: It is the reply to a call, on a working connection.
    """
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Failure(reason=_CERTIFICATE, is_permanent=True)
    # redis-py strips the codes that it knows from the texts.
    code = getattr(error, "status_code", None) or ""
    words = f"{code} {error}" if isinstance(error, exceptions.ResponseError) else ""
    outage = _OUTAGE.search(words)
    if not outage:
        for classes, pattern, meaning in _PERMANENT:
            if isinstance(error, classes) or re.search(pattern, words):
                return Failure(reason=meaning, is_permanent=True)
        if words and not is_reply:
            return Failure(reason=_CONNECTION, is_permanent=True)
    return Failure(reason=outage[0] if outage else type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
