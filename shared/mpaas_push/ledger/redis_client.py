"""The Redis or Tair of the ledger: calls of its script enter, many in one trip; the reply to each leaves.

Nothing is raised: a `Failure` takes the place of a reply. Outages (timeouts, no memory, a failover) pass;
permanent failures (a wrong password, missing rights, a node of a cluster) last until an operator acts. A trip
that fails is repeated on a new connection and does not affect others; only a server that cannot be reached,
or fails trip after trip, is left alone for a while.
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
"""Most connections of an instance."""
WAIT_SECONDS = 2 * TIMEOUT_SECONDS
"""How long a thread waits for a connection when all are in use."""
IDLE_LIMIT_SECONDS = 10.0
"""A connection that was idle for longer is reopened: it takes `TIMEOUT_SECONDS` to notice that a proxy has
silently dropped it."""
FAILED_TRIPS = 2
"""Failed trips in a row after which the server counts as down; the first of them is made twice. One trip is
enough if neither attempt got a connection."""
PAUSE_SECONDS = 2.0
"""How long a server that is down is left alone: a batch must not wait for it with each block."""

SCRIPT = Path(__file__).with_name("ledger.lua").read_text("utf-8")
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a call was not, or may not have been, carried out.

    Attributes:
        reason: In a few words, without secrets, host or user.
        is_permanent: It lasts until settings, rights or the server change.
        is_asked: Whether the server was called; if so, the call may have been carried out and its reply lost.
    """

    reason: str
    is_permanent: bool = False
    is_asked: bool = True


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

        A trip that fails is repeated once, on a new connection, unless the previous one failed, too. That is
        safe: a claim is recognised by its owner, so a repeated call has the same result.

        Args:
            calls: The key and arguments of each (see `ledger.lua`).
            despite_pause: Also try a server that was found to be down less than `PAUSE_SECONDS` ago.
            retry_until: No trip is repeated after this time, on the clock of `time.monotonic`.

        Returns:
            The reply of the script to each call, or why there is none.
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
            except _AllInUse:  # says nothing about the server
                return [Failure(reason="AllConnectionsInUse", is_asked=is_asked)] * len(calls)
            except (exceptions.RedisError, OSError, ValueError) as error:  # ValueError: not Redis
                failure = replace(_failure(error, is_reply=False), is_asked=is_asked)
            else:
                self._failed_trips, self._asked_again_at = 0, -math.inf
                self._warn_of_eviction()
                return [
                    _failure(reply, is_reply=True) if isinstance(reply, Exception) else reply
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
    """No connection came free in time."""


class _Connections(redis.BlockingConnectionPool):
    """A pool that reopens connections which were idle for too long, or were idle when another one failed."""

    _generation = 0
    """Incremented by each failure."""

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend a connection. If it fails, it is closed, and so are all idle ones before their next use.

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
            connection.disconnect()  # what it may still deliver belongs to this trip
            self._generation += 1
            raise
        finally:
            connection.idle_since, connection.generation = time.time(), self._generation
            pool: Any = self  # its methods have no types
            pool.release(connection)

    def _connected(self) -> Any:
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
    """Return the reply to each call, errors among them. The script is sent to nodes that do not know it."""
    replies: list[Any] = [exceptions.NoScriptError()] * len(calls)
    for spelled_out in (0, 1, len(calls)):  # each node behind a proxy has its own scripts
        open_calls = [index for index, reply in enumerate(replies) if _is_unknown_script(reply)]
        commands = [
            (*(("EVAL", SCRIPT) if number < spelled_out else ("EVALSHA", SHA)), 1, *calls[index])
            for number, index in enumerate(open_calls)
        ]
        if not commands:
            break
        for index, reply in zip(open_calls, _exchange(connection, commands), strict=True):
            if isinstance(reply, exceptions.ReadOnlyError):
                raise reply  # after a failover: a new connection leads to the new master
            replies[index] = reply
    return replies


def _exchange(connection: Any, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send commands at once and return the reply to each, errors among them."""
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
"""Classes of errors, words in their texts (a script's error quotes another one), and what they mean."""
_OUTAGE = re.compile(r"\b(LOADING|BUSY|OOM|READONLY|MASTERDOWN|TRYAGAIN|CLUSTERDOWN|MISCONF|NOREPLICAS)\b")


def _failure(error: Exception, *, is_reply: bool) -> Failure:
    """Return what an error means. Its text may name user and host, so only known words of it are shown.

    Args:
        error: What was raised, or returned as a reply.
        is_reply: It is the reply to a call, on a connection that works.
    """
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Failure(reason=_CERTIFICATE, is_permanent=True)
    # The client removes the codes that it knows from texts.
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
