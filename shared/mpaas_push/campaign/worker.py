"""Working on a piece: its rows are read, sent in blocks and accounted for; the rest goes to the next task.

A block is committed after it was sent, in one step with its counts. A repeated block consists of the same
requests, and the ledger recognises the accepted ones, so none of them is sent twice.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from mpaas_push.campaign.audience import Row, RowReader
from mpaas_push.campaign.block import Composer, Fate
from mpaas_push.campaign.control import MAX_BLOCK_ROWS, block_rows_for
from mpaas_push.campaign.errors import (
    AudienceUnreadable,
    PieceFailed,
    StoreUnavailable,
    UnknownCampaign,
)
from mpaas_push.campaign.lease import Lease
from mpaas_push.campaign.objects import changed_text
from mpaas_push.campaign.pieces import Piece, lines_of
from mpaas_push.campaign.results import Results
from mpaas_push.campaign.store import NEAR_SECONDS
from mpaas_push.errors import Fault, Misconfigured, PushError
from mpaas_push.outcome import ACCEPTED, MISCONFIGURED, REFUSED, THROTTLED, UNKNOWN
from mpaas_push.task import PushTask, absolute_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mpaas_push.campaign.audience import InvalidRow
    from mpaas_push.campaign.block import Block, BlockRequest
    from mpaas_push.campaign.objects import Objects
    from mpaas_push.campaign.state import StoredCampaign
    from mpaas_push.campaign.store import CampaignStore, Commit, TakeResult
    from mpaas_push.campaign.tasks import PieceTask, TaskQueue
    from mpaas_push.client import PushClient
    from mpaas_push.invocation import Invocation
    from mpaas_push.message import PushMessage
    from mpaas_push.outcome import Outcome

__all__ = ["work_on"]

logger = logging.getLogger(__name__)

AHEAD_SECONDS = 60.0
"""Moments further ahead are not reserved, so that a change of the pace takes effect quickly."""
ROUND_SECONDS = 12.0
"""How long a round of sending takes at most; then throttled requests are sent again. Requests that a killed
worker had claimed become unknown after this time."""
BEGIN_SECONDS = 6.0
"""How long requests of a round are begun; the rest of the round is for the last responses."""
WATCH_SECONDS = 10.0
"""Added to the delay of each further task that waits for another one to release the piece."""
MARGIN_SECONDS = 5.0
"""Reserved at the end of an invocation to write results, commit and submit the next task."""
THROTTLE_SECONDS = 1.0
"""Wait before throttled requests are sent again."""
MAX_THROTTLE_SECONDS = 3600.0
"""Longest wait that mPaaS can request; then one piece tries again."""
RETRIED_SHARE = 0.1
"""Share of retried requests in a block above which mPaaS receives too many."""
SENT = ("accepted", "refused", "unknown", "failed")
"""Fates of rows whose requests were sent."""
OWN_CODES = {"NotSent", "InProgress", "LedgerDown", "LedgerUnreadable", "Failed"}
"""Result codes of throttled requests that mPaaS did not throttle."""


def work_on(
    task: PieceTask,
    *,
    client: PushClient,
    invocation: Invocation,
    store: CampaignStore,
    objects: Objects,
    queue: TaskQueue,
    rate: float | None = None,
) -> str:
    """Work on a piece until it ends, its time is up, or it has to wait; return why the work ended.

    Args:
        task: Which piece, and in which turn.
        client: Sends; it must have a ledger and fail without it.
        invocation: Keys and deadline.
        store: State and pace.
        objects: Audience and results.
        queue: Takes the next task.
        rate: `PUSH_PACE`: requests a second of all functions, if there is a limit.

    Raises:
        PieceFailed: it was given up; the campaign is incomplete until it is resumed.
        AudienceUnreadable, StoreUnavailable, Misconfigured: Function Compute must call again.
    """
    owner = os.urandom(6).hex()
    taken = store.take(task.campaign, task.piece, task.turn, owner)
    if taken.status == "held":
        # The task that holds it is alive or was killed: try again when the lease has expired. If another task
        # still holds it then, that one is alive, so the delay grows.
        delay = taken.wait + 1 + min(WATCH_SECONDS * task.watch, AHEAD_SECONDS)
        queue.submit(replace(task, watch=task.watch + 1, at=None), delay=delay)
    if taken.status == "unknown":
        raise UnknownCampaign(task.campaign)
    if taken.status == "failed":
        raise PieceFailed(f"piece {task.piece} of campaign {task.campaign} made no progress and was given up")
    if taken.status != "taken":
        return taken.status
    try:
        stored = store.get(task.campaign)
        if stored.fields["state"] == "paused":  # since the piece was taken
            store.release(task.campaign, task.piece, owner, due=0, has_waited=True)
            return "paused"
        tools = _Tools(
            client=client, invocation=invocation, store=store, objects=objects, queue=queue, rate=rate
        )
        with Lease(store, task.campaign, task.piece, owner) as lease:
            return _Worker(task, owner, stored, tools, lease).run(taken)
    except AudienceUnreadable as error:
        if error.is_final:
            store.fail(task.campaign, task.piece, owner, str(error))
        else:
            _release(store, task, owner, error)
        raise
    except Exception as error:
        _release(store, task, owner, error)
        raise


def _release(store: CampaignStore, task: PieceTask, owner: str, error: Exception) -> None:
    # Texts of other errors may quote a row.
    problem = str(error) if isinstance(error, PushError) else type(error).__name__
    with suppress(StoreUnavailable):
        store.release(task.campaign, task.piece, owner, due=0, has_waited=False, problem=problem)


class _HandOver(Exception):
    """The piece goes to the next task: it has to wait, or the time of this task is up.

    Attributes:
        reason: Why.
        delay: Seconds until the next task is due.
        at: Moment reserved for the next block, in Unix seconds.
    """

    def __init__(self, reason: str, *, delay: float = 0.0, at: float | None = None) -> None:
        self.reason, self.delay, self.at = reason, delay, at
        super().__init__(reason)


@dataclass
class _Cursor:
    """How far the piece is accounted for.

    Attributes:
        offset: The committed offset; -1 before the first block.
        rows: Number of rows of the next block.
        begin: Offset of the first line of the next block; -1 before that line is read.
    """

    offset: int
    rows: int
    begin: int = -1


@dataclass(frozen=True, kw_only=True)
class _Tools:
    """The clients and limits of a worker, as in `work_on`."""

    client: PushClient
    invocation: Invocation
    store: CampaignStore
    objects: Objects
    queue: TaskQueue
    rate: float | None


class _Ended(Exception):
    """This task has nothing left to do."""


class _Worker:
    def __init__(
        self, task: PieceTask, owner: str, stored: StoredCampaign, tools: _Tools, lease: Lease
    ) -> None:
        self._task, self._owner, self._lease = task, owner, lease
        self._client, self._invocation = tools.client, tools.invocation
        self._store, self._objects, self._queue = tools.store, tools.objects, tools.queue
        self._rate = tools.rate
        self._stored = stored
        self._campaign = stored.campaign
        self._etag = stored.fields["etag"]
        self._piece = Piece.of(task.piece, stored.number("pieceBytes"), stored.number("size"))
        self._reader = RowReader(self._campaign, stored.header)
        self._composer = Composer(self._campaign, self._client.settings)
        self._results = Results(
            self._objects, self._campaign.audience.bucket, task.campaign, task.run, task.piece
        )
        self._scope = absolute_scope(self._invocation.sender, f"campaign:{task.campaign}")
        self._state, self._pace = stored.fields["state"], stored.pace
        self._pace_version = stored.number("paceVersion")
        self._at = task.at if task.pace_version == self._pace_version else None
        self._throttled = 0.0
        self._may_have_begun = True  # an earlier task may have sent some of the first block

    def run(self, taken: TakeResult) -> str:
        """Send the piece block by block."""
        cursor = _Cursor(taken.offset, taken.rows)
        try:
            return self._run(cursor)
        except AudienceUnreadable as error:
            if not error.is_final or self._state != "cancelled":
                raise
            # Rows that can no longer be read are not counted, but the campaign is cancelled as requested.
            logger.warning(
                "the rest of piece %d of %s is not counted: %s", self._task.piece, self._task.campaign, error
            )
            self._end_uncounted(cursor)
            return "done"

    def _run(self, cursor: _Cursor) -> str:
        try:
            for rows, end, is_last in self._blocks(cursor):
                reason = self._send(rows, end, cursor, is_last=is_last)
                if reason:
                    return reason
        except _HandOver as hand_over:
            return self._hand_over(hand_over)
        except _Ended as ended:
            return str(ended)
        self._results.delete_parts()
        return "done"

    def _end_uncounted(self, cursor: _Cursor) -> None:
        self._results.join()
        rest = self._piece.end - max(cursor.offset, self._piece.start)
        self._commit(cursor, self._piece.end, cursor.rows, is_last=True, counts={"bytes": rest})
        self._results.delete_parts()

    def _blocks(self, cursor: _Cursor) -> Iterator[tuple[list[Row | InvalidRow], int, bool]]:
        """Yield the rows of each block, where it ends, and whether the piece ends with it."""
        rows: list[Row | InvalidRow] = []
        end = max(cursor.offset, self._piece.start)
        for line in lines_of(self._piece, self._read):
            row = self._reader.row_of(line)
            if line.start < cursor.offset:
                if isinstance(row, Row):
                    self._composer.skip(row)
                continue
            if len(rows) >= cursor.rows:
                yield rows, end, False
                rows = []
            if cursor.begin < 0:
                cursor.begin = line.start
            if row is not None:
                rows.append(row)
            end = line.end
        yield rows, end, True

    def _read(self, start: int, end: int) -> bytes:
        audience = self._campaign.audience
        return self._objects.read(audience.bucket, audience.key, start, end, self._etag)

    def _send(
        self, rows: Sequence[Row | InvalidRow], end: int, cursor: _Cursor, *, is_last: bool
    ) -> str | None:
        """Send a block and commit it; return why the task ends with it, None if it continues."""
        if self._invocation.time_left < ROUND_SECONDS + NEAR_SECONDS + MARGIN_SECONDS and self._is_sending():
            raise _HandOver("out of time")
        if self._lease.is_lost:
            raise _Ended("lost")
        block = self._composer.compose(rows, end)
        fates, accepted, requests = self._fates(block)
        fates += block.fates
        counts = Counter(fate.name for fate in fates)
        counts["accepted"] += accepted
        begin = cursor.begin if cursor.begin >= 0 else end
        self._results.write(begin, fates)
        if is_last:
            self._results.join()
        # Blocks that are only counted need no pace.
        next_rows = MAX_BLOCK_ROWS if self._is_over else block_rows_for(self._pace, self._rate)
        commit = self._commit(
            cursor,
            end,
            next_rows,
            is_last=is_last,
            counts={
                **counts,
                "rows": block.rows,
                "bytes": end - begin,
                "requests": requests,
                "sent": sum(counts[name] for name in SENT),
                "throttledMs": round(self._throttled * 1000),
            },
        )
        self._throttled = 0.0
        if commit is None:
            logger.warning("piece %d of %s was taken over", self._task.piece, self._task.campaign)
            return "lost"
        cursor.offset = cursor.begin = end
        cursor.rows = next_rows
        self._may_have_begun = False
        self._state, self._pace, self._pace_version = commit.state, commit.pace, commit.pace_version
        return "paused" if commit.state == "paused" and not is_last else None

    def _commit(
        self, cursor: _Cursor, to: int, next_rows: int, *, is_last: bool, counts: Mapping[str, int]
    ) -> Commit | None:
        return self._store.commit(
            self._task.campaign,
            self._task.piece,
            self._owner,
            offset=cursor.offset,
            to=to,
            next_rows=next_rows,
            is_last=is_last,
            counts=counts,
        )

    @property
    def _is_over(self) -> bool:
        return self._state == "cancelled" or self._campaign.has_ended(time.time())

    def _is_sending(self) -> bool:
        return self._state == "running" and not self._is_over

    def _fates(self, block: Block) -> tuple[list[Fate], int, int]:
        """Return the fates of the rows in a block's requests, the number of accepted rows without a fate, and
        the number of requests that were sent.

        Accepted rows are only counted, unless the report lists them.
        """
        if not block.requests:
            return [], 0, 0
        name: str | None = None
        results: Iterable[tuple[BlockRequest, Outcome | None]]
        if self._is_sending():
            self._wait(block)
            self._check_file()
            results = self._deliver(block.requests)
        else:
            name = "cancelled" if self._state == "cancelled" else "expired"
            results = self._look_up(block.requests, name)
        fates: list[Fate] = []
        accepted = sent = 0
        for request, outcome in results:
            if outcome is None or (name and outcome.kind not in {ACCEPTED, UNKNOWN}):
                fates += [Fate(start=row.start, target=row.target, name=name or "") for row in request.rows]
                continue
            sent += 1
            if outcome.kind is ACCEPTED and self._campaign.report == "failed":
                accepted += len(request.rows)
            else:
                fates += _fates_of(request, outcome)
        return fates, accepted, sent

    def _look_up(
        self, requests: Sequence[BlockRequest], name: str
    ) -> Iterable[tuple[BlockRequest, Outcome | None]]:
        """Return what the ledger has recorded of requests that are no longer sent.

        Raises:
            _HandOver: some are still in progress.
        """
        if not self._may_have_begun:
            return [(request, None) for request in requests]
        outcomes = self._send_all(requests, too_late=(Fault("", name),))
        self._raise_if_misconfigured(outcomes)
        if any(outcome.kind is THROTTLED for outcome in outcomes):
            raise _HandOver("in progress", delay=NEAR_SECONDS)
        return list(zip(requests, outcomes, strict=True))

    def _wait(self, block: Block) -> None:
        """Wait for the moment of a block.

        Raises:
            _HandOver: it is too far ahead to wait for, or after the campaign's end; or the campaign was
                cancelled.
            _Ended: the campaign was paused meanwhile, or another worker holds the piece.
        """
        self._check_time()
        at, self._at = self._at, None
        if at is None:
            moment = self._store.reserve(self._task.campaign, block.targets, AHEAD_SECONDS)
            if not moment.is_reserved:
                # All other waiting pieces will try to reserve a moment then, so the delay is spread.
                open_pieces = self._stored.number("pieces") - self._stored.number("done")
                spread = open_pieces * block.rows / (self._pace or 1000)
                raise _HandOver("pace", delay=moment.wait + random.uniform(0, max(spread - AHEAD_SECONDS, 1)))
            at = time.time() + moment.wait
        if at - time.time() > NEAR_SECONDS:
            raise _HandOver("pace", delay=at - time.time(), at=at)
        quota = self._store.reserve_requests(len(block.requests), self._rate, NEAR_SECONDS)
        if not quota.is_reserved:
            raise _HandOver("quota", delay=quota.wait + random.uniform(0, NEAR_SECONDS), at=time.time())
        wait = max(at - time.time(), quota.wait)
        self._throttled += max(quota.wait - max(at - time.time(), 0), 0)
        if wait > 0:
            time.sleep(wait)
            self._check_time()
            self._check_state()

    def _check_time(self) -> None:
        """Check that the campaign may send now.

        Raises:
            _HandOver: its window is closed, or it has ended; the next task accounts for what was sent.
        """
        window = self._campaign.window
        if window and (closed := window.seconds_until_open(time.time())):
            raise _HandOver("outside the window", delay=closed + random.uniform(0, 5))
        if not self._is_sending():
            raise _HandOver("ended")

    def _check_state(self) -> None:
        """Check that the campaign may still send: it may have been paused or cancelled during a wait.

        Raises:
            _HandOver: it was cancelled; the next task accounts for what was sent.
            _Ended: it was paused, or another worker holds the piece.
        """
        state = self._store.renew(self._task.campaign, self._task.piece, self._owner)
        if state is None:
            raise _Ended("lost")
        if state == "cancelled":
            raise _HandOver("cancelled")
        if state == "paused":
            self._store.release(self._task.campaign, self._task.piece, self._owner, due=0, has_waited=True)
            raise _Ended("paused")

    def _check_file(self) -> None:
        """Check that the audience is the file that the campaign was started with.

        Its rows are from that file (`If-Match`), but may have been read long before their block is due.

        Raises:
            AudienceUnreadable: it was replaced or deleted.
        """
        audience = self._campaign.audience
        if self._objects.info(audience.bucket, audience.key).etag != self._etag:
            raise AudienceUnreadable(changed_text(audience.bucket, audience.key))

    def _deliver(self, requests: Sequence[BlockRequest]) -> Iterable[tuple[BlockRequest, Outcome]]:
        """Send requests until each has a final outcome.

        Raises:
            _HandOver: some are still throttled.
            Misconfigured: none can be sent before an operator acts.
        """
        outcomes = self._send_all(requests)
        if sum(outcome.attempts - 1 for outcome in outcomes) > RETRIED_SHARE * len(outcomes):
            self._store.slow()
        while throttled := [index for index, current in enumerate(outcomes) if current.kind is THROTTLED]:
            self._wait_until_unthrottled([outcomes[index] for index in throttled])
            resent = self._send_messages([requests[index].message for index in throttled])
            for index, (outcome,) in zip(throttled, resent, strict=True):
                outcomes[index] = outcome
        self._raise_if_misconfigured(outcomes)
        return list(zip(requests, outcomes, strict=True))

    @staticmethod
    def _raise_if_misconfigured(outcomes: Sequence[Outcome]) -> None:
        """Leave a block uncommitted if a key or permission is wrong: its rows are not at fault.

        Raises:
            Misconfigured: the gateway or the ledger refuses, or mPaaS refuses all requests. If mPaaS refuses
                only some, its code is about their message, such as a template that does not exist.
        """
        refusals = [outcome for outcome in outcomes if outcome.kind is MISCONFIGURED]
        of_gateway = [outcome for outcome in refusals if not (outcome.result_code or "").isdecimal()]
        if of_gateway or (refusals and len(refusals) == len(outcomes)):
            example = (of_gateway or refusals)[0]
            raise Misconfigured(f"mPaaS: {example.result_code} ({example.result_message})")

    def _send_all(self, requests: Sequence[BlockRequest], too_late: tuple[Fault, ...] = ()) -> list[Outcome]:
        """Send the messages of a block, each to all of its rows, and return the outcome of each request."""
        groups = [list(group) for _, group in groupby(requests, key=lambda request: id(request.group))]
        results = self._send_messages([group[0].group for group in groups], too_late)
        outcomes: list[Outcome] = []
        for group, result in zip(groups, results, strict=True):
            # A message that this API version cannot send has only one outcome.
            outcomes += result if len(result) == len(group) else result * len(group)
        return outcomes

    def _send_messages(
        self, messages: Sequence[PushMessage], too_late: tuple[Fault, ...] = ()
    ) -> list[list[Outcome]]:
        """Send messages; with `too_late`, only look up earlier outcomes."""
        now, clock = time.time(), time.monotonic()
        tasks = [
            PushTask(scope=self._scope, original="", message=message, first_moment=now, too_late=too_late)
            for message in messages
        ]
        until = min(self._invocation.deadline - MARGIN_SECONDS, clock + ROUND_SECONDS)
        # Requests in flight when round, window or campaign end are waited for; else they would be unknown.
        begin_by = math.inf if too_late else clock + min(BEGIN_SECONDS, self._seconds_to_send(now))
        return self._client.send_tasks(tasks, replace(self._invocation, deadline=until, begin_by=begin_by))

    def _seconds_to_send(self, now: float) -> float:
        """Return the seconds until window or campaign end; 0 or less if they have ended."""
        window, ends = self._campaign.window, self._campaign.ends
        open_for = window.seconds_until_closed(now) if window else math.inf
        return open_for if ends is None else min(open_for, ends - now)

    def _wait_until_unthrottled(self, outcomes: Sequence[Outcome]) -> None:
        """Wait before throttled requests are sent again.

        Raises:
            _HandOver: the wait is too long for this task; or meanwhile the campaign ended, was cancelled, or
                its window closed.
            _Ended: the campaign was paused, or another worker holds the piece.
        """
        if {outcome.result_code for outcome in outcomes} - OWN_CODES:
            self._store.slow()
        waits = (
            # A request that was not sent only lacked time in this round.
            outcome.retry_after or (0.0 if outcome.result_code == "NotSent" else THROTTLE_SECONDS)
            for outcome in outcomes
        )
        pause = min(max(waits), MAX_THROTTLE_SECONDS)
        if pause > NEAR_SECONDS or pause + ROUND_SECONDS + MARGIN_SECONDS > self._invocation.time_left:
            raise _HandOver(
                "throttled", delay=pause + random.uniform(0, NEAR_SECONDS), at=time.time() + pause
            )
        self._throttled += pause
        time.sleep(pause)
        self._check_time()
        self._check_state()

    def _hand_over(self, hand_over: _HandOver) -> str:
        """Hand the piece over to the next task."""
        task = self._task
        # Released first: if this task is killed before it submits the next one, its repetition continues.
        turn = self._store.release(
            task.campaign, task.piece, self._owner, due=hand_over.delay, has_waited=True
        )
        if turn is None:
            return "lost"
        next_task = replace(task, turn=turn + 1, watch=0, at=hand_over.at, pace_version=self._pace_version)
        self._queue.submit(next_task, delay=hand_over.delay)
        return hand_over.reason


def _fates_of(request: BlockRequest, outcome: Outcome) -> list[Fate]:
    name = outcome.kind.value
    if outcome.kind is MISCONFIGURED:
        name = "failed"  # others of its block were accepted, so the fault is in this message
    elif outcome.kind is REFUSED and outcome.result_code == "Expired":
        name = "expired"
    text = "" if outcome.kind is ACCEPTED else outcome.result_message or ""
    return [
        Fate(
            start=row.start,
            target=row.target,
            name=name,
            code=outcome.result_code or "",
            text=text,
            message_id=outcome.targets.get(row.target) or "",
        )
        for row in request.rows
    ]
